#!/usr/bin/env python3
"""`anemo pull`, `ls` and `rm` against a hub that misbehaves: each behaviour by name. behaviours.py [WORD…] runs those whose
names contain a word. Environment: ANEMO_BUILD."""
import sys

import choices  # noqa: F401 (its cases register themselves)
import harness
import listings  # noqa: F401
import store  # noqa: F401
import transfer  # noqa: F401

if __name__ == "__main__":
    sys.exit(harness.main())

"""The program with a fake engine in llama.cpp's place, and a count of what did not hold. Environment: ANEMO_BUILD."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
FAKE = f"{sys.executable} {ROOT}/tests/support/fake_engine.py"
failures = []


def expect(what, ok, shown=""):
    if not ok:
        failures.append(what)
        print(f"FAILED: {what}\n{shown}")


def anemo(*words, fake="", **kw):
    """One run; fake: options of the fake engine."""
    env = dict(os.environ, ANEMO_DRIVER_LLAMA_CPP=f"{FAKE} {fake}")
    return subprocess.run([ANEMO, *map(str, words)], env=env, capture_output=True, text=True, timeout=120, **kw)

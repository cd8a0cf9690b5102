#!/usr/bin/env python3
"""Checks that every file of the tiny models is present and unchanged, and that none is unlisted. Standard library only."""
import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    with open(os.path.join(HERE, "manifest.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    wrong = []
    for name, want in manifest["files"].items():
        try:
            with open(os.path.join(HERE, name), "rb") as f:
                if hashlib.sha256(f.read()).hexdigest() != want:
                    wrong.append(f"{name}: sha256 differs from manifest.json")
        except OSError as e:
            wrong.append(f"{name}: {e.strerror}")
    for c in manifest["cases"]:
        for name in (c["logits"], c["decode_logits"]):
            if name and name not in manifest["files"]:
                wrong.append(f"{c['name']}: {name} is not listed in manifest.json")
    for top in sorted({name.split("/")[0] for name in manifest["files"]}):
        for folder, _, names in os.walk(os.path.join(HERE, top)):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), HERE)
                if path not in manifest["files"]:
                    wrong.append(f"{path}: not listed in manifest.json")
    for line in wrong:
        print(line)
    print(f"{len(manifest['files'])} files, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

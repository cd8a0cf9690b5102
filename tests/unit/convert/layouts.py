#!/usr/bin/env python3
"""Every layout of tests/golden/convert becomes an MLX directory and a GGUF file whose logits are those of transformers on the
source's weights: layouts.py. Environment: ANEMO_BUILD.
"""
import array
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests/golden/convert"
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"


def npy(path):
    """The float32 values of a .npy file of version 1."""
    data = path.read_bytes()
    begin = 10 + int.from_bytes(data[8:10], "little")
    assert data[:6] == b"\x93NUMPY" and b"<f4" in data[:begin], path
    return array.array("f", data[begin:])


def failure(case, target, temp):
    """What is wrong with one conversion, or None."""
    out = temp / f"{case['name']}.{target}"
    # FP8 times its scale is no BF16 value: F32 holds it.
    more = ["--dtype", "f32"] if "fp8" in case["name"] else []
    done = subprocess.run([ANEMO, "convert", GOLDEN / case["model"], out, "--to", target, "-q", *more], capture_output=True, text=True)
    if done.returncode:
        return f"convert: exit {done.returncode}: {done.stderr}"
    logits = temp / "logits.npy"
    done = subprocess.run([ANEMO, "logits", out, "--ids", ",".join(map(str, case["ids"])), "--kv", "f32", "--compute", "f32",
                           "--threads", "1", "-o", logits], capture_output=True, text=True)
    if done.returncode:
        return f"logits: exit {done.returncode}: {done.stderr}"
    got, want = npy(logits), npy(GOLDEN / case["logits"])
    if len(got) != len(want):
        return f"{len(got)} logits, expected {len(want)}"
    worst = max(abs(a - b) for a, b in zip(got, want)) / max(map(abs, want))
    return None if worst <= case["tolerance"] else f"differs by {worst:.3g} of the largest logit"


def main():
    cases, bad = json.loads((GOLDEN / "manifest.json").read_text())["cases"], 0
    with tempfile.TemporaryDirectory() as temp:
        for case in cases:
            for target in ("mlx", "gguf"):
                text = failure(case, target, pathlib.Path(temp))
                bad += text is not None
                if text:
                    print(f"{case['name']} to {target}: {text}")
    print(f"{len(cases)} layouts, {bad} bad")
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    sys.exit(main())

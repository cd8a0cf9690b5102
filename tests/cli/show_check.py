#!/usr/bin/env python3
"""anemo show --check: sound models pass; a NaN or an infinity written into a tensor is found there. Environment: ANEMO_BUILD."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

FILES = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tiny" / "files"
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
# The first number of a block or scale list: an infinity, or a NaN.
BAD = {"f32": b"\x00\x00\xc0\x7f", "f16": b"\x00\x7c", "bf16": b"\x80\xff", "q4_0": b"\x01\xfc", "q4_1": b"\x00\x7c",
       "q8_0": b"\x00\x7e"}


def show(*args):
    done = subprocess.run([ANEMO, "show", *args], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def main():
    bad, tried = [], 0
    with tempfile.TemporaryDirectory() as temp:
        for model, weights in (("chatml.gguf", ""), ("spm.gguf", ""), ("chatml-mlx", "model.safetensors")):
            good, copy = FILES / model, pathlib.Path(temp) / model
            shutil.copytree(good, copy) if weights else shutil.copy(good, copy)
            code, _, said = show(copy, "--check")
            if code != 0:
                bad.append(f"{model}: exit {code}: {said}")
            file = copy / weights if weights else copy
            whole = file.read_bytes()
            for t in json.loads(show(copy, "--tensors", "--json")[1])["tensors"]:
                value = BAD.get(t["type"].lower())
                if not value:
                    continue
                tried += 1
                at = t["offset"]
                file.write_bytes(whole[:at] + value + whole[at + len(value):])
                code, _, said = show(copy, "--check")
                stem = t["name"].removesuffix(".scales").removesuffix(".biases")
                if code != 3 or stem not in said:
                    bad.append(f"{model}, {t['type']} {t['name']}: exit {code}: {said}")
            file.write_bytes(whole)
    print("\n".join(bad[:10]) if bad else f"{tried} tensors, each found")
    return 1 if bad or tried < 20 else 0


if __name__ == "__main__":
    sys.exit(main())

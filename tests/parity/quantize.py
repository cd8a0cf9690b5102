#!/usr/bin/env python3
"""`anemo quantize` against llama.cpp's own quantizer: the same types and the same bytes for every tensor: quantize.py MODEL…

Each model is first written as F32 and F16 by anemo (which --allow-requantize permits), then quantized by both to every mix
(MODEL:MIX,MIX: to these). A bare name is looked up in the models folder; a model that is not there is left out. Runs in the engines' Python (llama_cpp); environment: ANEMO_BUILD.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp

ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
MIXES = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13,
         "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30}


def anemo(*args):
    done = subprocess.run([ANEMO, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"anemo {' '.join(map(str, args))}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def tensors(path):
    """{name: (type, bytes)} in the order of the file."""
    data = path.read_bytes()
    return {t["name"]: (t["type"], data[t["offset"]:t["offset"] + t["bytes"]])
            for t in json.loads(anemo("show", path, "--tensors", "--json"))["tensors"]}


def theirs(source, target, ftype):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = ftype, 2
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params)
    if code:
        sys.exit(f"llama_model_quantize: {code} for {source}")


def compare(source, mix, temp, complaints):
    """Quantize both ways; the number of tensors compared."""
    a, b = temp / "ours.gguf", temp / "theirs.gguf"
    anemo("quantize", source, a, mix, "-q", "--force")
    theirs(source, b, MIXES[mix])
    ours, other = tensors(a), tensors(b)
    if list(ours) != list(other):
        complaints.append(f"{source.name} {mix}: other tensors or another order")
    for name in ours.keys() & other.keys():
        if ours[name][0] != other[name][0]:
            complaints.append(f"{source.name} {mix}: {name} is {ours[name][0]}, llama.cpp makes it {other[name][0]}")
        elif ours[name][1] != other[name][1]:
            complaints.append(f"{source.name} {mix}: {name} ({ours[name][0]}) has other bytes")
    return len(ours)


def main():
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, None)
    complaints, n_tensor, n_model = [], 0, 0
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        for argument in sys.argv[1:]:
            name, _, mixes = argument.partition(":")
            if "/" not in name:
                data = os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local/share"
                name = f"{data}/anemo/models/{name}.gguf"
            if not pathlib.Path(name).exists():
                print(f"skipped: {name} is not there")
                continue
            n_model += 1
            for plain in ("F32", "F16"):
                source = temp / f"{pathlib.Path(name).stem}-{plain}.gguf"
                anemo("quantize", name, source, plain, "-q", "--allow-requantize")
                for mix in mixes.split(",") if mixes else MIXES:
                    n_tensor += compare(source, mix, temp, complaints)
                source.unlink()
    for text in complaints[:20]:
        print(text)
    print(f"{n_model} models, {n_tensor} tensors compared, {len(complaints)} differences")
    return 77 if n_model == 0 else 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

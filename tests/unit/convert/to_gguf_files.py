#!/usr/bin/env python3
"""
GGUF files made by `anemo convert --to gguf` against the files of tests/golden/tiny, which other programs made. Standard
library only; no engine. Environment: ANEMO_BUILD.

    HF -> GGUF            tensors, shapes and hyperparameters are those of the model.gguf beside it
    GGUF -> MLX -> GGUF   every type that MLX has exactly comes back byte for byte, and so do the tokenizer's arrays
    GGUF -> GGUF          a plain copy keeps every key and tensor; so does a split model, as one file
    refusals              what has no exact form, and what GGUF cannot say, is named, and nothing is written

    to_gguf_files.py real    GGUF -> MLX -> GGUF of SmolLM2 (ANEMO_TEST_MODEL, or where ./quickstart keeps it); exit code 77
                             when it is not there
"""
import glob
import os
import subprocess
import sys
import tempfile

from gguf_read import Gguf

TINY = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "golden", "tiny")
ANEMO = os.path.join(os.environ.get("ANEMO_BUILD", "build/dev"), "anemo")
# Written by every conversion, or by the generator's choice; a name is the folder's.
MAY_DIFFER = {"general.name", "general.type", "general.size_label", "general.file_type", "general.quantization_version",
              "anemo.conversion.source", "anemo.conversion.exact"}
# Defaults that we spell out and the generator does not.
DEFAULTS = {"tokenizer.ggml.add_eos_token": False, "tokenizer.ggml.add_space_prefix": True,
            "mistral3.rope.scaling.yarn_log_multiplier": 0.0, "mistral3.attention.temperature_scale": 0.0,
            "rope.scaling.yarn_beta_fast": 32.0, "rope.scaling.yarn_beta_slow": 1.0}
bad = []


def complain(text):
    bad.append(text)
    print(text)


def anemo(*args, fails=None):
    done = subprocess.run([ANEMO, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if fails is None:
        if done.returncode:
            complain(f"anemo {' '.join(args)}: exit {done.returncode}: {done.stderr}")
    elif done.returncode != fails[0] or fails[1] not in done.stderr:
        complain(f"anemo {' '.join(args)}: exit {done.returncode}, expected {fails[0]} and '{fails[1]}': {done.stderr}")
    return done.stdout


def same_keys(what, a, b):
    """Keys of a model: equal up to the precision of f32, the architecture's name aside."""
    arch = (a["general.architecture"], b["general.architecture"])
    strip = [{k.replace(n + ".", "", 1) if k.startswith(n + ".") else k: v for k, v in d.items()} for n, d in zip(arch, (a, b))]
    for key in sorted(strip[0].keys() | strip[1].keys()):
        if key in MAY_DIFFER or key == "general.architecture":
            continue
        default = DEFAULTS.get(key, DEFAULTS.get(arch[1] + "." + key))
        x, y = (d.get(key, default) for d in strip)
        if x == y or (isinstance(x, float) and isinstance(y, float) and abs(x - y) <= 1e-6 * abs(x)):
            continue
        complain(f"{what}: {key} is {str(y)[:80]}, expected {str(x)[:80]}")


def same_tensors(what, a, b):
    for name in sorted(a.keys() | b.keys()):
        x, y = a.get(name), b.get(name)
        if name == "rope_freqs.weight" and x and y and x[:2] == y[:2] and close(x[2], y[2]):
            continue
        if x != y:
            complain(f"{what}: tensor {name}: {x and x[:2]} and {y and y[:2]} differ")


def close(x, y):
    import struct
    n = len(x) // 4
    return all(abs(p - q) <= 1e-6 * abs(p) for p, q in zip(struct.unpack(f"<{n}f", x), struct.unpack(f"<{n}f", y)))


def in_order(g, what):
    """Without a layer first, by name; then layer by layer, each by name."""
    def rank(name):
        return (int(name.split(".")[1]), name) if name.startswith("blk.") else (-1, name)
    if g.order != sorted(g.order, key=rank):
        complain(f"{what}: tensors are not in the quantizer's order")


def check_hf(temp):
    for folder in sorted(glob.glob(os.path.join(TINY, "arch", "*"))):
        name, out = os.path.basename(folder), os.path.join(temp, "hf.gguf")
        want = os.path.join(folder, "model.gguf")
        if name in ("rope-dynamic", "rope-yarn-no-truncate"):
            os.path.exists(out) and os.remove(out)
            anemo("convert", folder + "/hf", out, "--to", "gguf", "-q", fails=(3, "cannot be said in a GGUF file"))
            if os.path.exists(out):
                complain(f"{name}: refused, but written")
            continue
        anemo("convert", folder + "/hf", out, "--to", "gguf", "--force", "-q")
        got = Gguf(out)
        in_order(got, name)
        if not os.path.exists(want):
            continue
        want = Gguf(want)
        same_tensors(name, want.tensors, got.tensors)
        same_keys(name, want.keys, got.keys)
        if got.keys["anemo.conversion.exact"] is not True:
            complain(f"{name}: exact, but not said so")


def check_round_trip(temp):
    models = [os.path.join(TINY, "files", "spm.gguf"), os.path.join(TINY, "files", "chatml.gguf"),
              *(os.path.join(TINY, "types", f"type-{t}.gguf") for t in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k",
                                                                               "q5_k", "f32", "f16", "bf16"))]
    for model in models:
        name, mlx, out = os.path.basename(model), os.path.join(temp, "mlx"), os.path.join(temp, "back.gguf")
        anemo("convert", model, mlx, "--to", "mlx", "--force", "-q")
        anemo("convert", mlx, out, "--to", "gguf", "--force", "-q")
        want, got = Gguf(model), Gguf(out)
        same_tensors(name, want.tensors, got.tensors)
        same_keys(name, want.keys, got.keys)


def check_copy(temp):
    out = os.path.join(temp, "copy.gguf")
    for model in ("types/mix-q4_k_m.gguf", "files/spm.gguf", "files/split-00001-of-00003.gguf", "arch/rope-llama3/model.gguf"):
        anemo("convert", os.path.join(TINY, model), out, "--to", "gguf", "--force", "-q")
        got = Gguf(out)
        tensors, keys = {}, {}
        for part in glob.glob(os.path.join(TINY, model.replace("00001-of", "*-of"))):
            part = Gguf(part)
            tensors |= part.tensors
            keys |= part.keys
        keys = {k: v for k, v in keys.items() if not k.startswith("split.")}
        if got.tensors != tensors or got.keys != keys:
            complain(f"{model}: the copy differs")


def check_refusals(temp):
    out = os.path.join(temp, "no.gguf")
    w6 = os.path.join(TINY, "mlx", "w6-g128-f16")
    anemo("convert", w6, out, "--to", "gguf", fails=(3, "no GGUF type has 6-bit codes with an offset"))
    w4 = os.path.join(TINY, "mlx", "w4-g32-f32")
    anemo("convert", w4, out, "--to", "gguf", fails=(3, "scales and biases are not exactly f16"))
    anemo("convert", w4, out, "--to", "gguf", "--quantize", "Q4_1", fails=(3, "--allow-requantize"))
    anemo("convert", w4, out, "--to", "gguf", "--quantize", "Q9_9", fails=(2, "is no type of GGUF files"))
    anemo("convert", w4, temp, "--to", "gguf", fails=(2, "is a directory"))
    if os.path.exists(out):
        complain("refused, but written")
    said = anemo("convert", w6, out, "--to", "gguf", "--dtype", "f32")
    if "exact: every weight" not in said or Gguf(out).tensors["blk.0.attn_q.weight"][0] != "F32":
        complain(f"6-bit groups as F32 are exact: {said}")
    anemo("convert", w6, out, "--to", "gguf", "--dtype", "f32", fails=(2, "exists already; --force replaces it"))
    said = anemo("convert", w6, out, "--to", "gguf", "--quantize", "Q8_0", "--allow-requantize", "--force")
    got = Gguf(out)
    if "rounded: the values of 8 tensors" not in said or got.keys["anemo.conversion.exact"] is not False:
        complain(f"rounding is not said: {said}")
    if got.keys["general.file_type"] != 7 or got.tensors["blk.0.attn_q.weight"][0] != "Q8_0":
        complain("Q8_0 was asked for")
    left = [n for n in os.listdir(temp) if n.startswith(".")]
    if left:
        complain(f"left behind: {left}")


def check_real(temp):
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    model = os.environ.get("ANEMO_TEST_MODEL", os.path.join(data, "anemo", "models", "smollm2-135m-instruct-q4_1.gguf"))
    if not os.path.exists(model):
        print(f"skipped: no {model}")
        sys.exit(77)
    mlx, out = os.path.join(temp, "mlx"), os.path.join(temp, "back.gguf")
    anemo("convert", model, mlx, "--to", "mlx", "-q")
    anemo("convert", mlx, out, "--to", "gguf", "-q")
    want, got = Gguf(model), Gguf(out)
    same_tensors("SmolLM2", want.tensors, got.tensors)
    # Of the keys those travel that a configuration has: the model card's do not, and the size of a head need not be said.
    for key, value in want.keys.items():
        general = key.startswith("general.") and key not in ("general.architecture", "general.file_type")
        if not general and key != "tokenizer.ggml.add_space_prefix" and got.keys.get(key) != value:
            complain(f"SmolLM2: {key} is {str(got.keys.get(key))[:80]}, expected {str(value)[:80]}")


def main():
    if sys.argv[1:] == ["real"]:
        with tempfile.TemporaryDirectory() as temp:
            check_real(temp)
        return 1 if bad else 0
    with tempfile.TemporaryDirectory() as temp:
        for check in (check_hf, check_round_trip, check_copy, check_refusals):
            check(temp)
    print(f"{len(bad)} complaints")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""`anemo show`: what it says of the tiny models against how they were made, and its exit codes. Environment: ANEMO_BUILD."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
TINY = ROOT / "tests" / "golden" / "tiny"
GGUF = ROOT / "fuzz" / "corpus" / "gguf" / "tiny_q4_1"  # made by fuzz/make_seeds.c
failures = 0


def expect(what, got, want):
    global failures
    if got != want:
        failures += 1
        print(f"{what}: {got!r}, expected {want!r}")


def show(*args):
    done = subprocess.run([ANEMO, "show", *args], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def show_json(*args):
    code, out, _ = show(*args, "--json")
    return code, json.loads(out)


def main():
    code, s = show_json(GGUF, "--tensors", "--metadata")
    expect("exit", code, 0)
    expect("container", (s["schema"], s["container"], s["gguf_version"], s["alignment"], s["files"]),
           ("anemo.show/1", "gguf", 3, 32, 1))
    expect("file_bytes", s["file_bytes"], os.path.getsize(GGUF))
    expect("architecture", (s["architecture"], s["name"], s["quantization"], s["supported"]), ("llama", "tiny", "Q4_1", True))
    h = s["hyperparameters"]
    expect("hyperparameters", [h[k] for k in ("n_layer", "n_embd", "n_ff", "n_head", "n_head_kv", "head_dim", "n_vocab",
                                              "n_ctx_train", "tied")], [2, 64, 96, 4, 2, 16, 32, 128, True])
    layer = 64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 96
    matrices, norms = 32 * 64 + 2 * layer, 5 * 64
    expect("parameters", s["parameters"], matrices + norms)
    expect("types", {t["type"]: (t["tensors"], t["parameters"], t["bytes"], t["bits_per_weight"]) for t in s["types"]},
           {"Q4_1": (15, matrices, matrices // 32 * 20, 5.0), "F32": (5, norms, norms * 4, 32.0)})
    expect("tokenizer", (s["tokenizer"]["pre"], s["tokenizer"]["n_vocab"], s["tokenizer"]["bos"], s["tokenizer"]["add_bos"]),
           ("gpt-2", 32, 1, True))
    expect("tensors", len(s["tensors"]), 20)
    by_name = {t["name"]: t for t in s["tensors"]}
    t = by_name["blk.1.attn_k.weight"]
    expect("tensor", (t["type"], t["shape"], t["bytes"]), ("Q4_1", [32, 64], 32 * 64 // 32 * 20))
    norm = by_name["output_norm.weight"]
    data = GGUF.read_bytes()[norm["offset"]:norm["offset"] + 4]
    expect("bytes at the offset", data, b"\x00\x00\x80\x3f")  # the first norm value is 1
    expect("metadata", s["metadata"]["llama.attention.head_count_kv"], "2")

    code, s = show_json(TINY / "mlx" / "w4-g64-f16")
    expect("mlx", (code, s["container"], s["types"][0]["type"], s["types"][0]["bits_per_weight"]),
           (0, "mlx", "4-bit affine g64", 4.5))
    code, s = show_json(TINY / "mlx" / "w3-g32-bf16")
    expect("mlx 3 bits", (s["types"][0]["type"], s["types"][0]["bits_per_weight"]), ("3-bit affine g32", 4.0))
    code, s = show_json(TINY / "files" / "split-00001-of-00003.gguf")
    expect("split", (code, s["files"]), (0, 3))

    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        other = temp / "other.gguf"
        other.write_bytes(GGUF.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0gemma", 1))
        code, s = show_json(other)
        expect("refused", (code, s["supported"], s["architecture"], s["parameters"], "gemma" in s["reason"]),
               (3, False, "gemma", matrices + norms, True))
        code, out, err = show(other)
        expect("refused, as text", (code, "Q4_1" in out, "gemma" in err), (3, True, True))
        (temp / "empty").mkdir()
        expect("no config.json", show(temp / "empty")[0], 3)
        expect("absent", show(temp / "absent.gguf")[0], 4)
        expect("terminal", "\x1b" in show(other)[1], False)
    # What only the converter reads is shown by it, refused and advised on.
    models = TINY.parent / "convert" / "models"
    for name, container, words in (("native", "native", "Mistral's own layout"), ("bin", "hf", "PyTorch files")):
        code, s = show_json(models / name)
        expect(name, (code, s["container"], s["parameters"], s["supported"]), (3, container, 37024, False))
        code, out, err = show(models / name)
        expect(name + " as text", (code, "BF16: 21 tensors" in out, words in err, "anemo convert" in err), (3, True, True, True))
    expect("usage", (show()[0], show(GGUF, "--frob")[0]), (2, 2))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

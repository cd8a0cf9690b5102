#!/usr/bin/env python3
"""
How fast exact conversion between GGUF and MLX is, against `dd bs=4M conv=fsync` of the same source on the same file system:
pairs by turns in random order, the ratio of the two medians.

    convert_speed.py [--anemo PATH] [--dir DIR] [--layers N] [--bits 4|8] [--pairs N] [--threads N] [--only to-gguf|to-mlx]

Makes an MLX model of Mistral 7B's shape (32 layers: 4 GB at 4 bits) with random codes in DIR (default /dev/shm), converts it
to GGUF and that back to MLX. DIR needs three times the model's size. The rate counts the bytes of the source.
"""
import argparse
import json
import os
import random
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time

EMBD, FF, KV, VOCAB, GROUP = 4096, 14336, 1024, 32768, 32


def modules(layers):
    yield "model.embed_tokens", VOCAB, EMBD
    yield "lm_head", VOCAB, EMBD
    for i in range(layers):
        base = f"model.layers.{i}."
        for name, rows, cols in (("self_attn.q_proj", EMBD, EMBD), ("self_attn.k_proj", KV, EMBD), ("self_attn.v_proj", KV, EMBD),
                                 ("self_attn.o_proj", EMBD, EMBD), ("mlp.gate_proj", FF, EMBD), ("mlp.up_proj", FF, EMBD),
                                 ("mlp.down_proj", EMBD, FF)):
            yield base + name, rows, cols


def make_mlx(folder, layers, bits):
    """model.safetensors and config.json; scales are 2^-10 to 2^-9, biases the offset of signed codes."""
    os.makedirs(folder)
    n = 1 << 22
    codes = random.Random(1).randbytes(4 * n)
    words = [0x1400 | random.Random(2).getrandbits(10) for _ in range(1 << 12)]
    up = {4: 3, 8: 7}[bits]
    scales = struct.pack(f"<{len(words)}H", *words) * (1 << 10)
    biases = struct.pack(f"<{len(words)}H", *((w ^ 0x8000) + (up << 10) for w in words)) * (1 << 10)
    norm = struct.pack("<H", 0x3C00) * EMBD
    tensors = []
    for name, rows, cols in modules(layers):
        tensors.append((name + ".weight", "U32", [rows, cols * bits // 32], codes))
        tensors.append((name + ".scales", "F16", [rows, cols // GROUP], scales))
        tensors.append((name + ".biases", "F16", [rows, cols // GROUP], biases))
    for i in range(layers):
        for norm_name in ("input_layernorm", "post_attention_layernorm"):
            tensors.append((f"model.layers.{i}.{norm_name}.weight", "F16", [EMBD], norm))
    tensors.append(("model.norm.weight", "F16", [EMBD], norm))
    header, at = {"__metadata__": {"format": "mlx"}}, 0
    for name, dtype, shape, _ in tensors:
        size = {"U32": 4, "F16": 2}[dtype]
        for d in shape:
            size *= d
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64 + 56)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, _, _, data in tensors:
            left = header[name]["data_offsets"][1] - header[name]["data_offsets"][0]
            while left > 0:
                f.write(data[:left])
                left -= len(data[:left])
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_size": EMBD, "intermediate_size": FF,
                   "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": VOCAB,
                   "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": None,
                   "tie_word_embeddings": False, "hidden_act": "silu",
                   "quantization": {"group_size": GROUP, "bits": bits, "mode": "affine"}}, f)


def size_of(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(path, n)) for n in os.listdir(path))


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def timed(*command):
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.monotonic() - begin


def measure(what, source, out, convert, pairs):
    """dd copies the one large file of the source."""
    weights = source if os.path.isfile(source) else os.path.join(source, "model.safetensors")
    size, times = size_of(weights), {"dd": [], "anemo": []}
    runs = {"dd": ["dd", f"if={weights}", f"of={out}.dd", "bs=4M", "conv=fsync"], "anemo": convert}
    for i in range(pairs + 1):
        for name in random.sample(sorted(runs), 2):
            seconds = timed(*runs[name])
            remove(out if name == "anemo" else out + ".dd")
            if i > 0:
                times[name].append(seconds)
    dd, ours = (statistics.median(times[name]) for name in ("dd", "anemo"))
    print(f"{what}: {size / 1e9:.2f} GB, dd {size / dd / 1e9:.2f} GB/s, anemo {size / ours / 1e9:.2f} GB/s, "
          f"ratio {dd / ours:.2f} (dd {min(times['dd']):.2f}-{max(times['dd']):.2f} s, "
          f"anemo {min(times['anemo']):.2f}-{max(times['anemo']):.2f} s, {pairs} pairs)")
    return dd / ours


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anemo", default="build/release/anemo")
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--bits", type=int, choices=(4, 8), default=4)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", default=str(len(os.sched_getaffinity(0))))
    parser.add_argument("--only", choices=("to-gguf", "to-mlx"))
    a = parser.parse_args()
    work = os.path.join(a.dir, f"anemo-convert-speed-{os.getpid()}")
    mlx, gguf, back = (os.path.join(work, n) for n in ("mlx", "model.gguf", "back"))
    worst = []
    try:
        make_mlx(mlx, a.layers, a.bits)
        options = ["-q", "--force"]
        if a.only != "to-mlx":
            worst.append(measure("MLX -> GGUF", mlx, gguf, [a.anemo, "convert", mlx, gguf, "--to", "gguf", "--threads", a.threads,
                                                            *options], a.pairs))
        if a.only != "to-gguf":
            subprocess.run([a.anemo, "convert", mlx, gguf, "--to", "gguf", *options], check=True)
            remove(mlx)
            worst.append(measure("GGUF -> MLX", gguf, back, [a.anemo, "convert", gguf, back, "--to", "mlx", "--threads", a.threads,
                                                             *options], a.pairs))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"peak memory of one process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB "
          "(maps of the source included)")
    return 0 if min(worst) >= 0.7 else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""
How fast safetensors become an MLX directory of 4 bits, against `python -m mlx_lm convert -q` on the CPU: pairs by turns in
random order, the ratio of the medians with its spread.

    mlx_convert_speed.py [--anemo PATH] [--python PATH] [--dir DIR] [--layers N] [--pairs N] [--threads N] [--bits 4]

Makes a bf16 Llama of Mistral 7B's widths (9 layers: 4 GB) with random weights in DIR (default /dev/shm), which needs 1.6 times
its size, and converts it from there (so the source is warm) to there. --python: of the engines' virtual environment (default:
what ANEMO_ENGINES names, or the user's cache). The rate counts the bytes of the source. Not in the times: importing mlx_lm
(measured apart and printed), for anemo nothing.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time

EMBD, FF, KV, VOCAB = 4096, 14336, 1024, 32768


def modules(layers):
    yield "model.embed_tokens", [VOCAB, EMBD]
    yield "lm_head", [VOCAB, EMBD]
    yield "model.norm", [EMBD]
    for i in range(layers):
        base = f"model.layers.{i}."
        for name, rows, cols in (("self_attn.q_proj", EMBD, EMBD), ("self_attn.k_proj", KV, EMBD), ("self_attn.v_proj", KV, EMBD),
                                 ("self_attn.o_proj", EMBD, EMBD), ("mlp.gate_proj", FF, EMBD), ("mlp.up_proj", FF, EMBD),
                                 ("mlp.down_proj", EMBD, FF)):
            yield base + name, [rows, cols]
        yield base + "input_layernorm", [EMBD]
        yield base + "post_attention_layernorm", [EMBD]


def noise(n):
    """n bf16 words: sums of uniform numbers, about normal, of size 0.02. A pool of them, shifted for every use."""
    rng = random.Random(7)
    return b"".join(struct.pack("<f", 0.02 * (sum(rng.random() for _ in range(6)) - 3))[2:] for _ in range(n))


def make_source(folder, layers):
    folder.mkdir()
    tensors, header, at = list(modules(layers)), {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        n = 2
        for d in shape:
            n *= d
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    pool, rng = noise(1 << 20), random.Random(8)
    pool += pool
    with open(folder / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            left = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            while left > 0:
                start, n = 2 * rng.randrange(1 << 20), min(left, 1 << 21)
                f.write(pool[start:start + n])
                left -= n
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": EMBD, "intermediate_size": FF,
              "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
              "vocab_size": VOCAB, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
              "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    # The smallest tokenizer that transformers opens.
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return at


def run(command, out):
    shutil.rmtree(out, ignore_errors=True)
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MLX_DEFAULT_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"})
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    shutil.rmtree(out, ignore_errors=True)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    home = os.environ.get("ANEMO_ENGINES") or os.path.expanduser("~/.cache/anemo/engines/current")
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--anemo", default="build/release/anemo")
    p.add_argument("--python", default=os.path.join(home, "bin", "python"))
    p.add_argument("--dir", default="/dev/shm")
    p.add_argument("--layers", type=int, default=9)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--bits", default="4")
    a = p.parse_args()
    folder = pathlib.Path(a.dir) / f"anemo-mlx-speed-{os.getpid()}"
    folder.mkdir()
    try:
        src, out = folder / "source", folder / "out"
        n_bytes = make_source(src, a.layers)
        ours = [a.anemo, "convert", str(src), str(out), "--to", "mlx", "--quantize", a.bits + "bit", "--threads", str(a.threads), "-q"]
        theirs = [a.python, "-m", "mlx_lm", "convert", "--hf-path", str(src), "--mlx-path", str(out), "-q", "--q-bits", a.bits]
        idle = [a.python, "-c", "import mlx_lm.convert"]
        start = min(run(idle, out)[0] for _ in range(3))
        run(ours, out)
        times = {"anemo": [], "mlx_lm": []}
        for i in range(a.pairs):
            for who in random.Random(i).sample(sorted(times), 2):
                wall, cpu = run(ours if who == "anemo" else theirs, out)
                wall -= start if who == "mlx_lm" else 0
                times[who].append(wall)
                print(f"{who:7} {wall:7.2f} s  {n_bytes / wall / 1e9:6.2f} GB/s  CPU {cpu:7.2f} s", flush=True)
        median = {who: statistics.median(t) for who, t in times.items()}
        ratios = sorted(b / c for b, c in zip(times["mlx_lm"], times["anemo"]))
        print(f"source {n_bytes / 1e9:.2f} GB, {a.threads} threads; importing mlx_lm takes {start:.2f} s, not counted")
        print(f"medians: anemo {median['anemo']:.2f} s, mlx_lm {median['mlx_lm']:.2f} s, "
              f"ratio {median['mlx_lm'] / median['anemo']:.2f} (pairs {ratios[0]:.2f} to {ratios[-1]:.2f})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

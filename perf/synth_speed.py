#!/usr/bin/env python3
"""How fast anemo synth writes, against a copy of the same number of bytes on the same file system:

    perf/synth_speed.py ANEMO FOLDER [PAIRS]

Each pair runs `anemo synth` and `dd bs=4M conv=fsync` in random order, dd on a file of the same size that is in memory (in
the page cache, or on tmpfs). Printed: the ratio of their speeds (more than 1: synth is faster), median and range over the
pairs, for a GGUF file of 4.1 GB, one of F16 and an MLX directory. FOLDER needs 9 GB.
"""
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time

CASES = [("GGUF Q4_K_M", ["mistral-7b-v0.3", "--quant", "Q4_K_M", "--layers", "30"], "gguf"),
         ("GGUF F16", ["mistral-7b-v0.3", "--quant", "F16", "--layers", "8"], "gguf"),
         ("MLX Q4_0", ["mistral-7b-v0.3", "--quant", "Q4_0", "--layers", "27", "--format", "mlx"], "mlx"),
         ("MLX Q5_1", ["mistral-7b-v0.3", "--quant", "Q5_1", "--layers", "22", "--format", "mlx"], "mlx")]


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def timed(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(name, words, pairs, anemo, folder):
    out, copy, source = folder / "synth.out", folder / "synth.copy", folder / "synth.source"
    subprocess.run([anemo, "synth", *words, "-o", out, "-q", "--force"], check=True)
    big = out / "model.safetensors" if out.is_dir() else out
    size = big.stat().st_size
    if source.exists():
        source.unlink()
    big.rename(source)
    remove(out)
    with source.open("rb") as f:  # warm
        while f.read(1 << 24):
            pass
    runs = {"synth": [anemo, "synth", *words, "-o", out, "-q"],
            "dd": ["dd", f"if={source}", f"of={copy}", "bs=4M", "conv=fsync"]}
    ratios, seen = [], {"synth": [], "dd": []}
    for _ in range(pairs):
        wall = {}
        for who in random.sample(list(runs), 2):
            wall[who], cpu = timed(runs[who])
            seen[who].append((wall[who], cpu))
            remove(out if who == "synth" else copy)
        ratios.append(wall["dd"] / wall["synth"])
    source.unlink()
    speed = {who: size / statistics.median(w for w, _ in seen[who]) / 1e9 for who in seen}
    print(f"{name}: {size / 1e9:.2f} GB, synth {speed['synth']:.2f} GB/s ({statistics.median(c for _, c in seen['synth']):.2f} s "
          f"of CPU), dd {speed['dd']:.2f} GB/s; ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
          f"{pairs} pairs", flush=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    anemo, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    pairs = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for name, words, _ in CASES:
        measure(name, words, pairs, anemo, folder)


if __name__ == "__main__":
    main()

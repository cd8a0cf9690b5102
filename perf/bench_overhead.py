#!/usr/bin/env python3
"""What anemo bench adds to llama-bench's figures: both on the same library, file and flags, turn by turn.

Each pair runs llama-bench and `anemo bench -e llama.cpp` one after the other, which of them first is drawn by lot, and
takes the median of each one's repetitions. Printed for each test: the Hodges-Lehmann estimate of the ratio anemo / llama-bench
with the 95 % interval of its Walsh averages, once over all pairs and once for either order. Exit status 1 when an interval does
not lie within the margin.

    perf/bench_overhead.py --llama-bench PATH [--anemo build/release/anemo] [--model FILE] [-t 2] [--pairs 30] [-r 3]

llama-bench must be linked to the very library that anemo's driver uses; this is looked at with ldd first.
"""
import argparse
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import time

LIBRARIES = ("libllama", "libggml", "libggml-base", "libggml-cpu")


def libraries(program):
    """{name: file} of the libraries in question as the loader resolves them."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    found = {}
    for name, path in re.findall(r"(\S+) => (/\S+)", text):
        base = name.split(".so")[0]
        if base in LIBRARIES:
            found[base] = os.path.realpath(path)
    return found


def measure(argv):
    """{test: median tokens/s} of one run."""
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}\nended with status {done.returncode}:\n{done.stderr}")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(r["n_prompt"], r["n_gen"]): statistics.median(r["samples_ts"]) for r in rows}, rows


def hodges_lehmann(values):
    """Estimate and 95 % interval of the centre of symmetry, from the Walsh averages."""
    n = len(values)
    walsh = sorted((values[i] + values[j]) / 2 for i in range(n) for j in range(i, n))
    m = len(walsh)
    spread = 1.959964 * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    k = max(0, int(math.floor(m / 2 - spread)))
    return statistics.median(walsh), walsh[k], walsh[m - 1 - k]


def label(test):
    prompt, gen = test
    return "+".join(([f"pp{prompt}"] if prompt else []) + ([f"tg{gen}"] if gen else []))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llama-bench", required=True)
    p.add_argument("--anemo", default=os.path.join(here, "../build/release/anemo"))
    p.add_argument("--driver", help="anemo-driver-llama (default: beside anemo)")
    p.add_argument("--model", default=os.path.join(os.environ.get("XDG_DATA_HOME", os.path.expanduser("~/.local/share")),
                                                   "anemo/models/smollm2-135m-instruct-q4_1.gguf"))
    p.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("-p", "--n-prompt", type=int, default=512)
    p.add_argument("-n", "--n-gen", type=int, default=128)
    p.add_argument("-r", "--repetitions", type=int, default=3)
    p.add_argument("--pairs", type=int, default=30)
    p.add_argument("--margin", type=float, default=1.0, help="percent (1)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", help="write all figures there")
    a = p.parse_args()
    driver = a.driver or os.path.join(os.path.dirname(os.path.abspath(a.anemo)), "anemo-driver-llama")
    theirs, ours = libraries(a.llama_bench), libraries(driver)
    for name in LIBRARIES:
        if name in theirs and theirs.get(name) != ours.get(name):
            sys.exit(f"not the same library: llama-bench has {theirs.get(name)}, anemo's driver {ours.get(name)}")
    flags = ["-m", a.model, "-p", str(a.n_prompt), "-n", str(a.n_gen), "-t", str(a.threads), "-r", str(a.repetitions),
             "-o", "jsonl"]
    commands = {"llama-bench": [a.llama_bench, *flags],
                "anemo": [a.anemo, "bench", "-e", "llama.cpp", *flags, "--no-store", "--no-probe", "-q"]}
    draw = random.Random(a.seed)
    pairs, begin = [], time.time()
    for name in commands:  # the page cache is warm for both, and both are known to work
        measure(commands[name])
    while len(pairs) < a.pairs:
        order = list(commands)
        draw.shuffle(order)
        result = {name: measure(commands[name])[0] for name in order}
        pairs.append({"first": order[0], **{name: {label(t): v for t, v in r.items()} for name, r in result.items()}})
        print(f"\rpair {len(pairs)}/{a.pairs}, {time.time() - begin:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    good = True
    print(f"{theirs.get('libllama')}\n{a.threads} threads, {len(pairs)} pairs of {a.repetitions} repetitions, "
          f"{time.time() - begin:.0f} s")
    for test in pairs[0]["anemo"]:
        logs = [math.log(q["anemo"][test] / q["llama-bench"][test]) for q in pairs]
        centre, lo, hi = hodges_lehmann(logs)
        inside = max(abs(math.expm1(lo)), abs(math.expm1(hi))) <= a.margin / 100
        good &= inside
        print(f"{test:>8}  anemo / llama-bench = {math.exp(centre):.4f}  95 % [{math.exp(lo):.4f}, {math.exp(hi):.4f}]  "
              f"{'within' if inside else 'NOT within'} {a.margin:g} %   "
              f"(medians {statistics.median(q['anemo'][test] for q in pairs):.2f} and "
              f"{statistics.median(q['llama-bench'][test] for q in pairs):.2f} t/s)")
        for first in commands:
            part = [v for v, q in zip(logs, pairs) if q["first"] == first]
            if len(part) >= 6:
                c, l, h = hodges_lehmann(part)
                print(f"{'':>8}  {first} first: {math.exp(c):.4f} [{math.exp(l):.4f}, {math.exp(h):.4f}] of {len(part)}")
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"flags": flags, "libraries": theirs, "pairs": pairs}, f, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

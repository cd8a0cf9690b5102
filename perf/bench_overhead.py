#!/usr/bin/env python3
"""What anemo bench adds to llama-bench's figures: both on the same library, file and flags, in pairs.

Turn by turn, each pair runs llama-bench and `anemo bench -e llama.cpp` one after the other; of every two pairs each program goes first in
one, in an order drawn by lot. With --together both run at the same moment, one thread each on a processor of its own, which they exchange
from pair to pair, and one test at a time: what the machine does in that moment then falls on both, and a pair says several times as much. A line
a pair shows how far it is. Printed for each test: the Hodges-Lehmann estimate of the ratio anemo / llama-bench with the 95 % interval of its
Walsh averages, of the medians and of the best of each turn's repetitions, over all pairs and for either order. Exit status 1 when an interval
(--by) does not lie within the margin.

    perf/bench_overhead.py --llama-bench PATH [--together] [--anemo build/release/anemo] [--model FILE] [-t 1] [--pairs 200] [--keep FILE]

--keep FILE holds the pairs and goes on from those that are there: a long series in pieces, each as long as the machine can be had.

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
STATISTICS = {"median": statistics.median, "best": max}


def libraries(program):
    """{name: file} of the libraries in question as the loader resolves them."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    found = {}
    for name, path in re.findall(r"(\S+) => (/\S+)", text):
        base = name.split(".so")[0]
        if base in LIBRARIES:
            found[base] = os.path.realpath(path)
    return found


def start(argv, cpu=None):
    """One run, on processor `cpu` alone if one is given."""
    pin = (lambda: os.sched_setaffinity(0, {cpu})) if cpu is not None else None
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=pin)


def result(run):
    """{test: tokens/s of each repetition} of one run, when it is over."""
    out, errors = run.communicate()
    if run.returncode != 0:
        sys.exit(f"{' '.join(run.args)}\nended with status {run.returncode}:\n{errors}")
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {label((r["n_prompt"], r["n_gen"])): r["samples_ts"] for r in rows}


def turn_by_turn(commands, tests, order):
    """A pair: each program with all tests, one after the other."""
    sizes = ["-p", str(tests[0][0]), "-n", str(tests[1][1])]
    return {name: result(start([*commands[name], *sizes])) for name in order}


def together(commands, tests, order, cpus):
    """A pair: for each test both programs at the same moment, order[0] on the first processor."""
    pair = {name: {} for name in order}
    for prompt, gen in tests:
        sizes = ["-p", str(prompt), "-n", str(gen)]
        runs = {name: start([*commands[name], *sizes], cpu) for name, cpu in zip(order, cpus)}
        for name, run in runs.items():
            pair[name].update(result(run))
    return pair


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


def log_ratio(pair, test, by):
    return math.log(STATISTICS[by](pair["anemo"][test]) / STATISTICS[by](pair["llama-bench"][test]))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llama-bench", required=True)
    p.add_argument("--anemo", default=os.path.join(here, "../build/release/anemo"))
    p.add_argument("--driver", help="anemo-driver-llama (default: beside anemo)")
    p.add_argument("--model", default=os.path.join(os.environ.get("XDG_DATA_HOME", os.path.expanduser("~/.local/share")),
                                                   "anemo/models/smollm2-135m-instruct-q4_1.gguf"))
    p.add_argument("-t", "--threads", type=int, default=1)
    p.add_argument("-p", "--n-prompt", type=int, default=128)
    p.add_argument("-n", "--n-gen", type=int, default=32)
    p.add_argument("-r", "--repetitions", type=int, default=3)
    p.add_argument("--together", action="store_true", help="both programs of a pair at the same moment, a thread each")
    p.add_argument("--pairs", type=int, default=200, help="at most, with those kept")
    p.add_argument("--minutes", type=float, default=math.inf, help="begin no pair that would end later")
    p.add_argument("--by", choices=STATISTICS, default="median", help="of a turn's repetitions, for the exit status")
    p.add_argument("--margin", type=float, default=1.0, help="percent (1)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--keep", help="file of all figures: read first where it is there, written after each pair")
    a = p.parse_args()
    driver = a.driver or os.path.join(os.path.dirname(os.path.abspath(a.anemo)), "anemo-driver-llama")
    theirs, ours = libraries(a.llama_bench), libraries(driver)
    for name in LIBRARIES:
        if name in theirs and theirs.get(name) != ours.get(name):
            sys.exit(f"not the same library: llama-bench has {theirs.get(name)}, anemo's driver {ours.get(name)}")
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if a.together and (a.threads != 1 or len(cpus) < 2):
        sys.exit("--together needs two processors, and one thread (-t 1)")
    tests = [(a.n_prompt, 0), (0, a.n_gen)]
    flags = ["-m", a.model, "-t", str(a.threads), "-r", str(a.repetitions), "-o", "jsonl"]
    commands = {"llama-bench": [a.llama_bench, *flags],
                "anemo": [a.anemo, "bench", "-e", "llama.cpp", *flags, "--no-store", "--no-probe", "-q"]}
    kept = {"flags": [*flags, *map(str, tests), *(["together"] if a.together else [])], "libraries": theirs, "pairs": []}
    known = kept["flags"]
    if a.keep and os.path.exists(a.keep):
        with open(a.keep) as f:
            before = json.load(f)
        if (before["flags"], before["libraries"]) != (known, theirs):
            sys.exit(f"{a.keep} holds pairs of other flags or libraries: {' '.join(before['flags'])}")
        kept = before
    pairs, begin, longest = kept["pairs"], time.time(), 0.0
    turn_by_turn(commands, tests, list(commands))  # the page cache is warm for both, and both are known to work
    while len(pairs) < a.pairs:
        at = time.time()
        if at - begin + longest > 60 * a.minutes:
            break
        first = random.Random(a.seed + len(pairs) // 2).randrange(2) ^ len(pairs) % 2
        order = list(commands)[::-1 if first else 1]
        pair = together(commands, tests, order, cpus) if a.together else turn_by_turn(commands, tests, order)
        pairs.append({"first": order[0], **pair})
        longest = max(longest, time.time() - at)
        if a.keep:
            with open(a.keep + ".new", "w") as f:
                json.dump(kept, f)
            os.replace(a.keep + ".new", a.keep)
        print(f"pair {len(pairs)}, {time.time() - begin:.0f} s: " + ", ".join(
            f"{test} {math.exp(log_ratio(pairs[-1], test, a.by)):.3f}, all {math.exp(c):.4f} [{math.exp(lo):.4f}, {math.exp(hi):.4f}]"
            for test in pairs[-1]["anemo"] for c, lo, hi in [hodges_lehmann([log_ratio(q, test, a.by) for q in pairs])]),
            flush=True)
    return judge(pairs, a, theirs, time.time() - begin)


def judge(pairs, a, libraries_used, seconds):
    """Print what the pairs say; 1 when an interval is too wide or lies elsewhere."""
    good = bool(pairs)
    print(f"{libraries_used.get('libllama')}\n{a.threads} threads, {len(pairs)} pairs of {a.repetitions} repetitions, {seconds:.0f} s this time")
    for test in pairs[0]["anemo"] if pairs else ():
        for by in STATISTICS:
            logs = [log_ratio(q, test, by) for q in pairs]
            centre, lo, hi = hodges_lehmann(logs)
            inside = max(abs(math.expm1(lo)), abs(math.expm1(hi))) <= a.margin / 100
            good &= inside or by != a.by
            values = {name: statistics.median(STATISTICS[by](q[name][test]) for q in pairs) for name in ("anemo", "llama-bench")}
            print(f"{test:>8}  {by:>6}  anemo / llama-bench = {math.exp(centre):.4f}  95 % [{math.exp(lo):.4f}, {math.exp(hi):.4f}]  "
                  f"{'within' if inside else 'NOT within'} {a.margin:g} %   "
                  f"(medians {values['anemo']:.2f} and {values['llama-bench']:.2f} t/s, spread of a pair {statistics.pstdev(logs):.2%})")
            for first in ("llama-bench", "anemo"):
                part = [v for v, q in zip(logs, pairs) if q["first"] == first]
                if len(part) >= 6:
                    c, low, high = hodges_lehmann(part)
                    print(f"{'':>16}  {first} first: {math.exp(c):.4f} [{math.exp(low):.4f}, {math.exp(high):.4f}] of {len(part)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Real comparisons under disturbance: threads 1 against 2, and the same cell against itself, while another process hogs memory in
bursts of 200 ms, 20 % of the time. Prints a table and says whether the bars of docs/statistics.md hold: A/B never the wrong way
round and at most three undecided of ten, A/A never faster or slower.

    perf/real_ab.py [--anemo build/release/anemo] [--model NAME] [--engine llama.cpp] [--runs 10] [--budget 10m] [--no-hog]
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time

BURST_S, PERIOD_S = 0.2, 1.0
HOG_BYTES = 128 << 20


def hog():
    """Copies memory in bursts; a slice of a memoryview is copied by memcpy, so no time goes to the interpreter."""
    a, b = bytearray(HOG_BYTES), bytearray(HOG_BYTES)
    source, target = memoryview(a), memoryview(b)
    while True:
        begin = time.monotonic()
        while time.monotonic() - begin < BURST_S:
            target[:] = source
        time.sleep(max(0.0, PERIOD_S - (time.monotonic() - begin)))


def compare(args, extra, folder):
    """One run: its document and exit status."""
    out = folder / "run.json"
    out.unlink(missing_ok=True)
    command = [args.anemo, "compare", args.model, "--engine", args.engine, "-q", "--no-store", "-n", str(args.n), "--format", "json",
               "-o", str(out), "--budget", args.budget, *extra]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 7):
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(out.read_text()), done.returncode


def decode_verdict(run):
    """The verdict on decode speed of the second cell against the first."""
    found = [v for v in run["verdicts"] if v["field"] == "decode_tps"]
    if len(found) != 1:
        sys.exit(f"expected one verdict on decode_tps, found {run['verdicts']}")
    return found[0]


def row(number, run, verdict, seconds):
    print(f"{number:>5}  {verdict['verdict']:<11} {verdict['ratio']:7.3f}  {verdict['lo']:.3f} to {verdict['hi']:.3f}"
          f"  {run['n_block']:>6}  {run['stop_reason']:<8} {seconds:7.0f}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--anemo", default="build/release/anemo")
    p.add_argument("--model", default="smollm2-135m-instruct-q4_1")
    p.add_argument("--engine", default="llama.cpp")
    p.add_argument("--runs", type=int, default=10)
    p.add_argument("--budget", default="10m")
    p.add_argument("-n", type=int, default=50)
    p.add_argument("--no-hog", action="store_true")
    p.add_argument("--only", choices=["ab", "aa"])
    args = p.parse_args()
    args.anemo = str(pathlib.Path(args.anemo).resolve())
    worker = None if args.no_hog else multiprocessing.Process(target=hog, daemon=True)
    if worker:
        worker.start()
    counts = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, extra in [("ab", ["--threads", "1,2"]), ("aa", ["--threads", "2", "--aa"])]:
                if args.only not in (None, name):
                    continue
                title = "A/B: threads 2 against 1" if name == "ab" else "A/A: the same cell twice"
                print(f"\n{title}\n  run  verdict       ratio  interval        blocks  ended    seconds")
                counts[name] = {}
                for i in range(args.runs):
                    begin = time.monotonic()
                    run, _ = compare(args, extra, pathlib.Path(folder))
                    verdict = decode_verdict(run)
                    row(i + 1, run, verdict, time.monotonic() - begin)
                    counts[name][verdict["verdict"]] = counts[name].get(verdict["verdict"], 0) + 1
    finally:
        if worker:
            worker.kill()
    faults = []
    if "ab" in counts:
        if counts["ab"].get("lower"):
            faults.append(f"A/B was the wrong way round {counts['ab']['lower']} times")
        open_ends = args.runs - counts["ab"].get("higher", 0) - counts["ab"].get("lower", 0)
        if open_ends > 0.3 * args.runs:
            faults.append(f"A/B was not decided {open_ends} times of {args.runs}")
    if "aa" in counts:
        called = counts["aa"].get("lower", 0) + counts["aa"].get("higher", 0)
        if called:
            faults.append(f"A/A was called {called} times")
    print(f"\n{os.uname().nodename}, {os.cpu_count()} CPUs, " + ("no hog" if args.no_hog else "hog 200 ms of each second"))
    for name, found in counts.items():
        print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in sorted(found.items())))
    for fault in faults:
        print(f"NOT HELD: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

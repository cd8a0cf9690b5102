#!/usr/bin/env python3
"""
A llama-bench that computes nothing. By the name it is called by: "fast" and "slow" have llama.cpp's flags, "other" those of
ik_llama.cpp, "bare" only the few that every one has, "failing" ends with a message, "odd" has a help of its own, "hanging" sleeps.
Each knows one setting that is better than the others, so that a test can see which one was chosen. FAKE_BENCH_LOG: every call is
added there.
"""
import json
import os
import sys
import time

NAME = os.path.basename(sys.argv[0])
BARE = """options:
  -h, --help
  -m, --model <filename>              (default: none)
  -p, --n-prompt <n>                  (default: 512)
  -n, --n-gen <n>                     (default: 128)
  -t, --threads <n>                   (default: 1)
  -o, --output <csv|json|md>          (default: md)
"""
LLAMA = BARE + """  -d, --n-depth <n>                   (default: 0)
  -ub, --ubatch-size <n>              (default: 512)
  -r, --repetitions <n>               number of times (default: 5)
  -fa, --flash-attn <on|off|auto>     (default: auto)
  --no-warmup                         skip warmup
  --repack <0|1>                      (default: 1)
"""
OTHER = BARE + """  -gp <pp,tg>                         (default: )
  -r, --repetitions <n>               (default: 5)
  -fa, --flash-attn <0|1>             (default: 1)
  -w, --warmup <0|1>                  (default: 1)
  -rtr, --run-time-repack <0|1>       (default: 0)
"""
HELP = {"other": OTHER, "bare": BARE, "odd": "usage: odd [--speed]\n"}.get(NAME, LLAMA)


def parse(argv):
    """{flag: value}; a flag that the help does not have ends the program, as the real one does."""
    offered, values, i = {w.strip(",") for w in HELP.split() if w.startswith("-")}, {}, 0
    while i < len(argv):
        if argv[i] not in offered:
            sys.exit(f"error: invalid parameter for argument: {argv[i]}")
        if argv[i] == "--no-warmup":
            i += 1
            continue
        values[argv[i]] = argv[i + 1]
        i += 2
    return values


def row(prompt, gen, depth, speed, n, more):
    return {"n_prompt": prompt, "n_gen": gen, "samples_ts": [speed * (1 + 0.01 * k) for k in range(n)], "avg_ts": speed} | \
        ({"n_depth": depth} if NAME != "other" else {}) | more


def main():
    if "--help" in sys.argv:
        print(HELP)
        return 0
    values = parse(sys.argv[1:])
    if os.environ.get("FAKE_BENCH_LOG"):
        with open(os.environ["FAKE_BENCH_LOG"], "a", encoding="utf-8") as f:
            f.write(NAME + " " + " ".join(sys.argv[1:]) + "\n")
    if NAME == "failing":
        sys.exit("error: failed to load model: unknown type")
    if NAME == "hanging":
        time.sleep(600)
    if not os.path.exists(values["-m"]):
        sys.exit("error: no model")
    speed = {"slow": 3.0, "other": 18.0}.get(NAME, 20.0)
    # Best: no repacking and flash attention on; for the other one run-time repack, and flash attention off.
    speed *= {"0": 1.2, "1": 1.0}.get(values.get("--repack"), 1.0) * {"1": 1.3, "0": 1.0}.get(values.get("-rtr"), 1.0)
    speed *= {"on": 1.1, "0": 1.1}.get(values.get("-fa"), 1.0)
    n, depth, rows = int(values.get("-r", 5)), int(values.get("-d", 0)), []
    for prompt in map(int, values.get("-p", "0").split(",")):
        if prompt:
            rows.append(row(prompt, 0, depth, 10 * speed, n, {"test": f"pp{prompt}"}))
    for gen in map(int, values.get("-n", "0").split(",")):
        if gen:
            rows.append(row(0, gen, depth, speed, n, {"test": f"tg{gen}"}))
    if "-gp" in values:
        prompt, gen = map(int, values["-gp"].split(","))
        rows.append(row(prompt, gen, 0, speed / 2, n, {"test": f"tg{gen}@pp{prompt}"}))
    print("a line that is no JSON\n" + json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""How fast `anemo pull` moves a file over loopback, checksum included: pull_speed.py [--build DIR] [--bytes N] [--runs N].

A hub of the tests (tests/hub/fake_hub.py) serves one GGUF file of random bytes from a folder in /dev/shm; the cache lies there
too. Each run begins with an empty cache. For comparison: `curl -o FILE` of the same address on one connection, without a
checksum. Prints every run's seconds by the clock and of CPU (user and system), then medians. The server, in Python, takes a
processor of its own.
"""
import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/hub"))


def timed(words, env):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path)
    p.add_argument("--bytes", default=1_000_000_000, type=int)
    p.add_argument("--runs", default=5, type=int)
    args = p.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as temp:
        temp = pathlib.Path(temp)
        folder = temp / "served/org/big"
        folder.mkdir(parents=True)
        with open(folder / "big-Q4_K_M.gguf", "wb") as f:
            for left in range(args.bytes, 0, -(1 << 20)):
                f.write(os.urandom(min(left, 1 << 20)))
        hub = subprocess.Popen([sys.executable, ROOT / "tests/hub/fake_hub.py", temp / "served"], stdout=subprocess.PIPE,
                               text=True)
        try:
            address = hub.stdout.readline().split()[-1]
            env = dict(os.environ, HF_ENDPOINT=address, HF_HOME=str(temp / "home"), XDG_DATA_HOME=str(temp / "data"))
            pull = [args.build / "anemo", "pull", "-q", "org/big"]
            curl = ["curl", "-sSL", "-o", temp / "copy", f"{address}/org/big/resolve/main/big-Q4_K_M.gguf"]
            walls = {"pull": [], "curl": []}
            for run in range(args.runs + 1):
                for name, words in (("pull", pull), ("curl", curl)):
                    if name == "curl" and not shutil.which("curl"):
                        continue
                    wall, cpu = timed(words, env)
                    shutil.rmtree(temp / "home", ignore_errors=True)
                    (temp / "copy").unlink(missing_ok=True)
                    print(f"{name}  {wall:7.3f} s  {cpu:7.3f} s of CPU{'  (warm-up)' if run == 0 else ''}", flush=True)
                    if run:
                        walls[name].append(wall)
            for name, w in walls.items():
                if w:
                    print(f"{name}: median {args.bytes / 1e6 / statistics.median(w):.0f} MB/s "
                          f"({args.bytes / 1e6 / max(w):.0f} to {args.bytes / 1e6 / min(w):.0f})")
        finally:
            hub.terminate()
            hub.wait()


if __name__ == "__main__":
    main()

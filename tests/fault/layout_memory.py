#!/usr/bin/env python3
"""Laying out weights, seen from outside, on a model of real widths: peak memory of each layout stays within
file x 1.05 + cache of keys and values + 100 MiB, and processes that are killed while they write a layout file leave nothing that
a later one believes: layout_memory.py KILLS. Environment: ANEMO_BUILD.
"""
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]).resolve() / "anemo"
N_CTX = 640


class Worker:
    """A native worker; `ask` sends a request and gives its answer."""

    def __init__(self, cache):
        self.process = subprocess.Popen([ANEMO, "worker", "native"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=dict(os.environ, XDG_CACHE_HOME=str(cache)))
        self.read()

    def read(self):
        while True:
            answer = json.loads(self.process.stdout.readline())
            if answer["type"] != "heartbeat":
                return answer

    def send(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def ask(self, request):
        self.send(request)
        answer = self.read()
        assert answer["type"] != "error", answer
        return answer

    def load(self, model, layout):
        return {"type": "load", "id": 1, "model": str(model), "settings": {"n_ctx": N_CTX, "layout": layout}}

    def peak(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024

    def close(self):
        self.send({"type": "quit"})
        assert self.process.wait(60) == 0


def measure(model, cache, layout):
    """Layout taken, ids generated and peak memory of a run; two ids in front, so that nothing hides in a batch."""
    worker = Worker(cache)
    loaded = worker.ask(worker.load(model, layout))
    made = worker.ask({"type": "generate", "id": 2, "prompt_ids": list(range(1, 40)), "n_predict": 4, "fixed_length": True})
    peak = worker.peak()
    worker.close()
    return loaded["effective"]["layout"], made["token_ids"], peak


def main():
    kills, bad = int(sys.argv[1]), []
    rng = random.Random(5)
    with tempfile.TemporaryDirectory(prefix="anemo-layout-") as temp:
        temp = pathlib.Path(temp)
        model, cache = temp / "m.gguf", temp / "cache"
        subprocess.run([ANEMO, "synth", "mistral-7b-v0.3", "--layers", "1", "--quant", "Q4_K_M", "-o", model, "-q"], check=True)
        size = model.stat().st_size
        kv = 2 * 2 * 8 * 128 * N_CTX  # f16, 8 heads of 128, one layer
        _, expected, _ = measure(model, cache, "mapped")
        begin = time.monotonic()
        worker = Worker(cache)
        worker.ask(worker.load(model, "cached"))
        takes = time.monotonic() - begin
        worker.close()
        for path in (cache / "anemo/layout").iterdir():
            path.unlink()
        for _ in range(kills):
            worker = Worker(cache)
            worker.send(worker.load(model, "cached"))
            time.sleep(rng.uniform(0, takes))
            worker.process.kill()
            worker.process.wait()
            # Whatever stands under the final name must be whole.
            _, ids, _ = measure(model, cache, "cached")
            if ids != expected:
                bad.append(f"other ids after a kill: {ids} instead of {expected}")
            left = [p.name for p in (cache / "anemo/layout").iterdir()]
            if len(left) != 1:
                bad.append(f"left behind: {left}")
            if rng.random() < 0.7:
                (cache / "anemo/layout" / left[0]).unlink()
        for layout in ("mapped", "repacked", "cached", "cached"):
            took, ids, peak = measure(model, cache, layout)
            bar = size * 1.05 + kv + (100 << 20)
            print(f"{layout}: took {took}, peak {peak / 2**20:.0f} MiB of {bar / 2**20:.0f} MiB (file {size / 2**20:.0f} MiB)")
            if ids != expected:
                bad.append(f"{layout}: other ids: {ids} instead of {expected}")
            if peak > bar:
                bad.append(f"{layout}: peak of {peak} bytes, at most {bar:.0f} are allowed")
    print(*bad, sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A driver whose speed is known: it speaks the driver protocol, does no work, and its clock is a virtual one, so that a
repetition of a minute takes a millisecond. Put it in place of any engine:

    ANEMO_DRIVER_LLAMA_CPP="python3 tests/support/fake_engine.py --decode 100 --state DIR/clock" anemo compare …

Speed
  --decode TPS       decode steps per second at one thread (100)
  --prefill TPS      prompt tokens per second at one thread (1000)
  --scaling E        speeds are multiplied by threads ** E (0: threads change nothing)
  --noise SD         every repetition's speed is multiplied by exp(SD * normal) (0)
  --jitter SD        and every step's by exp(SD * normal) of its own (0)
  --warm-up N:F      the first N repetitions of a worker are F times as slow (0:1)
  --second F         every second worker that loads with the same --state is F times as fast as the others (1)
  --seed N           of the noise (1); with --state every repetition of a run has noise of its own all the same
Drift
  --state FILE       the virtual clock, shared by all workers that name the same file: time goes on whoever runs
  --trace FILE       drift: lines "SECONDS FACTOR" (more columns and lines with # are left out); speeds are multiplied by the
                     factor at that time, linear between lines, from the beginning again after the last
  --gap S            virtual time between two repetitions (0.05)
Behaviour
  --real S           real seconds that a repetition sleeps (0)
  --real-load S      real seconds that loading sleeps (0)
  --load S           what it says that loading took (0.5); with a cold page cache the parent says so itself
  --memory MIB       anonymous memory that it takes and touches when it loads (0)
  --diverge N        from id N on its ids are others than every other fake engine's (never)
  --vocab N          ids are below N (200)
  --name NAME        the engine's name in hello ("fake")
Faults; K counts the repetitions of one worker from 1, warm-ups included; "load" and "hello" fail there; with --fault-file the
fault comes once: the file is made when it does, and where it exists there is no fault
  --crash K          SIGSEGV at repetition K
  --exit K           ends with status 3 there, after a line on stderr
  --hang K           answers no more
  --error K          answers with an error and lives on
  --garbage K        writes what is no message
  --fault-file FILE
"""
import argparse
import fcntl
import json
import math
import os
import random
import signal
import sys
import time

MIB = 1 << 20


class Trace:
    """Factors over time, linear in between, repeated for ever."""

    def __init__(self, path):
        self.points = []
        with open(path) as lines:
            for line in lines:
                fields = line.split()
                if fields and not line.startswith("#"):
                    self.points.append((float(fields[0]), float(fields[1])))
        if not self.points or any(factor <= 0 for _, factor in self.points):
            sys.exit(f"fake engine: {path}: no lines of SECONDS FACTOR with factors above 0")
        self.at_index = 0

    def at(self, t):
        first, last = self.points[0][0], self.points[-1][0]
        t = first + (t - first) % (last - first) if last > first else first
        i = self.at_index if self.points[self.at_index][0] <= t else 0
        while i + 1 < len(self.points) and self.points[i + 1][0] <= t:
            i += 1
        self.at_index = i
        if i + 1 == len(self.points):
            return self.points[i][1]
        (t0, f0), (t1, f1) = self.points[i], self.points[i + 1]
        return f0 + (f1 - f0) * (t - t0) / (t1 - t0)


class Clock:
    """Virtual seconds and a count of repetitions: in a file that workers share, or only here."""

    def __init__(self, path):
        self.t, self.n = 0.0, 0
        self.file = open(path, "a+") if path else None

    def begin(self):
        if self.file:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.file.seek(0)
            text = self.file.read().split()
            if len(text) == 2:
                self.t, self.n = float(text[0]), int(text[1])
        self.n += 1
        return self.n

    def end(self):
        if self.file:
            self.file.truncate(0)
            self.file.write(f"{self.t!r} {self.n}\n")
            self.file.flush()
            fcntl.flock(self.file, fcntl.LOCK_UN)


def send(message):
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Engine:
    def __init__(self, args):
        self.args = args
        self.clock = Clock(args.state)
        self.trace = Trace(args.trace) if args.trace else None
        self.warm_n, self.warm_factor = args.warm_up
        self.threads = 1
        self.n_rep = 0
        self.memory = None
        self.own_factor = 1.0

    def fault(self, where, request):
        a = self.args
        kind = next((k for k in ("crash", "exit", "hang", "error", "garbage") if getattr(a, k) == where), None)
        if kind is None or (a.fault_file and os.path.exists(a.fault_file)):
            return False
        if a.fault_file:
            open(a.fault_file, "w").close()
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif kind == "exit":
            print("fake engine: this is my fault", file=sys.stderr)
            os._exit(3)
        elif kind == "hang":
            while True:
                time.sleep(1000)
        elif kind == "garbage":
            print("loss = 3.1", flush=True)
        else:
            send({"type": "error", "id": request, "status": "engine", "message": "the fake engine was told to fail"})
        return True

    def hello(self):
        self.fault("hello", None)
        send({"type": "hello", "protocol": "anemo.driver/1", "driver": "fake", "driver_version": "1", "engine": self.args.name,
              "engine_version": "1.0", "library": None, "formats": ["gguf", "mlx"],
              "clock": {"kind": "monotonic", "resolution_ns": 1},
              "capabilities": {"ids": True, "fixed_length": True, "threads": True, "kv_types": ["f16", "f32"]},
              "devices": [{"name": "cpu", "kind": "cpu", "description": "virtual"}]})

    def load(self, m):
        if self.fault("load", m["id"]):
            return
        settings = m["settings"]
        self.threads = settings["threads"]
        if self.args.memory:
            self.memory = bytearray(self.args.memory * MIB)
            for i in range(0, len(self.memory), 4096):
                self.memory[i] = 1
        time.sleep(self.args.real_load)
        if self.args.second != 1:
            with open(self.args.state + ".workers", "ab") as count:
                fcntl.flock(count, fcntl.LOCK_EX)
                count.write(b"x")
                self.own_factor = self.args.second if count.tell() % 2 == 0 else 1.0
        effective = dict(settings, device="cpu", compute_dtype="f32", flash_attn="off", n_gpu_layers=0)
        send({"type": "loaded", "id": m["id"], "load_s": self.args.load, "effective": effective,
              "model": {"format": "gguf" if m["model"].endswith(".gguf") else "mlx", "quantization": "FAKE",
                        "n_vocab": self.args.vocab, "n_ctx_train": 1 << 20}})

    def factor(self):
        return self.trace.at(self.clock.t) if self.trace else 1.0

    def generate(self, m):
        self.n_rep += 1
        if self.fault(str(self.n_rep), m["id"]):
            return
        a, c = self.args, self.clock
        time.sleep(a.real)
        n = c.begin()
        rng = random.Random(f"{a.seed} {a.name} {a.decode} {n}")
        c.t += a.gap
        scale = self.own_factor * self.threads ** a.scaling * math.exp(rng.gauss(0, a.noise))
        if self.n_rep <= self.warm_n:
            scale /= self.warm_factor
        start, stamps = c.t, []
        c.t += len(m["prompt_ids"]) / (a.prefill * scale * self.factor())
        for i in range(m["n_predict"]):
            if i:
                c.t += 1 / (a.decode * scale * self.factor() * (math.exp(rng.gauss(0, a.jitter)) if a.jitter else 1))
            stamps.append(round(c.t * 1e9))
        c.end()
        base = sum(m["prompt_ids"]) + len(m["prompt_ids"])
        ids = [(base + 7919 * i + (1 if i >= a.diverge else 0)) % a.vocab for i in range(m["n_predict"])]
        send({"type": "generated", "id": m["id"], "token_ids": ids, "t_start_ns": round(start * 1e9), "t_tokens_ns": stamps,
              "stop_reason": "length"})


def warm_up(text):
    n, _, factor = text.partition(":")
    return int(n), float(factor or 1)


def parse():
    p = argparse.ArgumentParser(description="a driver of known speed; see the head of this file")
    for name, kind, default in [("decode", float, 100.0), ("prefill", float, 1000.0), ("scaling", float, 0.0), ("noise", float, 0.0),
                                ("jitter", float, 0.0), ("seed", int, 1), ("second", float, 1.0), ("gap", float, 0.05), ("real", float, 0.0),
                                ("real-load", float, 0.0), ("load", float, 0.5), ("memory", int, 0), ("diverge", int, sys.maxsize),
                                ("vocab", int, 200)]:
        p.add_argument("--" + name, type=kind, default=default)
    for name in ("state", "trace", "crash", "exit", "hang", "error", "garbage", "fault-file"):
        p.add_argument("--" + name)
    p.add_argument("--warm-up", type=warm_up, default=(0, 1.0))
    p.add_argument("--name", default="fake")
    return p.parse_args()


def main():
    engine = Engine(parse())
    engine.hello()
    for line in sys.stdin:
        m = json.loads(line)
        kind = m.get("type")
        if kind == "quit":
            return
        if kind == "load":
            engine.load(m)
        elif kind == "generate":
            engine.generate(m)
        elif kind != "cancel":
            send({"type": "error", "id": m.get("id"), "status": "unsupported", "message": f"the fake engine does not know '{kind}'"})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The mlx driver against mlx-lm on a real model, both in float32: the same greedy ids, nearly the same logits.

usage: smollm2.py DRIVER [MODEL]; run it with the Python of the engines' virtual environment. MODEL is an MLX directory, by default
the SmolLM2 one that ./quickstart makes. Exits with 77 (skipped) where it or mlx-lm is missing. An x86 CPU does about ten
tokens a second here, so this runs 130 in all.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import mlx.core as mx
    import mlx_lm.utils
    import numpy as np
    from mlx_lm.generate import generate_step
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

PROMPT = [10576, 11396, 260, 1420, 16587, 47]  # "Who invented the light bulb?"
# What llama.cpp continues with from the very same weights.
CONTINUATION = [198, 198, 504, 2988, 314, 42, 216, 33, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 30, 2, 198]
TEXT = PROMPT + CONTINUATION + [520, 9531, 284, 253, 1165, 28, 338, 506, 314, 2045, 327, 451]
SETTINGS = {"n_ctx": 128, "n_batch": 16, "n_ubatch": 16, "threads": 2, "threads_batch": 2, "kv_type": "f16",
            "flash_attn": "auto", "device": "cpu", "n_gpu_layers": -1, "compute_dtype": "auto", "stock": False}


class Worker:
    def __init__(self, command):
        self.process = subprocess.Popen([command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.n = 0
        self.hello = json.loads(self.process.stdout.readline())

    def ask(self, kind, want, **keys):
        self.n += 1
        print(json.dumps({"type": kind, "id": self.n} | keys), file=self.process.stdin, flush=True)
        while True:
            answer = json.loads(self.process.stdout.readline())
            if answer["type"] == "heartbeat":
                continue
            assert answer["type"] == want, answer
            return answer

    def quit(self):
        print('{"type":"quit"}', file=self.process.stdin, flush=True)
        return self.process.wait(60)


def ours(driver, folder):
    worker = Worker(driver)
    assert worker.hello["engine_version"] == mx.__version__, worker.hello
    loaded = worker.ask("load", "loaded", model=folder, settings=SETTINGS)
    effective = loaded["effective"]
    assert effective["device"] == "cpu" and effective["threads"] is None, effective
    assert effective["compute_dtype"] == "f32" and effective["kv_type"] == "f32", effective
    done = worker.ask("generate", "generated", prompt_ids=PROMPT, n_predict=len(CONTINUATION), fixed_length=True,
                      stop_ids=[], stream=False, sampling={"temperature": 0})
    n_vocab = loaded["model"]["n_vocab"]
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(len(TEXT) * n_vocab * 4)
        worker.ask("logits", "logits", ids=TEXT, file=file.name, n_vocab=n_vocab)
        logits = np.fromfile(file.name, dtype="<f4").reshape(len(TEXT), n_vocab)
    assert worker.quit() == 0, "the driver did not exit cleanly (it reports handles that were not freed)"
    return done["token_ids"], logits


def theirs(folder):
    model, _ = mlx_lm.utils.load_model(pathlib.Path(folder))
    model.set_dtype(mx.float32)
    ids = [int(y) for y, _ in generate_step(mx.array(PROMPT), model, max_tokens=len(CONTINUATION) - 1)]
    return ids, np.array(model(mx.array([TEXT]))[0])


def main():
    models = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "anemo/models")
    folder = sys.argv[2] if len(sys.argv) > 2 else os.path.join(models, "smollm2-135m-instruct-q4_1-mlx")
    if not os.path.exists(os.path.join(folder, "config.json")):
        print(f"skipped: no {folder}; ./quickstart makes it")
        return 77
    mx.set_default_device(mx.cpu)
    ids, logits = ours(sys.argv[1], folder)
    want_ids, want = theirs(folder)
    difference, largest = float(np.abs(logits - want).max()), float(np.abs(want).max())
    print(f"largest logit {largest:.4f}, largest difference {difference:.2e}")
    print("ids", *ids)
    assert ids == CONTINUATION, f"expected {CONTINUATION}"
    assert ids[:len(want_ids)] == want_ids, f"mlx-lm gives {want_ids}"
    assert difference <= 1e-4 * largest, "the logits are too far apart"
    return 0


if __name__ == "__main__":
    sys.exit(main())

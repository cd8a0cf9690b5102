#!/usr/bin/env python3
"""A model file that is cut short while it is mapped: the worker names it and exits with 3, and the verb that started the
worker passes the words on; a SIGBUS that somebody sends stays a SIGBUS. Environment: ANEMO_BUILD.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "golden" / "tiny" / "files"
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]).resolve() / "anemo"
WORDS = "was cut short"


def loaded_worker(model):
    """A native worker that holds the model."""
    worker = subprocess.Popen([ANEMO, "worker", "native"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    assert json.loads(worker.stdout.readline())["type"] == "hello"
    worker.stdin.write(json.dumps({"type": "load", "id": 1, "model": str(model), "settings": {"n_ctx": 64}}) + "\n")
    worker.stdin.flush()
    answer = json.loads(worker.stdout.readline())
    assert answer["type"] == "loaded", answer
    return worker


def cut(model, temp, weights):
    """Exit code and stderr of a worker whose weights are cut to nothing before it generates."""
    copy = temp / model.name
    shutil.copytree(model, copy) if model.is_dir() else shutil.copy(model, copy)
    worker = loaded_worker(copy)
    os.truncate(copy / weights if weights else copy, 0)
    request = {"type": "generate", "id": 2, "prompt_ids": [1, 2, 3], "n_predict": 4}
    _, said = worker.communicate(json.dumps(request) + "\n", timeout=60)
    return worker.returncode, said


# A driver between the verb and the native worker, which cuts the file before it passes the second request on.
BETWEEN = """#!/bin/bash
exec "$ANEMO" worker native < <(
    read -r line; printf '%s\\n' "$line"
    read -r line; : >"$MODEL"; printf '%s\\n' "$line"
)
"""


def through_verb(temp):
    """`anemo run` with its worker's file cut."""
    model, driver = temp / "verb.gguf", temp / "anemo-driver-llama"
    shutil.copy(TINY / "chatml.gguf", model)
    driver.write_text(BETWEEN)
    driver.chmod(0o755)
    env = dict(os.environ, ANEMO_LIBEXEC=str(temp), ANEMO=str(ANEMO), MODEL=str(model))
    done = subprocess.run([ANEMO, "run", model, "--engine", "llama.cpp", "--raw", "-p", "x", "-n", "4"], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def main():
    bad = []
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        for model, weights in ((TINY / "chatml.gguf", None), (TINY / "chatml-mlx", "model.safetensors")):
            code, said = cut(model, temp, weights)
            if code != 3 or WORDS not in said or (weights or model.name) not in said:
                bad.append(f"{model.name}: exit {code}, said: {said}")
        code, said = through_verb(temp)
        if code != 1 or WORDS not in said:
            bad.append(f"run: exit {code}, said: {said}")
        worker = loaded_worker(TINY / "chatml.gguf")
        worker.send_signal(signal.SIGBUS)
        _, said = worker.communicate(timeout=60)
        if worker.returncode != -signal.SIGBUS and not os.environ.get("ANEMO_SANITIZE"):
            bad.append(f"a SIGBUS from outside: exit {worker.returncode}, said: {said}")
    print("\n".join(bad) if bad else "4 cases as expected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

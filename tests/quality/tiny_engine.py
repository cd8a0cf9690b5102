#!/usr/bin/env python3
"""
One engine on the tiny models of tests/golden/tiny through `anemo logits`, against the references there.

    tiny_engine.py mlx          every MLX and Hugging Face directory that MLX can run, within the case's bound
    tiny_engine.py llama.cpp    every GGUF file; libllama rounds activations, so the bound is wide

Environment: ANEMO_BUILD. Exit code 77: no engine or no NumPy.
"""
import argparse
import json
import os
import sys
import tempfile

from anemo_logits import TESTS, Anemo, AnemoError, np, skip

GOLDEN = os.path.join(TESTS, "golden", "tiny")
# Q2_K and its like under 8-bit activations on random weights: far outside this is a wrong reading, not rounding.
LLAMA_BOUND = 0.08

DRIVERS = {"mlx": "anemo-driver-mlx", "llama.cpp": "anemo-driver-llama"}


def suits(engine, case):
    if engine == "mlx":
        return case["container"] == "mlx"
    return case["container"] == "gguf" and case["llama_cpp"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("mlx", "llama.cpp"))
    engine = parser.parse_args().engine
    with open(os.path.join(GOLDEN, "manifest.json"), encoding="utf-8") as f:
        cases = [c for c in json.load(f)["cases"] if suits(engine, c)]
    failed, worst = 0, 0.0
    with tempfile.TemporaryDirectory() as temp:
        anemo = Anemo(temp)
        driver = os.path.join(os.path.dirname(anemo.program), DRIVERS[engine])
        if not os.path.exists(driver):
            skip(f"no {driver}")
        for c in cases:
            want = np.load(os.path.join(GOLDEN, c["logits"]))
            try:
                got = anemo.logits(os.path.join(GOLDEN, c["model"]), c["ids"], "--engine", engine)
                error = float(np.abs(got - want).max() / np.abs(want).max())
            except AnemoError as e:
                print(e)
                failed += 1
                continue
            worst = max(worst, error)
            if not error <= (c["tolerance"] if engine == "mlx" else LLAMA_BOUND):
                print(f"{c['name']}: differs by {error:.3g} of the largest logit")
                failed += 1
    print(f"{engine}: {len(cases)} models, largest error {worst:.3g} of the largest logit, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

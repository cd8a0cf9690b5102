"""`anemo logits` as a function, for the checks of this folder. Importing it without NumPy skips the test."""
import json
import os
import subprocess
import sys

SKIP = 77
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def skip(why):
    print("skipped: " + why)
    sys.exit(SKIP)


try:
    import numpy as np
except ImportError:
    skip("no numpy; run with the Python of the engines' environment")


class AnemoError(Exception):
    """The program failed; the text is what it said."""


class Anemo:
    """The executable of ANEMO_BUILD and a folder for temporary files."""

    def __init__(self, temp):
        self.temp = temp
        self.program = os.path.join(os.environ.get("ANEMO_BUILD", "build/release"), "anemo")
        if not os.path.exists(self.program):
            skip(f"no {self.program}")

    def run(self, *args, isa=None):
        env = os.environ | ({"ANEMO_ISA": isa} if isa else {})
        done = subprocess.run([self.program, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise AnemoError(f"anemo {' '.join(args)}: exit {done.returncode}: {said}")
        return done.stdout

    def logits(self, model, ids, *options, isa=None):
        """float32 [n_tok][n_vocab]."""
        ids_file, out = os.path.join(self.temp, "ids.json"), os.path.join(self.temp, "out.npy")
        with open(ids_file, "w", encoding="utf-8") as f:
            json.dump(ids, f)
        self.run("logits", model, "--ids", ids_file, "-o", out, "--threads", str(os.cpu_count()), *options, isa=isa)
        a = np.load(out)
        if a.dtype != np.float32 or a.ndim != 2 or a.shape[0] != len(ids):
            raise AnemoError(f"{out}: {a.dtype} {a.shape} for {len(ids)} ids")
        return a

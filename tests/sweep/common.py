"""What the tests of sweeps share: a folder with a database of its own, plans over an engine that costs nothing, and looks at what
lies in the database."""
import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
ECHO = ROOT / "examples/echo-driver.sh"
PLAN = """[sweep]
name = {name}
engines = llama.cpp
models = {models}
threads = {threads}
n_prompt = {n_prompt}
n_gen = {n_gen}
repetitions = {reps}
warmup = 0
{more}
[machine]
probes = {probes}
"""


class Place:
    """A folder with a model, a database and plans."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.model = self.folder / "model.gguf"
        shutil.copy(ROOT / "fuzz/corpus/gguf/tiny_q4_1", self.model)
        shutil.copy(ECHO, self.folder / "echo-driver.sh")
        self.db = self.folder / "results.db"
        self.env = dict(os.environ, ANEMO_DB=str(self.db), XDG_DATA_HOME=str(self.folder / "data"), HOME=str(self.folder / "home"),
                        ANEMO_DRIVER_LLAMA_CPP=f"sh {self.folder}/echo-driver.sh")

    def plan(self, name="plan.ini", threads="1-4", n_prompt="4,8", n_gen="2", reps=2, models=None, more="", after="", probes="off"):
        path = self.folder / name
        path.write_text(PLAN.format(name=name.removesuffix(".ini"), models=models or f'"{self.model}"', threads=threads,
                                    n_prompt=n_prompt, n_gen=n_gen, reps=reps, more=more, probes=probes) + after)
        return path

    def start(self, *words, **more):
        return subprocess.Popen([ANEMO, "sweep", *map(str, words)], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def run(self, *words, code=0, env=None):
        """The command's output; complains about another exit code."""
        done = subprocess.run([ANEMO, "sweep", *map(str, words)], env=dict(self.env, **(env or {})), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)
        if done.returncode != code:
            raise AssertionError(f"anemo sweep {' '.join(map(str, words))}: exit {done.returncode}, expected {code}\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def status(self, *words):
        return json.loads(self.run(*words, "--status", "--json").stdout)

    def logs(self, name="progress.log"):
        return "".join(p.read_text() for p in sorted(self.folder.glob(f"sweeps/*/{name}")))


def cells(db, run=None):
    """{key: (status, number of timed repetitions, reason)} of a run in a database; of its only run without a name."""
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as c:
        runs = [r[0] for r in c.execute("SELECT id FROM runs ORDER BY id")]
        if run is None:
            assert len(runs) == 1, f"runs {runs}"
            run = runs[0]
        assert run in runs, f"{run} is not among {runs}"
        out = {}
        for idx, key, status, doc in c.execute("SELECT idx, key, status, doc FROM cells WHERE run = ?", (run,)):
            n = c.execute("SELECT count(*) FROM reps WHERE run = ? AND cell = ? AND kind = 'timed'", (run, idx)).fetchone()[0]
            blocks = [r[0] for r in c.execute("SELECT block FROM reps WHERE run = ? AND cell = ? AND kind = 'timed'", (run, idx))]
            assert len(set(blocks)) == len(blocks), f"doubled repetitions: {blocks}"
            assert key not in out, f"a cell twice: {key}"
            out[key] = (status, n, json.loads(doc).get("reason"))
        return out


def check_database(place, may_be_empty=False):
    """Complaints of the database's own check."""
    done = subprocess.run([ANEMO, "results", "check"], env=place.env, capture_output=True, text=True)
    if done.returncode and not (may_be_empty and "there are no results yet" in done.stderr):
        return [f"results check: {done.stdout}{done.stderr}"]
    return []


def main(cases):
    """Run every case, or those that are named, in a folder of its own."""
    import tempfile
    import traceback
    wanted, failed = sys.argv[1:], 0
    for case in cases:
        if wanted and case.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                case(Place(folder))
            except Exception:
                failed += 1
                print(f"--- {case.__name__}")
                traceback.print_exc(file=sys.stdout)
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)

#!/usr/bin/env python3
"""anemo results import is killed at random moments: kill_import.py KILLS. The database stays whole: every run in it is complete, what was
acknowledged is there, and importing again brings the rest without doubling.
Environment: ANEMO_BUILD."""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
N_RUN, N_CELL = 12, 20


def make_file(path):
    """A file that was appended to: N_RUN times the same cells, so that each time is a run."""
    row = json.loads((ROOT / "tests/golden/import/llama-bench.jsonl").read_text().splitlines()[0])
    with open(path, "w") as out:
        for day in range(N_RUN):
            for cell in range(N_CELL):
                row |= {"n_prompt": 16 * (cell + 1), "test_time": f"2026-01-{day + 1:02}T00:00:00Z"}
                row["samples_ts"] = [round(1e9 * row["n_prompt"] / ns, 3) for ns in row["samples_ns"]]
                out.write(json.dumps(row) + "\n")


def anemo(*words):
    return subprocess.run([ANEMO, *map(str, words)], capture_output=True, text=True, timeout=120)


def complaints(db, acknowledged):
    check = anemo("results", "check", "--db", db)
    if check.returncode == 4 and not acknowledged:
        return []
    bad = [] if check.returncode == 0 else [f"check: {check.stdout}{check.stderr}"]
    rows = json.loads(anemo("results", "list", "--db", db, "--json").stdout)
    rows = rows.get("runs", rows) if isinstance(rows, dict) else rows
    ids = [row["id"] for row in rows]
    bad += [f"{i} was acknowledged and is gone" for i in acknowledged if i not in ids]
    bad += [f"{i} is there twice" for i in set(ids) if ids.count(i) > 1]
    for i in ids:
        run = json.loads(anemo("results", "export", i, "--db", db).stdout)
        if len(run["cells"]) != N_CELL or any(len(c["reps"]) != 3 for c in run["cells"]):
            bad.append(f"{i} is not whole")
    return bad


def main():
    kills, rng, failed, hit = int(sys.argv[1]), random.Random(5), 0, 0
    with tempfile.TemporaryDirectory() as name:
        temp = pathlib.Path(name)
        make_file(temp / "many.jsonl")
        begin = time.monotonic()
        assert anemo("results", "import", temp / "many.jsonl", "--db", temp / "whole.db").returncode == 0
        whole = time.monotonic() - begin
        for k in range(kills):
            db = temp / f"{k}.db"
            process = subprocess.Popen([ANEMO, "results", "import", temp / "many.jsonl", "--db", db, "-q"], stdout=subprocess.PIPE, text=True)
            time.sleep(rng.random() * whole)
            process.send_signal(signal.SIGKILL)
            acknowledged = process.communicate()[0].split()
            hit += process.returncode == -signal.SIGKILL
            bad = complaints(db, acknowledged)
            again = anemo("results", "import", temp / "many.jsonl", "--db", db)
            bad += [] if again.returncode == 0 else [f"import again: {again.stderr}"]
            bad += complaints(db, [])
            if len(anemo("results", "list", "--db", db, "-q").stdout.split()) != N_RUN:
                bad.append("after importing again there are not all runs")
            failed += bool(bad)
            for line in bad[:5]:
                print(f"kill {k}: {line}")
    print(f"{kills} imports, {hit} of them killed in the middle, {failed} with complaints")
    sys.exit(failed > 0 or hit < kills // 4)


main()

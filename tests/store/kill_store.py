#!/usr/bin/env python3
"""kill -9 at random moments of what writes to the results database: kill_store.py WRITES COMMANDS.

WRITES times a program that stores repetitions (store_writer) is killed, every fourth time while a second one goes on. Each says
after a call that it is stored. COMMANDS times each of import, merge and a migration of the schema is killed. After every kill:
`results check` is clean, everything acknowledged is there, nothing is there twice, no run is there by half; in the end
the undisturbed command gives what it would have given at once. Environment: ANEMO_BUILD.
"""
import collections
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ["ANEMO_BUILD"])
ANEMO, WRITER = BUILD / "anemo", BUILD / "tests/store/store_writer"
RUNS_A_WRITER, KILLS_A_DATABASE = 3, 20
# No disk is needed for this: a killed process loses nothing of what the system has taken from it.
PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

rng = random.Random(20261125)
complaints = []


def complain(text):
    complaints.append(text)


def anemo(*words, db, timeout=60):
    return subprocess.run([ANEMO, "results", *map(str, words), "--db", db], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout)


def check(db, what):
    if not db.exists():
        return
    done = anemo("check", db=db)
    # 4: killed before there was anything in it.
    if done.returncode not in (0, 4):
        complain(f"{what}: results check: exit {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")


def rows(db):
    """Runs, repetitions and finished runs that are there."""
    if not db.exists():
        return set(), [], set()
    with sqlite3.connect(db) as c:
        try:
            runs = {r[0] for r in c.execute("SELECT id FROM runs")}
            reps = list(c.execute("SELECT run, cell, ord FROM reps"))
            finished = {r[0] for r in c.execute("SELECT id FROM runs WHERE finished")}
        except sqlite3.OperationalError as e:
            assert "no such table" in str(e), e
            return set(), [], set()
    c.close()
    return runs, reps, finished


def start(words):
    return subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_after(words, seconds):
    """Its whole lines, and whether it was killed before it ended."""
    p = start(words)
    time.sleep(seconds)
    p.kill()
    out, err = p.communicate()
    if p.returncode not in (0, -9):
        complain(f"{words[0]}: exit {p.returncode}: {err[-300:]}")
    return out.decode().rpartition("\n")[0].split("\n"), p.returncode == -9


def usual_seconds(words):
    begin = time.monotonic()
    done = subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begin


def kill_writers(count, folder):
    n_hit, seconds = 0, usual_seconds([WRITER, folder / "usual.db", "usual", RUNS_A_WRITER])
    acknowledged, db = collections.Counter(), None
    for i in range(count):
        if i % KILLS_A_DATABASE == 0:
            if db:
                db.unlink()
            db, acknowledged = folder / f"w{i}.db", collections.Counter()
        other = start([WRITER, db, f"o{i}", RUNS_A_WRITER]) if i % 4 == 3 else None
        lines, hit = kill_after([WRITER, db, f"k{i}", RUNS_A_WRITER], rng.random() * seconds)
        n_hit += hit
        if other:
            out, err = other.communicate()
            lines += out.decode().split("\n")
            if other.returncode != 0:
                complain(f"writer {i}: the other one ends with {other.returncode}: {err[-300:]}")
        acknowledged.update(line for line in lines if line)
        check(db, f"writer {i}")
        runs, reps, finished = rows(db)
        if len(set(reps)) != len(reps):
            complain(f"writer {i}: a repetition is there twice")
        there = {f"begin {r}" for r in runs} | {f"rep {r} {c} {o}" for r, c, o in reps} | {f"finish {r}" for r in finished}
        lost = set(acknowledged) - there
        if lost:
            complain(f"writer {i}: {len(lost)} acknowledged lines are lost: {sorted(lost)[:3]}")
        # One call of each killed writer may be stored whose line was not written any more.
        surplus = there - set(acknowledged)
        if len(surplus) > i % KILLS_A_DATABASE + 1:
            complain(f"writer {i}: {len(surplus)} rows that nobody wrote: {sorted(surplus)[:3]}")
    print(f"{count} writers, {n_hit} of them killed before they were done, of {seconds:.2f} s each")
    return n_hit


def documents(folder):
    """Two files to be read: runs a line, and the elements of one run."""
    db = folder / "source.db"
    usual_seconds([WRITER, db, "doc", 8])
    lines = anemo("export", "--all", "--jsonl", db=db)
    (folder / "runs.jsonl").write_text(lines.stdout)
    elements = folder / "elements"
    elements.mkdir()
    whole = json.loads(lines.stdout.splitlines()[0])
    cells = []
    for i in range(12):
        # A sweep's cells differ in their keys.
        cells += [dict(c, key=f"{i:02}{c['key']}"[:64]) for c in whole["cells"]]
    whole["cells"] = cells
    whole["agreements"] = []
    for i in range(12):
        part = json.loads(json.dumps(whole))
        for k, cell in enumerate(part["cells"]):
            if k // 3 != i:
                cell.update(status="pending", reps=[])
        (elements / f"{i}.json").write_text(json.dumps(part))
    return [folder / "runs.jsonl"], sorted(elements.iterdir())


def columns(db):
    with sqlite3.connect(db) as c:
        names = frozenset(r[1] for r in c.execute("PRAGMA table_info(reps)"))
    c.close()
    return names


def content(db):
    return anemo("export", "--all", "--jsonl", db=db).stdout


def kill_command(name, words, count, folder, before, is_state):
    """`before` makes the database, is_state(db) says what is wrong with what a kill leaves."""
    db = folder / f"{name}.db"
    before(db)
    seconds = usual_seconds([ANEMO, "results", *words, "--db", db])
    whole, n_hit = content(db), 0
    for i in range(count):
        for f in folder.glob(f"{name}.db*"):
            f.unlink()
        before(db)
        n_hit += kill_after([ANEMO, "results", *words, "--db", db], rng.random() * seconds)[1]
        check(db, f"{name} {i}")
        wrong = is_state(db)
        if wrong:
            complain(f"{name} {i}: {wrong}")
        if i % 5 == 0:
            again = anemo(*words, db=db)
            if again.returncode or content(db) != whole:
                complain(f"{name} {i}: again: exit {again.returncode}, or another content: {again.stderr[-300:]}")
            check(db, f"{name} {i} again")
    print(f"{name}: {count} times, {n_hit} of them killed before it was done, of {seconds:.3f} s each")
    return n_hit


def whole_runs(n_rep):
    def wrong(db):
        _, reps, _ = rows(db)
        per_run = collections.Counter(r for r, _, _ in reps)
        half = [r for r, n in per_run.items() if n != n_rep]
        return f"runs by half: {half}" if half or len(set(reps)) != len(reps) else None
    return wrong


def whole_elements(db):
    _, reps, _ = rows(db)
    per_cell = collections.Counter(c // 3 for _, c, _ in reps)
    half = [c for c, n in per_cell.items() if n != 18]
    return f"elements by half: {half}" if half or len(set(reps)) != len(reps) else None


def main():
    n_write, n_command = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory(dir=PLACE) as temp:
        folder = pathlib.Path(temp)
        n_hit = kill_writers(n_write, folder)
        runs, elements = documents(folder)

        def nothing(db):
            pass

        def older(db):
            shutil.copy(folder / "older.db", db)

        n_hit += kill_command("import", ["import", *runs], n_command, folder, nothing, whole_runs(18))
        n_hit += kill_command("merge", ["merge", *elements], n_command, folder, nothing, whole_elements)
        shutil.copy(folder / "source.db", folder / "older.db")
        new = columns(folder / "older.db")
        with sqlite3.connect(folder / "older.db") as c:
            for name in ("mbu", "mfu", "ttft_s", "total_s", "cpu_hz", "steal_share"):
                c.execute(f"ALTER TABLE reps DROP COLUMN {name}")
        c.close()
        old = columns(folder / "older.db")
        n_hit += kill_command("migration", ["note", "doc-0", "noted"], n_command, folder, older,
                              lambda db: None if columns(db) in (old, new) else "columns by half")
    for text in complaints[:20]:
        print(text)
    n_try = n_write + 3 * n_command
    print(f"{n_try} kills, {n_hit} in time, {len(complaints)} complaints")
    return 1 if complaints or n_hit < n_try // 3 else 0


if __name__ == "__main__":
    sys.exit(main())

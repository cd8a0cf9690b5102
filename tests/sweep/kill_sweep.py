#!/usr/bin/env python3
"""A sweep killed by SIGKILL at random moments, COUNT times: kill_sweep.py COUNT

One plan is started again and again; every process is killed after a random time, every tenth by SIGINT instead. After each:
the database is whole by its own check, no unit that the log calls finished is missing, none is there twice, and what was there
before is still there. When a sweep is complete it is checked as a whole and the next one begins. Environment: ANEMO_BUILD.
"""
import pathlib
import random
import re
import signal
import sqlite3
import sys
import tempfile
import time

from common import Place, cells, check_database

REPS, BLOCKS, THREADS, PROMPTS = 2, 2, 6, "4,8"
N_CELL = THREADS * 2


def finished_in_log(place):
    """(cell, block) of the units that the sweep's log calls ok."""
    return re.findall(r" unit \d+/\d+, cell (\d+), block (\d+), .*: ok, ", place.logs())


def one_kill(place, plan, run, rng, longest, complaints, what):
    """Start, wait, kill. Did the process end by itself before?"""
    child = place.start(plan, "-q")
    sig = signal.SIGINT if rng.random() < 0.1 else signal.SIGKILL
    time.sleep(rng.random() * longest)
    child.send_signal(sig)
    out, err = child.communicate(timeout=60)
    if sig == signal.SIGINT and child.returncode not in (0, 130, -signal.SIGINT):
        complaints.append(f"{what}: exit {child.returncode} after SIGINT: {err}")
    if child.returncode not in (0, 130, -sig):
        complaints.append(f"{what}: exit {child.returncode}: {err}")
    return child.returncode == 0


def check(place, run, before, complaints, what):
    complaints += [f"{what}: {c}" for c in check_database(place, may_be_empty=before == 0)]
    try:
        found = cells(place.db, run)
    except (AssertionError, sqlite3.OperationalError) as e:
        # Killed before the sweep was begun there: no tables, or no such run.
        if before or not any(w in str(e) for w in ("is not among", "no such table")):
            complaints.append(f"{what}: {e}")
        return before
    now = sum(n // REPS for _, n, _ in found.values())
    if now < before:
        complaints.append(f"{what}: {before} units were there, now {now}")
    said = len(set(finished_in_log(place)))
    if now < said:
        complaints.append(f"{what}: the log calls {said} units finished, the database has {now}")
    if any(n > REPS * BLOCKS for _, n, _ in found.values()):
        complaints.append(f"{what}: a cell has more repetitions than were asked for")
    return now


def main():
    count, rng, complaints = int(sys.argv[1]), random.Random(20261125), []
    n_kill = n_sweep = 0
    begin = time.monotonic()
    while n_kill < count and not complaints:
        with tempfile.TemporaryDirectory() as folder:
            place = Place(pathlib.Path(folder))
            plan = place.plan(threads=f"1-{THREADS}", n_prompt=PROMPTS, reps=REPS, more=f"blocks = {BLOCKS}\nseed = {n_sweep}")
            run = place.status(plan)["run"]
            units = 0
            while n_kill < count:
                what = f"kill {n_kill}, sweep {n_sweep}"
                ended = one_kill(place, plan, run, rng, rng.choice((0.03, 0.2, 0.6)), complaints, what)
                n_kill += not ended
                if place.db.exists():
                    units = check(place, run, units, complaints, what)
                if ended or complaints:
                    break
            if not complaints:
                place.run(plan, "-q")
                found = cells(place.db, run)
                if len(found) != N_CELL or any(c[:2] != ("ok", REPS * BLOCKS) for c in found.values()):
                    complaints.append(f"sweep {n_sweep}: not complete at the end: {found}")
                complaints += check_database(place)
            n_sweep += 1
    for text in complaints[:20]:
        print(text)
    print(f"{n_kill} kills in {n_sweep} sweeps, {len(complaints)} complaints, {time.monotonic() - begin:.0f} s")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What a power cut may leave of the results database: power_store.py STATES.

store_writer runs twice under the recorder of tests/fault/power_loss.py, which says how states of the disk are made from the
record: the cut comes after any record, and what was not synced may be missing, out of order or cut off. The writer notes after each
call that it is stored. In every state `results check` is clean, everything that was noted before the cut is there, nothing is there
twice. Environment: ANEMO_BUILD, ANEMO_SANITIZE (skipped: the recorder is preloaded). Linux only.
"""
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fault"))
import power_loss  # noqa: E402

BUILD = pathlib.Path(os.environ["ANEMO_BUILD"])
WRITER = BUILD / "tests/store/store_writer"
RUNS = 14  # more than one checkpoint


def record(folder, log):
    env = dict(os.environ, LD_PRELOAD=str(power_loss.RECORDER), ANEMO_RECORD_DIR=str(folder), ANEMO_RECORD_LOG=str(log))
    for name in ("a", "b"):
        subprocess.run([WRITER, folder / "r.db", name, str(RUNS), folder / "acks"], check=True, env=env)


def look(folder):
    """What is wrong with the database itself, and the lines that a writer would have noted of what is there."""
    db = folder / "r.db"
    if not db.exists():
        return None, set()
    done = subprocess.run([BUILD / "anemo", "results", "check", "--db", db], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode == 4:
        return None, set()
    if done.returncode:
        return f"results check: {done.stdout[-300:]}{done.stderr[-300:]}", set()
    c = sqlite3.connect(db)
    reps = [f"rep {r} {k} {o}" for r, k, o in c.execute("SELECT run, cell, ord FROM reps")]
    there = {f"begin {r}" for r, in c.execute("SELECT id FROM runs")}
    there |= {f"finish {r}" for r, in c.execute("SELECT id FROM runs WHERE finished")}
    c.close()
    return "a repetition is there twice" if len(set(reps)) != len(reps) else None, there | set(reps)


def main():
    n_state = int(sys.argv[1])
    if os.environ.get("ANEMO_SANITIZE") or not power_loss.RECORDER.exists():
        print("skipped: needs a build without sanitizers, on Linux")
        return 77
    rng, bad, n_surplus = random.Random(20261125), [], 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as temp:
        temp = pathlib.Path(temp).resolve()
        folder, log = temp / "run", temp / "log"
        folder.mkdir()
        disk = power_loss.Disk(folder)
        record(folder, log)
        records = power_loss.read_log(log)
        shutil.rmtree(folder)
        # "size": the log of the first process is cut when it is folded into the database or removed with it.
        kinds = {op: sum(r[0] == op for r in records) for op in ("sync", "write", "remove")}
        assert kinds["sync"] > 10 and kinds["remove"] > 2, kinds
        at, noted, acks = 0, [], None
        for cut in sorted(rng.sample(range(1, len(records) + 1), min(n_state, len(records)))):
            while at < cut:
                op, text, data = records[at]
                disk.play(records[at])
                if op == "open" and text.endswith(" acks"):
                    acks = text.split()[0]
                elif op == "write" and text.split()[0] == acks:
                    noted += data.decode().splitlines()
                at += 1
            tree = {n: d for n, d in disk.root.after_cut(rng).items() if n != "acks"}
            power_loss.write_tree(tree, folder)
            wrong, there = look(folder)
            if wrong:
                bad.append(f"cut after record {cut} of {len(records)}: {wrong}")
            elif set(noted) - there:
                bad.append(f"cut after record {cut} of {len(records)}: lost: {sorted(set(noted) - there)[:3]}")
            # At most the one call that had not returned yet.
            elif len(there - set(noted)) > 1:
                bad.append(f"cut after record {cut} of {len(records)}: {len(there - set(noted))} rows that were not written yet")
            n_surplus += len(there - set(noted))
            shutil.rmtree(folder)
    for text in bad[:20]:
        print(text)
    print(f"{len(records)} records ({kinds}), {n_state} states, {n_surplus} of them with a call that had not returned, "
          f"{len(bad)} complaints")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

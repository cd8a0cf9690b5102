#!/usr/bin/env python3
"""The results database in difficult places: places.py [slow].

A full disk, a limit on file sizes, a read-only file system, a lock that another holds, many first users at once, names that mean
something to SQLite, one schema of each earlier version. What needs a mount is left out where mounting is not allowed; `slow` adds a
lock that is held for longer than anemo waits. Environment: ANEMO_BUILD.
"""
import json
import os
import pathlib
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ["ANEMO_BUILD"]).resolve()
ANEMO, WRITER = BUILD / "anemo", BUILD / "tests/store/store_writer"
failures, n_case = [], 0


def run(*words, **more):
    return subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, **more)


def results(*words, **more):
    return run(ANEMO, "results", *words, **more)


def expect(what, done, code, text=""):
    global n_case
    n_case += 1
    if done.returncode != code or text not in done.stdout + done.stderr:
        failures.append(f"{what}: exit {done.returncode}, expected {code} with '{text}': {done.stdout[-300:]}{done.stderr[-300:]}")


def lost(db, lines):
    """Acknowledged lines that are not in the database."""
    c = sqlite3.connect(db)
    there = {f"rep {r} {k} {o}" for r, k, o in c.execute("SELECT run, cell, ord FROM reps")}
    c.close()
    return {line for line in lines.splitlines() if line.startswith("rep ")} - there


def nothing_lost(what, db, done):
    global n_case
    n_case += 1
    missing = lost(db, done.stdout)
    if missing or "rep " not in done.stdout:
        failures.append(f"{what}: acknowledged and lost: {sorted(missing)[:3]} of {done.stdout.count('rep ')}")


def full_disk(small, document):
    db = small / "r.db"
    done = run(WRITER, db, "full", 1000)
    expect("full disk", done, 6, "make room")
    expect("full disk: check", results("check", "--db", db), 0, "clean")
    expect("full disk: list", results("list", "--db", db), 0, "full-0")
    expect("full disk: rm", results("rm", "last", "--yes", "--db", db), 6, "make room")
    nothing_lost("full disk", db, done)
    subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
    expect("room again", run(WRITER, db, "again", 5), 0)
    nothing_lost("room again", db, done)
    expect("room again: check", results("check", "--db", db), 0, "clean")
    db.unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", small], check=True)
    with open(small / "filler", "wb") as f:
        try:
            f.write(bytes(2 << 20))
        except OSError:
            pass
    expect("no room from the start", results("import", document, "--db", db), 6, "make room")
    (small / "filler").unlink()
    expect("room at last", results("import", document, "--db", db), 0, "added")
    expect("room at last: check", results("check", "--db", db), 0, "1 run")


def read_only(small, document):
    db = small / "ro.db"
    expect("before it is read-only", results("import", document, "--db", db), 0)
    c = sqlite3.connect(small / "open.db")
    c.execute("PRAGMA journal_mode = WAL")
    shutil.copy(db, small / "wal.db")
    (small / "wal.db-wal").write_bytes(b"x" * 100)
    c.close()
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    expect("read-only: list", results("list", "--db", db), 0, "doc-0")
    expect("read-only: check", results("check", "--db", db), 0, "clean")
    expect("read-only: tag", results("tag", "last", "x", "--db", db), 1, "read-only")
    expect("read-only: new", results("import", document, "--db", small / "new.db"), 1, "new.db")
    expect("read-only: log left", results("list", "--db", small / "wal.db"), 1, "cannot be read without writing")


def with_mounts(folder, document):
    small = folder / "small"
    small.mkdir()
    for case in (full_disk, read_only):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], capture_output=True).returncode:
            print("mounting is not allowed here: the full disk and the read-only file system are left out")
            return
        try:
            case(small, document)
        finally:
            subprocess.run(["umount", small], check=True)


def file_sizes(folder):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    db = folder / "limited.db"
    # The writer is no anemo: it lets itself be killed by the signal. anemo makes it an error.
    source = folder / "source.db"
    expect("a source", run(WRITER, source, "l", 10), 0)
    lines = folder / "lines.jsonl"
    expect("export", results("export", "--all", "--jsonl", "--db", source, "-o", lines), 0)
    expect("a limit on file sizes", results("import", lines, "--db", db, preexec_fn=limit), 6, "make room")
    expect("a limit: check", results("check", "--db", db), 0, "clean")
    expect("no limit any more", results("import", lines, "--db", db), 0, "added")
    if results("export", "--all", "--jsonl", "--db", db).stdout != lines.read_text():
        failures.append("after a limit on file sizes the import gives another content")


def names(folder, document):
    for name in (":memory:", "file:x?mode=memory", "a b%20#?.db"):
        expect(f"--db {name}", results("import", document, "--db", name, cwd=folder), 0, "added")
        expect(f"--db {name}", results("list", "--db", name, cwd=folder), 0, "doc-0")
        if not (folder / name).exists():
            failures.append(f"--db {name}: no file of that name")
    expect("a folder", results("list", "--db", folder), 2, "folder")
    expect("no such database", results("list", "--db", folder / "none.db"), 4, "no results yet")
    if (folder / "none.db").exists():
        failures.append("a reader made a database")
    expect("a new folder", results("import", document, "--db", folder / "new/folder/r.db"), 0)
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_DATA_HOME", "ANEMO_DB")}
    expect("no HOME", results("list", env=env), 4, "--db")
    expect("ANEMO_DB", results("list", env=env | {"ANEMO_DB": str(folder / "new/folder/r.db")}), 0, "doc-0")
    expect("XDG_DATA_HOME", results("import", document, env=env | {"XDG_DATA_HOME": str(folder / "data")}), 0)
    if not (folder / "data/anemo/results.db").exists():
        failures.append("XDG_DATA_HOME: no results.db in its folder")


def first_users(folder):
    """Many who all make the database."""
    global n_case
    for round_ in range(5):
        db = folder / f"many{round_}.db"
        writers = [subprocess.Popen([WRITER, db, f"m{i}", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                   for i in range(8)]
        for w in writers:
            err = w.communicate()[1]
            n_case += 1
            if w.returncode:
                failures.append(f"one of many first users: {err}")
        expect("many first users: check", results("check", "--db", db), 0, "8 runs")


def locks(folder, document, slow):
    db = folder / "locked.db"
    expect("import", results("import", document, "--db", db), 0)
    c = sqlite3.connect(db, isolation_level=None)
    c.execute("BEGIN IMMEDIATE")
    c.execute("UPDATE runs SET note = 'half'")
    expect("a lock: list goes on", results("list", "--db", db, "--csv"), 0, "doc-0")
    waiting = subprocess.Popen([ANEMO, "results", "tag", "last", "x", "--db", db])
    time.sleep(0.5)
    if waiting.poll() is not None:
        failures.append("a writer does not wait for another one")
    if slow:
        begin = time.monotonic()
        expect("a lock that stays", results("tag", "last", "y", "--db", db), 1, "another process holds it")
        if not 25 < time.monotonic() - begin < 60:
            failures.append(f"a lock that stays: it took {time.monotonic() - begin:.0f} s")
    else:
        c.execute("COMMIT")
    code = waiting.wait(60)
    if code != (1 if slow else 0):
        failures.append(f"a writer that waited ends with {code}")
    c.close()


def earlier_schemas(folder):
    """Databases as each earlier version of the schema made them."""
    for dump in sorted((HERE / "schemas").glob("*.sql")):
        db = folder / f"{dump.stem}.db"
        c = sqlite3.connect(db)
        c.executescript(dump.read_text())
        c.row_factory = sqlite3.Row
        raw = {(r["cell"], r["ord"]): dict(r) for r in c.execute("SELECT * FROM reps WHERE run = 'old-1'")}
        c.close()
        shown = json.loads(results("export", "kept", "--db", db).stdout)
        for k, cell in enumerate(shown["cells"]):
            for rep in cell["reps"]:
                row = raw.pop((k, rep["order"]))
                if any(rep[name] != row[name] for name in rep.keys() & row.keys() - {"token_ids", "token_times_s", "text", "curve"}):
                    failures.append(f"{dump.name}: another value in repetition {rep['order']}")
        if raw:
            failures.append(f"{dump.name}: {len(raw)} repetitions are not exported")
        expect(f"{dump.name}: note", results("note", "kept", "of this day", "--db", db), 0)
        expect(f"{dump.name}: check", results("check", "--db", db), 0, "clean, 2 runs")
        after = json.loads(results("export", "kept", "--db", db).stdout)
        if dict(shown, note="of this day") != after:
            failures.append(f"{dump.name}: the migration changes what is exported")


def main():
    slow = sys.argv[1:] == ["slow"]
    with tempfile.TemporaryDirectory() as temp:
        folder = pathlib.Path(temp).resolve()
        os.environ.pop("ANEMO_DB", None)
        run(WRITER, folder / "d.db", "doc", 1)
        document = folder / "doc.json"
        expect("export", results("export", "doc-0", "--db", folder / "d.db", "-o", document), 0)
        locks(folder, document, slow)
        if not slow:
            with_mounts(folder, document)
            file_sizes(folder)
            names(folder, document)
            first_users(folder)
            earlier_schemas(folder)
    for text in failures:
        print(text)
    print(f"{n_case} cases, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

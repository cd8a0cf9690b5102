#!/usr/bin/env python3
"""anemo results from the outside: forms of list, names of runs, export and import round trips, merging, rm and its question, a database
that is read while a run writes. Environment: ANEMO_BUILD."""
import csv
import io
import json
import os
import pathlib
import pty
import sqlite3
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ["ANEMO_BUILD"]).resolve()
ANEMO, WRITER = BUILD / "anemo", BUILD / "tests/store/store_writer"
failures, n_case = [], 0


def results(*words, code=0, text="", db=None):
    """Run it; exit code and a part of the output are as expected. Its stdout."""
    global n_case
    n_case += 1
    words = list(map(str, words)) + (["--db", str(db)] if db else [])
    done = subprocess.run([ANEMO, "results", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=60)
    if done.returncode != code or text not in done.stdout + done.stderr:
        failures.append(f"results {' '.join(words)}: exit {done.returncode}, expected {code} with '{text}': "
                        f"{done.stdout[-200:]}{done.stderr[-300:]}")
    return done.stdout


def same(what, a, b):
    global n_case
    n_case += 1
    if a != b:
        failures.append(f"{what}: {str(a)[:200]} is not {str(b)[:200]}")


def help_and_usage():
    text = results("--help", text="Subverbs:")
    subverbs = [line.split()[0] for line in text.split("Subverbs:\n")[1].split("\n\n")[0].splitlines()]
    for word in ("list", "show", "tag", "note", "export", "import", "merge", "rm", "check"):
        if word not in subverbs:
            failures.append(f"the help does not list {word}")
    for word in subverbs:
        results(word, "--help", text=f"Usage: anemo results {word}")
        results(word, "--bogus", code=2, text="unknown option '--bogus'")
    results("bogus", code=2, text="unknown subverb 'bogus'")
    results(code=2, text="Subverbs:")
    for words in (["show"], ["show", "a", "b"], ["tag", "a"], ["note", "a"], ["export"], ["export", "a", "--all"], ["import"], ["merge"],
                  ["rm"], ["list", "x"], ["check", "x"]):
        results(*words, code=2)
    results("export", "a", "--csv", "--json", code=2, text="exclude each other")
    results("list", "--limit", "0", code=2)


def tags_before_measuring():
    """A tag that cannot be one is refused in the first second, not when the run is to be kept."""
    model = pathlib.Path(__file__).resolve().parents[1] / "golden/tiny/files/chatml.gguf"
    for words in (["compare", model, "--engine", "native"], ["bench", "-m", model, "-p", "4", "-n", "2"]):
        for tag in ("a b", "last", "-x"):
            done = subprocess.run([ANEMO, *words, f"--tag={tag}", "--db", "/nonexistent/r.db"], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=60)
            same(f"{words[0]} --tag={tag}", (done.returncode, "tag '" in done.stderr, done.stdout), (2, True, ""))


def lists(db):
    results("tag", "a-1", "base", db=db)
    results("note", "base", 'with "quotes", commas', db=db)
    doc = json.loads(results("list", "--json", db=db))
    same("schema", doc["schema"], "anemo.results/1")
    same("ids, newest first", [r["id"] for r in doc["runs"]], ["a-2", "a-1", "a-0"])
    same("tags", [r["tags"] for r in doc["runs"]], [[], ["base"], []])
    same("engines", doc["runs"][0]["engines"], ["native", "llama.cpp"])
    rows = list(csv.DictReader(io.StringIO(results("list", "--csv", db=db))))
    same("CSV", [r["note"] for r in rows], ["a note", 'with "quotes", commas', "a note"])
    same("ids alone", results("list", "-q", "--limit", "2", db=db).split(), ["a-2", "a-1"])
    same("by tag", results("list", "-q", "--tag", "base", db=db).split(), ["a-1"])
    same("by engine", results("list", "-q", "--engine", "mlx-lm", db=db).split(), [])
    results("list", "--since", "noon", code=2, text="neither a day", db=db)
    for name, run in (("last", "a-2"), ("last~2", "a-0"), ("base", "a-1"), ("a-0", "a-0")):
        same(name, json.loads(results("export", name, db=db))["id"], run)
    results("show", "a-", code=2, text="a-2, a-1, a-0", db=db)
    results("show", "b", code=4, text="'b'", db=db)
    results("show", "base", text="tags: base", db=db)
    shown = json.loads(results("show", "base", "--json", db=db))
    same("show --json", (shown["id"], "analysis" in shown), ("a-1", True))
    results("tag", "base", "base", "--remove", db=db)
    results("show", "base", code=4, db=db)


def round_trips(db, folder):
    lines = results("export", "--all", "--jsonl", db=db)
    for form, name in (("--jsonl", "r.jsonl"), ("--json", "r.json")):
        results("export", "--all", form, "-o", folder / name, db=db)
        same(f"import {name}", results("import", folder / name, "-q", db=folder / f"{name}.db").split(), ["a-2", "a-1", "a-0"])
        same(f"{name} again", results("export", "--all", "--jsonl", db=folder / f"{name}.db"), lines)
        same(f"{name} twice", json.loads(results("import", folder / name, "--json", db=folder / f"{name}.db"))["added"], 0)
    rows = list(csv.DictReader(io.StringIO(results("export", "--all", "--csv", db=db))))
    same("CSV, a line a repetition", len(rows), 3 * 18)
    results("import", folder / "absent.json", code=4, text="absent.json", db=folder / "x.db")
    (folder / "other.txt").write_text("no results at all")
    results("import", folder / "other.txt", code=3, text="other.txt", db=folder / "x.db")


def merging(db, folder):
    """The elements of one run, some doubled, one cut: everything else is joined, and once."""
    whole = json.loads(results("export", "a-0", db=db))
    elements = folder / "elements"
    elements.mkdir()
    for i in range(3):
        part = json.loads(json.dumps(whole))
        part["agreements"] = []
        for k, cell in enumerate(part["cells"]):
            if k != i:
                cell.update(status="pending", reps=[])
        (elements / f"{i}.json").write_text(json.dumps(part))
        (elements / f"{i}-doubled.json").write_text(json.dumps(part))
    text = (elements / "2.json").read_text()
    (elements / "2.json").write_text(text[:len(text) // 2])
    (elements / "2-doubled.json").unlink()
    (elements / "log.txt").write_text("not a result")
    joined = folder / "joined.db"
    results("merge", elements, code=3, text="2.json", db=joined)
    same("cells so far", [len(c["reps"]) for c in json.loads(results("export", "a-0", db=joined))["cells"]], [6, 6, 0])
    same("not finished", json.loads(results("list", "--json", db=joined))["runs"][0]["finished"], False)
    (elements / "2.json").write_text(text)
    results("merge", *sorted(elements.glob("*.json")), text="added", db=joined)
    again = json.loads(results("merge", elements, "--json", db=joined))
    same("merged again", (again["added"], again["refused"]), (0, 0))
    same("joined", json.loads(results("export", "a-0", db=joined))["cells"], whole["cells"])
    same("finished", json.loads(results("list", "--json", db=joined))["runs"][0]["finished"], True)
    results("check", text="clean, 1 run", db=joined)


def ask(answer, db):
    """`rm last` on a terminal: its exit code."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(ANEMO, [str(ANEMO), "results", "rm", "last", "--db", str(db)])
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(fd, 100)
    os.write(fd, answer)
    try:
        while os.read(fd, 100):
            pass
    except OSError:
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return code


def removing(db):
    results("rm", "last", code=2, text="--yes", db=db)
    same("no", ask(b"n\n", db), 2)
    same("still there", len(results("list", "-q", db=db).split()), 3)
    same("yes", ask(b"y\n", db), 0)
    same("one less", results("list", "-q", db=db).split(), ["a-1", "a-0"])
    same("two names of one run", results("rm", "last", "a-1", "--yes", db=db), "removed a-1\n")
    same("last of before", results("list", "-q", db=db).split(), ["a-0"])
    c = sqlite3.connect(db)
    same("nothing of it stays", {r for (r,) in c.execute("SELECT run FROM reps UNION SELECT run FROM cells UNION SELECT run FROM models")},
         {"a-0"})
    c.execute("UPDATE cells SET doc = '{' WHERE idx = 1")
    c.commit()
    c.close()
    results("check", code=3, text="cell 1", db=db)
    faults = json.loads(results("check", "--json", code=3, db=db))
    same("check --json", (faults["clean"], len(faults["faults"])), (False, 1))


def reading_while_writing(folder):
    db = folder / "busy.db"
    writer = subprocess.Popen([WRITER, db, "busy", "60"], stdout=subprocess.DEVNULL)
    while not db.exists() or db.stat().st_size == 0:
        time.sleep(0.001)
    n_read, n_runs = 0, set()
    while writer.poll() is None or n_read == 0:
        done = subprocess.run([ANEMO, "results", "list", "-q", "--db", db], capture_output=True, text=True)
        if done.returncode not in (0, 4):
            failures.append(f"list while a run writes: {done.stderr}")
            break
        n_read += 1
        n_runs.add(len(done.stdout.split()))
    same("the writer's end", writer.wait(), 0)
    same("in the end", len(results("list", "-q", db=db).split()), 60)
    print(f"read {n_read} times while a run wrote, {len(n_runs)} different lists")


def main():
    os.environ.pop("ANEMO_DB", None)
    os.environ["XDG_DATA_HOME"] = "/nonexistent/data"
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as temp:
        folder = pathlib.Path(temp)
        subprocess.run([WRITER, folder / "r.db", "a", "3"], check=True, stdout=subprocess.DEVNULL)
        help_and_usage()
        tags_before_measuring()
        lists(folder / "r.db")
        round_trips(folder / "r.db", folder)
        merging(folder / "r.db", folder)
        removing(folder / "r.db")
        reading_while_writing(folder)
    for text in failures:
        print(text)
    print(f"{n_case} cases, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

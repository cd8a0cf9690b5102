#!/usr/bin/env python3
"""anemo sweep, the whole program: dry run, resuming, skipping, failing, blocks, locks, result files, sbatch: sweep.py [CASE…].
Environment: ANEMO_BUILD."""
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

from common import ANEMO, ECHO, ROOT, cells, check_database, main


def dry_run(p):
    # The echo driver can answer within one tick of the clock, and then has no speed.
    fake = ROOT / "tests/support/fake_engine.py"
    p.env.update({k: f"{sys.executable} {fake}" for k in p.env if k.startswith("ANEMO_DRIVER_")})
    plan = p.plan(after="[exclude]\nthreads=4 n_prompt=8\n")
    text = p.run(plan, "--dry-run").stdout
    assert "Cells    7, 2 repetitions each" in text and "Memory" in text and "kept free" in text, text
    assert not p.db.exists() and not (p.folder / "sweeps").exists(), "a dry run left something"
    doc = json.loads(p.run(plan, "--dry-run", "--json").stdout)
    assert len(doc["grid"]) == 7 and doc["pending"] == 7 and doc["estimate"]["cells_too_large"] == 0, doc
    assert sum(doc["estimate"][f"cells_{k}"] for k in ("from_same", "from_like", "from_model", "unknown")) == 7, doc
    p.run(plan, "-q")
    doc = json.loads(p.run(plan, "--dry-run", "--json").stdout)
    assert doc["estimate"]["seconds"] == 0 and doc["ok"] == 7, doc
    # Another plan over the same cells knows their times.
    other = json.loads(p.run(p.plan("b.ini", threads="1-3", reps=3), "--dry-run", "--json").stdout)
    assert other["estimate"]["cells_from_same"] == 6, other["estimate"]
    like = json.loads(p.run(p.plan("c.ini", threads="1-3", n_prompt="16"), "--dry-run", "--json").stdout)
    assert like["estimate"]["cells_from_like"] == 3, like["estimate"]


def complete_and_again(p):
    plan = p.plan()
    out = p.run(plan, "-q").stdout
    assert "8 cells: 8 ok" in out, out
    before = cells(p.db)
    assert len(before) == 8 and all(c[:2] == ("ok", 2) for c in before.values()), before
    n_log = p.logs().count(" unit ")
    p.run(plan, "-q", "--resume")
    assert cells(p.db) == before and p.logs().count(" unit ") == n_log == 8, "something was measured twice"
    # Comments and order of lines are no other plan; a value is.
    plan.write_text("# again\n" + plan.read_text())
    p.run(plan, "-q")
    assert cells(p.db) == before
    p.run(p.plan(reps=3), "-q", "--resume", code=4)
    assert check_database(p) == []
    assert len((p.folder / "sweeps").glob("*/manifest.jsonl").__next__().read_text().splitlines()) == 9


def order_is_random_and_kept(p):
    plan = p.plan(threads="1-8", more="seed = 7")
    p.run(plan, "-q")
    order = [int(x) for x in re.findall(r" cell (\d+),", p.logs())]
    assert sorted(order) == list(range(16)) and order != sorted(order), order
    p.run(plan, "-q", "--restart")
    assert [int(x) for x in re.findall(r" cell (\d+),", p.logs())] == 2 * order, "the seed gives another order"


def interrupted(p):
    plan = p.plan(threads="1-8", n_gen="16", reps=4)
    done = 0
    for _ in range(30):
        child = p.start(plan, "-q")
        time.sleep(0.12)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        if child.returncode == 0:
            break
        if child.returncode == -signal.SIGINT and not err:
            continue  # it came before anything was begun
        assert child.returncode == 130 and "the same command goes on from there" in err, (child.returncode, out, err)
        now = p.status(plan)["units_done"] if p.db.exists() else 0
        assert now >= done, "a finished unit is lost"
        done = now
    p.run(plan, "-q")
    assert all(c[:2] == ("ok", 4) for c in cells(p.db).values()) and len(cells(p.db)) == 16, cells(p.db)
    assert check_database(p) == []


def too_large(p):
    plan = p.plan(threads="1,2", after="memory = 1MB\n")
    assert json.loads(p.run(plan, "--dry-run", "--json").stdout)["estimate"]["cells_too_large"] == 4
    out = p.run(plan, "-q").stdout
    assert "4 skipped" in out, out
    for status, n, reason in cells(p.db).values():
        assert status == "skipped" and n == 0 and "does not fit in memory" in reason and "GB" in reason, (status, n, reason)


def failing_cells(p):
    """A driver that fails for two threads as long as a file is there."""
    flaky, broken = p.folder / "flaky.sh", p.folder / "broken"
    fault = f"""case $line in *'"threads":2,'*) [ -e {broken} ] && {{ echo 'flaky: out of luck' >&2; exit 9; }} ;; esac; loaded=1;"""
    flaky.write_text(ECHO.read_text().replace("loaded=1;", fault))
    broken.touch()
    plan = p.plan(threads="1,2")
    env = {"ANEMO_DRIVER_LLAMA_CPP": f"sh {flaky}"}
    out = p.run(plan, "-q", code=1, env=env).stdout
    assert "2 ok, 2 failed" in out, out
    failed = [c for c in cells(p.db).values() if c[0] == "failed"]
    assert len(failed) == 2 and all(c[2] for c in failed), failed
    n_log = p.logs().count(" unit ")
    p.run(plan, "-q", code=1, env=env)
    assert p.logs().count(" unit ") == n_log, "a failed cell was tried again"
    broken.unlink()
    assert "4 ok" in p.run(plan, "-q", "--retry-failed", env=env).stdout
    assert all(c == ("ok", 2, None) for c in cells(p.db).values()), cells(p.db)


def probes(p):
    """With the probes each repetition knows the bandwidth around it."""
    p.run(p.plan(threads="1", n_prompt="4", probes="on"), "-q")
    with sqlite3.connect(p.db) as c:
        found = [r[0] for r in c.execute("SELECT bandwidth_bps FROM reps WHERE kind = 'timed'")]
    assert len(found) == 2 and all(b and b > 1e8 for b in found), found


def missing_engine(p):
    plan = p.plan(threads="1")
    env = {"ANEMO_DRIVER_LLAMA_CPP": "", "ANEMO_LIBEXEC": str(p.folder), "ANEMO_ENGINES": str(p.folder)}
    plan.write_text(plan.read_text().replace("llama.cpp", "llama-cpp-python"))
    assert "2 missing" in p.run(plan, "-q", code=1, env=env).stdout


def blocks(p):
    plan = p.plan(threads="1,2", more="blocks = 3")
    p.run(plan, "-q")
    found = cells(p.db)
    assert len(found) == 4 and all(c[:2] == ("ok", 6) for c in found.values()), found
    order = [int(x) for x in re.findall(r" cell (\d+),", p.logs())]
    assert all(sorted(order[i:i + 4]) == [0, 1, 2, 3] for i in (0, 4, 8)), order
    other = p.run(p.plan("n.ini", threads="1,2"), "-q", "--blocks", "2", "--db", p.folder / "other.db")
    assert "4 ok" in other.stdout
    assert all(c[:2] == ("ok", 4) for c in cells(p.folder / "other.db").values())


def restart(p):
    plan = p.plan(threads="1")
    first = p.run(plan, "-q").stdout.split(":")[0]
    second = p.run(plan, "-q", "--restart").stdout.split(":")[0]
    third = p.run(plan, "-q", "--restart").stdout.split(":")[0]
    assert (second, third) == (first + "-2", first + "-3"), (first, second, third)
    assert all(c[:2] == ("ok", 2) for run in (first, second, third) for c in cells(p.db, run).values())
    assert p.status(plan)["run"] == third


def two_at_once(p):
    plan = p.plan(threads="1-4", n_gen="16", reps=20)
    child = p.start(plan, "-q")
    while "begin" not in p.logs():
        time.sleep(0.01)
    err = p.run(plan, "-q", code=1).stderr
    assert "is running already (process " + str(child.pid) + ")" in err and "progress.log" in err, err
    p.run(p.plan("other.ini", threads="1"), "-q")  # another sweep may
    child.kill()
    child.communicate()
    p.run(plan, "-q")  # nothing is left locked
    run = p.status(plan)["run"]
    assert all(c[:2] == ("ok", 20) for c in cells(p.db, run).values()), cells(p.db, run)


def disk_reserve(p):
    plan = p.plan(threads="1", after="disk_reserve = 900000 TB\n")
    err = p.run(plan, "-q", code=6).stderr
    assert "are free on this disk and the plan keeps" in err and "0 of 2 units done" in err, err
    assert check_database(p) == []


def bad_use(p):
    plan = p.plan(threads="1")
    for words, code, message in [((), 2, "give one plan file"), ((plan, plan), 2, "there are several"),
                                 ((plan, "--cell", "0"), 2, "--cell needs --manifest"), ((p.folder / "absent.ini",), 4, "absent.ini"),
                                 ((plan, "--slurm", "--local"), 2, "goes with neither"), ((plan, "--restart", "--resume"), 2, "exclude"),
                                 (("--manifest", plan, "--cell", "0"), 3, "plan.ini:1"), (("--manifest", plan, "--blocks", "2"), 2, "--blocks"),
                                 ((p.folder,), 2, "directory"), ((p.plan("bad.ini", threads="0"),), 3, "bad.ini:5: threads: '0' goes beyond"),
                                 ((p.plan("no.ini", models="nowhere.gguf"),), 4, "nowhere.gguf")]:
        err = p.run(*words, code=code).stderr
        assert message in err, (words, err)


def result_files(p):
    """--local from a manifest, several processes at once, --cell, and joining twice."""
    plan, out = p.plan(threads="1-5", more="blocks = 2"), p.folder / "out put"
    p.run(plan, "--slurm-dry-run", "--out", out)
    manifest = out / "manifest.jsonl"
    assert "unit 3" in p.run("--manifest", manifest, "--cell", "3", "--out", out).stdout
    before = sorted(out.glob("*.json"))
    assert [x.name.split(".")[1] for x in before] == ["000003"], before
    assert "ok already" in p.run("--manifest", manifest, "--cell", "3", "--out", out).stdout
    assert "there is no unit 20" in p.run("--manifest", manifest, "--cell", "20", "--out", out, code=2).stderr
    p.run("--manifest", manifest, "--cell", "1", "--per-task", "7", "--out", out)  # units 7 to 13
    assert len(list(out.glob("*.json"))) == 8
    children = [p.start("--manifest", manifest, "--local", "--out", out, "-q") for _ in range(3)]
    assert [c.wait(60) for c in children] == [0, 0, 0], [c.stderr.read() for c in children]
    for c in children:
        c.communicate()
    p.run("--manifest", manifest, "--local", "--out", out, "-q")
    assert len(list(out.glob("*.json"))) == 20 and not list(out.glob("*tmp*")), list(out.iterdir())
    status = p.status(plan, "--out", out)
    assert status["units_done"] == 20 and status["ok"] == 10, status
    files = sorted(map(str, out.glob("*.json")))
    # A part first, which the database goes on from, then all of it, twice.
    subprocess.run([ANEMO, "results", "merge", *files[:9]], env=p.env, check=True, capture_output=True)
    assert p.status(plan)["units_done"] == 9, p.status(plan)
    for _ in range(2):
        subprocess.run([ANEMO, "results", "merge", *files], env=p.env, check=True, capture_output=True)
        found = cells(p.db)
        assert len(found) == 10 and all(c[:2] == ("ok", 4) for c in found.values()), found
    assert p.status(plan)["units_done"] == 20, p.status(plan)
    p.run(plan, "-q")
    assert cells(p.db) == found and check_database(p) == []


def goes_on_from_merged_files(p):
    """What tasks of a cluster have measured is not measured again here."""
    plan, out = p.plan(threads="1-3", more="blocks = 2"), p.folder / "out"
    p.run(plan, "--slurm-dry-run", "--out", out)
    for i in (0, 3, 7, 8):
        p.run("--manifest", out / "manifest.jsonl", "--cell", str(i), "--out", out)
    subprocess.run([ANEMO, "results", "merge", *map(str, sorted(out.glob("*.json")))], env=p.env, check=True, capture_output=True)
    p.run(plan, "-q")
    assert p.logs().count(" unit ") == 8, p.logs()
    assert len(cells(p.db)) == 6 and all(c[:2] == ("ok", 4) for c in cells(p.db).values()), cells(p.db)
    assert p.status(plan)["pending"] == 0 and check_database(p) == []


def damaged_result_file(p):
    plan, out = p.plan(threads="1"), p.folder / "out"
    p.run(plan, "--local", "--out", out, "-q")
    one = sorted(out.glob("*.json"))[0]
    whole = one.read_text()
    one.write_text(whole[:len(whole) // 2])
    assert p.status(plan, "--out", out)["pending"] == 1
    p.run(plan, "--local", "--out", out, "-q")
    assert json.loads(one.read_text())["cells"][0]["status"] == "ok"


def sbatch_is_asked(p):
    """A program called sbatch that writes down its arguments; hostile names reach it and the tasks untouched."""
    nasty = p.folder / "it's $(touch owned) \"x\"\n; 100%"
    nasty.mkdir()
    fake = p.folder / "bin/sbatch"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nfor a; do printf '%s\\0' \"$a\"; done >\"$SAID\"\necho '4711;cluster'\n")
    fake.chmod(0o755)
    env = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "SAID": str(p.folder / "said")}
    plan = p.plan(threads="1-3", more="note = $(touch owned); `touch owned`")
    out = p.run(plan, "--slurm", "--out", nasty, "--partition", "a b", "--array-limit", "2", "--slurm-options", "--comment=$(touch owned)",
                env=env).stdout
    assert "submitted as job 4711" in out, out
    said = (p.folder / "said").read_text().split("\0")
    assert "--array=0-5%2" in said and "--comment=$(touch owned)" in said and "--partition=a b" in said and "--requeue" in said, said
    assert f"--output={str(nasty).replace('%', '%%')}/slurm-%A_%a.out" in said, said
    script = said[-2]
    assert script == str(nasty / "job.sh"), said
    for i in range(6):
        subprocess.run(["sh", script], env=dict(p.env, SLURM_ARRAY_TASK_ID=str(i)), cwd=p.folder, check=True, capture_output=True)
    assert len(list(nasty.glob("*.json"))) == 6
    assert not list(p.folder.rglob("owned")), "a name was read by a shell"
    fake.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    err = p.run(plan, "--slurm", "--out", nasty, code=1, env=env).stderr
    assert "sbatch refused the job array: sbatch: error: invalid partition" in err, err
    err = p.run(plan, "--slurm", "--out", nasty, code=4, env={"PATH": str(p.folder / "nothing")}).stderr
    assert "sbatch was not found" in err, err


def worker_stderr_is_kept(p):
    loud = p.folder / "loud.sh"
    loud.write_text("#!/bin/sh\necho 'loud: hello from the worker' >&2\nexit 3\n")
    p.run(p.plan(threads="1", n_prompt="4"), "-q", code=1, env={"ANEMO_DRIVER_LLAMA_CPP": f"sh {loud}"})
    assert "loud: hello from the worker" in p.logs("workers.log") + p.logs(), p.logs() + p.logs("workers.log")


if __name__ == "__main__":
    main([dry_run, complete_and_again, order_is_random_and_kept, interrupted, too_large, failing_cells, probes, missing_engine, blocks, restart,
          two_at_once, disk_reserve, bad_use, result_files, goes_on_from_merged_files, damaged_result_file, sbatch_is_asked, worker_stderr_is_kept])

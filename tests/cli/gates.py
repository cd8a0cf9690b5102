#!/usr/bin/env python3
"""results import, compare and gate on runs of a fake engine whose speed is known, and on files of the real tools.
Environment: ANEMO_BUILD."""
import json
import os
import pathlib
import re
import sqlite3
import sys
import tempfile
import xml.etree.ElementTree as ET

from program import ROOT, anemo, expect, failures

GOLDEN = ROOT / "tests/golden/import"


def measure(temp, tag, *options, fake, reps=9):
    done = anemo("compare", temp / "m.gguf", "-e", "llama.cpp", "-n", 12, "-r", reps, "-q", "--no-bandwidth", "--no-observe", "--tag", tag,
                 *options, fake=f"--state {temp}/{tag} --noise 0.01 {fake}")
    return done


def check_junit(path, tests, failed, errors, skipped):
    """What the usual readers rely on: the elements, their order, counts that are true."""
    root = ET.parse(path).getroot()
    expect("testsuites", root.tag == "testsuites" and all(s.tag == "testsuite" for s in root))
    total = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in root:
        for name in ("name", "tests", "failures", "errors", "skipped", "time"):
            expect(f"testsuite has {name}", name in suite.attrib)
        expect("properties come first", suite[0].tag == "properties")
        cases = suite.findall("testcase")
        counted = {"tests": len(cases), "failures": len(suite.findall("testcase/failure")),
                   "errors": len(suite.findall("testcase/error")), "skipped": len(suite.findall("testcase/skipped"))}
        for name, n in counted.items():
            expect(f"{name} of {suite.get('name')}", int(suite.get(name)) == n, f"{suite.get(name)} is not {n}")
            total[name] += n
        for case in cases:
            expect("a case has its names", case.get("classname") and case.get("name") and float(case.get("time")) >= 0)
            expect("children", {c.tag for c in case} <= {"failure", "error", "skipped", "system-out"})
            expect("messages", all(c.get("message") for c in case if c.tag != "system-out"))
    expect(f"JUnit counts: {total}", list(total.values()) == [tests, failed, errors, skipped])
    return root


def test_import(temp):
    for name in ("llama-bench.json", "llama-bench.jsonl", "llama-bench.sql", "llama-bench.csv", "sqlite-dump.sql",
                 "mlx_lm.benchmark.txt"):
        done = anemo("results", "import", GOLDEN / name)
        expect(f"import {name}", done.returncode == 0 and "added" in done.stdout, done.stderr)
        again = anemo("results", "import", GOLDEN / name)
        expect(f"import {name} again", again.returncode == 0 and "nothing new" in again.stdout, again.stdout + again.stderr)
    listed = anemo("results", "list").stdout
    expect("six imports", listed.count(" import ") == 6, listed)
    check = anemo("results", "check")
    expect("check after imports", check.returncode == 0 and "clean" in check.stdout, check.stdout)
    done = anemo("results", "import", GOLDEN / "llama-bench-table.txt")
    expect("a table", done.returncode == 3 and "-o json" in done.stderr, done.stderr)
    done = anemo("results", "import", temp / "none")
    expect("no file", done.returncode == 4, done.stderr)
    (temp / "cut.jsonl").write_text((GOLDEN / "llama-bench.jsonl").read_text()[:-20])
    done = anemo("results", "import", temp / "cut.jsonl")
    expect("a cut file", done.returncode == 3 and "line 4" in done.stderr, done.stderr)
    expect("a refused file adds nothing", anemo("results", "list").stdout == listed)
    # The means of the CSV against the samples of the JSON: one value decides nothing.
    ids = [line.split()[0] for line in listed.splitlines()[1:]]
    done = anemo("results", "compare", ids[0], ids[4], "--json")
    doc = json.loads(done.stdout)
    expect("cells of two forms match", len(doc["cells"]) == 4 and all(c["same"] for c in doc["cells"]), done.stdout)
    expect("a mean has no interval", all(m["verdict"] == "unknown" for c in doc["cells"] for m in c["metrics"]), done.stdout)


def test_columns(temp):
    """The names of docs/metrics.md are the columns of the database and of the exported CSV."""
    names = re.findall(r"^\| [^|]+ \| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    db = sqlite3.connect(temp / "results.db")
    columns = {row[1] for row in db.execute("PRAGMA table_info(reps)")}
    db.close()
    expect("metrics are columns", len(names) > 30 and not set(names) - columns, str(set(names) - columns))
    head = anemo("results", "export", "base", "--csv").stdout.splitlines()[0].split(",")
    expect("metrics are in the CSV", not set(names) - set(head), str(set(names) - set(head)))


def test_compare():
    doc = json.loads(anemo("results", "compare", "base", "slow", "--json").stdout)
    expect("schema", doc["schema"] == "anemo.side-by-side/1")
    metrics = {m["metric"]: m for m in doc["cells"][0]["metrics"]}
    decode = metrics["decode_tps"]
    expect("10 % slower", abs(decode["ratio"] - 0.9) < 0.02 and decode["lo"] < 0.9 < decode["hi"] and
           decode["verdict"] == "lower" and decode["means"] == "worse", str(decode))
    expect("the reverse", json.loads(anemo("results", "compare", "slow", "base", "--json", "--metric", "decode_tps").stdout)
           ["cells"][0]["metrics"][0]["means"] == "better")
    same = anemo("results", "compare", "base", "same", "--json", "--margin", "5", "--metric", "decode_tps,ttft_s")
    expect("equivalent within 5 %", [m["means"] for m in json.loads(same.stdout)["cells"][0]["metrics"]] == ["equivalent"] * 2,
           same.stdout)
    noisy = anemo("results", "compare", "base", "slow", "--json", "--metric", "decode_tps", "--noise", "30")
    expect("noise widens", json.loads(noisy.stdout)["cells"][0]["metrics"][0]["means"] == "undecided", noisy.stdout)
    text = anemo("results", "compare", "base", "threads").stdout
    expect("unlike cells are named", "NOT THE SAME CELL: threads: 1 → 2" in text, text)
    md = anemo("results", "compare", "base", "slow", "--md").stdout
    expect("Markdown", "| Decode" in md and "| --- |" in md, md)
    rows = anemo("results", "compare", "base", "slow", "--csv", "--metric", "all").stdout.splitlines()
    expect("CSV", rows[0].startswith("cell,same,metric,unit,n_a") and any(",decode_tps,\"tokens/s\",9,9," in r for r in rows), str(rows))
    two = anemo("results", "compare", "base", "two")
    expect("what is in one only", "Only in B: " in two.stdout, two.stdout)
    expect("no such metric", anemo("results", "compare", "base", "slow", "--metric", "speed").returncode == 2)
    expect("one run", anemo("results", "compare", "base").returncode == 2)
    expect("no such run", anemo("results", "compare", "base", "nothing").returncode == 4)


def test_gate(temp):
    def gate(run, *rules, more=()):
        words = [w for r in rules for w in ("--fail-on", r)]
        return anemo("results", "gate", run, "--baseline", "base", *words, *more)

    junit = temp / "junit.xml"
    done = gate("slow", "decode_tps:-3%", "ttft_s:+50ms", "rss_peak_bytes:+50MB", more=("--junit", junit))
    expect("a fall of 10 % fails", done.returncode == 7 and "FAIL " in done.stdout and "-3%" in done.stdout, done.stdout + done.stderr)
    root = check_junit(junit, 4, 1, 0, 0)
    expect("the evidence", "limit decode_tps:-3%" in root.find(".//failure").text)
    expect("a fall of 10 % is within 15 %", gate("slow", "decode_tps:-15%").returncode == 0)
    expect("a rise is no fall", gate("slow", "decode_tps:+3%").returncode == 0)
    expect("both ways", gate("slow", "decode_tps:±3%").returncode == 7)
    expect("worse without a sign", gate("slow", "decode_tps:3%").returncode == 7)
    expect("absolute", gate("slow", "decode_tps:-5").returncode == 7 and gate("slow", "decode_tps:-20").returncode == 0)
    expect("the same passes", gate("same", "decode_tps:-3%").returncode == 0)
    expect("noise", gate("slow", "decode_tps:-3%", more=("--noise", "20")).returncode == 0)

    done = gate("slow", "decode_tps:-10%", more=("--json", "--junit", junit))
    doc = json.loads(done.stdout)
    expect("on the limit", done.returncode == 0 and doc["checks"][0]["outcome"] == "undecided" and not doc["failed"], done.stdout)
    check_junit(junit, 2, 0, 0, 1)
    done = gate("slow", "decode_tps:-10%", more=("--undecided", "fail", "--junit", junit, "--gate-json", temp / "gate.json"))
    expect("undecided counts", done.returncode == 7, done.stdout)
    expect("the file", json.loads((temp / "gate.json").read_text())["failed"])
    check_junit(junit, 2, 1, 0, 0)
    done = anemo("results", "gate", "few", "--baseline", "few", "--fail-on", "decode_tps:-3%")
    expect("three are too few", done.returncode == 0 and "undecided" in done.stdout and "measure more" in done.stdout, done.stdout)
    done = gate("threads", "decode_tps:-3%")
    expect("other settings are not compared", done.returncode == 2 and "--unlike" in done.stderr, done.stderr)
    done = gate("threads", "decode_tps:-3%", more=("--unlike",))
    expect("unless asked for", done.returncode == 0, done.stdout + done.stderr)
    done = gate("broken", "decode_tps:-3%", more=("--junit", junit))
    expect("a failed cell is no pass", done.returncode == 1 and "nothing of the run" in done.stdout, done.stdout + done.stderr)
    check_junit(junit, 1, 0, 1, 0)
    for rule, text in (("decode_tps", "METRIC:CHANGE"), ("speed:-3%", "no metric"), ("decode_tps:-x", "a number"),
                       ("decode_tps:-3MB", "no unit"), ("n_generated:3", "neither more nor less"), ("decode_tps:-100%", "never be passed"),
                       ("decode_tps:-3%%", "no unit"), (":-3%", "METRIC:CHANGE"), ("decode_tps:", "a number")):
        done = gate("slow", rule)
        expect(f"rule {rule}", done.returncode == 2 and text in done.stderr, done.stderr)
    expect("no baseline", anemo("results", "gate", "slow", "--fail-on", "decode_tps:-3%").returncode == 2)
    expect("no rule", anemo("results", "gate", "slow", "--baseline", "base").returncode == 2)
    expect("no such baseline", anemo("results", "gate", "slow", "--baseline", "x", "--fail-on", "decode_tps:-3%").returncode == 4)


def test_compare_gate(temp):
    """The same in one go with the measurement."""
    junit = temp / "junit.xml"
    limits = ("--baseline", "base", "--fail-on", "decode_tps:-3%", "--junit", junit)
    done = measure(temp, "base2", "-t", 1, *limits, fake="--decode 100 --seed 11")
    expect("compare within the limit", done.returncode == 0 and "Gate: run" in done.stdout, done.stdout + done.stderr)
    check_junit(junit, 2, 0, 0, 0)
    done = measure(temp, "slow2", "-t", 1, *limits, "--format", "json", fake="--decode 80 --seed 12")
    expect("compare beyond the limit", done.returncode == 7 and "FAIL " in done.stderr, done.stderr)
    expect("JSON alone on stdout", json.loads(done.stdout)["schema"] == "anemo.run/1")
    check_junit(junit, 2, 1, 0, 0)
    stored = anemo("results", "list", "--tag", "slow2").stdout
    expect("the failing run is kept", "slow2" in stored, stored)
    before = anemo("results", "list").stdout
    for more, code in ((("--fail-on", "decode_tps:-3"), 2), (("--baseline", "base"), 2), (("--baseline", "none", "--fail-on", "ttft_s:3%"), 4),
                       (("--baseline", "base", "--fail-on", "ttft:3%"), 2)):
        done = measure(temp, "never", *more, fake="")
        expect(f"{more} is found before anything is measured", done.returncode == code, done.stderr)
    expect("and nothing is kept of it", anemo("results", "list").stdout == before)
    done = measure(temp, "alone", "-t", 1, "--junit", junit, fake="")
    expect("JUnit without a baseline", done.returncode == 0, done.stderr)
    check_junit(junit, 1, 0, 0, 0)
    done = measure(temp, "crash", "-t", 1, *limits, fake="--crash 2")
    expect("a failed cell", done.returncode == 1, done.stderr)
    check_junit(junit, 1, 0, 1, 0)


def main():
    with tempfile.TemporaryDirectory() as name:
        temp = pathlib.Path(name)
        os.environ["ANEMO_DB"] = str(temp / "results.db")
        (temp / "m.gguf").write_bytes((ROOT / "fuzz/corpus/gguf/tiny_q4_1").read_bytes())
        test_import(temp)
        one = ("-t", 1)
        for tag, options, fake, reps in (("base", one, "--decode 100 --seed 1", 9), ("slow", one, "--decode 90 --seed 2", 9),
                                         ("same", one, "--decode 100 --seed 3", 9), ("threads", ("-t", 2), "--decode 100 --seed 4", 9),
                                         ("two", ("-t", "1,2"), "--decode 100 --seed 5", 6), ("few", one, "--decode 80 --seed 6", 3)):
            done = measure(temp, tag, *options, fake=fake, reps=reps)
            expect(f"run {tag}", done.returncode == 0, done.stderr)
        done = measure(temp, "broken", *one, fake="--crash 2")
        expect("a failed run", done.returncode == 1, done.stderr)
        test_columns(temp)
        test_compare()
        test_gate(temp)
        test_compare_gate(temp)
        check = anemo("results", "check")
        expect("check", check.returncode == 0, check.stdout)
    sys.exit(len(failures) > 0)


main()

"""anemo compare from its command line to its document, on engines whose speed is known (tests/support/fake_engine.py): does it find
the ratio, does it stop when it should, does it keep quiet where there is nothing to find, and what is left after faults and signals?

    ANEMO_BUILD=build/dev python3 tests/e2e/blocks.py [CASE…]
"""
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]).resolve() / "anemo"
MODEL = ROOT / "tests/golden/tiny/files/chatml.gguf"
FAKE = f"{sys.executable} {ROOT}/tests/support/fake_engine.py"
LOOKS = (6, 9, 14, 20, 30)
CASES = []


def case(function):
    CASES.append(function)
    return function


class Place:
    """A folder of a test's own: virtual clock, traces, output, database."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.n = 0

    def trace(self, points):
        path = self.folder / f"trace{self.n}"
        path.write_text("".join(f"{t} {factor}\n" for t, factor in points))
        return f"--trace {path}"

    def command(self, engines, args, model=MODEL, store=False):
        """engines: {name: options of the fake}. Gives arguments, environment and the path of the document."""
        self.n += 1
        out, state = self.folder / f"run{self.n}.json", self.folder / f"clock{self.n}"
        env = dict(os.environ, ANEMO_DB=str(self.folder / "results.db"), ANEMO_ENGINES=str(self.folder / "none"))
        for name, options in engines.items():
            variable = "ANEMO_DRIVER_" + "".join(c.upper() if c.isalnum() else "_" for c in name)
            env[variable] = f"{FAKE} --state {state} --name {name} {options}"
        keep = [] if store else ["--no-store"]
        return ([str(ANEMO), "compare", str(model), "--engine", ",".join(engines), "-q", "-n", "16", "--no-bandwidth", "--no-observe",
                 "--seed", str(self.n), "--format", "json", "-o", str(out), *keep, *args], env, out)

    def compare(self, engines, *args, expect=0, **more):
        command, env, out = self.command(engines, args, **more)
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
        assert done.returncode == expect, f"exit status {done.returncode}, expected {expect}:\n{done.stderr}"
        self.stderr = done.stderr
        return json.loads(out.read_text()) if out.exists() else None


    def results(self, *args):
        """anemo results …: its JSON, or its text."""
        env = dict(os.environ, ANEMO_DB=str(self.folder / "results.db"))
        text = subprocess.run([ANEMO, "results", *args], env=env, check=True, capture_output=True, text=True).stdout
        return json.loads(text) if "--json" in args else text


def reps(cell, kind):
    return [rep for rep in cell["reps"] if rep["kind"] == kind]


def verdict(run, field="decode_tps"):
    found = [v for v in run["verdicts"] if v["field"] == field]
    assert len(found) == 1, run["verdicts"]
    return found[0]


@case
def a_known_ratio_is_found_under_drift(place):
    """The neighbour on the host starts in the middle: everything is 1.6 times as slow from then on, and then a ramp of 20 %."""
    for points in [[(0, 1.6), (20, 1.6), (20.001, 1.0), (1000, 1.0)], [(0, 1.0), (40, 1.2)]]:
        for ratio in (1.1, 0.93):
            drift = place.trace(points)
            run = place.compare({"native": f"--decode 100 --noise 0.01 {drift}", "llama.cpp": f"--decode {100 * ratio} --noise 0.01 {drift}"})
            v = verdict(run)
            assert abs(v["ratio"] / ratio - 1) < 0.01, f"{ratio} became {v['ratio']}"
            assert v["better"] == ("faster" if ratio > 1 else "slower"), v
            assert v["lo"] < ratio < v["hi"], v


@case
def it_stops_when_enough_is_known(place):
    blocks = []
    for noise in (0.001, 0.012, 0.2):
        engines = {"native": f"--noise {noise}", "llama.cpp": f"--noise {noise}"}
        run = place.compare(engines)
        blocks.append(run["n_block"])
        assert run["n_block"] in LOOKS and run["n_look"] == LOOKS.index(run["n_block"]) + 1, (run["n_block"], run["n_look"])
        assert all(len(reps(cell, "timed")) == run["n_block"] for cell in run["cells"])
        if run["stop_reason"] == "precise":
            for v in run["verdicts"]:
                assert (v["hi"] - v["lo"]) / 2 < 0.0101 * v["ratio"], v
    assert blocks[0] == 6 and 6 < blocks[1] < 30 and blocks[2] == 30, blocks
    run = place.compare(engines, "--precision", "50")
    assert run["n_block"] == 6 and run["stop_reason"] == "precise", (run["n_block"], run["stop_reason"])
    run = place.compare(engines, "--max-reps", "7")
    assert run["n_block"] == 7 and run["stop_reason"] == "blocks" and run["n_look"] == 1, (run["n_block"], run["n_look"])
    run = place.compare(engines, "-r", "4")
    assert run["n_block"] == 4 and run["n_look"] == 0, (run["n_block"], run["n_look"])


@case
def every_block_has_each_cell_once_in_random_order(place):
    run = place.compare({"native": "", "llama.cpp": "", "llama-cpp-python": ""}, "-r", "12")
    orders = []
    for block in range(12):
        row = sorted((rep["order"], i) for i, cell in enumerate(run["cells"]) for rep in reps(cell, "timed") if rep["block"] == block)
        assert sorted(i for _, i in row) == [0, 1, 2], row
        orders.append(tuple(i for _, i in row))
    assert len(set(orders)) > 3, orders
    everything = sorted(rep["order"] for cell in run["cells"] for rep in cell["reps"])
    assert everything == list(range(len(everything))), "the order numbers have gaps or doubles"


@case
def the_budget_is_kept(place):
    begin = time.monotonic()
    run = place.compare({"native": "--noise 0.2 --real 0.1", "llama.cpp": "--noise 0.2 --real 0.1"}, "--budget", "1.6s", "--warmup", "0")
    took = time.monotonic() - begin
    assert run["stop_reason"] == "budget" and 1 <= run["n_block"] <= 7, (run["stop_reason"], run["n_block"])
    assert took < 20, took
    last = max(rep["start_s"] for cell in run["cells"] for rep in cell["reps"])
    assert last < 1.6, f"a repetition began after {last} s of 1.6"
    assert run["n_look"] == 1, (run["n_block"], run["n_look"])
    # The first block is always made.
    run = place.compare({"native": "--real 0.2", "llama.cpp": "--real 0.2"}, "--budget", "0.01", "--warmup", "0")
    assert run["n_block"] == 1, run["n_block"]


@case
def the_same_twice_is_never_called(place):
    for i in range(8):
        run = place.compare({"native": f"--noise {0.005 * (i + 1)}"}, "--aa")
        assert run["aa"] and [cell["label"] for cell in run["cells"]] == ["native #1", "native #2"], run["cells"]
        assert run["cells"][1]["copy_of"] == 0
        for v in run["verdicts"]:
            assert v["verdict"] in ("equivalent", "undecided"), v
        assert 0 < run["aa_noise"] < 0.2, run["aa_noise"]


@case
def a_false_difference_fails_the_gate(place):
    run = place.compare({"native": "--noise 0.003 --second 1.08"}, "--aa", expect=7)
    assert "the A/A gate failed" in place.stderr and "1.08" in place.stderr, place.stderr
    assert verdict(run)["verdict"] == "higher" and "1.08" in run["refused"], run["refused"]
    # The same fault in an ordinary comparison: whatever the engines show, nothing is claimed.
    run = place.compare({"native": "--noise 0.003 --second 1.08", "llama.cpp": "--noise 0.003 --decode 200"}, "--gate", "--seed", "3")
    assert [cell["label"] for cell in run["cells"]] == ["native", "llama.cpp", "native (again)"], run["cells"]
    assert run["refused"] and "no verdicts" in place.stderr, place.stderr
    assert all(v["verdict"] == "undecided" for v in run["verdicts"]) and len(run["verdicts"]) == 2, run["verdicts"]
    # Where the copies are alike, the verdict stands and knows the noise.
    run = place.compare({"native": "--noise 0.003", "llama.cpp": "--noise 0.003 --decode 200"}, "--gate")
    assert not run["refused"] and verdict(run)["better"] == "faster" and run["aa_noise"] < 0.02, run["aa_noise"]


def kept_aa(place, tag, engine="native", options="--noise 0.03 --seed 4", more=("-r", "14"), status=0, **kw):
    place.compare({engine: options}, "--aa", "--tag", tag, *more, expect=status, store=True, **kw)


def altered(place, tag, new, change):
    """A copy of a kept run under another id and tag, with something else in it."""
    run = place.results("export", tag, "--json")
    run["id"], run["tags"] = f"20250101-000000-{zlib.crc32(new.encode()) % 65536:04x}", [new]
    change(run)
    path = place.folder / f"{new}.json"
    path.write_text(json.dumps(run))
    place.results("import", str(path))


@case
def a_kept_gate_is_the_margin(place):
    kept_aa(place, "calm", options="--noise 0.001")
    kept_aa(place, "noisy")
    noise = place.results("export", "noisy", "--json")
    assert noise["aa_noise"] > 0.01 and not noise["refused"] and noise["aa_from"] is None, noise["aa_noise"]
    engines = {"native": "--noise 0.001", "llama.cpp": "--noise 0.001 --decode 101.2"}
    for tag, better in (("calm", "faster"), ("noisy", "equivalent")):
        run = place.compare(engines, "--gate-from", tag, "-r", "14")
        assert verdict(run)["better"] == better, verdict(run)
        assert len(run["cells"]) == 2 and not run["refused"] and not place.stderr, (run["refused"], place.stderr)
    assert run["aa_from"] == noise["id"] and abs(run["aa_noise"] / noise["aa_noise"] - 1) < 1e-9, (run["aa_from"], run["aa_noise"])
    assert any(noise["id"] in line for line in run["analysis"]["evidence"]), run["analysis"]["evidence"]
    # Kept with the run, so that a report of it says the same, and no source for a third one.
    place.compare(engines, "--gate-from", noise["id"], "-r", "6", "--tag", "second", store=True)
    assert place.results("export", "second", "--json")["aa_from"] == noise["id"]
    place.compare(engines, "--gate-from", "second", expect=2)
    assert f"took its gate from run {noise['id']}" in place.stderr, place.stderr
    # A run with --gate serves as well: it measured its first cell twice.
    place.compare(engines, "--gate", "-r", "9", "--tag", "twice", store=True)
    assert verdict(place.compare(engines, "--gate-from", "twice", "-r", "9"))["better"] == "faster"
    # Other settings, other work: said, and taken.
    place.compare(engines, "--gate-from", "calm", "-r", "6", "--threads", "1", "-n", "20")
    assert "other settings" in place.stderr and "threads" in place.stderr and "tg16 → " in place.stderr, place.stderr


@case
def a_gate_that_does_not_fit_is_refused(place):
    engines = {"native": "--noise 0.001", "llama.cpp": "--noise 0.001"}

    def refused(tag, *texts, status=2, engines=engines, **more):
        place.compare(engines, "--gate-from", tag, "--warmup", "0", "-r", "6", expect=status, **more)
        for text in texts:
            assert text in place.stderr, (text, place.stderr)

    refused("calm", "there are no results yet", status=4)
    kept_aa(place, "calm", options="--noise 0.001")
    kept_aa(place, "few", options="--noise 0.001", more=("-r", "3"))
    kept_aa(place, "failed", options="--noise 0.003 --second 1.08", status=7)
    place.compare(engines, "-r", "6", "--tag", "plain", store=True)
    refused("nowhere", "nowhere", status=4)
    refused("plain", "measured no cell against itself", "--aa --tag")
    refused("few", "3 blocks", "at least 6")
    refused("failed", "failed", "1.08")
    refused("calm", "the engine native", engines={"llama.cpp": ""})
    twin = place.folder / "twin.gguf"
    twin.write_bytes(MODEL.read_bytes())
    refused("calm", "chatml.gguf", "no model of this comparison", model=twin)
    altered(place, "calm", "far", lambda run: run["environment"].update(host="elsewhere"))
    refused("far", "another machine", "host: elsewhere → ", "measure an A/A run here")
    altered(place, "calm", "small", lambda run: run["environment"].update(cpus_online=1 + run["environment"]["cpus_online"]))
    refused("small", "another machine", "CPUs online")
    altered(place, "calm", "nameless", lambda run: run["environment"].update(host=None))
    refused("nameless", "another machine", "not known")
    for flag in ("--gate", "--aa"):
        place.compare({"native": ""}, flag, "--gate-from", "calm", expect=2)
        assert flag in place.stderr and "leave one out" in place.stderr, place.stderr
    # Old: a warning, and it is taken.
    altered(place, "calm", "yesterday", lambda run: run["environment"].update(date="2025-01-01T00:00:00Z"))
    refused("yesterday", "older than 24 hours (2025-01-01T00:00:00Z)", status=0)
    # Other weights under the same name and of the same size: known when all is measured; no verdicts then.
    altered(place, "calm", "weights", lambda run: run["models"][0].update(sha256="0" * 64))
    run = place.compare(engines, "--gate-from", "weights", "-r", "6")
    assert "other weights of chatml.gguf" in run["refused"] and verdict(run)["verdict"] == "undecided", run["refused"]
    altered(place, "calm", "version", lambda run: [cell.update(engine_version="0.0") for cell in run["cells"]])
    refused("version", "other versions: native 0.0 → ", status=0)


@case
def two_of_three_fail_midway(place):
    run = place.compare({"native": "", "llama.cpp": "--crash 8", "llama-cpp-python": "--error 7"}, "-r", "6", "--warmup", "4", expect=1)
    good, crashed, refused = run["cells"]
    assert good["status"] == "ok" and len(reps(good, "timed")) == 6
    assert crashed["status"] == "failed" and "SIGSEGV" in crashed["reason"] and len(reps(crashed, "timed")) == 3, crashed["reason"]
    assert refused["status"] == "failed" and "told to fail" in refused["reason"] and len(reps(refused, "timed")) == 2, refused["reason"]
    assert run["verdicts"] == [], "verdicts on cells that failed"
    # Those that are left decide when it ends.
    run = place.compare({"native": "--noise 0.0005", "llama.cpp": "--noise 0.0005", "llama-cpp-python": "--noise 0.5 --hang 6"},
                        "--timeout", "1", "--warmup", "4", expect=1)
    assert run["n_block"] == 6 and run["stop_reason"] == "precise", (run["n_block"], run["stop_reason"])
    assert "no answer for 1 s" in run["cells"][2]["reason"], run["cells"][2]["reason"]


@case
def warm_up_goes_on_until_steady(place):
    engines = {"native": "--warm-up 3:2 --noise 0.003", "llama.cpp": "--noise 0.003"}
    run = place.compare(engines)
    slow, fast = (len(reps(cell, "warmup")) for cell in run["cells"])
    assert 7 <= slow <= 10 and 4 <= fast <= 10, (slow, fast)
    for cell in run["cells"]:
        assert all(abs(rep["decode_tps"] / 100 - 1) < 0.02 for rep in reps(cell, "timed")), "a cold repetition was timed"
        assert all(rep["block"] is None and rep["n_generated"] == 16 for rep in reps(cell, "warmup"))
    assert all(not reps(cell, "warmup") for cell in place.compare(engines, "--warmup", "0", "-r", "1")["cells"])
    assert all(len(reps(cell, "warmup")) == 2 for cell in place.compare(engines, "--warmup", "2", "-r", "1")["cells"])


@case
def loads_say_what_they_found(place):
    model = place.folder / "model.gguf"
    model.write_bytes(MODEL.read_bytes())
    run = place.compare({"native": "--load 0.25"}, "--cold", "-r", "1", model=model)
    assert run["models"][0]["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    loads = reps(run["cells"][0], "load")
    assert len(loads) == 2 and all(rep["page_cache"] in ("cold", "warm", "mixed", "unknown") for rep in loads), loads
    for rep in loads:
        assert rep["load_cold_s"] == (0.25 if rep["page_cache"] == "cold" else None), rep
        assert rep["load_warm_s"] == (0.25 if rep["page_cache"] == "warm" else None), rep
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", str(model)], capture_output=True, text=True).stdout.strip()
    if filesystem not in ("tmpfs", "ramfs"):
        assert loads[0]["page_cache"] == "cold", f"the model stayed in the page cache on {filesystem}"


@case
def threads_make_cells(place):
    run = place.compare({"native": "--scaling 0.8 --noise 0.003"}, "--threads", "1,2")
    assert [cell["label"] for cell in run["cells"]] == ["native · 1 thread", "native · 2 threads"], [c["label"] for c in run["cells"]]
    assert [cell["settings"]["threads"] for cell in run["cells"]] == [1, 2]
    assert run["cells"][0]["key"] != run["cells"][1]["key"]
    assert abs(verdict(run)["ratio"] / 2 ** 0.8 - 1) < 0.01, verdict(run)


@case
def one_repetition_is_watched(place):
    command, env, out = place.command({"native": "--real 0.4 --memory 48"}, ["-r", "1", "--warmup", "0"])
    command.remove("--no-observe")
    subprocess.run(command, env=env, check=True, timeout=60)
    run = json.loads(out.read_text())
    watched = reps(run["cells"][0], "observed")
    assert len(watched) == 1 and len(reps(run["cells"][0], "timed")) == 1
    curve = watched[0]["curve"]
    assert 4 <= len(curve) <= 20, len(curve)
    points = [p if isinstance(p, dict) else dict(zip(("t_s", "rss_anon_bytes"), p)) for p in curve]
    assert all(p["rss_anon_bytes"] >= 48 << 20 for p in points), points
    assert all(a["t_s"] < b["t_s"] for a, b in zip(points, points[1:]))


@case
def the_first_signal_ends_it_in_order(place):
    command, env, out = place.command({"native": "--real 0.1", "llama.cpp": "--real 0.1"}, ["-r", "60", "--warmup", "0"], store=True)
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=20)[1]
    assert process.returncode == 130, (process.returncode, stderr)
    assert "interrupted after" in stderr, stderr
    run = json.loads(out.read_text())
    assert run["interrupted"] and run["stop_reason"] == "interrupted" and 0 < run["n_block"] < 60, run["n_block"]
    counts = [len(reps(cell, "timed")) for cell in run["cells"]]
    assert all(run["n_block"] <= n <= run["n_block"] + 1 for n in counts), (counts, run["n_block"])
    kept = place.results("show", "last", "--json")
    assert [len(reps(cell, "timed")) for cell in kept["cells"]] == counts and kept["interrupted"], "the database has another run"


@case
def what_was_measured_before_a_kill_is_kept(place):
    command, env, out = place.command({"native": "--real 0.1", "llama.cpp": "--real 0.1"}, ["-r", "60", "--warmup", "0"], store=True)
    process = subprocess.Popen(command, env=env)
    time.sleep(2)
    process.kill()
    process.wait()
    assert not out.exists(), "a document of a run that was killed"
    kept = place.results("show", "last", "--json")
    assert all(cell["status"] == "pending" for cell in kept["cells"]), [cell["status"] for cell in kept["cells"]]
    assert all(len(reps(cell, "timed")) >= 3 for cell in kept["cells"]), [len(reps(cell, "timed")) for cell in kept["cells"]]
    assert all(rep["text"] for rep in reps(kept["cells"][0], "timed")), "a repetition without its text"
    place.results("check")


@case
def a_database_that_fails_loses_nothing(place):
    run = place.compare({"native": ""}, "-r", "2", "--db", "/dev/null/results.db", store=True)
    assert len(reps(run["cells"][0], "timed")) == 2 and "not kept" in place.stderr, place.stderr


@case
def what_a_user_can_get_wrong(place):
    for args, text in [(["--budget", "0"], "--budget"), (["--budget", "1d"], "--budget"), (["--budget", "5m1h"], "--budget"),
                       (["--budget", ""], "--budget"), (["--threads", "0"], "--threads"), (["--threads", "1,x"], "--threads"),
                       (["--warmup", "often"], "--warmup"), (["--warmup", "-1"], "--warmup"), (["--precision", "0"], "--precision"),
                       (["--max-reps", "0"], "--max-reps"), (["--aa", "--threads", "1,2"], "--aa measures one cell")]:
        assert place.compare({"native": ""}, *args, expect=2) is None
        assert text in place.stderr, (args, place.stderr)
    place.compare({"native": "", "llama.cpp": ""}, "--aa", expect=2)
    for text in ("90s", "1.5m", "2h", "1h30m", "7"):
        place.compare({"native": ""}, "--budget", text, "-r", "1", "--warmup", "0")


def main():
    failed = 0
    chosen = [c for c in CASES if not sys.argv[1:] or c.__name__ in sys.argv[1:]]
    for function in chosen:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.monotonic()
            try:
                function(Place(folder))
                print(f"ok      {function.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
            except Exception as e:  # an assertion, or a run that did not end: the other cases go on
                failed += 1
                print(f"FAILED  {function.__name__}: {type(e).__name__}: {e}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""
perf/versus as a whole, on a model of two small layers and against llama-benches that compute nothing: peers that are absent, fail,
hang, lack flags or have others; the choice of settings; going on after an end; the table; the arithmetic of its figures.

Environment: ANEMO_BUILD. Exit code 77: something is not built.
"""
import json
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("ANEMO_BUILD", os.path.join(ROOT, "build", "release")))
sys.path.insert(0, os.path.join(ROOT, "perf"))
sys.dont_write_bytecode = True
from versuslib import figures, peers, stats, table  # noqa: E402

SHAPE = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 256, "intermediate_size": 512,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 1024,
         "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 8192, "tie_word_embeddings": False, "hidden_act": "silu"}
failed = 0


def check(what, ok, more=""):
    global failed
    print(f"{'ok' if ok else 'FAILED'}  {what}" + ("" if ok else f": {more}"), flush=True)
    failed += not ok


class Place:
    """A folder with a shape, fake peers and results."""

    def __init__(self, folder):
        self.folder = folder
        self.log = os.path.join(folder, "log")
        self.out = os.path.join(folder, "work", "results.jsonl")
        os.mkdir(os.path.join(folder, "shape"))
        with open(os.path.join(folder, "shape", "config.json"), "w", encoding="utf-8") as f:
            json.dump(SHAPE, f)
        for name in ("fast", "slow", "other", "bare", "failing", "odd", "hanging"):
            os.symlink(os.path.join(HERE, "fake_bench.py"), os.path.join(folder, name))

    def peer(self, name):
        return os.path.join(self.folder, name)

    def run(self, *args, peers=(), timeout="60"):
        argv = [sys.executable, os.path.join(ROOT, "perf", "versus"), "--shape", os.path.join(self.folder, "shape"), "--work",
                os.path.join(self.folder, "work"), "--build", BUILD, "--smollm2", self.peer("none.gguf"), "--smollm2-mlx", self.peer("none"),
                "--timeout", timeout, "--threads", "1", "--seed", "1"]
        for peer in peers:
            argv += ["--peer", peer]
        return subprocess.run([*argv, *args], capture_output=True, text=True, env=os.environ | {"FAKE_BENCH_LOG": self.log}, check=False)

    def calls(self):
        try:
            with open(self.log, encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def pairs(self):
        return [line for line in table.read_lines(self.out) if line["kind"] == "pair"]


def row_of(text, title):
    found = [line for line in text.splitlines() if line.startswith(f"| {title}")]
    return found[0] if len(found) == 1 else f"{len(found)} rows begin with '{title}' in\n{text}"


def check_arithmetic():
    check("two pairs give half the confidence", stats.ratio([2.0, 8.0])["level"] == 0.5)
    r = stats.ratio([1.1, 1.2, 1.05, 1.3, 1.25, 1.15])
    check("six pairs span all of them at 96.9 %", abs(r["lo"] - 1.05) < 1e-12 and abs(r["hi"] - 1.3) < 1e-12 and abs(r["level"] - 0.96875) < 1e-12, r)
    # Of the signed ranks of ten, a sum of at most 8 has the probability 25/1024: the ninth Walsh average from either end.
    check("ten pairs cut eight averages off", stats.cut(10) == (8, 1 - 50 / 1024), stats.cut(10))
    check("equal pairs have no width", stats.ratio([1.5] * 8)["lo"] == stats.ratio([1.5] * 8)["hi"])
    # 4 GB at 10 tokens a second beside a mean of 50 GB/s around the run: 80 %. Step of 8: five steps of 4 GB a second are 40 %.
    pair = {"order": ["peer", "ours"], "runs": {"ours": {"ts": 10.0}, "peer": {"ts": 5.0}}, "stream": [1.0, 40e9, 60e9], "step_bytes": 4e9,
            "kv_read_bytes": 0, "n_prompt": 0}
    check("share of the stream around a run", math.isclose(table._stream_share(pair), 0.8), table._stream_share(pair))
    pair |= {"n_prompt": 8, "runs": {"ours": {"ts": 40.0}}}
    check("share of a step", math.isclose(table._stream_share(pair), 0.4), table._stream_share(pair))
    summary = {"quant": "Q4_0", "isa": "", "amx": False, "best": {"ratio": 1.41, "hi": 1.5}, "share_stream": 0.9, "peers": {}}
    check("prefill: 1.41 reaches 1.4", figures.verdict("prefill", summary)[0] == "reached")
    check("prefill: it does not reach AMX's 4", figures.verdict("prefill", summary | {"amx": True, "share_tile": None})[0] == "missed")
    check("prefill: 35 % of the tiles do", figures.verdict("prefill", summary | {"amx": True, "share_tile": 0.36})[0] == "reached")
    check("decode: 90 % is missed", figures.verdict("decode", summary)[0] == "missed")
    check("decode: a peer that is surely faster is a miss",
          figures.verdict("decode", summary | {"share_stream": 0.95, "best": {"ratio": 0.9, "hi": 0.99}})[0] == "missed")
    load = {"layout": "cached", "load_s": 0.29, "copy_s": 0.9}
    check("load: a fresh layout file within 0.3 s", figures.verdict("load", load)[0] == "reached")
    check("load: 0.31 s are too many", figures.verdict("load", load | {"load_s": 0.31})[0] == "missed")
    check("load: repacked keeps up with a plain read", figures.verdict("load", load | {"layout": "repacked", "load_s": 0.89})[0] == "reached")
    check("load: repacked is slower than one", figures.verdict("load-cold", load | {"layout": "repacked", "load_s": 0.91})[0] == "missed")
    check("decode: no peer, nothing reached", figures.verdict("decode", summary | {"share_stream": 0.95, "best": None})[0] == "not measured")


def check_parsing():
    array = 'ggml: loaded\n[\n  {"n_prompt": 0, "n_gen": 4, "n_depth": 0, "samples_ts": [ 3, 1, 2 ]}\n]\nend'
    check("an array among other lines", peers.speed_of(peers.rows_of(array), peers.Test(n_gen=4)) == 2)
    lines = 'x\n{"n_prompt": 8, "n_gen": 0, "samples_ts": [4, 6]}\n{"cut": '
    check("JSON lines, the last one cut off", peers.speed_of(peers.rows_of(lines), peers.Test(n_prompt=8)) == 5)
    check("no rows at all", peers.rows_of("Segmentation fault") == [])


def check_run(place):
    everyone = [place.peer(n) for n in ("fast", "slow", "other", "bare", "odd", "absent")] + ["broken=" + place.peer("failing")]
    done = place.run("--rows", "prefill,step8,decode,depth,decode-mlx,prefill-mlx", "--quants", "Q4_K_M,mlx:4bit-g64", "--pairs", "2",
                     peers=everyone)
    check("a run ends well", done.returncode == 0, done.stderr)
    said, text = done.stderr, done.stdout
    check("a time is told first", "about " in said and " minutes; results go to" in said, said)
    check("an absent peer is told", "peer absent: not measured" in said, said)
    check("a peer with another help is told", "does not offer -m -p -n -t -o" in said, said)
    prefill = row_of(text, "prefill 512, Q4_K_M")
    check("the best settings enter", "llama.cpp (repack=0 fa=on) 264" in prefill and "ik_llama.cpp (rtr=1 fa=0) 257" in prefill, prefill)
    check("a peer without flags is measured as it is", "llama.cpp #3 (defaults)" in prefill, prefill)
    check("a failing peer says why", "broken not measured: exit status 1: error: failed to load model" in prefill, prefill)
    check("a slow one is left out of pairs", "llama.cpp #2 left out: 39.6 t/s" in prefill, prefill)
    check("rows that were not asked for stand empty", "| 0 | not measured |" in row_of(text, "SmolLM2 prefill"), text)
    check("depth goes by -d", "not measured: it has no flag for decode at depth" in row_of(text, "decode at depth"), text)
    check("MLX stands against our Q4_0", "over native Q4_0" in row_of(text, "prefill 512, MLX"), text)
    pairs = place.pairs()
    check("two pairs of each", len(pairs) == 12, len(pairs))
    check("samples before, between and after", all(len(p["stream"]) == len(p["order"]) + 1 for p in pairs if p["figure"] == "decode"), pairs)
    kv = 2 * 2 * 2 * 2 * 64
    decode = [p for p in pairs if p["figure"] == "decode"][0]
    # All but the table of embeddings: 1024 rows of 256 weights of Q4_K, 144 bytes for 256.
    check("bytes of a step", 0 < decode["file_bytes"] - decode["step_bytes"] - 1024 * 144 < 200000, decode)
    check("bytes of the cache", decode["kv_bytes"] == kv * 32, decode)
    check("operations of a token", decode["prompt_ops"] == 2 * (2 * 256 * 64 * 6 + 3 * 256 * 512 + 2 * 256 * 64 * 2), decode)
    check("peak memory is measured", all(p["runs"]["ours"]["rss"] > 1 << 20 for p in pairs), pairs)
    calls = place.calls()
    check("-gp stands for -d where there is no -d", all("-d" not in c.split() for c in calls if c.startswith("other")), calls)
    check("no flag that a help does not have", not any("-fa" in c for c in calls if c.startswith("bare")), calls)
    again = place.run("--rows", "prefill,decode", "--quants", "Q4_K_M", "--pairs", "2", peers=everyone)
    check("what is there is not measured again", again.returncode == 0 and place.calls() == calls and len(place.pairs()) == 12, again.stderr)
    more = place.run("--rows", "decode", "--quants", "Q4_K_M", "--pairs", "decode=3", peers=everyone)
    check("one pair more is one pair more", more.returncode == 0 and len(place.pairs()) == 13, more.stderr)
    check("settings are not tried again", len(place.calls()) == len(calls) + 3, place.calls()[len(calls):])
    shown = place.run("--table")
    check("the table alone", shown.returncode == 0 and shown.stdout == more.stdout and "Machine: " in shown.stdout, shown.stdout)


def check_load(place):
    """Loading, in pieces: every call makes one pair of what is left, and the last one finds nothing to do."""
    args = ("--rows", "load,load-cold", "--pairs", "1", "--pieces", "1")
    before = len(place.pairs())
    for _ in range(4):
        done = place.run(*args)
        check("a piece ends well", done.returncode == 0, done.stderr)
    pairs = place.pairs()[before:]
    check("one pair a piece", len(pairs) == 4, pairs)
    check("each layout of its own", [p["layout"] for p in pairs] == ["mapped", "cached", "repacked", "repacked"], pairs)
    check("seconds of loading beside those of a plain read", all(0 < p["runs"]["ours"]["load_s"] < 5 and len(p["copy_s"]) == 2 for p in pairs), pairs)
    again = place.run(*args)
    check("nothing is left", again.returncode == 0 and len(place.pairs()) == before + 4, again.stderr)
    lines = [line for line in again.stdout.splitlines() if line.startswith("| load, page cache warm, Q4_K_M")]
    check("a row for each layout", len(lines) == 3 and all("times the speed of a plain read" in line for line in lines), again.stdout)
    check("the small model is ready at once", "< 0.3 s: **reached**" in again.stdout, again.stdout)
    check("no layout file stays", not os.path.exists(os.path.join(place.folder, "work", "layout")), again.stderr)


def check_limits(place):
    work = os.path.join(place.folder, "work")
    done = place.run("--rows", "decode", "--quants", "Q4_0,IQ4_XS", "--pairs", "1", "--limit-gb", "0.0015")
    kept = sorted(f for f in os.listdir(work) if f.startswith("shape-"))
    check("the folder keeps to its limit", done.returncode == 0 and len(kept) == 1, (kept, done.stderr))
    check("without peers ours stands alone", "not measured" in row_of(done.stdout, "decode, Q4_0"), done.stdout)
    hang = place.run("--rows", "decode", "--quants", "Q4_0", "--pairs", "1", "--settings", "first", peers=[place.peer("hanging")], timeout="20")
    check("a hanging peer is ended", hang.returncode == 0 and "no end within 20 s" in row_of(hang.stdout, "decode, Q4_0"), hang.stdout + hang.stderr)
    late = place.run("--rows", "decode", "--quants", "Q4_0", "--pairs", "9", "--budget", "0.000001")
    check("no pair begins behind the budget", late.returncode == 0 and "screening" not in late.stderr, late.stderr)
    for args, text in ((("--rows", "speed"), "no row 'speed'"), (("--quants", "Q9"), "no quant 'Q9'"), (("--pairs", "0"), "expected a number"),
                       (("--layouts", "flat"), "no layout 'flat'"), (("--threads", "0"), "are positive"), (("--try", "thp"), "expected NAME=FLAG")):
        bad = place.run(*args)
        check(f"{' '.join(args)} is refused", bad.returncode == 2 and text in bad.stderr, bad.stderr)
    nowhere = place.run("--build", place.peer("none"))
    check("a missing build says what to do", nowhere.returncode == 1 and "cmake --build" in nowhere.stderr, nowhere.stderr)


def main():
    for program in ("anemo", os.path.join("perf", "stream_read")):
        if not os.path.exists(os.path.join(BUILD, program)):
            print(f"skipped: no {program} in {BUILD}")
            return 77
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        check_arithmetic()
        check_parsing()
        check_run(place)
        check_load(place)
        check_limits(place)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

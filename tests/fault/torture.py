#!/usr/bin/env python3
"""Every allocation and every system call of scripted commands fails in turn: torture.py memory|io STRIDE.

Each command first runs untouched, which counts its calls; then it runs again for each STRIDE-th call k: with call k failing
once, and with every call from k on failing. All k up to 300, behind that a sample that changes with the month.
A run must end by itself with a documented exit code and, when that is not 0, a message; nothing but a whole result lies
under the final name; at most one temporary is left; a result that is called good is the untouched run's; no block of memory
stays allocated at exit.
Environment: ANEMO_BUILD, ANEMO_SANITIZE (skipped: the sanitizers own the allocator). Linux only.
"""
import collections
import concurrent.futures
import datetime
import hashlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/hub"))
from fake_hub import Hub  # noqa: E402 (it lies there)

HUB = Hub()
BUILD = pathlib.Path(os.environ["ANEMO_BUILD"])
CORPUS = ROOT / "fuzz/corpus"
TINY = ROOT / "tests/golden/tiny"
MODELS = ROOT / "tests/golden/convert/models"
SHIM = BUILD / "tests/fault/libfail_calls.so"
DENSE, SAMPLED, SHOWN = 300, 40, 20
IO_KINDS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR", "short")
# What a run that was disturbed may end with: README's exit codes without 2 (usage).
CODES = {0, 1, 3, 4, 5, 6}

# (words, final name or None, process that is disturbed). "{}" is the command's own folder. IO marks those that the system calls
# fail for too: what writes, and one of each way of reading.
IO = True
# What a comparison does beyond its repetitions, left out where it would take a second.
SHORT = ["--warmup", "1", "--no-bandwidth", "--no-observe"]
COMMANDS = [
    (["--version"], None, "main"),
    (["--help"], None, "main"),
    (["show", "--help"], None, "main"),
    (["show", "{}/tiny.gguf"], None, "main", IO),
    (["show", "{}/tiny.gguf", "--tensors", "--json"], None, "main"),
    (["show", "{}/hf"], None, "main"),
    (["show", "{}/hf", "--json"], None, "main", IO),
    (["show", "{}/mlx", "--tensors"], None, "main", IO),
    (["show", "{}/absent.gguf"], None, "main"),
    (["show", "{}/cut.gguf"], None, "main"),
    (["show", "{}/empty"], None, "main"),
    (["tokenize", "{}/tiny.gguf", "Hello  world"], None, "main", IO),
    (["tokenize", "{}/tiny.gguf", "-f", "{}/text.txt", "--json"], None, "main", IO),
    (["tokenize", "{}/spm.json", "Hello world", "--json"], None, "main", IO),
    (["tokenize", "{}/gpt2.json", "Hello world"], None, "main"),
    (["tokenize", "{}/tekken.json", "Hello world", "--special"], None, "main", IO),
    (["tokenize", "{}/tokenizer.model", "Hello world", "--bos"], None, "main", IO),
    (["tokenize", "{}/bad.json", "Hello"], None, "main"),
    (["tokenize", "{}/tiny.gguf", "--detokenize", "5,6,7"], None, "main"),
    (["convert", "{}/tiny.gguf", "{}/out", "--to", "mlx", "-q"], "out", "main", IO),
    (["convert", "{}/types.gguf", "{}/out", "--to", "mlx", "-q"], "out", "main", IO),
    (["convert", "{}/tiny.gguf", "{}/mlx2", "--to", "mlx", "-q", "--force"], "mlx2", "main", IO),
    (["quantize", "{}/plain.gguf", "{}/out.gguf", "Q8_0", "-q", "--threads", "2"], "out.gguf", "main", IO),
    (["quantize", "{}/plain.gguf", "Q4_K_M", "--dry-run"], None, "main"),
    (["quantize", "{}/plain.gguf", "{}/out.gguf", "Q4_0", "-q", "--threads", "1", "--imatrix", "{}/imatrix", "--tensor-type",
      "ffn_(up|down)=q5_1"], "out.gguf", "main", IO),
    (["quantize", "{}/plain.gguf", "{}/out.gguf", "Q4_1", "--json", "--threads", "1", "--imatrix", "{}/imatrix.gguf"], "out.gguf",
     "main", IO),
    (["quantize", "{}/plain.gguf", "{}/out", "4bit-g32", "-q", "--threads", "1"], "out", "main", IO),
    (["convert", "{}/mlx", "{}/out.gguf", "--to", "gguf", "-q", "--threads", "1"], "out.gguf", "main", IO),
    (["convert", "{}/types.gguf", "{}/out", "--to", "hf", "--dtype", "f16", "-q", "--threads", "1"], "out", "main", IO),
    (["run", "{}/tiny.gguf", "-p", "Hello", "-n", "2", "--threads", "1"], None, "main", IO),
    (["run", "{}/tiny.gguf", "-p", "Hello", "-n", "2", "--threads", "1", "--json"], None, "worker"),
    (["run", "{}/mlx", "-p", "Hi", "-n", "2", "--threads", "2"], None, "worker"),
    (["run", "{}/tiny.gguf", "-p", "Hi", "-n", "2", "--threads", "2", "--cache-layout={}/layout", "--pin"], None, "worker", IO),
    (["run", "{}/tiny.gguf", "-p", "Hi", "-n", "2", "--threads", "1", "--layout", "repacked"], None, "worker", IO),
    (["logits", "{}/tiny.gguf", "--ids", "{}/ids.json", "-o", "{}/out.npy"], "out.npy", "main", IO),
    (["logits", "{}/tiny.gguf", "--ids", "{}/ids.json", "-o", "{}/out.npy"], "out.npy", "worker", IO),
    (["compare", "{}/tiny.gguf", "--engine", "native", "-n", "2", "-r", "1", *SHORT, "--no-store", "--format", "json", "-o",
      "{}/out.json"], "out.json", "main", IO),
    (["compare", "{}/tiny.gguf", "--engine", "native", "-n", "2", "-r", "1", *SHORT, "--no-store", "--format", "md", "-o",
      "{}/out.md"], "out.md", "worker"),
    (["compare", "{}/tiny.gguf", "--engine", "native", "-n", "2", "-r", "1", *SHORT, "--aa", "--cold", "--db", "{}/r.db", "--tag",
      "a", "--note", "b", "-q"], None, "main"),
    (["bench", "-m", "{}/tiny.gguf", "-e", "native", "-p", "2", "-n", "2", "-r", "1", "-t", "1", "--no-probe", "--no-store", "-o",
      "json", "-oe", "md"], None, "main", IO),
    (["bench", "-m", "{}/tiny.gguf", "-e", "native", "-p", "2", "-n", "0", "-r", "1", "-t", "1", "--no-probe", "--db", "{}/b.db",
      "-o", "sql"], None, "worker", IO),
    (["synth", "{}/shape.json", "--quant", "Q4_0", "-o", "{}/out.gguf", "-q", "--threads", "2"], "out.gguf", "main", IO),
    (["synth", "{}/shape.json", "--quant", "Q4_K", "--format", "mlx", "-o", "{}/out", "-q", "--threads", "2"], "out", "main", IO),
    (["worker", "--check", str(BUILD / "anemo"), "worker", "native"], None, "main"),
    (["sweep", "{}/plan.ini", "-q", "--db", "{}/s.db"], None, "main", IO),
    (["sweep", "{}/plan.ini", "-q", "--local", "--out", "{}/out"], "out", "main", IO),
    (["sweep", "{}/plan.ini", "--slurm-dry-run", "--out", "{}/out"], "out", "main", IO),
    (["results", "import", "{}/runs.jsonl", "--db", "{}/r.db"], None, "main", IO),
    (["results", "import", "{}/runs.jsonl", "--db", "{}/new.db", "--json"], None, "main"),
    (["results", "merge", "{}/runs.jsonl", "--db", "{}/r.db", "-q"], None, "main"),
    (["results", "list", "--db", "{}/r.db"], None, "main", IO),
    (["results", "list", "--db", "{}/r.db", "--json", "--model", "model-a"], None, "main"),
    (["results", "show", "last", "--db", "{}/r.db"], None, "main", IO),
    (["results", "export", "--all", "--db", "{}/r.db", "-o", "{}/out.json"], "out.json", "main", IO),
    (["results", "tag", "last", "name", "--db", "{}/r.db"], None, "main", IO),
    (["results", "note", "old-0", "a note", "--db", "{}/old.db"], None, "main", IO),
    (["results", "rm", "last", "--yes", "--db", "{}/r.db"], None, "main"),
    (["results", "check", "--db", "{}/r.db"], None, "main", IO),
    (["results", "check", "--db", "{}/runs.jsonl"], None, "main"),
    (["report", "{}/runs.jsonl", "-o", "{}/out.html"], "out.html", "main", IO),
    (["report", "last", "--db", "{}/r.db"], None, "main", IO),
    (["report", "{}/runs.jsonl", "--md", "--all"], None, "main"),
    (["report", "last", "--db", "{}/r.db", "--json"], None, "main"),
    (["results", "import", "{}/bench.sql", "{}/bench.csv", "--db", "{}/new.db"], None, "main", IO),
    (["results", "import", "{}/bench.json", "{}/mlx.txt", "--db", "{}/r.db", "-q"], None, "main"),
    (["results", "compare", "last", "last", "--db", "{}/r.db"], None, "main", IO),
    (["results", "compare", "last", "last", "--metric", "all", "--db", "{}/r.db", "--json", "-o", "{}/out.json"], "out.json", "main"),
    (["results", "gate", "last", "--baseline", "last", "--fail-on", "decode_tps:-3%", "--fail-on", "ttft_s:+5ms", "--db", "{}/r.db",
      "--junit", "{}/out.xml"], "out.xml", "main", IO),
    (["results", "pack", "last", "--db", "{}/r.db", "--no-paths", "-q", "-o", "{}/out.json"], "out.json", "main", IO),
    (["repeat", "{}/capsule.json", "--dry-run"], None, "main", IO),
    (["ls"], None, "main"),
    (["ls", "--json"], None, "main", IO),
    (["pull", "org/some:Q4_1", "--json"], None, "main", IO),
    (["show", "org/some"], None, "main"),
    (["rm", "org/some", "--all", "--dry-run"], None, "main"),
    (["pull", "tiny/model", "-q"], None, "main", IO),
    (["pull", "tiny/hf"], None, "main", IO),
    (["pull", "tiny/absent"], None, "main"),
    (["rm", "tiny/hf", "--yes", "-q"], None, "main", IO),
    (["show", "{}/native"], None, "main"),
    (["convert", "{}/native", "{}/out", "--to", "mlx", "-q", "--threads", "1"], "out", "main", IO),
    (["convert", "{}/legacy", "{}/out", "--to", "mlx", "-q", "--threads", "1"], "out", "main", IO),
    (["convert", "{}/mlx", "{}/out.gguf", "--to", "gguf", "-q", "--threads", "2"], "out.gguf", "main", IO),
    (["convert", "{}/native", "{}/out.gguf", "--to", "gguf", "--dtype", "f16", "--threads", "1"], "out.gguf", "main", IO),
]
# Their output holds times, memory or process ids.
UNSTEADY = ("run", "compare", "bench", "sweep", "worker")


def make_cache(repo, gguf):
    """A model in the hub's cache."""
    commit, etag = "0123456789abcdef" * 2 + "01234567", "ab" * 32
    for name in ("blobs", "refs", f"snapshots/{commit}"):
        (repo / name).mkdir(parents=True)
    shutil.copy(gguf, repo / "blobs" / etag)
    (repo / "refs/main").write_text(commit)
    (repo / f"snapshots/{commit}/tiny-Q4_1.gguf").symlink_to(f"../../blobs/{etag}")


def make_folder(folder):
    """What the commands read, in a folder of its own."""
    folder.mkdir()
    shutil.copy(CORPUS / "gguf/tiny_q4_1", folder / "tiny.gguf")
    shutil.copy(TINY / "types/type-q8_0.gguf", folder / "types.gguf")
    shutil.copy(TINY / "types/type-f16.gguf", folder / "plain.gguf")
    shutil.copy(CORPUS / "imatrix/old", folder / "imatrix")
    shutil.copy(CORPUS / "imatrix/gguf", folder / "imatrix.gguf")
    (folder / "cut.gguf").write_bytes((folder / "tiny.gguf").read_bytes()[:700])
    shutil.copytree(TINY / "arch/llama-bias/hf", folder / "hf")
    subprocess.run([BUILD / "anemo", "convert", "-q", folder / "tiny.gguf", folder / "mlx", "--to", "mlx"], check=True)
    shutil.copytree(folder / "mlx", folder / "mlx2")
    (folder / "empty").mkdir()
    shutil.copytree(MODELS / "native-parallel", folder / "native")
    shutil.copytree(MODELS / "bin-legacy", folder / "legacy")
    for name in ("spm", "gpt2"):
        shutil.copy(CORPUS / "tokenizer_json" / name, folder / f"{name}.json")
    shutil.copy(CORPUS / "tekken/v3", folder / "tekken.json")
    shutil.copy(CORPUS / "sentencepiece/bytes", folder / "tokenizer.model")
    (folder / "bad.json").write_text('{"model": {"type": "BPE", "vocab": {"a": 1, "b": 1}}}')
    make_cache(folder / "hf_home/hub/models--org--some", folder / "tiny.gguf")
    (folder / "plan.ini").write_text(f"[sweep]\nengines = native\nmodels = {folder}/tiny.gguf\nthreads = 1\nn_prompt = 2\nn_gen = 2\n"
                                     "repetitions = 1\nwarmup = 0\n[machine]\nprobes = off\n")
    (folder / "text.txt").write_text("Some text.\n\nMore of it.\n")
    (folder / "ids.json").write_text("[1, 2, 3]")
    (folder / "shape.json").write_text(json.dumps({
        "model_type": "mistral", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 600,
        "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "sliding_window": None}))


def make_databases(folder):
    """r.db with a run, old.db from an anemo that had fewer metrics, and a file of two other runs."""
    for name, n in (("r", 1), ("old", 1), ("source", 2)):
        subprocess.run([BUILD / "tests/store/store_writer", folder / f"{name}.db", name, str(n)], check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run([BUILD / "anemo", "results", "export", "--all", "--jsonl", "--db", folder / "source.db", "-o",
                    folder / "runs.jsonl"], check=True)
    c = sqlite3.connect(folder / "old.db")
    for name in ("mbu", "ttft_s"):
        c.execute(f"ALTER TABLE reps DROP COLUMN {name}")
    c.close()


def make_results(folder):
    """Files of other tools, and a capsule."""
    for name, source in (("bench.json", "llama-bench.json"), ("bench.sql", "llama-bench.sql"), ("bench.csv", "llama-bench.csv"),
                         ("mlx.txt", "mlx_lm.benchmark.txt")):
        shutil.copy(ROOT / "tests/golden/import" / source, folder / name)
    model = folder / "tiny.gguf"
    run = {"schema": "anemo.run/1", "id": "20260101-000000-0000", "kind": "compare", "environment": {},
           "workload": {"prompt_ids": [1, 2, 3], "settings": {"threads": 1}},
           "models": [{"name": model.name, "path": str(model), "container": "gguf", "bytes": model.stat().st_size}],
           "cells": [{"engine": "native", "model_index": 0, "settings": {"threads": 1}, "status": "ok"}]}
    (folder / "capsule.json").write_text(json.dumps({
        "schema": "anemo.capsule/1", "run": run,
        "models": [{"name": model.name, "sha256": hashlib.sha256(model.read_bytes()).hexdigest()}]}))


def content_of(folder):
    """Every row of the databases in the folder, and SQLite's opinion of them. Looked at in a copy: looking recovers."""
    found = {}
    with tempfile.TemporaryDirectory() as temp:
        for path in sorted(folder.glob("*.db*")):
            shutil.copy(path, temp)
        for path in sorted(pathlib.Path(temp).glob("*.db")):
            c = sqlite3.connect(path)
            found[path.name] = [*c.iterdump(), *c.execute("PRAGMA integrity_check")]
            c.close()
    return {name: rows for name, rows in found.items() if len(rows) > 3}


def mixed_content(old, now, new):
    """Complaints about a database that was left between two states: each run is as it was or as it should become."""
    if now[-1] != ("ok",):
        return [f"damaged: {now[-1]}"]
    if set(now) - set(old) - set(new):
        return ["rows that are neither old nor new"]
    if set(old) & set(new) - set(now):
        return ["rows that should have stayed are gone"]

    def count(rows):
        return collections.Counter(row.split("'")[1] for row in rows if str(row).startswith('INSERT INTO "reps"'))
    return [f"half a run: {run}" for run, n in count(now).items() if n not in (count(old)[run], count(new)[run])]


def hub_environment(folder):
    """A cache of its own below the folder, and the hub of the tests without long waits."""
    return {"HF_HOME": str(folder / "hf_online"), "XDG_DATA_HOME": str(folder / "data"), "HF_ENDPOINT": HUB.url,
            "HF_TOKEN": "hf_none", "HF_HUB_OFFLINE": "0", "ANEMO_HUB_RETRY_MS": "0"}


def fill_hub():
    """The repositories that the commands pull."""
    HUB.repo("tiny/model", {"model-Q4_1.gguf": (CORPUS / "gguf/tiny_q4_1").read_bytes(), "README.md": b"#"})
    HUB.repo("tiny/hf", {f.name: f.read_bytes() for f in sorted((TINY / "arch/llama-bias/hf").iterdir())})


def bad_cache(folder, repo, pulled):
    """Complaints about the cache: blobs under names that are not theirs, and after a good pull a snapshot that lacks its files."""
    bad, home = [], folder / "hf_online/hub" / ("models--" + repo.replace("/", "--"))
    for blob in home.glob("blobs/*"):
        data = blob.read_bytes()
        names = {hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
        if "incomplete" not in blob.name and blob.name not in names:
            bad.append(f"a wrong blob: {blob.name}")
    files = {f.name for f in home.glob("snapshots/*/*") if f.exists()}
    wanted = {name for name in HUB.repos[repo].commits[HUB.repos[repo].head] if name.endswith((".gguf", ".safetensors"))}
    if pulled and not wanted <= files:
        bad.append(f"exit 0, but the snapshot has only {sorted(files)}")
    return bad


class Command:
    def __init__(self, index, temp):
        words, self.out, self.process = COMMANDS[index][:3]
        self.folder = temp / f"{index}"
        self.home = temp / "home"
        make_folder(self.folder)
        self.online = words[0] in ("pull", "rm") and words[1].startswith("tiny/")
        self.kept = None
        if words[0] == "rm" and self.online:
            subprocess.run([BUILD / "anemo", "pull", "-q", words[1]], check=True, stdout=subprocess.DEVNULL,
                           env=dict(os.environ, **hub_environment(self.folder)))
            self.kept = self.folder.with_suffix(".kept")
            shutil.copytree(self.folder, self.kept, symlinks=True)
        self.database = words[0] in ("results", "report")
        if self.database:
            make_databases(self.folder)
            make_results(self.folder)
            self.kept = self.folder.with_suffix(".kept")
            shutil.copytree(self.folder, self.kept, symlinks=True)
            self.old_content = content_of(self.folder)
        if words[0] == "repeat":
            make_results(self.folder)
        self.words = [w.replace("{}", str(self.folder)) for w in words]
        self.steady = words[0] not in UNSTEADY
        self.before = set(os.listdir(self.folder))
        self.title = " ".join(words)

    def run(self, fault):
        """Exit code, output, complaint's text, and the counts of the report (None when there is none)."""
        report = self.folder.with_suffix(".report")
        report.unlink(missing_ok=True)
        env = dict(os.environ, HOME=str(self.home), LD_PRELOAD=str(SHIM), ANEMO_FAULT=fault,
                   ANEMO_FAULT_IN=self.process, ANEMO_FAULT_REPORT=str(report))
        env |= {"HF_HOME": str(self.folder / "hf_home"), "HF_HUB_OFFLINE": "1"}
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "ANEMO_ENGINES"):
            env.pop(name, None)
        if self.online:
            env.update(hub_environment(self.folder))
        done = subprocess.run([BUILD / "anemo", *self.words], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60)
        counts = [int(n) for n in report.read_text().split()] if report.exists() else None
        return done.returncode, done.stdout, done.stderr.decode(errors="replace"), counts

    def result(self):
        """The bytes under the final name, by file."""
        path = self.folder / self.out
        if path.is_dir():
            return {f.name: f.read_bytes() for f in sorted(path.iterdir())}
        return {"": path.read_bytes()} if path.exists() else {}

    def clean(self):
        """The untouched run: what the others are held against."""
        self.code, self.stdout, self.stderr, counts = self.run("memory:any:0:once")
        self.n_call = counts[0] if counts else 0
        self.made = self.result() if self.out else None
        assert self.code >= 0, f"{self.title}: signal {-self.code} although nothing failed\n{self.stderr}"
        assert counts, f"{self.title}: the calls were not counted"
        self.new_content = content_of(self.folder) if self.database else None
        assert counts[2] == 0, f"{self.title}: {counts[2]} blocks are never freed"
        self.reset()

    def count_io(self):
        counts = self.run("io:EIO:0:once")[3]
        self.n_call = counts[0]
        self.reset()

    def reset(self):
        """Remove what a run made."""
        for name in set(os.listdir(self.folder)) - self.before:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.database:
            for path in self.folder.glob("*.db*"):
                path.unlink()
            for path in self.kept.glob("*.db"):
                shutil.copy(path, self.folder)
            return
        for name in ("hf_online", "data") if self.kept else ():
            shutil.rmtree(self.folder / name, ignore_errors=True)
            shutil.copytree(self.kept / name, self.folder / name, symlinks=True)
        if self.out and self.out in self.before:
            shutil.rmtree(self.folder / self.out, ignore_errors=True)
            shutil.copytree(self.folder / "mlx", self.folder / self.out)

    def check(self, fault, codes):
        """Complaints about one disturbed run."""
        old = self.result() if self.out else None
        try:
            code, stdout, stderr, counts = self.run(fault)
        except subprocess.TimeoutExpired:
            self.reset()
            return ["still running after 60 s"]
        bad = []
        codes[code] += 1
        if code < 0:
            bad.append(f"signal {-code}: {stderr[-400:]}")
        elif code not in CODES | {self.code}:
            bad.append(f"exit {code}: {stderr[-400:]}")
        if code != 0 and not stderr.strip() and not stdout.strip():
            bad.append(f"exit {code} without a word")
        if code == 0 and self.code == 0 and self.steady and stdout != self.stdout:
            bad.append(f"exit 0 with other output: {stdout[-200:]!r}")
        if counts and code == 0 and counts[2] > 0:
            bad.append(f"{counts[2]} blocks are never freed")
        if counts and code > 0 and counts[2] > 0:
            bad.append(f"exit {code}, {counts[2]} blocks are never freed")
        if self.online and self.words[1] in HUB.repos:
            bad += bad_cache(self.folder, self.words[1], code == 0 and self.words[0] == "pull")
        if self.database:
            now = content_of(self.folder)
            if code == 0 and now != self.new_content:
                bad.append("exit 0, but the database is not as it should be")
            bad += [f"{name}: {why}" for name in now for why in mixed_content(
                self.old_content.get(name, []), now[name], self.new_content.get(name, []))]
        if self.out:
            now = self.result()
            whole = now == self.made if self.steady else bool(now)
            if code == 0 and not whole:
                bad.append("exit 0, but the result is not whole")
            if old and not now:
                bad.append("the old result is gone")
            if code != 0 and now and now != old and now != self.made and self.steady:
                bad.append("a partial result under the final name")
            extra = set(os.listdir(self.folder)) - self.before - {self.out}
            if self.database:
                extra = {name for name in extra if not name.endswith(("-wal", "-shm"))}  # the database's next user folds them in
            if len(extra) > 1 or (extra and code == 0):
                bad.append(f"left behind: {sorted(extra)}")
        self.reset()
        return bad


def points(n_call, stride, rng):
    """Which calls fail: every one up to DENSE and a sample of the others, one in `stride` of both."""
    dense = list(range(1, min(n_call, DENSE) + 1))
    rest = range(DENSE + 1, n_call + 1)
    sampled = rng.sample(rest, min(SAMPLED, len(rest)))
    return dense[rng.randrange(stride)::stride] + sampled[::stride]


def torture(group, stride, index, temp):
    """All disturbed runs of one command: their number, exit codes and complaints."""
    # The sample changes with the month, so that the years see all of it.
    rng = random.Random(datetime.date.today().strftime("%Y-%m") + str(index))
    command, n_run, codes, bad = Command(index, temp), 0, collections.Counter(), []
    command.clean()
    if group == "io":
        command.count_io()
    for kind in ("any",) if group == "memory" else IO_KINDS:
        for k in points(command.n_call, stride, rng):
            for mode in ("once", "on"):
                if (kind, mode) in (("EINTR", "on"), ("short", "on")):
                    continue  # that would be a system that never gets anywhere
                fault = f"{group}:{kind}:{k}:{mode}"
                n_run += 1
                bad += [f"{command.title}: ANEMO_FAULT={fault}: {text}" for text in command.check(fault, codes)]
    return n_run, codes, bad


def main():
    group, stride = sys.argv[1], int(sys.argv[2])
    if os.environ.get("ANEMO_SANITIZE") or not SHIM.exists():
        print("skipped: needs a build without sanitizers, on Linux")
        return 77
    fill_hub()
    indices = [i for i, row in enumerate(COMMANDS) if group == "memory" or IO in row[3:]]
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        (temp / "home").mkdir()
        # Some runs mostly wait for a worker's end, so there are more threads than processors.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda index: torture(group, stride, index, temp), indices))
    n_run = sum(d[0] for d in done)
    codes = sum((d[1] for d in done), collections.Counter())
    bad = [text for d in done for text in d[2]]
    for text in bad[:SHOWN]:
        print(text)
    print(f"{len(indices)} commands, {n_run} disturbed runs, exit codes {dict(sorted(codes.items()))}, "
          f"{len(bad)} complaints")
    return 1 if bad or n_run < 100 else 0


if __name__ == "__main__":
    sys.exit(main())

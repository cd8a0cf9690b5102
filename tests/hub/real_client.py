#!/usr/bin/env python3
"""The cache that `anemo pull` writes, read by Python's huggingface_hub, and the one that it writes, read by us.
Run by a Python that has huggingface_hub (the engines' one); exits 77 without. Environment: ANEMO_BUILD."""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

import harness
from fake_hub import noise
from harness import case, gguf, hf_files

WANTED = ("config.json", "tokenizer.json", "model.safetensors")
ENV = {"HF_HUB_DISABLE_TELEMETRY": 1, "HF_HUB_DISABLE_XET": 1, "HF_HUB_DISABLE_PROGRESS_BARS": 1, "HF_HUB_DOWNLOAD_TIMEOUT": 20,
       "HF_HUB_ETAG_TIMEOUT": 20}
WAIT_S = 90


def start(t, code, *arguments, **env):
    """Python code with `h` for huggingface_hub and its arguments in sys.argv."""
    t.allowed = (*t.allowed, "xet", "assets", "home", "tmp", "logs")
    return subprocess.Popen([sys.executable, "-c", "import json, sys, huggingface_hub as h\n" + code, *arguments],
                            env=t.env(**{**ENV, **env}), cwd=t.root / "cwd", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def python(t, code, *arguments, **env):
    process = start(t, code, *arguments, **env)
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, f"Python: {err[-1500:]}"
    return out.strip(), err


def scan(t):
    out, _ = python(t, """
c = h.scan_cache_dir()
print(json.dumps({"warnings": [str(w) for w in c.warnings], "repos": {r.repo_id: {"size": r.size_on_disk, "type": r.repo_type,
    "refs": {k: v.commit_hash for k, v in r.refs.items()}, "revisions": {v.commit_hash: sorted(f.file_name for f in v.files)
    for v in r.revisions}} for r in c.repos}}))""")
    doc = json.loads(out)
    assert not doc["warnings"], doc["warnings"]
    return doc["repos"]


def command(t, *words):
    """The hf program."""
    t.allowed = (*t.allowed, "xet", "assets", "home", "tmp", "logs")
    done = subprocess.run([pathlib.Path(sys.executable).parent / "hf", *words], env=t.env(**ENV), cwd=t.root / "cwd",
                          capture_output=True, text=True, timeout=WAIT_S)
    return done.returncode, done.stdout + done.stderr


SNAPSHOT = "print(h.snapshot_download(sys.argv[1], local_files_only=True))"


@case("huggingface_hub downloads from the hub of these tests")
def server(t):
    repo = t.repo({**hf_files(), "deep/er/x.json": b"[]"})
    repo.page = 2
    python(t, "h.snapshot_download(sys.argv[1])", repo.name)
    t.expect_files(repo, list(repo.commits[repo.head]))
    code, out = command(t, "cache", "verify", repo.name, "--fail-on-missing-files", "--fail-on-extra-files")
    assert code == 0, out


@case("scan_cache_dir, snapshot_download and hf_hub_download accept ours")
def ours(t):
    repo = t.repo(hf_files())
    t.pull(repo)
    got = scan(t)[repo.name]
    files = got["revisions"][repo.head]
    assert got["type"] == "model" and got["refs"] == {"main": repo.head} and set(WANTED) <= set(files), got
    assert got["size"] == sum(repo.file(f).size for f in {repo.file(f).etag: f for f in files}.values()), got
    n = len(t.hub.log)
    out, err = python(t, SNAPSHOT, repo.name)
    assert out == str(t.snapshot(repo)) and "warn" not in err.lower(), (out, err)
    for name in WANTED:
        out, _ = python(t, "print(h.hf_hub_download(sys.argv[1], sys.argv[2], local_files_only=True))", repo.name, name) \
            if name == WANTED[0] else (str(t.snapshot(repo) / name), "")
        assert out == str(t.snapshot(repo) / name), out
    assert not [r for r in t.hub.log[n:] if r.repo is repo], "it asked the hub"


@case("hf cache verify accepts ours")
def verify(t):
    repo = t.repo(hf_files())
    t.pull(repo)
    code, out = command(t, "cache", "verify", repo.name)
    assert code == 0 and "match" in out, out
    blob = t.folder(repo) / "blobs" / repo.file("model.safetensors").etag
    data = bytearray(blob.read_bytes())
    data[5] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    code, out = command(t, "cache", "verify", repo.name)
    assert code == 1, "the verification does not notice a wrong byte"


@case("a GGUF file that we pulled, for Python")
def gguf_file(t):
    repo = t.repo({f"model-{q}.gguf": gguf(9000, q) for q in ("Q4_K_M", "Q8_0")})
    t.pull(f"{repo.name}:Q8_0")
    out, _ = python(t, "print(h.hf_hub_download(sys.argv[1], 'model-Q8_0.gguf', local_files_only=True))", repo.name)
    assert out == str(t.snapshot(repo) / "model-Q8_0.gguf")
    out, _ = python(t, "print(h.try_to_load_from_cache(sys.argv[1], 'model-Q4_K_M.gguf'))", repo.name)
    assert out == "None", out
    scan(t)


@case("a branch with a slash, for Python")
def branch(t):
    repo = t.repo(hf_files())
    commit = repo.commit(hf_files(seed=9), "refs/pr/3")
    t.pull(f"hf://{repo.name}@refs%2Fpr%2F3")
    out, _ = python(t, "print(h.snapshot_download(sys.argv[1], revision='refs/pr/3', local_files_only=True))", repo.name)
    assert out == str(t.snapshot(repo, commit))
    assert scan(t)[repo.name]["refs"] == {"refs/pr/3": commit}


@case("Python after us transfers only what we left out")
def after_us(t):
    repo = t.repo(hf_files())
    t.pull(repo)
    ours_are = {p.name for p in t.snapshot(repo).iterdir()}
    sent = t.hub.sent(repo)
    python(t, "h.snapshot_download(sys.argv[1])", repo.name)
    t.expect_files(repo, list(repo.commits[repo.head]))
    left_out = sum(f.size for f in repo.commits[repo.head].values() if f.path not in ours_are)
    assert t.hub.sent(repo) - sent == left_out, f"{t.hub.sent(repo) - sent} bytes, expected {left_out}"
    t.pull(repo)
    scan(t)


@case("we after Python transfer nothing")
def after_python(t):
    repo = t.repo({**hf_files(), "tokenizer.model": noise(2, 400)})
    python(t, "h.snapshot_download(sys.argv[1])", repo.name)
    sent = t.hub.sent(repo)
    done = t.pull(repo)
    assert done.path() == t.snapshot(repo) and t.hub.sent(repo) == sent, f"{t.hub.sent(repo) - sent} bytes"
    t.pull(repo, HF_HUB_OFFLINE=1)
    t.run("rm", "--yes", repo.name, expect=None)
    t.expect_files(repo, list(repo.commits[repo.head]))


@case("a download that Python left half done")
def half(t):
    repo = t.gguf_repo(20_000_000)
    repo.hook = lambda request, answer: setattr(answer, "rate", 8_000_000) if request.kind == "cdn" else None
    process = start(t, "h.snapshot_download(sys.argv[1], allow_patterns='*.gguf')", repo.name)
    until = time.monotonic() + WAIT_S
    while t.hub.sent(repo) < 8_000_000 and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    left = [n for n in t.blobs(repo) if n.endswith(".incomplete")]
    assert left, "Python left nothing behind"
    repo.hook = None
    process = t.start("pull", repo.name)
    t.finish(process, 0)
    t.whole(repo)
    scan(t)
    out, _ = python(t, "print(h.snapshot_download(sys.argv[1], allow_patterns='*.gguf', local_files_only=True))", repo.name)
    assert out == str(t.snapshot(repo))


@case("a download that we left half done, for Python")
def our_half(t):
    repo = t.gguf_repo(20_000_000)
    repo.hook = lambda request, answer: setattr(answer, "rate", 8_000_000) if request.kind == "cdn" else None
    process = t.start("pull", repo.name)
    while t.hub.sent(repo) < 8_000_000:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    repo.hook = None
    if t.cache.exists() and t.published(repo):
        raise AssertionError("published although it was killed")
    python(t, "h.snapshot_download(sys.argv[1], allow_patterns='*.gguf')", repo.name)
    t.whole(repo)
    scan(t)
    t.pull(repo)
    assert not [n for n in t.blobs(repo) if "incomplete" in n], t.blobs(repo)


@case("Python and we pull at the same time: one transfer")
def together(t):
    repo = t.gguf_repo(12_000_000)
    repo.hook = lambda request, answer: setattr(answer, "rate", 4_000_000) if request.kind == "cdn" else None
    process = start(t, "h.snapshot_download(sys.argv[1], allow_patterns='*.gguf')", repo.name)
    until = time.monotonic() + WAIT_S
    while not t.hub.requests(repo, "cdn") and time.monotonic() < until:
        time.sleep(0.01)
    we = t.start("pull", repo.name)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err[-800:]
    t.finish(we, 0)
    t.whole(repo)
    assert t.hub.sent(repo) < 12_500_000, f"{t.hub.sent(repo)} bytes"
    scan(t)


@case("a snapshot without links, for Python")
def no_links(t):
    repo = t.repo(hf_files())
    t.pull(repo, HF_HUB_DISABLE_SYMLINKS=1)
    out, _ = python(t, SNAPSHOT, repo.name)
    assert out == str(t.snapshot(repo))
    scan(t)


@case("after rm Python finds the cache in order")
def after_rm(t):
    one, two = t.gguf_repo(name="one"), t.gguf_repo(name="two")
    t.pull(one)
    t.pull(two)
    t.run("rm", "--yes", one.name)
    assert set(scan(t)) == {two.name}


@case("a renamed repository, for Python")
def renamed(t):
    repo, old = t.repo(hf_files(), "new-name"), t.repo({}, "old-name")
    old.moved = repo.name
    t.pull(old)
    out, _ = python(t, SNAPSHOT, old.name)
    assert repo.head in out
    scan(t)


@case("transformers loads the config offline from ours")
def transformers(t):
    if importlib.util.find_spec("transformers") is None:
        raise harness.Skip("no transformers here")
    repo = t.repo(hf_files())
    t.pull(repo)
    out, _ = python(t, "import transformers\nprint(transformers.AutoConfig.from_pretrained(sys.argv[1]).num_hidden_layers)", repo.name,
                    HF_HUB_OFFLINE=1)
    assert out == "2", out


if __name__ == "__main__":
    if importlib.util.find_spec("huggingface_hub") is None:
        print("skipped: no huggingface_hub here")
        sys.exit(77)
    os.environ.pop("HF_HUB_OFFLINE", None)
    sys.exit(harness.main(6))

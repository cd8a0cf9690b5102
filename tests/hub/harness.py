"""What the tests of pull, ls and rm share: a place with a cache of its own for each case, runs of the program, and what must
be true after each of them whatever happened: nothing outside the cache, no blob under a checksum that is not its own, links
that stay inside, no token where others can read it, at most one unfinished file per blob.

Environment: ANEMO_BUILD. Cases are functions with @case("name"); main() runs them in threads, since they mostly wait.
"""
import concurrent.futures
import functools
import hashlib
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from fake_hub import Bytes, Hub, noise

ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
SANITIZED = bool(os.environ.get("ANEMO_SANITIZE"))
WAIT_S = 100
N_THREAD = 24
CASES = []
CONFIG = b"""{"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 64, "intermediate_size": 96,
"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 32}
"""


class Skip(Exception):
    """What a case needs is missing here."""


def case(name):
    def keep(function):
        CASES.append((name, function))
        return function
    return keep


@functools.cache
def gguf(size, seed=1):
    """The same content for the same arguments, so that the hub reckons its checksums once."""
    return Bytes(b"GGUF\3\0\0\0" + noise(seed, size - 8))


def hf_files(seed=1, size=300_000):
    """A Hugging Face repository."""
    return {"config.json": CONFIG, "generation_config.json": b"{}", "tokenizer.json": b'{"model": {}}' + noise(seed, 2000),
            "tokenizer_config.json": b"{}", "model.safetensors": noise(seed + 1, size), "README.md": b"# A model\n",
            ".gitattributes": b"*.safetensors filter=lfs\n"}


def blob_name(path):
    """Both names that the bytes of a file can have."""
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as f:
        while data := f.read(1 << 20):
            sha256.update(data)
            sha1.update(data)
    return sha256.hexdigest(), sha1.hexdigest()


class Done:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def path(self):
        lines = self.out.strip().splitlines()
        return pathlib.Path(lines[-1]) if lines else None


class Place:
    """A folder with a home, a cache and a working directory for one case, and its part of the hub."""
    numbers = iter(range(1, 1 << 30))

    def __init__(self, hub, parent):
        self.hub = hub
        self.org = f"t{next(self.numbers)}"
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=self.org + "-", dir=parent))
        self.cache = self.root / "hf" / "hub"
        for name in ("home", "tmp", "cwd", "hf"):
            (self.root / name).mkdir()
        self.token, self.repos = hub.token, []
        self.secrets = [hub.token]
        self.allowed = ()  # more names under the root that a case makes itself while the program runs
        self.planted = []  # links and files that it put into the cache, which are nobody else's business

    def repo(self, files=None, name="model"):
        self.repos.append(self.hub.repo(f"{self.org}/{name}", files))
        return self.repos[-1]

    def gguf_repo(self, size=2_000_000, name="model"):
        """One GGUF file."""
        return self.repo({"model-Q4_K_M.gguf": gguf(size), "README.md": b"# A model\n"}, name)

    def env(self, **extra):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root / "home"), "HF_HOME": str(self.root / "hf"),
               "TMPDIR": str(self.root / "tmp"), "HF_ENDPOINT": self.hub.url, "HF_TOKEN": self.token,
               "HF_HUB_DOWNLOAD_TIMEOUT": "10", "HF_HUB_ETAG_TIMEOUT": "10", "ANEMO_HUB_RETRY_MS": "100",
               "XDG_DATA_HOME": str(self.root / "data"), "LANG": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH", "no_proxy", "NO_PROXY"):
            if name in os.environ:
                env[name] = os.environ[name]
        env.update({name: str(value) for name, value in extra.items()})
        return {name: value for name, value in env.items() if value not in ("None", None)}

    def start(self, *words, before=(), **env):
        return subprocess.Popen([*before, ANEMO, *words], env=self.env(**env), cwd=self.root / "cwd", text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace",
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))

    def finish(self, process, expect=None, says=(), began=None, timeout=WAIT_S):
        """Wait for it, and check all that must hold."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            _, err = process.communicate()
            raise AssertionError(f"still running after {timeout} s: {err[-600:]}") from None
        done = Done(process.returncode, out, err, time.monotonic() - (began or time.monotonic()))
        codes = {expect} if isinstance(expect, int) or expect is None else set(expect)
        assert done.code >= 0, f"signal {-done.code}: {err[-1500:]}"
        assert expect is None or done.code in codes, f"exit {done.code}, expected {expect}: {err[-800:]}"
        if done.code not in (0, 130):
            assert err.strip(), f"exit {done.code} without a word"
            missing = [w for w in says if not re.search(w, err, re.IGNORECASE)]
            assert not missing, f"the message lacks {missing}: {err[-800:]}"
        for secret in self.secrets:
            assert secret not in out and secret not in err, f"the token is shown: {(out + err)[-800:]}"
        return done

    def run(self, *words, expect=0, says=(), before=(), timeout=WAIT_S, **env):
        old = self.outside()
        began = time.monotonic()
        done = self.finish(self.start(*words, before=before, **env), expect, says, began, timeout)
        self.check(old, done.code == 0)
        return done

    def pull(self, name, *options, **more):
        """pull NAME: a Repo or a text."""
        return self.run("pull", name if isinstance(name, str) else name.name, *options, **more)

    def outside(self):
        """Everything that does not lie in the cache: path and what it holds."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            folder = pathlib.Path(folder)
            if folder in (self.cache, self.root / "data") or folder.name in self.allowed:
                folders.clear()
                continue
            for path in [folder / name for name in files] + [folder / n for n in folders if (folder / n).is_symlink()]:
                if path.name not in self.allowed and not path.is_symlink():
                    found[str(path)] = path.read_bytes()[:4096]
        return found

    def check(self, old, good):
        now = self.outside()
        assert now == old, f"changed outside the cache: {sorted(set(now.items()) ^ set(old.items()))[:6]}"
        for repo in self.repos:
            for request in self.hub.requests(repo):
                assert request.host == "hub" or "authorization" not in request.headers, "the token went to the other host"
        if self.cache.is_dir():
            for folder in self.cache.iterdir():
                assert folder.name in (".locks", "CACHEDIR.TAG", "blobs") or folder.name.startswith(("models--", "datasets--")), \
                    f"a stranger in the cache: {folder}"
                if folder.is_dir() and folder.name.startswith("models--"):
                    self.check_repo(folder, good)

    def check_repo(self, folder, good):
        unfinished = {}
        for path in (folder / "blobs").glob("*"):
            if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", path.name):
                assert path.name in blob_name(path), f"a wrong blob: {path}"
            elif path not in self.planted:
                unfinished.setdefault(path.name.split(".")[0], []).append(path.name)
            if path.is_file() and path.stat().st_size < 1 << 20:
                assert not any(s.encode() in path.read_bytes() for s in self.secrets), f"the token lies in {path}"
        for names in unfinished.values():
            assert len(names) <= 2, f"unfinished files pile up: {names}"
        assert not (good and unfinished), f"left behind after success: {unfinished}"
        for path in (folder / "snapshots").rglob("*"):
            if path.is_symlink() and path not in self.planted:
                target = os.readlink(path)
                assert not os.path.isabs(target), f"an absolute link: {path} -> {target}"
                real = os.path.normpath(path.parent / target)
                assert os.path.dirname(real) == str(folder / "blobs"), f"a link that leads out: {path} -> {target}"
        for path in (folder / "refs").rglob("*"):
            if path.is_file() and not path.is_symlink() and folder / "refs" not in self.planted:
                assert re.fullmatch(r"[0-9a-f]{40}", path.read_text()), f"{path} holds {path.read_text()!r}"

    def folder(self, repo):
        return self.cache / ("models--" + repo.name.replace("/", "--"))

    def snapshot(self, repo, commit=None):
        return self.folder(repo) / "snapshots" / (commit or repo.head)

    def blobs(self, repo):
        """Names in its blobs folder."""
        return sorted(p.name for p in (self.folder(repo) / "blobs").glob("*"))

    def published(self, repo):
        return [n for n in self.blobs(repo) if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", n)]

    def expect_files(self, repo, paths, commit=None):
        """The snapshot holds these files, no others, with the right bytes."""
        snapshot = self.snapshot(repo, commit)
        got = sorted(str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if p.is_symlink() or p.is_file())
        assert got == sorted(paths), f"the snapshot holds {got}, expected {sorted(paths)}"
        files = repo.commits[commit or repo.head]
        for path in paths:
            content = files[path].content
            assert blob_name(snapshot / path)[0] == content.sha256, f"{path} has other bytes"

    def whole(self, repo, commit=None):
        """The GGUF file of gguf_repo is there."""
        self.expect_files(repo, ["model-Q4_K_M.gguf"], commit)

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)
        for repo in self.repos:
            self.hub.repos.pop(repo.name, None)


def run_case(hub, parent, name, function):
    place, began = Place(hub, parent), time.monotonic()
    try:
        function(place)
        return name, "passed", "", time.monotonic() - began
    except Skip as reason:
        return name, "skipped", str(reason), time.monotonic() - began
    except AssertionError as error:
        where = traceback.extract_tb(error.__traceback__)
        lines = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in where]
        return name, "failed", f"{error} ({', '.join(lines[1:3])})", time.monotonic() - began
    except Exception:
        return name, "failed", traceback.format_exc(), time.monotonic() - began
    finally:
        place.remove()


def main(threads=N_THREAD, cases=None):
    """Runs the cases whose names contain one of the words of the command line, or all."""
    words = sys.argv[1:]
    chosen = [(n, f) for n, f in cases or CASES if not words or any(w in n for w in words)]
    hub, began, lock = Hub(), time.monotonic(), threading.Lock()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

    def one(pair):
        name, result, text, seconds = run_case(hub, parent, *pair)
        with lock:
            counts[result] += 1
            print(f"{result}: {name} ({seconds:.1f} s){': ' + text if text else ''}", flush=True)

    with tempfile.TemporaryDirectory(prefix="anemo-hub-", dir=shared) as parent:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, chosen))
    hub.close()
    print(", ".join(f"{n} {what}" for what, n in counts.items()) + f" in {time.monotonic() - began:.0f} s")
    return 1 if counts["failed"] or not counts["passed"] else 0

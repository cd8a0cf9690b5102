"""Our own program: its measurements, its models, its view of a model."""
import dataclasses
import hashlib
import json
import os
import re
import shutil

from . import peers, process


class AnemoError(Exception):
    """Our own program failed, or is not there: the run ends."""


@dataclasses.dataclass
class Facts:
    """What reading and multiplying a model means, from `anemo show`."""
    path: str
    files: list
    file_bytes: int
    step_bytes: int         # read for one token: all weights but the table of embeddings, of which it is one row
    prompt_ops: int         # of one token of a prompt: all matrices but those that only the last token needs
    kv_bytes: int           # of one position in a cache of f16


class Engine:
    """build: the folder of a release build; layout_cache: a folder for files of weights that are laid out."""

    def __init__(self, build, timeout_s, layout_cache):
        self.program = os.path.join(build, "anemo")
        self.helper = os.path.join(build, "perf", "stream_read")
        self.timeout_s, self.layout_cache = timeout_s, layout_cache
        for path in (self.program, self.helper):
            if not os.access(path, os.X_OK):
                raise AnemoError(f"no {path}: cmake --preset release && cmake --build --preset release --target anemo stream_read")
        with open(self.program, "rb") as f:
            self.identity = hashlib.sha256(f.read()).hexdigest()[:12]
        self.bench_flags = peers.flags_of(process.run([self.program, "bench", "--help"], 60).out)
        self.version = process.run([self.program, "--version"], 60).out.strip().splitlines()[:1]

    def _json(self, argv, env=None):
        done = process.run(argv, self.timeout_s, env)
        if done.reason:
            raise AnemoError(f"{' '.join(argv)}: {done.reason}")
        return json.loads(done.out), done

    def facts(self, path):
        show, _ = self._json([self.program, "show", path, "--json", "--tensors"])
        h = show["hyperparameters"]
        tensors = show["tensors"]
        if os.path.isdir(path):
            files = [os.path.join(path, f) for f in sorted(os.listdir(path)) if f.endswith(".safetensors")]
        else:
            files = [path]

        def part(t, word):
            return t["name"].split(".")[0 if os.path.isfile(path) else -2].find(word) >= 0

        embedding = [t for t in tensors if part(t, "embd" if os.path.isfile(path) else "embed_tokens")]
        head = [t for t in tensors if part(t, "output" if os.path.isfile(path) else "lm_head") and "norm" not in t["name"]]
        bytes_of = sum(t["bytes"] for t in tensors)
        step = bytes_of - (0 if h["tied"] else sum(t["bytes"] for t in embedding))
        per_layer = 2 * h["n_embd"] * h["head_dim"] * (h["n_head"] + h["n_head_kv"]) + 3 * h["n_embd"] * h["n_ff"]
        if not embedding or (not head and not h["tied"]):
            raise AnemoError(f"{path}: no table of embeddings among its tensors")
        # Behind the last layer's keys and values only the last token goes on; all engines here make use of that.
        prompt = (h["n_layer"] - 1) * per_layer + 2 * h["n_embd"] * h["head_dim"] * h["n_head_kv"]
        return Facts(path, files, sum(os.path.getsize(f) for f in files), step, 2 * prompt,
                     2 * 2 * h["n_layer"] * h["n_head_kv"] * h["head_dim"])

    def measure(self, model, tests, threads, repetitions, engine="native", layout=None, isa=None, ubatch=None):
        """({test: tokens/s}, peak memory, seconds, {compute, load_s}) of `anemo bench`."""
        argv = [self.program, "bench", "-m", model, "-e", engine, "-r", str(repetitions), "-o", "json", "--no-store", "--no-probe", "-q",
                "-p", ",".join(str(t.n_prompt) for t in tests if t.n_prompt) or "0",
                "-n", ",".join(str(t.n_gen) for t in tests if t.n_gen) or "0"]
        depths = sorted({t.depth for t in tests})
        argv += ["-d", ",".join(map(str, depths))] if depths != [0] else []
        argv += ["-t", str(threads)] if engine == "native" else []
        argv += ["-ub", str(ubatch)] if ubatch else []
        if layout:
            if "--layout" not in self.bench_flags:
                raise AnemoError(f"this anemo bench has no --layout, which {layout} needs")
            argv += [f"--cache-layout={self.layout_cache}"] if layout == "cached" else ["--layout", layout]
        rows, done = self._json(argv, {"ANEMO_ISA": isa} if isa else None)
        speeds = {t: peers.speed_of(rows, t) for t in tests}
        if None in speeds.values():
            raise AnemoError(f"{' '.join(argv)}: {rows[0].get('reason') if rows else 'no rows'}")
        rss = max([done.rss_peak_bytes, *(r.get("rss_peak_bytes") or 0 for r in rows)])
        return speeds, rss, done.seconds, {"compute": rows[0].get("compute_dtype"), "load_s": rows[0].get("load_s")}

    def stream(self, facts, threads, pages):
        """Best of the read kernel's variants over as many bytes as the weights have, on pages of their kind."""
        what = facts.files if pages == "file" else [str(facts.file_bytes)]
        return self._json([self.helper, str(threads), *what])[0]

    def peaks(self, threads):
        return self._json([self.helper, str(threads), "peaks"])[0]


class Models:
    """
    Synthetic models in a folder that holds at most `limit` bytes of them: what was used longest ago goes first. Files are
    reused, also by a later run.
    """

    def __init__(self, engine, folder, shape, layers, limit):
        self.engine, self.folder, self.shape, self.layers, self.limit = engine, folder, shape, layers, limit
        self.stem = re.sub(r"[^\w.-]", "-", os.path.basename(shape.rstrip("/")))
        os.makedirs(folder, exist_ok=True)

    def path(self, quant):
        stem = f"{self.stem}-{self.layers or 'all'}-layers-{quant.replace(':', '-').lower()}"
        return os.path.join(self.folder, stem if quant.startswith("mlx:") else stem + ".gguf")

    @staticmethod
    def _bytes(path):
        if os.path.isfile(path):
            return os.path.getsize(path)
        return sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path))

    def _make_room(self, need, keep):
        ours = [os.path.join(self.folder, f) for f in os.listdir(self.folder) if f.startswith(self.stem + "-")]
        ours.sort(key=os.path.getmtime)
        total = sum(map(self._bytes, ours))
        for path in ours:
            if total + need <= self.limit:
                return
            if path not in keep:
                total -= self._bytes(path)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def get(self, quant, keep=()):
        """Path of the model, made when it is not there. Those of `keep` (quants) stay whatever the limit says."""
        path = self.path(quant)
        if not os.path.exists(path):
            form, name = ("mlx", quant[4:]) if quant.startswith("mlx:") else ("gguf", quant)
            argv = [self.engine.program, "synth", self.shape, "--quant", name, "--format", form, "-o", path + ".new"]
            argv += ["--layers", str(self.layers)] if self.layers else []
            dry = process.run([*argv, "--dry-run"], 60)
            if dry.reason:
                raise AnemoError(f"{' '.join(argv)}: {dry.reason}")
            told = re.search(r"([\d.]+) MB;", dry.out)
            self._make_room(float(told.group(1)) * 1e6 if told else 0, [self.path(k) for k in keep])
            done = process.run([*argv, "--force", "-q"], self.engine.timeout_s)
            if done.reason:
                raise AnemoError(f"{' '.join(argv)}: {done.reason}")
            os.rename(path + ".new", path)
        os.utime(path)
        return path

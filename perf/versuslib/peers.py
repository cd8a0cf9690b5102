"""Programs with llama-bench's flags and JSON: what they offer, how they are called, what they answer."""
import dataclasses
import json
import os
import re

from . import process

# Settings that are tried: (a name for tables, the flag, the values that its help may offer, best guess first).
SETTINGS = (
    ("repack", "--repack", ("1", "0")),            # llama.cpp's extra buffer types: repacked weights, AMX tiles
    ("rtr", "-rtr", ("1", "0")),                   # ik_llama.cpp: run-time repack
    ("fa", "-fa", ("on", "off")),
    ("fa", "-fa", ("1", "0")),
)


class PeerError(Exception):
    """A peer that gave no figure; the text says why."""


@dataclasses.dataclass(frozen=True)
class Test:
    """One figure that a program is asked for: a prompt at once, or single steps, behind `depth` tokens."""
    n_prompt: int = 0
    n_gen: int = 0
    depth: int = 0


def flags_of(text):
    """{flag: what its help line says it takes} of a usage text like llama-bench's."""
    found = {}
    for line in text.splitlines():
        names = re.match(r"\s*((?:-{1,2}[A-Za-z][\w-]*(?:,\s*)?)+)\s*(<[^>]*>)?", line)
        if names:
            for flag in re.findall(r"-{1,2}[A-Za-z][\w-]*", names.group(1)):
                found.setdefault(flag, names.group(2) or "")
    return found


def rows_of(text):
    """The objects of a JSON array or of JSON lines; text that other lines surround is looked through for them."""
    start = re.search(r"^\s*\[\s*(\{|$)", text, re.M)
    if start:
        try:
            return json.JSONDecoder().raw_decode(text[start.start():].lstrip())[0]
        except ValueError:
            pass
    rows = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return rows


def speed_of(rows, test):
    """Tokens per second of a test: the median of its repetitions. None when no row is of this test."""
    for row in rows:
        depth = row.get("n_depth", 0)
        prompt = row.get("n_prompt")
        if str(row.get("test", "")).startswith("tg") and prompt:
            prompt, depth = 0, prompt       # ik_llama.cpp's steps after a prompt
        samples = row.get("samples_ts")
        if (prompt, row.get("n_gen"), depth) == (test.n_prompt, test.n_gen, test.depth) and samples:
            ordered = sorted(samples)
            return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return None


class Peer:
    """A ready binary. `absent` tells why it cannot be measured, or is empty."""

    def __init__(self, path, name=None):
        self.path, self.absent, self.flags = path, "", {}
        self.name = name or os.path.basename(path)
        if not (os.path.isfile(path) and os.access(path, os.X_OK)):
            self.absent = f"{path} is no program"
            return
        done = process.run([path, "--help"], 60)
        self.flags = flags_of(done.out)
        missing = [f for f in ("-m", "-p", "-n", "-t", "-o") if f not in self.flags]
        if missing:
            self.absent = f"its --help does not offer {' '.join(missing)}"
        elif name is None:
            self.name = "ik_llama.cpp" if "-rtr" in self.flags else "llama.cpp"

    def identity(self):
        """Changes when another binary stands there."""
        try:
            s = os.stat(self.path)
        except OSError:
            return "absent"
        return f"{self.path}:{s.st_size}:{int(s.st_mtime)}"

    def settings(self, more=()):
        """[(name, flag, values)] that this peer offers, `more` of the same form behind."""
        found = []
        for name, flag, values in (*SETTINGS, *more):
            offered = re.findall(r"[\w.]+", self.flags.get(flag, ""))
            if flag in self.flags and (not offered or all(v in offered for v in values)):
                if name not in [f[0] for f in found]:
                    found.append((name, flag, values))
        return found

    def can(self, test):
        return not test.depth or "-d" in self.flags or "-gp" in self.flags

    def command(self, model, tests, threads, repetitions, setting=(), warmup=False, ubatch=None):
        """setting: ((name, flag, value), …). Prompts come first, then steps; a depth goes with all or with none of them."""
        prompts = [t.n_prompt for t in tests if t.n_prompt]
        steps = sorted({t.n_gen for t in tests if t.n_gen})
        depth = max(t.depth for t in tests)
        argv = [self.path, "-m", model, "-t", str(threads), "-o", "json"]
        if depth and "-d" not in self.flags:
            argv += ["-p", "0", "-n", "0"]
            for n in steps:
                argv += ["-gp", f"{depth},{n}"]
        else:
            argv += ["-p", ",".join(map(str, prompts)) or "0", "-n", ",".join(map(str, steps)) or "0"]
            argv += ["-d", str(depth)] if depth else []
        if "-r" in self.flags:
            argv += ["-r", str(repetitions)]
        if ubatch and "-ub" in self.flags:
            argv += ["-ub", str(ubatch)]
        if not warmup:
            argv += ["--no-warmup"] if "--no-warmup" in self.flags else ["-w", "0"] if "-w" in self.flags else []
        for _, flag, value in setting:
            argv += [flag, value]
        return argv

    def measure(self, model, tests, threads, repetitions, setting=(), timeout_s=900.0, **more):
        """({test: tokens/s}, peak memory, seconds). PeerError when it failed or a figure is missing."""
        if self.absent:
            raise PeerError(self.absent)
        done = process.run(self.command(model, tests, threads, repetitions, setting, **more), timeout_s)
        if done.reason:
            raise PeerError(done.reason)
        rows = rows_of(done.out)
        speeds = {t: speed_of(rows, t) for t in tests}
        for test, speed in speeds.items():
            if speed is None:
                raise PeerError(f"no row for {test} in its JSON output")
        return speeds, done.rss_peak_bytes, done.seconds


def setting_text(setting):
    return " ".join(f"{name}={value}" for name, _, value in setting) or "defaults"

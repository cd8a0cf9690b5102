#!/usr/bin/env python3
"""What a power cut may leave behind: power_loss.py STATES.

Each command runs once under a recorder of its writes, syncs and renames. From the record, states of the disk are made: the cut
comes after any record; of each file, what was written since its last sync may be missing, cut off or there out of order; of
each folder, the last changes of names since its last sync may be missing. STATES of them are looked at, spread over the commands:
under the final name stands the old result, the new one whole, or nothing if nothing stood there. From a few states of each command
the same command runs again, and must succeed and leave the whole result and no temporary. A pull is cut in the same way: whatever has
a checksum for its name has that checksum, a branch names the commit or nothing, and the next pull succeeds.
Environment: ANEMO_BUILD, ANEMO_SANITIZE (skipped: the recorder is preloaded). Linux only.
"""
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/hub"))
from fake_hub import Hub, noise  # noqa: E402

BUILD = pathlib.Path(os.environ["ANEMO_BUILD"])
TINY = ROOT / "tests/golden/tiny"
RECORDER = BUILD / "tests/fault/librecord_writes.so"
RERUNS = 5

# (words, final name, what stood there before: None or the words that make it). "{}" is the command's folder.
COMMANDS = [
    (["quantize", "{}/plain.gguf", "{}/out.gguf", "Q4_0", "-q"], "out.gguf", None),
    (["quantize", "{}/plain.gguf", "{}/out.gguf", "Q8_0", "-q", "--force"], "out.gguf",
     ["quantize", "{}/plain.gguf", "{}/out.gguf", "Q4_0", "-q"]),
    (["convert", "{}/tiny.gguf", "{}/out", "--to", "mlx", "-q"], "out", None),
    (["convert", "{}/types.gguf", "{}/out", "--to", "mlx", "-q", "--force"], "out",
     ["convert", "{}/tiny.gguf", "{}/out", "--to", "mlx", "-q"]),
    (["quantize", "{}/plain.gguf", "{}/out", "4bit", "-q"], "out", None),
    (["convert", "{}/hf", "{}/out.gguf", "--to", "gguf", "-q"], "out.gguf", None),
    (["convert", "{}/types.gguf", "{}/out", "--to", "hf", "-q", "--force"], "out",
     ["convert", "{}/tiny.gguf", "{}/out", "--to", "mlx", "-q"]),
    (["synth", "{}/shape.json", "--quant", "Q4_0", "-o", "{}/out.gguf", "-q"], "out.gguf", None),
    (["synth", "{}/shape.json", "--quant", "Q4_0", "--format", "mlx", "-o", "{}/out", "-q"], "out", None),
    (["logits", "{}/tiny.gguf", "--ids", "1,2,3", "-o", "{}/out.npy"], "out.npy", None),
]


class File:
    def __init__(self, data=b""):
        self.ops = [("write", 0, data)]  # in the order in which they were made
        self.n_synced = 1                # of them, that are on the disk for certain

    def content(self, rng):
        """What a cut leaves: the synced part, and of the rest nothing, all, or any of it, one write perhaps cut off."""
        rest = self.ops[self.n_synced:]
        how = rng.randrange(4)
        if how == 0:
            rest = []
        elif how == 2:
            rest = [op for op in rest if rng.random() < 0.5]
        elif how == 3 and rest:
            rest = rest[:rng.randrange(len(rest)) + 1]
            if rest[-1][0] == "write":
                op = rest[-1]
                rest[-1] = ("write", op[1], op[2][:rng.randrange(len(op[2]) + 1)])
        return play(self.ops[:self.n_synced] + rest)


def play(ops):
    data = bytearray()
    for op in ops:
        if op[0] == "size":
            data[op[1]:] = b"\0" * max(0, op[1] - len(data)) if op[2] else data[op[1]:]
        else:
            _, at, piece = op
            data.extend(b"\0" * (at + len(piece) - len(data)))
            data[at:at + len(piece)] = piece
    return bytes(data)


class Folder:
    def __init__(self):
        self.now = {}    # name to File, Folder or link text, as the program sees it
        self.disk = {}   # as it is on the disk for certain
        self.pending = []  # changes since the last sync: lists of (name, node or None)

    def change(self, *pairs):
        for name, node in pairs:
            if node is None:
                self.now.pop(name, None)
            else:
                self.now[name] = node
        self.pending.append(pairs)

    def sync(self):
        self.disk = dict(self.now)
        self.pending = []

    def after_cut(self, rng):
        entries = dict(self.disk)
        for pairs in self.pending[:rng.randrange(len(self.pending) + 1)]:
            for name, node in pairs:
                if node is None:
                    entries.pop(name, None)
                else:
                    entries[name] = node
        tree = {}
        for name, node in entries.items():
            if isinstance(node, Folder):
                tree[name] = node.after_cut(rng)
            else:
                tree[name] = node.content(rng) if isinstance(node, File) else node
        return tree


def load(path):
    folder = Folder()
    for p in path.iterdir():
        folder.now[p.name] = load(p) if p.is_dir() else File(p.read_bytes())
    folder.sync()
    return folder


def find(root, path):
    *parents, name = path.split("/")
    for part in parents:
        root = root.now[part]
    return root, name


class Disk:
    """The folder's files and names while the record is played."""

    def __init__(self, path):
        self.root = load(path)
        self.opened = {}

    def play(self, record):
        op, text, data = record
        if op == "open":
            number, path = text.split(" ", 1)
            if path == ".":
                self.opened[number] = self.root
                return
            folder, name = find(self.root, path)
            if name not in folder.now:
                folder.change((name, File()))
            self.opened[number] = folder.now[name]
        elif op == "write":
            number, at, _ = text.split()
            self.opened[number].ops.append(("write", int(at), data))
        elif op == "size":
            number, size = text.split()
            node = self.opened[number]
            node.ops.append(("size", int(size), int(size) > len(play(node.ops))))
        elif op == "sync":
            node = self.opened[text]
            if isinstance(node, Folder):
                node.sync()
            else:
                node.n_synced = len(node.ops)
        elif op == "mkdir":
            folder, name = find(self.root, text)
            folder.change((name, Folder()))
        elif op == "remove":
            folder, name = find(self.root, text)
            folder.change((name, None))
        elif op == "symlink":
            target, path = text.split("\t")
            folder, name = find(self.root, path)
            folder.change((name, target))
        else:
            from_path, to_path = text.split("\t")
            from_folder, from_name = find(self.root, from_path)
            folder, name = find(self.root, to_path)
            moved, there = from_folder.now[from_name], folder.now.get(name)
            if folder is from_folder:
                folder.change((name, moved), (from_name, there if op == "exchange" else None))
                return
            # Whether one folder's half of it lasts says nothing of the other's: it may be in both, or in neither.
            assert op == "rename", f"{op} between folders is not modelled: {text}"
            folder.change((name, moved))
            from_folder.change((from_name, None))


def read_log(path):
    records = []
    data = path.read_bytes()
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        op, _, text = data[at:end].decode().partition(" ")
        at = end + 1
        piece = b""
        if op == "write":
            n = int(text.split()[2])
            piece = data[at:at + n]
            at += n
        records.append((op, text, piece))
    return records


def tree_of(path):
    if path.is_dir():
        return {p.name: tree_of(p) for p in path.iterdir()}
    return path.read_bytes() if path.exists() else None


def write_tree(tree, path):
    path.mkdir()
    for name, node in tree.items():
        if isinstance(node, dict):
            write_tree(node, path / name)
        elif isinstance(node, bytes):
            (path / name).write_bytes(node)
        else:
            (path / name).symlink_to(node)


def run(words, folder, **env):
    words = [w.replace("{}", str(folder)) for w in words]
    return subprocess.run([BUILD / "anemo", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                          env=dict(os.environ, **env), text=True)


def prepare(folder, before):
    folder.mkdir()
    shutil.copy(TINY / "types/type-q8_0.gguf", folder / "types.gguf")
    shutil.copy(TINY / "types/type-f16.gguf", folder / "plain.gguf")
    shutil.copy(ROOT / "fuzz/corpus/gguf/tiny_q4_1", folder / "tiny.gguf")
    shutil.copytree(TINY / "arch/llama-bias/hf", folder / "hf")
    (folder / "shape.json").write_text(json.dumps({
        "model_type": "mistral", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 600,
        "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "sliding_window": None}))
    if before:
        done = run(before, folder)
        assert done.returncode == 0, done.stderr


def states_of(command, n_state, temp, rng):
    """Complaints about n_state states of one command."""
    words, out, before = command
    folder, log = temp / "run", temp / "log"
    prepare(folder, before)
    disk, old, bad = Disk(folder), tree_of(folder / out), []
    done = run(words, folder, LD_PRELOAD=str(RECORDER), ANEMO_RECORD_DIR=str(folder), ANEMO_RECORD_LOG=str(log))
    assert done.returncode == 0, done.stderr
    new, records = tree_of(folder / out), read_log(log)
    names = set(os.listdir(folder))
    shutil.rmtree(folder)
    log.unlink()
    assert new and any(r[0] == "sync" for r in records), f"{words}: nothing was recorded"
    # As many states as asked for, after records that are spread evenly; the last is after the end.
    cuts = sorted(len(records) - i * len(records) // n_state for i in range(n_state))
    reruns = set(rng.sample(range(n_state), min(RERUNS, n_state)))
    at = n_whole = 0
    for i, cut in enumerate(cuts):
        while at < cut:
            disk.play(records[at])
            at += 1
        tree = disk.root.after_cut(rng)
        there = tree.get(out)
        n_whole += there == new
        if there is None and old is None or there == old or there == new:
            pass
        else:
            bad.append(f"{' '.join(words)}: cut after record {cut} of {len(records)}: neither the old result nor the new one")
        if cut == len(records) and there != new:
            bad.append(f"{' '.join(words)}: ended well, but a cut after the end loses the result")
        if i in reruns:
            write_tree(tree, folder)
            again = run(words + ([] if there is None or "--force" in words or words[0] == "logits" else ["--force"]), folder)
            if again.returncode != 0 or tree_of(folder / out) != new:
                bad.append(f"{' '.join(words)}: again after a cut at {cut}: exit {again.returncode}: {again.stderr[-300:]}")
            extra = set(os.listdir(folder)) - names
            if len(extra) > 1:
                bad.append(f"{' '.join(words)}: again after a cut at {cut}: left behind: {sorted(extra)}")
            shutil.rmtree(folder)
    print(f"{' '.join(words)}: {len(records)} records, {n_state} states, {n_whole} with the new result")
    return bad


def flat(tree, prefix=""):
    for name, node in tree.items():
        if isinstance(node, dict):
            yield from flat(node, f"{prefix}{name}/")
        else:
            yield prefix + name, node


def cache_is_sound(tree, commit):
    """The complaint about a cache, or None."""
    for path, node in flat(tree):
        name = path.rsplit("/", 1)[-1]
        if "/blobs/" in path and "incomplete" not in name:
            sums = {hashlib.sha256(node).hexdigest(), hashlib.sha1(b"blob %d\0" % len(node) + node).hexdigest()}
            if name not in sums:
                return f"{path} has another checksum"
        if path.endswith("/refs/main") and node.decode() != commit:
            return f"{path} is {node!r}"
    return None


def states_of_pull(n_state, temp, rng):
    hub, folder, log, bad = Hub(), temp / "cache", temp / "log", []
    files = {"model-Q4_1.gguf": noise(1, 20 << 20), "README.md": b"#", "config.json": b"{}"}
    repo = hub.repo("tiny/model", files)
    env = {"HF_HOME": str(folder), "XDG_DATA_HOME": str(temp / "data"), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    words = ["pull", "tiny/model", "-q"]
    folder.mkdir()
    disk = Disk(folder)
    done = run(words, folder, LD_PRELOAD=str(RECORDER), ANEMO_RECORD_DIR=str(folder), ANEMO_RECORD_LOG=str(log), **env)
    assert done.returncode == 0, done.stderr
    records = read_log(log)
    shutil.rmtree(folder)
    assert sum(r[0] == "write" for r in records) > 3, "the pull was not recorded"
    cuts = sorted(len(records) - i * len(records) // n_state for i in range(n_state))
    reruns = set(rng.sample(range(n_state), min(RERUNS, n_state)))
    at = 0
    for i, cut in enumerate(cuts):
        while at < cut:
            disk.play(records[at])
            at += 1
        tree = disk.root.after_cut(rng)
        why = cache_is_sound(tree, repo.head)
        if why:
            bad.append(f"pull: cut after record {cut} of {len(records)}: {why}")
        elif i in reruns or cut == len(records):
            write_tree(tree, folder)
            again = run(words, folder, **env)
            gguf = list(folder.glob("hub/models--tiny--model/snapshots/*/*.gguf"))
            if again.returncode != 0 or [g.read_bytes() for g in gguf] != [files["model-Q4_1.gguf"]]:
                bad.append(f"pull again after a cut at {cut}: exit {again.returncode}: {again.stderr[-300:]}")
            shutil.rmtree(folder)
    hub.close()
    print(f"pull: {len(records)} records, {n_state} states")
    return bad


def main():
    n_state = int(sys.argv[1])
    if os.environ.get("ANEMO_SANITIZE") or not RECORDER.exists():
        print("skipped: needs a build without sanitizers, on Linux")
        return 77
    rng, bad = random.Random(20261125), []
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp).resolve()
        for command in COMMANDS:
            bad += states_of(command, max(n_state // (len(COMMANDS) + 1), 1), temp, rng)
        bad += states_of_pull(max(n_state // (len(COMMANDS) + 1), 1), temp, rng)
    for text in bad[:20]:
        print(text)
    print(f"about {n_state} states, {len(bad)} complaints")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

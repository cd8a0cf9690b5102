#!/usr/bin/env python3
"""Commands that write a model, killed at random moments: kill_convert.py COUNT

COUNT times each: SIGKILL (every fifth time SIGINT) at a random moment of the command's usual time, every other time with a
finished target to be replaced. Under the final name there is then nothing, the old target or the whole new one; of leftovers
there is never more than one; after SIGINT there is none and the exit code is 130. The next undisturbed run succeeds, makes the
very same bytes and leaves nothing beside them. Environment: ANEMO_BUILD.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import gguf_file  # noqa: E402

ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
# Name: arguments with SRC and DST to be filled in. All take --force.
VERBS = {
    "quantize": ["quantize", "-q", "SRC", "DST", "Q4_K_M"],
    "quantize to MLX": ["quantize", "-q", "SRC", "DST", "4bit"],
    "convert to GGUF": ["convert", "-q", "SRC", "DST", "--to", "gguf", "--quantize", "Q8_0"],
    "convert to MLX": ["convert", "-q", "SRC", "DST", "--to", "mlx"],
    "convert to HF": ["convert", "-q", "SRC", "DST", "--to", "hf"],
    "synth": ["synth", "-q", "smollm2-135m", "--layers", "4", "--quant", "Q4_0", "-o", "DST"],
}
N_LAYER, N_EMBD, N_FF, N_VOCAB = 4, 512, 1408, 8192


def make_source(path):
    """A Llama of some 17 million F16 weights below 2, without a vocabulary."""
    below_two = bytes(b & 0xBF for b in range(256))
    rng = random.Random(1)

    def matrix(rows, cols):
        raw = bytearray(rng.randbytes(2 * rows * cols))
        raw[1::2] = raw[1::2].translate(below_two)
        return (rows, cols), 2, bytes(raw)

    def ones():
        return (N_EMBD,), 4, b"\0\0\x80\x3f" * N_EMBD

    tensors = {"token_embd.weight": matrix(N_VOCAB, N_EMBD), "output_norm.weight": ones()}
    for i in range(N_LAYER):
        blk = f"blk.{i}."
        tensors |= {blk + n + ".weight": ones() for n in ("attn_norm", "ffn_norm")}
        tensors |= {blk + n + ".weight": matrix(N_EMBD, N_EMBD) for n in ("attn_q", "attn_k", "attn_v", "attn_output")}
        tensors |= {blk + n + ".weight": matrix(N_FF, N_EMBD) for n in ("ffn_gate", "ffn_up")}
        tensors[blk + "ffn_down.weight"] = matrix(N_EMBD, N_FF)
    gguf_file.write(path, {"general.architecture": "llama", "general.name": "killed", "llama.block_count": N_LAYER,
                           "llama.context_length": 128, "llama.embedding_length": N_EMBD, "llama.feed_forward_length": N_FF,
                           "llama.attention.head_count": 8, "llama.attention.layer_norm_rms_epsilon": 1e-5,
                           "llama.rope.dimension_count": N_EMBD // 8, "llama.vocab_size": N_VOCAB}, tensors)


def content(path):
    """What lies under a name: None, bytes, or {name: bytes}."""
    if path.is_dir():
        return {p.name: p.read_bytes() for p in path.iterdir()}
    return path.read_bytes() if path.exists() else None


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def start(argv):
    return subprocess.Popen([ANEMO, *argv, "--force"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


def run_whole(argv):
    begin = time.monotonic()
    p = start(argv)
    message = p.communicate()[1].decode(errors="replace")
    return p.returncode, message, time.monotonic() - begin


def kill_once(argv, dst, sig, after, allowed, complaints, what):
    before = set(os.listdir(dst.parent))
    p = start(argv)
    time.sleep(after)
    p.send_signal(sig)
    message = p.communicate()[1].decode(errors="replace")
    beside = [n for n in os.listdir(dst.parent) if n != dst.name]
    if content(dst) not in allowed:
        complaints.append(f"{what}: something else under the final name")
    if sig == signal.SIGKILL and len(beside) > 1:
        complaints.append(f"{what}: leftovers pile up: {beside}")
    # Whom the interrupt meets before main() dies of it and has made nothing; what an earlier kill left stays.
    unbegun = p.returncode == -signal.SIGINT and before.issuperset(beside)
    if sig == signal.SIGINT and not unbegun and (beside or p.returncode not in (130, 0)):
        complaints.append(f"{what}: exit {p.returncode}, left {beside}: {message}")
    return p.returncode != 0


def try_verb(name, words, folder, source, count, rng, complaints):
    dst = folder / "target"
    argv = [{"SRC": source, "DST": dst}.get(w, w) for w in words]
    code, message, _ = run_whole(argv)
    if code:
        complaints.append(f"{name}: exit {code}: {message}")
        return 0
    whole = content(dst)
    seconds = run_whole(argv)[2]
    n_hit = 0
    for i in range(count):
        old = whole if i % 2 else None
        if old is None:
            remove(dst)
        elif content(dst) is None:
            run_whole(argv)
        sig = signal.SIGINT if i % 5 == 4 else signal.SIGKILL
        n_hit += kill_once(argv, dst, sig, rng.random() * seconds, (old, whole), complaints, f"{name}, {i}: {sig.name}")
    code, message, _ = run_whole(argv)
    if code or content(dst) != whole:
        complaints.append(f"{name}: after all kills exit {code}, or another content: {message}")
    if os.listdir(folder) != [dst.name]:
        complaints.append(f"{name}: at the end there are {os.listdir(folder)}")
    remove(dst)
    return n_hit


def main():
    count, rng, complaints, n_hit, n_try = int(sys.argv[1]), random.Random(20261125), [], 0, 0
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        make_source(temp / "source.gguf")
        for name, words in VERBS.items():
            if subprocess.run([ANEMO, words[0], "--help"], capture_output=True).returncode:
                continue
            folder = temp / name.replace(" ", "-")
            folder.mkdir()
            n_hit += try_verb(name, words, folder, temp / "source.gguf", count, rng, complaints)
            n_try += count
    for text in complaints[:20]:
        print(text)
    print(f"{n_try} runs, {n_hit} of them killed before they were done, {len(complaints)} complaints")
    return 1 if complaints or n_hit < n_try // 4 else 0


if __name__ == "__main__":
    sys.exit(main())

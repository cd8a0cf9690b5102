#!/usr/bin/env python3
"""`anemo show` on mutated models: hostile_show.py N runs it on N files, a third each GGUF, safetensors and config.json.
Every third GGUF file is converted as well: a failure must leave nothing under the target's name.

Every run must end by itself with a documented exit code (0 the file was still good, 3 bad or unsupported, 4 not found, 6
not enough memory), a message when it fails, and within a second of processor time (ten under a sanitizer).
Environment: ANEMO_BUILD, ANEMO_SANITIZE. The same inputs on every machine.
"""
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["ANEMO_BUILD"])
LIMIT_S = 10.0 if os.environ.get("ANEMO_SANITIZE") else 1.0


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(what, *args):
    """One run of anemo; returns its exit code and a complaint or None."""
    before = cpu_s()
    try:
        done = subprocess.run([BUILD / "anemo", *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=120)
    except subprocess.TimeoutExpired:
        return -1, f"{what}: still running after 120 s"
    took = cpu_s() - before
    if done.returncode not in (0, 3, 4, 6):
        return done.returncode, f"{what}: exit {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
    if done.returncode and not done.stderr.strip():
        return done.returncode, f"{what}: exit {done.returncode} without a word"
    if took > LIMIT_S:
        return done.returncode, f"{what}: {took:.2f} s of processor time"
    return done.returncode, None


def convert(file, temp, what):
    """The same for a conversion, which appears whole or not at all."""
    folder = temp / "converted"
    folder.mkdir(exist_ok=True)
    code, complaint = run(what, "convert", "-q", file, folder / "model", "--to", "mlx")
    left = os.listdir(folder)
    if not complaint and left != (["model"] if code == 0 else []):
        complaint = f"{what}: exit {code} and these are left: {left}"
    shutil.rmtree(folder)
    return complaint


def mutations(temp, kind, seeds, n):
    """Files with n mutations of the seeds."""
    folder, out = temp / ("seed-" + kind), temp / ("mutated-" + kind)
    folder.mkdir()
    out.mkdir()
    for seed in seeds:
        shutil.copy(seed, folder)
    subprocess.run([BUILD / "tests" / "fault" / f"mutate_{kind}", str(n), folder, out], check=True,
                   stdout=subprocess.DEVNULL)
    return sorted(out.iterdir())


def main():
    n = int(sys.argv[1]) // 3
    kept = pathlib.Path(os.environ.get("ANEMO_KEEP", tempfile.gettempdir()))
    codes, complaints = {}, []
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        good, model = ROOT / "fuzz" / "corpus" / "gguf" / "tiny_q4_1", temp / "model"
        subprocess.run([BUILD / "anemo", "convert", "-q", good, model, "--to", "mlx"], check=True)
        for kind, name in (("gguf", None), ("safetensors", "model.safetensors"), ("config", "config.json")):
            target = model / name if name else None
            seeds = [good, ROOT / "tests" / "golden" / "tiny" / "files" / "spm.gguf"]
            if name:
                seeds = [temp / name]
                shutil.copy(target, seeds[0])
            for k, file in enumerate(mutations(temp, kind, seeds, n)):
                if target:
                    shutil.copy(file, target)
                code, complaint = run(f"{kind} {k}", "show", model if target else file, "--tensors")
                if not target and not complaint and k % 3 == 0:
                    complaint = convert(file, temp, f"convert {k}")
                codes[kind, code] = codes.get((kind, code), 0) + 1
                if complaint:
                    copy = kept / f"anemo-hostile-{kind}-{k}"
                    shutil.copy(file, copy)
                    complaints.append(f"{complaint}\n    kept as {copy}")
            if target:
                shutil.copy(seeds[0], target)
    print(", ".join(f"{kind} exit {code}: {count}" for (kind, code), count in sorted(codes.items())))
    for complaint in complaints[:20]:
        print(complaint)
    if any((kind, 3) not in codes for kind in ("gguf", "safetensors", "config")):
        print("no mutated file was refused: the mutations do not reach the program")
        return 1
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

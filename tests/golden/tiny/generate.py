#!/usr/bin/env python3
"""
Makes every tiny model, its reference logits and manifest.json, from fixed seeds. See README.md.

    python generate.py --engines VENV     VENV holds llama-cpp-python (its libggml-base quantizes)
"""
import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from tinygen import cases, containers, reference, spec  # noqa: E402

TOLERANCE = 1e-4
OUTPUT = ("arch", "types", "mlx", "files")
PACKAGES = ("torch", "transformers", "numpy", "gguf", "mlx", "mlx-lm")


class Output:
    """Collects cases and knows where things go."""

    def __init__(self):
        self.cases = []

    def path(self, *parts):
        p = os.path.join(HERE, *parts)
        os.makedirs(os.path.dirname(p), exist_ok=True)
        return p

    def logits(self, values, *parts):
        np.save(self.path(*parts), values.astype("<f4"))
        return "/".join(parts)

    def case(self, name, group, container, model, s, ids, logits, oracle, **more):
        self.cases.append({
            "name": name, "group": group, "container": container, "model": model, "oracle": oracle,
            "n_vocab": s.n_vocab, "n_tok": len(ids), "ids": ids, "logits": logits, "decode_logits": None,
            "n_prefill_is_decode": len(ids), "tolerance": TOLERANCE, "llama_cpp": container == "gguf",
            "note": s.note} | more)


def check_close(what, a, b, tolerance=1e-5):
    worst = float(np.abs(a - b).max() / np.abs(a).max())
    if not worst <= tolerance:
        raise SystemExit(f"{what}: differs by {worst:.3g} of the largest logit")


def arch(out):
    for s in cases.ARCH:
        w, ids = spec.weights(s), spec.ids(s.name, s.n_vocab, s.n_tok)
        full, steps = reference.prefill(s, w, ids), reference.decode(s, w, ids)
        dynamic = s.rope.get("rope_type") == "dynamic"
        same = s.n_ctx if dynamic else s.n_tok
        check_close(s.name + ": n decodes", reference.prefill(s, w, ids[:same]), steps[:same])
        logits = out.logits(full, "arch", s.name, "logits.npy")
        more = {"n_prefill_is_decode": same}
        if dynamic:
            more["decode_logits"] = out.logits(steps, "arch", s.name, "decode_logits.npy")
        folder = f"arch/{s.name}/hf"
        containers.write_hf(s, w, out.path(folder, "") + "")
        if not s.windows and s.hf_type != "mistral3":
            check_close(folder, full, reference.load_directory(out.path(folder), ids))
        out.case(s.name + "/hf", "arch", "hf", folder, s, ids, logits, "transformers", **more)
        if s.gguf_arch:
            file = f"arch/{s.name}/model.gguf"
            containers.write_gguf(s, w, out.path(file))
            out.case(s.name + "/gguf", "arch", "gguf", file, s, ids, logits, "transformers",
                     llama_cpp=s.llama_cpp)


def write_manifest(out):
    files = {}
    for top in OUTPUT:
        for folder, _, names in os.walk(os.path.join(HERE, top)):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as f:
                    files[os.path.relpath(path, HERE)] = hashlib.sha256(f.read()).hexdigest()
    versions = {p: importlib.metadata.version(p) for p in PACKAGES}
    manifest = {"schema": "anemo.tiny/1", "seed": spec.SEED,
                "generated_by": {"python": platform.python_version()} | versions,
                "cases": out.cases, "files": dict(sorted(files.items()))}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    # Lists of ids on one line keep the file readable.
    for c in out.cases:
        long_form = json.dumps(c["ids"], indent=1).replace("\n", "\n   ")
        text = text.replace(long_form, json.dumps(c["ids"]))
    with open(os.path.join(HERE, "manifest.json"), "w", encoding="utf-8", newline="\n") as f:
        f.write(text + "\n")
    total = sum(os.path.getsize(os.path.join(HERE, p)) for p in files)
    print(f"{len(out.cases)} cases, {len(files)} files, {total / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", required=True, help="virtual environment with llama-cpp-python")
    parser.parse_args()
    for top in OUTPUT:
        shutil.rmtree(os.path.join(HERE, top), ignore_errors=True)
    out = Output()
    arch(out)
    write_manifest(out)


if __name__ == "__main__":
    main()

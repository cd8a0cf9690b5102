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
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from tinygen import cases, containers, ggml, mlx_models, reference, spec, vocab  # noqa: E402

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
        containers.write_hf(s, w, out.path(folder))
        if not s.windows and s.hf_type != "mistral3":
            check_close(folder, full, reference.load_directory(out.path(folder), ids))
        out.case(s.name + "/hf", "arch", "hf", folder, s, ids, logits, "transformers", **more)
        if s.gguf_arch:
            file = f"arch/{s.name}/model.gguf"
            containers.write_gguf(s, w, out.path(file))
            out.case(s.name + "/gguf", "arch", "gguf", file, s, ids, logits, "transformers",
                     llama_cpp=s.llama_cpp)


def gguf_types(out, lib):
    """Every tensor type by libggml's quantizer; the reference runs on what libggml dequantizes."""
    mixes = {t: {"base": t} for t in cases.GGUF_TYPES} | cases.GGUF_MIXES
    for name, mix in mixes.items():
        s = cases.gguf_type_spec(mix["base"])
        s.name = name if name.startswith("mix-") else s.name
        w, ids = ggml.add_awkward_rows(spec.weights(s)), spec.ids(s.name, s.n_vocab, s.n_tok)
        file = f"types/{s.name}.gguf"
        held = ggml.write_quantized(lib, s, w, out.path(file), mix)
        logits = out.logits(reference.prefill(s, held, ids), "types", s.name + ".npy")
        s.note = ", ".join(f"{k}: {v}" for k, v in mix.items())
        out.case(s.name, "gguf-type", "gguf", file, s, ids, logits, "libggml + transformers")


def mlx_case(out, s, folder):
    ids = spec.ids(s.name, s.n_vocab, s.n_tok)
    logits = out.logits(mlx_models.logits(out.path(folder), ids), folder + ".npy")
    out.case(s.name, "mlx", "mlx", folder, s, ids, logits, "mlx-lm")


def mlx(out):
    for bits, group, dtype in cases.MLX:
        s = cases.mlx_spec(f"w{bits}-g{group}-{dtype}", dtype=dtype)
        s.note = f"{bits} bits, groups of {group}, scales and norms in {dtype}"
        mlx_models.write(s, spec.weights(s), out.path("mlx", s.name), bits, group, mode=bits != 4)
        mlx_case(out, s, "mlx/" + s.name)

    s = cases.mlx_spec("layers", n_layer=2, tied=False, bias=True, dtype="f16", note=(
        "4 bits g64, but down_proj of layer 0 6 bits g32, v_proj of layer 1 8 bits g128, lm_head not; linear biases"))
    mlx_models.write(s, spec.weights(s), out.path("mlx", s.name), 4, 64, {
        "model.layers.0.mlp.down_proj": {"group_size": 32, "bits": 6},
        "model.layers.1.self_attn.v_proj": {"group_size": 128, "bits": 8}, "lm_head": False})
    mlx_case(out, s, "mlx/" + s.name)

    s = cases.mlx_spec("wrapper", hf_type="mistral3", text_type="ministral3", prefix="language_model.",
                       new_config=True, dtype="bf16", n_tok=24, rope_theta=100.0, rope={
                           "type": "yarn", "rope_type": "yarn", "factor": 16.0, "beta_fast": 1.0, "beta_slow": 0.25,
                           "original_max_position_embeddings": 8, "mscale": 1.0, "mscale_all_dim": 1.0,
                           "llama_4_scaling_beta": 0.3},
                       note="mistral3 wrapper of ministral3, an override below language_model.")
    mlx_models.write(s, spec.weights(s), out.path("mlx", s.name), 4, 32, {
        "language_model.model.layers.0.mlp.gate_proj": {"group_size": 64, "bits": 3}})
    mlx_case(out, s, "mlx/" + s.name)

    s = cases.mlx_spec("mixed-3-6", hf_type="mistral", n_layer=3, n_embd=64, n_ff=64, n_head=2, n_head_kv=1,
                       tied=False, dtype="bf16", note="mlx-lm's recipe mixed_3_6, groups of 32, saved by mlx-lm")
    with tempfile.TemporaryDirectory() as scratch:
        mlx_models.write_recipe(s, spec.weights(s), out.path("mlx", s.name), "mixed_3_6", 32, scratch)
    mlx_case(out, s, "mlx/" + s.name)


def whole_files(out, lib):
    """Shapes of files rather than of models: shards, splits, version 2, tokenizers."""
    s = spec.Spec("sharded", "mistral", n_layer=3, n_head=4, n_head_kv=2, head_dim=8, dtype="bf16", n_tok=16,
                  note="three safetensors shards with an index, three GGUF shards")
    w, ids = spec.weights(s), spec.ids(s.name, s.n_vocab, s.n_tok)
    logits = out.logits(reference.prefill(s, w, ids), "files", "sharded.npy")
    containers.write_hf(s, w, out.path("files/sharded-hf"), n_shard=3)
    check_close("sharded-hf", np.load(out.path(logits)), reference.load_directory(out.path("files/sharded-hf"), ids))
    out.case("sharded-hf", "file", "hf", "files/sharded-hf", s, ids, logits, "transformers")
    containers.write_gguf(s, w, out.path("files/split.gguf"), split_max_tensors=11)
    out.case("split", "file", "gguf", "files/split-00001-of-00003.gguf", s, ids, logits, "transformers")

    containers.write_gguf(s, w, out.path("files/v2.gguf"))
    with open(out.path("files/v2.gguf"), "r+b") as f:
        f.seek(4)
        f.write((2).to_bytes(4, "little"))
    out.case("v2", "file", "gguf", "files/v2.gguf", s, ids, logits, "transformers",
             note="GGUF version 2, whose layout is that of version 3")

    chat = dict(n_embd=64, n_ff=64, n_head=2, n_head_kv=1, head_dim=32, tied=True, n_ctx=256, n_tok=16)
    for name, tokens, mix, add in (
            ("spm", len(vocab.spm()), {"base": "Q8_0", "ffn_down": "F16"}, vocab.spm_to_gguf),
            ("chatml", len(vocab.bpe()[0]), {"base": "Q4_1", "token_embd": "Q8_0"}, vocab.bpe_to_gguf)):
        s = spec.Spec(name, n_vocab=tokens, **chat)
        s.note = {"spm": "whole SentencePiece-like vocabulary, BOS added",
                  "chatml": "whole byte-level BPE vocabulary (smollm), ChatML template; convertible to MLX"}[name]
        w, ids = spec.weights(s), spec.ids(s.name, s.n_vocab, s.n_tok)
        file = f"files/{name}.gguf"
        held = ggml.write_quantized(lib, s, w, out.path(file), mix, add)
        logits = out.logits(reference.prefill(s, held, ids), "files", name + ".npy")
        out.case(name, "file", "gguf", file, s, ids, logits, "libggml + transformers")

    s = spec.Spec("chatml-mlx", n_vocab=len(vocab.bpe()[0]), dtype="f16", **chat)
    s.note = "whole tokenizer.json and chat template"
    mlx_models.write(s, spec.weights(s), out.path("files", s.name), 4, 32)
    vocab.bpe_to_directory(out.path("files", s.name))
    mlx_case(out, s, "files/" + s.name)


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
    args = parser.parse_args()
    lib = ggml.Ggml(args.engines)
    for top in OUTPUT:
        shutil.rmtree(os.path.join(HERE, top), ignore_errors=True)
    out = Output()
    arch(out)
    gguf_types(out, lib)
    mlx(out)
    whole_files(out, lib)
    write_manifest(out)


if __name__ == "__main__":
    main()

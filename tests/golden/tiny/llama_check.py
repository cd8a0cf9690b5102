#!/usr/bin/env python3
"""
A third opinion on the GGUF files: libllama runs each one, with all weights dequantized to F32 in a temporary copy so
that only the meaning of the keys and the order of rows is compared, not its way of multiplying. The file as it
is must load as well.

    python llama_check.py --engines VENV      needs numpy, gguf; VENV holds llama-cpp-python
"""
import argparse
import ctypes
import glob
import json
import os
import sys
import tempfile

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def shards(path):
    return sorted(glob.glob(path.replace("-00001-of-", "-?????-of-"))) if "-00001-of-" in path else [path]


def write_f32(path, out):
    """The same model with every tensor in F32, in one file."""
    readers = [gguf.GGUFReader(p) for p in shards(path)]
    fields = readers[0].fields
    writer = gguf.GGUFWriter(out, fields["general.architecture"].contents())
    for name, field in fields.items():
        if name.startswith(("GGUF.", "split.")) or name == "general.architecture":
            continue
        array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if array else None)
    for t in [t for r in readers for t in r.tensors]:
        a = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        writer.add_tensor(t.name, a.reshape([int(n) for n in reversed(t.shape)]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits(llama, path, ids):
    """One prefill, f32 cache, flash attention off, one thread."""
    mp = llama.llama_model_default_params()
    mp.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(path.encode(), mp)
    if not model:
        raise RuntimeError("libllama does not load " + path)
    cp = llama.llama_context_default_params()
    cp.n_ctx, cp.n_batch, cp.n_ubatch = 256, 256, 256
    cp.n_threads = cp.n_threads_batch = 1
    cp.type_k = cp.type_v = 0
    cp.flash_attn_type = 0
    context = llama.llama_init_from_model(model, cp)
    n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    batch = llama.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, i, 1
        batch.seq_id[i][0], batch.logits[i] = 0, 1
    if llama.llama_decode(context, batch):
        raise RuntimeError("llama_decode failed on " + path)
    out = np.stack([np.ctypeslib.as_array(llama.llama_get_logits_ith(context, i), (n_vocab,)).copy()
                    for i in range(len(ids))])
    llama.llama_batch_free(batch)
    llama.llama_free(context)
    llama.llama_model_free(model)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", required=True)
    args = parser.parse_args()
    sys.path += glob.glob(os.path.join(args.engines, "lib", "python3*", "site-packages"))
    import llama_cpp as llama
    quiet = llama.llama_log_callback(lambda level, text, user: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    with open(os.path.join(HERE, "manifest.json"), encoding="utf-8") as f:
        cases = [c for c in json.load(f)["cases"] if c["container"] == "gguf"]
    failed, worst = 0, 0.0
    with tempfile.TemporaryDirectory() as temp:
        for c in cases:
            path, plain = os.path.join(HERE, c["model"]), os.path.join(temp, "f32.gguf")
            want = np.load(os.path.join(HERE, c["logits"]))
            write_f32(path, plain)
            logits(llama, path, c["ids"][:4])
            error = np.abs(logits(llama, plain, c["ids"]) - want).max() / np.abs(want).max()
            if c["llama_cpp"]:
                worst = max(worst, error)
            if bool(error <= c["tolerance"]) != c["llama_cpp"]:
                failed += 1
                print(f"FAIL {c['name']}: {error:.3g}, llama_cpp is {c['llama_cpp']} in the manifest")
    print(f"{len(cases)} files, largest error {worst:.3g} of the largest logit, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

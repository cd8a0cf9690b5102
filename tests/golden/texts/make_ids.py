#!/usr/bin/env python3
"""
Writes ids.json: the first 512 ids of every text here, by libllama on SmolLM2's vocabulary.

    python make_ids.py --engines VENV --model smollm2-135m-instruct-q4_1.gguf
"""
import argparse
import ctypes
import glob
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
N_ID = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", required=True)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    sys.path += glob.glob(os.path.join(args.engines, "lib", "python3*", "site-packages"))
    import llama_cpp as llama
    quiet = llama.llama_log_callback(lambda level, text, user: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(args.model.encode(), params)
    vocab = llama.llama_model_get_vocab(model)
    lines = []
    for path in sorted(glob.glob(os.path.join(HERE, "*.txt"))):
        with open(path, "rb") as f:
            text = f.read()
        ids = (ctypes.c_int32 * 4096)()
        n = llama.llama_tokenize(vocab, text, len(text), ids, 4096, False, False)
        if n < N_ID:
            raise SystemExit(f"{path}: {n} tokens, at least {N_ID} are wanted")
        name = os.path.basename(path).removesuffix(".txt")
        lines.append(f"  {json.dumps(name)}: {json.dumps(list(ids[:N_ID]))}")
    with open(os.path.join(HERE, "ids.json"), "w", encoding="utf-8", newline="\n") as f:
        f.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

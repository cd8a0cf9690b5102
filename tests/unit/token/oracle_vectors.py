"""llama.cpp's own test vectors: oracle_vectors.py BATCH FOLDER, FOLDER holding ggml-vocab-*.gguf with .inp and .out."""
import glob
import os
import sys

import texts


def main():
    batch, folder = sys.argv[1:]
    wrong = files = 0
    for model in sorted(glob.glob(folder + "/ggml-vocab-*.gguf")):
        with open(model + ".inp", "rb") as source:
            inputs = source.read().split(b"\n__ggml_vocab_test__\n")
        with open(model + ".out") as source:
            expected = [[int(word) for word in line.split()] for line in source.read().split("\n")]
        records = [("L", body) for body in inputs[:len(expected)]]
        if len(records) < 40:
            sys.exit("%s: only %d vectors" % (model, len(records)))
        wrong += texts.compare(os.path.basename(model), records, texts.ours(batch, model, records), expected)
        files += 1
    if files < 5:
        sys.exit("only %d vocabulary files in %s" % (files, folder))
    sys.exit(1 if wrong else 0)


main()

"""
Our reading of tokenizer.json against the tokenizers library itself: oracle_hf.py BATCH N.
Small vocabularies of each family are trained here, written in both forms of merges, and N texts encoded with each.
"""
import json
import os
import sys
import tempfile

import texts

try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
except ImportError:
    sys.exit(77)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER +
          r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(regex):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# name: normalizer, pre-tokenizer, ignore_merges
BYTE_LEVEL = {
    "gpt2": (None, pre_tokenizers.ByteLevel(add_prefix_space=False), False),
    "smollm": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                              pre_tokenizers.ByteLevel(add_prefix_space=False)]), False),
    "llama3": (None, split(LLAMA3), True),
    "qwen2": (normalizers.NFC(), split(QWEN2), False),
    "tekken": (None, split(TEKKEN), True),
}
SPM = {
    "prepend": (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None),
    "metaspace": (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "metaspace-always": (None, pre_tokenizers.Metaspace(prepend_scheme="always", split=False)),
}
ADDED = [AddedToken("<s>", special=True), AddedToken("</s>", special=True), AddedToken("[INST]", special=True),
         AddedToken("<|im_end|>", special=True, rstrip=True), AddedToken("[REFERENCE_DOC_1]", normalized=False),
         AddedToken("[REF]", lstrip=True, normalized=False), AddedToken("ABC", single_word=True, normalized=False),
         AddedToken("<unk>", special=True)]


def train(name, corpus):
    if name in BYTE_LEVEL:
        normalizer, pre, ignore = BYTE_LEVEL[name]
        tokenizer = Tokenizer(models.BPE(ignore_merges=ignore))
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.decoder = decoders.ByteLevel()
        tokens = []
    else:
        normalizer, pre = SPM[name]
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        alphabet = []
        tokens = ["<unk>"] + ["<0x%02X>" % byte for byte in range(256)]
    if normalizer:
        tokenizer.normalizer = normalizer
    # Training on words keeps it short; the file's own step is put back afterwards.
    tokenizer.pre_tokenizer = pre if name in BYTE_LEVEL else pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=3000, initial_alphabet=alphabet,
                                                              special_tokens=tokens, show_progress=False,
                                                              limit_alphabet=600))
    if pre:
        tokenizer.pre_tokenizer = pre
    data = json.loads(tokenizer.to_str())
    if not pre:
        data["pre_tokenizer"] = None
    data["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_tokens(ADDED)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[
        ("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def main():
    batch, n = sys.argv[1], int(sys.argv[2])
    wrong = 0
    corpus = texts.texts(999, 3000, without="\0")
    folder = tempfile.TemporaryDirectory()
    for seed, name in enumerate(list(BYTE_LEVEL) + list(SPM)):
        tokenizer = train(name, corpus)
        data = json.loads(tokenizer.to_str())
        if seed % 2:
            # The old form; a piece with a space in it would need the new one.
            data["model"]["merges"] = [" ".join(merge) for merge in data["model"]["merges"]]
        path = os.path.join(folder.name, name + ".json")
        with open(path, "w") as out:
            json.dump(data, out)
        bodies = [text for text in texts.texts(seed + 300, n)]
        records = [("S" if i % 2 else "L", text.encode()) for i, text in enumerate(bodies)]
        expected = []
        for kind, body in records:
            tokenizer.encode_special_tokens = kind == "L"
            expected.append(tokenizer.encode(body.decode(), add_special_tokens=False).ids)
        wrong += texts.compare(name, records, texts.ours(batch, path, records), expected)
    sys.exit(1 if wrong else 0)


main()

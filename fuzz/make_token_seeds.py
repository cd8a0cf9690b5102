"""Writes the seed inputs of the tokenizer targets: make_token_seeds.py fuzz/corpus. Their output is committed."""
import base64
import json
import os
import struct
import sys


def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def piece(text, score, kind):
    return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind))


def sentencepiece(pieces, with_bytes):
    out = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3)
    if with_bytes:
        out += b"".join(piece("<0x%02X>" % byte, 0, 6) for byte in range(0, 256, 5))
    out += b"".join(piece(text, -1.0 - i, kind) for i, (text, kind) in enumerate(pieces))
    trainer = b"\x18\x02\xc0\x02\x00\xc8\x02\x01\xd0\x02\x02"
    return out + field(2, trainer) + field(3, field(1, b"identity") + b"\x18\x01\x20\x00\x28\x01")


TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tekken(strings, version, special):
    vocab = [bytes([byte]) for byte in range(256)] + strings
    data = {"config": {"pattern": TEKKEN, "default_vocab_size": len(vocab) + 20, "default_num_special_tokens": 20,
                       "version": version},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(b).decode(), "token_str": None}
                      for i, b in enumerate(vocab)]}
    if special:
        data["special_tokens"] = [{"rank": i, "token_str": text, "is_control": True} for i, text in enumerate(special)]
    return json.dumps(data, separators=(",", ":")).encode()


def tokenizer_json(pre, normalizer, vocab, merges, added, **model):
    return json.dumps({"normalizer": normalizer, "pre_tokenizer": pre, "added_tokens": added,
                       "post_processor": {"type": "TemplateProcessing",
                                          "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]},
                       "model": dict(model, type="BPE", merges=merges, vocab={p: i for i, p in enumerate(vocab)})},
                      separators=(",", ":")).encode()


def added(id, content, **flags):
    return dict({"id": id, "content": content, "special": False}, **flags)


def main():
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    letters = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ", "Ã", "©"]
    seeds = {
        "sentencepiece/bytes": sentencepiece([("▁", 1), ("a", 1), ("b", 1), ("ab", 1), ("▁ab", 1), ("[X]", 4)], True),
        "sentencepiece/plain": sentencepiece([("▁", 1), ("a", 1), ("aa", 1), ("x", 5)], False),
        "tekken/v3": tekken([b"ab", b"bc", b" a", b"\xe6\x97"], "v3", None),
        "tekken/v11": tekken([b"ab"], "v11", ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[THINK]"]),
        "tokenizer_json/gpt2": tokenizer_json(
            {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                   dict(byte_level, use_regex=True)]}, None,
            letters + ["ab", "Ġab"], ["a b", "Ġ ab"], [added(200, "<|im_start|>", special=True)]),
        "tokenizer_json/tekken": tokenizer_json(
            {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": TEKKEN},
                                                    "behavior": "Isolated", "invert": False}, byte_level]},
            {"type": "NFC"}, letters + ["ab"], [["a", "b"]],
            [added(101, "x y", lstrip=True, rstrip=True, single_word=True, normalized=True)], ignore_merges=True),
        "tokenizer_json/spm": tokenizer_json(
            None, {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                       {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
            ["<unk>", "<s>", "<0x0A>", "<0xC3>", "▁", "a", "▁a"], ["▁ a"], [added(1, "<s>", special=True)],
            byte_fallback=True, unk_token="<unk>"),
        "pretok/tekken": b"\x86HelloWorldXMLParser don't foo/bar\n\n  12.5kg \xe6\x97\xa5A! e\xcc\x81",
        "pretok/default": b"\x00It's 12345.. $5 `x`\t\n \xc2\xa0 y",
        "pretok/llama": b"\x04we'LL see\r\n\r\n  1234 \xf0\x9f\xa6\x99!!\n",
    }
    for name, data in seeds.items():
        path = os.path.join(sys.argv[1], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)


main()

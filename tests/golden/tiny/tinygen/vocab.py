"""Two tiny tokenizers that are whole: every byte can be said, words take a few merges."""
import os

import gguf

from .containers import write_json

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
          "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
          "{% endif %}")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "t he", "Ġ t", "Ġ a", "Ġt he", "i n", "in g", "e r", "o n", "Ġ w", "Ġw h", "Ġwh o", "W h", "Wh o",
          "n t", "e d", "Ġ i", "Ġi n", "u l", "b ul", "bul b", "Ġ bulb", "l i", "g h", "li gh", "ligh t", "Ġ light",
          "u s", "us er", "a s", "s i", "st an", "s t", "Ċ Ċ", "Ġ Ġ", "ĠĠ ĠĠ", "e n", "v en", "o r", "Ġ o"]


def byte_alphabet():
    """GPT-2's printable stand-in for each byte."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out, extra = {}, 256
    for b in range(256):
        if b in keep:
            out[b] = chr(b)
        else:
            out[b], extra = chr(extra), extra + 1
    return out


def bpe():
    """(pieces in id order, merges that can be applied)."""
    pieces = SPECIALS + [byte_alphabet()[b] for b in range(256)]
    merges = []
    for m in MERGES:
        left, right = m.split(" ")
        if left in pieces and right in pieces and left + right not in pieces:
            pieces.append(left + right)
            merges.append(m)
    return pieces, merges


def bpe_to_gguf(writer):
    pieces, merges = bpe()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(pieces)
    writer.add_token_types([gguf.TokenType.CONTROL if p in SPECIALS else gguf.TokenType.NORMAL for p in pieces])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def bpe_to_directory(folder):
    pieces, merges = bpe()
    added = [{"id": i, "content": p, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, p in enumerate(SPECIALS)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write_json(os.path.join(folder, "tokenizer.json"), {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": False, "vocab": {p: i for i, p in enumerate(pieces)},
                  "merges": [m.split(" ") for m in merges]}})
    write_json(os.path.join(folder, "tokenizer_config.json"), {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
        "model_max_length": 256, "chat_template": CHATML})
    with open(os.path.join(folder, "chat_template.jinja"), "w", encoding="utf-8", newline="\n") as f:
        f.write(CHATML)


def spm():
    """(piece, score, type) in id order: specials, bytes, then pieces from likely to unlikely."""
    out = [("<unk>", 0.0, gguf.TokenType.UNKNOWN), ("<s>", 0.0, gguf.TokenType.CONTROL),
           ("</s>", 0.0, gguf.TokenType.CONTROL)]
    out += [(f"<0x{b:02X}>", 0.0, gguf.TokenType.BYTE) for b in range(256)]
    words = ["▁t", "he", "▁the", "in", "▁a", "er", "▁w", "▁wh", "▁who", "on", "li", "gh", "ligh", "light", "▁li",
             "▁light", "bu", "lb", "bulb", "▁bulb", "nt", "ve", "nte", "▁i", "▁in", "te", "ed", "te", "ted", "Wh",
             "▁W", "▁Who"]
    letters = list("▁etaonishrdlucmfwygpbvkxqjz") + list("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!'-")
    seen, score = set(), 0
    for piece in words + letters:
        if piece not in seen:
            seen.add(piece)
            out.append((piece, float(-score), gguf.TokenType.NORMAL))
            score += 1
    return out


def spm_to_gguf(writer):
    pieces = spm()
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([p for p, _, _ in pieces])
    writer.add_token_scores([s for _, s, _ in pieces])
    writer.add_token_types([t for _, _, t in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)

#!/usr/bin/env python3
"""
GGUF files made by `anemo convert --to gguf` in the programs that they are made for.

    logits     every Hugging Face model of tests/golden/tiny/arch that GGUF can say, as f32, f16 and bf16: libllama and the
               native engine give transformers' logits within the type's error
    quantized  MLX models quantized by mx.quantize: libggml decodes the GGUF file to the values that MLX decodes
    ids        vocabularies of every family: libllama and anemo give the ids that the source gives (SentencePiece,
               tokenizers, mistral-common's rules)

Run with the engines' Python. Environment: ANEMO_BUILD. Exit code 77: something is not here.
"""
import argparse
import ctypes
import json
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "quality"), str(HERE.parent / "token")]

from anemo_logits import Anemo, AnemoError, np, skip  # noqa: E402
from gguf_read import Gguf  # noqa: E402

TINY = HERE.parents[1] / "golden" / "tiny"
# Of the largest logit. libllama rounds activations to the type of plain weights; bf16 has 8 bits, and some of these models
# amplify that. The strict check of keys and rows is f32.
BOUNDS = {"f32": 2e-3, "f16": 4e-3, "bf16": 5e-2}
STORED = {"native": 2e-3, "llama.cpp": 2e-2}
# libllama runs full attention on these; native reads the window.
WINDOWS = {"mistral-gqa3-window8", "ministral3-window", "mistral-layer-windows"}
NOT_SAID = {"rope-dynamic", "rope-yarn-no-truncate"}


def cases():
    """Every property of the architecture, and every layout of files that a model comes in."""
    for folder, group in ((TINY, "arch"), (TINY.parent / "convert", "layout")):
        with open(folder / "manifest.json", encoding="utf-8") as f:
            for c in json.load(f)["cases"]:
                if c["group"] == group and c["container"] != "gguf":
                    yield c | {"model": str(folder / c["model"]), "logits": folder / c["logits"]}


def check_logits(anemo):
    failed, n, worst = 0, 0, {}
    driver = os.path.join(os.path.dirname(anemo.program), "anemo-driver-llama")
    if not os.path.exists(driver):
        skip(f"no {driver}")
    out = os.path.join(anemo.temp, "model.gguf")
    for c in cases():
        name = c["name"].split("/")[0]
        if name in NOT_SAID:
            continue
        want = np.load(c["logits"])
        for dtype in (None, "f32", "f16", "bf16") if c["group"] == "arch" else (None, "f32"):
            anemo.run("convert", c["model"], out, "--to", "gguf", "--force", "-q", *(["--dtype", dtype] if dtype else []))
            for engine in ("native", "llama.cpp"):
                if engine == "llama.cpp" and name in WINDOWS:
                    continue
                got = anemo.logits(out, c["ids"], "--engine", engine)
                error = float(np.abs(got - want).max() / np.abs(want).max())
                n += 1
                worst[dtype, engine] = max(worst.get((dtype, engine), 0), error)
                bound = BOUNDS[dtype] if dtype else STORED[engine]
                if "fp8" in c["model"]:
                    bound = BOUNDS["bf16"]
                if not error <= bound:
                    failed += 1
                    print(f"{name} as {dtype or 'stored'} in {engine}: differs by {error:.3g} of the largest logit")
    for (dtype, engine), error in worst.items():
        print(f"{dtype or 'as stored'}, {engine}: largest error {error:.3g} of the largest logit")
    print(f"logits: {n} runs, {failed} failed")
    return failed


def ggml_library():
    try:
        import llama_cpp
    except ImportError:
        skip("no llama_cpp")
    found = sorted(pathlib.Path(llama_cpp.__file__).resolve().parents[1].glob("**/libggml-base.*"))
    if not found:
        skip("no libggml-base")
    return ctypes.CDLL(str(found[0]))


def decode(ggml, kind, shape, data):
    """A tensor's values as libggml decodes them."""
    n = int(np.prod(shape))
    if kind == "F32":
        return np.frombuffer(data, "<f4").reshape(shape)
    if kind == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    out, source = np.empty(n, np.float32), np.frombuffer(data, np.uint8)
    getattr(ggml, "dequantize_row_" + kind.lower())(ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(out.ctypes.data),
                                                    ctypes.c_int64(n))
    return out.reshape(shape)


def to_gguf_rows(x, n_head):
    """From half-split to interleaved order, within heads."""
    return x.reshape(n_head, 2, -1, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def quantized_model(mx, folder, bits, group, dtype, seed):
    """A small Llama whose matrices the real mx.quantize quantized; gives its values as MLX decodes them, by GGUF name."""
    rng, embd, ff, head, kv, vocab = np.random.default_rng(seed), 256, 384, 8, 2, 64
    shapes = {"model.embed_tokens": (vocab, embd), "lm_head": (vocab, embd)}
    names = {"model.embed_tokens": "token_embd", "lm_head": "output"}
    for mlx, gguf, shape in (("self_attn.q_proj", "attn_q", (embd, embd)), ("self_attn.k_proj", "attn_k", (embd // 4, embd)),
                             ("self_attn.v_proj", "attn_v", (embd // 4, embd)), ("self_attn.o_proj", "attn_output", (embd, embd)),
                             ("mlp.gate_proj", "ffn_gate", (ff, embd)), ("mlp.up_proj", "ffn_up", (ff, embd)),
                             ("mlp.down_proj", "ffn_down", (embd, ff))):
        shapes["model.layers.0." + mlx] = shape
        names["model.layers.0." + mlx] = "blk.0." + gguf
    arrays, values = {}, {}
    for path, shape in shapes.items():
        x = rng.standard_t(3, shape).astype(np.float32) * 0.02
        x[0] = 0
        x[1] = 0.5
        codes, scales, biases = mx.quantize(mx.array(x).astype(dtype), group_size=group, bits=bits)
        arrays |= {path + ".weight": codes, path + ".scales": scales, path + ".biases": biases}
        v = np.array(mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), group_size=group, bits=bits))
        if ".q_proj" in path or ".k_proj" in path:
            v = to_gguf_rows(v, head if ".q_proj" in path else kv)
        values[names[path] + ".weight"] = v
    for path in ("model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"):
        arrays[path + ".weight"] = mx.ones(embd).astype(dtype)
    os.makedirs(folder, exist_ok=True)
    mx.save_safetensors(os.path.join(folder, "model.safetensors"), arrays, metadata={"format": "mlx"})
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"model_type": "llama", "hidden_size": embd, "intermediate_size": ff, "num_hidden_layers": 1,
                   "num_attention_heads": head, "num_key_value_heads": kv, "vocab_size": vocab, "rms_norm_eps": 1e-5,
                   "max_position_embeddings": 512, "tie_word_embeddings": False,
                   "quantization": {"bits": bits, "group_size": group}}, f)
    return values


def check_quantized(anemo):
    try:
        import mlx.core as mx
    except ImportError:
        skip("no mlx")
    ggml, failed, n, refused = ggml_library(), 0, 0, []
    folder, out = os.path.join(anemo.temp, "q"), os.path.join(anemo.temp, "q.gguf")
    for bits in (2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            for dtype in (mx.float16, mx.bfloat16, mx.float32):
                want = quantized_model(mx, folder, bits, group, dtype, bits * group)
                exact = True
                try:
                    anemo.run("convert", folder, out, "--to", "gguf", "--force", "-q")
                except AnemoError as e:
                    refused.append(f"{bits}-bit g{group} {dtype}")
                    if bits in (2, 3, 4, 5) and dtype == mx.float16:
                        print(f"{refused[-1]}: {e}")
                        failed += 1
                    # Every value of f32 arithmetic is an f32.
                    anemo.run("convert", folder, out, "--to", "gguf", "--force", "-q", "--dtype", "f32")
                got = Gguf(out)
                for name, v in want.items():
                    kind, shape, data = got.tensors[name]
                    back = decode(ggml, kind, shape, data)
                    n += 1
                    # q * d + m: both round the product and the sum, MLX perhaps in one step.
                    if back.shape != v.shape or not np.allclose(back, v, rtol=3e-7, atol=1e-7 * float(np.abs(v).max())):
                        failed += 1
                        print(f"{bits}-bit g{group} {dtype}: {name} as {kind}: largest difference {np.abs(back - v).max():.3g}")
                        exact = False
                if not exact:
                    break
    print(f"quantized: {n} tensors; no exact form: {len(refused)} of 54 models ({', '.join(refused[:4])}, …); {failed} failed")
    return failed


# ---------------------------------------------------------------------------------------------------- vocabularies

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER +
          r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
FAMILIES = {"gpt2": "gpt-2", "smollm": "smollm", "llama3": "llama-bpe", "tekken": "tekken"}


def train_bpe(family, corpus):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    regex = {"llama3": LLAMA3, "tekken": TEKKEN}.get(family)
    tokenizer = Tokenizer(models.BPE(ignore_merges=family in ("llama3", "tekken")))
    tokenizer.pre_tokenizer = plain
    if family == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])
    if regex:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"),
                                                           pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=3000, show_progress=False,
                                                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_tokens([AddedToken(t, special=True) for t in ("<s>", "</s>", "[INST]")])
    tokenizer.add_tokens([AddedToken("[REFERENCE_DOC_1]", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def tekken_json(tokenizer):
    """The same vocabulary as a Tekken file: pieces by rank, the first 256 the bytes. Its ids are its own."""
    import base64
    from tokenizers import pre_tokenizers
    chars = sorted(set(pre_tokenizers.ByteLevel.alphabet()), key=ord)
    kept = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    order = kept + [b for b in range(256) if b not in kept]
    byte_of = dict(zip([c for c in chars if ord(c) < 256] + [c for c in chars if ord(c) >= 256], order))
    pieces = [bytes([b]) for b in range(256)]
    by_id = sorted(tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    pieces += [bytes(byte_of[c] for c in text) for text, _ in by_id if len(text) > 1]
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "<pad>"]
    return {"config": {"pattern": TEKKEN, "num_vocab_tokens": len(pieces), "default_vocab_size": len(pieces) + 20,
                       "default_num_special_tokens": 20, "version": "v11"},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(p).decode(), "token_str": None} for i, p in enumerate(pieces)],
            "special_tokens": [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(special)]}


def model_around(folder, n_vocab):
    """The smallest model with an embedding of n_vocab rows."""
    header, at, data = {}, 0, b""
    shapes = {"model.embed_tokens": [n_vocab, 32], "model.norm": [32]}
    for name, shape in (("input_layernorm", [32]), ("post_attention_layernorm", [32]), ("self_attn.q_proj", [32, 32]),
                        ("self_attn.k_proj", [32, 32]), ("self_attn.v_proj", [32, 32]), ("self_attn.o_proj", [32, 32]),
                        ("mlp.gate_proj", [32, 32]), ("mlp.up_proj", [32, 32]), ("mlp.down_proj", [32, 32])):
        shapes["model.layers.0." + name] = shape
    for name, shape in shapes.items():
        n = 2 * int(np.prod(shape))
        header[name + ".weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
        data += bytes(n)
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + data)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
                   "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": n_vocab, "rms_norm_eps": 1e-5,
                   "max_position_embeddings": 512, "tie_word_embeddings": True}, f)


def sources(temp, corpus):
    """Folders with a tokenizer of each family: name, folder, n_vocab, what gives the expected ids, the GGUF pre-tokenizer."""
    for family, pre in FAMILIES.items():
        folder = os.path.join(temp, family)
        os.makedirs(folder)
        tokenizer = train_bpe(family, corpus)
        tokenizer.save(os.path.join(folder, "tokenizer.json"))
        with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
            json.dump({"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ messages }}"}, f)
        yield (family, folder, tokenizer.get_vocab_size(),
               lambda text, t=tokenizer: t.encode(text, add_special_tokens=False).ids, pre)
        if family == "tekken":
            native = os.path.join(temp, "tekken-json")
            os.makedirs(native)
            data = tekken_json(tokenizer)
            with open(os.path.join(native, "tekken.json"), "w", encoding="utf-8") as f:
                json.dump(data, f)
            yield "tekken.json", native, data["config"]["default_vocab_size"], None, pre
    try:
        import sentencepiece
    except ImportError:
        return
    folder = os.path.join(temp, "spm")
    os.makedirs(folder)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([t for t in corpus if t.isascii()]), model_prefix=os.path.join(temp, "spm-model"), vocab_size=2000, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.99,
        user_defined_symbols=["[REFERENCE_DOC_1]"], control_symbols=["[INST]", "[/INST]"], minloglevel=2, hard_vocab_limit=False)
    os.rename(os.path.join(temp, "spm-model.model"), os.path.join(folder, "tokenizer.model"))
    spm = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))
    yield "spm", folder, spm.get_piece_size(), spm.encode, "default"


def libllama_ids(path, records):
    import llama_cpp
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, None)
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    handle = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not handle:
        return None
    vocab, out = llama_cpp.llama_model_get_vocab(handle), []
    for kind, body in records:
        room = len(body) * 4 + 16
        ids = (llama_cpp.llama_token * room)()
        out.append(list(ids[:llama_cpp.llama_tokenize(vocab, body, len(body), ids, room, False, kind == "S")]))
    llama_cpp.llama_model_free(handle)
    return out


def check_template(texts, batch, name, folder, out, template):
    """Conversations through the template that was written, as an engine renders them, against our formats by ids."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    words = ["Hello", "what is 2+2?", "It is 4 ", "be brief", "x"]
    records, rendered = [], []
    for i in range(24):
        roles = [["user"], ["system", "user"], ["user", "assistant", "user"], ["system", "user", "assistant", "user"]][i % 4]
        chat = [{"role": r, "content": words[(i * 7 + k) % 5]} for k, r in enumerate(roles)]
        records.append(("C", "".join(m["role"] + "\0" + m["content"] + "\0" for m in chat).encode()))
        rendered.append(("S", jinja.render(messages=chat, bos_token="<s>", eos_token="</s>").encode()))
    return texts.compare(name + ": the template that was written", records, libllama_ids(out, rendered),
                         texts.ours(batch, folder, records))


def check_ids(anemo):
    import texts
    batch = os.path.join(os.environ.get("ANEMO_BUILD", "build/dev"), "tests", "unit", "token", "token_batch")
    try:
        import llama_cpp  # noqa: F401
        import tokenizers  # noqa: F401
    except ImportError as e:
        skip(str(e))
    if not os.path.exists(batch):
        skip(f"no {batch}")
    wrong = 0
    golden = [open(p, encoding="utf-8").read() for p in sorted(TINY.parent.glob("texts/*.txt"))]
    corpus = texts.texts(7, 2000, without="\0\n") + [line for text in golden for line in text.splitlines() if line]
    for seed, (name, folder, n, expect, pre) in enumerate(sources(anemo.temp, corpus)):
        model_around(folder, n + 5)
        out = os.path.join(anemo.temp, name + ".gguf")
        anemo.run("convert", folder, out, "--to", "gguf", "--force", "-q")
        keys = Gguf(out).keys
        tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
        if keys["tokenizer.ggml.pre"] != pre or len(tokens) != n + 5 or tokens[-1] != b"[PAD%d]" % (n + 4) or types[-1] != 5:
            wrong += 1
            print(f"{name}: pre-tokenizer {keys['tokenizer.ggml.pre']}, {len(tokens)} tokens, last {tokens[-1]}")
        if name in ("tekken.json", "spm"):
            wrong += check_template(texts, batch, name, folder, out, keys["tokenizer.chat_template"])
        # The libraries know different versions of Unicode, and libllama's Tekken the case of ASCII letters only.
        bodies = ["".join(c for c in t if 0 < ord(c) < 0x80 or 0x4E00 <= ord(c) < 0x9FA0)
                  for t in texts.texts(seed + 40, 800) + golden]
        records = [("L", t.encode()) for t in bodies]
        made = texts.ours(batch, out, records)
        # llama.cpp puts a space behind user-defined pieces too, SentencePiece only in front of the text: the note says so.
        own = [(r, m) for r, m in zip(records, made) if name != "spm" or b"[REFERENCE_DOC_1]" not in r[1]]
        wrong += texts.compare(name + ": anemo on GGUF and on its source", [r for r, _ in own], [m for _, m in own],
                               texts.ours(batch, folder, [r for r, _ in own]))
        wrong += texts.compare(name + ": libllama", records, libllama_ids(out, records), made)
        if expect:
            plain = [(r, t, m) for r, t, m in zip(records, bodies, made) if "[" not in t and "<" not in t]
            wrong += texts.compare(name + ": the source's library", [r for r, _, _ in plain], [m for _, _, m in plain],
                                   [expect(t) for _, t, _ in plain])
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=("logits", "quantized", "ids"))
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as temp:
        return 1 if globals()["check_" + check](Anemo(temp)) else 0


if __name__ == "__main__":
    sys.exit(main())

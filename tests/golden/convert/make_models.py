#!/usr/bin/env python3
"""
Writes tiny random models in every layout that a conversion reads, with reference logits, and manifest.json:

    python make_models.py            torch 2.13.0 (CPU), transformers 5.23.0, safetensors, gguf 0.19.0, numpy

The weights of one model are the same in all its layouts (bit for bit, in its own type), so that rows read through one layout can
be compared with those of another. Logits are transformers' in float32. The specifications and the reference are those of
../tiny (see its README for the format of the manifest).
"""
import base64
import collections
import hashlib
import json
import os
import pathlib
import shutil
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tiny"))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tinygen import containers, reference, spec  # noqa: E402

N_TOK, TOLERANCE = 12, 1e-4
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
NATIVE = {"model.embed_tokens": "tok_embeddings", "model.norm": "norm", "lm_head": "output",
          "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
          "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv",
          "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3",
          "mlp.down_proj": "feed_forward.w2"}
YARN = {"rope_type": "yarn", "type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4, "beta_fast": 4.0,
        "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}
BASE = dict(hf_type="mistral", n_vocab=288, n_embd=32, n_ff=64, n_head=2, n_head_kv=1, head_dim=16, rope_theta=10000.0)
cases = []


# ------------------------------------------------------------------------------------------------------------ tokenizers

def pieces():
    """288 SentencePiece pieces (text, score, type): the specials, all bytes, then a few merges."""
    out = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)] + [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    words = ["▁▁", "▁▁▁▁", "▁t", "he", "▁the", "in", "▁a", "er", "on", "li", "gh", "ligh", "light", "▁light"]
    normal = words + list("▁etaonishrdlucm")
    for i, piece in enumerate(normal):
        out.append((piece, -1e9 if i < 2 else float(-i), 1))
    return out


def field(number, data):
    return bytes([number << 3 | 2, *varint(len(data))]) + data


def varint(n):
    out = []
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return out + [n]


def spm_bytes():
    """A tokenizer.model: pieces, trainer (BPE with byte fallback), normalizer (identity, dummy prefix)."""
    out = b""
    for text, score, kind in pieces():
        out += field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind]))
    trainer = bytes([3 << 3, 2]) + bytes(varint(35 << 3)) + b"\x01"
    normalizer = field(1, b"identity") + bytes([3 << 3, 1, 4 << 3, 0, 5 << 3, 1])
    return out + field(2, trainer) + field(3, normalizer)


def tekken():
    """A tekken.json of 288 ids: 20 special, the 256 bytes, 12 merges."""
    merged = ["he", " t", " the", "in", " a", "er", "on", "li", "gh", "ligh", "light", " light"]
    words = [bytes([b]) for b in range(256)] + [m.encode() for m in merged]
    return {"config": {"pattern": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
                                  r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
                                  r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                       "num_vocab_tokens": len(words), "default_vocab_size": 288, "default_num_special_tokens": 20,
                       "version": "v7"},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(w).decode(),
                       "token_str": w.decode("utf-8", "ignore") or None} for i, w in enumerate(words)]}


def write_tokenizer(folder, kind):
    if kind == "tekken":
        (folder / "tekken.json").write_text(json.dumps(tekken(), ensure_ascii=False) + "\n", encoding="utf-8")
        return
    (folder / kind).write_bytes(spm_bytes())
    if kind == "tokenizer.model":
        containers.write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
            "add_bos_token": True, "add_eos_token": False, "legacy": False})


# -------------------------------------------------------------------------------------------------------------- layouts

def new_folder(name):
    folder = HERE / "models" / name
    folder.mkdir(parents=True)
    return folder


def tensors_of(s, w):
    return collections.OrderedDict((k, torch.from_numpy(v).to(TYPES[s.dtype])) for k, v in w.items())


def native_name(name):
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{NATIVE[stem]}.{kind}"
    _, _, layer, rest = stem.split(".", 3)
    return f"layers.{layer}.{NATIVE[rest]}.{kind}"


def native_of(s, w):
    """Mistral's names, rows of q and k interleaved."""
    out = collections.OrderedDict()
    for name, x in w.items():
        heads = s.n_head if ".q_proj." in name else s.n_head_kv if ".k_proj." in name else 0
        out[native_name(name)] = containers.to_gguf_rows(x, heads) if heads else x
    return collections.OrderedDict((k, torch.from_numpy(np.ascontiguousarray(v)).to(TYPES[s.dtype])) for k, v in out.items())


def params_of(s, **more):
    out = {"dim": s.n_embd, "n_layers": s.n_layer, "head_dim": s.head_dim, "hidden_dim": s.n_ff, "n_heads": s.n_head,
           "n_kv_heads": s.n_head_kv, "norm_eps": s.eps, "vocab_size": s.n_vocab, "rope_theta": s.rope_theta,
           "max_position_embeddings": s.n_ctx}
    return out | ({"tied_embeddings": True} if s.tied else {}) | more


def safetensors_bytes(tensors):
    header, at, data = {"__metadata__": {"format": "pt"}}, 0, b""
    tags = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float8_e4m3fn: "F8_E4M3"}
    for name, t in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        raw = t.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": tags[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        data += raw
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def shards(folder, tensors, stem, suffix, write):
    """Two files and their index."""
    names = list(tensors)
    index, half = {}, len(names) // 2
    for i, part in enumerate((names[:half], names[half:])):
        file = f"{stem}-{i + 1:05d}-of-00002{suffix}"
        write({n: tensors[n] for n in part}, folder / file)
        index |= {n: file for n in part}
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    containers.write_json(folder / f"{stem}{suffix}.index.json",
                          {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))})


def write_safetensors(tensors, path):
    path.write_bytes(safetensors_bytes(tensors))


def write_torch(tensors, path):
    # One storage for each tensor: a view would drag its whole storage into the file.
    torch.save(collections.OrderedDict((k, v.clone()) for k, v in tensors.items()), path)


def awkward(tensors):
    """The same values as strided views: a transposed matrix, a matrix inside a wider one, q, k and v in one storage."""
    out = collections.OrderedDict(tensors)
    p = "model.layers.0."
    out[p + "mlp.up_proj.weight"] = tensors[p + "mlp.up_proj.weight"].t().contiguous().t()
    down = tensors[p + "mlp.down_proj.weight"]
    wide = torch.zeros(down.shape[0], down.shape[1] + 8, dtype=down.dtype)
    wide[:, 3:3 + down.shape[1]] = down
    out[p + "mlp.down_proj.weight"] = wide[:, 3:3 + down.shape[1]]
    qkv = torch.cat([tensors[p + f"self_attn.{x}_proj.weight"] for x in "qkv"])
    sizes = [tensors[p + f"self_attn.{x}_proj.weight"].shape[0] for x in "qkv"]
    for x, part in zip("qkv", torch.split(qkv, sizes)):
        out[p + f"self_attn.{x}_proj.weight"] = part
    norms = torch.stack([tensors[p + "input_layernorm.weight"], tensors[p + "post_attention_layernorm.weight"]], dim=1)
    out[p + "input_layernorm.weight"] = norms[:, 0]
    out[p + "post_attention_layernorm.weight"] = norms[:, 1]
    return out


# ------------------------------------------------------------------------------------------------------------------ FP8

def to_fp8(x, block):
    """Codes and scales of a matrix: one scale, or one for each block. value = code * scale."""
    rows, cols = x.shape
    br, bc = block or (rows, cols)
    scale = np.zeros((-(-rows // br), -(-cols // bc)), np.float32)
    codes = torch.zeros(rows, cols, dtype=torch.float8_e4m3fn)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            part = x[i * br:(i + 1) * br, j * bc:(j + 1) * bc]
            scale[i, j] = spec.to_dtype(np.array([np.abs(part).max() / 448.0 * 1.1], np.float32), "bf16")[0]
            codes[i * br:(i + 1) * br, j * bc:(j + 1) * bc] = torch.from_numpy(part / scale[i, j]).to(torch.float8_e4m3fn)
    full = np.kron(scale, np.ones((br, bc), np.float32))[:rows, :cols]
    return codes, scale, codes.to(torch.float32).numpy() * full


def fp8_weights(s, block):
    """(tensors of the Hugging Face layout, the float32 values that they mean)."""
    tensors, held = collections.OrderedDict(), {}
    for name, x in spec.weights(s).items():
        if "_proj.weight" not in name:
            tensors[name], held[name] = torch.from_numpy(x).to(TYPES[s.dtype]), x
            continue
        codes, scale, held[name] = to_fp8(x, block)
        tensors[name] = codes
        scales = torch.from_numpy(scale) if block else torch.tensor(scale[0, 0])
        tensors[name + "_scale_inv"] = scales if block else scales.to(torch.bfloat16)
        if not block:
            tensors[name.removesuffix("weight") + "activation_scale"] = torch.tensor(1.0, dtype=torch.bfloat16)
    return tensors, held


def fp8_section(block):
    return {"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic" if block else "static",
                                    "modules_to_not_convert": ["lm_head"], "weight_block_size": block}}


# ---------------------------------------------------------------------------------------------------------------- cases

def add_case(name, container, s, ids, logits, note):
    cases.append({"name": name, "group": "layout", "container": container, "model": "models/" + name, "oracle": "transformers",
                  "n_vocab": s.n_vocab, "n_tok": len(ids), "ids": ids, "logits": logits, "decode_logits": None,
                  "n_prefill_is_decode": len(ids), "tolerance": TOLERANCE, "weights": s.name, "note": note})


def model(name, **more):
    """A specification, its weights, ids, and the file of its logits."""
    s = spec.Spec(name, **(BASE | more))
    return s, spec.weights(s), spec.ids(s.name, s.n_vocab, N_TOK)


def save_logits(s, w, ids):
    (HERE / "models").mkdir(exist_ok=True)
    np.save(HERE / "models" / f"{s.name}.npy", reference.prefill(s, w, ids).astype("<f4"))
    return f"models/{s.name}.npy"


def hf_folder(name, s, tokenizer="tokenizer.model", **more):
    folder = new_folder(name)
    containers.write_json(folder / "config.json", containers.config(s) | more)
    write_tokenizer(folder, tokenizer)
    return folder


def native_folder(name, s, tokenizer, **more):
    folder = new_folder(name)
    containers.write_json(folder / "params.json", params_of(s, **more))
    write_tokenizer(folder, tokenizer)
    return folder


def plain_types():
    for dtype in ("f16", "f32"):
        s, w, ids = model("convert-" + dtype, dtype=dtype)
        folder = hf_folder("hf-" + dtype, s)
        write_safetensors(tensors_of(s, w), folder / "model.safetensors")
        add_case("hf-" + dtype, "hf", s, ids, save_logits(s, w, ids), "one safetensors file")


def every_layout():
    s, w, ids = model("convert-bf16", dtype="bf16")
    logits, tensors, native = save_logits(s, w, ids), tensors_of(s, w), native_of(s, w)

    folder = hf_folder("hf-bf16", s)
    write_safetensors(tensors, folder / "model.safetensors")
    containers.write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": [2, 7]})
    add_case("hf-bf16", "hf", s, ids, logits, "one safetensors file and a generation config")

    shards(hf_folder("hf-sharded", s), tensors, "model", ".safetensors", write_safetensors)
    add_case("hf-sharded", "hf", s, ids, logits, "two safetensors shards")

    torch.save(awkward(tensors), hf_folder("bin", s) / "pytorch_model.bin")
    add_case("bin", "torch", s, ids, logits, "one PyTorch file with strided views and a shared storage")

    shards(hf_folder("bin-sharded", s), tensors, "pytorch_model", ".bin", write_torch)
    add_case("bin-sharded", "torch", s, ids, logits, "two PyTorch shards")

    torch.save(awkward(tensors), hf_folder("bin-legacy", s) / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    add_case("bin-legacy", "torch", s, ids, logits, "the stream form of torch before 1.6")

    write_torch(native, native_folder("native-pth", s, "tokenizer.model.v3", max_seq_len=s.n_ctx) / "consolidated.00.pth")
    add_case("native-pth", "native", s, ids, logits, "Mistral's own layout, consolidated.00.pth")

    write_safetensors(native, native_folder("native", s, "tekken") / "consolidated.safetensors")
    add_case("native", "native", s, ids, logits, "Mistral's own layout, consolidated.safetensors, Tekken")

    shards(native_folder("native-sharded", s, "tekken"), native, "consolidated", ".safetensors", write_safetensors)
    add_case("native-sharded", "native", s, ids, logits, "Mistral's own layout, two shards")

    folder = native_folder("native-parallel", s, "tokenizer.model.v3")
    for part in range(2):
        piece = {}
        for name, t in native.items():
            dim = 1 if any(x in name for x in (".wo.", ".w2.", "tok_embeddings")) else 0
            piece[name] = t if t.dim() == 1 else torch.chunk(t, 2, dim)[part]
        write_torch(piece, folder / f"consolidated.0{part}.pth")
    add_case("native-parallel", "native", s, ids, logits, "two model-parallel parts")


def fp8():
    for name, block, more in (("fp8-tensor", None, {}),
                              ("fp8-block", [128, 128], {"n_embd": 160, "n_ff": 32, "n_layer": 1, "tied": True})):
        s, _, ids = model("convert-" + name, dtype="bf16", **more)
        tensors, held = fp8_weights(s, block)
        logits = save_logits(s, held, ids)
        write_safetensors(tensors, hf_folder(name, s, **fp8_section(block)) / "model.safetensors")
        add_case(name, "hf", s, ids, logits, f"FP8, {'blocks of 128 x 128, the last ones cut off' if block else 'one scale a matrix'}")
        if block:
            continue
        native = collections.OrderedDict()
        for key, t in tensors.items():
            if key.endswith("activation_scale"):
                native[native_name(key.removesuffix("activation_scale") + "weight").removesuffix("weight") + "qscale_act"] = t
            elif key.endswith("weight_scale_inv"):
                native[native_name(key.removesuffix("_scale_inv")).removesuffix("weight") + "qscale_weight"] = t
            else:
                heads = s.n_head if ".q_proj." in key else s.n_head_kv if ".k_proj." in key else 0
                raw = t.view(torch.uint8).numpy() if t.dtype == torch.float8_e4m3fn else None
                native[native_name(key)] = (torch.from_numpy(containers.to_gguf_rows(raw, heads)).view(t.dtype)
                                            if heads else t)
        folder = native_folder("native-fp8", s, "tekken",
                               quantization={"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"})
        write_safetensors(native, folder / "consolidated.safetensors")
        add_case("native-fp8", "native", s, ids, logits, "FP8 in Mistral's own layout")


def yarn():
    s, w, ids = model("convert-yarn", dtype="f16", hf_type="ministral3", new_config=True, rope=YARN, tied=True)
    folder = native_folder("native-yarn", s, "tekken", yarn={
        "factor": 16.0, "original_max_position_embeddings": 4, "beta": 4.0, "alpha": 1.0, "apply_scale": False},
        llama_4_scaling={"original_max_position_embeddings": 4, "beta": 0.1})
    native = native_of(s, w)
    native["vision_encoder.ln_pre.weight"] = torch.arange(8, dtype=torch.float16)
    write_safetensors(native, folder / "consolidated.safetensors")
    containers.write_json(folder / "params.json", json.loads((folder / "params.json").read_text()) | {
        "vision_encoder": {"hidden_size": 8}})
    add_case("native-yarn", "native", s, ids, save_logits(s, w, ids),
             "Mistral's own layout with YaRN, a query scale and vision tensors to be skipped")


def tied():
    s, w, ids = model("convert-tied", dtype="bf16", n_ff=32, n_layer=1, tied=True)
    tensors = tensors_of(s, w)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    torch.save(tensors, hf_folder("bin-tied", s) / "pytorch_model.bin")
    add_case("bin-tied", "torch", s, ids, save_logits(s, w, ids), "the output is the embedding's storage a second time")


def main():
    shutil.rmtree(HERE / "models", ignore_errors=True)
    plain_types()
    every_layout()
    fp8()
    yarn()
    tied()
    files = {str(p.relative_to(HERE)): hashlib.sha256(p.read_bytes()).hexdigest()
             for p in sorted((HERE / "models").rglob("*")) if p.is_file()}
    text = json.dumps({"schema": "anemo.tiny/1", "cases": cases, "files": files}, indent=1, ensure_ascii=False)
    for c in cases:
        text = text.replace(json.dumps(c["ids"], indent=1).replace("\n", "\n   "), json.dumps(c["ids"]))
    (HERE / "manifest.json").write_text(text + "\n", encoding="utf-8")
    total = sum(os.path.getsize(HERE / p) for p in files)
    print(f"{len(cases)} cases, {len(files)} files, {total / 1e6:.2f} MB, largest "
          f"{max(os.path.getsize(HERE / p) for p in files)} bytes")


if __name__ == "__main__":
    main()

"""Writers: Hugging Face directories and GGUF files. The gguf package does the GGUF bytes."""
import json
import os

import gguf
import numpy as np

from .spec import bf16_bits, llama3_freq_factors, yarn_default_attention_factor

GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def rope_config(s):
    if s.new_config:
        return {"rope_parameters": {"rope_theta": s.rope_theta} | (s.rope or {"rope_type": "default"})}
    out = {"rope_theta": s.rope_theta}
    if s.rope:
        out["rope_scaling"] = s.rope
    return out


def text_config(s, model_type):
    c = {
        "architectures": [{"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM",
                           "ministral3": "Ministral3ForCausalLM"}[model_type]],
        "model_type": model_type, "hidden_size": s.n_embd, "intermediate_size": s.n_ff,
        "num_hidden_layers": s.n_layer, "num_attention_heads": s.n_head,
        "num_key_value_heads": s.n_head_kv, "head_dim": s.head_dim, "vocab_size": s.n_vocab,
        "max_position_embeddings": s.n_ctx, "rms_norm_eps": s.eps, "hidden_act": "silu",
        "tie_word_embeddings": s.tied, "bos_token_id": 1, "eos_token_id": 2,
        "dtype" if s.new_config else "torch_dtype":
            {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[s.dtype],
    }
    if model_type == "llama":
        c["attention_bias"] = s.bias
    else:
        c["sliding_window"] = s.window or max(s.windows, default=0) or None
    if s.windows:
        c["layer_types"] = ["sliding_attention" if w else "full_attention" for w in s.windows]
    return c | rope_config(s)


def config(s):
    if s.hf_type != "mistral3":
        return text_config(s, s.hf_type)
    inner = text_config(s, s.text_type)
    for key in ("architectures", "bos_token_id"):
        inner.pop(key)
    tied = inner.pop("tie_word_embeddings")
    return {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3",
            "tie_word_embeddings": tied, "eos_token_id": 2, "text_config": inner,
            "vision_config": {"model_type": "pixtral", "hidden_size": 8}}


def hf_name(s, name):
    """Where a text tensor lies in the repository of a wrapper."""
    if s.prefix == "model.language_model.":
        return name.replace("model.", s.prefix, 1) if name.startswith("model.") else name
    return s.prefix + name


def safetensors_bytes(tensors):
    """tensors: name -> (dtype tag, array). The header is padded so that data starts 8-aligned."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (tag, a) in tensors.items():
        header[name] = {"dtype": tag, "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for _, a in tensors.values())


def stored(x, dtype):
    if dtype == "f16":
        return "F16", x.astype("<f2")
    if dtype == "bf16":
        return "BF16", bf16_bits(x)
    return "F32", x.astype("<f4")


def write_json(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def write_hf(s, w, folder, n_shard=1):
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, "config.json"), config(s))
    tensors = {hf_name(s, k): stored(v, s.dtype) for k, v in w.items()}
    if s.hf_type == "mistral3":
        skip = np.arange(8, dtype=np.float32)
        for name in ("vision_tower.ln_pre.weight", "multi_modal_projector.norm.weight"):
            tensors[("model." if s.prefix.startswith("model.") else "") + name] = stored(skip, s.dtype)
    if n_shard == 1:
        with open(os.path.join(folder, "model.safetensors"), "wb") as f:
            f.write(safetensors_bytes(tensors))
        return
    names, index = list(tensors), {}
    for i in range(n_shard):
        part = names[i * len(names) // n_shard:(i + 1) * len(names) // n_shard]
        file = f"model-{i + 1:05d}-of-{n_shard:05d}.safetensors"
        with open(os.path.join(folder, file), "wb") as f:
            f.write(safetensors_bytes({n: tensors[n] for n in part}))
        index |= {n: file for n in part}
    total = sum(a.nbytes for _, a in tensors.values())
    write_json(os.path.join(folder, "model.safetensors.index.json"),
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))})


def to_gguf_rows(x, n_head):
    """Rows of q or k (or their bias) from Hugging Face's half-split order to GGUF's interleaved order."""
    half = x.reshape(n_head, 2, x.shape[0] // n_head // 2, *x.shape[1:])
    return np.ascontiguousarray(half.swapaxes(1, 2).reshape(x.shape))


def to_hf_rows(x, n_head):
    """The inverse of to_gguf_rows."""
    pairs = x.reshape(n_head, x.shape[0] // n_head // 2, 2, *x.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(x.shape))


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.{kind}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest]}.{kind}"


def heads_of(s, name):
    """How many heads' rows are permuted in this tensor; 0 = none."""
    return s.n_head if ".attn_q." in name else s.n_head_kv if ".attn_k." in name else 0


def gguf_tensors(s, w):
    """GGUF names, float32, rows as GGUF wants them."""
    out = {}
    for name, x in w.items():
        g = gguf_name(name)
        out[g] = to_gguf_rows(x, heads_of(s, g)) if heads_of(s, g) else x
    if s.rope.get("rope_type") == "llama3":
        out["rope_freqs.weight"] = llama3_freq_factors(s)
    return out


def add_rope_keys(s, writer):
    kind = s.rope.get("rope_type") or s.rope.get("type")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(s.rope["factor"])
    if kind != "yarn":
        return
    r = s.rope
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(r["factor"])
    writer.add_rope_scaling_orig_ctx_len(r["original_max_position_embeddings"])
    if "beta_fast" in r:
        writer.add_rope_scaling_yarn_beta_fast(r["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(r["beta_slow"])
    if "attention_factor" in r:
        plain = yarn_default_attention_factor({"factor": r["factor"]})
        writer.add_rope_scaling_attn_factors(r["attention_factor"] / plain)
    if s.gguf_arch == "mistral3":
        writer.add_rope_scaling_yarn_log_mul(r["mscale_all_dim"])
        if r["llama_4_scaling_beta"]:
            writer.add_attn_temperature_scale(r["llama_4_scaling_beta"])


def gguf_writer(s, path, vocab=None, **split):
    """A writer with every key of the specification set; `vocab(writer)` adds the tokenizer."""
    writer = gguf.GGUFWriter(path, s.gguf_arch, **split)
    writer.add_name(s.name)
    writer.add_block_count(s.n_layer)
    writer.add_context_length(s.n_ctx)
    writer.add_embedding_length(s.n_embd)
    writer.add_feed_forward_length(s.n_ff)
    writer.add_head_count(s.n_head)
    writer.add_head_count_kv(s.n_head_kv)
    writer.add_key_length(s.head_dim)
    writer.add_value_length(s.head_dim)
    writer.add_rope_dimension_count(s.head_dim)
    writer.add_layer_norm_rms_eps(s.eps)
    writer.add_rope_freq_base(s.rope_theta)
    writer.add_vocab_size(s.n_vocab)
    if s.window:
        writer.add_sliding_window(s.window)
    add_rope_keys(s, writer)
    if vocab:
        vocab(writer)
    else:
        writer.add_tokenizer_model("no_vocab")
    return writer


def finish_gguf(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf(s, w, path, vocab=None, dtype=None, **split):
    """Matrices in the specification's type (or `dtype`), vectors in F32, as llama.cpp's converter does."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    dtype = dtype or s.dtype
    writer = gguf_writer(s, path, vocab, **split)
    writer.add_file_type({"f32": 0, "f16": 1, "bf16": 32}[dtype])
    for name, x in gguf_tensors(s, w).items():
        _, a = stored(x, dtype if x.ndim > 1 else "f32")
        if a.dtype == np.uint16:
            writer.add_tensor(name, a.view(np.uint8).reshape(*x.shape[:-1], -1),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(name, a)
    finish_gguf(writer)

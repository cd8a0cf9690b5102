#!/usr/bin/env python3
"""
A second opinion on the fixtures: reads every model file itself and runs a forward pass in float64 NumPy,
written from the formulas and not from any library, then compares with the stored reference logits.

    python numpy_check.py             every case of manifest.json
    python numpy_check.py --mutate    also: does leaving a property out change the logits? (it must)

Needs numpy and the gguf package (its NumPy dequantizers are independent of libggml).
"""
import argparse
import dataclasses
import glob
import json
import math
import os
import sys

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass
class Model:
    n_layer: int
    n_head: int
    n_head_kv: int
    head_dim: int
    eps: float
    theta: float
    scale: dict                      # rope scaling, Hugging Face's words
    w: dict                          # Hugging Face names, float64, half-split rows
    windows: list                    # per layer
    n_ctx: int = 0
    freq_factors: np.ndarray | None = None
    beta: float = 0.0
    attention_factor: float | None = None


def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    header, out = json.loads(data[8:8 + n]), {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        raw = data[8 + n + begin:8 + n + end]
        if t["dtype"] == "BF16":
            a = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            a = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2", "U32": "<u4"}[t["dtype"]])
        out[name] = a.reshape(t["shape"])
    return out


def unpack_affine(words, scales, biases, n_col):
    """One little-endian bit stream a row; w = code * scale + bias."""
    n_row = words.shape[0]
    bits = words.shape[1] * 32 // n_col
    stream = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    codes = stream.reshape(n_row, n_col, bits).astype(np.float64) @ (2.0 ** np.arange(bits))
    group = n_col // scales.shape[1]
    return codes * np.repeat(scales.astype(np.float64), group, 1) + np.repeat(
        biases.astype(np.float64), group, 1)


def open_directory(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    c = config.get("text_config", config)
    raw = {}
    for path in glob.glob(os.path.join(folder, "model*.safetensors")):
        raw |= read_safetensors(path)
    strip = {}
    for name, a in raw.items():
        if "vision_tower" in name or "multi_modal" in name:
            continue
        name = name.replace("model.language_model.", "model.").removeprefix("language_model.")
        strip[name] = a
    w = {}
    heads, dim = c["num_attention_heads"], c["hidden_size"]
    hd = c.get("head_dim") or dim // heads
    n_cols = {"o_proj": heads * hd, "down_proj": c["intermediate_size"]}
    for name, a in strip.items():
        stem = name.removesuffix(".weight")
        if name.endswith((".scales", ".biases")):
            continue
        if stem + ".scales" in strip:
            w[name] = unpack_affine(a, strip[stem + ".scales"], strip[stem + ".biases"],
                                    n_cols.get(stem.rsplit(".", 1)[-1], dim))
        else:
            w[name] = a.astype(np.float64)
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    kinds = c.get("layer_types") or [
        "sliding_attention" if c.get("sliding_window") else "full_attention"] * c["num_hidden_layers"]
    return Model(c["num_hidden_layers"], heads, c["num_key_value_heads"], hd, c["rms_norm_eps"],
                 rope.get("rope_theta") or c["rope_theta"], rope, w,
                 [c["sliding_window"] if k == "sliding_attention" else 0 for k in kinds],
                 c["max_position_embeddings"], beta=rope.get("llama_4_scaling_beta", 0.0))


HF = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
      "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
      "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
      "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
      "ffn_down": "mlp.down_proj"}


def open_gguf(path):
    paths = [path]
    if "-00001-of-" in path:
        paths = sorted(glob.glob(path.replace("-00001-of-", "-?????-of-")))
    readers = [gguf.GGUFReader(p) for p in paths]
    fields = readers[0].fields
    arch = fields["general.architecture"].contents()

    def key(name, default=None):
        field = fields.get(f"{arch}.{name}")
        return default if field is None else field.contents()

    n_head, n_kv, hd = key("attention.head_count"), key("attention.head_count_kv"), key("attention.key_length")
    w, factors = {}, None
    for t in [t for r in readers for t in r.tensors]:
        a = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64).reshape(
            [int(n) for n in reversed(t.shape)])
        stem, kind = t.name.rsplit(".", 1)
        if stem == "rope_freqs":
            factors = a
            continue
        layer = ""
        if stem.startswith("blk."):
            _, i, stem = stem.split(".")
            layer = f"model.layers.{i}."
        if stem in ("attn_q", "attn_k"):
            h = n_head if stem == "attn_q" else n_kv
            index = np.arange(h * hd).reshape(h, hd // 2, 2).transpose(0, 2, 1).reshape(-1)
            a = a[index]
        w[f"{layer}{HF[stem]}.{kind}"] = a
    scale, attention_factor = {}, None
    if key("rope.scaling.type"):
        scale = {"rope_type": key("rope.scaling.type"), "factor": key("rope.scaling.factor"),
                 "original_max_position_embeddings": key("rope.scaling.original_context_length"),
                 "beta_fast": key("rope.scaling.yarn_beta_fast", 32.0),
                 "beta_slow": key("rope.scaling.yarn_beta_slow", 1.0),
                 "mscale": 1.0, "mscale_all_dim": key("rope.scaling.yarn_log_multiplier", 0.0)}
        if key("rope.scaling.attn_factor"):
            attention_factor = key("rope.scaling.attn_factor") * (0.1 * math.log(scale["factor"]) + 1)
    n_layer = key("block_count")
    return Model(n_layer, n_head, n_kv, hd, key("attention.layer_norm_rms_epsilon"),
                 key("rope.freq_base", 10000.0), scale, w, [key("attention.sliding_window", 0)] * n_layer,
                 key("context_length"), factors, key("attention.temperature_scale", 0.0), attention_factor)


def frequencies(m, length):
    """Inverse frequencies for a sequence of `length`, and the factor on cos and sin."""
    r, hd = m.scale, m.head_dim
    kind = r.get("rope_type") or r.get("type") or "default"
    i = np.arange(hd // 2)
    theta = m.theta
    if kind == "dynamic":
        n = max(length, m.n_ctx)
        theta *= (r["factor"] * n / m.n_ctx - (r["factor"] - 1)) ** (hd / (hd - 2))
    f = theta ** (-2.0 * i / hd)
    if m.freq_factors is not None:
        f = f / m.freq_factors
    if kind == "linear":
        f = f / r["factor"]
    if kind == "llama3":
        turns = r["original_max_position_embeddings"] * f / (2 * np.pi)
        lo, hi = r["low_freq_factor"], r["high_freq_factor"]
        keep = np.clip((turns - lo) / (hi - lo), 0, 1)
        f = f * (keep + (1 - keep) / r["factor"])
    if kind != "yarn":
        return f, 1.0

    def pair_that_turns(n):
        return hd * math.log(r["original_max_position_embeddings"] / (2 * math.pi * n)) / (2 * math.log(theta))
    low, high = pair_that_turns(r.get("beta_fast", 32.0)), pair_that_turns(r.get("beta_slow", 1.0))
    if r.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, hd - 1)
    ramp = np.clip((i - low) / max(0.001, high - low), 0, 1)
    f = f * (1 - ramp) + f / r["factor"] * ramp

    def g(x):
        return 0.1 * x * math.log(r["factor"]) + 1 if r["factor"] > 1 else 1.0
    a = r.get("attention_factor") or m.attention_factor
    if a is None:
        both = r.get("mscale") and r.get("mscale_all_dim")
        a = g(r["mscale"]) / g(r["mscale_all_dim"]) if both else g(1.0)
    return f, a


def rotate(x, angle, a):
    """x [n_tok, heads, head_dim], half-split; angle [n_tok, head_dim/2]."""
    half = x.shape[-1] // 2
    c, s = a * np.cos(angle)[:, None], a * np.sin(angle)[:, None]
    p, q = x[..., :half], x[..., half:]
    return np.concatenate([p * c - q * s, q * c + p * s], -1)


def norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def forward(m, ids, stepwise=False):
    """Logits of every position. stepwise: each position's key keeps the frequencies of its own step."""
    w, n, pos = m.w, len(ids), np.arange(len(ids))
    if stepwise:
        both = [frequencies(m, t + 1) for t in range(n)]
        angle, a = np.stack([pos[t] * both[t][0] for t in range(n)]), both[0][1]
    else:
        f, a = frequencies(m, n)
        angle = pos[:, None] * f
    query_scale = np.ones(n)
    if m.beta:
        query_scale = 1 + m.beta * np.log(1 + np.floor(pos / m.scale["original_max_position_embeddings"]))
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(m.n_layer):
        p = f"model.layers.{layer}."

        def linear(name, v, p=p):
            y = v @ w[p + name + ".weight"].T
            return y + w[p + name + ".bias"] if p + name + ".bias" in w else y
        h = norm(x, w[p + "input_layernorm.weight"], m.eps)
        q = rotate(linear("self_attn.q_proj", h).reshape(n, m.n_head, m.head_dim), angle, a)
        k = rotate(linear("self_attn.k_proj", h).reshape(n, m.n_head_kv, m.head_dim), angle, a)
        v = linear("self_attn.v_proj", h).reshape(n, m.n_head_kv, m.head_dim)
        q = q * query_scale[:, None, None]
        seen = pos[:, None] >= pos[None]
        if m.windows[layer]:
            seen &= pos[:, None] < pos[None] + m.windows[layer]
        out = np.empty((n, m.n_head, m.head_dim))
        for head in range(m.n_head):
            kv = head // (m.n_head // m.n_head_kv)
            score = np.where(seen, q[:, head] @ k[:, kv].T / math.sqrt(m.head_dim), -np.inf)
            e = np.exp(score - score.max(-1, keepdims=True))
            out[:, head] = e / e.sum(-1, keepdims=True) @ v[:, kv]
        x = x + linear("self_attn.o_proj", out.reshape(n, -1))
        h = norm(x, w[p + "post_attention_layernorm.weight"], m.eps)
        gate = linear("mlp.gate_proj", h)
        x = x + linear("mlp.down_proj", gate / (1 + np.exp(-gate)) * linear("mlp.up_proj", h))
    x = norm(x, w["model.norm.weight"], m.eps)
    return x @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def mutations(m):
    """The model with one property left out, where it has it."""
    if any(m.windows):
        yield "window", dataclasses.replace(m, windows=[0] * m.n_layer)
    if m.beta and m.scale["original_max_position_embeddings"] < 64:
        yield "query scale", dataclasses.replace(m, beta=0.0)
    if m.freq_factors is not None:
        yield "rope_freqs", dataclasses.replace(m, freq_factors=None)
    kind = m.scale.get("rope_type") or m.scale.get("type") or "default"
    if kind != "default":
        yield "rope scaling", dataclasses.replace(m, scale={
            "original_max_position_embeddings": m.scale.get("original_max_position_embeddings")})
    if m.scale.get("truncate") is False:
        yield "truncate", dataclasses.replace(m, scale=m.scale | {"truncate": True})
    if kind == "yarn":
        plain = m.scale | {"attention_factor": None, "mscale": None}
        if abs(frequencies(m, 64)[1] - frequencies(dataclasses.replace(
                m, scale=plain, attention_factor=None), 64)[1]) > 1e-6:
            yield "attention factor", dataclasses.replace(m, scale=plain, attention_factor=None)
    names = [k for k in m.w if k.endswith("_proj.bias")]
    if names:
        yield "bias", dataclasses.replace(m, w={k: v for k, v in m.w.items() if k not in names})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutate", action="store_true")
    args = parser.parse_args()
    with open(os.path.join(HERE, "manifest.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    worst, failed = 0.0, 0
    for c in manifest["cases"]:
        path = os.path.join(HERE, c["model"])
        m = open_gguf(path) if c["container"] == "gguf" else open_directory(path)
        pairs = [(c["logits"], False)] + ([(c["decode_logits"], True)] if c["decode_logits"] else [])
        for file, stepwise in pairs:
            want = np.load(os.path.join(HERE, file)).astype(np.float64)
            got = forward(m, c["ids"], stepwise)
            error = np.abs(got - want).max() / np.abs(want).max()
            worst = max(worst, error)
            if not error <= c["tolerance"] / 5:
                failed += 1
                print(f"FAIL {c['name']}: {error:.3g} of the largest logit")
        if args.mutate:
            for what, other in mutations(m):
                change = np.abs(forward(other, c["ids"]) - want).max() / np.abs(want).max()
                if not change >= 50 * c["tolerance"]:
                    failed += 1
                    print(f"WEAK {c['name']}: without {what} the logits change by only {change:.3g}")
    print(f"{len(manifest['cases'])} cases, largest error {worst:.3g} of the largest logit, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

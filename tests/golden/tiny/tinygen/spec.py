"""What a tiny model is, and its random weights. Nothing here depends on a container or an engine."""
import dataclasses
import math
import zlib

import numpy as np

SEED = 20261123


@dataclasses.dataclass
class Spec:
    """One model. Sizes are in elements; `rope` holds Hugging Face's rope parameters without the base."""
    name: str
    hf_type: str = "llama"       # model_type of config.json: llama, mistral, ministral3, mistral3
    n_layer: int = 2
    n_embd: int = 32
    n_ff: int = 64
    n_head: int = 2
    n_head_kv: int = 1
    head_dim: int = 32
    n_vocab: int = 96
    tied: bool = False
    bias: bool = False
    window: int = 0
    windows: tuple = ()          # per layer; 0 = full attention
    rope_theta: float = 100.0
    rope: dict = dataclasses.field(default_factory=dict)
    n_ctx: int = 256             # max_position_embeddings, context_length
    dtype: str = "f32"           # of the matrices: f32, f16, bf16
    gguf_arch: str = "llama"     # "" when GGUF cannot say it
    new_config: bool = False     # theta inside rope_parameters, as transformers 5 writes it
    prefix: str = ""             # before "model." and "lm_head" in a wrapper's tensor names
    text_type: str = ""          # model_type of text_config, for mistral3
    llama_cpp: bool = True       # libllama computes the same thing from the GGUF file
    n_tok: int = 64
    note: str = ""
    eps: float = 1e-5

    def layer_window(self, layer):
        return self.windows[layer] if self.windows else self.window


def rng(*key):
    return np.random.Generator(np.random.PCG64([SEED] + [zlib.crc32(str(k).encode()) for k in key]))


def ids(spec_name, n_vocab, n_tok):
    return [int(i) for i in rng(spec_name, "ids").integers(0, n_vocab, n_tok)]


def shapes(s):
    """Hugging Face tensor names (without a wrapper's prefix) and shapes, torch order."""
    q, kv = s.n_head * s.head_dim, s.n_head_kv * s.head_dim
    out = {"model.embed_tokens.weight": (s.n_vocab, s.n_embd)}
    for i in range(s.n_layer):
        p = f"model.layers.{i}."
        out |= {
            p + "input_layernorm.weight": (s.n_embd,),
            p + "post_attention_layernorm.weight": (s.n_embd,),
            p + "self_attn.q_proj.weight": (q, s.n_embd),
            p + "self_attn.k_proj.weight": (kv, s.n_embd),
            p + "self_attn.v_proj.weight": (kv, s.n_embd),
            p + "self_attn.o_proj.weight": (s.n_embd, q),
            p + "mlp.gate_proj.weight": (s.n_ff, s.n_embd),
            p + "mlp.up_proj.weight": (s.n_ff, s.n_embd),
            p + "mlp.down_proj.weight": (s.n_embd, s.n_ff),
        }
        if s.bias:
            out |= {
                p + "self_attn.q_proj.bias": (q,),
                p + "self_attn.k_proj.bias": (kv,),
                p + "self_attn.v_proj.bias": (kv,),
                p + "self_attn.o_proj.bias": (s.n_embd,),
            }
    out["model.norm.weight"] = (s.n_embd,)
    if not s.tied:
        out["lm_head.weight"] = (s.n_vocab, s.n_embd)
    return out


def to_dtype(x, dtype):
    """Round to what the container will hold, and give it back as float32."""
    if dtype == "f16":
        return x.astype(np.float16).astype(np.float32)
    if dtype == "bf16":
        return bf16_bits(x).astype(np.uint32).__lshift__(16).view(np.float32)
    return x.astype(np.float32)


def bf16_bits(x):
    """Upper half of the float32 word, rounded to nearest even."""
    u = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def weights(s):
    """
    Random float32 weights, exact in the specification's type. q and k are wide enough that attention is
    far from uniform, so that a wrong position, window or head shows in the logits at once.
    """
    out = {}
    for name, shape in shapes(s).items():
        g = rng(s.name, name).standard_normal(shape)
        if name.endswith("norm.weight"):
            g = 1.0 + 0.2 * g
        elif name.endswith(".bias"):
            g = 0.5 * g
        elif "embed_tokens" not in name:
            gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
            g = gain * g / math.sqrt(shape[-1])
        elif s.tied:
            g = g / math.sqrt(s.n_embd) * 2
        out[name] = to_dtype(g.astype(np.float32), s.dtype)
    return out


def yarn_default_attention_factor(rope):
    """A as transformers derives it when attention_factor is not given."""
    def g(m):
        return 1.0 if rope["factor"] <= 1 else 0.1 * m * math.log(rope["factor"]) + 1.0
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return g(rope["mscale"]) / g(rope["mscale_all_dim"])
    return g(1.0)


def llama3_freq_factors(s):
    """The divisors that GGUF keeps in rope_freqs.weight for Hugging Face's llama3 scaling."""
    r = s.rope
    freq = s.rope_theta ** (-np.arange(0, s.head_dim, 2, dtype=np.float64) / s.head_dim)
    wavelen = 2 * np.pi / freq
    low = r["original_max_position_embeddings"] / r["low_freq_factor"]
    high = r["original_max_position_embeddings"] / r["high_freq_factor"]
    smooth = ((r["original_max_position_embeddings"] / wavelen - r["low_freq_factor"])
              / (r["high_freq_factor"] - r["low_freq_factor"]))
    mid = 1.0 / ((1 - smooth) / r["factor"] + smooth)
    out = np.where(wavelen < high, 1.0, np.where(wavelen > low, r["factor"], mid))
    return out.astype(np.float32)

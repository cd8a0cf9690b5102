"""The matrix: one entry for every property that the engine must get right."""
from .spec import Spec

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128,
        "beta_fast": 4.0, "beta_slow": 1.0}

ARCH = [
    Spec("llama-mha-tied", n_embd=64, n_ff=32, n_head=4, n_head_kv=4, head_dim=16, tied=True,
         n_vocab=101, rope_theta=10000.0, note="1 query head per KV head; tied; a vocabulary of odd size"),
    Spec("mistral-gqa3-window8", "mistral", n_embd=32, n_ff=96, n_head=6, n_head_kv=2, head_dim=16,
         window=8, dtype="f16", rope_theta=10000.0, llama_cpp=False,
         note="3 query heads per KV head; sliding window of 8 with 64 tokens; libllama ignores the window"),
    Spec("mistral-gqa4-headdim", "mistral", n_embd=32, n_head=8, n_head_kv=2, head_dim=24, dtype="bf16",
         rope_theta=1e6, new_config=True, note="4 query heads per KV head; head_dim 24, not 32 / 8"),
    Spec("llama-bias", n_head=4, n_head_kv=2, head_dim=16, bias=True,
         note="biases on q, k, v and o; q and k biases are permuted in GGUF"),
    Spec("llama-one-layer-deep-ff", n_layer=1, n_embd=32, n_ff=160, n_head=1, n_head_kv=1, head_dim=32,
         tied=True, dtype="f16", new_config=True, note="one head"),
    Spec("llama-three-layers", n_layer=3, n_head=4, n_head_kv=1, head_dim=32, dtype="bf16", n_vocab=99,
         note="three layers, 4 query heads on one KV head"),
    Spec("rope-linear", dtype="f16", rope={"rope_type": "linear", "factor": 4.0}),
    Spec("rope-linear-legacy-key", rope={"type": "linear", "factor": 2.5}, dtype="f16",
         note="`type` in place of `rope_type`"),
    Spec("rope-dynamic", dtype="f16", rope={"rope_type": "dynamic", "factor": 2.0}, n_ctx=32, gguf_arch="",
         note="prefill of 64 uses the base of length 64 throughout; step by step every position keeps the base"
              " it was written with, so the two differ beyond 32; GGUF has no such key"),
    Spec("rope-yarn", dtype="f16", rope=YARN, llama_cpp=False,
         note="A = 1 + 0.1 ln 4; libllama reads the beta keys for mistral3 only, for llama it takes 32 and 1"),
    Spec("rope-yarn-defaults", "mistral", dtype="f16", new_config=True, n_ctx=4096,
         rope={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024},
         note="beta 32 and 1 by default; the ramp ends past the last pair"),
    Spec("rope-yarn-attention-factor", "mistral", dtype="f16", n_ctx=2048,
         rope={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512,
               "attention_factor": 1.5},
         note="explicit attention factor"),
    Spec("rope-yarn-no-truncate", dtype="f16", rope=YARN | {"truncate": False}, gguf_arch="",
         note="GGUF has no key for it"),
    Spec("rope-llama3", tied=True, rope_theta=500.0,
         rope={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}, note="GGUF: rope_freqs.weight"),
    Spec("ministral3-beta", "ministral3", tied=True, dtype="f16", gguf_arch="mistral3", new_config=True,
         rope={"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 16,
               "beta_fast": 1.0, "beta_slow": 0.25, "mscale": 1.0, "mscale_all_dim": 1.0,
               "llama_4_scaling_beta": 0.3},
         note="A = 1; the query scale grows at 16, 32 and 48"),
    Spec("ministral3-mscale0", "ministral3", gguf_arch="mistral3", new_config=True, dtype="bf16",
         rope=YARN | {"factor": 64.0, "mscale": 1.0, "mscale_all_dim": 0.0, "llama_4_scaling_beta": 0.0},
         note="A = 1 + 0.1 ln 64; query scale off"),
    Spec("ministral3-mscale-half", "ministral3", gguf_arch="mistral3", new_config=True, dtype="f16",
         rope=YARN | {"mscale": 1.0, "mscale_all_dim": 0.5, "llama_4_scaling_beta": 0.1},
         note="A = g(1) / g(0.5); beta with an original length of 128, so it has no effect on 64 tokens"),
    Spec("ministral3-window", "ministral3", gguf_arch="", new_config=True, dtype="f16", window=8,
         rope={"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 16,
               "beta_fast": 1.0, "beta_slow": 0.25, "mscale": 1.0, "mscale_all_dim": 1.0,
               "llama_4_scaling_beta": 0.3}, note="window, YaRN and query scale together"),
    Spec("mistral3-wrapper", "mistral3", text_type="ministral3", tied=True, gguf_arch="mistral3",
         new_config=True, dtype="bf16", prefix="language_model.",
         rope={"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 16,
               "beta_fast": 1.0, "beta_slow": 0.25, "mscale": 1.0, "mscale_all_dim": 1.0,
               "llama_4_scaling_beta": 0.1},
         note="text_config; tensors below language_model.; vision tensors to be skipped"),
    Spec("mistral3-wrapper-mistral", "mistral3", text_type="mistral", gguf_arch="mistral3", dtype="f16",
         prefix="model.language_model.", note="newer prefix, a plain mistral inside, untied"),
    Spec("mistral-layer-windows", "mistral", n_layer=3, windows=(8, 0, 8), dtype="f16", gguf_arch="",
         note="layer_types: sliding, full, sliding; reference from transformers' ministral class"),
]

# GGUF type -> width of the model: types in blocks of 32 take a small one, K types need rows of 256.
GGUF_TYPES = {
    "Q4_0": 64, "Q4_1": 64, "Q5_0": 64, "Q5_1": 64, "Q8_0": 64, "IQ4_NL": 64, "F32": 64, "F16": 64, "BF16": 64,
    "Q2_K": 256, "Q3_K": 256, "Q4_K": 256, "Q5_K": 256, "Q6_K": 256, "IQ4_XS": 256,
}


def gguf_type_spec(type_name):
    wide = GGUF_TYPES[type_name] == 256
    return Spec("type-" + type_name.lower(), n_layer=1, n_embd=256 if wide else 64,
                n_ff=256 if wide else 64, n_head=4 if wide else 2, n_head_kv=1, head_dim=64 if wide else 32,
                n_vocab=48 if wide else 96, tied=wide, rope_theta=10000.0, n_tok=16)


# A mix as llama-quantize makes it: tensor suffix -> type, the rest in "base".
GGUF_MIXES = {
    "mix-q4_k_m": {"base": "Q4_K", "attn_v": "Q6_K", "ffn_down": "Q6_K", "token_embd": "Q6_K"},
    "mix-q2_k": {"base": "Q2_K", "attn_v": "Q4_K", "ffn_down": "Q3_K", "attn_output": "Q3_K",
                 "token_embd": "Q5_K"},
}

# MLX: every width and group, the type of scales and biases going round.
MLX = [(bits, group, ("f16", "bf16", "f32")[(i + j) % 3])
       for i, bits in enumerate((2, 3, 4, 5, 6, 8)) for j, group in enumerate((32, 64, 128))]


def mlx_spec(name, **more):
    args = dict(n_layer=1, n_embd=128, n_ff=128, n_head=4, n_head_kv=1, head_dim=32, n_vocab=64, tied=True,
                rope_theta=10000.0, n_tok=16, gguf_arch="")
    return Spec(name, **(args | more))

#!/usr/bin/env python3
"""Models that anemo synth makes in the engines that they are for: libllama loads and continues every type, mlx-lm and
transformers load every twin, logits are ours within what the engines' arithmetic differs, and texts become the same ids.

Run it with the Python of the engines' virtual environment. Environment: ANEMO_BUILD (folder of the executable). Exit code
77: an engine is not here.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import llama_cpp
    import mlx.core as mx
    import mlx_lm.utils
    import numpy as np
    from mlx_lm.generate import generate_step

    import oracle
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
SMALL = {"model_type": "mistral", "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 3,
         "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 32768,
         "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": None,
         "tie_word_embeddings": False}
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 64, "beta_fast": 32,
        "beta_slow": 1, "mscale": 1, "mscale_all_dim": 1, "llama_4_scaling_beta": 0.1}
TWINS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "F16", "BF16", "F32")
MIXES = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS")
OWN = ("2bit-g32", "3bit", "4bit", "5bit-g128", "6bit", "8bit")
IDS = [1] + list(range(1100, 1190))
failures = []


def check(ok, what):
    if not ok:
        print("FAILED:", what)
        failures.append(what)


def synth(shape, quant, out, *more):
    subprocess.run([ANEMO, "synth", shape, "--quant", quant, "-o", out, "-q", "--force", *more], check=True)
    return out


def native(model, temp):
    out = temp / "logits.npy"
    subprocess.run([ANEMO, "logits", model, "--ids", ",".join(map(str, IDS)), "-o", out, "--compute", "f32", "--kv", "f32"],
                   check=True)
    return np.load(out)


def llama(path):
    """Logits of all positions, after a few tokens of generation."""
    model = llama_cpp.Llama(str(path), n_ctx=256, n_batch=256, n_threads=2, logits_all=True, verbose=False)
    generated = [t for t, _ in zip(model.generate(IDS, temp=0.0), range(8))]
    check(len(generated) == 8, f"{path.name}: llama.cpp generated {len(generated)} tokens of 8")
    model.reset()
    model.eval(IDS)
    return np.array(model.scores[:len(IDS)])


def mlx(folder):
    model, tokenizer = mlx_lm.utils.load(str(folder))
    model.set_dtype(mx.float32)
    generated = [t for t, _ in zip(generate_step(mx.array(IDS[:8]), model, max_tokens=4), range(4))]
    check(len(generated) == 4 and tokenizer.eos_token_id == 2, f"{folder.name}: mlx-lm generates")
    return np.array(model(mx.array([IDS]))[0])


def same_logits(what, ours, theirs, tolerance):
    error = np.abs(ours - theirs).max()
    print(f"{what}: largest difference of logits {error:.2g}, spread {ours.std():.2f}")
    check(np.isfinite(theirs).all() and 0.3 < ours.std() < 3 and error <= tolerance, what)


def main():
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        shapes = {"small": SMALL,
                  "yarn": SMALL | {"model_type": "ministral3", "max_position_embeddings": 1024, "rope_parameters": YARN,
                                   "rope_scaling": YARN},
                  "experts": SMALL | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}}
        for name, config in shapes.items():
            (temp / name).mkdir()
            (temp / name / "config.json").write_text(json.dumps(config))
        small = temp / "small"
        # llama.cpp rounds activations to 8 bits, more coarsely than ours in f32.
        for quant in MIXES + ("Q4_0",):
            path = synth(small, quant, temp / "a.gguf")
            same_logits(f"{quant}, llama.cpp", native(path, temp), llama(path), 0.5)
        for quant in TWINS:
            path = synth(small, quant, temp / "a.gguf", "--pure")
            folder = synth(small, quant, temp / "a", "--format", "mlx")
            ours = native(path, temp)
            check(np.array_equal(ours, native(folder, temp)), f"{quant}: twins' logits are the same bits")
            same_logits(f"{quant}, llama.cpp", ours, llama(path), 0.5)
            same_logits(f"{quant}, mlx-lm", ours, mlx(folder), 0.01)
        for quant in OWN:
            folder = synth(small, quant, temp / "a", "--format", "mlx")
            same_logits(f"{quant}, mlx-lm", native(folder, temp), mlx(folder), 0.01)
        path = synth(temp / "yarn", "Q8_0", temp / "y.gguf")
        folder = synth(temp / "yarn", "Q8_0", temp / "y", "--format", "mlx")
        ours = native(path, temp)
        same_logits("YaRN, llama.cpp", ours, llama(path), 0.5)
        same_logits("YaRN, mlx-lm", ours, mlx(folder), 0.01)
        scores = llama(synth(temp / "experts", "Q4_K_M", temp / "e.gguf"))
        check(np.isfinite(scores).all() and 0.3 < scores.std() < 3, "experts in llama.cpp")
        for shape, quant, layers in (("smollm2-135m", "Q4_0", 1), (small, "Q8_0", 1)):
            path = synth(shape, quant, temp / "v.gguf", "--layers", str(layers))
            folder = synth(shape, "4bit-g32", temp / "v", "--layers", str(layers), "--format", "mlx")
            check(oracle.same_ids(path, folder, 300), f"{shape}: ids of transformers and llama.cpp")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

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
import random
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "quality"), str(HERE.parent / "token")]

from anemo_logits import Anemo, AnemoError, np, skip  # noqa: E402
from gguf_read import Gguf  # noqa: E402

TINY = HERE.parents[1] / "golden" / "tiny"
# libllama rounds activations to 8 bits before a product with quantized weights only; here all are plain.
BOUNDS = {None: 2e-3, "f32": 2e-3, "f16": 4e-3, "bf16": 3e-2}
# libllama runs full attention on these; native reads the window.
WINDOWS = {"mistral-gqa3-window8", "ministral3-window", "mistral-layer-windows"}
NOT_SAID = {"rope-dynamic", "rope-yarn-no-truncate"}


def cases():
    with open(TINY / "manifest.json", encoding="utf-8") as f:
        return [c for c in json.load(f)["cases"] if c["group"] == "arch" and c["container"] == "hf"]


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
        want = np.load(TINY / c["logits"])
        for dtype in (None, "f32", "f16", "bf16"):
            anemo.run("convert", str(TINY / c["model"]), out, "--to", "gguf", "--force", "-q", *(["--dtype", dtype] if dtype else []))
            for engine in ("native", "llama.cpp"):
                if engine == "llama.cpp" and name in WINDOWS:
                    continue
                got = anemo.logits(out, c["ids"], "--engine", engine)
                error = float(np.abs(got - want).max() / np.abs(want).max())
                n += 1
                worst[dtype, engine] = max(worst.get((dtype, engine), 0), error)
                if not error <= BOUNDS[dtype]:
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=("logits", "quantized", "ids"))
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as temp:
        return 1 if globals()["check_" + check](Anemo(temp)) else 0


if __name__ == "__main__":
    sys.exit(main())

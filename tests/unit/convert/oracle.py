#!/usr/bin/env python3
"""The conversion of SmolLM2 against the programs that it is made for: mlx-lm, transformers and llama.cpp.

Run it with the Python of the engines' virtual environment. Environment: ANEMO_BUILD (folder of the executable),
ANEMO_TEST_MODELS (folder of the models; otherwise where ./quickstart keeps them). Exit code 77: something is not here.
"""
import ctypes
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import llama_cpp
    import mlx.core as mx
    import mlx_lm.utils
    import numpy as np
    from mlx_lm.generate import generate_step
    from transformers import AutoTokenizer
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve()
GOLDEN = HERE.parents[2] / "golden" / "tiny" / "files"
PROMPT = [10576, 11396, 260, 1420, 16587, 47]  # "Who invented the light bulb?"
# What llama.cpp continues with from the very same weights.
CONTINUATION = [198, 198, 504, 2988, 314, 42, 216, 33, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 30, 2, 198]
FIXED = ["", " ", "Hello, world!", " leading", "a  b", "don't stop", "I'LL we'Re", "x" * 300, "\r\n\r\n  foo", "   \n \t ",
         "日本語テキスト 😀 é", "12345 1.5e10 ½ ²٣", "naïve café", "<|im_start|>user\nhi<|im_end|>\n", "</s><s>[INST]",
         "👨‍👩‍👧‍👦🏽", "\u0301\u200d\u2028x", "tab\tand nbsp\u00a0x"]


def texts(n):
    """The fixed texts and n random ones over several scripts, from a fixed seed."""
    rng = random.Random(20261123)
    alphabet = list("abcdefgh ABC 0123456789 .,;:!?'\"()-_/\\\n\n\t   éßñ") + list("日本語中文한국어кириллицаالعربيةहिन्दी😀🎉€½²") + [
        "'s", "'ll", "the", " and", "<|im_end|>", "\r\n", "  "]
    return FIXED + ["".join(rng.choices(alphabet, k=rng.randrange(1, 60))) for _ in range(n)]


def same_ids(gguf, folder, n):
    """Ids of transformers on the directory and of llama.cpp on the GGUF file."""
    ours = AutoTokenizer.from_pretrained(folder)
    theirs = llama_cpp.Llama(str(gguf), vocab_only=True, verbose=False)
    bad = 0
    for text in texts(n):
        a = ours(text, add_special_tokens=False)["input_ids"]
        b = theirs.tokenize(text.encode(), add_bos=False, special=True) if text else []
        if a != b:
            bad += 1
            if bad <= 5:
                print(f"{folder}: {text!r}: transformers {a}, llama.cpp {b}")
    print(f"{gguf.name}: {bad} of {len(FIXED) + n} texts differ")
    return bad == 0


class InitParams(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


def decode_gguf(path):
    """Every tensor of the file in f32 as libggml itself reads and decodes it, flat."""
    folder = pathlib.Path(llama_cpp.__file__).resolve().parents[1]
    found = sorted(folder.glob("**/libggml-base.*"))
    if not found:
        print(f"skipped: no libggml-base under {folder}")
        sys.exit(77)
    ggml = ctypes.CDLL(str(found[0]))
    for name in ("get_tensor_offset", "get_data_offset", "get_tensor_size"):
        getattr(ggml, "gguf_" + name).restype = ctypes.c_size_t
    ggml.gguf_get_n_tensors.restype = ctypes.c_int64
    ggml.gguf_get_tensor_name.restype = ctypes.c_char_p
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    ctx = ctypes.c_void_p(ggml.gguf_init_from_file(str(path).encode(), InitParams(True, None)))
    blocks = {2: (ggml.dequantize_row_q4_0, 18), 3: (ggml.dequantize_row_q4_1, 20), 8: (ggml.dequantize_row_q8_0, 34)}
    data = np.memmap(path, mode="r")[ggml.gguf_get_data_offset(ctx):]
    out = {}
    for i in range(ggml.gguf_get_n_tensors(ctx)):
        i = ctypes.c_int64(i)
        begin, n = ggml.gguf_get_tensor_offset(ctx, i), ggml.gguf_get_tensor_size(ctx, i)
        raw, kind = np.ascontiguousarray(data[begin:begin + n]), ggml.gguf_get_tensor_type(ctx, i)
        if kind == 0:
            value = raw.view(np.float32)
        elif kind == 1:
            value = raw.view(np.float16).astype(np.float32)
        else:
            decode, size = blocks[kind]
            value = np.empty(n // size * 32, np.float32)
            decode(raw.ctypes.data_as(ctypes.c_void_p), value.ctypes.data_as(ctypes.c_void_p),
                   ctypes.c_int64(value.size))
        out[ggml.gguf_get_tensor_name(ctx, i).decode()] = value
    return out


NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def same_weights(gguf_path, folder):
    """mx.dequantize of each module gives the bits of the GGUF decode, q and k rows in half-split order."""
    config = json.loads((folder / "config.json").read_text())
    quantization = config["quantization"]
    weights = mx.load(str(folder / "model.safetensors"))
    head_dim, used, bad = config["head_dim"], set(), 0
    for name, want in decode_gguf(gguf_path).items():
        parts = name.removesuffix(".weight").split(".")
        path = NAMES[parts[0]] if parts[0] != "blk" else f"model.layers.{parts[1]}.{LAYER[parts[2]]}"
        got = weights[path + ".weight"]
        used.add(path + ".weight")
        if path + ".scales" in weights:
            q = quantization | (quantization.get(path) or {})
            used |= {path + ".scales", path + ".biases"}
            got = mx.dequantize(got, weights[path + ".scales"].astype(mx.float32),
                                weights[path + ".biases"].astype(mx.float32), group_size=q["group_size"], bits=q["bits"])
        if parts[-1] in ("attn_q", "attn_k"):
            want = want.reshape(-1, head_dim // 2, 2, got.shape[1]).transpose(0, 2, 1, 3)
        got, want = np.array(got.astype(mx.float32)).ravel(), want.ravel()
        if got.size != want.size or not np.array_equal(got.view(np.uint32), want.view(np.uint32)):
            print(f"{name}: differs")
            bad += 1
    if used != set(weights):
        print(f"not of the GGUF file: {sorted(set(weights) - used)[:5]}")
        bad += 1
    return bad == 0


def same_tokens(folder):
    """mlx-lm loads the directory and continues the prompt as llama.cpp does."""
    model, _ = mlx_lm.utils.load(str(folder))
    model.set_dtype(mx.float32)
    got = [int(t) for t, _ in generate_step(mx.array(PROMPT), model, max_tokens=len(CONTINUATION))]
    if got != CONTINUATION:
        print(f"mlx-lm continues with {got}")
    return got == CONTINUATION


def main():
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    models = pathlib.Path(os.environ.get("ANEMO_TEST_MODELS") or os.path.join(home, "anemo", "models"))
    gguf = models / "smollm2-135m-instruct-q4_1.gguf"
    anemo = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
    ok = True
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        for source in [GOLDEN / "chatml.gguf", GOLDEN / "spm.gguf"]:
            subprocess.run([anemo, "convert", "-q", source, temp / source.stem, "--to", "mlx"], check=True)
            ok &= same_ids(source, temp / source.stem, 500)
        if not gguf.exists():
            print(f"skipped the rest: no {gguf} (./quickstart brings it)")
            return 77 if ok else 1
        subprocess.run([anemo, "convert", "-q", gguf, temp / "mlx", "--to", "mlx"], check=True)
        ok &= same_ids(gguf, temp / "mlx", 2000)
        ok &= same_weights(gguf, temp / "mlx")
        ok &= same_tokens(temp / "mlx")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

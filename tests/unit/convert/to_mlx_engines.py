#!/usr/bin/env python3
"""Directories that anemo convert makes, against the programs that they are for: mx.quantize, mlx-lm's convert and loader,
transformers' committed logits, libggml's decoders.

Run it with the Python of the engines' virtual environment. Environment: ANEMO_BUILD (folder of the executable),
ANEMO_TEST_MODELS (folder of the models; otherwise where ./quickstart keeps them). Exit code 77: something is not here.
"""
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import llama_cpp
    import mlx.core as mx
    import mlx_lm.utils
    from mlx.utils import tree_flatten
    from mlx_lm.convert import convert as mlx_lm_convert
    from mlx_lm.convert import mixed_quant_predicate_builder
    import numpy as np
    from transformers import AutoTokenizer
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
from gguf_read import Gguf  # noqa: E402

LAYOUTS = HERE.parents[2] / "golden" / "convert"
TINY = HERE.parents[2] / "golden" / "tiny"
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
DTYPES = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}
FP_MODES = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
RECIPES = ["mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"]
# What mlx-lm computes otherwise than transformers from the published directory, too.
OTHER_IN_MLX_LM = {"rope-yarn-no-truncate/hf", "mistral-gqa3-window8/hf", "ministral3-window/hf"}
failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        if len(failures) < 20:
            print(f"FAILED: {what}")
    return ok


def convert(src, dst, *options, to="mlx"):
    done = subprocess.run([ANEMO, "convert", src, dst, "--to", to, "--json", "--force", *options], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"anemo convert {src} {' '.join(options)}: {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def load(folder):
    out = {}
    for path in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        out |= mx.load(str(path))
    return out


def raw(a):
    view = {mx.bfloat16: mx.uint16, mx.float16: mx.uint16, mx.float32: mx.uint32}.get(a.dtype)
    return np.array(a.view(view) if view else a)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(raw(a), raw(b))


def config_of(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())


def adversarial(rng, rows, cols):
    """Heavy tails, zeros, constant rows, groups of one sign, tiny numbers, ties, whole numbers, far-apart sizes."""
    x = rng.standard_normal((rows, cols)).astype(np.float32)
    for i in range(rows):
        kind = i % 16
        if kind == 1:
            x[i] = rng.standard_t(1.1, cols)
        elif kind == 2:
            x[i] = 0
        elif kind == 3:
            x[i] = rng.standard_normal()
        elif kind == 4:
            x[i] = -np.abs(x[i])
        elif kind == 5:
            x[i] = np.abs(x[i]) + 1
        elif kind == 6:
            x[i] *= 2.0**-22
        elif kind == 7:
            x[i] = rng.integers(-8, 9, cols)
        elif kind == 8:
            x[i] = rng.integers(0, 16, cols) * 0.5
        elif kind == 9:
            x[i] = rng.integers(-20, 21, cols) / rng.integers(1, 9)
        elif kind == 10:
            x[i] *= 2.0 ** rng.integers(-20, 10)
        elif kind == 11:
            x[i] = np.where(rng.random(cols) < 0.97, 0, x[i])
        elif kind == 12:
            x[i] = np.where(rng.random(cols) < 0.5, -0.0, 1e-6)
        elif kind == 13:
            x[i] *= 2e-38 if i % 32 == 13 else 1e-30
        elif kind == 14:
            x[i] = rng.integers(-3, 4, cols) * 2.0**-24
    return np.clip(x, -6e4, 6e4)


def write_model(folder, dtype, seed, n_layer=2):
    """A Llama whose weights are the worst that an encoder can meet."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 128, "intermediate_size": 256,
              "num_hidden_layers": n_layer, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 96,
              "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
              "tie_word_embeddings": False, "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype]}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens": (96, 128), "lm_head": (96, 128)}
    for i in range(n_layer):
        base = f"model.layers.{i}."
        shapes |= {base + "self_attn.q_proj": (128, 128), base + "self_attn.k_proj": (64, 128), base + "self_attn.v_proj": (64, 128),
                   base + "self_attn.o_proj": (128, 128), base + "mlp.gate_proj": (256, 128), base + "mlp.up_proj": (256, 128),
                   base + "mlp.down_proj": (128, 256)}
    weights = {name + ".weight": mx.array(adversarial(rng, *shape)).astype(DTYPES[dtype]) for name, shape in shapes.items()}
    for name in ["model.norm"] + [f"model.layers.{i}.{n}" for i in range(n_layer) for n in ("input_layernorm", "post_attention_layernorm")]:
        weights[name + ".weight"] = mx.array(rng.standard_normal(128).astype(np.float32)).astype(DTYPES[dtype])
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    return weights


def quantizer_equality(temp):
    """All widths, groups and types, and the FP modes: bytes of mx.quantize."""
    n = 0
    for seed, dtype in enumerate(DTYPES):
        src = temp / f"adversarial-{dtype}"
        weights = write_model(src, dtype, seed)
        types = [(f"{bits}bit-g{group}", "affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
        types += [(name, name, *form) for name, form in FP_MODES.items()]
        for name, mode, bits, group in types:
            convert(src, temp / "out", "--quantize", name)
            got = load(temp / "out")
            for key, w in weights.items():
                if w.ndim == 1:
                    check(same(got[key], w), f"{dtype} {name} {key}")
                    continue
                want = mx.quantize(w, group_size=group, bits=bits, mode=mode)
                path = key.removesuffix(".weight")
                for part, value in zip((".weight", ".scales", ".biases"), want):
                    if mode.startswith("mx"):
                        # An exponent below -127 wraps around in MLX.
                        fine = np.repeat(np.array(want[1]) < 0xF0, group * bits // 32 if part == ".weight" else 1, axis=1)
                        ok = np.array_equal(np.array(got[path + part])[fine], np.array(value)[fine])
                        check(fine.mean() > 0.9, f"{dtype} {name} {key}: too little is compared")
                    else:
                        ok = same(got[path + part], value)
                    check(ok, f"{dtype} {name} {path + part}")
                    n += 1
            q = config_of(temp / "out")["quantization"]
            check(q == {"group_size": group, "bits": bits, "mode": mode}, f"{dtype} {name}: {q}")
    print(f"{n} tensors compared with mx.quantize")


def logits(folder, ids):
    model, _ = mlx_lm.utils.load_model(pathlib.Path(folder))
    return np.array(model(mx.array([ids]))[0].astype(mx.float32)).astype(np.float64)


def error(a, b):
    return float(np.abs(a - b).max() / max(1e-9, np.abs(b).max()))


def tiny_logits(temp):
    """HF -> MLX: mlx-lm loads it and gives transformers' logits within the type's error."""
    cases = [(TINY, c) for c in json.loads((TINY / "manifest.json").read_text())["cases"] if c["container"] == "hf"]
    cases += [(LAYOUTS, c) for c in json.loads((LAYOUTS / "manifest.json").read_text())["cases"]]
    n, others = 0, []
    for root, c in cases:
        if c["name"] in OTHER_IN_MLX_LM:
            continue
        src, want = root / c["model"], np.load(root / c["logits"]).astype(np.float64)
        limit = {"f32": 10 * c["tolerance"], "f16": 0.02, "bf16": 0.12}
        for dtype in DTYPES:
            made = convert(src, temp / "out", "--dtype", dtype)
            check(made["exact"] or dtype != "f32", f"{c['name']} {dtype}: exact is {made['exact']}")
            try:
                got = logits(temp / "out", c["ids"])
            except Exception as e:  # what mlx-lm cannot load, it must not be able to load from the source either
                try:
                    logits(src, c["ids"])
                    check(False, f"{c['name']} {dtype}: {e}")
                except Exception:
                    others.append(c["name"])
                continue
            off = error(got.reshape(want.shape), want)
            check(off <= limit[dtype], f"{c['name']} {dtype}: error {off:g}")
            n += 1
    print(f"{n} conversions give transformers' logits; mlx-lm has no or other numbers for {sorted(set(others))}")
    check(n >= 36, "too few logits were compared")


def native_tokenizers(temp):
    """tokenizer.json made from SentencePiece and Tekken files: transformers gives the ids that the source's own file gives."""
    texts = ["Hello, world!", " leading", "a  b", "don't stop", "x\n\ny\t z", "1234", "\u65e5\u672c\u8a9e \u00e9t\u00e9", "the theme of it"]
    for name in ("native", "native-pth", "bin"):
        src = LAYOUTS / "models" / name
        convert(src, temp / "out")
        ours = AutoTokenizer.from_pretrained(temp / "out")
        for text in texts:
            done = subprocess.run([ANEMO, "tokenize", src, "--json", "--", text], capture_output=True, text=True, check=True)
            want = json.loads(done.stdout)["ids"]
            got = ours(text, add_special_tokens=False)["input_ids"]
            check(got == want, f"{name}: {text!r}: {got}, expected {want}")


def like_mlx_lm(temp, src, options, **kwargs):
    """What mlx_lm.convert writes: every tensor, and the quantization section."""
    shutil.rmtree(temp / "theirs", ignore_errors=True)
    mlx_lm_convert(str(src), str(temp / "theirs"), **kwargs)
    convert(src, temp / "out", *options)
    ours, theirs = load(temp / "out"), load(temp / "theirs")
    name = f"{src.name} {' '.join(options)}"
    check(set(ours) == set(theirs), f"{name}: other tensors: {sorted(set(ours) ^ set(theirs))[:4]}")
    for key in set(ours) & set(theirs):
        check(same(ours[key], theirs[key]), f"{name}: {key}")
    a, b = config_of(temp / "out").get("quantization"), config_of(temp / "theirs").get("quantization")
    group = kwargs.get("q_group_size")
    for value in (b or {}).values():
        if isinstance(value, dict) and value.get("group_size", 0) is None:
            value["group_size"] = group or 64
    check(a == b, f"{name}: quantization section {str(a)[:200]} {str(b)[:200]}")


def dequantized(weights, q, key):
    path = key.removesuffix(".weight")
    if path + ".scales" not in weights:
        return weights[key].astype(mx.float32)
    form = q | (q.get(path) or {})
    return mx.dequantize(weights[key], weights[path + ".scales"].astype(mx.float32),
                         weights[path + ".biases"].astype(mx.float32), group_size=form["group_size"], bits=form["bits"])


def recipes(temp):
    """The mixed recipes and exceptions by name, on a model of nine layers, as mlx-lm's own functions quantize it."""
    src = temp / "nine"
    write_model(src, "bf16", 9, n_layer=9)
    for recipe in RECIPES:
        for group in (64, 32):
            model, config = mlx_lm.utils.load_model(src)
            model, config = mlx_lm.utils.quantize_model(
                model, config, group, None, quant_predicate=mixed_quant_predicate_builder(recipe, model, group))
            want = dict(tree_flatten(model.parameters()))
            convert(src, temp / "out", "--quantize", f"{recipe}-g{group}")
            got = load(temp / "out")
            check(set(got) == set(want), f"{recipe}: other tensors")
            check(all(same(got[k], want[k]) for k in want if k in got), f"{recipe}: other bytes")
            check(config_of(temp / "out")["quantization"] == config["quantization"], f"{recipe}-g{group}: quantization section")
    convert(src, temp / "out", "--quantize", "4bit", "--tensor-type", "down_proj=8bit-g32", "--tensor-type", "layers.3.=none")
    q = config_of(temp / "out")["quantization"]
    check(q["model.layers.0.mlp.down_proj"] == {"bits": 8, "group_size": 32, "mode": "affine"}, "down_proj has its own type")
    check(q["model.layers.3.mlp.up_proj"] is False, "layer 3 is not quantized")
    logits(temp / "out", list(range(20)))


def smollm(temp, models):
    """A real model: GGUF -> HF, and that as mlx-lm's own converter would convert it."""
    gguf, hf = models / "smollm2-135m-instruct-q4_1.gguf", temp / "smollm"
    if not gguf.exists():
        print(f"skipped: {gguf} is not here")
        return False
    convert(gguf, hf, "--dtype", "bf16", to="hf")
    check(len(AutoTokenizer.from_pretrained(hf)) > 49000, "transformers reads the tokenizer")
    exact = temp / "exact"
    made = convert(gguf, exact)
    check(made["exact"], "GGUF -> MLX is exact")
    kept, plain, q = load(exact), load(hf), config_of(exact)["quantization"]
    for key, value in plain.items():
        want = dequantized(kept, q, key)
        check(same(value, want.astype(value.dtype)), f"GGUF -> HF: {key}")
    like_mlx_lm(temp, hf, ["--quantize", "4bit"], quantize=True)
    like_mlx_lm(temp, hf, ["--quantize", "mixed_3_4"], quantize=True, quant_predicate="mixed_3_4", q_group_size=64)
    like_mlx_lm(temp, hf, ["--dtype", "f16", "--quantize", "8bit-g32"], quantize=True, q_bits=8, q_group_size=32, dtype="float16")
    like_mlx_lm(temp, hf, ["--quantize", "nvfp4"], quantize=True, q_mode="nvfp4")
    # MLX -> MLX: decoded in f32, so that nothing is lost.
    check(convert(exact, temp / "out", "--quantize", "none", "--dtype", "f32")["exact"], "MLX -> MLX in f32 is exact")
    for key, value in load(temp / "out").items():
        check(same(value, dequantized(kept, q, key)), f"MLX -> MLX: {key}")
    return True


def libggml():
    folder = pathlib.Path(llama_cpp.__file__).resolve().parents[1]
    return ctypes.CDLL(str(sorted(folder.glob("**/libggml-base.*"))[0]))


def k_types(temp):
    """Q4_K, Q5_K and the legacy types: what mx.dequantize gives is what libggml decodes, bit for bit."""
    ggml, n = libggml(), 0
    names = {"token_embd": "model.embed_tokens", "output": "lm_head", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj"}
    for kind in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k"):
        src = TINY / "types" / f"type-{kind}.gguf"
        check(convert(src, temp / "out")["exact"], f"{kind} is exact")
        got, file = load(temp / "out"), Gguf(src)
        q = config_of(temp / "out")["quantization"]
        decode = getattr(ggml, f"dequantize_row_{kind.replace('_k', '_K')}")
        for name, (type_name, shape, data) in file.tensors.items():
            parts = name.removesuffix(".weight").split(".")
            if type_name.lower() != kind or parts[-1] not in names:
                continue
            want = np.empty(int(np.prod(shape)), np.float32)
            buffer = ctypes.create_string_buffer(data, len(data))
            decode(buffer, want.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(want.size))
            path = names[parts[-1]] if parts[0] != "blk" else f"model.layers.{parts[1]}.{names[parts[2]]}"
            form = q | (q.get(path) or {})
            value = mx.dequantize(got[path + ".weight"], got[path + ".scales"].astype(mx.float32),
                                  got[path + ".biases"].astype(mx.float32), group_size=form["group_size"], bits=form["bits"])
            check(np.array_equal(np.array(value).ravel(), want), f"{kind}: {name}")
            n += 1
    print(f"{n} tensors of ggml's types dequantize to libggml's values")
    check(n >= 20, "too few tensors of ggml's types were compared")


def main():
    mx.set_default_device(mx.cpu)
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    models = pathlib.Path(os.environ.get("ANEMO_TEST_MODELS") or os.path.join(home, "anemo", "models"))
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        quantizer_equality(temp)
        tiny_logits(temp)
        k_types(temp)
        recipes(temp)
        native_tokenizers(temp)
        here = smollm(temp, models)
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0 if here else 77)


main()

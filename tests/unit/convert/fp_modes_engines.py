#!/usr/bin/env python3
"""MLX directories in the FP modes (mxfp4, mxfp8, nvfp4) as sources, against mx.dequantize, mlx-lm and libggml.

Run it with the Python of the engines' virtual environment. Environment: ANEMO_BUILD (folder of the executable). Exit code
77: an engine is not here.
"""
import ctypes
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
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
from gguf_read import Gguf  # noqa: E402

ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
TOKENIZER = HERE.parents[2] / "golden" / "convert" / "models" / "hf-f32"
VOCAB = 288
MODES = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        if len(failures) < 20:
            print(f"FAILED: {what}")


def anemo(*args):
    return subprocess.run([ANEMO, *map(str, args)], capture_output=True, text=True)


def convert(src, dst, *options, to="mlx"):
    done = anemo("convert", src, dst, "--to", to, "--json", "--force", *options)
    if done.returncode:
        raise SystemExit(f"anemo convert {src} {options}: {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def load(folder):
    return mx.load(str(folder / "model.safetensors"))


def same(a, b):
    views = {mx.bfloat16: mx.uint16, mx.float32: mx.uint32}
    return a.dtype == b.dtype and a.shape == b.shape and bool(mx.all(a.view(views.get(a.dtype, a.dtype)) == b.view(views.get(b.dtype, b.dtype))))


def random_form(rng, mode, rows, cols):
    """Any codes and scales whose values are finite."""
    bits, group = MODES[mode]
    codes = rng.integers(0, 256, (rows, cols * bits // 8), dtype=np.uint8)
    scales = rng.integers(0, {"mxfp4": 253, "mxfp8": 246, "nvfp4": 256}[mode], (rows, cols // group), dtype=np.uint8)
    if mode == "mxfp8":
        codes[codes & 0x7F == 0x7F] = 0x7E
    if mode == "nvfp4":
        scales[scales & 0x7F == 0x7F] = 0x7E
    return mx.array(codes.view(np.uint32)), mx.array(scales)


def real_form(rng, mode, rows, cols, tame):
    x = rng.standard_normal((rows, cols)).astype(np.float32) * (0.1 if tame else 1)
    if not tame:
        x[1::8] = rng.standard_t(1.1, x[1::8].shape)
        x[2::8] = 0
        x[3::8] *= 2.0**-22
        x[4::8] = rng.integers(-12, 13, x[4::8].shape) * 0.5
        x[5::8] *= 1e-30
    bits, group = MODES[mode]
    return mx.quantize(mx.array(x), group_size=group, bits=bits, mode=mode)


def write_model(folder, mode_of, seed, tame=False):
    """mode_of(path): the mode of a module, or None for BF16. Gives the tensors and their values in f32."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    base = "model.layers.0."
    shapes = {"model.embed_tokens": (VOCAB, 128), "lm_head": (VOCAB, 128), base + "self_attn.q_proj": (128, 128),
              base + "self_attn.k_proj": (64, 128), base + "self_attn.v_proj": (64, 128), base + "self_attn.o_proj": (128, 128),
              base + "mlp.gate_proj": (256, 128), base + "mlp.up_proj": (256, 128), base + "mlp.down_proj": (128, 256)}
    tensors, values, section = {}, {}, {}
    for i, (path, shape) in enumerate(shapes.items()):
        mode = mode_of(path)
        if mode is None:
            tensors[path + ".weight"] = mx.array(rng.standard_normal(shape).astype(np.float32) * 0.1).astype(mx.bfloat16)
            values[path + ".weight"] = tensors[path + ".weight"].astype(mx.float32)
            section[path] = False
            continue
        bits, group = MODES[mode]
        codes, scales = real_form(rng, mode, *shape, tame) if tame or i % 2 else random_form(rng, mode, *shape)
        tensors |= {path + ".weight": codes, path + ".scales": scales}
        values[path + ".weight"] = mx.dequantize(codes, scales, group_size=group, bits=bits, mode=mode, dtype=mx.float32)
        section[path] = {"mode": mode, "bits": bits, "group_size": group}
    for name in ("model.norm", base + "input_layernorm", base + "post_attention_layernorm"):
        tensors[name + ".weight"] = mx.array(1 + 0.1 * rng.standard_normal(128).astype(np.float32)).astype(mx.bfloat16)
        values[name + ".weight"] = tensors[name + ".weight"].astype(mx.float32)
    forms = [v for v in section.values() if v]
    q = dict(forms[0])
    q |= {path: v for path, v in section.items() if v != forms[0]}
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 128, "intermediate_size": 256,
              "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": VOCAB,
              "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
              "tie_word_embeddings": False, "torch_dtype": "bfloat16", "quantization": q, "quantization_config": q}
    (folder / "config.json").write_text(json.dumps(config))
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, metadata={"format": "mlx"})
    return tensors, values


def form_of(config, path):
    q = config["quantization"]
    own = q.get(path, q)
    return own["mode"], own["bits"], own["group_size"]


def compare(got, want, what):
    check(set(got) == set(want), f"{what}: other tensors {sorted(set(got) ^ set(want))[:4]}")
    for key in set(got) & set(want):
        check(same(got[key], want[key]), f"{what}: {key}")


def sources(temp, name, mode_of):
    src, out = temp / name, temp / "out"
    tensors, values = write_model(src, mode_of, len(name))
    convert(src, out, "--quantize", "none", "--dtype", "f32")
    compare(load(out), values, f"{name} in f32")
    check("quantization" not in json.loads((out / "config.json").read_text()), f"{name}: no quantization is left")
    convert(src, out, "--dtype", "bf16", to="hf")
    compare(load(out), {k: v.astype(mx.bfloat16) for k, v in values.items()}, f"{name} as hf")
    made = convert(src, out)
    check(made["exact"], f"{name}: a copy is exact")
    compare(load(out), tensors, f"{name} copied")
    a, b = (json.loads((d / "config.json").read_text()) for d in (src, out))
    for key in (k.removesuffix(".scales") for k in tensors if k.endswith(".scales")):
        check(form_of(a, key) == form_of(b, key), f"{name}: section of {key}: {form_of(b, key)}")
    check(b["torch_dtype"] == "bfloat16", f"{name}: {b['torch_dtype']}")
    done = anemo("convert", src, temp / "again", "--to", "mlx", "--quantize", "4bit")
    check(done.returncode == 3 and "--allow-requantize" in done.stderr, f"{name} requantized: {done.stderr}")
    done = anemo("convert", src, temp / f"{name}.none.gguf", "--to", "gguf")
    check(name == "mxfp4" or done.returncode == 3 and "no exact form in GGUF" in done.stderr, f"{name} to GGUF: {done.stderr}")


def gguf(temp, mode):
    """Floats in GGUF; these have no rows that are reordered."""
    src = temp / f"gguf-{mode}"
    _, values = write_model(src, lambda path: mode, 5)
    for path in TOKENIZER.iterdir():
        if path.name.startswith("tokenizer"):
            (src / path.name).write_bytes(path.read_bytes())
    options = ["--quantize", "F32"] if mode == "mxfp4" else ["--dtype", "f32"]  # mxfp4 has a form of its own there
    convert(src, temp / "out.gguf", *options, to="gguf")
    file = Gguf(temp / "out.gguf")
    for ours, theirs in (("token_embd", "model.embed_tokens"), ("blk.0.ffn_gate", "model.layers.0.mlp.gate_proj"),
                         ("blk.0.attn_v", "model.layers.0.self_attn.v_proj"), ("output", "lm_head")):
        kind, _, data = file.tensors[ours + ".weight"]
        want = np.array(values[theirs + ".weight"].view(mx.uint32)).tobytes()
        check(kind == "F32" and bytes(data) == want, f"{mode} in GGUF: {ours}")


def mxfp4_blocks(temp):
    """mxfp4 -> MXFP4: the values that libggml decodes; and back, the same bytes."""
    src, file, back = temp / "gguf-mxfp4", temp / "mxfp4.gguf", temp / "back"
    tensors, values = write_model(temp / "blocks", lambda path: "mxfp4", 11)
    for path in (temp / "blocks").iterdir():
        (src / path.name).write_bytes(path.read_bytes())
    check(convert(src, file, to="gguf")["exact"], "mxfp4 -> MXFP4 is exact")
    check(convert(file, back)["exact"], "MXFP4 -> mxfp4 is exact")
    got = load(back)
    for key in tensors:
        if "norm" not in key:
            check(same(got[key], tensors[key]), f"mxfp4 -> MXFP4 -> mxfp4: {key}")
    folder = pathlib.Path(llama_cpp.__file__).resolve().parents[1]
    ggml = ctypes.CDLL(str(sorted(folder.glob("**/libggml-base.*"))[0]))
    for ours, theirs in (("token_embd", "model.embed_tokens"), ("blk.0.ffn_down", "model.layers.0.mlp.down_proj"),
                         ("blk.0.attn_v", "model.layers.0.self_attn.v_proj"), ("output", "lm_head")):
        kind, shape, data = Gguf(file).tensors[ours + ".weight"]
        want = np.empty(int(np.prod(shape)), np.float32)
        ggml.dequantize_row_mxfp4(data, want.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(want.size))
        check(kind == "MXFP4" and np.array_equal(want, np.array(values[theirs + ".weight"]).ravel()), f"libggml decodes {ours}")


def running(temp, mode):
    """The native engine's logits are those of the decoded model where neither rounds activations, and of mlx-lm within its
    rounding; mlx says what to do."""
    src, plain = temp / f"run-{mode}", temp / "plain"
    write_model(src, lambda path: mode, 7, tame=True)
    convert(src, plain, "--quantize", "none", "--dtype", "f32")
    ids, rows = [1, 17, 3, VOCAB - 1, 40, 8], []
    for folder, options in ((src, ("--compute", "f32")), (plain, ("--compute", "f32")), (src, ())):
        file = temp / "logits.npy"
        done = anemo("logits", folder, "--engine", "native", "--ids", ",".join(map(str, ids)), "-o", file, *options)
        check(done.returncode == 0, f"{mode}: {done.stderr}")
        rows.append(np.load(file).reshape(-1, VOCAB).astype(np.float64))
    check(np.array_equal(rows[0], rows[1]), f"{mode}: other logits than the decoded model")
    done = anemo("logits", src, "--engine", "mlx", "--ids", "1,2", "-o", temp / "none.npy")
    check(done.returncode == 3 and f"quantized in mode {mode}" in done.stderr and "anemo convert" in done.stderr,
          f"{mode} in mlx: {done.returncode}: {done.stderr}")
    model, _ = mlx_lm.utils.load_model(src)
    want = np.array(model(mx.array([ids]))[0].astype(mx.float32)).astype(np.float64)[-len(rows[2]):]
    error = np.abs(rows[2] - want).max() / np.abs(want).max()
    check(error < 0.05, f"{mode}: logits differ from mlx-lm's by {error:g}")
    print(f"{mode}: logits differ from mlx-lm's by {error:.2g} of the largest")


def main():
    mx.set_default_device(mx.cpu)
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        for mode in MODES:
            sources(temp, mode, lambda path: mode)
            gguf(temp, mode)
            running(temp, mode)
        mxfp4_blocks(temp)
        names = list(MODES)
        sources(temp, "mixed", lambda path: None if "v_proj" in path else names[len(path) % 3])
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


main()

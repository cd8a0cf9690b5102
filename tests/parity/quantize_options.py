#!/usr/bin/env python3
"""`anemo quantize` with options against llama.cpp's own quantizer with the same ones: types and bytes of every tensor.

quantize_options.py [MODEL:MIX,MIX …]: with no model, small random ones (dense, tied, with eight and with four experts) in every
mix; with some, those with importance matrices. The matrices are random and written in both file forms.
Runs in the engines' Python (llama_cpp); environment: ANEMO_BUILD.
"""
import ctypes
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import gguf_file  # noqa: E402

ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
MIXES = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13,
         "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "F16": 1}
FEW = ["Q4_0", "Q3_K_M", "Q4_K_M", "IQ4_XS", "F16"]
TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q5_1": 7, "q8_0": 8, "q2_k": 10, "q4_k": 12, "q6_k": 14, "iq4_nl": 20, "bf16": 30}
N_LAYER, N_COL = 16, 256

# Options of ours, then what the same is for llama.cpp: fields of its parameters and types by pattern.
CASES = [
    (["--pure"], {"pure": True}, []),
    (["--keep-output"], {"quantize_output_tensor": False}, []),
    (["--output-tensor-type", "q5_1"], {"output_tensor_type": 7}, []),
    (["--token-embedding-type", "Q2_K"], {"token_embedding_type": 10}, []),
    (["--output-tensor-type", "f16", "--token-embedding-type", "iq4_nl", "--pure"],
     {"output_tensor_type": 1, "token_embedding_type": 20, "pure": True}, []),
    (["--tensor-type", "attn_v=q8_0"], {}, [("attn_v", 8)]),
    (["--tensor-type", r"blk\.([0-3]|1[0-2])\.(ffn_down|attn_v)=q8_0", "--tensor-type", "ffn_down=Q6_K", "--tensor-type",
      "TOKEN_EMBD=bf16"],
     {}, [(r"blk\.([0-3]|1[0-2])\.(ffn_down|attn_v)", 8), ("ffn_down", 14), ("token_embd", 30)]),
    (["--tensor-type", r"\.[0-9]{1,1}\.attn=q4_k", "--tensor-type", "^out=f32", "--pure"],
     {"pure": True}, [(r"\.[0-9]{1,1}\.attn", 12), ("^out", 0)]),
]


def anemo(*args):
    done = subprocess.run([ANEMO, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"anemo {' '.join(map(str, args))}: exit {done.returncode}: {done.stderr}")


def theirs(source, target, mix, fields, patterns, imatrix):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = MIXES[mix], 2
    for k, v in fields.items():
        setattr(params, k, v)
    rows = (llama_cpp.llama_model_tensor_override * (len(patterns) + 1))(
        *[(p.encode(), t) for p, t in patterns], (None, 0))
    if patterns:
        params.tt_overrides = rows
    entries = (llama_cpp.llama_model_imatrix_data * (len(imatrix) + 1))()
    keep = []
    for i, (name, v) in enumerate(imatrix.items()):
        data = (ctypes.c_float * v.size).from_buffer_copy(v.tobytes())
        keep.append(data)
        entries[i].name, entries[i].size = name.encode(), v.size
        entries[i].data = ctypes.cast(data, type(entries[i].data))
    if imatrix:
        params.imatrix = entries
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params)
    if code:
        sys.exit(f"llama_model_quantize: {code} for {source} {mix} {fields} {patterns}")


def compare(source, mix, options, temp, complaints, fields={}, patterns=[], imatrix={}):
    """Quantize both ways; the number of tensors compared."""
    a, b = temp / "ours.gguf", temp / "theirs.gguf"
    anemo("quantize", source, a, mix, "-q", "--force", *options)
    theirs(source, b, mix, fields, patterns, imatrix)
    ours, other = gguf_file.read(a)[1], gguf_file.read(b)[1]
    what = f"{source.name} {mix} {' '.join(map(str, options))}"
    if list(ours) != list(other):
        complaints.append(f"{what}: other tensors or another order")
    for name in ours.keys() & other.keys():
        if ours[name][0] != other[name][0]:
            complaints.append(f"{what}: {name} is type {ours[name][0]}, llama.cpp makes it {other[name][0]}")
        elif ours[name][1] != other[name][1]:
            complaints.append(f"{what}: {name} (type {ours[name][0]}) has other bytes")
    return len(ours)


def make_model(path, rng, n_expert=0, tied=False, n_head=8, n_head_kv=2):
    """A model with the names and keys of the Llama family; its matrices have few rows, which no quantizer minds."""
    keys = {"general.architecture": "llama", "general.name": path.stem, "llama.block_count": N_LAYER,
            "llama.context_length": 128, "llama.embedding_length": N_COL, "llama.feed_forward_length": N_COL,
            "llama.attention.head_count": n_head, "llama.attention.head_count_kv": n_head_kv,
            "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0,
            "llama.rope.dimension_count": N_COL // n_head, "llama.vocab_size": 32}
    if n_expert:
        keys |= {"llama.expert_count": n_expert, "llama.expert_used_count": 2}

    def matrix(*shape):
        return (rng.standard_normal(shape) * 0.05 * (1 + 9 * (rng.random(shape) < 0.01))).astype(np.float16)

    arrays = {"token_embd.weight": matrix(32, N_COL), "output_norm.weight": np.ones(N_COL, np.float32)}
    if not tied:
        arrays["output.weight"] = matrix(32, N_COL)
    for i in range(N_LAYER):
        blk = f"blk.{i}."
        arrays |= {blk + n + ".weight": np.ones(N_COL, np.float32) for n in ("attn_norm", "ffn_norm")}
        arrays |= {blk + n + ".weight": matrix(8, N_COL) for n in ("attn_q", "attn_k", "attn_v", "attn_output")}
        if n_expert:
            arrays[blk + "ffn_gate_inp.weight"] = matrix(n_expert, N_COL).astype(np.float32)
        lead = (n_expert, 4) if n_expert else (8,)
        for n in ("ffn_gate", "ffn_up", "ffn_down"):
            arrays[blk + n + ("_exps" if n_expert else "") + ".weight"] = matrix(*lead, 288 if n == "ffn_up" else N_COL)
    gguf_file.write(path, keys, arrays)
    return {n: a.shape for n, a in arrays.items()}


def make_imatrix(temp, shapes, rng):
    """Random sums in both forms: {options: what each entry means}. Some matrices have no entry, one expert was never used."""
    old, new, old_values, new_values = b"", {}, {}, {}
    for name, shape in shapes.items():
        if len(shape) < 2 or name.endswith("attn_k.weight") and ".3." in name or "token_embd" in name:
            continue
        n_expert = shape[0] if len(shape) == 3 else 1
        sums = (rng.random((n_expert, shape[-1])) ** 3 * 50).astype(np.float32)
        counts = rng.integers(1, 300, n_expert)
        if n_expert > 1:
            counts[1], sums[1] = 0, 0
        old += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", int(counts[0]), sums.size) + sums.tobytes()
        old_values[name] = sums.ravel() / np.float32(counts[0])
        new[name + ".in_sum2"], new[name + ".counts"] = sums, counts.astype(np.float32)[:, None]
        new_values[name] = np.stack([s / np.float32(c) if c else np.ones_like(s) for s, c in zip(sums, counts)]).ravel()
    (temp / "im.dat").write_bytes(struct.pack("<i", len(old_values)) + old + struct.pack("<ii", 7, 4) + b"text")
    gguf_file.write(temp / "im.gguf", {"general.type": "imatrix", "imatrix.datasets": ["text"], "imatrix.chunk_count": 7,
                                       "imatrix.chunk_size": 512}, new)
    return {"im.dat": old_values, "im.gguf": new_values}


def with_imatrix(source, shapes, mixes, temp, rng, complaints):
    n = 0
    for file, values in make_imatrix(temp, shapes, rng).items():
        for mix in mixes:
            n += compare(source, mix, ["--imatrix", temp / file], temp, complaints, imatrix=values)
    return n


def random_models(temp, rng, complaints):
    n = 0
    kinds = {"dense": {}, "tied": {"tied": True}, "alone": {"n_head_kv": 4}, "experts8": {"n_expert": 8},
             "experts4": {"n_expert": 4}}
    for name, kind in kinds.items():
        source = temp / f"{name}.gguf"
        shapes = make_model(source, rng, **kind)
        for mix in MIXES:
            n += compare(source, mix, [], temp, complaints)
        n += with_imatrix(source, shapes, MIXES, temp, rng, complaints)
        for options, fields, patterns in CASES if name in ("dense", "tied", "experts8") else []:
            for mix in FEW:
                n += compare(source, mix, options, temp, complaints, fields, patterns)
    return n


def real_model(argument, temp, rng, complaints):
    name, _, mixes = argument.partition(":")
    data = os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local/share"
    path = pathlib.Path(name if "/" in name else f"{data}/anemo/models/{name}.gguf")
    if not path.exists():
        print(f"skipped: {path} is not there")
        sys.exit(77)
    source = temp / "real.gguf"
    anemo("quantize", path, source, "F16", "-q", "--allow-requantize")
    shapes = {}
    n_ff, n_embd = (gguf_file.read(source)[0]["llama." + k] for k in ("feed_forward_length", "embedding_length"))
    for tensor in gguf_file.read(source)[1]:
        if "norm" not in tensor:
            shapes[tensor] = (1, n_ff if "ffn_down" in tensor else n_embd)
    return with_imatrix(source, shapes, mixes.split(","), temp, rng, complaints)


def main():
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, None)
    complaints, rng = [], np.random.default_rng(20261125)
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        if len(sys.argv) > 1:
            n = sum(real_model(a, temp, rng, complaints) for a in sys.argv[1:])
        else:
            n = random_models(temp, rng, complaints)
    for line in complaints[:20]:
        print(line)
    print(f"{n} tensors compared, {len(complaints)} differences")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

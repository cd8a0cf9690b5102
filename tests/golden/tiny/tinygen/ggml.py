"""libggml's own quantizers and dequantizers, through ctypes: the oracle for every GGUF tensor type."""
import ctypes
import glob
import os

import gguf
import numpy as np

from . import containers
from .spec import bf16_bits

# Suffix of dequantize_row_ in libggml-base.
ROW_NAMES = {"Q2_K": "q2_K", "Q3_K": "q3_K", "Q4_K": "q4_K", "Q5_K": "q5_K", "Q6_K": "q6_K"}


class Ggml:
    def __init__(self, engines):
        found = glob.glob(os.path.join(engines, "lib", "python3*", "site-packages", "lib", "libggml-base.so"))
        if not found:
            raise SystemExit(f"{engines}: no llama-cpp-python with libggml-base.so in this environment")
        self.lib = ctypes.CDLL(found[0])
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [
            ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
            ctypes.c_void_p]

    def quantize(self, x, name):
        """float32 [n_row, n_col] -> (bytes [n_row, row_bytes] or a float array, its exact float32 value)."""
        if name == "F32":
            return x.astype("<f4"), x
        if name == "F16":
            h = x.astype("<f2")
            return h, h.astype(np.float32)
        if name == "BF16":
            b = bf16_bits(x)
            return b.view(np.uint8).reshape(x.shape[0], -1), (b.astype(np.uint32) << 16).view(np.float32)
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        x = np.ascontiguousarray(x, dtype=np.float32)
        packed = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
        n = self.lib.ggml_quantize_chunk(kind.value, x.ctypes.data, packed.ctypes.data, 0, x.shape[0],
                                         x.shape[1], None)
        if n != packed.nbytes:
            raise SystemExit(f"{name}: libggml wrote {n} bytes, expected {packed.nbytes}")
        row = getattr(self.lib, "dequantize_row_" + ROW_NAMES.get(name, name.lower()))
        row.restype, row.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        back = np.empty_like(x)
        row(packed.ctypes.data, back.ctypes.data, x.size)
        return packed, back


def type_of(mix, name):
    """The type that a mix gives to a matrix: by the last part of the tensor's name."""
    return mix.get(name.removesuffix(".weight").rsplit(".", 1)[-1], mix["base"])


def write_quantized(ggml, s, w, path, mix, vocab=None):
    """
    Writes the GGUF file with matrices quantized as `mix` says, vectors in F32. Gives the weights that the file
    holds, as float32 under Hugging Face names and in Hugging Face's row order.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    writer = containers.gguf_writer(s, path, vocab)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    held = {}
    by_gguf = {containers.gguf_name(n): n for n in w}
    for name, x in containers.gguf_tensors(s, w).items():
        if x.ndim < 2:
            writer.add_tensor(name, x.astype("<f4"))
            held[by_gguf[name]] = w[by_gguf[name]]
            continue
        kind = type_of(mix, name)
        data, back = ggml.quantize(x, kind)
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType[kind] if data.dtype == np.uint8
                          else None)
        heads = containers.heads_of(s, name)
        held[by_gguf[name]] = containers.to_hf_rows(back, heads) if heads else back
    containers.finish_gguf(writer)
    return held


def add_awkward_rows(w):
    """Rows that quantizers treat apart: all zero, constant, constant negative, one large value."""
    for name, x in w.items():
        if name.endswith(("up_proj.weight", "gate_proj.weight")):
            x[0], x[1], x[2] = 0.0, 0.01, -0.02
            x[3] *= 1e-3
            x[3, 5] = 1.5
    return w

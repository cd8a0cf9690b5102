#!/usr/bin/env python3
"""Writes blocks.txt and affine.txt: packed weights and the FNV-1a-32 of what they decode to.

Oracles: libggml-base of llama-cpp-python (0.3.36) and mlx (0.32.4), with numpy 2.4.6.
Usage: make_golden.py SITE_PACKAGES   (the folder that holds lib/libggml-base.so; run with that Python)

A line of blocks.txt:  TYPE N FNV_PACKED FNV_DECODED HEX
A line of affine.txt:  BITS GROUP SCALE_TYPE N FNV_DECODED HEX_CODES HEX_SCALES HEX_BIASES
"""
import ctypes
import os
import sys

import mlx.core as mx
import numpy as np

TYPES = {  # name: (id, elements, bytes, offsets of f16 numbers)
    "F16": (1, 1, 2, []), "BF16": (30, 1, 2, []),
    "Q4_0": (2, 32, 18, [0]), "Q4_1": (3, 32, 20, [0, 2]), "Q5_0": (6, 32, 22, [0]),
    "Q5_1": (7, 32, 24, [0, 2]), "Q8_0": (8, 32, 34, [0]), "Q2_K": (10, 256, 84, [80, 82]),
    "Q3_K": (11, 256, 110, [108]), "Q4_K": (12, 256, 144, [0, 2]), "Q5_K": (13, 256, 176, [0, 2]),
    "Q6_K": (14, 256, 210, [208]), "IQ4_NL": (20, 32, 18, [0]), "IQ4_XS": (23, 256, 136, [0]),
}
# formats.md 2.6: the packed bytes that the encoder must give for the vector below.
PACKED = {
    "Q4_0": "d296828b", "Q4_1": "b6e9394f", "Q5_0": "d4b6fb61", "Q5_1": "bbedd201", "Q8_0": "6e519f38",
    "Q2_K": "f58fbde2", "Q3_K": "95f8d585", "Q4_K": "672674d6", "Q5_K": "41d016eb", "Q6_K": "a6c82af0",
    "IQ4_NL": "5ebbdffa", "IQ4_XS": "fb61a671",
}


class Traits(ctypes.Structure):
    _fields_ = [("type_name", ctypes.c_char_p), ("blck_size", ctypes.c_int64),
                ("blck_size_interleave", ctypes.c_int64), ("type_size", ctypes.c_size_t),
                ("is_quantized", ctypes.c_bool), ("to_float", ctypes.c_void_p),
                ("from_float_ref", ctypes.c_void_p)]


def fnv(data):
    h = 0x811C9DC5
    for byte in bytes(data):
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{h:08x}"


def vector(n=1024):
    s, out = 1, []
    for _ in range(n):
        s = (s * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(((s >> 8) - 2**23) / 2**27)
    return np.array(out, dtype=np.float32)


def blocks(lib, out):
    rng = np.random.default_rng(20261123)
    to_float_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    lib.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                        ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    x = vector()
    for name, (ident, elems, size, halves) in TYPES.items():
        traits = lib.ggml_get_type_traits(ident).contents
        assert traits.type_name.decode().upper() == name.upper(), (traits.type_name, name)
        assert traits.blck_size == elems and traits.type_size == size
        to_float = to_float_type(traits.to_float)

        def emit(packed, n):
            decoded = np.zeros(n, np.float32)
            to_float(packed.ctypes.data, decoded.ctypes.data, n)
            out.write(f"{name} {n} {fnv(packed)} {fnv(decoded.tobytes())} {packed.tobytes().hex()}\n")

        packed = np.zeros(1024 // elems * size, np.uint8)
        lib.ggml_quantize_chunk(ident, x.ctypes.data, packed.ctypes.data, 0, 1, 1024, None)
        if name in PACKED:
            assert fnv(packed) == PACKED[name], name
        emit(packed, 1024)
        # Bytes that no encoder would write; only infinities and NaN are kept out.
        ugly = rng.integers(0, 256, 1024 // elems * size, dtype=np.uint8)
        words = ugly.reshape(-1, size)
        for offset in halves or [0]:
            words[:, offset + 1] &= 0xBF
        emit(ugly, 1024)


def affine(out):
    rng = np.random.default_rng(20261124)
    x = np.concatenate([vector(768), rng.standard_normal(256).astype(np.float32) * 3])
    x = mx.array(x).reshape(1, 1024)
    for scale_type, dtype in (("F16", mx.float16), ("BF16", mx.bfloat16), ("F32", mx.float32)):
        for bits in (2, 3, 4, 5, 6, 8):
            for group in (32, 64, 128):
                q, s, b = mx.quantize(x.astype(dtype), group_size=group, bits=bits)
                w = mx.dequantize(q, s.astype(mx.float32), b.astype(mx.float32), group_size=group,
                                  bits=bits)
                view = mx.uint32 if dtype == mx.float32 else mx.uint16
                fields = [np.array(q).tobytes(), np.array(s.view(view)).tobytes(),
                          np.array(b.view(view)).tobytes()]
                decoded = np.array(w).astype(np.float32).tobytes()
                out.write(f"{bits} {group} {scale_type} 1024 {fnv(decoded)} "
                          + " ".join(f.hex() for f in fields) + "\n")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    lib = ctypes.CDLL(os.path.join(sys.argv[1], "lib", "libggml-base.so"))
    lib.ggml_quantize_init(2)
    with open(os.path.join(here, "blocks.txt"), "w") as out:
        blocks(lib, out)
    with open(os.path.join(here, "affine.txt"), "w") as out:
        affine(out)


main()

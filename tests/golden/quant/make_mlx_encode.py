#!/usr/bin/env python3
"""Writes mlx_encode.txt: FNV-1a-32 of what mx.quantize (mlx 0.32.4, CPU) makes of a vector of 4096 awkward numbers.

Usage: make_mlx_encode.py   (with the Python of the engines' virtual environment)

A line:  MODE BITS GROUP TYPE FNV_CODES FNV_SCALES FNV_BIASES     (biases: "-" for the FP modes)
"""
import os

import mlx.core as mx
import numpy as np


def fnv(data):
    h = 0x811C9DC5
    for byte in bytes(data):
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{h:08x}"


def vector(n=4096):
    """The generator of make_golden.py; each 128 numbers are of one kind (test_mlx_encode.c has the same)."""
    s, out, f = 1, [], np.float32
    for i in range(n):
        s = (s * 1664525 + 1013904223) & 0xFFFFFFFF
        v, kind = f(((s >> 8) - 2**23) / 2**23), i // 128 % 8
        if i % 128 == 0:
            first = v
        out.append([v, f(0), first, -abs(v), abs(v) + f(1), f(round(float(v) * 16)) * f(0.5), v * f(2.0**-20),
                    v * v * v * v * v * f(3000)][kind])
    return mx.array(np.array(out, dtype=f)).reshape(1, n)


def words(a):
    return np.array(a.view(mx.uint16) if a.dtype in (mx.float16, mx.bfloat16) else a).tobytes()


def main():
    mx.set_default_device(mx.cpu)
    x = vector()
    forms = [("affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
    forms += [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "mlx_encode.txt"), "w") as out:
        for name, dtype in (("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)):
            for mode, bits, group in forms:
                parts = mx.quantize(x.astype(dtype), group_size=group, bits=bits, mode=mode)
                sums = [fnv(words(p)) for p in parts] + ["-"] * (3 - len(parts))
                out.write(f"{mode} {bits} {group} {name} {' '.join(sums)}\n")


main()

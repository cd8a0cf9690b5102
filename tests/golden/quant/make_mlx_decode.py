#!/usr/bin/env python3
"""Writes mlx_decode.txt: FNV-1a-32 of what mx.dequantize (mlx 0.32.4, CPU) makes of the FP modes in f32.

Usage: make_mlx_decode.py   (with the Python of the engines' virtual environment)

256 groups with the scale bytes 0 to 255 and random codes. What is not finite counts as one NaN: a scale byte of 255 stands
for NaN, and mlx multiplies by infinity there.

A line:  MODE BITS GROUP N_FINITE FNV
"""
import os

import mlx.core as mx
import numpy as np


def fnv(data):
    h = 0x811C9DC5
    for byte in bytes(data):
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{h:08x}"


def codes(n):
    """test_mlx_decode.c has the same."""
    s, out = 1, np.empty(n, np.uint8)
    for i in range(n):
        s = (s * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = s >> 24
    return out


def main():
    mx.set_default_device(mx.cpu)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "mlx_decode.txt"), "w") as out:
        for mode, bits, group in (("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)):
            w = mx.array(codes(256 * group * bits // 8).view(np.uint32)).reshape(1, -1)
            scales = mx.array(np.arange(256, dtype=np.uint8)).reshape(1, -1)
            x = np.array(mx.dequantize(w, scales, group_size=group, bits=bits, mode=mode, dtype=mx.float32))
            finite = np.isfinite(x)
            words = np.where(finite, x.view(np.uint32), 0x7FC00000).astype(np.uint32)
            out.write(f"{mode} {bits} {group} {finite.sum()} {fnv(words.tobytes())}\n")


main()

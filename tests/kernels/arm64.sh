#!/bin/sh
# kcheck for 64-bit ARM: cross-built and run under qemu, once on a processor with every feature and once on one
# without the dot product. Exit 77 (skipped) where compiler or emulator are absent.
set -eu
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
build="$ANEMO_BUILD/arm64"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/arm64-toolchain.cmake" >/dev/null
cmake --build "$build" --target kcheck >/dev/null
qemu-aarch64 -cpu max "$build/tests/kernels/kcheck" --rounds=30
qemu-aarch64 -cpu cortex-a72 "$build/tests/kernels/kcheck" --level=neon --rounds=30 --op='[!u]*'

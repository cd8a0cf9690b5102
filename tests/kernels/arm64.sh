#!/bin/sh
# kcheck for 64-bit ARM: cross-built and run under qemu, each level on a processor that has it and nothing beyond it.
# Exit 77 (skipped) where compiler or emulator are absent.
set -eu
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
build="$ANEMO_BUILD/arm64"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/arm64-toolchain.cmake" >/dev/null
cmake --build "$build" --target kcheck >/dev/null
# PROCESSOR LEVEL ROUNDS: with --level kcheck fails when the processor lacks that level.
while read -r cpu level rounds; do
    echo "$level on $cpu"
    qemu-aarch64 -cpu "$cpu" "$build/tests/kernels/kcheck" --level="$level" --rounds="$rounds" </dev/null
done <<'END'
max i8mm 30
max scalar 30
cortex-a76 dotprod 10
cortex-a72 neon 10
END

#!/bin/bash
# Install into an empty folder, then build and run the consumer against the installed tree alone: by pkg-config
# (shared and static) and by the CMake package. The installed program must start from its new place.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/moved
consumer=$PWD/tests/e2e/consumer

cmake --install "$ANEMO_BUILD" --prefix "$dir/installed" >"$dir/log" || { cat "$dir/log"; exit 1; }
mv "$dir/installed" "$prefix" # nothing in it may depend on where it was installed
version=$("$prefix/bin/anemo" version)
echo "$version"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name anemo.pc)")
export PKG_CONFIG_PATH
libdir=$(dirname "$(find "$prefix" -name libanemo.a)")
sanitize=()
if [ -n "${ANEMO_SANITIZE:-}" ]; then sanitize=("-fsanitize=$ANEMO_SANITIZE"); fi

# shellcheck disable=SC2046 # flags are words
cc -std=c99 "${sanitize[@]}" "$consumer/main.c" -o "$dir/shared" $(pkg-config --cflags --libs anemo)
LD_LIBRARY_PATH=$libdir "$dir/shared"

# Static: our archive with the shared libraries of the system that it names.
# shellcheck disable=SC2046
cc -std=c99 "${sanitize[@]}" "$consumer/main.c" -o "$dir/static" $(pkg-config --cflags anemo) "$libdir/libanemo.a" \
    $(pkg-config --libs $(pkg-config --print-requires-private anemo | cut -d' ' -f1)) -lm -pthread
"$dir/static"

cmake -S "$consumer" -B "$dir/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_FLAGS="${sanitize[*]:-}" >"$dir/log" 2>&1 && cmake --build "$dir/build" >>"$dir/log" 2>&1 ||
    { cat "$dir/log"; exit 1; }
"$dir/build/consumer"
"$dir/build/consumer_shared"

[ "anemo $(pkg-config --modversion anemo)" = "$version" ] ||
    { echo "anemo.pc and the program name different versions" >&2; exit 1; }

#!/bin/bash
# Install into an empty folder, move it, then build and run examples/libanemo against the installed tree alone: by
# pkg-config (shared and static) and by the CMake package. The installed program must start from its new place.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/moved
example=$PWD/examples/libanemo
model=$PWD/tests/golden/tiny/files/spm.gguf

cmake --install "$ANEMO_BUILD" --prefix "$dir/installed" >"$dir/log" || { cat "$dir/log"; exit 1; }
mv "$dir/installed" "$prefix" # nothing in it may depend on where it was installed
version=$("$prefix/bin/anemo" version)
echo "$version"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name anemo.pc)")
export PKG_CONFIG_PATH
libdir=$(dirname "$(find "$prefix" -name libanemo.a)")
flags=(-std=c99 -Wall -Wextra -Werror)
if [ -n "${ANEMO_SANITIZE:-}" ]; then flags+=("-fsanitize=$ANEMO_SANITIZE"); fi

# The libraries are one: every build of the example continues the text in the same way, and refuses in the same way.
expected=
try()
{
    local out got=0
    out=$("$1" "$model" "light" 12) || { echo "$1 failed" >&2; exit 1; }
    [ -n "$out" ] || { echo "$1 generated nothing" >&2; exit 1; }
    if [ "$out" != "${expected:-$out}" ]; then
        printf '%s generated "%s", the first build "%s"\n' "$1" "$out" "$expected" >&2
        exit 1
    fi
    expected=$out
    "$1" "$dir/absent.gguf" "light" 1 2>"$dir/log" >&2 || got=$?
    if [ "$got" -ne 4 ] || ! grep -F "absent.gguf" "$dir/log" >/dev/null; then
        echo "$1: an absent model gave exit $got, not 4 with its name" >&2
        exit 1
    fi
}

# shellcheck disable=SC2046 # flags are words
cc "${flags[@]}" "$example/main.c" -o "$dir/shared" $(pkg-config --cflags --libs anemo) -Wl,-rpath,"$libdir"
try "$dir/shared"

# Static: our archive with the shared libraries of the system that it names.
# shellcheck disable=SC2046
cc "${flags[@]}" "$example/main.c" -o "$dir/static" $(pkg-config --cflags anemo) "$libdir/libanemo.a" \
    $(pkg-config --libs $(pkg-config --print-requires-private anemo | cut -d' ' -f1)) -lm -pthread
try "$dir/static"

cmake -S "$example" -B "$dir/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_FLAGS="${flags[*]:1}" >"$dir/log" 2>&1 && cmake --build "$dir/build" >>"$dir/log" 2>&1 ||
    { cat "$dir/log"; exit 1; }
try "$dir/build/generate"
try "$dir/build/generate_shared"

[ "anemo $(pkg-config --modversion anemo)" = "$version" ] ||
    { echo "anemo.pc and the program name different versions" >&2; exit 1; }

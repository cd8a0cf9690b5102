#!/bin/bash
# Each public header stands alone: it compiles by itself, twice in one file, as C99 and as C++, without a warning.
set -euo pipefail
cc=${CC:-cc}
cxx=${CXX:-c++}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0
n_header=0
for header in include/anemo/*.h; do
    name=anemo/${header##*/}
    n_header=$((n_header + 1))
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$name" "$name" >"$dir/one.c"
    cp "$dir/one.c" "$dir/one.cpp"
    warnings=(-Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only)
    "$cc" -std=c99 -Wstrict-prototypes "${warnings[@]}" "$dir/one.c" || { echo "$name: not C99" >&2; status=1; }
    if command -v "$cxx" >/dev/null; then
        "$cxx" -std=c++11 "${warnings[@]}" "$dir/one.cpp" || { echo "$name: not C++" >&2; status=1; }
    else
        echo "no C++ compiler: $name was tried as C only" >&2
    fi
done
[ "$n_header" -gt 0 ] || { echo "no public header was found" >&2; status=1; }
exit "$status"

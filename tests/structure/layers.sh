#!/bin/bash
# The tree keeps to src/LAYERS, and the check that says so can fail: each kind of offence is tried on a small tree.
set -euo pipefail
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
status=0

# offend TEXT FILE LINE: the check names TEXT when LINE is added to FILE of a good tree.
offend()
{
    local out
    rm -rf "$temp/src"
    mkdir -p "$temp/src/base" "$temp/src/os"
    printf 'base:\nos: base\n' >"$temp/src/LAYERS"
    printf '#include "base/a.h"\n' >"$temp/src/os/b.c"
    printf '#include <stdio.h>\n' >"$temp/src/base/a.h"
    if ! tools/check_layers.sh "$temp" >/dev/null; then
        echo "the good tree is refused" >&2
        status=1
    fi
    mkdir -p "$(dirname "$temp/src/$2")"
    printf '%s\n' "$3" >>"$temp/src/$2"
    if out=$(tools/check_layers.sh "$temp" 2>&1) || ! grep -qF -- "$1" <<<"$out"; then
        printf "'%s' in %s was not refused with '%s': %s\n" "$3" "$2" "$1" "$out" >&2
        status=1
    fi
}

offend 'base may not include from os' base/a.h '#include "os/b.h"'
offend 'not rooted at src/' os/b.c '#include "b.h"'
offend 'module net is not in src/LAYERS' net/n.c 'int n;'
offend 'may not name drivers' LAYERS 'net: drivers'
offend 'belongs to base alone' os/b.c '#include "base/base_internal.h"'
tools/check_layers.sh || status=1
exit "$status"

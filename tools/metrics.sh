#!/bin/bash
# The table of docs/metrics.md comes from src/record/fields.def: metrics.sh PROGRAM [--write]. PROGRAM is metrics_table of a build
# folder. Without --write the page is compared with what it should be, and a difference is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
page=docs/metrics.md
want=$(mktemp)
trap 'rm -f "$want"' EXIT
{
    sed '/<!-- begin of the table/q' "$page"
    "$1"
    sed -n '/<!-- end of the table/,$p' "$page"
} >"$want"
if [ "${2:-}" = --write ]; then
    cat "$want" >"$page"
elif ! diff -u "$page" "$want"; then
    echo "$page is not what src/record/fields.def says: tools/metrics.sh $1 --write" >&2
    exit 1
fi

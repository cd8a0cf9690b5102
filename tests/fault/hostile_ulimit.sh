#!/bin/bash
# Little address space: a good file and the fuzz inputs end with a documented exit code and a word, never by a signal.
set -uo pipefail
if [ -n "${ANEMO_SANITIZE:-}" ]; then
    echo "skipped: sanitizers reserve address space of their own"
    exit 77
fi
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
status=0
enough=0
starved=0

# try KIB FILE ALLOWED…: run under a limit; other exit codes are a failure.
try()
{
    local kib=$1 file=$2 got=0 code
    shift 2
    (
        ulimit -c 0
        ulimit -v "$kib" && exec "$ANEMO_BUILD/anemo" show "$file"
    ) >/dev/null 2>"$temp/err" </dev/null || got=$?
    # The dynamic loader itself may not fit.
    if [ "$got" -eq 127 ] && grep -q 'loading shared libraries' "$temp/err"; then return; fi
    for code in "$@"; do
        if [ "$got" -eq "$code" ]; then
            if [ "$got" -eq 0 ]; then enough=$((enough + 1)); fi
            if [ "$got" -eq 6 ]; then starved=$((starved + 1)); fi
            if [ "$got" -eq 0 ] || [ -s "$temp/err" ]; then return; fi
        fi
    done
    printf '%s under %s KiB: exit %s, expected one of: %s\n' "$file" "$kib" "$got" "$*" >&2
    cat "$temp/err" >&2
    status=1
}

good=fuzz/corpus/gguf/tiny_q4_1
for kib in 10000 14000 18000 22000 26000 30000 34000 40000 50000 70000 100000 200000; do
    try "$kib" "$good" 0 6
done
if [ "$enough" -eq 0 ]; then
    echo "the good file was never shown" >&2
    status=1
fi

# Larger than the address space: said before anything is read.
cp "$good" "$temp/large.gguf"
truncate -s 3G "$temp/large.gguf"
starved=0
try 500000 "$temp/large.gguf" 6
if [ "$starved" -ne 1 ]; then
    echo "a file of 3 GiB was not refused under 500 MB" >&2
    status=1
fi

# Counts and lengths in a file are not believed: 300 MB are enough for all of them.
for file in fuzz/corpus/gguf/*; do try 300000 "$file" 0 2 3; done
exit "$status"

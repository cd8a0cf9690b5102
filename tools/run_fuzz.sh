#!/bin/bash
# Build every fuzz target with clang and run each on its corpus: tools/run_fuzz.sh SECONDS [TARGET…]
# New inputs are kept in build/fuzz/corpus; a crash leaves its input in build/fuzz/crash-TARGET-* and fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
seconds=${1:?usage: tools/run_fuzz.sh SECONDS [TARGET...]}
shift
log=build/fuzz/run_fuzz.log
mkdir -p build/fuzz
if [ ! -f build/fuzz/build.ninja ] && ! cmake --preset fuzz >"$log" 2>&1; then
    tail -n 20 "$log"
    exit 1
fi
if ! cmake --build build/fuzz >"$log" 2>&1; then
    tail -n 40 "$log"
    exit 1
fi
failed=0
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in fuzz/fuzz_*.c; do
        name=${source#fuzz/fuzz_}
        targets+=("${name%.c}")
    done
fi
for name in "${targets[@]}"; do
    mkdir -p "build/fuzz/corpus/$name"
    # -timeout and -rss_limit_mb are the promise that a file costs under a second and bounded memory.
    if build/fuzz/fuzz/fuzz_"$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="build/fuzz/crash-$name-" \
        "build/fuzz/corpus/$name" "fuzz/corpus/$name" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "fuzz $name: ${runs:-?} executions in $seconds s, no finding"
    else
        echo "fuzz $name: FAILED"
        tail -n 40 "$log"
        failed=1
    fi
done
exit $failed

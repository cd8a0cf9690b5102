#!/bin/bash
# Build every fuzz target with clang and run each on its corpus, one a processor: tools/run_fuzz.sh SECONDS [RUNS [TARGET…]]
# SECONDS each, and then on until a target has RUNS executions (0, the default: no such count).
# New inputs are kept in build/fuzz/corpus; a crash leaves its input in build/fuzz/crash-TARGET-* and fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
seconds=${1:?usage: tools/run_fuzz.sh SECONDS [RUNS [TARGET...]]}
least=${2:-0}
shift $(($# < 2 ? $# : 2))
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
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in fuzz/fuzz_*.c; do
        name=${source#fuzz/fuzz_}
        targets+=("${name%.c}")
    done
fi

# fuzz NAME LOG OPTION…: one run; prints its executions. The limits are the promise that a file costs bounded time and memory.
fuzz()
{
    local name=$1 log=$2
    shift 2
    build/fuzz/fuzz/fuzz_"$name" "$@" -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/crash-$name-" "build/fuzz/corpus/$name" "fuzz/corpus/$name" >"$log" 2>&1 ||
        return 1
    sed -n 's/^stat::number_of_executed_units: *//p' "$log"
}

# fuzz_target NAME: SECONDS, and the rest of RUNS.
fuzz_target()
{
    local name=$1 log=build/fuzz/run_fuzz-$1.log runs more=0
    mkdir -p "build/fuzz/corpus/$name"
    if runs=$(fuzz "$name" "$log" -max_total_time="$seconds") &&
        { [ "$runs" -ge "$least" ] || more=$(fuzz "$name" "$log" -runs=$((least - runs))); }; then
        echo "fuzz $name: $((runs + more)) executions, no finding"
        return 0
    fi
    echo "fuzz $name: FAILED"
    tail -n 40 "$log"
    return 1
}
export -f fuzz fuzz_target
export seconds least
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz_target {}'

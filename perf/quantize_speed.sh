#!/bin/bash
# F16 to Q4_K_M: this tree's quantizer against a peer's, in alternating pairs on the same threads.
set -euo pipefail

usage()
{
    cat <<'HELP'
Usage: perf/quantize_speed.sh [options]

  --build DIR     build folder with anemo and random_gguf (default build/release)
  --peer PATH     a llama-quantize; without one its part is "not measured"
  --source FILE   an F16 GGUF file (default: a random one of Mistral 7B's shape is made)
  --bytes N       size of the random one, about; at least 1e9 (default 4e9)
  --type TYPE     what to make (default Q4_K_M)
  --pairs N       measured pairs after one warm-up pair (default 5)
  --threads N     of both (default 2)
  --dir DIR       where source and outputs lie (default: a folder in /dev/shm, which is a tmpfs)

Prints every run's seconds by the clock and of CPU (user and system), then medians, their range and ratios. The last line
of a comparison says whether both made the same tensors.
HELP
}

build=build/release peer='' source='' bytes=4000000000 type=Q4_K_M pairs=5 threads=2 dir=/dev/shm
cd "$(dirname "$0")/.."
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --build | --peer | --source | --bytes | --type | --pairs | --threads | --dir)
        [ $# -ge 2 ] || { echo "quantize_speed.sh: $1 needs a value" >&2; exit 2; }
        declare "${1#--}=$2"
        shift 2
        ;;
    *) echo "quantize_speed.sh: unknown option '$1'; --help lists them" >&2; exit 2 ;;
    esac
done
[ -x "$build/anemo" ] || { echo "quantize_speed.sh: no $build/anemo; build it first, or name --build" >&2; exit 2; }

work=$(mktemp -d "$dir/quantize_speed.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -z "$source" ]; then
    [ -x "$build/perf/random_gguf" ] || { echo "quantize_speed.sh: no $build/perf/random_gguf: build that target" >&2; exit 2; }
    layers=$(awk -v b="$bytes" 'BEGIN { n = int((b - 524e6) / 436e6 + 0.5); print n < 1 ? 1 : n }')
    source=$work/source.gguf
    "$build/perf/random_gguf" "$source" "$layers"
fi
cat "$source" >/dev/null # warm
echo "source: $(stat -Lc %s "$source") bytes, to $type, $threads threads, $(uname -m), load $(cut -d' ' -f1 /proc/loadavg)"

# run NAME CMD…: one line "NAME wall cpu" to the log.
run()
{
    local name=$1 line
    shift
    rm -f "$work/$name.gguf"
    line=$({ TIMEFORMAT='%R %U %S'; time "$@" >"$work/$name.out" 2>&1; } 2>&1) ||
        { echo "quantize_speed.sh: $name failed:" >&2; tail -n 5 "$work/$name.out" >&2; exit 1; }
    awk -v name="$name" '{ printf "%-6s %8.3f s by the clock, %8.3f s of CPU\n", name, $1, $2 + $3 }' <<<"$line"
    echo "$name $line" >>"$work/log"
}

for ((pair = 0; pair <= pairs; pair++)); do
    [ "$pair" -ne 1 ] || : >"$work/log" # the first was a warm-up
    run anemo "$build/anemo" quantize "$source" "$work/anemo.gguf" "$type" --threads "$threads" --quiet
    if [ -n "$peer" ]; then
        run peer "$peer" "$source" "$work/peer.gguf" "$type" "$threads"
    fi
done

# column NAME WHAT: median, minimum and maximum of one side, by the clock or of CPU.
column()
{
    awk -v name="$1" -v e="$2" '$1 == name { print e == "clock" ? $2 : $3 + $4 }' "$work/log" | sort -g |
        awk '{ v[NR] = $1 } END { m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; print m, v[1], v[NR] }'
}
weights=$(("$(stat -Lc %s "$source")" / 2))
for what in clock CPU; do
    read -r ours low high <<<"$(column anemo "$what")"
    printf 'anemo, %s: median %.3f s (%.3f to %.3f), %.1f M weights/s\n' "$what" "$ours" "$low" "$high" \
        "$(awk -v w=$weights -v t="$ours" 'BEGIN { print w / t / 1e6 }')"
    if [ -z "$peer" ]; then
        echo "peer,  $what: not measured (--peer PATH)"
        continue
    fi
    read -r theirs low high <<<"$(column peer "$what")"
    printf 'peer,  %s: median %.3f s (%.3f to %.3f), %.1f M weights/s\n' "$what" "$theirs" "$low" "$high" \
        "$(awk -v w=$weights -v t="$theirs" 'BEGIN { print w / t / 1e6 }')"
    # Pair by pair: the two runs of a pair saw the same machine.
    awk -v e="$what" '$1 == "anemo" { a = e == "clock" ? $2 : $3 + $4 }
        $1 == "peer" { print (e == "clock" ? $2 : $3 + $4) / a }' "$work/log" | sort -g |
        awk -v e="$what" '{ v[NR] = $1 } END { m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
            printf "ratio, %s: %.2f (%.2f to %.2f) times the peer\n", e, m, v[1], v[NR] }'
done
if [ -n "$peer" ]; then
    # Both end with the same data, tensor by tensor in the same order; headers may differ.
    size=$(($(stat -Lc %s "$work/anemo.gguf") - 1000000))
    if cmp -s <(tail -c "$size" "$work/anemo.gguf") <(tail -c "$size" "$work/peer.gguf"); then
        echo "tensors: the last $size bytes of both files are equal"
    else
        echo "tensors: DIFFERENT"
        exit 1
    fi
fi

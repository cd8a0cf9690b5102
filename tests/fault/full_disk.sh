#!/bin/bash
# A full disk, a limit on file sizes, a read-only file system, no HOME: the documented exit code and a word about it, nothing
# under the final name, no temporary left behind. What needs a mount is left out where mounting is not allowed.
set -uo pipefail
anemo=$ANEMO_BUILD/anemo
model=tests/golden/tiny/files/chatml.gguf
plain=tests/golden/tiny/types/type-f32.gguf
dir=$(mktemp -d)
mounted=
cleanup()
{
    if [ -n "$mounted" ]; then umount "$mounted"; fi
    rm -rf "$dir"
}
trap cleanup EXIT
export HOME=$dir XDG_DATA_HOME=$dir/data XDG_CACHE_HOME=$dir/cache
ulimit -c 0
failed=0
tried=0

# expect CODE FOLDER COMMAND…: FOLDER is where the result would lie; it holds afterwards what it held before.
expect()
{
    local code=$1 folder=$2 got before
    shift 2
    before=$(ls -A "$folder")
    "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    tried=$((tried + 1))
    if [ "$got" != "$code" ] || { [ "$code" != 0 ] && [ ! -s "$dir/err" ]; } || { [ "$code" != 0 ] && [ "$(ls -A "$folder")" != "$before" ]; }; then
        echo "FAILED: $*: exit $got, expected $code; in the folder: $(ls -A "$folder" | tr '\n' ' ')"
        cat "$dir/err"
        failed=1
    fi
}

# At most KIB KiB a file; stderr is one too, so that it goes through a pipe.
limited()
{
    local kib=$1
    shift
    (ulimit -f "$kib" && exec "$@") 2>&1 >/dev/null | cat >&2
    return "${PIPESTATUS[0]}"
}

# convert, quantize, synth, logits and compare, each with a result in the folder.
writers()
{
    local code=$1 folder=$2
    shift 2
    expect "$code" "$folder" "$@" "$anemo" convert -q "$model" "$folder/model" --to mlx
    expect "$code" "$folder" "$@" "$anemo" convert -q "$model" "$folder/hf" --to hf --dtype f16
    expect "$code" "$folder" "$@" "$anemo" convert -q "$model" "$folder/x.gguf" --to gguf
    expect "$code" "$folder" "$@" "$anemo" quantize -q "$plain" "$folder/x.gguf" Q8_0
    expect "$code" "$folder" "$@" "$anemo" quantize -q "$plain" "$folder/x" 8bit-g32
    expect "$code" "$folder" "$@" "$anemo" synth -q "$dir/shape.json" --quant F16 -o "$folder/x.gguf"
    expect "$code" "$folder" "$@" "$anemo" synth -q "$dir/shape.json" --quant Q8_0 --format mlx -o "$folder/x"
    expect "$code" "$folder" "$@" "$anemo" logits "$model" --ids 5,6,7 -o "$folder/x.npy"
    for format in json md csv; do
        expect "$code" "$folder" "$@" "$anemo" compare "$model" --engine native -q -n 2 -r 1 --warmup 0 --no-bandwidth --raw \
            --format "$format" -o "$folder/out"
    done
}

# A layout cache that cannot be written, where weights have such a layout: the run goes on without it, says why, leaves nothing.
layout_cache()
{
    local folder=$1 before
    shift
    if [ "$has_panels" = no ]; then return; fi
    before=$(ls -A "$folder")
    expect 0 "$folder" "$@" "$anemo" run "$model" -n 2 --raw "--cache-layout=$folder"
    if ! grep -q 'going on without a layout file' "$dir/err" || [ "$(ls -A "$folder")" != "$before" ]; then
        echo "FAILED: layout cache in $folder: $(cat "$dir/err"); in the folder: $(ls -A "$folder" | tr '\n' ' ')"
        failed=1
    fi
}

cat >"$dir/shape.json" <<'JSON'
{"model_type": "mistral", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 600,
 "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "sliding_window": null}
JSON
mkdir "$dir/place" "$dir/laid-out"
expect 0 "$dir" "$anemo" run "$model" -n 2 --raw "--cache-layout=$dir/laid-out"
has_panels=$([ -z "$(ls -A "$dir/laid-out")" ] && echo no || echo yes)
writers 6 "$dir/place" limited 0
layout_cache "$dir/place" limited 0
layout_cache "$dir/place" limited 8
expect 6 "$dir/place" limited 8 "$anemo" convert -q "$model" "$dir/place/model" --to mlx
expect 0 "$dir/place" limited 8192 "$anemo" convert -q "$model" "$dir/place/model" --to mlx

for verb in "run $model -n 2 --raw" "run $model -n 2 --json" "logits $model --ids 5,6 -o $dir/place/y.npy"; do
    # shellcheck disable=SC2086 # words of a command
    expect 0 "$dir" env -u HOME -u XDG_DATA_HOME -u XDG_CACHE_HOME "$anemo" $verb
done
expect 4 "$dir" env -u HOME -u XDG_DATA_HOME -u XDG_CACHE_HOME "$anemo" show smollm2-135m-instruct-q4_1
expect 4 "$dir" env -u XDG_DATA_HOME HOME=/nonexistent "$anemo" show smollm2-135m-instruct-q4_1

mkdir "$dir/small"
if mount -t tmpfs -o size=1m none "$dir/small" 2>/dev/null; then
    mounted=$dir/small
    head -c 2000000 /dev/zero >"$dir/small/filler" 2>/dev/null
    writers 6 "$dir/small"
    layout_cache "$dir/small"
    rm "$dir/small/filler"
    if mount -o remount,ro "$dir/small" 2>/dev/null; then
        writers 1 "$dir/small"
        layout_cache "$dir/small"
    fi
fi

echo "$tried cases, $([ $failed = 0 ] && echo all as expected || echo some failed)"
exit $failed

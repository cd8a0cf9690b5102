#!/bin/bash
# anemo compare as a whole program: exit codes, messages, outputs, and workers that die in every way.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/cli/common.sh
. tests/cli/common.sh
tiny=tests/golden/tiny/files
export ANEMO_ENGINES=$work/none

# expect CODE TEXT ARGS…: the exit code, and TEXT on stderr or stdout.
expect() {
    exits "$1" compare "${@:3}"
    said "compare ${*:3}" "$2"
}

# Samples of memory bandwidth take longer than all the rest; one run below has them.
common=(--engine native -n 6 -r 2 --threads 1 --no-bandwidth)
mkdir "$work/empty"
expect 4 "no-such-model" no-such-model
expect 4 "./quickstart brings it"
expect 4 "no such file" /no/such/model.gguf
expect 3 "config.json" "$work/empty"
expect 2 "unknown engine 'vllm'" "$tiny/chatml.gguf" --engine vllm
expect 2 "none of the given models" "$tiny/chatml.gguf" --engine mlx
expect 2 "-n" "$tiny/chatml.gguf" -n -1
expect 2 "unknown option" "$tiny/chatml.gguf" --no-such-option
expect 2 "'yaml' is none of" "$tiny/chatml.gguf" --format yaml
expect 2 "needs --url" "$tiny/chatml.gguf" --engine http
expect 2 "is not a token id" "$tiny/chatml.gguf" --prompt-ids 1,-2
expect 2 "outside the vocabulary" "$tiny/chatml.gguf" --prompt-ids 99999999
expect 2 "too small" "$tiny/chatml.gguf" "${common[@]}" -c 3
head -c 2000 "$tiny/chatml.gguf" >"$work/cut.gguf"
expect 3 "cut.gguf" "$work/cut.gguf"

# A full disk: a clear error, the code for it, and no file left, neither whole nor partial.
expect 6 "No space left" "$tiny/chatml.gguf" "${common[@]}" -o /dev/full
expect 4 "cannot create" "$tiny/chatml.gguf" "${common[@]}" -o "$work/no/such/dir/out.txt"
if mkdir "$work/small" && mount -t tmpfs -o size=16k tmpfs "$work/small" 2>/dev/null; then
    head -c 12k /dev/zero >"$work/small/fill"
    expect 6 "No space left" "$tiny/chatml.gguf" "${common[@]}" --format json -o "$work/small/result.json"
    [ "$(ls "$work/small")" = fill ] || fail "a full disk left: $(ls "$work/small")"
    umount "$work/small"
else
    echo "not run: a full tmpfs (mounting is not allowed here)"
fi

# A file that lies in memory cannot be loaded cold: no time, and why. One that can be dropped has a time, or a reason too.
if [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ]; then
    in_memory=$(mktemp /dev/shm/anemo-XXXXXX.gguf)
    cp "$tiny/chatml.gguf" "$in_memory"
    expect 0 "kept pages of the model in its cache" "$in_memory" "${common[@]}" --cold --no-store
    rm "$in_memory"
fi
"$anemo" compare "$tiny/chatml.gguf" "${common[@]}" --cold --no-store --format json >"$work/cold" 2>"$work/err" || fail "--cold"
python3 - "$work/cold" <<'PY' || fail "--cold: a cell with neither a cold load nor a reason"
import json, sys
for cell in json.load(open(sys.argv[1]))["cells"]:
    timed = any(r.get("load_cold_s") is not None for r in cell["reps"] if r["kind"] == "load")
    assert timed != ("load_cold_s" in (cell.get("missing") or {})), cell["missing"]
PY

# The very same weights in the other container.
twin=$work/chatml-twin
"$anemo" convert "$tiny/chatml.gguf" "$twin" --to mlx >/dev/null 2>"$work/err" || fail "convert"

# Two containers of one model, each format of the report; the JSON is valid and carries the fixed names.
expect 0 "Result analysis" "$tiny/chatml.gguf" "$twin" "${common[@]}"
expect 0 "| Time taken |" "$tiny/chatml.gguf" "${common[@]}" --format md
expect 0 '"native","0' "$tiny/chatml.gguf" "${common[@]}" --format csv
expect 0 "" "$tiny/chatml.gguf" "$twin" --engine native -n 6 -r 2 --threads 1 --format json -o "$work/result.json"
python3 - "$work/result.json" <<'PY' || fail "the JSON result"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["schema"] == "anemo.run/1", d["schema"]
assert [c["status"] for c in d["cells"]] == ["ok", "ok"], [(c["status"], c["reason"]) for c in d["cells"]]
gguf, mlx = d["cells"]
assert gguf["format"] == "gguf" and mlx["format"] == "mlx"
for cell in d["cells"]:
    timed = [r for r in cell["reps"] if r["kind"] == "timed"]
    assert len(timed) == 2 and cell["reps"][0]["kind"] == "load"
    for rep in timed:
        assert rep["n_generated"] == 6 and len(rep["token_ids"]) == 6 and len(rep["token_times_s"]) == 6
        assert rep["n_prompt"] == len(d["workload"]["prompt_ids"])
        assert abs(rep["total_s"] - rep["token_times_s"][-1]) < 1e-9
        assert rep["ttft_s"] <= rep["total_s"] and rep["rss_peak_bytes"] > 0
assert gguf["reps"][1]["token_ids"] == mlx["reps"][1]["token_ids"], "the same weights gave different ids"
assert d["agreements"][0]["identical"]
PY

# Engines that nobody asked for by name and that are missing do not fail the run; named ones do.
expect 0 "to get it:" "$tiny/chatml.gguf" -n 4 -r 1 --threads 1
expect 1 "missing" "$tiny/chatml.gguf" --engine native,llama-cpp-python -n 4 -r 1 --threads 1

# Workers that die: the cell fails with a reason, the other column still comes, the exit code is 1.
fake() {
    local name=$1 body=$2
    printf '#!/bin/bash\n%s\n' "$body" >"$work/$name"
    chmod +x "$work/$name"
}
hello='echo "{\"type\":\"hello\",\"protocol\":\"anemo.driver/1\",\"driver\":\"fake\",\"driver_version\":\"1\",\"engine\":\"llama.cpp\",\"engine_version\":\"1\",\"library\":null,\"formats\":[\"gguf\"],\"clock\":{\"kind\":\"monotonic\",\"resolution_ns\":1},\"capabilities\":{\"ids\":true,\"fixed_length\":true}}"'
loaded='read -r l; echo "{\"type\":\"loaded\",\"id\":1,\"load_s\":0.1,\"effective\":{},\"model\":{\"format\":\"gguf\",\"quantization\":\"\",\"n_vocab\":300,\"n_ctx_train\":100}}"'
fake segv "$hello
$loaded
read -r l; echo 'last words' >&2; kill -SEGV \$\$"
fake killed "$hello
kill -KILL \$\$"
fake garbage "$hello
$loaded
read -r l; head -c 3000 /dev/urandom; echo; sleep 5"
fake silent "$hello
$loaded
sleep 100"
fake early 'exit 3'
fake oom "ulimit -v 150000; exec $anemo worker native"

dies() {
    local name=$1 text=$2
    shift 2
    ANEMO_DRIVER_LLAMA_CPP="$work/$name" expect 1 "$text" "$tiny/chatml.gguf" --engine native,llama.cpp -n 4 -r 2 --threads 1 \
        --no-bandwidth "$@"
    grep -q "identical\|reference" "$work/out" || fail "$name: the other column did not come"
}
dies segv SIGSEGV
grep -q "last words" "$work/out" || fail "segv: the tail of stderr is not shown"
dies killed SIGKILL
dies garbage "llama.cpp failed"
dies silent "2 s" --timeout 2
dies early "status 3"
# The context's 256 MB do not fit: said with the numbers before the work. (A sanitizer's shadow memory does not fit either way.)
dies oom "memory" -c 1000000

[ $failed = 0 ] && echo "compare: all passed"
exit $failed

#!/bin/bash
# anemo bench as a whole program: flags, forms, exit codes, engines that fail, what is kept.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/cli/common.sh
. tests/cli/common.sh
model=tests/golden/tiny/arch/llama-three-layers/model.gguf
export ANEMO_ENGINES=$work/none ANEMO_DB=$work/results.db

# expect CODE TEXT ARGS…: the exit code, and TEXT on stderr or stdout.
expect() {
    exits "$1" bench "${@:3}"
    said "bench ${*:3}" "$2"
}

quick=(-m "$model" -e native -t 1 --no-probe --no-store -r 2)

# What cannot be is said before anything runs.
expect 4 "no-such-model" -m no-such-model
expect 2 "no model was named"
expect 2 "unknown engine 'vllm'" -m "$model" -e vllm
expect 2 "'mlx' reads MLX directories" -m "$model" -e mlx
expect 2 "holds its own model" -m "$model" -e http
expect 2 "-p: '1-' is not" "${quick[@]}" -p 1-
expect 2 "every test has 0 tokens" "${quick[@]}" -p 0 -n 0
expect 2 "-pg: '5'" "${quick[@]}" -pg 5
expect 2 "-fa: 'maybe'" "${quick[@]}" -fa maybe
expect 2 "'q3_k' is none of" "${quick[@]}" -ctk q3_k
expect 2 "'tpu' is none of" "${quick[@]}" -dev tpu
expect 2 "-C: '0xzz'" "${quick[@]}" -C 0xzz
expect 2 "not 'yaml'" "${quick[@]}" -o yaml
expect 2 "--prio" "${quick[@]}" --prio 4
expect 2 "unknown option" "${quick[@]}" --no-such-option

# llama-bench's other flags: their default is what we do anyway, anything else is refused by name.
expect 0 "tg1" "${quick[@]}" -p 0 -n 1 -sm layer -mg 0 -nkvo 0 -ts 0 --poll 50 -embd 0 -nopo 0 --repack 1 --offline --numa disabled
for flag in "-sm row" "-mg 1" "-nkvo 1" "-ts 1/2" "--poll 0" "--cpu-strict 1" "-embd 1" "-nopo 1" "--repack 0" "-lm none" "-lzm on" \
    "-ot x=CPU" "-ncmoe 1" "-fitt 10" "-fitc 10" "--no-host 1" "--numa isolate" "-rpc here" "-hff f" "-hft t"; do
    # shellcheck disable=SC2086 # a flag and its value
    expect 3 "${flag%% *}" "${quick[@]}" $flag
done

# The grammar gives the tests and their order; both ways to write a flag's name.
expect 0 "tg1 " "${quick[@]}" -p 1-4*2,0 --n_gen=1 -n 2 -pg 2,1 -d 0 --n-depth 3 --no-warmup
tests=$(grep -o '[pt][pg][0-9+@ dtg]* |' "$work/out" | sed 's/ *|//' | paste -sd, -)
[ "$tests" = "pp1,pp2,pp4,tg1,tg2,pp2+tg1,pp1 @ d3,pp2 @ d3,pp4 @ d3,tg1 @ d3,tg2 @ d3,pp2+tg1 @ d3" ] ||
    fail "the tests were $tests"

# The forms, and a second one on stderr.
expect 0 '"samples_ts": [ ' "${quick[@]}" -p 4 -n 2 -o json -oe sql
python3 - "$work/out" "$work/err" <<'PY' || fail "json and sql do not read"
import json, sqlite3, sys
rows = json.load(open(sys.argv[1]))
assert [r["test"] for r in rows] == ["pp4", "tg2"], rows
for r in rows:
    assert r["engine"] == "native" and r["status"] == "ok" and len(r["samples_ns"]) == 2 and r["avg_ts"] > 0
    assert abs(r["avg_ts"] - sum(r["samples_ts"]) / 2) < 1e-3 * r["avg_ts"]
    assert abs(r["samples_ts"][0] - 1e9 * (r["n_prompt"] + r["n_gen"]) / r["samples_ns"][0]) < 1e-3 * r["avg_ts"]
db = sqlite3.connect(":memory:")
db.executescript(open(sys.argv[2]).read())
assert db.execute("select count(*), min(avg_ts) > 0 from llama_bench").fetchone() == (2, 1)
assert db.execute("select test, status from anemo_bench order by test").fetchall() == [("pp4", "ok"), ("tg2", "ok")]
PY

# An engine that dies is a row, and the other one's figures come all the same.
cat >"$work/dies.sh" <<'SH'
echo '{"type":"hello","protocol":"anemo.driver/1","driver":"d","driver_version":"1","engine":"d","engine_version":"1","library":null,"formats":["gguf"],"clock":{"kind":"monotonic","resolution_ns":1},"capabilities":{"ids":true,"fixed_length":true,"step":true}}'
read -r line
echo '{"type":"loaded","id":1,"load_s":0.1,"effective":{},"model":{"format":"gguf","quantization":"Q","n_vocab":10,"n_ctx_train":10}}'
read -r line
echo "it was my fault" >&2
kill -SEGV $$
SH
ANEMO_DRIVER_LLAMA_CPP="sh $work/dies.sh" expect 1 "SIGSEGV" "${quick[@]}" -e llama.cpp -p 4 -n 0 -o jsonl -oe md
python3 - "$work/out" <<'PY' || fail "a failed engine's row is wrong"
import json, sys
rows = {r["engine"]: r for r in map(json.loads, open(sys.argv[1]))}
assert rows["native"]["status"] == "ok" and rows["native"]["avg_ts"] > 0
assert rows["llama.cpp"]["status"] == "failed" and rows["llama.cpp"]["avg_ts"] is None
assert "it was my fault" in rows["llama.cpp"]["reason"], rows["llama.cpp"]["reason"]
PY
sed 's/,"step":true//' "$work/dies.sh" >"$work/nostep.sh"
ANEMO_DRIVER_LLAMA_CPP="sh $work/nostep.sh" expect 1 "no step measurement" "${quick[@]}" -e llama.cpp -p 4 -n 0
# … but an engine that nobody named is only left out.
ANEMO_DRIVER_LLAMA_CPP="sh $work/nostep.sh" expect 0 "skipped" -m "$model" -t 1 --no-probe --no-store -r 1 -p 4 -n 0
expect 1 "missing" -m "$model" -e llama-cpp-python -t 1 --no-probe --no-store -p 4 -n 0

# A cache type that an engine does not have is not quietly another one.
expect 1 "native holds no keys and values in q4_0; it has: f16, f32, bf16, q8_0" "${quick[@]}" -p 4 -n 0 -ctk q4_0
expect 0 "type_k" "${quick[@]}" -p 4 -n 0 -ctk f32 -ctv f32
expect 0 "type_v" "${quick[@]}" -p 4 -n 0 -ctk f32 -ctv q8_0
# A flag that an engine does not obey is told.
expect 0 "native: -fa has no effect: this engine used off" "${quick[@]}" -p 4 -n 0 -fa on

# CPUs and niceness reach the worker; a mask of CPUs that are not there fails.
expect 0 "0x1" "${quick[@]}" -p 4 -n 0 -C 0x1 -o json
expect 1 "none of them is online" "${quick[@]}" -p 4 -n 0 -C 0x1000000000000000000000000000
expect 0 "pp4" "${quick[@]}" -p 4 -n 0 --prio -1
expect 0 "benchmark 1/1: native · pp4: repetition 2 of 2" "${quick[@]}" -p 4 -n 0 --progress
expect 0 "native: cpu" --list-devices

# A worker serves the next test where both want the same context, and is made anew where they do not.
expect 0 "repetition 2 of 2" "${quick[@]}" -p 4 -n 4 --progress
[ "$(grep -c loading "$work/err")" = 1 ] || fail "a worker that could stay was ended"
expect 0 "repetition 2 of 2" "${quick[@]}" -p 4 -n 3 --progress
[ "$(grep -c loading "$work/err")" = 2 ] || fail "a worker was taken over with another context"

# The result is kept, one cell a test, warm-ups and loads labelled.
expect 0 "kept as run" -m "$model" -e native -t 1 --no-probe -r 3 -p 4 -n 2 -d 5 --tag nightly --note "a note"
"$anemo" results export last -o "$work/run.json" >"$work/out" 2>"$work/err" || "$anemo" results show last --json >"$work/run.json" 2>>"$work/err"
python3 - "$work/run.json" <<'PY' || fail "the kept run is wrong"
import json, sys
run = json.load(open(sys.argv[1]))
run = run["runs"][0] if "runs" in run else run
assert run["kind"] == "bench" and run["tags"] == ["nightly"] and run["note"] == "a note", run["kind"]
assert [c["work"]["kind"] for c in run["cells"]] == ["step", "step"], run["cells"][0]["work"]
for c in run["cells"]:
    kinds = [r["kind"] for r in c["reps"]]
    assert kinds == ["load", "warmup", "timed", "timed", "timed"], kinds
    timed = c["reps"][2:]
    assert all(r["n_depth"] == 5 and r["step_tps"] > 0 and r["ttft_s"] is None and r["decode_tps"] is None for r in timed)
    assert [r["order"] for r in c["reps"]] == sorted(r["order"] for r in c["reps"])
    assert all(abs(r["step_tps"] - (r["n_prompt"] + r["n_generated"]) / r["total_s"]) < 1e-6 * r["step_tps"] for r in timed)
assert run["cells"][0]["reps"][2]["prefill_tps"] > 0 and run["cells"][1]["reps"][2]["prefill_tps"] is None
assert len(run["cells"][1]["reps"][2]["token_times_s"]) == 2
PY

# In blocks: each test once a block, in more than one order, the workers loaded once; a test that fails is left out of later blocks.
for r in 1 8; do
    expect 0 "kept as run" -m "$model" -e native -t 1,2 --no-probe -r $r -p 4 -n 3 --interleave --tag blocks$r
    [ "$(grep -c '^| llama' "$work/out")" = 4 ] || fail "--interleave -r $r: not four rows"
done
"$anemo" results show blocks8 --json >"$work/run.json" 2>"$work/err"
python3 - "$work/run.json" <<'PY' || fail "--interleave: the kept run is wrong"
import json, sys
run = json.load(open(sys.argv[1]))
assert run["workload"]["interleaved"] in (1, True) and run["n_block"] == 8 and run["kept_loaded"], run["workload"]
rows = sorted((r["order"], r["block"], i, r["kind"]) for i, c in enumerate(run["cells"]) for r in c["reps"])
assert [o for o, *_ in rows] == list(range(len(rows))), rows
for c in run["cells"]:
    assert [r["kind"] for r in c["reps"]] == ["load", "warmup"] + ["timed"] * 8, c["reps"]
    assert [r["block"] for r in c["reps"][2:]] == list(range(8))
blocks = [[i for _, b, i, kind in rows if kind == "timed" and b == block] for block in range(8)]
assert all(sorted(b) == [0, 1, 2, 3] for b in blocks) and len({tuple(b) for b in blocks}) > 1, blocks
assert [b for _, b, _, kind in rows if kind == "timed"] == sorted([*range(8)] * 4), "the blocks run into each other"
PY
"$anemo" report blocks8 >"$work/out" 2>"$work/err" || fail "a report of blocks"
grep -q "measured one after the other" "$work/out" && fail "the report does not know that the tests alternated"
ANEMO_DRIVER_LLAMA_CPP="sh $work/dies.sh" expect 1 "SIGSEGV" "${quick[@]}" -e llama.cpp -p 4 -n 0 --interleave -r 3 -o jsonl
[ "$(grep -c '"status": "ok"' "$work/out")" = 1 ] || fail "--interleave: the engine that lives has no row"

# Interrupted: what is done is kept, and the exit status says so.
"$anemo" bench -m "$model" -e native -t 1 --no-probe -r 1 -p 4 -n 2 --delay 30 >"$work/out" 2>"$work/err" &
pid=$!
sleep 0.5
kill -INT $pid
wait $pid
got=$?
[ "$got" = 130 ] || fail "an interrupted bench ended with $got"

[ "$failed" = 0 ] && echo "bench: ok"
exit "$failed"

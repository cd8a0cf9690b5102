#!/bin/bash
# anemo run, logits and doctor as whole programs: outputs, exit codes, signals.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/cli/common.sh
. tests/cli/common.sh
model=tests/golden/tiny/files/chatml.gguf

# expect CODE TEXT VERB ARGS…: the exit code, and TEXT on stdout or stderr.
expect() {
    exits "$1" "${@:3}"
    [ -z "$2" ] || said "${*:3}" "$2"
}

expect 0 "decode" run "$model" -n 12 --ignore-eos --threads 1
cp "$work/out" "$work/text"
expect 0 '"token_ids"' run "$model" -n 12 --ignore-eos --threads 2 --json
cp "$work/out" "$work/rep.json"
python3 - "$work/rep.json" "$work/text" <<'CHECK' || fail "run --json"
import json, sys
rep = json.load(open(sys.argv[1]))
keys = ("n_prompt n_generated eos_at stop_reason ttft_s prefill_tps decode_tps total_s token_times_s cpu_s cpu_percent "
        "cpu_percent_machine rss_peak_bytes rss_anon_bytes rss_file_bytes token_ids text").split()
missing = [k for k in keys if k not in rep]
assert not missing, f"missing: {missing}"
assert len(rep["token_ids"]) == len(rep["token_times_s"]) == rep["n_generated"] == 12
times = rep["token_times_s"]
assert times == sorted(times) and rep["ttft_s"] == times[0] and rep["total_s"] == times[-1]
assert abs(rep["prefill_tps"] - rep["n_prompt"] / times[0]) < 1e-6 * rep["prefill_tps"]
streamed = open(sys.argv[2], "rb").read().decode("utf-8", "replace")
assert streamed == rep["text"], f"streamed {streamed!r}, recorded {rep['text']!r}"
CHECK

# The same draws for the same seed, others for another.
draw() { "$anemo" run "$model" -n 24 --ignore-eos --temp 1.2 --top-k 50 --top-p 0.95 --seed "$1" 2>/dev/null; }
[ "$(draw 1 | cksum)" = "$(draw 1 | cksum)" ] || fail "one seed, two texts"
[ "$(draw 1 | cksum)" != "$(draw 2 | cksum)" ] || fail "two seeds, one text"

# Drafts change the speed and nothing else: the same text streamed, the same ids; what was drafted is told.
drafts() { "$anemo" run "$model" -n 40 --ignore-eos --raw -p "the cat and the cat and the" "$@" 2>"$work/err" || fail "run $*"; }
for way in "--temp 0" "--temp 0.5 --seed 4 --top-k 9 --repeat-penalty 1.1"; do
    # shellcheck disable=SC2086
    drafts $way >"$work/plain"
    # shellcheck disable=SC2086
    drafts $way --draft ngram --draft-n 6 >"$work/ngram"
    cmp -s "$work/plain" "$work/ngram" || fail "--draft ngram $way: another text"
    grep -q "tokens a pass" "$work/err" || fail "--draft ngram $way: does not say what it came to"
done
drafts --draft "$model" >"$work/model"
drafts >"$work/plain"
cmp -s "$work/plain" "$work/model" || fail "--draft MODEL: another text"
drafts --draft ngram --json >"$work/rep.json"
python3 - "$work/rep.json" <<'CHECK' || fail "run --draft --json"
import json, sys
rep = json.load(open(sys.argv[1]))
assert rep["n_generated"] == len(rep["token_ids"]) == 40
assert rep["n_drafted"] >= rep["n_accepted"] >= 0 and rep["tokens_per_pass"] >= 1 and rep["stall_share"] is None
assert rep["token_times_s"] == sorted(rep["token_times_s"])
CHECK
"$anemo" run "$model" -n 3 --json 2>/dev/null | grep -q '"n_drafted":null,"n_accepted":null,"tokens_per_pass":null' ||
    fail "plain decoding claims drafts"
# An end of sequence that is drafted ends the text where plain decoding ends it.
for seed in 1 2 3 4 5 6; do
    ends() { "$anemo" run "$model" -n 60 --temp 1.5 --seed $seed --json "$@" 2>/dev/null |
        python3 -c 'import json, sys; r = json.load(sys.stdin); print(r["token_ids"], r["stop_reason"], r["text"])'; }
    [ "$(ends)" = "$(ends --draft ngram)" ] || fail "--draft ngram with seed $seed ends elsewhere"
done
expect 3 "no speculative decoding" run "$model" --draft ngram --engine llama.cpp
expect 3 "server decides" run any --draft ngram --engine http --url http://127.0.0.1:1
expect 4 "no-such-model" run "$model" --draft no-such-model
expect 2 "draft model's vocabulary is another one" run "$model" --draft tests/golden/tiny/files/spm.gguf
expect 2 "draft-n" run "$model" --draft ngram --draft-n 16

printf 'light bulb' >"$work/prompt"
expect 0 "tokens" run "$model" -f "$work/prompt" -n 2 --raw
expect 0 '"n_prompt":3' run "$model" --prompt-ids 5,6,7 -n 2 --json
expect 2 "one of" run "$model" -p x -f "$work/prompt"
expect 2 "unknown engine 'vllm'" run "$model" --engine vllm
expect 2 "-n" run "$model" -n -1
expect 2 "tpu" run "$model" --device tpu
expect 2 "one model" run
expect 3 "no GPU" run "$model" --device gpu
expect 3 "does not read" run "$model" --engine mlx
expect 4 "no-such-model" run no-such-model
expect 4 "cannot open" run "$model" -f "$work/absent"
[ -w /dev/full ] && { "$anemo" run "$model" -n 3 --raw >/dev/full 2>"$work/err"; [ $? = 6 ] || fail "a full disk is not 6"; }

# An interrupt ends the run with 130, whatever the worker is doing. A worker that hangs keeps it busy until then.
cat >"$work/slow" <<'SLOW'
echo '{"type":"hello","protocol":"anemo.driver/1","driver":"slow","driver_version":"1","engine":"slow","engine_version":"1",'\
'"library":null,"formats":["gguf"],"clock":{"kind":"monotonic","resolution_ns":1},"capabilities":{"ids":true,"cancel":true}}'
read -r line
echo '{"type":"loaded","id":1,"load_s":0.1,"effective":{},"model":{"format":"gguf","n_vocab":298}}'
read -r line
touch "$1"
read -r line
case $line in *'"cancel"'*) ;; *) exit 9 ;; esac
echo '{"type":"generated","id":2,"token_ids":[5],"t_start_ns":1000,"t_tokens_ns":[2000],"stop_reason":"cancelled"}'
SLOW
ANEMO_DRIVER_LLAMA_CPP="bash $work/slow $work/busy" "$anemo" run "$model" --engine llama.cpp >/dev/null 2>"$work/err" &
pid=$!
for _ in $(seq 100); do
    [ -e "$work/busy" ] && break
    sleep 0.1
done
kill -INT $pid
wait $pid
rc=$?
[ $rc = 130 ] || fail "an interrupted run exits with $rc, expected 130"

echo '[5, 6, 7, 8]' >"$work/ids.json"
expect 0 "" logits "$model" --ids "$work/ids.json" -o "$work/all.npy" --compute f32 --kv f32
expect 0 "" logits "$model" --ids 5,6 -o "$work/two.npy" --compute f32 --kv f32
python3 - "$work/all.npy" "$work/two.npy" <<'CHECK' || fail "logits"
import struct, sys
def load(path):
    data = open(path, "rb").read()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    n = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10:10 + n])
    assert (10 + n) % 64 == 0 and head["descr"] == "<f4" and not head["fortran_order"]
    body = data[10 + n:]
    assert len(body) == 4 * head["shape"][0] * head["shape"][1]
    return head["shape"], struct.unpack(f"<{len(body) // 4}f", body)
shape, x = load(sys.argv[1])
assert shape == (4, 298), shape
shape2, y = load(sys.argv[2])
assert shape2 == (2, 298), shape2
# Causal: what comes later does not change what came before.
assert max(abs(a - b) for a, b in zip(x, y)) < 1e-4
CHECK
expect 2 "expected" logits "$model"
expect 2 "no ids" logits "$model" --ids "" -o "$work/x.npy"
expect 2 "--kv" logits "$model" --ids 5 --kv q3 -o "$work/x.npy"
expect 2 "not a token id" logits "$model" --ids 99999 -o "$work/x.npy"
expect 4 "cannot open" logits "$model" --ids "$work/absent.json" -o "$work/x.npy"
expect 6 "No space left" logits "$model" --ids 5 -o /dev/full
[ ! -e "$work/x.npy" ] || fail "a failed logits left a file"

expect 0 "level" doctor "$model" --quick
grep -qE "native +ok" "$work/out" || fail "doctor did not try the native engine"
ANEMO_ENGINES=$work/none expect 0 "to get it: run ./quickstart" doctor --quick
ANEMO_DRIVER_LLAMA_CPP="bash -c exit" expect 1 "failed" doctor "$model" --quick
expect 0 '"schema": "anemo.doctor/1"' doctor "$model" --quick --json
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$work/out" || fail "doctor --json is no JSON"
expect 4 "no-such-model" doctor no-such-model

[ $failed = 0 ] && echo "run, logits, doctor: all as expected"
exit $failed

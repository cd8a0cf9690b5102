#!/bin/bash
# The http engine against a small server with chosen faults.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
anemo=$ANEMO_BUILD/anemo
model=tests/golden/tiny/files/chatml.gguf
work=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
export HOME=$work ANEMO_ENGINES=$work/none
failed=0

start() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
    : >"$work/port"
    python3 tests/support/fake_openai.py "$1" >"$work/port" &
    server=$!
    for _ in $(seq 100); do
        [ -s "$work/port" ] && break
        sleep 0.05
    done
    url=http://127.0.0.1:$(cat "$work/port")
}

# try MODE CODE TEXT [CHECK]: compare native with the server; TEXT is said; CHECK is Python over the http cell.
try() {
    local mode=$1 code=$2 text=$3 check=${4:-} got
    start "$mode"
    "$anemo" compare "$model" --engine native,http --url "$url/v1/" -n 10 -r 1 --threads 1 --timeout 3 --no-bandwidth --format json \
        -o "$work/out.json" --color never >/dev/null 2>"$work/err"
    got=$?
    if [ "$got" != "$code" ] || ! grep -qF -- "$text" "$work/out.json"; then
        echo "FAILED: $mode: exit code $got, expected $code and '$text'"
        cat "$work/err"
        failed=1
        return
    fi
    [ -z "$check" ] || python3 - "$work/out.json" "$check" <<'PY' || { echo "FAILED: $mode: the figures"; failed=1; }
import json, sys
doc = json.load(open(sys.argv[1]))
cell = [c for c in doc["cells"] if c["engine"] == "http"][0]
rep = [r for r in cell["reps"] if r["kind"] == "timed"][0]
assert eval(sys.argv[2]), (sys.argv[2], {k: rep[k] for k in ("ttft_s", "decode_tps", "n_generated", "stop_reason", "rss_peak_bytes")})
PY
}

# 100 ms of prefill and 20 ms a token: TTFT is 120 ms, decode 50 tokens/s. (A busy machine may be slower, never faster.)
timing='0.115 < rep["ttft_s"] < 10 and 0 < rep["decode_tps"] < 51 and rep["n_generated"] == 10'
try ok 0 "w9" "$timing and rep['rss_peak_bytes'] is None and rep['cpu_s'] is None"
# A figure that one cell lacks has its reason there, and there alone: the server is no process of ours, native's worker is.
try ok 0 "w9" "'no process of ours' in cell['missing']['cpu_s'] and all('cpu_s' not in c['missing'] for c in doc['cells'] if c is not cell)"
try text 0 "w9" "$timing"
try plain 0 "w9" "$timing"
# Two tokens a chunk: counting chunks would halve the speed, (n)/(t) instead of (n-1)/(t) would raise it.
try pairs 0 "w9" "rep['n_generated'] == 10 and 0 < rep['decode_tps'] < 60"
try short 0 "w4" "rep['n_generated'] == 5"
try html 1 "holds no event"
try error 1 "the fake slot is gone"
try cut 1 "before the completion did"
try stall 1 "3 s"
try redirect 1 "redirect to http://elsewhere.example"
kill "$server" && wait "$server" 2>/dev/null
server=
"$anemo" compare "$model" --engine native,http --url "$url" -n 4 -r 1 --threads 1 >"$work/out" 2>"$work/err"
[ $? = 1 ] && grep -q "is the server running" "$work/out" || { echo "FAILED: no server"; failed=1; }

[ $failed = 0 ] && echo "http: all passed"
exit $failed

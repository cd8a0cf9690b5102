#!/bin/bash
# anemo compare with a worker that dies, hangs, starves or talks nonsense: its cell is failed with the reason, the other
# column comes all the same, the exit status is 1. The fake takes the place of anemo-driver-llama.
set -u
anemo=$ANEMO_BUILD/anemo
model=tests/golden/tiny/files/chatml.gguf
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export ANEMO_DB=$dir/results.db
failed=0

cat >"$dir/hello.sh" <<'HELLO'
echo '{"type":"hello","protocol":"anemo.driver/1","driver":"fake","driver_version":"1","engine":"fake",'\
'"engine_version":"1","library":null,"formats":["gguf"],"clock":{"kind":"monotonic","resolution_ns":1},'\
'"capabilities":{"ids":true,"fixed_length":true}}'
read -r line
echo '{"type":"loaded","id":1,"load_s":0.1,"effective":{},"model":{"format":"gguf","n_vocab":1000}}'
read -r line
HELLO

expect() # NAME REASON SCRIPT
{
    printf '#!/bin/bash\n%s\n' "$3" >"$dir/anemo-driver-llama"
    chmod +x "$dir/anemo-driver-llama"
    ANEMO_LIBEXEC=$dir timeout 60 "$anemo" compare "$model" --engine native,llama.cpp --raw -n 4 -r 1 --timeout 3 --no-bandwidth -q \
        --format json -o "$dir/out.json"
    local rc=$?
    if python3 - "$dir/out.json" "$2" "$rc" <<'CHECK'
import json, re, sys
path, reason, rc = sys.argv[1:]
result = json.load(open(path))
cells = {c["engine"]: c for c in result["cells"]}
assert rc == "1", f"exit status {rc}, expected 1"
timed = [r for r in cells["native"]["reps"] if r["kind"] == "timed"]
assert cells["native"]["status"] == "ok" and len(timed) == 1, "the native column is not there"
bad = cells["llama.cpp"]
assert bad["status"] == "failed", f"the faulty cell is {bad['status']}"
assert re.search(reason, bad["reason"]), f"reason {bad['reason']!r} lacks {reason!r}"
CHECK
    then
        echo "ok      $1"
    else
        echo "FAILED  $1"
        failed=$((failed + 1))
    fi
    rm -f "$dir/out.json"
}

hello=". '$dir/hello.sh'"
expect segv 'SIGSEGV' "$hello; kill -SEGV \$\$"
expect kill 'SIGKILL' "$hello; kill -KILL \$\$"
expect hang 'no answer for 3 s' "$hello; sleep 100"
expect garbage 'broke the protocol' "$hello; echo 'loss = 3.1'"
expect utf8 'broke the protocol' "$hello; printf '\\377\\376\\n'"
expect 'early exit' 'status 3(.|\n)*no luck' "echo 'no luck' >&2; exit 3"
expect 'huge line' 'longer than' "head -c 70000000 /dev/zero | tr '\\0' x"
expect 'endless stderr' 'no answer for 3 s' "$hello; yes 'so much to say' >&2 & wait"
expect 'engine error' 'out of ideas' "$hello
echo '{\"type\":\"error\",\"id\":2,\"status\":\"nomem\",\"message\":\"out of ideas\"}'; cat"
case ${ANEMO_SANITIZE:-} in
'') expect 'out of memory' '(memory|status|SIG|unavailable)' "ulimit -v 24000; exec '$anemo' worker native" ;;
esac

echo "$failed failed"
[ $failed -eq 0 ]

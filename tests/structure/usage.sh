#!/bin/bash
# Wrong options of ./quickstart and ./check are refused by name, with the documented exit codes, before anything is
# installed or built.
set -euo pipefail
status=0
HOME=$(mktemp -d)
export HOME
unset XDG_CACHE_HOME XDG_DATA_HOME
trap 'rm -rf "$HOME"' EXIT

# expect CODE TEXT CMD…: the exit code and a part of what is printed.
expect()
{
    local code=$1 text=$2 out got=0
    shift 2
    out=$("$@" 2>&1 </dev/null) || got=$?
    if [ "$got" -ne "$code" ] || ! grep -qF -- "$text" <<<"$out"; then
        printf "'%s': exit %d, expected %d with '%s'; it printed:\n%s\n" "$*" "$got" "$code" "$text" "$out" >&2
        status=1
    fi
}

expect 0 "Usage: ./quickstart" ./quickstart --help
expect 2 "unknown option '--bogus'" ./quickstart --bogus
expect 2 "-n needs a value" ./quickstart -n
expect 2 "not '-1'" ./quickstart -n -1
expect 2 "not '0'" ./quickstart -r 0
expect 2 "not 'many'" ./quickstart --threads=many
expect 4 "no such file" ./quickstart --model /nonexistent.gguf
expect 0 "Usage: ./check" ./check --help
expect 2 "unknown mode 'fast'" ./check fast
expect 2 "takes one mode" ./check quick full
if [ -n "$(ls -A "$HOME")" ]; then
    echo "something was written before the options were checked" >&2
    status=1
fi
exit "$status"

# shellcheck shell=bash disable=SC2034 # variables are shared with the scripts that source this
# What the scripts of this folder share: the program, a folder and a home of their own, and what a failure prints. Sourced
# from the root of the tree.
anemo=$ANEMO_BUILD/anemo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work XDG_DATA_HOME=$work/data XDG_CACHE_HOME=$work/cache
failed=0

fail() {
    echo "FAILED: $1"
    [ -s "$work/err" ] && sed 's/^/    /' "$work/err"
    failed=1
}

# said WHAT TEXT: TEXT stands on stdout or stderr of the last run.
said() {
    grep -qF -- "$2" "$work/out" "$work/err" || fail "$1: '$2' was not said"
}

# exits CODE ARGS…: run anemo, its output in $work/out and $work/err.
exits() {
    local code=$1 got
    shift
    "$anemo" "$@" >"$work/out" 2>"$work/err"
    got=$?
    [ "$got" = "$code" ] || fail "$*: exit code $got, expected $code"
}

#!/bin/bash
# The libraries add nothing foreign to a program's name space and carry no path of the machine that built them:
# global symbols of libanemo.a begin with anemo_ or an_, libanemo.so exports anemo_ only.
set -euo pipefail
export LC_ALL=C
status=0
source=$PWD
cd "$ANEMO_BUILD"

complain()
{
    printf '%s\n' "$1" >&2
    sed 's/^/    /' >&2
    status=1
}

# Names with two underscores in front belong to compilers and sanitizers.
strange=$(nm -g --defined-only libanemo.a | awk 'NF == 3 { print $3 }' | grep -vE '^((anemo|an)_|__)' || true)
if [ -n "$strange" ]; then
    complain "libanemo.a defines global symbols that do not begin with anemo_ or an_ (make them static or rename):" \
        <<<"$strange"
fi
[ "$(nm -g --defined-only libanemo.a | grep -c ' T anemo_')" -gt 0 ] || complain "libanemo.a defines no function" <<<""

strange=$(nm -D --defined-only libanemo.so | awk 'NF == 3 { print $3 }' | grep -vE '^(anemo_|__|_init$|_fini$)' || true)
if [ -n "$strange" ]; then complain "libanemo.so exports more than anemo_:" <<<"$strange"; fi
if ! nm -D --defined-only libanemo.so | grep ' T anemo_status_name$' >/dev/null; then
    complain "libanemo.so does not export the public functions:" <<<"anemo_status_name"
fi

# Debug information may name source files; what stays in a stripped library may not. (Sanitizers write paths.)
if [ -z "${ANEMO_SANITIZE:-}" ]; then
    stripped=$(mktemp)
    trap 'rm -f "$stripped"' EXIT
    strip -g -o "$stripped" libanemo.a
    paths=$(grep -aoF "$source/src/" "$stripped" | sort -u || true)
    if [ -n "$paths" ]; then complain "libanemo.a contains file paths of this machine:" <<<"$paths"; fi
fi
exit "$status"

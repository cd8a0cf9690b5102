#!/bin/bash
# The shell scripts of the tree parse, and pass shellcheck where it is installed.
set -euo pipefail
status=0
scripts=(quickstart check .ci/run)
while IFS= read -r script; do scripts+=("$script"); done < <(find tools tests examples -name '*.sh' | sort)
for script in "${scripts[@]}"; do
    bash -n "$script" || status=1
done
if command -v shellcheck >/dev/null; then
    shellcheck -x -S warning "${scripts[@]}" || status=1
else
    echo "shellcheck is not installed: the scripts were parsed only"
fi
exit "$status"

#!/bin/bash
# The tree itself: no left-over markers, no paths of anybody's machine, no large files, no dead links in documents.
set -euo pipefail
status=0

complain()
{
    printf '%s\n' "$1" >&2
    sed 's/^/    /' >&2
    status=1
}

mapfile -t files < <(find . -type f -not -path './.git/*' -not -path './build/*' -not -path './shared/*' \
    -not -name '*.pyc' -not -name .git | sort)

markers='TO''DO|FIX''ME|XX''X|HA''CK'
found=$(grep -InwE "$markers" "${files[@]}" | head -n 20 || true)
if [ -n "$found" ]; then complain "left-over markers:" <<<"$found"; fi

found=$(grep -InE '(^|[^A-Za-z0-9_.$}])/(home|Users|root|work)/' "${files[@]}" | head -n 20 || true)
if [ -n "$found" ]; then complain "paths of one machine:" <<<"$found"; fi

found=$(find "${files[@]}" -size +2048k)
if [ -n "$found" ]; then complain "files of more than 2 MiB:" <<<"$found"; fi

# Links to files beside the document, without their #anchors.
for document in "${files[@]}"; do
    case $document in *.md) ;; *) continue ;; esac
    while IFS= read -r target; do
        target=${target%%#*}
        [ -z "$target" ] || [ -e "$(dirname "$document")/$target" ] ||
            complain "$document links to a file that is not there:" <<<"$target"
    done < <(grep -oE '\]\([^)]+\)' "$document" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^[a-z]+:' || true)
done
exit "$status"

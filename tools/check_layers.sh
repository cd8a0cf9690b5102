#!/bin/bash
# Every include in src/ is allowed by src/LAYERS, every module is listed there, none names one below itself, and no
# *internal.h is included from another module: check_layers.sh [ROOT]
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
find src -name '*.[ch]' -o -name '*.cc' -o -name '*.cpp' | sort | xargs awk '
    FNR == NR {
        if ($0 ~ /^#/ || NF == 0) next
        module = $1
        sub(/:$/, "", module)
        for (i = 2; i <= NF; i++) {
            if (!($i in listed)) { printf "src/LAYERS:%d: %s may not name %s, which stands below it\n", FNR, module, $i; bad = 1 }
            allowed[module, $i] = 1
        }
        listed[module] = 1
        allowed[module, module] = 1
        next
    }
    FNR == 1 {
        split(FILENAME, part, "/")
        module = part[2]
        if (!(module in listed)) { printf "%s: module %s is not in src/LAYERS\n", FILENAME, module; bad = 1 }
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\"")
        n = split(quoted[2], path, "/")
        if (n < 2) { printf "%s:%d: include \"%s\" is not rooted at src/\n", FILENAME, FNR, quoted[2]; bad = 1 }
        else if (path[1] != module && path[n] ~ /internal\.h$/) {
            printf "%s:%d: %s belongs to %s alone\n", FILENAME, FNR, quoted[2], path[1]
            bad = 1
        }
        else if (path[1] != "anemo" && !((module, path[1]) in allowed)) {
            printf "%s:%d: %s may not include from %s (src/LAYERS)\n", FILENAME, FNR, module, path[1]
            bad = 1
        }
    }
    END { exit bad }
' src/LAYERS

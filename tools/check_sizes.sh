#!/bin/bash
# Sizes that keep the code readable: a file has at most 900 lines, a header that others include 220 (internal ones
# and the bodies of kernels are code), a function 120 (more only with the reason, "Long: …", in the comment above).
set -euo pipefail
cd "$(dirname "$0")/.."
find src include -name '*.[ch]' -o -name '*.cc' -o -name '*.cpp' | sort | xargs awk '
    function file_end() {
        max = name ~ /\.h$/ && name !~ /internal\.h$|\/(body|lanes)\// ? 220 : 900
        if (name != "" && n > max) { printf "%s: %d lines, at most %d\n", name, n, max; bad = 1 }
    }
    FNR == 1 { file_end(); name = FILENAME; begin = 0; long_ok = 0 }
    { n = FNR }
    /Long: / { long_ok = 1 }
    /^\{/ { begin = FNR }
    /^}/ {
        if (begin && FNR - begin > 120 && !long_ok) {
            printf "%s:%d: a function of %d lines, at most 120\n", FILENAME, begin, FNR - begin
            bad = 1
        }
        begin = 0
        long_ok = 0
    }
    END { file_end(); exit bad }
'

#!/bin/sh
# vex.sh OBJECT EVEX_OBJECT: the level avxvnni runs on processors without AVX-512, so that no instruction of its object may have the
# EVEX encoding (62 in 64-bit mode), and its dot products must be there in the VEX encoding (C4). Tests of the other object
# count for this one, so that both must have as many. Exit 77 (skipped) without objdump.
set -eu
command -v objdump >/dev/null || { echo "skipped: objdump is not installed"; exit 77; }

# How many instructions of an object begin with the bytes of a pattern and have the name of another one.
count() {
    objdump -d -w "$1" | grep -cE "^ *[0-9a-f]+:[[:space:]]+$2.*[[:space:]]$3" || true
}
vex=$(count "$1" c4 '([{]vex[}] )?vpdp(busd|wssd) ') evex=$(count "$1" 62 '')
twins=$(count "$2" 62 '([{]evex[}] )?vpdp(busd|wssd) ') others=$(count "$2" 62 '') wide=$(objdump -d -w "$1" "$2" | grep -c zmm || true)
echo "VEX object: $vex products, $evex EVEX instructions; EVEX object: $twins products, $others EVEX instructions; $wide lines with zmm"
[ "$vex" -gt 100 ] && [ "$evex" -eq 0 ] && [ "$twins" -eq "$vex" ] && [ "$others" -eq "$twins" ] && [ "$wide" -eq 0 ]

#!/bin/bash
# anemo tokenize from outside: its forms of input and output, and the exit code of each mistake.
set -uo pipefail
anemo=$ANEMO_BUILD/anemo
model=tests/golden/tiny/files/chatml.gguf
spm=tests/golden/tiny/files/spm.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

same() # TITLE EXPECTED GOT
{
    [ "$2" = "$3" ] && return
    printf '%s: expected %q, got %q\n' "$1" "$2" "$3"
    failed=1
}

fails() # CODE TEXT ARGUMENT…
{
    local code=$1 text=$2 out status=0
    shift 2
    out=$("$anemo" tokenize "$@" 2>&1 </dev/null) || status=$?
    same "exit code of: $*" "$code" "$status"
    case $out in *"$text"*) ;; *) same "message of: $*" "…$text…" "$out" ;; esac
}

# The chatml vocabulary spells single bytes in GPT-2's alphabet, so the text's letters tell the pieces.
same json '["H","i","!","Ġ"]' "$("$anemo" tokenize $model 'Hi! ' --json | sed 's/.*"pieces"://;s/}$//')"
ids=$("$anemo" tokenize $model 'Hi!')
same "ids of --json" "{\"ids\":[${ids// /,}]" "$("$anemo" tokenize $model --json 'Hi!' | sed 's/,"pieces.*//')"
same stdin "$ids" "$(printf 'Hi!' | "$anemo" tokenize $model -f -)"
printf 'Hi!' >"$work/text"
same file "$ids" "$("$anemo" tokenize $model -f "$work/text")"
same "two words" "$("$anemo" tokenize $model 'Hi there')" "$("$anemo" tokenize $model Hi there)"
same empty "" "$("$anemo" tokenize $model '')"
same "special as text" "" "$("$anemo" tokenize $model '<|im_end|>' | grep -w "$("$anemo" tokenize $model --special '<|im_end|>')")"
same special 1 "$("$anemo" tokenize $model --special '<|im_end|>' | wc -w)"
same bos 4 "$("$anemo" tokenize $model --bos 'Hi!' | wc -w)"

# Any bytes come back: broken UTF-8, NUL, no line end added. From the plain form and from the JSON one.
printf 'a\0\377\303 b\r\n\360\237' >"$work/bytes"
for vocabulary in $model $spm; do
    "$anemo" tokenize "$vocabulary" -f "$work/bytes" >"$work/ids"
    "$anemo" tokenize "$vocabulary" --detokenize -f "$work/ids" | cmp - "$work/bytes" || failed=1
    "$anemo" tokenize "$vocabulary" -f "$work/bytes" --json | "$anemo" tokenize "$vocabulary" --detokenize -f - |
        cmp - "$work/bytes" || failed=1
done
same "text as JSON" '{"text":"Hi!"}' "$("$anemo" tokenize $model --detokenize --json "$ids")"

fails 4 "$work/absent" "$work/absent" Hi
fails 3 "no tokenizer" tests/support Hi
fails 3 "not a SentencePiece model" "$work/bytes" Hi
fails 4 "$work/absent" $model -f "$work/absent"
fails 2 "no model" --json
fails 2 "no text" $model
fails 2 "not both" $model -f "$work/text" Hi
fails 2 "unknown option" $model --nonsense Hi
fails 2 "is not an id" $model --detokenize 99999999
fails 2 "is not an id" $model --detokenize 1 -- -5
fails 2 "no part of a list" $model --detokenize "1 x"
if [ -w /dev/full ]; then
    "$anemo" tokenize $model Hi >/dev/full 2>"$work/err"
    same "exit code on a full disk" 6 $?
fi
exit $failed

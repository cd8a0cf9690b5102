#!/bin/sh
# A driver in shell: its "engine" repeats the prompt. It shows what an adapter must do at the least: no clock of its
# own (anemo times the lines when they arrive), no logits, no tokenizer. Try: anemo worker --check sh echo-driver.sh
# anemo writes its requests without spaces between words, so patterns are enough to read them.

n_vocab=1000
loaded=

number() # KEY: the integer after "KEY":
{
    printf '%s' "$line" | sed -n "s/.*\"$1\":\\(-\\{0,1\\}[0-9]\\{1,9\\}\\)[,}].*/\\1/p"
}

list() # KEY: the numbers of an array, separated by spaces
{
    printf '%s' "$line" | sed -n "s/.*\"$1\":\\[\\([-0-9,]*\\)\\].*/\\1/p" | tr , ' '
}

fail() # STATUS MESSAGE
{
    printf '{"type":"error","id":%s,"status":"%s","message":"%s"}\n' "${id:-null}" "$1" "$2"
}

generate()
{
    [ "$loaded" ] || { fail inval 'no model is loaded'; return; }
    prompt=$(list prompt_ids) n=$(number n_predict) stop='' out='' count=0 reason=length
    [ "$prompt" ] && [ "${n:-0}" -ge 1 ] || { fail inval 'prompt_ids is empty or n_predict is not positive'; return; }
    for token in $prompt; do
        [ "$token" -ge 0 ] && [ "$token" -lt $n_vocab ] || { fail inval "no such id: $token"; return; }
    done
    case $line in *'"fixed_length":false'*) stop=" $(list stop_ids) " ;; esac
    printf '{"type":"start","id":%s}\n' "$id"
    while [ $count -lt "$n" ] && [ $reason = length ]; do
        for token in $prompt; do
            printf '{"type":"token","id":%s,"token":%s}\n' "$id" "$token"
            out=$out${out:+,}$token count=$((count + 1))
            case $stop in *" $token "*) reason=eos; break ;; esac
            [ $count -lt "$n" ] || break
        done
    done
    printf '{"type":"generated","id":%s,"token_ids":[%s],"stop_reason":"%s"}\n' "$id" "$out" $reason
}

printf '%s%s%s\n' '{"type":"hello","protocol":"anemo.driver/1","driver":"echo","driver_version":"1","engine":"echo",' \
    '"engine_version":"1","library":null,"formats":[],"clock":{"kind":"parent","resolution_ns":1000},' \
    '"capabilities":{"ids":true,"fixed_length":true}}'
while IFS= read -r line; do
    id=$(number id)
    case $line in
    *'"type":"quit"'*) exit 0 ;;
    *'"type":"cancel"'*) ;;
    *'"type":"load"'*) [ "$loaded" ] && fail inval 'loaded already' && continue
        loaded=1; printf '{"type":"loaded","id":%s,"load_s":null,"effective":{},"model":{"n_vocab":%s}}\n' "$id" $n_vocab ;;
    *'"type":"generate"'*) generate ;;
    *) fail unsupported 'this driver only loads and generates' ;;
    esac
done

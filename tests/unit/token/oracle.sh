#!/bin/bash
# Tokenizer against the libraries that define it, and a megabyte of one thing through each vocabulary:
# oracle.sh llama|vectors|mistral|hf|long [N]
# Exits 77 when what it compares with is not there: the engines (ANEMO_ENGINES), tools/fetch_test_data.sh's folder
# (ANEMO_TEST_DATA), the model (ANEMO_TEST_MODEL).
set -euo pipefail
cd "$(dirname "$0")"
which=$1
n=${2:-1000}
batch=$ANEMO_BUILD/tests/unit/token/token_batch
engines=${ANEMO_ENGINES:-}/bin/python
data=${ANEMO_TEST_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/anemo/test-data}
model=${ANEMO_TEST_MODEL:-${XDG_DATA_HOME:-$HOME/.local/share}/anemo/models/smollm2-135m-instruct-q4_1.gguf}
llama=("$data"/llama-vocab-*)
mistral=("$data"/mistral-common-*[0-9])
export PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0

need()
{
    [ -e "$1" ] || { echo "skipped: $1 is not there"; exit 77; }
}

case $which in
vectors)
    need "${llama[0]}"
    command -v python3 >/dev/null || exit 77
    exec python3 oracle_vectors.py "$batch" "${llama[0]}"
    ;;
llama)
    need "$engines"
    files=()
    if [ -e "$model" ]; then files+=("$model"); fi
    if [ -e "${llama[0]}" ]; then
        for name in llama-spm llama-bpe gpt-2 qwen2 phi-3 gpt-2@default gpt-2@tekken gpt-2@smollm llama-bpe@tekken; do
            pre=${name#*@}
            if [ "$pre" = "$name" ]; then pre=; else pre=@$pre; fi
            files+=("${llama[0]}/ggml-vocab-${name%@*}.gguf$pre")
        done
    fi
    [ ${#files[@]} -gt 0 ] || need "$model"
    exec "$engines" oracle_llama.py "$batch" "$n" "${files[@]}"
    ;;
mistral)
    need "${mistral[0]}"
    exec "${mistral[0]}/venv/bin/python" oracle_mistral.py "$batch" "$n" "${mistral[0]}/data"
    ;;
long)
    need "${llama[0]}"
    need "${mistral[0]}"
    files=("${llama[0]}"/*.gguf "${mistral[0]}"/data/*.v[0-9] "${mistral[0]}"/data/tekken*.json)
    if [ -e "$model" ]; then files+=("$model"); fi
    exec "$ANEMO_BUILD/tests/unit/token/test_token_long" "${files[@]}"
    ;;
hf)
    need "$engines"
    exec "$engines" oracle_hf.py "$batch" "$n"
    ;;
esac

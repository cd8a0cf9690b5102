#!/bin/bash
# Brings what the tokenizer tests compare with: llama.cpp's vocabulary files with their vectors (from the
# llama-cpp-python source package) and mistral-common with its tokenizer files, in a virtual environment of its own.
#   tools/fetch_test_data.sh [FOLDER]     default: ${XDG_CACHE_HOME:-~/.cache}/anemo/test-data
# Only pip is asked. What is there already is not fetched again; a folder appears only when it is complete.
set -euo pipefail
llama_version=0.3.36
mistral_version=1.13.1
folder=${1:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/anemo/test-data}
llama=$folder/llama-vocab-$llama_version
mistral=$folder/mistral-common-$mistral_version
vocabularies='llama-spm llama-bpe gpt-2 qwen2 phi-3'

mkdir -p "$folder"
work=$(mktemp -d "$folder/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ ! -d "$mistral" ]; then
    echo "fetch_test_data: mistral-common $mistral_version (about 100 MB with what it needs)"
    # A virtual environment cannot be moved, so the mark of completeness is a link to it.
    rm -rf "$mistral.venv"
    python3 -m venv "$mistral.venv"
    "$mistral.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        "mistral-common[sentencepiece]==$mistral_version" tiktoken==0.14.0 sentencepiece==0.2.3 scikit-build-core
    data=$("$mistral.venv/bin/python" -c 'import mistral_common, os; print(os.path.dirname(mistral_common.__file__))')/data
    test -f "$data/tekken_240911.json"
    mkdir "$work/mistral"
    ln -s "$mistral.venv" "$work/mistral/venv"
    ln -s "$data" "$work/mistral/data"
    mv "$work/mistral" "$mistral"
fi

if [ ! -d "$llama" ]; then
    echo "fetch_test_data: llama.cpp's vocabulary files (llama-cpp-python $llama_version, 77 MB)"
    "$mistral.venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --no-build-isolation --dest "$work" "llama-cpp-python==$llama_version"
    members=()
    for name in $vocabularies; do
        for tail in .gguf .gguf.inp .gguf.out; do
            members+=("llama_cpp_python-$llama_version/vendor/llama.cpp/models/ggml-vocab-$name$tail")
        done
    done
    mkdir "$work/llama"
    tar -xzf "$work/llama_cpp_python-$llama_version.tar.gz" -C "$work/llama" --strip-components=4 "${members[@]}"
    mv "$work/llama" "$llama"
fi
echo "fetch_test_data: ready in $folder"

# A model of the Hugging Face hub for ./quickstart: fetched once, then made into a GGUF file and an MLX directory. Sourced
# after setup.sh and steps.sh.
# shellcheck shell=bash disable=SC2034,SC2154 # the names are shared with those who source this

# free_mb PATH: megabytes that may still be written there; the nearest folder that exists counts.
free_mb()
{
    local path=$1
    while [ ! -d "$path" ]; do path=$(dirname "$path"); done
    df -Pk "$path" | awk 'NR == 2 {print int($4 / 1000 * 1.024)}'
}

# hub_need WHAT NEED_MB HAVE_MB HINT
hub_need()
{
    if [ "$3" -ge "$2" ]; then return 0; fi
    fail "$1: $2 MB are needed and $3 MB are free" "$4"
    return 6
}

# hub_room FETCH_MB ALL_MB: disk for what is fetched and made, memory for what runs.
hub_room()
{
    local cache=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
    local made=$(($2 * 62 / 100 + 50)) runs=$(($2 * 35 / 100 + 300)) memory
    hub_need "disk for the download ($cache)" "$1" "$(free_mb "$cache")" "free some, or set HF_HOME to a larger disk" || return
    if [ "$(df -P "$(dirname "$anemo_models")" | awk 'NR == 2 {print $1}')" = \
        "$(df -P "$(p=$cache; while [ ! -d "$p" ]; do p=$(dirname "$p"); done; echo "$p")" | awk 'NR == 2 {print $1}')" ]; then
        made=$((made + $1))
    fi
    hub_need "disk for the models ($anemo_models)" "$made" "$(free_mb "$anemo_models")" \
        "free some, or set XDG_DATA_HOME to a larger disk" || return
    memory=$(awk '/^MemAvailable:/ {print int($2 / 1000 * 1.024)}' /proc/meminfo 2>/dev/null || true)
    if [ -z "$memory" ]; then return 0; fi
    hub_need "memory to run the model" "$runs" "$memory" "end other programs, or take a smaller model"
}

# hub_fetch ANEMO REFERENCE: the path of what was fetched is the last line of the step's log.
hub_fetch()
{
    "$1" pull "$2"
}

# hub_model_prepare ANEMO REFERENCE: sets models, the forms that are compared, and model, the one for the long workload.
hub_model_prepare()
{
    local status=0
    mkdir -p "$anemo_models"
    lock_take "$anemo_models/.lock" "the model" || return 1
    hub_model_make "$1" "$2" || status=$?
    lock_release
    return "$status"
}

hub_model_make()
{
    local anemo=$1 reference=$2 base=${2##*/} plan source again="run $steps_name again: it goes on where it stopped"
    base=${base%%[@:]*}
    model_gguf=$anemo_models/$base-Q4_K_M.gguf
    model_mlx=$anemo_models/$base-mlx-4bit
    model=$model_gguf
    models=("$model_gguf" "$model_mlx")
    if [ -f "$model_gguf" ] && [ -f "$model_mlx/config.json" ]; then
        say "  ok   model: $model_gguf is there"
        say "  ok   model: $model_mlx/ is there"
        return 0
    fi
    plan=$("$anemo" pull "$reference" --dry-run --json | tr -d '\n') || return
    number_of() { printf '%s' "$plan" | sed -n "s/.*\"$1\":\\([0-9]*\\).*/\\1/p"; }
    hub_room "$(($(number_of missing_bytes) / 1000000 + 10))" \
        "$(($(printf '%s' "$plan" | sed -n 's/.*"bytes":\([0-9]*\),"missing_bytes".*/\1/p') / 1000000))" || return
    step "model: $reference (download, $(($(number_of missing_bytes) / 1000000)) MB)" "$again" hub_fetch "$anemo" "$reference" ||
        return
    source=$("$anemo" pull "$reference" -q | tail -n 1)
    if [ -f "$source" ]; then # one GGUF file was named
        model=$source
        models=("$source")
        return 0
    fi
    if [ ! -f "$model_gguf" ]; then
        step "model: GGUF Q4_K_M" "$again" "$anemo" convert "$source" "$model_gguf" --to gguf --quantize Q4_K_M || return
    fi
    if [ ! -f "$model_mlx/config.json" ]; then
        step "model: MLX 4-bit" "$again" "$anemo" convert "$source" "$model_mlx" --to mlx --quantize 4bit || return
    fi
}

# shellcheck shell=bash disable=SC2034 # steps_log is for the scripts that source this
# Steps with progress, for ./quickstart and ./check: each step has its own log, shows its elapsed time while it
# runs, and, when it fails, says which step, why (the end of the log) and how to go on.
#
# steps_init NAME FD     NAME is the program's, FD the descriptor that progress goes to
# step TITLE HINT CMD…   run CMD with its output in a log; returns its exit status; HINT says how to go on
# say TEXT…              one line of progress
# fail TEXT HINT         one error with its remedy, to stderr

steps_init()
{
    steps_name=$1
    steps_fd=$2
    steps_count=0
    steps_pid=
    steps_tty=false
    if [ -t "$steps_fd" ] && [ "${TERM:-dumb}" != dumb ]; then steps_tty=true; fi
    steps_columns=$( (stty size </dev/tty) 2>/dev/null | cut -d' ' -f2) || true
    case ${steps_columns:-0} in 0) steps_columns=80 ;; esac
    local logs=$ANEMO_CACHE/logs
    mkdir -p "$logs"
    # The logs of the five latest runs stay.
    find "$logs" -mindepth 1 -maxdepth 1 -type d -name "$steps_name-*" | sort -r | tail -n +5 |
        while IFS= read -r old; do rm -rf "$old"; done
    steps_log_dir=$logs/$steps_name-$(date +%Y%m%d-%H%M%S)-$$
    mkdir -p "$steps_log_dir"
    trap 'steps_stop 130' INT
    trap 'steps_stop 143' TERM
}

# End the running step with everything that it started, then ourselves.
steps_stop()
{
    trap - INT TERM
    if [ -n "$steps_pid" ]; then kill -TERM -- "-$steps_pid" 2>/dev/null || true; fi
    printf '\n%s: stopped; run it again to go on where it was\n' "$steps_name" >&2
    exit "$1"
}

say()
{
    printf '%s\n' "$*" >&"$steps_fd"
}

fail()
{
    printf '%s: %s\n' "$steps_name" "$1" >&2
    if [ -n "${2:-}" ]; then printf '  how to go on: %s\n' "$2" >&2; fi
}

duration()
{
    if [ "$1" -lt 60 ]; then printf '%d s' "$1"; else printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); fi
}

# The last "[12/150]" of a build log, where there is one.
steps_detail()
{
    tail -c 4000 "$1" 2>/dev/null | tr '\r' '\n' | grep -aoE '\[ *[0-9]+/[0-9]+\]' | tail -n 1 || true
}

# Leaves the path of its log in steps_log.
step()
{
    local title=$1 hint=$2 log begin now line next_line next_redraw status=0 shown=false
    shift 2
    steps_count=$((steps_count + 1))
    log=$(printf '%s/%02d-%s.log' "$steps_log_dir" "$steps_count" \
        "$(printf '%s' "$title" | tr -cs 'A-Za-z0-9.\n' '-' | cut -c1-40)")
    steps_log=$log
    begin=$SECONDS
    next_line=$((begin + 2))
    next_redraw=$((begin + 1))
    # A process group of its own, so that one signal ends the step and all its children.
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    steps_pid=$!
    set +m
    while kill -0 "$steps_pid" 2>/dev/null; do
        now=$SECONDS
        if $steps_tty && [ "$now" -ge "$next_redraw" ]; then
            line="  ..   $(duration $((now - begin))) $(steps_detail "$log") $title"
            printf '\r\033[K%s' "${line:0:$((steps_columns - 1))}" >&"$steps_fd"
            next_redraw=$((now + 1))
        elif ! $steps_tty && [ "$now" -ge "$next_line" ]; then
            if $shown; then
                say "  ..   $title: $(duration $((now - begin))) $(steps_detail "$log")"
            else
                say "  ..   $title"
            fi
            shown=true
            next_line=$((now + 10))
        fi
        sleep 0.1
    done
    wait "$steps_pid" || status=$?
    steps_pid=
    if $steps_tty; then printf '\r\033[K' >&"$steps_fd"; fi
    if [ "$status" -eq 0 ]; then
        say "  ok   $title ($(duration $((SECONDS - begin))))"
        return 0
    fi
    {
        printf '%s: step "%s" failed after %s (exit %d)\n' "$steps_name" "$title" \
            "$(duration $((SECONDS - begin)))" "$status"
        printf '  the end of its log, %s:\n' "$log"
        tail -n 15 "$log" | cut -c1-300 | sed 's/^/  | /'
        printf '  how to go on: %s\n' "$hint"
    } >&2
    return "$status"
}

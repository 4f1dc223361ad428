#!/bin/sh
# In the container of the service (service.yaml): find the others, and serve a page whose jobs run on them.
set -eu

sh launch/compose/hosts.sh "$HOSTS" "$SLOTS" || {
    echo "service: the containers do not reach each other by ssh." >&2
    exit 1
}
export DISTOPT_MPIRUN="mpirun --hostfile /tmp/hosts"
exec distopt serve --host 0.0.0.0 --data /results --files /configs --slots $((HOSTS * SLOTS))

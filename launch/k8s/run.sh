#!/bin/sh
# The launcher of an MPIJob (mpijob.yaml): start the run, or continue where an earlier pod stopped.
#
#   sh launch/k8s/run.sh CONFIG RUN_DIR [options of `distopt run`]
#
# Kubernetes ends pods with SIGTERM. The agents then save, and this script exits with 143, so the job counts
# as unfinished and another pod resumes it, bit for bit as if it had never stopped.
set -u

hostfile=${HOSTFILE:-/etc/mpi/hostfile} # written by the MPI operator
if [ $# -lt 2 ]; then
    echo "run.sh: usage: sh launch/k8s/run.sh CONFIG RUN_DIR [options of distopt run]." >&2
    exit 2
fi
if [ ! -f "$hostfile" ]; then
    echo "run.sh: there is no $hostfile, which the MPI operator gives to the launcher of an MPIJob." \
        "Elsewhere, distopt run $1 starts the agents by itself." >&2
    exit 1
fi
config=$1 run=$2
shift 2

if ls "$run"/checkpoints/*/manifest.json >/dev/null 2>&1; then
    set -- resume "$run"
else
    set -- run "$config" --out "$run" --overwrite "$@"
fi

# A trap ends the wait, so wait for the run once more.
stopped=''
distopt "$@" --mpirun-args "--hostfile $hostfile" &
trap 'stopped=1; kill -TERM $!' TERM INT
wait $!
code=$?
if [ -n "$stopped" ]; then
    wait $!
    code=143
fi
exit $code

#!/bin/sh
# Run on a cluster of containers that is made for this run and removed afterwards, whatever happens:
#
#   docker build -t distopt .
#   sh launch/compose/cluster.sh CONFIG [options of `distopt run`]
#
# The run and its report end up in runs/NAME, as with `distopt run CONFIG`.
#
#   HOSTS    containers, 4 by default
#   SLOTS    agents in one container, 1 by default
#   IMAGE    distopt by default
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export HOSTS="${HOSTS:-4}" IMAGE="${IMAGE:-distopt}"
project=distopt-$$
slots=${SLOTS:-1}

fail() {
    printf 'cluster: %s\n' "$*" >&2
    exit 1
}

[ $# -gt 0 ] || fail "which configuration? sh launch/compose/cluster.sh launch/experiments/quickstart.toml"
config=$1
shift
[ -f "$config" ] || fail "there is no file $config."
CONFIGS=$(CDPATH='' cd -- "$(dirname -- "$config")" && pwd)
export CONFIGS
name=$(basename -- "$config" .toml)
case " $* " in
*" --overwrite "*) ;;
*) [ ! -e "runs/$name" ] || fail "runs/$name is there already; --overwrite replaces it." ;;
esac

if docker compose version >/dev/null 2>&1; then
    engine=docker
    compose="docker compose"
elif podman --version >/dev/null 2>&1 && podman-compose --version >/dev/null 2>&1; then
    engine=podman
    compose=podman-compose
else
    fail "this needs a container engine: docker with its compose plugin, or podman and podman-compose." \
        "Without one, distopt run $config starts the same agents as processes on this machine."
fi
$engine image inspect "$IMAGE" >/dev/null 2>&1 ||
    fail "there is no image $IMAGE; make it with: $engine build -t $IMAGE $(dirname "$(dirname "$here")")"

first=
signs=$(mktemp -d) # the two processes signal each other with files here
finish() {
    code=$?
    trap '' INT TERM HUP
    if [ -n "$first" ] && on_first test -f "/results/$name/metrics.h5"; then
        on_first distopt report "/results/$name" >/dev/null || :
        mkdir -p runs && $engine cp "$first:/results/$name" runs/ &&
            printf 'cluster: run and report are in runs/%s\n' "$name" >&2
    fi
    touch "$signs/over"
    wait "$owner" || :
    exit $code
}
on_first() { # command...
    $engine exec "$first" "$@"
}

# A separate process makes the cluster and removes it, so this happens even if this script is killed.
(
    trap '' INT TERM HUP
    cluster="$compose -p $project -f $here/compose.yaml"
    if $cluster up --detach >"$signs/log" 2>&1; then touch "$signs/up"; else cat "$signs/log" >&2; fi
    while [ -e "$signs/up" ] && [ ! -e "$signs/over" ] && kill -0 $$; do sleep 0.5; done 2>/dev/null
    $cluster down --volumes --timeout 0 >"$signs/log" 2>&1 || cat "$signs/log" >&2
    rm -r "$signs"
) &
owner=$!
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

printf 'cluster: starting %s containers (%s)\n' "$HOSTS" "$engine" >&2
until [ -e "$signs/up" ]; do
    kill -0 $owner 2>/dev/null || fail "the containers cannot be started; what $compose says above tells why."
    sleep 0.2
done
first=$($engine ps --quiet --filter "label=com.docker.compose.project=$project" \
    --filter label=com.docker.compose.service=host --filter label=com.docker.compose.container-number=1)
[ -n "$first" ] || fail "the first container does not run; $engine logs, or $compose up by hand, tells why."

# The name "host" means all of them; mpirun gets their addresses once every sshd answers.
on_first sh launch/compose/hosts.sh "$HOSTS" "$slots" || fail "the containers do not reach each other by ssh."

# On a terminal Ctrl-C reaches the run itself, which saves and stops. Elsewhere this script passes signals on:
# a shell hears them only while it waits for a command in the background.
set -- sh -c 'echo $$ >/tmp/run.pid; exec distopt run "$@"' sh "/configs/$(basename -- "$config")" \
    --out "/results/$name" --mpirun-args "--hostfile /tmp/hosts" "$@"
if [ -t 0 ] && [ -t 1 ]; then
    $engine exec -it "$first" "$@"
else
    stopped=
    trap 'stopped=1; on_first sh -c "kill -TERM \$(cat /tmp/run.pid)"' INT TERM HUP
    $engine exec "$first" "$@" &
    wait $! && code=0 || code=$?
    [ -z "$stopped" ] || { wait $! && code=0 || code=$?; } # the signal has ended the first wait only
    exit $code
fi

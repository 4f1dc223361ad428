#!/bin/sh
# In a container of a cluster: once HOSTS containers called "host" answer by ssh, write them to /tmp/hosts for
# mpirun, with SLOTS agents each.
#
#   sh launch/compose/hosts.sh HOSTS SLOTS
set -eu

n=0
while [ "$(getent ahostsv4 host | grep -c STREAM)" -lt "$1" ] && [ $n -lt 60 ]; do n=$((n + 1)); sleep 0.5; done
for address in $(getent ahostsv4 host | sed -n "s/ *STREAM.*//p"); do
    until ssh -o ConnectTimeout=2 "$address" true || [ $n -gt 90 ]; do n=$((n + 1)); sleep 0.5; done
    echo "$address slots=$2"
done >/tmp/hosts
[ $n -le 90 ]

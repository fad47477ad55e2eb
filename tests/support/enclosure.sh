#!/bin/bash
# Holds a private process and mount namespace for as long as standard input stays open.
#
#   enclosure.sh DIRECTORY
#
# Prints "ready PID": /proc/PID/ns/mnt and /proc/PID/ns/pid_for_children are what to enter.
# At the end of standard input (the test is done, has panicked or was killed) every process inside
# dies, every mount inside is gone with its namespace, and DIRECTORY and the control groups that
# bear its name are removed.
set -u
directory=$1
exec 3<&0 </dev/null

# The first process inside ends when the test does; to ignore SIGCHLD is to reap orphans as an init
# must (podman waits for its helper's process to go, and a zombie is still there).
# /dev/shm is private because podman keeps the locks of all its stores in one file there.
init='mount -t tmpfs tmpfs /dev/shm && echo ready "$1" && exec env --ignore-signal=CHLD cat <&3 >/dev/null'
setpriv --pdeathsig KILL \
    bash -c 'exec unshare --mount --pid --fork --kill-child=KILL --mount-proc bash -c "$0" init "$$"' "$init" &
exec 1>&-
wait $!

find /sys/fs/cgroup -depth -type d -path "*/${directory##*/}*" -exec rmdir {} + 2>/dev/null
exec rm -rf --one-file-system "$directory"

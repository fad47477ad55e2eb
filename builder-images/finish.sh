#!/bin/sh
# The last step of making a builder image: mmdebstrap runs it (--customize-hook)
# with the directory of the new root as its argument. It removes what belongs to
# the machine or the moment, so that the same packages give the same image.
# /dev is not touched: it is mounted here. What the tar has below ./dev/ is dropped
# when it is read.
set -eu
cd "$1"

# The name, resolver and identity of the machine that made the image.
rm -f etc/hostname etc/resolv.conf etc/machine-id var/lib/dbus/machine-id

# Package lists, logs, caches, and the previous versions that tools leave behind.
# The list of installed packages, var/lib/dpkg/status, stays for audits.
rm -rf var/lib/apt var/cache/apt var/log/* var/cache/ldconfig/aux-cache
rm -f var/cache/debconf/*-old var/lib/dpkg/*-old
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid-
rm -f etc/apt/apt.conf.d/99mmdebstrap

# No program in the image gains rights by being started.
find . -xdev -type f -perm /6000 -exec chmod ug-s {} +

# Byte code that is valid whatever the time of its source. Before 3.11 Python writes
# constant sets in the order of their hashes, hence the fixed seed; and with -j the
# bytes of some files differ, hence one process.
find usr/lib/python3* -depth -name __pycache__ -exec rm -rf {} +
export PYTHONHASHSEED=0
exec chroot . sh -c 'exec python3 -s -m compileall -q \
    --invalidation-mode unchecked-hash /usr/lib/python3*'

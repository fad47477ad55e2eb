# Clean Debian roots, in which the scripts that source this try what users install. Needs root,
# mmdebstrap and the network, which the roots see as this machine does (resolver, certificates).

roots=()
remove_roots() {
    local root
    for root in "${roots[@]}"; do
        rm -rf --one-file-system -- "$root"
    done
    roots=()
}
trap remove_roots EXIT

# make_root SUITE PACKAGES: a root with these packages and no others; its path is in $root.
make_root() {
    root=$(mktemp --directory --tmpdir="${TMPDIR:-/var/tmp}" "warpdrive-$1-XXXXXX")
    roots+=("$root")
    chmod 755 "$root"
    mmdebstrap --quiet --variant=apt --include="$2" "$1" "$root"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    mkdir -p "$root/dev/net"
    [ -e "$root/dev/net/tun" ] || mknod --mode=666 "$root/dev/net/tun" c 10 200
}

# in_root ROOT COMMAND: by root, with a clean environment and processes of its own. All of them end with it.
# A root that was only changed to would allow no user namespaces.
in_root() {
    # shellcheck disable=SC2016 # for the shell inside
    unshare --mount --propagation private --pid --fork --kill-child bash -c '
        set -e
        root=$1
        shift
        mount --bind "$root" "$root"
        cd "$root"
        mount -t proc proc proc
        mount --rbind /sys sys
        mount -t tmpfs -o mode=1777 tmpfs dev/shm
        mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
        pivot_root . .
        # umount(".", MNT_DETACH): not every root has a program for it.
        perl -e '"'"'my $here = "."; syscall(166, $here, 2) == 0 or die "umount: $!"'"'"'
        cd /
        exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    ' in_root "$@"
}

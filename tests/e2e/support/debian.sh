#!/bin/bash
# A Debian that has never met us, with systemd as its first process, in namespaces of its own.
#
#   debian.sh make ROOT CACHE    debootstrap into CACHE unless it is there, then a copy of it at ROOT
#   debian.sh boot ROOT NAME     runs systemd in ROOT until it is killed; NAME is for its control groups
#   debian.sh clean NAME         removes the control groups
#
# As root. Nothing of the host is written to but ROOT, CACHE and two control groups; the network is the namespace's own.
set -euo pipefail

make() {
    local root=$1 cache=$2
    if [[ ! -d $cache ]]; then
        rm -rf "$cache.new"
        debootstrap --variant=minbase \
            --include=systemd,systemd-sysv,dbus,postfix,iproute2,openssl,ca-certificates,bash-completion,man-db \
            bookworm "$cache.new" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
        mv "$cache.new" "$cache"
    fi
    cp -a "$cache" "$root"
    # The tests start their own; this one would look for a network that is not there.
    ln -sf /dev/null "$root/etc/systemd/system/postfix.service"
    ln -sf /dev/null "$root/etc/systemd/system/postfix@.service"
}

# The hierarchies that systemd wants for itself: the unified one, or beside the old ones its own and the unified.
groups() {
    if [[ -f /sys/fs/cgroup/cgroup.procs ]]; then echo .; else echo systemd unified; fi
}

boot() {
    local root=$1 name=$2 group
    for group in $(groups); do
        mkdir -p "/sys/fs/cgroup/$group/$name"
        echo $$ > "/sys/fs/cgroup/$group/$name/cgroup.procs"
    done
    export ROOT=$root
    exec unshare --cgroup --mount --pid --uts --ipc --net --fork --kill-child --propagation private "$0" inside
}

inside() {
    local node
    mount --bind "$ROOT" "$ROOT"
    cd "$ROOT"
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    if [[ "$(groups)" == . ]]; then
        mount -t cgroup2 cgroup2 sys/fs/cgroup
    else
        mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
        mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
        mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
        mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    fi
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs tmpfs tmp
    mount -t tmpfs -o mode=755 tmpfs dev
    mkdir dev/pts dev/shm
    for node in null zero full random urandom tty; do
        touch "dev/$node"
        mount --bind "/dev/$node" "dev/$node"
    done
    mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    touch dev/console
    hostname gerbang
    ip link set lo up
    mkdir -p old
    pivot_root . old
    umount -l old
    # The credentials of services are mounted in one namespace and seen in others.
    mount --make-rshared /
    exec env -i container=namespaces PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console
}

clean() {
    local group
    for group in $(groups); do
        # What ran there may take a moment to end.
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            [[ -d /sys/fs/cgroup/$group/$1 ]] || break
            find "/sys/fs/cgroup/$group/$1" -depth -type d -exec rmdir {} \; 2> /dev/null && break
            sleep 0.2
        done
    done
}

"$@"

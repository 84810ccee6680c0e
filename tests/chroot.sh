# Functions that run commands in a bare Debian below a temporary directory. Sourced by scripts in
# the root directory of the repository, as root, with $target set.
# shellcheck shell=sh
# shellcheck disable=SC2154
tmp=

# in_namespace ARGUMENT...: starts this script again in its own namespaces, whose mounts and
# processes end with the script.
in_namespace() {
    [ "${TOPIP_TEST-}" = inside ] ||
        exec env TOPIP_TEST=inside unshare --mount --pid --fork --kill-child "$0" "$@"
}

# make_chroot CODENAME: unpacks that Debian into $root. The bare system is cached in $target.
make_chroot() {
    tmp=$(mktemp -d)
    root=$tmp/root
    trap remove_chroot EXIT
    # Packages have many small files: unpacking them in memory, if it is large enough, halves
    # the time.
    if [ "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)" -gt 4000000 ]; then
        mount -t tmpfs -o mode=755 tmpfs "$tmp"
    fi
    bare=$target/debian/$1.tar
    mkdir -p "$target/debian"
    if [ ! -e "$bare" ]; then
        debootstrap --variant=minbase "$1" "$tmp/bare" >"$tmp/log" || { tail "$tmp/log" && exit 1; }
        tar -C "$tmp/bare" -cf "$bare.new" .
        mv "$bare.new" "$bare"
        rm -r "$tmp/bare"
    fi
    mkdir "$root"
    tar -C "$root" -xf "$bare"
    mount -t proc proc "$root/proc"
    # Installing a package must not start its daemon.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$root/etc/"
    for settings in /etc/apt/apt.conf.d/*proxy*; do
        [ ! -e "$settings" ] || cp "$settings" "$root/etc/apt/apt.conf.d/"
    done
}

# Copies the crates of Cargo.lock to $target, so that a chroot does not need access to crates.io.
vendor_crates() {
    cargo vendor --quiet --locked --versioned-dirs "$target/debian/crates" >/dev/null
}

# bind_sources NAME: makes the repository available as /src, and a cached directory as /target, in
# which cargo finds the crates and writes the build.
bind_sources() {
    mkdir -p "$target/debian/$1/cargo" "$root/src" "$root/target" "$root/crates"
    mount --bind "$PWD" "$root/src"
    mount --bind "$target/debian/$1" "$root/target"
    mount --bind "$target/debian/crates" "$root/crates"
    printf '[source]\ncrates-io.replace-with = "vendored"\nvendored.directory = "/crates"\n' \
        >"$target/debian/$1/cargo/config.toml"
}

remove_chroot() {
    cut -d' ' -f2 /proc/mounts | grep "^$root/" | sort -r | xargs -r umount
    ! mountpoint -q "$tmp" || umount "$tmp"
    rm -r "$tmp"
}

# Runs a command in the chroot.
inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# Runs apt-get in the chroot; prints its output if it fails.
apt() {
    inside apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confold "$@" >"$tmp/log" 2>&1 || { cat "$tmp/log" && exit 1; }
}

# assert_equal NAME ACTUAL EXPECTED
assert_equal() {
    [ "$2" = "$3" ] || { printf '%s: expected "%s", got "%s"\n' "$1" "$3" "$2" && exit 1; }
}

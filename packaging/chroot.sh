# Sourced by the scripts that try things in a clean chroot, as root: new_chroot ROOT PACKAGES makes one, a minimal Debian bookworm with
# these packages, and end_chroot ROOT removes it. Takes debootstrap.

new_chroot() {
    local root=$1 packages=$2 mirror
    type debootstrap >/dev/null 2>&1 || { echo "debootstrap is missing: apt install debootstrap" >&2; return 1; }
    # The mirror that this machine installs from.
    mirror=$(sed -n 's/^URIs: *\([^ ]*debian\/\?\) *$/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*debian\/\?\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1 || true)
    debootstrap --variant=minbase --include="$packages" bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
        { tail -n 5 "$root.log" >&2; return 1; }
    rm -f "$root.log"
    chmod 755 "$root" # the chroot is its users' too
    mount -t proc proc "$root/proc" # as every container has it
}

end_chroot() {
    umount "$1/proc" 2>/dev/null || true
    rm -rf --one-file-system "$1" "$1.log"
}

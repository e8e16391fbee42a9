#!/usr/bin/env bash
# try-in-chroot.sh PROGRAM: the last stage of packaging/Dockerfile in a clean chroot, as root, for machines without a Docker engine. A
# minimal Debian bookworm gets the packages that the Dockerfile names and what install.sh installs; then a user who is not root looks at
# the machine, embeds the quickstart's 900 papers and looks one up. Takes debootstrap.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
program=$1
fetched=${XDG_DATA_HOME:-$HOME/.local/share}/sciembed
root=$(mktemp -d)
chmod 755 "$root" # the chroot is its user's too
trap 'umount "$root/proc" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
type debootstrap >/dev/null 2>&1 || { echo "debootstrap is missing: apt install debootstrap" >&2; exit 1; }
# The mirror and keys that this machine installs from.
mirror=$(sed -n 's/^URIs: *\([^ ]*debian\/\?\) *$/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*debian\/\?\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1 || true)
debootstrap --variant=minbase --include=ca-certificates,libgomp1,libstdc++6 bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
    { tail -n 5 "$root.log" >&2; exit 1; }
rm -f "$root.log"
packaging/install.sh "$program" "$fetched" "$root/usr/local"
mount -t proc proc "$root/proc" # as every container has it
chroot "$root" useradd --uid 10001 --create-home sciembed
mkdir "$root/work"
cp -r workflows examples "$root/work"
ln -s /usr/local/share/sciembed/models "$root/work/models"
chown -R 10001:10001 "$root/work"
in_it() { chroot --userspec=10001:10001 "$root" /bin/sh -c "cd /work && HOME=/home/sciembed XDG_CACHE_HOME=/work/.cache $1"; }
in_it 'sciembed doctor workflows/quickstart.toml'
in_it 'sciembed apply workflows/quickstart.toml 2>/dev/null'
in_it 'sciembed get 2012arXiv1202.3665F | cut -c 1-120'
du -xsh "$root/usr/local/bin" "$root/usr/local/lib" "$root/usr/local/share/sciembed" "$root"

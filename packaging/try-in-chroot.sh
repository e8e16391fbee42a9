#!/usr/bin/env bash
# try-in-chroot.sh TREE: the last stage of packaging/Dockerfile in a clean chroot, as root, for machines without a Docker engine. TREE is
# what install.sh made. A minimal Debian bookworm gets the packages that the Dockerfile names and the tree; then a user who is not root
# looks at the machine, embeds the quickstart's 900 papers and looks one up.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. packaging/chroot.sh
tree=$1
root=$(mktemp -d)
trap 'end_chroot "$root"' EXIT
new_chroot "$root" ca-certificates,libgomp1,libstdc++6
cp -r "$tree/." "$root/usr/local"
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

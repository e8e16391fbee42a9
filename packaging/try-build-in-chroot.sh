#!/usr/bin/env bash
# try-build-in-chroot.sh [TREE]: the tutorial and the build stage of packaging/Dockerfile on a clean machine, timed, as root. A minimal
# Debian bookworm gets the packages of the image rust:1.95-bookworm that matter here, those that the Dockerfile adds, and this machine's
# Rust; then a clone of HEAD is set up and built there, the tutorial is followed word by word with what was built (docs/run.py), and
# install.sh makes TREE, for try-in-chroot.sh. Takes debootstrap, 12 GB of disk, and half an hour on two cores.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. packaging/chroot.sh
tree=${1:+$(realpath -m -- "$1")}
root=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'end_chroot "$root"' EXIT
new_chroot "$root" ca-certificates
cp -r "$(rustc --print sysroot)" "$root/opt/rust"
mount --bind /dev "$root/dev"
trap 'umount "$root/dev"; end_chroot "$root"' EXIT
# The network is reached, and packages are found, as on this machine.
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/npmrc ~/.npmrc ~/.config/pip/pip.conf ~/.cargo/config.toml; do
    [[ ! -f $file ]] || install -D -m 644 "$file" "$root/$file"
done
mkdir "$root/src"
git archive HEAD | tar -x -C "$root/src"
in_it() {
    local begun=$SECONDS
    echo "\$ $1"
    chroot "$root" /bin/bash -c "set -e; export PATH=/opt/rust/bin:/root/.local/bin:\$PATH HOME=/root CARGO_TARGET_DIR=/opt/target; cd /src; $1"
    printf '%d s\n\n' $((SECONDS - begun))
}
in_it 'apt-get -qq update && apt-get -qq install --no-install-recommends build-essential cmake curl git npm pkg-config procps python3-pip python3-venv >/dev/null 2>&1'
in_it './setup.sh'
in_it 'just release'
in_it 'docs/run.py /opt/target/release/sciembed tutorial'
in_it 'packaging/install.sh /opt/target/release/sciembed ~/.local/share/sciembed /opt/sciembed'
[[ -z $tree ]] || cp -r "$root/opt/sciembed" "$tree"

#!/usr/bin/env bash
# install.sh PROGRAM FETCHED PREFIX: puts the program, its libraries, man pages, completions and the model of the examples below
# PREFIX, as a package would. FETCHED is the folder that setup.sh filled, ~/.local/share/sciembed unless XDG_DATA_HOME says another.
set -euo pipefail
program=$1 fetched=$2 prefix=$3
install -D -m 755 "$program" "$prefix/bin/sciembed"
for library in libonnxruntime.so libduckdb.so; do
    # The library itself, not the link that names its newest version.
    install -D -m 755 "$(readlink -f "$fetched/lib/$library")" "$prefix/lib/$library"
done
mkdir -p "$prefix/share/sciembed/models" "$prefix/share/man/man1" "$prefix/share/bash-completion/completions" \
    "$prefix/share/zsh/site-functions" "$prefix/share/fish/vendor_completions.d"
cp -rL "$fetched/models/." "$prefix/share/sciembed/models/"
"$prefix/bin/sciembed" man --to "$prefix/share/man/man1" >/dev/null
"$prefix/bin/sciembed" completions bash >"$prefix/share/bash-completion/completions/sciembed"
"$prefix/bin/sciembed" completions zsh >"$prefix/share/zsh/site-functions/_sciembed"
"$prefix/bin/sciembed" completions fish >"$prefix/share/fish/vendor_completions.d/sciembed.fish"
"$prefix/bin/sciembed" --version

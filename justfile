set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

# Outside the checkout: a fresh clone starts warm, and a workflow never meets it.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache_directory() / "sciembed/target")

# What `just pyarrow` installs, in a folder of its own.
pyarrow_pins := "pyarrow==26.0.1 numpy==2.4.6"

sciembed := CARGO_TARGET_DIR / "debug/sciembed"
quickstart := "workflows/quickstart.toml"

# emcee, the best known paper among the 900 of the quickstart
emcee := "2012arXiv1202.3665F"

[private]
default:
    @just --list --unsorted

# fetch what is missing; quick when nothing is
setup:
    @./setup.sh

# embed the 900 sample papers, then look one up
quickstart:
    cargo build --locked
    @echo
    '{{ sciembed }}' apply {{ quickstart }}
    @echo
    '{{ sciembed }}' get --dir embeddings {{ emcee }}

# run sciembed from this checkout: `just run plan workflows/quickstart.toml`
[no-exit-message]
run *args:
    @cargo run --quiet --locked -- "$@"

# type-check everything
check:
    cargo check --locked --all-targets

# format the code
fmt:
    cargo fmt

# what a change must pass before its tests are looked at
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings

# run the tests: all, or those whose names contain an argument
test *args:
    cargo test --locked "$@"

# measure
bench *args:
    cargo bench --locked "$@"

# measure a merge against cp: seconds, memory and bytes a row, for a few years and for all of them
merge-campaign years="30" rows="100000": release
    LD_LIBRARY_PATH="$PWD/lib" python3 benches/merge_campaign.py "$CARGO_TARGET_DIR/release/sciembed" "$1" "$2"

# build the optimised program; libduckdb.so goes beside it, where it looks first
release:
    cargo build --locked --release
    @cp --dereference lib/libduckdb.so "$CARGO_TARGET_DIR/release/"
    @echo "built $CARGO_TARGET_DIR/release/sciembed"

# write the manifest's JSON Schema again
schemas:
    @mkdir -p schemas
    cargo run --quiet --locked -- schema > schemas/.workflow.schema.json
    @mv schemas/.workflow.schema.json schemas/workflow.schema.json

# read the published vectors in Python, memory-mapped, and check them against their bibcodes
pyarrow dir="embeddings" bibcode=emcee:
    #!/usr/bin/env bash
    set -euo pipefail
    # One folder per Python and pins; it appears by a rename, when it is whole.
    packages="{{ cache_directory() }}/sciembed/$(python3 -c 'import sys; print(sys.implementation.cache_tag)')-{{ replace(pyarrow_pins, " ", "-") }}"
    if [[ ! -d $packages ]]; then
        echo "installing {{ pyarrow_pins }}"
        mkdir -p "$(dirname "$packages")"
        new=$(mktemp -d "$packages.XXXXXX")
        trap 'rm -rf "$new"' EXIT
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
            --only-binary=:all: --target="$new" {{ pyarrow_pins }}
        mv -T "$new" "$packages"
    fi
    PYTHONPATH=$packages python3 examples/read_with_pyarrow.py "$1" "$2"

# delete ./store and ./embeddings: every vector computed in this checkout
[confirm("Delete ./store and ./embeddings, with every vector computed in this checkout? [y/N]")]
clean-outputs:
    rm -rf store embeddings

# what continuous integration runs
ci:
    .ci/run

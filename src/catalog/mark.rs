//! The note beside a catalog: which file it is, and which sets it describes.
//!
//! ```text
//! version 2
//! file 50343936 bytes, inode 1234, changed 1764489352123456789 ns
//! <set> <digest of its sources' names> <dataset>
//! …
//! ```
//!
//! Whether a catalog is current is known from it without opening a database, and so is what of it can be taken over: that of
//! the same sets from files of the same names, if the catalog is still the one that was made. The time is that of the last change
//! of the file in any way (ctime), which no program sets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, NodeKey};
use crate::published::Layout;
use crate::store::durable;

/// Version of the tables and of this note: raised when either changes, so that older catalogs are made anew.
const VERSION: u32 = 2;

/// What a catalog says of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The set that it shows.
    pub set: NodeKey,
    /// Digest of the names of the files that it was read from, which enter no key.
    pub sources: Digest,
}

/// The datasets of a catalog.
pub type Datasets = BTreeMap<String, Said>;

/// Where the note of a directory's catalog is.
pub fn path(dir: &Path) -> PathBuf {
    Layout::new(dir).home().join("catalog")
}

/// The log that another program left beside a catalog. This one leaves none, and a log would be read into whatever catalog stands
/// there next.
pub fn foreign_log(dir: &Path) -> PathBuf {
    super::log_of(&super::path(dir))
}

/// The datasets that a directory's catalog describes; none if there is no catalog, or it is not as it was made.
pub fn described(dir: &Path) -> Option<Datasets> {
    let note = fs::read_to_string(path(dir)).ok().filter(|_| !foreign_log(dir).exists())?;
    let lines = note.strip_prefix(&head(&super::path(dir)).ok()?)?.lines();
    let said = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (set, sources) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((words.next()?.to_owned(), Said { set, sources }))
    };
    lines.map(said).collect()
}

/// Takes the note away, before the catalog changes: it never stands beside another one than its own.
///
/// # Errors
/// Whatever the file system gives.
pub fn forget(dir: &Path) -> io::Result<()> {
    durable::forget(&path(dir))
}

/// Notes that the catalog which stands there now describes these datasets.
///
/// # Errors
/// Whatever the file system gives.
pub fn note(dir: &Path, datasets: &Datasets) -> io::Result<()> {
    let line = |(name, Said { set, sources }): (&String, &Said)| format!("{set} {sources} {name}\n");
    let lines: String = datasets.iter().map(line).collect();
    let (path, note) = (path(dir), head(&super::path(dir))? + &lines);
    durable::write(&path, &path.with_file_name(format!(".{}", durable::unique_name())), note.as_bytes())
}

fn head(catalog: &Path) -> io::Result<String> {
    let file = fs::metadata(catalog)?;
    let changed = i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec());
    Ok(format!("version {VERSION}\nfile {} bytes, inode {}, changed {changed} ns\n", file.len(), file.ino()))
}

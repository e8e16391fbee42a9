//! The note beside a catalog: which file it is, and which sets it describes.
//!
//! ```text
//! version 2
//! file 50343936 bytes, 1764489352123456789 ns
//! <set> <dataset>
//! …
//! ```
//!
//! Whether a catalog is current is known from it without opening a database, and so is what of it can be taken over: that of
//! the same sets, if the file is still the one that was made.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::digest::NodeKey;
use crate::published::Layout;
use crate::store::durable;

/// Version of the tables and of this note: raised when either changes, so that older catalogs are made anew.
const VERSION: u32 = 2;

/// Which set each dataset shows.
pub type Sets = BTreeMap<String, NodeKey>;

/// Where the note of a directory's catalog is.
pub fn path(dir: &Path) -> PathBuf {
    Layout::new(dir).home().join("catalog")
}

/// The sets that a directory's catalog describes; none if there is no catalog, or it is not as it was made.
pub fn described(dir: &Path) -> Option<Sets> {
    let note = fs::read_to_string(path(dir)).ok()?;
    let sets = note.strip_prefix(&head(&super::path(dir)).ok()?)?;
    sets.lines()
        .map(|line| line.split_once(' ').and_then(|(set, name)| Some((name.to_owned(), set.parse().ok()?))))
        .collect()
}

/// Takes the note away, before the catalog changes: it never stands beside another one than its own.
///
/// # Errors
/// Whatever the file system gives.
pub fn forget(dir: &Path) -> io::Result<()> {
    durable::forget(&path(dir))
}

/// Notes that the catalog which stands there now describes these sets.
///
/// # Errors
/// Whatever the file system gives.
pub fn note(dir: &Path, sets: &Sets) -> io::Result<()> {
    let lines: String = sets.iter().map(|(name, set)| format!("{set} {name}\n")).collect();
    let (path, note) = (path(dir), head(&super::path(dir))? + &lines);
    durable::write(&path, &path.with_file_name(format!(".{}", durable::unique_name())), note.as_bytes())
}

fn head(catalog: &Path) -> io::Result<String> {
    let file = fs::metadata(catalog)?;
    let changed = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
    Ok(format!("version {VERSION}\nfile {} bytes, {changed} ns\n", file.len()))
}

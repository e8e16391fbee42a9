//! Content digests remembered by (size, times, inode), as git's index does, so that planning need not read a corpus.
//!
//! A remembered digest is trusted only if the file had already been quiet for a while when it was hashed: a file written
//! twice within the clock's resolution keeps its time, and git calls that entry "racily clean". The file is closed by a
//! digest of itself, since a flipped bit in a remembered digest would be believed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::checked::COMPACT;
use super::{Store, StoreError, durable};
use crate::digest::Digest;

/// The version of the file. The one before it was the map of files alone, without a check.
const VERSION: u32 = 2;

/// How long a file must have been quiet, where times carry fractions of a second: kernels stamp files with a clock
/// that ticks every 1 to 10 ms.
const QUIET_FINE_NS: i128 = 100_000_000;
/// The same where times are whole seconds: FAT has 2 s, NFS and ext3 1 s.
const QUIET_COARSE_NS: i128 = 2_000_000_000;

/// What a file looked like when it was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    modified_ns: i128,
    /// When the inode last changed: an edit that puts the modification time back still shows here.
    changed_ns: i128,
    inode: u64,
    hashed_ns: i128,
    digest: Digest,
}

/// What stands in the file, besides its own digest.
#[derive(Serialize, Deserialize)]
struct Remembered<Files> {
    version: u32,
    files: Files,
}

/// Digests of files outside the store, remembered between runs.
#[derive(Debug, Default)]
pub struct DigestCache {
    path: Option<PathBuf>,
    entries: BTreeMap<String, Entry>,
    changed: bool,
}

impl Store {
    /// The remembered digests. A damaged or unreadable cache is an empty one: it only costs time.
    pub fn digest_cache(&self) -> DigestCache {
        let path = self.digest_cache_path();
        let entries = fs::read(&path).ok().and_then(|bytes| parse(&bytes).ok()).unwrap_or_default();
        DigestCache { path: Some(path), entries, changed: false }
    }

    /// Where the digests are remembered.
    pub fn digest_cache_path(&self) -> PathBuf {
        self.root.join("digests.json")
    }

    /// Checks the file of remembered digests, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Read`].
    pub fn check_digest_cache(&self) -> Result<(), StoreError> {
        let path = self.digest_cache_path();
        match fs::read(&path) {
            Ok(bytes) => parse(&bytes).map(drop).map_err(|detail| StoreError::damaged(&path, detail)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::read(&path, error)),
        }
    }

    /// Writes the remembered digests back if there are new ones and the store exists.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn save_digest_cache(&self, cache: &mut DigestCache) -> Result<(), StoreError> {
        let Some(path) = cache.path.clone().filter(|_| cache.changed && self.root.join("tmp").is_dir()) else {
            return Ok(());
        };
        let remembered = Remembered { version: VERSION, files: &cache.entries };
        let bytes = COMPACT.add(serde_json::to_vec(&remembered).expect("entries are plain data"));
        durable::write(&path, &self.temporary(), &bytes).map_err(|error| StoreError::write(&path, error))?;
        cache.changed = false;
        Ok(())
    }
}

/// Reads the entries of a file of this version or, where no entry could be taken for a version, of the one before.
fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    if let Ok(unchecked) = serde_json::from_slice(bytes) {
        return Ok(unchecked);
    }
    if !COMPACT.holds(bytes) {
        return Err("its bytes are not those that its last field is the digest of".to_owned());
    }
    let remembered: Remembered<BTreeMap<String, Entry>> =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if remembered.version == VERSION {
        Ok(remembered.files)
    } else {
        Err(format!("its version is {}", remembered.version))
    }
}

impl DigestCache {
    /// The digest of a file's bytes, read only if the file is not the one remembered.
    ///
    /// # Errors
    /// Whatever looking at or reading the file gives.
    pub fn digest(&mut self, path: &Path) -> io::Result<Digest> {
        let before = fs::metadata(path)?;
        let key = path.to_string_lossy().into_owned();
        if let Some(entry) = self.entries.get(&key)
            && entry.matches(&before)
        {
            return Ok(entry.digest);
        }
        let hashed_ns = now_ns();
        let digest = Digest::of_file(path)?;
        self.entries.insert(key, Entry::new(&before, hashed_ns, digest));
        self.changed = true;
        Ok(digest)
    }
}

impl Entry {
    fn new(meta: &Metadata, hashed_ns: i128, digest: Digest) -> Self {
        Self {
            bytes: meta.len(),
            modified_ns: modified_ns(meta),
            changed_ns: changed_ns(meta),
            inode: meta.ino(),
            hashed_ns,
            digest,
        }
    }

    fn matches(&self, meta: &Metadata) -> bool {
        let quiet = if self.modified_ns % 1_000_000_000 == 0 { QUIET_COARSE_NS } else { QUIET_FINE_NS };
        self.bytes == meta.len()
            && self.modified_ns == modified_ns(meta)
            && self.changed_ns == changed_ns(meta)
            && self.inode == meta.ino()
            && self.hashed_ns - self.modified_ns.max(self.changed_ns) > quiet
    }
}

fn modified_ns(meta: &Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

fn changed_ns(meta: &Metadata) -> i128 {
    i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec())
}

fn now_ns() -> i128 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since_epoch.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An edit that keeps size, time and inode within the clock's resolution must not be missed.
    #[test]
    fn a_fresh_file_is_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("2010.json");
        fs::write(&path, "aaaa").unwrap();
        let mut cache = DigestCache::default();
        assert_eq!(cache.digest(&path).unwrap(), Digest::of(b"aaaa"));
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "bbbb").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(cache.digest(&path).unwrap(), Digest::of(b"bbbb"));
    }

    #[test]
    fn a_quiet_file_is_remembered_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let path = dir.path().join("2010.json");
        fs::write(&path, "aaaa").unwrap();
        let long_ago = SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        // The time of the last change cannot be put back: it must really pass.
        std::thread::sleep(std::time::Duration::from_millis(150));
        let mut cache = store.digest_cache();
        cache.digest(&path).unwrap();
        store.save_digest_cache(&mut cache).unwrap();
        let mut again = store.digest_cache();
        again.digest(&path).unwrap();
        assert!(!again.changed);
        fs::write(&path, "bbbb").unwrap();
        assert_eq!(again.digest(&path).unwrap(), Digest::of(b"bbbb"));
    }

    /// A digest that a flipped bit changed must not be believed.
    #[test]
    fn each_flipped_bit_empties_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        fs::write(dir.path().join("2010.json"), "aaaa").unwrap();
        let mut cache = store.digest_cache();
        cache.digest(&dir.path().join("2010.json")).unwrap();
        let entries = cache.entries.clone();
        store.save_digest_cache(&mut cache).unwrap();
        let whole = fs::read(store.digest_cache_path()).unwrap();
        assert_eq!(parse(&whole).unwrap(), entries);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&flipped).is_err(), "bit {bit}");
        }
        assert_eq!(parse(&serde_json::to_vec(&entries).unwrap()).unwrap(), entries);
    }
}

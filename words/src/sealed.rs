//! The folder of an index as Tantivy sees it: it cannot write there, and reads nothing that is not as it was written.
//!
//! Tantivy trusts what it maps: a wrong length or offset in a file makes it panic. So each block of a file is held against
//! its sum when it is first asked for, and what Tantivy is given has been checked.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
};

use crate::WordsError;
use crate::head::{BLOCK_BYTES, Head, Listed};
use crate::layout::file_name;

/// The first damage that was met: Tantivy wraps errors in its own, and this says which file it was.
pub(crate) type Damage = Arc<OnceLock<(PathBuf, String)>>;

/// The files of one index, mapped.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    files: Arc<HashMap<String, Arc<Checked>>>,
    meta: Arc<str>,
}

impl Sealed {
    /// Maps the files that a head names.
    ///
    /// # Errors
    /// [`WordsError::Damaged`] where one is missing or is not as long as it was, [`WordsError::File`].
    pub(crate) fn open(folder: &Path, head: Head, damage: &Damage) -> Result<Self, WordsError> {
        let mapped = MmapDirectory::open(folder)
            .map_err(|error| WordsError::tantivy("open", folder)(tantivy::TantivyError::from(error)))?;
        let mut files = HashMap::new();
        for listed in head.files {
            let path = folder.join(&listed.name);
            let handle = mapped.get_file_handle(Path::new(&listed.name)).map_err(|error| match error {
                OpenReadError::FileDoesNotExist(_) => WordsError::damaged(&path, "it is missing"),
                OpenReadError::IoError { io_error, .. } => {
                    WordsError::File { path: path.clone(), source: io::Error::new(io_error.kind(), io_error) }
                }
                other => WordsError::damaged(&path, other.to_string()),
            })?;
            if handle.len() as u64 != listed.bytes {
                let reason = format!("it has {} bytes, and was written with {}", handle.len(), listed.bytes);
                return Err(WordsError::damaged(&path, reason));
            }
            files.insert(listed.name.clone(), Arc::new(Checked::new(path, handle, listed, damage.clone())));
        }
        Ok(Self { files: Arc::new(files), meta: head.meta.into() })
    }
}

/// A mapped file, each block of which is checked once.
struct Checked {
    path: PathBuf,
    handle: Arc<dyn FileHandle>,
    sums: Vec<u32>,
    is_checked: Vec<AtomicBool>,
    damage: Damage,
}

impl Checked {
    fn new(path: PathBuf, handle: Arc<dyn FileHandle>, listed: Listed, damage: Damage) -> Self {
        let is_checked = listed.sums.iter().map(|_| AtomicBool::new(false)).collect();
        Self { path, handle, sums: listed.sums, is_checked, damage }
    }

    fn check(&self, block: usize) -> io::Result<()> {
        // Two threads may check the same block: both come to the same end.
        if self.is_checked[block].load(Ordering::Relaxed) {
            return Ok(());
        }
        let start = block * BLOCK_BYTES;
        let bytes = self.handle.read_bytes(start..(start + BLOCK_BYTES).min(self.handle.len()))?;
        if crc32fast::hash(&bytes) != self.sums[block] {
            return Err(self.fault(format!("it is not as it was written, {start} bytes after its start or further on")));
        }
        self.is_checked[block].store(true, Ordering::Relaxed);
        Ok(())
    }

    fn fault(&self, reason: String) -> io::Error {
        let error = io::Error::new(io::ErrorKind::InvalidData, reason.clone());
        self.damage.get_or_init(|| (self.path.clone(), reason));
        error
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Checked").field(&self.path).finish()
    }
}

impl HasLen for Checked {
    fn len(&self) -> usize {
        self.handle.len()
    }
}

impl FileHandle for Checked {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.start > range.end || range.end > self.len() {
            return Err(self.fault(format!("bytes {range:?} of {} are asked for", self.len())));
        }
        (range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)).try_for_each(|block| self.check(block))?;
        self.handle.read_bytes(range)
    }
}

fn refused(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, format!("{} is not written to", path.display()))
}

impl Directory for Sealed {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let name = path.extension().and_then(|extension| extension.to_str()).map(file_name).unwrap_or_default();
        let file = self.files.get(&name).ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        Ok(file.clone())
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(path == Path::new(META) || self.get_file_handle(path).is_ok())
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let is_meta = path == Path::new(META);
        is_meta.then(|| self.meta.as_bytes().to_vec()).ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(refused(path)), filepath: path.to_owned() })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(refused(path), path.to_owned()))
    }

    fn atomic_write(&self, path: &Path, _: &[u8]) -> io::Result<()> {
        Err(refused(path))
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nobody writes, so that nothing need be locked; Tantivy would write a lock file.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    /// It does not change.
    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// How Tantivy calls its description of an index.
pub(crate) const META: &str = "meta.json";

//! Blobs: files named by the BLAKE3 of their bytes, written once, never changed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::hashed_file::HashedFile;
use super::{Store, StoreError, durable, failpoint};
use crate::digest::Digest;
use crate::record::Output;
use memmap2::Mmap;

/// Bytes gathered before they are hashed and written: small writes cost a call each.
const BUFFER_BYTES: usize = 1 << 18;

/// Writes a blob: bytes go to a temporary file and through the hash, and [`BlobWriter::finish`] names it.
pub struct BlobWriter {
    store: Store,
    temporary: PathBuf,
    file: BufWriter<HashedFile>,
    finished: bool,
}

impl Store {
    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs").join(&name[..2]).join(&name[2..])
    }

    /// Whether a blob is there with its right size. A full re-hash is `verify`'s work, not every plan's.
    pub fn has_blob(&self, output: &Output) -> bool {
        fs::metadata(self.blob_path(&output.digest)).is_ok_and(|meta| meta.is_file() && meta.len() == output.bytes)
    }

    /// Starts a blob.
    ///
    /// # Errors
    /// If the temporary file cannot be created.
    pub fn new_blob(&self) -> Result<BlobWriter, StoreError> {
        let temporary = self.temporary();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|error| StoreError::write(&temporary, error))?;
        failpoint::reached("blob: begun");
        Ok(BlobWriter {
            store: self.clone(),
            temporary,
            file: BufWriter::with_capacity(BUFFER_BYTES, HashedFile::new(file)),
            finished: false,
        })
    }

    /// Stores bytes in memory as a blob.
    ///
    /// # Errors
    /// As [`Store::new_blob`] and [`BlobWriter::finish`].
    pub fn put_blob(&self, bytes: &[u8], rows: u64) -> Result<Output, StoreError> {
        let mut blob = self.new_blob()?;
        blob.file.write_all(bytes).map_err(|error| StoreError::write(&blob.temporary, error))?;
        blob.finish(rows)
    }

    /// Stores all that a reader gives as a blob.
    ///
    /// # Errors
    /// As [`Store::new_blob`] and [`BlobWriter::finish`]; [`StoreError::Read`] of `name` where it cannot be read.
    pub fn copy_blob(&self, mut reader: impl Read, name: &str) -> Result<Output, StoreError> {
        let mut blob = self.new_blob()?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return blob.finish(0),
                Ok(read) => {
                    blob.write_all(&buffer[..read]).map_err(|error| StoreError::write(&blob.temporary, error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::read(Path::new(name), error)),
            }
        }
    }

    /// Checks that a blob's bytes are those that its name says. One that fails is put out of use, so that the next plan
    /// sees it missing and the step that made it runs again.
    ///
    /// # Errors
    /// [`StoreError::BlobDamaged`] or [`StoreError::BlobMissing`].
    pub fn verify_blob(&self, output: &Output) -> Result<(), StoreError> {
        let path = self.blob_path(&output.digest);
        match Digest::of_file(&path) {
            Ok(found) if found == output.digest => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::BlobMissing { root: self.root.clone(), digest: output.digest })
            }
            Err(error) if error.kind() != io::ErrorKind::IsADirectory => Err(StoreError::read(&path, error)),
            _ => {
                self.discard_blob(&output.digest);
                Err(StoreError::BlobDamaged { path })
            }
        }
    }

    /// Removes a blob that nothing may use: an intermediate that was never recorded, or a damaged one.
    pub fn discard_blob(&self, digest: &Digest) {
        let path = self.blob_path(digest);
        // If it stays, it is garbage: harmless, and found by gc.
        let _ = durable::make_room(&path).and_then(|()| fs::remove_file(&path));
    }

    /// Memory-maps a blob.
    ///
    /// # Errors
    /// [`StoreError::BlobMissing`], or whatever opening gives.
    pub fn map_blob(&self, digest: &Digest) -> Result<Mmap, StoreError> {
        map_file(&self.blob_path(digest)).map_err(|error| match error {
            StoreError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                StoreError::BlobMissing { root: self.root.clone(), digest: *digest }
            }
            other => other,
        })
    }
}

/// Memory-maps a file that is never written again once it has its name.
///
/// # Errors
/// Whatever opening or mapping gives.
pub fn map_file(path: &Path) -> Result<Mmap, StoreError> {
    let file = File::open(path).map_err(|error| StoreError::read(path, error))?;
    // SAFETY: files of the store and of published sets are written once and replaced by rename, never in place, so the
    // mapped bytes do not change while they are mapped, unless somebody tampers with the store.
    #[allow(unsafe_code)]
    unsafe { Mmap::map(&file) }.map_err(|error| StoreError::read(path, error))
}

impl BlobWriter {
    /// Syncs the bytes and gives the blob its name. If the store has it already, that one stays.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then nothing is left behind.
    pub fn finish(mut self, rows: u64) -> Result<Output, StoreError> {
        let sealed = self.seal(rows).map_err(|error| StoreError::write(&self.temporary, error));
        self.finished = sealed.is_ok();
        sealed
    }

    /// An error with the folder that it happened in: it reaches people through encoders that know no paths.
    fn located(&self, error: io::Error) -> io::Error {
        let folder = self.temporary.parent().unwrap_or(&self.temporary);
        io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
    }

    fn seal(&mut self, rows: u64) -> io::Result<Output> {
        failpoint::torn("blob: the last piece half written", self.file.get_ref().file(), self.file.buffer());
        self.file.flush()?;
        failpoint::reached("blob: written");
        let file = self.file.get_mut();
        let output = Output { digest: file.digest(), bytes: file.bytes(), rows };
        let path = self.store.blob_path(&output.digest);
        if self.store.has_blob(&output) && Digest::of_file(&path)? == output.digest {
            fs::remove_file(&self.temporary)?;
            failpoint::reached("blob: it stood already");
            return Ok(output);
        }
        file.file().set_permissions(Permissions::from_mode(0o444))?;
        file.sync()?;
        failpoint::reached("blob: synced");
        if let Some(folder) = path.parent()
            && !folder.exists()
        {
            fs::create_dir_all(folder)?;
            durable::sync_parent(folder)?;
            failpoint::reached("blob: its folder is made");
        }
        durable::make_room(&path)?;
        durable::rename(&self.temporary, &path)?;
        Ok(output)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| self.located(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| self.located(error))
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_named_by_its_bytes_and_is_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let output = store.put_blob(b"vectors", 1).unwrap();
        assert_eq!(output.digest, Digest::of(b"vectors"));
        let path = store.blob_path(&output.digest);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(store.put_blob(b"vectors", 1).unwrap(), output);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    /// A blob whose bytes were tampered with keeps its size: writing the same output again must mend it.
    #[test]
    fn writing_again_mends_a_damaged_blob() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let output = store.put_blob(b"vectors", 1).unwrap();
        let path = store.blob_path(&output.digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"vect0rs").unwrap();
        store.put_blob(b"vectors", 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"vectors");
    }

    /// Whoever copies a store with a tool that takes a name for a folder, or unpacks one over another.
    #[test]
    fn writing_again_mends_a_blob_that_is_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let output = store.put_blob(b"vectors", 1).unwrap();
        let path = store.blob_path(&output.digest);
        let replace = || {
            fs::remove_file(&path).unwrap();
            fs::create_dir_all(path.join("inside")).unwrap();
        };
        replace();
        store.put_blob(b"vectors", 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"vectors");
        replace();
        assert!(store.verify_blob(&output).unwrap_err().is_damage());
        assert!(!path.exists());
    }

    #[test]
    fn an_abandoned_blob_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let mut blob = store.new_blob().unwrap();
        blob.write_all(b"half").unwrap();
        drop(blob);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}

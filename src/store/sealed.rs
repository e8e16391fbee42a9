//! Sealed files: sorted row keys and what belongs to each, whole or not at all, and digested to the last byte.
//!
//! ```text
//! magic (8 bytes)  version u32  header length u32   header (JSON), zeros up to a multiple of 64
//! row keys          rows x 16 bytes, ascending
//! …                 what the kind of file has for each row
//! BLAKE3 of everything before (32 bytes)   "SEALEDSG"
//! ```
//!
//! Integers are little-endian. Since the keys are sorted, the file is its own index. `segment.rs` and `table_rows.rs` say
//! what follows the keys.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::blob::map_file;
use super::hashed_file::HashedFile;
use super::{StoreError, durable};
use crate::digest::{Digest, RowKey};

const SEAL: &[u8; 8] = b"SEALEDSG";
const VERSION: u32 = 1;
/// What parts of a file are aligned to.
pub const ALIGNMENT: usize = 64;
const PREAMBLE_BYTES: usize = 16;
const TRAILER_BYTES: usize = Digest::LEN + SEAL.len();
/// Bytes gathered before they are digested and written.
const BUFFER_BYTES: usize = 1 << 18;

/// A kind of sealed file, told by its first bytes.
pub type Magic = [u8; 8];

/// A sealed file, memory-mapped.
#[derive(Debug)]
pub struct SealedFile {
    path: PathBuf,
    map: Mmap,
    digest: Digest,
    rows: usize,
    keys_at: usize,
}

impl SealedFile {
    /// Opens a file of this kind, and gives its header. `layout` says, of the header and of where the keys begin, how
    /// many rows there are and where the last one's bytes end; none where the header's numbers make no sense.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the frame is not that of such a file: magic, version, lengths and seal.
    /// [`SealedFile::verify`] checks its bytes.
    pub fn open<H: DeserializeOwned>(
        path: &Path,
        magic: &Magic,
        layout: impl FnOnce(&H, usize) -> Option<(usize, usize)>,
    ) -> Result<(Self, H), StoreError> {
        let map = map_file(path)?;
        Self::from_map(path, map, magic, layout).map_err(|detail| StoreError::damaged(path, detail))
    }

    fn from_map<H: DeserializeOwned>(
        path: &Path,
        map: Mmap,
        magic: &Magic,
        layout: impl FnOnce(&H, usize) -> Option<(usize, usize)>,
    ) -> Result<(Self, H), String> {
        if map.len() < PREAMBLE_BYTES + TRAILER_BYTES || !map.starts_with(magic) || !map.ends_with(SEAL) {
            return Err("it is no sealed file of its kind".to_owned());
        }
        let word = |at: usize| u32::from_le_bytes([map[at], map[at + 1], map[at + 2], map[at + 3]]);
        if word(8) != VERSION {
            return Err(format!("its format is version {}, and this program reads {VERSION}", word(8)));
        }
        let header_end = PREAMBLE_BYTES + word(12) as usize;
        let json = map.get(PREAMBLE_BYTES..header_end).ok_or("its header is longer than the file")?;
        let header: H = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let keys_at = header_end.next_multiple_of(ALIGNMENT);
        let sizes = || {
            let (rows, end) = layout(&header, keys_at)?;
            (end.checked_add(TRAILER_BYTES)? == map.len()).then_some(rows)
        };
        let rows = sizes().ok_or("its length is not what its header says")?;
        let end = map.len() - TRAILER_BYTES;
        let mut digest = [0; Digest::LEN];
        digest.copy_from_slice(&map[end..end + Digest::LEN]);
        let digest = Digest::from_bytes(digest);
        Ok((Self { path: path.to_owned(), map, digest, rows, keys_at }, header))
    }

    /// Checks every byte against the digest that was sealed in.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if they differ.
    pub fn verify(&self) -> Result<(), StoreError> {
        let end = self.map.len() - TRAILER_BYTES;
        if Digest::of(&self.map[..end]) == self.digest {
            Ok(())
        } else {
            Err(StoreError::damaged(&self.path, "its bytes are not those that were sealed"))
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The key of a row.
    pub fn key(&self, row: usize) -> RowKey {
        let at = self.keys_at + row * RowKey::LEN;
        let mut bytes = [0; RowKey::LEN];
        bytes.copy_from_slice(&self.map[at..at + RowKey::LEN]);
        RowKey::from_bytes(bytes)
    }

    /// The row of a key.
    pub fn find(&self, key: &RowKey) -> Option<usize> {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The 4 bytes at `at` as an integer.
    pub fn word(&self, at: usize) -> u32 {
        let map = &self.map;
        u32::from_le_bytes([map[at], map[at + 1], map[at + 2], map[at + 3]])
    }

    /// The bytes at `at`.
    pub fn slice(&self, at: usize, bytes: usize) -> &[u8] {
        &self.map[at..at + bytes]
    }
}

/// Writes a sealed file by way of `temporary`. `rows` writes the keys and what follows them.
///
/// # Errors
/// Whatever writing gives; then `path` is as it was.
pub fn write<H: Serialize>(
    path: &Path,
    temporary: &Path,
    magic: &Magic,
    header: &H,
    rows: impl FnOnce(&mut SealedWriter) -> io::Result<()>,
) -> Result<(), StoreError> {
    let written = write_synced(temporary, magic, header, rows).inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    });
    written.and_then(|()| durable::rename(temporary, path)).map_err(|error| StoreError::write(path, error))
}

fn write_synced<H: Serialize>(
    temporary: &Path,
    magic: &Magic,
    header: &H,
    rows: impl FnOnce(&mut SealedWriter) -> io::Result<()>,
) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    let sink = BufWriter::with_capacity(BUFFER_BYTES, HashedFile::new(file));
    let mut writer = SealedWriter { sink, written: 0 };
    let json = serde_json::to_vec(header).expect("a header is plain data");
    writer.write_all(magic)?;
    writer.write_all(&VERSION.to_le_bytes())?;
    writer.write_all(&u32::try_from(json.len()).expect("a header is a few hundred bytes").to_le_bytes())?;
    writer.write_all(&json)?;
    writer.align()?;
    rows(&mut writer)?;
    writer.finish()
}

/// The file under way; it knows how far it is.
pub struct SealedWriter {
    sink: BufWriter<HashedFile>,
    written: usize,
}

impl SealedWriter {
    /// Writes zeros up to the next multiple of [`ALIGNMENT`].
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn align(&mut self) -> io::Result<()> {
        let gap = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.write_all(&[0; ALIGNMENT][..gap])
    }

    fn finish(mut self) -> io::Result<()> {
        self.sink.flush()?;
        let digest = self.sink.get_ref().digest();
        self.write_all(digest.as_bytes())?;
        self.write_all(SEAL)?;
        self.sink.flush()?;
        self.sink.get_mut().sync()
    }
}

impl Write for SealedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write_all(bytes)?;
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

//! Which rows a finished vectors table has, sorted by their keys: what makes the table a place to take vectors from.
//!
//! Segments are the home of vectors, and a table is gathered from them. Should segments be lost, the table still holds what
//! was paid for, so beside an embedder's segments lies `<digest of the table>.rows` (`sealed.rs`) for each table, in which
//! the row of the table follows each key as a u32. It can be made again from the table at any time.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sealed::{self, Magic, SealedFile};
use super::segment::open_all;
use super::{Store, StoreError};
use crate::digest::{Digest, EmbedderKey, RowKey};
use crate::encoding::Dtype;

const MAGIC: &Magic = b"SCIEMROW";
/// The end of the file's name.
pub const EXTENSION: &str = "rows";

/// What the rows of a vectors table say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHeader {
    /// Whose vectors these are.
    pub embedder: EmbedderKey,
    /// Components per vector.
    pub dim: usize,
    /// Element type of the vectors.
    pub dtype: Dtype,
    /// Distinct keys in the table.
    pub rows: usize,
    /// The table.
    pub table: Digest,
    /// The runtime libraries that computed it.
    pub runtime: String,
    /// The classes of CPU, or devices, that computed it.
    pub cpu: String,
}

/// The sorted rows of a vectors table, memory-mapped.
#[derive(Debug)]
pub struct TableRows {
    file: SealedFile,
    header: TableHeader,
    places_at: usize,
}

impl Store {
    fn table_rows_path(&self, embedder: &EmbedderKey, table: &Digest) -> PathBuf {
        self.segment_folder(embedder).join(format!("{table}.{EXTENSION}"))
    }

    /// Makes a finished table a place to take vectors from: `rows` are its distinct keys, ascending, each with a row.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn write_table_rows(&self, header: &TableHeader, rows: &[(RowKey, u32)]) -> Result<(), StoreError> {
        let folder = self.segment_folder(&header.embedder);
        fs::create_dir_all(&folder).map_err(|error| StoreError::write(&folder, error))?;
        let path = self.table_rows_path(&header.embedder, &header.table);
        sealed::write(&path, &self.temporary(), MAGIC, header, |file| {
            rows.iter().try_for_each(|(key, _)| file.write_all(key.as_bytes()))?;
            rows.iter().try_for_each(|(_, row)| file.write_all(&row.to_le_bytes()))
        })
    }

    /// Opens the rows of every vectors table of an embedder that can serve this shape, in the order of the tables' digests.
    /// What cannot be opened is passed over: the tables are only where vectors are looked for last.
    ///
    /// # Errors
    /// [`StoreError::Read`] if the embedder's folder cannot be listed.
    pub fn table_rows(
        &self,
        embedder: &EmbedderKey,
        dim: usize,
        dtype: Dtype,
    ) -> Result<(Vec<TableRows>, Vec<StoreError>), StoreError> {
        let folder = self.segment_folder(embedder);
        let (mut tables, damaged) = open_all(&folder, EXTENSION, TableRows::open)?;
        let serves = |header: &TableHeader| header.embedder == *embedder && header.dim == dim && header.dtype >= dtype;
        tables.retain(|table| serves(&table.header));
        tables.sort_by_key(|table| table.header.table);
        Ok((tables, damaged))
    }

    /// Forgets where the rows of a table are, if that was known: it is no place to look in any more.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn forget_table_rows(&self, embedder: &EmbedderKey, table: &Digest) -> Result<(), StoreError> {
        let path = self.table_rows_path(embedder, table);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::write(&path, error)),
            _ => Ok(()),
        }
    }
}

impl TableRows {
    /// Opens the rows of a table and checks their frame. [`SealedFile::verify`] checks the bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is no such file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut places_at = 0;
        let (file, header) = SealedFile::open(path, MAGIC, |header: &TableHeader, keys_at| {
            places_at = keys_at.checked_add(header.rows.checked_mul(RowKey::LEN)?)?;
            Some((header.rows, places_at.checked_add(header.rows.checked_mul(4)?)?))
        })?;
        Ok(Self { file, header, places_at })
    }

    /// What is said of the table.
    pub fn header(&self) -> &TableHeader {
        &self.header
    }

    /// The file with the keys.
    pub fn file(&self) -> &SealedFile {
        &self.file
    }

    /// Where in the table the n-th of the sorted keys is.
    pub fn place(&self, nth: usize) -> usize {
        self.file.word(self.places_at + 4 * nth) as usize
    }
}

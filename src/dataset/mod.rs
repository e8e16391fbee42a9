//! Reading what persist and merge published: a dataset by name, a vector by bibcode or alias, in constant time and constant
//! memory.
//!
//! [`Dataset::open`] resolves the dataset's one link once and opens everything in the set behind it; every file that
//! carries a set digest must carry that set's. A publisher may tidy an old set away just then: opening is tried again.
//!
//! Opening reads no rows, and a row that is read is held against its check: what is given is what was published. Only
//! [`Dataset::vectors`] are as they lie. `description.rs` is what a dataset says of itself.

mod description;
mod error;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::array::{AsArray, RecordBatch};
pub use description::{Description, Part};
pub use error::DatasetError;

use crate::digest::{Digest, MetadataDigest, RowKey};
use crate::encoding::decode;
use crate::graph::{keys_file, manifest_file};
use crate::index::flat::Vectors;
use crate::index::keys::KeyIndex;
use crate::published::Layout;
use crate::store::ipc::IpcTable;
use crate::store::{StoreError, is_sealed_json};
use crate::table::{self, DatasetRows, IPC_BATCH_ROWS};

/// How often opening is tried when sets are swapped underneath: each try sees a newer link.
const OPEN_TRIES: usize = 10;

/// One row of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its place, from 0: the line of the bibcode in `bibcodes_*.txt`, less one. In a view superseded rows count.
    pub row: usize,
    /// Its bibcode, whichever of its names was asked for.
    pub bibcode: String,
    /// `dim` components, widened from the published type.
    pub vector: Vec<f32>,
    /// Digest of the record's selected fields.
    pub metadata_digest: MetadataDigest,
    /// Key of the text under its embedder.
    pub row_key: RowKey,
}

/// An open dataset: the set that was published when it was opened, whatever is published later.
pub struct Dataset {
    folder: PathBuf,
    description: Description,
    /// Each with its first row: one table, or for a view those of its parts.
    tables: Vec<(usize, IpcTable)>,
    keys: KeyIndex,
    /// The columns of vectors alone, once somebody asked for them; each batch with its first row.
    vectors: OnceLock<Vec<(usize, RecordBatch)>>,
}

/// The names of the datasets that a directory shows, sorted.
///
/// # Errors
/// [`DatasetError::NoDataset`] if there is none; whatever listing gives.
pub fn names(dir: &Path) -> Result<Vec<String>, DatasetError> {
    let links = Layout::new(dir).links();
    let entries = match fs::read_dir(&links) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let dir = dir.to_owned();
            return Err(if dir.is_dir() { DatasetError::NoDataset { dir } } else { DatasetError::NoDirectory { dir } });
        }
        Err(error) => return Err(StoreError::read(&links, error).into()),
    };
    let named = |name: &String| !name.starts_with('.');
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(named).collect();
    names.sort();
    if names.is_empty() { Err(DatasetError::NoDataset { dir: dir.to_owned() }) } else { Ok(names) }
}

impl Dataset {
    /// Opens the dataset `name` that `dir` shows now.
    ///
    /// # Errors
    /// [`DatasetError`]; never a mixture of two sets.
    pub fn open(dir: &Path, name: &str) -> Result<Self, DatasetError> {
        let mut last = None;
        for _ in 0..OPEN_TRIES {
            match Self::open_shown(dir, name) {
                // The set was tidied away between resolving the link and opening its files.
                Err(DatasetError::Store(StoreError::Read { path, source }))
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    last = Some(path);
                }
                other => return other,
            }
        }
        let known = names(dir)?;
        if let Some(path) = last.filter(|_| known.iter().any(|known| known == name)) {
            return Err(DatasetError::Incomplete { path });
        }
        Err(DatasetError::Unknown { dir: dir.to_owned(), name: name.to_owned(), known: known.join(", ") })
    }

    fn open_shown(dir: &Path, name: &str) -> Result<Self, DatasetError> {
        let link = Layout::new(dir).link(name);
        let set = fs::canonicalize(&link).map_err(|error| StoreError::read(&link, error))?;
        let manifest = set.join(manifest_file(name));
        let bytes = fs::read(&manifest).map_err(|error| StoreError::read(&manifest, error))?;
        if !is_sealed_json(&bytes) {
            return Err(DatasetError::Damaged { path: manifest });
        }
        let description: Description =
            serde_json::from_slice(&bytes).map_err(|error| StoreError::damaged(&manifest, error))?;
        let expected = set.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        same_set(&manifest, &description.set.to_string(), &expected)?;
        let tables = description.vectors(&set).into_iter().map(|file| Ok((file.first, file.open()?)));
        let tables = tables.collect::<Result<_, DatasetError>>()?;
        let path = set.join(keys_file(name));
        let keys = KeyIndex::open(&path)?;
        same_set(&path, &keys.set().to_string(), &expected)?;
        Ok(Self { folder: set, description, tables, keys, vectors: OnceLock::new() })
    }

    /// Reads all its files, and compares them with what was published.
    ///
    /// # Errors
    /// [`DatasetError::Damaged`]; whatever reading gives.
    pub fn verify(&self) -> Result<(), DatasetError> {
        self.description.files.iter().try_for_each(|(file, of)| {
            let path = self.folder.join(file);
            match Digest::of_file(&path) {
                Ok(found) if found == of.blake3 => Ok(()),
                Ok(_) => Err(DatasetError::Damaged { path }),
                Err(error) => Err(StoreError::read(&path, error).into()),
            }
        })
    }

    /// What the dataset says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The row of a bibcode, or of an alias that is no bibcode here; none if the dataset knows neither.
    ///
    /// # Errors
    /// [`DatasetError`] if the row, or the key index, is not what was published.
    pub fn get(&self, name: &str) -> Result<Option<Row>, DatasetError> {
        // The row of a bibcode says itself whether it is the right one, but for those that have it in common.
        if self.description.has_superseded() {
            self.keys.check()?;
        }
        let (row, alias) = match self.keys.row(name)? {
            Some(row) => (row, false),
            None => match self.keys.row_of_alias(name)? {
                Some(row) => (row, true),
                None => return Ok(None),
            },
        };
        let (rows, at) = self.sound_row(row)?.ok_or_else(|| self.misled(name))?;
        if !alias && rows.bibcode(at) != name {
            return Err(self.misled(name));
        }
        let read = || {
            Some(Row {
                row,
                bibcode: rows.bibcode(at).to_owned(),
                vector: decode(
                    rows.vector(at),
                    rows.scale(at).unwrap_or(1.0),
                    self.description.dtype,
                    self.description.dim,
                ),
                metadata_digest: MetadataDigest::from_bytes(rows.metadata_digest(at).try_into().ok()?),
                row_key: RowKey::from_bytes(rows.row_key(at).try_into().ok()?),
            })
        };
        read().map(Some).ok_or_else(|| self.misled(name))
    }

    /// The row of a bibcode. No row is looked at for it, so the key index is.
    ///
    /// # Errors
    /// [`DatasetError`] if the key index is damaged.
    pub fn row(&self, bibcode: &str) -> Result<Option<usize>, DatasetError> {
        self.keys.check()?;
        Ok(self.keys.row(bibcode)?.filter(|row| *row < self.rows()))
    }

    /// How many rows its vectors have; those of a view that are superseded count.
    pub fn rows(&self) -> usize {
        self.tables.last().map_or(0, |(first, table)| first + table.rows())
    }

    /// The bibcode of a row; none if there is no such row, or if it is superseded.
    ///
    /// # Errors
    /// [`DatasetError`] if the row, or the key index, is not what was published.
    pub fn bibcode(&self, row: usize) -> Result<Option<&str>, DatasetError> {
        let Some((rows, at)) = self.sound_row(row)? else { return Ok(None) };
        let bibcode = rows.bibcode(at);
        if self.description.has_superseded() {
            self.keys.check()?;
        }
        if self.keys.row(bibcode)? == Some(row) {
            return Ok(Some(bibcode));
        }
        if self.description.has_superseded() { Ok(None) } else { Err(self.misled(bibcode)) }
    }

    /// All rows with their bibcodes, in order; those of a view that are superseded are among them.
    ///
    /// # Errors
    /// Once for each damaged part of a file.
    pub fn bibcodes(&self) -> impl Iterator<Item = Result<(usize, &str), DatasetError>> {
        let batches =
            self.tables.iter().flat_map(|(first, table)| (*first..).step_by(IPC_BATCH_ROWS).zip(table.batches()));
        batches.flat_map(|(first, batch)| {
            let (batch, failed) = batch.map_or_else(|error| (None, Some(error)), |batch| (Some(batch), None));
            let bibcodes = batch.and_then(|batch| batch.column_by_name(table::BIBCODE)?.as_string_opt::<i32>());
            let rows = bibcodes.into_iter().flat_map(|bibcodes| bibcodes.iter().flatten());
            (first..).zip(rows).map(Ok).chain(failed.map(|error| Err(error.into())))
        })
    }

    /// The batches of its rows, in order.
    ///
    /// # Errors
    /// For each, if it is damaged.
    pub fn batches(&self) -> impl Iterator<Item = Result<&RecordBatch, DatasetError>> {
        self.tables.iter().flat_map(|(_, table)| table.batches()).map(|batch| Ok(batch?))
    }

    /// Its vectors as they lie, unchecked, to be compared with others.
    ///
    /// # Errors
    /// [`DatasetError::Store`] if they do not lie as the dataset says.
    pub fn vectors(&self) -> Result<Vectors<'_>, DatasetError> {
        let Description { dim, dtype, dataset, .. } = &self.description;
        let batches = match self.vectors.get() {
            Some(batches) => batches,
            None => {
                let read = self.read_vectors()?;
                self.vectors.get_or_init(|| read)
            }
        };
        let damaged = || StoreError::damaged(Path::new(dataset), "its vectors do not lie as its manifest says");
        Ok(Vectors::of(batches, *dim, *dtype).ok_or_else(damaged)?)
    }

    fn read_vectors(&self) -> Result<Vec<(usize, RecordBatch)>, DatasetError> {
        let columns: &[&str] =
            if self.description.dtype.has_scale() { &[table::EMBEDDING, table::SCALE] } else { &[table::EMBEDDING] };
        let mut read = Vec::new();
        for (first, table) in &self.tables {
            let numbered = (*first..).step_by(IPC_BATCH_ROWS);
            read.extend(numbered.zip(table.columns(columns)?));
        }
        Ok(read)
    }

    /// A row that has the check that it should have: the rows of its batch, and its place there.
    fn sound_row(&self, row: usize) -> Result<Option<(DatasetRows<'_>, usize)>, DatasetError> {
        let after = self.tables.partition_point(|(first, _)| *first <= row);
        let Some((first, table)) = after.checked_sub(1).and_then(|nth| self.tables.get(nth)) else { return Ok(None) };
        let row = row - first;
        let Some((batch, at)) = table.locate(row)? else { return Ok(None) };
        let width = self.description.dtype.vector_bytes(self.description.dim);
        let rows = DatasetRows::of(batch).filter(|rows| rows.vector_bytes() == width && rows.is_sound(at));
        let rows = rows.ok_or_else(|| DatasetError::RowDamaged { path: table.path().to_owned(), row })?;
        Ok(Some((rows, at)))
    }

    /// A bibcode leads to a row that is not its own, and the row is sound: it is the index that is not.
    fn misled(&self, bibcode: &str) -> DatasetError {
        let path = self.folder.join(keys_file(&self.description.dataset));
        StoreError::damaged(&path, format!("{bibcode} leads to a row that is not its own")).into()
    }

    /// Bibcodes like this one, for a question that found nothing.
    pub fn near(&self, bibcode: &str, limit: usize) -> Vec<String> {
        self.keys.near(bibcode, limit)
    }
}

fn same_set(path: &Path, found: &str, expected: &str) -> Result<(), DatasetError> {
    if found == expected {
        return Ok(());
    }
    Err(DatasetError::Mixed { path: path.to_owned(), found: found.to_owned(), expected: expected.to_owned() })
}

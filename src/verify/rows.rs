//! The rows of a set that was embedded, each against the tables of the store: vector, text, record, list and index.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;

use arrow::array::{AsArray, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::Verifier;
use super::cursor::Cursor;
use super::sets::{Fault, Set, SetManifest};
use crate::digest::{Digest, RowKey};
use crate::graph::{bibcodes_file, embeddings_file, keys_file};
use crate::index::keys::KeyIndex;
use crate::store::parquet::RowsBeside;
use crate::store::{Store, StoreError};
use crate::table;

impl Verifier<'_> {
    /// Checks each row of a set that was embedded; says how many there are.
    pub(super) fn embedded(&self, set: &Set) -> Result<u64, Fault> {
        let manifest = &set.manifest;
        let (Some(records), Some(texts), Some(vectors)) = (manifest.records, manifest.texts, manifest.vectors) else {
            return Err(Fault::Row { wrong: "it does not say what its rows come from".to_owned(), by: Vec::new() });
        };
        if !self.sound(&[records, texts, vectors]) {
            return Ok(0);
        }
        let mut published = Cursor::of_file(&set.folder.join(embeddings_file(set.name, manifest.dtype)))?;
        let mut stored = Cursor::of_blob(self.store, &vectors)?;
        let mut said = Texts::open(self.store, &texts, manifest)?;
        let mut digests = Digests::open(self.store, &records)?;
        let list = set.folder.join(bibcodes_file(set.name));
        let mut listed = Listed::open(&list)?;
        let index = KeyIndex::open_checked(&set.folder.join(keys_file(set.name)))?;
        let mut row = 0;
        while published.advance()? {
            let bibcode = published.bibcode().unwrap_or_default();
            let wrong = |what: &str, by: &[Digest]| {
                Err(Fault::Row { wrong: format!("row {row} ({bibcode}): {what}"), by: by.to_vec() })
            };
            if !stored.advance()? || stored.bibcode() != published.bibcode() {
                return wrong("the vectors table has another paper there", &[]);
            }
            if published.vector().is_none_or(|vector| stored.published(manifest.dtype, manifest.dim) != Some(vector)) {
                return wrong("its vector is not that of the vectors table", &[]);
            }
            if published.bytes("row_key") != stored.bytes("row_key") {
                return wrong("its row key is not that of the vectors table", &[]);
            }
            match said.advance()? {
                Some((of, text)) if of == bibcode => {
                    if published.bytes("row_key").is_none_or(|key| !is_key(manifest, text, key)) {
                        return wrong("its row key is not that of its text", &[vectors]);
                    }
                }
                _ => return wrong("the texts table has another paper there", &[vectors]),
            }
            if digests.of(bibcode)?.as_deref() != published.bytes("metadata_digest") {
                return wrong("its metadata digest is not that of its record", &[]);
            }
            if !published.is_sound() {
                return wrong("its check is not that of the row", &[]);
            }
            if listed.advance()?.as_deref() != Some(bibcode) {
                return wrong("the list of bibcodes has another paper there", &[]);
            }
            if index.row(bibcode)? != usize::try_from(row).ok() {
                return wrong("the key index does not lead there", &[]);
            }
            row += 1;
        }
        let more_texts = said.advance()?.is_some() || said.left_out < manifest.failed.len();
        if stored.advance()? || more_texts || listed.advance()?.is_some() {
            let wrong = format!("it ends after {row} rows, and what it came from does not");
            return Err(Fault::Row { wrong, by: Vec::new() });
        }
        Ok(row)
    }
}

fn is_key(manifest: &SetManifest, text: &str, found: &[u8]) -> bool {
    manifest.embedder.is_some_and(|embedder| found == RowKey::of(&embedder, text).as_bytes())
}

/// Walks the texts of a table that have a vector: all but those of the papers that the set's manifest lists as left out.
struct Texts<'a> {
    store: &'a Store,
    table: Digest,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    next: usize,
    manifest: &'a SetManifest,
    /// How many of the papers left out are passed.
    left_out: usize,
}

impl<'a> Texts<'a> {
    fn open(store: &'a Store, table: &Digest, manifest: &'a SetManifest) -> Result<Self, StoreError> {
        let reader = store.read_parquet_columns(table, &[table::BIBCODE, "text"])?;
        Ok(Self { store, table: *table, reader, batch: None, next: 0, manifest, left_out: 0 })
    }

    /// The next row's bibcode and text.
    fn advance(&mut self) -> Result<Option<(&str, &str)>, StoreError> {
        while self.step()? {
            let (bibcode, text) = self.row().unzip();
            let failed = self.manifest.failed.get(self.left_out);
            let is_left_out = failed.is_some_and(|failed| {
                Some(&*failed.bibcode) == bibcode
                    && text.is_some_and(|text| is_key(self.manifest, text, failed.row_key.as_bytes()))
            });
            if !is_left_out {
                return Ok(self.row());
            }
            self.left_out += 1;
        }
        Ok(None)
    }

    /// Goes to the next row; says whether there is one.
    fn step(&mut self) -> Result<bool, StoreError> {
        self.next += 1;
        while self.batch.as_ref().is_none_or(|batch| self.next > batch.num_rows()) {
            let damaged = |error| StoreError::damaged(&self.store.blob_path(&self.table), error);
            (self.batch, self.next) = (self.reader.next().transpose().map_err(damaged)?, 1);
            if self.batch.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The bibcode and the text of the row.
    fn row(&self) -> Option<(&str, &str)> {
        let column = |name: &str| -> Option<&str> {
            let column: &StringArray = self.batch.as_ref()?.column_by_name(name)?.as_string_opt()?;
            Some(column.value(self.next - 1))
        };
        column(table::BIBCODE).zip(column("text"))
    }
}

/// Finds metadata digests in a records table, whose rows stand in the order of the dataset's.
struct Digests<'a> {
    store: &'a Store,
    table: Digest,
    rows: RowsBeside,
}

impl<'a> Digests<'a> {
    fn open(store: &'a Store, table: &Digest) -> Result<Self, StoreError> {
        let rows = RowsBeside::new(store.read_parquet_columns(table, &[table::BIBCODE, table::METADATA_DIGEST])?);
        Ok(Self { store, table: *table, rows })
    }

    fn of(&mut self, bibcode: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let damaged = |error| StoreError::damaged(&self.store.blob_path(&self.table), error);
        let found = self.rows.row_of(bibcode).map_err(damaged)?;
        Ok(found.and_then(|(batch, row)| {
            Some(batch.column_by_name(table::METADATA_DIGEST)?.as_fixed_size_binary_opt()?.value(row).to_vec())
        }))
    }
}

/// Walks a list of bibcodes.
pub(super) struct Listed<'a> {
    path: &'a Path,
    lines: Lines<BufReader<File>>,
}

impl<'a> Listed<'a> {
    pub fn open(path: &'a Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| StoreError::read(path, error))?;
        Ok(Self { path, lines: BufReader::new(file).lines() })
    }

    /// The next line.
    pub fn advance(&mut self) -> Result<Option<String>, StoreError> {
        self.lines.next().transpose().map_err(|error| StoreError::read(self.path, error))
    }
}

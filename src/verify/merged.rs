//! The rows of a merge, each against the row of the part that it came from.
//!
//! Which rows of a part were left out stands in a table of the merge's record: a bit is held for each row of a part. That
//! such a paper can be found all the same, by its bibcode or as an alias, is checked too.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::UInt64Type;

use super::Verifier;
use super::cursor::Cursor;
use super::rows::Listed;
use super::sets::{Fault, MergedPart, Set};
use crate::graph::{bibcodes_file, embeddings_file, keys_file, part_file};
use crate::index::keys::KeyIndex;
use crate::record::Output;
use crate::store::StoreError;

/// A part, as the store holds it.
struct Part<'a> {
    says: &'a MergedPart,
    embeddings: Output,
    left_out: Bits,
}

/// A bit for each row.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, row: usize) {
        if self.0.len() <= row / 64 {
            self.0.resize(row / 64 + 1, 0);
        }
        self.0[row / 64] |= 1 << (row % 64);
    }

    fn has(&self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

impl Verifier<'_> {
    /// Checks each row of a merge; says how many rows can be found in it.
    ///
    /// A copy holds the rows of its parts one below the other, less those that were left out. A view holds the files of its
    /// parts, and so all their rows.
    pub(super) fn merged(&self, set: &Set) -> Result<u64, Fault> {
        let Some(parts) = self.parts(set)? else { return Ok(0) };
        let (view, dtype) = (set.manifest.view, set.manifest.dtype);
        let index = KeyIndex::open_checked(&set.folder.join(keys_file(set.name)))?;
        let list = set.folder.join(bibcodes_file(set.name));
        let mut listed = Listed::open(&list)?;
        let copy = (!view).then(|| Cursor::of_file(&set.folder.join(embeddings_file(set.name, dtype))));
        let mut copy = copy.transpose()?;
        let (mut row, mut found) = (0, 0);
        for part in &parts {
            let mut came_from = self.rows_of(set, part)?;
            for own in 0.. {
                if !came_from.advance()? {
                    break;
                }
                let bibcode = came_from.bibcode().unwrap_or_default();
                let wrong = |what: &str| {
                    let wrong = format!("row {row} ({bibcode} of {}): {what}", part.says.dataset);
                    Err(Fault::Row { wrong, by: Vec::new() })
                };
                let left_out = part.left_out.has(own);
                if !leads(&index, bibcode, (!left_out).then_some(row))? {
                    return wrong("the key index does not lead there");
                }
                if left_out && !view {
                    continue;
                }
                if let Some(what) = copy.as_mut().map_or(Ok(None), |copy| differs(copy, &came_from))? {
                    return wrong(what);
                }
                if listed.advance()?.as_deref() != Some(bibcode) {
                    return wrong("the list of bibcodes has another paper there");
                }
                row += 1;
                found += u64::from(!left_out);
            }
        }
        if copy.map_or(Ok(false), |mut copy| copy.advance())? || listed.advance()?.is_some() {
            let wrong = format!("it goes on after {row} rows, and what it came from does not");
            return Err(Fault::Row { wrong, by: Vec::new() });
        }
        Ok(found)
    }

    /// The rows of a part: as the store holds them, or as a view does, whose files have the bytes of the part's.
    fn rows_of(&self, set: &Set, part: &Part) -> Result<Cursor, StoreError> {
        if set.manifest.view {
            Cursor::of_file(&set.folder.join(part_file(&part.says.dataset, set.manifest.dtype)))
        } else {
            Cursor::of_blob(self.store, &part.embeddings.digest)
        }
    }

    /// The sets that were merged; none if one of them is known to be damaged.
    fn parts<'s>(&self, set: &'s Set) -> Result<Option<Vec<Part<'s>>>, Fault> {
        let Some(mut left_out) = self.left_out(set)? else { return Ok(None) };
        let mut parts = Vec::new();
        for says in &set.manifest.parts {
            let record = self.records.get(&says.set);
            let embeddings = embeddings_file(&says.dataset, set.manifest.dtype);
            let Some(&embeddings) = record.and_then(|record| record.outputs.get(&embeddings)) else {
                let wrong = format!("the store has no record of set {}, which it was merged from", says.set.short());
                return Err(Fault::Row { wrong, by: Vec::new() });
            };
            if !self.sound(&[embeddings.digest]) {
                return Ok(None);
            }
            parts.push(Part { says, embeddings, left_out: left_out.remove(&says.dataset).unwrap_or_default() });
        }
        Ok(Some(parts))
    }

    /// The rows of each part that the merge left out; none if the table of them is known to be damaged.
    fn left_out(&self, set: &Set) -> Result<Option<HashMap<String, Bits>>, Fault> {
        let mut left_out: HashMap<String, Bits> = HashMap::new();
        let Some(table) = set.superseded.map(|output| output.digest) else { return Ok(Some(left_out)) };
        if !self.sound(&[table]) {
            return Ok(None);
        }
        let path = self.store.blob_path(&table);
        for batch in self.store.read_parquet_columns(&table, &["dataset", "row"])? {
            let batch = batch.map_err(|error| StoreError::damaged(&path, error))?;
            let rows = named_rows(&batch).ok_or_else(|| StoreError::damaged(&path, "it names no rows"))?;
            for (dataset, row) in rows {
                left_out.entry(dataset.to_owned()).or_default().set(row);
            }
        }
        Ok(Some(left_out))
    }
}

/// Whether a bibcode leads to its row, or, where its row was left out, to the one that stands for it: a later one of the
/// same bibcode, or the paper that it is an alias of.
fn leads(index: &KeyIndex, bibcode: &str, row: Option<usize>) -> Result<bool, StoreError> {
    let found = index.row(bibcode)?;
    Ok(match row {
        Some(_) => found == row,
        None => found.is_some() || index.row_of_alias(bibcode)?.is_some(),
    })
}

/// What is wrong with the next row of a copy, which came from the given one.
fn differs(copy: &mut Cursor, came_from: &Cursor) -> Result<Option<&'static str>, StoreError> {
    if !copy.advance()? || copy.bibcode() != came_from.bibcode() {
        return Ok(Some("another paper is there"));
    }
    let same = ["metadata_digest", "row_key"].iter().all(|name| copy.bytes(name) == came_from.bytes(name));
    Ok((!same || copy.vector() != came_from.vector() || !copy.is_sound())
        .then_some("it is not the row that it came from"))
}

/// The datasets and rows that a table of rows that were left out names.
fn named_rows(batch: &RecordBatch) -> Option<impl Iterator<Item = (&str, usize)>> {
    let datasets: &StringArray = batch.column_by_name("dataset")?.as_string_opt()?;
    let rows = batch.column_by_name("row")?.as_primitive_opt::<UInt64Type>()?;
    let row = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
    Some(datasets.iter().flatten().zip(rows.values().iter().map(move |value| row(*value))))
}

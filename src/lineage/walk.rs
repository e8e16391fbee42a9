//! The rows of a set in order, with what stands beside them in the tables that they came from.
//!
//! Rows stream batch by batch, so memory does not grow with the corpus. A merge's rows are those of its parts, less the rows
//! that it left out, in the same order.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::UInt64Type;
use arrow::error::ArrowError;

use super::{Lineage, LineageError, Origin, SetLineage, Tables};
use crate::digest::{Digest, NodeKey};
use crate::record::Record;
use crate::store::StoreError;
use crate::store::parquet::RowsBeside;
use crate::table;

/// Which columns are wanted beside the rows of a set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Of the records table.
    pub records: &'a [&'a str],
    /// Whether the text of each row.
    pub text: bool,
}

/// Some rows of a set, in order.
pub struct Walked<'a> {
    /// The dataset that was embedded.
    pub part: String,
    /// The row of each in the set that is walked; in a view superseded rows count, though none is given.
    pub numbers: UInt64Array,
    /// `bibcode`, `metadata_digest` and `row_key` of each, then the columns that are wanted.
    pub batch: RecordBatch,
    /// Who read their records.
    pub load: &'a Record,
}

impl Walked<'_> {
    /// The bibcodes.
    pub fn bibcodes(&self) -> &StringArray {
        self.batch[table::BIBCODE].as_string()
    }
}

impl Lineage {
    /// Gives the rows of a set in order, with columns of the tables that they came from.
    ///
    /// # Errors
    /// [`LineageError`] if a table is not there or lacks a row; whatever `each` gives.
    pub fn walk<'a, E>(&'a self, set: &NodeKey, beside: Beside, each: &mut Each<'a, '_, E>) -> Result<(), E>
    where
        E: From<LineageError>,
    {
        let found = self.set(set)?;
        match &found.origin {
            Origin::Embedded(tables) => self.walk_embedded(&found, tables, beside, each),
            Origin::Merged(parts) => {
                let mut left_out = self.left_out(found.record)?;
                let (mut next, mut offset) = (0, 0);
                for part in parts {
                    let left_out = left_out.remove(&part.dataset).unwrap_or_default();
                    self.walk(&part.set, beside, &mut |rows| {
                        let mut rows = less(rows, &left_out).map_err(|error| self.unreadable(set, error))?;
                        if found.manifest.view {
                            rows.numbers = rows.numbers.unary(|row| offset + row);
                        } else {
                            let first = next;
                            next += rows.batch.num_rows() as u64;
                            rows.numbers = UInt64Array::from_iter_values(first..next);
                        }
                        each(rows)
                    })?;
                    offset += part.rows;
                }
                Ok(())
            }
        }
    }

    fn walk_embedded<'a, E: From<LineageError>>(
        &'a self,
        set: &SetLineage<'a>,
        tables: &Tables<'a>,
        beside: Beside,
        each: &mut Each<'a, '_, E>,
    ) -> Result<(), E> {
        let Some((_, embeddings)) = set.record.outputs.iter().find(|(file, _)| file.starts_with("embeddings_")) else {
            let (set, store) = (set.record.key, self.store.root().to_owned());
            return Err(LineageError::SetUnknown { set, store }.into());
        };
        let mut records = self.beside(&tables.records, beside.records)?;
        let mut texts = self.beside(&tables.texts, if beside.text { &["text"] } else { &[] })?;
        let mut next = 0;
        for batch in self.store.read_ipc_batches(&embeddings.digest).map_err(LineageError::from)? {
            let unreadable = |error| self.unreadable(&set.record.key, error);
            let batch = batch.map_err(LineageError::from)?;
            let first = next;
            next += batch.num_rows() as u64;
            let own = [table::BIBCODE, "metadata_digest", "row_key"];
            let mut columns: Vec<(String, ArrayRef)> =
                own.iter().map(|name| ((*name).to_owned(), batch[*name].clone())).collect();
            for table in [&mut records, &mut texts].into_iter().flatten() {
                columns.extend(table.of(batch[table::BIBCODE].as_string())?);
            }
            // Fields may be missing, whichever row comes first.
            let columns = columns.into_iter().map(|(name, column)| (name, column, true));
            let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(unreadable)?;
            let part = set.manifest.dataset.clone();
            each(Walked { part, numbers: UInt64Array::from_iter_values(first..next), batch, load: tables.load })?;
        }
        Ok(())
    }

    /// Walks columns of a table beside the rows of a set; none where none are wanted.
    fn beside(&self, table: &Digest, columns: &[&str]) -> Result<Option<Columns>, LineageError> {
        if columns.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = std::iter::once(table::BIBCODE).chain(columns.iter().copied()).collect();
        let reader = self.store.read_parquet_columns(table, &names)?;
        let names = columns.iter().map(|name| (*name).to_owned()).collect();
        Ok(Some(Columns { rows: RowsBeside::new(reader), names, blob: self.store.blob_path(table) }))
    }

    /// The records beside bibcodes that are in their order: those columns.
    ///
    /// # Errors
    /// [`LineageError`] if the table cannot be read.
    pub fn records_beside(&self, tables: &Tables, columns: &[&str]) -> Result<Columns, LineageError> {
        Ok(self.beside(&tables.records, columns)?.expect("columns are named"))
    }

    /// The rows that a merge left out, by dataset.
    fn left_out(&self, merge: &Record) -> Result<BTreeMap<String, HashSet<u64>>, LineageError> {
        let mut left_out: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
        let Some(output) = merge.outputs.get(table::SUPERSEDED).filter(|output| output.rows > 0) else {
            return Ok(left_out);
        };
        for batch in self.store.read_parquet_columns(&output.digest, &["dataset", "row"])? {
            let batch = batch.map_err(|error| StoreError::damaged(&self.store.blob_path(&output.digest), error))?;
            let (datasets, rows) = (batch["dataset"].as_string::<i32>(), batch["row"].as_primitive::<UInt64Type>());
            for (dataset, row) in datasets.iter().flatten().zip(rows.values()) {
                // A name is looked up before it is copied: there are as many as rows.
                if let Some(rows) = left_out.get_mut(dataset) {
                    rows.insert(*row);
                } else {
                    left_out.insert(dataset.to_owned(), HashSet::from([*row]));
                }
            }
        }
        Ok(left_out)
    }

    fn unreadable(&self, set: &NodeKey, error: ArrowError) -> LineageError {
        let record = self.record(set).and_then(|record| record.outputs.values().next());
        let blob = record.map_or_else(|| self.store.root().to_owned(), |output| self.store.blob_path(&output.digest));
        StoreError::damaged(&blob, error).into()
    }
}

/// What is done with some rows.
pub type Each<'a, 'b, E> = dyn FnMut(Walked<'a>) -> Result<(), E> + 'b;

/// Columns of a table beside bibcodes that are in its order, though not each of the table's own need be among them.
pub struct Columns {
    rows: RowsBeside,
    names: Vec<String>,
    blob: std::path::PathBuf,
}

impl Columns {
    /// The columns of these bibcodes, which come after those that were asked before; those that the table has.
    ///
    /// # Errors
    /// [`LineageError::Store`] if the table lacks one.
    pub fn of(&mut self, bibcodes: &StringArray) -> Result<Vec<(String, ArrayRef)>, LineageError> {
        let mut pieces: Vec<RecordBatch> = Vec::new();
        let damaged = |detail: String| StoreError::damaged(&self.blob, detail);
        let mut at = 0;
        while at < bibcodes.len() {
            let found = self.rows.run_of(bibcodes, at).map_err(|error| damaged(error.to_string()))?;
            let lacks = || damaged(format!("it lacks {}, which a set made of it has", bibcodes.value(at)));
            let piece = found.ok_or_else(lacks)?;
            at += piece.num_rows();
            pieces.push(piece);
        }
        let Some(first) = pieces.first() else {
            return Ok(Vec::new());
        };
        let whole = concat_batches(&first.schema(), &pieces).map_err(|error| damaged(error.to_string()))?;
        // A column that the table lacks is left out: whoever wants it says so.
        let column = |name: &String| Some((name.clone(), whole.column_by_name(name)?.clone()));
        Ok(self.names.iter().filter_map(column).collect())
    }
}

/// The rows but those whose number is in the list.
fn less<'a>(rows: Walked<'a>, left_out: &HashSet<u64>) -> Result<Walked<'a>, ArrowError> {
    if left_out.is_empty() {
        return Ok(rows);
    }
    let kept: BooleanArray = rows.numbers.values().iter().map(|row| Some(!left_out.contains(row))).collect();
    let numbers = arrow::compute::filter(&rows.numbers, &kept)?;
    Ok(Walked { numbers: numbers.as_primitive().clone(), batch: filter_record_batch(&rows.batch, &kept)?, ..rows })
}

//! The tables with a row for each paper: papers, rejects and truncations.
//!
//! Rows stream batch by batch from the store's tables into DuckDB, a whole set at a time, so memory does not grow with
//! the corpus. A merge's papers are those of its parts, less the rows that it left out, in the same order.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, RecordBatch, StringArray, StringBuilder, UInt32Builder,
    UInt64Array, UInt64Builder,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use duckdb::{Appender, Connection};

use super::{FillError, Shelf, Shown};
use crate::digest::{Digest, NodeKey};
use crate::lineage::{Lineage, LineageError, Origin, SetLineage, Tables};
use crate::record::Record;
use crate::store::StoreError;
use crate::store::parquet::RowsBeside;
use crate::table;

/// Fills them, and says how many papers there are.
pub fn fill(connection: &Connection, shelf: &Shelf) -> Result<u64, FillError> {
    let mut papers = connection.appender("papers")?;
    let mut count = 0;
    for shown in &shelf.datasets {
        let lineage = shelf.lineage(shown);
        walk(lineage, &shown.set, &mut |rows| {
            count += rows.batch.num_rows() as u64;
            Ok(papers.append_record_batch(rows.of_dataset(&shown.name)?)?)
        })?;
    }
    papers.flush()?;
    let (mut rejects, mut truncations) = (connection.appender("rejects")?, connection.appender("truncations")?);
    for shown in &shelf.datasets {
        let lineage = shelf.lineage(shown);
        let set = lineage.set(&shown.set)?;
        match &set.origin {
            Origin::Embedded(tables) => {
                append_rejects(&mut rejects, lineage, shown, tables)?;
                append_failed(&mut rejects, lineage, shown, tables)?;
                append_truncations(&mut truncations, lineage, shown, tables)?;
            }
            Origin::Merged(_) => append_superseded(&mut rejects, lineage, shown, set.record)?,
        }
    }
    rejects.flush()?;
    truncations.flush()?;
    Ok(count)
}

/// Some rows of a set: bibcode, source, line, metadata digest, row key.
struct Rows {
    /// The dataset that was embedded.
    part: String,
    /// The row of each in the set.
    numbers: UInt64Array,
    batch: RecordBatch,
}

impl Rows {
    /// As rows of the table of papers.
    fn of_dataset(&self, dataset: &str) -> Result<RecordBatch, ArrowError> {
        let rows = self.batch.num_rows();
        let same =
            |value: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows))) };
        let column = |name: &str| Arc::clone(&self.batch[name]);
        RecordBatch::try_from_iter([
            ("bibcode", column("bibcode")),
            ("dataset", same(dataset)),
            ("row", Arc::new(self.numbers.clone()) as ArrayRef),
            ("part", same(&self.part)),
            ("source", column("source")),
            ("line", column("line")),
            ("metadata_digest", column("metadata_digest")),
            ("row_key", column("row_key")),
        ])
    }
}

type Each<'a> = dyn FnMut(Rows) -> Result<(), FillError> + 'a;

/// Gives the rows of a set in order.
fn walk(lineage: &Lineage, set: &NodeKey, each: &mut Each) -> Result<(), FillError> {
    let set = lineage.set(set)?;
    match &set.origin {
        Origin::Embedded(tables) => walk_embedded(lineage, &set, tables, each),
        Origin::Merged(parts) => {
            let mut left_out = superseded(lineage, set.record)?;
            let (mut next, mut offset) = (0, 0);
            for part in parts {
                let left_out = left_out.remove(&part.dataset).unwrap_or_default();
                walk(lineage, &part.set, &mut |rows| {
                    let mut rows = less(rows, &left_out)?;
                    if set.manifest.view {
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

fn walk_embedded(lineage: &Lineage, set: &SetLineage, tables: &Tables, each: &mut Each) -> Result<(), FillError> {
    let Some((_, embeddings)) = set.record.outputs.iter().find(|(file, _)| file.starts_with("embeddings_")) else {
        let (set, store) = (set.record.key, lineage.store().root().to_owned());
        return Err(LineageError::SetUnknown { set, store }.into());
    };
    let mut lines = Lines::new(lineage, tables)?;
    let mut next = 0;
    for batch in lineage.store().read_ipc_batches(&embeddings.digest)? {
        let batch = batch?;
        let bibcodes = batch[table::BIBCODE].as_string();
        let (source, line) = lines.of(bibcodes)?;
        let first = next;
        next += batch.num_rows() as u64;
        let column = |name: &str| Arc::clone(&batch[name]);
        let batch = RecordBatch::try_from_iter([
            ("bibcode", column(table::BIBCODE)),
            ("source", Arc::new(source) as ArrayRef),
            ("line", Arc::new(line) as ArrayRef),
            ("metadata_digest", column("metadata_digest")),
            ("row_key", column("row_key")),
        ])?;
        let part = set.manifest.dataset.clone();
        each(Rows { part, numbers: UInt64Array::from_iter_values(first..next), batch })?;
    }
    Ok(())
}

/// The rows but those whose number is in the list.
fn less(rows: Rows, left_out: &HashSet<u64>) -> Result<Rows, ArrowError> {
    if left_out.is_empty() {
        return Ok(rows);
    }
    let kept: BooleanArray = rows.numbers.values().iter().map(|row| Some(!left_out.contains(row))).collect();
    let numbers = arrow::compute::filter(&rows.numbers, &kept)?;
    Ok(Rows { numbers: numbers.as_primitive().clone(), batch: filter_record_batch(&rows.batch, &kept)?, ..rows })
}

/// The rows that a merge left out, by dataset.
fn superseded(lineage: &Lineage, merge: &Record) -> Result<BTreeMap<String, HashSet<u64>>, FillError> {
    let mut left_out: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
    let Some(output) = merge.outputs.get(table::SUPERSEDED).filter(|output| output.rows > 0) else {
        return Ok(left_out);
    };
    for batch in lineage.store().read_parquet_columns(&output.digest, &["dataset", "row"])? {
        let batch = batch?;
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

/// Walks the records beside the rows of a set, which are the records less those without a text.
struct Lines<'a> {
    records: RowsBeside,
    load: &'a Record,
    blob: PathBuf,
}

impl<'a> Lines<'a> {
    fn new(lineage: &Lineage, tables: &Tables<'a>) -> Result<Self, FillError> {
        let columns = [table::BIBCODE, table::SOURCE, table::LINE];
        let reader = lineage.store().read_parquet_columns(&tables.records, &columns)?;
        let blob = lineage.store().blob_path(&tables.records);
        Ok(Self { records: RowsBeside::new(reader), load: tables.load, blob })
    }

    fn of(&mut self, bibcodes: &StringArray) -> Result<(StringArray, UInt64Array), FillError> {
        let (mut sources, mut lines) = (StringBuilder::new(), UInt64Builder::with_capacity(bibcodes.len()));
        for bibcode in bibcodes.iter().flatten() {
            let (source, line) = self.next(bibcode)?;
            sources.append_value(source_name(self.load, source));
            lines.append_value(line);
        }
        Ok((sources.finish(), lines.finish()))
    }

    fn next(&mut self, bibcode: &str) -> Result<(u32, u64), FillError> {
        let lacks = || StoreError::damaged(&self.blob, format!("it lacks {bibcode}, which a set made of it has"));
        let (batch, row) = self.records.row_of(bibcode)?.ok_or_else(lacks)?;
        let source = batch[table::SOURCE].as_primitive::<UInt32Type>().value(row);
        Ok((source, batch[table::LINE].as_primitive::<UInt64Type>().value(row)))
    }
}

/// The name of a source file. The tables hold ordinals, because a moved file is the same file.
fn source_name(load: &Record, ordinal: u32) -> &str {
    load.sources.get(ordinal as usize).map_or("", |source| &source.name)
}

/// What load and prepare set aside on the way to an embedded dataset.
fn append_rejects(appender: &mut Appender, lineage: &Lineage, shown: &Shown, tables: &Tables) -> Result<(), FillError> {
    for (kind, record) in [("load", tables.load), ("prepare", tables.prepare)] {
        let Some(rejects) = record.outputs.get("rejects").filter(|rejects| rejects.rows > 0) else { continue };
        for batch in lineage.store().read_parquet(&rejects.digest)? {
            let batch = batch?;
            let ordinals = batch["source"].as_primitive::<UInt32Type>().values();
            let sources =
                StringArray::from_iter_values(ordinals.iter().map(|&ordinal| source_name(tables.load, ordinal)));
            let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; batch.num_rows()])) };
            let column = |name: &str| Arc::clone(&batch[name]);
            appender.append_record_batch(RecordBatch::try_from_iter_with_nullable([
                ("dataset", same(&shown.name), false),
                ("kind", same(kind), false),
                ("bibcode", column("bibcode"), true),
                ("source", Arc::new(sources), true),
                ("line", column("line"), true),
                ("reason", column("reason"), false),
                ("detail", column("detail"), false),
                ("excerpt", column("excerpt"), true),
            ])?)?;
        }
    }
    Ok(())
}

/// The papers that an embedded dataset lacks, since their texts could not be embedded and that was accepted.
fn append_failed(appender: &mut Appender, lineage: &Lineage, shown: &Shown, tables: &Tables) -> Result<(), FillError> {
    let failed = tables.embed.outputs.get(table::FAILED).filter(|failed| failed.rows > 0);
    let Some(failed) = failed else { return Ok(()) };
    let mut lines = Lines::new(lineage, tables)?;
    for batch in lineage.store().read_parquet(&failed.digest)? {
        let batch = batch?;
        let (sources, line) = lines.of(batch[table::BIBCODE].as_string())?;
        let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; batch.num_rows()])) };
        appender.append_record_batch(RecordBatch::try_from_iter_with_nullable([
            ("dataset", same(&shown.name), false),
            ("kind", same("embed"), false),
            ("bibcode", Arc::clone(&batch[table::BIBCODE]), true),
            ("source", Arc::new(sources) as ArrayRef, true),
            ("line", Arc::new(line), true),
            ("reason", same(table::FAILED), false),
            ("detail", Arc::clone(&batch["reason"]), false),
            ("excerpt", arrow::array::new_null_array(&DataType::Utf8, batch.num_rows()), true),
        ])?)?;
    }
    Ok(())
}

/// What a merge left out.
fn append_superseded(
    appender: &mut Appender,
    lineage: &Lineage,
    shown: &Shown,
    merge: &Record,
) -> Result<(), FillError> {
    let Some(output) = merge.outputs.get(table::SUPERSEDED).filter(|output| output.rows > 0) else { return Ok(()) };
    for batch in lineage.store().read_parquet(&output.digest)? {
        let batch = batch?;
        let text = |name: &str| batch[name].as_string::<i32>().clone();
        let (datasets, winners, rows) = (text("dataset"), text("winner"), batch["row"].as_primitive::<UInt64Type>());
        let alias_of = batch.column_by_name(table::ALIAS_OF).map(|column| column.as_string::<i32>().clone());
        let alias_of = |at| alias_of.as_ref().filter(|papers| papers.is_valid(at)).map(|papers| papers.value(at));
        let reason = |at| if alias_of(at).is_some() { "alias" } else { "superseded" };
        let detail = |at| {
            let (row, dataset, winner) = (rows.value(at), datasets.value(at), winners.value(at));
            match alias_of(at) {
                Some(paper) => format!("row {row} of {dataset}: {paper} of {winner} is the same paper, and counts"),
                None => format!("row {row} of {dataset}: {winner} holds it too, and counts"),
            }
        };
        let told = |of: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..batch.num_rows()).map(of)))
        };
        let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; batch.num_rows()])) };
        let none = |of: &DataType| arrow::array::new_null_array(of, batch.num_rows());
        appender.append_record_batch(RecordBatch::try_from_iter_with_nullable([
            ("dataset", same(&shown.name), false),
            ("kind", same("merge"), false),
            ("bibcode", Arc::clone(&batch["bibcode"]), true),
            ("source", none(&DataType::Utf8), true),
            ("line", none(&DataType::UInt64), true),
            ("reason", told(&|at| reason(at).to_owned()), false),
            ("detail", told(&detail), false),
            ("excerpt", none(&DataType::Utf8), true),
        ])?)?;
    }
    Ok(())
}

/// Rows of an embedded dataset whose text was cut short.
fn append_truncations(
    appender: &mut Appender,
    lineage: &Lineage,
    shown: &Shown,
    tables: &Tables,
) -> Result<(), FillError> {
    let count = |record: &Record| record.counts.get("truncated").copied().unwrap_or(0);
    if count(tables.prepare) + count(tables.embed) == 0 {
        return Ok(());
    }
    let texts = truncated_texts(lineage, &tables.texts)?;
    let mut row = 0;
    for batch in lineage.store().read_ipc_batches(&tables.vectors)? {
        let batch = batch?;
        let bibcodes = batch[table::BIBCODE].as_string::<i32>();
        let number = |name: &str| batch[name].as_primitive::<UInt32Type>().clone();
        let (tokens, dropped) = (number("tokens"), number("tokens_dropped"));
        let mut cut = Cut::default();
        for at in 0..batch.num_rows() {
            let text = texts.contains(bibcodes.value(at));
            if text || dropped.value(at) > 0 {
                cut.push(row, bibcodes.value(at), text, tokens.value(at), dropped.value(at));
            }
            row += 1;
        }
        appender.append_record_batch(cut.finish(&shown.name)?)?;
    }
    Ok(())
}

/// The papers whose text was cut short. By bibcode: a text that could not be embedded has no row among the vectors.
fn truncated_texts(lineage: &Lineage, texts: &Digest) -> Result<HashSet<String>, FillError> {
    let mut truncated = HashSet::new();
    for batch in lineage.store().read_parquet_columns(texts, &[table::BIBCODE, "truncated"])? {
        let batch = batch?;
        let rows = batch[table::BIBCODE].as_string::<i32>().iter().zip(batch["truncated"].as_boolean());
        truncated.extend(rows.filter_map(|(bibcode, cut)| bibcode.filter(|_| cut == Some(true)).map(str::to_owned)));
    }
    Ok(truncated)
}

/// Rows of the table of truncations.
#[derive(Default)]
struct Cut {
    row: UInt64Builder,
    bibcode: StringBuilder,
    text: BooleanBuilder,
    tokens: UInt32Builder,
    dropped: UInt32Builder,
}

impl Cut {
    fn push(&mut self, row: u64, bibcode: &str, text: bool, tokens: u32, dropped: u32) {
        self.row.append_value(row);
        self.bibcode.append_value(bibcode);
        self.text.append_value(text);
        self.tokens.append_value(tokens);
        self.dropped.append_value(dropped);
    }

    fn finish(mut self, dataset: &str) -> Result<RecordBatch, ArrowError> {
        let rows = self.row.finish();
        RecordBatch::try_from_iter([
            ("dataset", Arc::new(StringArray::from(vec![dataset; rows.len()])) as ArrayRef),
            ("row", Arc::new(rows)),
            ("bibcode", Arc::new(self.bibcode.finish())),
            ("text_truncated", Arc::new(self.text.finish())),
            ("tokens", Arc::new(self.tokens.finish())),
            ("tokens_dropped", Arc::new(self.dropped.finish())),
        ])
    }
}

//! The tables with a row for each paper: papers, rejects and truncations.
//!
//! Rows stream batch by batch from the store's tables into DuckDB, a whole set at a time, so memory does not grow with
//! the corpus.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, RecordBatch, StringArray, StringBuilder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use duckdb::{Appender, Connection};

use super::{FillError, Shelf, Shown, quoted};
use crate::digest::{Digest, NodeKey};
use crate::lineage::{Beside, Lineage, LineageError, Origin, Tables, Walked};
use crate::record::Record;
use crate::table;

/// Takes over the rows of some datasets from the catalog that is attached as `standing`, and says how many papers they are.
pub fn take_over(connection: &Connection, taken: &[&Shown]) -> Result<u64, FillError> {
    let mut papers = 0;
    if !taken.is_empty() {
        let names: Vec<String> = taken.iter().map(|shown| quoted(&shown.name)).collect();
        let copy = |table: &str| {
            let names = names.join(", ");
            connection
                .execute(&format!("INSERT INTO {table} SELECT * FROM standing.{table} WHERE dataset IN ({names})"), [])
        };
        papers = copy("papers")? as u64;
        copy("rejects")?;
        copy("truncations")?;
    }
    Ok(papers)
}

/// Fills them with the rows of all datasets but those that were taken over, and says how many papers those are.
pub fn fill(connection: &Connection, shelf: &Shelf, taken: &[&Shown]) -> Result<u64, FillError> {
    let left = || shelf.datasets.iter().filter(|shown| !taken.iter().any(|taken| taken.name == shown.name));
    let mut appender = connection.appender("papers")?;
    let mut count = 0;
    for shown in left() {
        let lineage = shelf.lineage(shown);
        lineage.walk::<FillError>(&shown.set, PLACE, &mut |rows| {
            count += rows.batch.num_rows() as u64;
            Ok(appender.append_record_batch(papers(&rows, &shown.name)?)?)
        })?;
    }
    appender.flush()?;
    let (mut rejects, mut truncations) = (connection.appender("rejects")?, connection.appender("truncations")?);
    for shown in left() {
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

/// Rows of a set as rows of the table of papers.
fn papers(rows: &Walked, dataset: &str) -> Result<RecordBatch, ArrowError> {
    let same = |value: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows.batch.num_rows())))
    };
    let column = |name: &str| Arc::clone(&rows.batch[name]);
    RecordBatch::try_from_iter([
        ("bibcode", column(table::BIBCODE)),
        ("dataset", same(dataset)),
        ("row", Arc::new(rows.numbers.clone()) as ArrayRef),
        ("part", same(&rows.part)),
        ("source", sources(rows.load, &rows.batch[table::SOURCE])),
        ("line", column(table::LINE)),
        ("metadata_digest", column("metadata_digest")),
        ("row_key", column("row_key")),
    ])
}

/// The columns of records that tell file and line.
const PLACE: Beside<'_> = Beside { records: &[table::SOURCE, table::LINE], text: false };

/// A digest of what the rows of a set tell and its own digest does not: the names of the files that they were read from.
///
/// # Errors
/// If the set, or what it was made of, is not there.
pub fn sources_of(lineage: &Lineage, set: &NodeKey) -> Result<Digest, LineageError> {
    let mut names = blake3::Hasher::new();
    match lineage.set(set)?.origin {
        Origin::Embedded(tables) => tables.load.sources.iter().for_each(|source| {
            names.update(source.name.as_bytes()).update(&[0]);
        }),
        Origin::Merged(parts) => {
            for part in parts {
                names.update(sources_of(lineage, &part.set)?.as_bytes());
            }
        }
    }
    Ok(Digest::from_bytes(*names.finalize().as_bytes()))
}

/// The names of the files that these ordinals stand for.
fn sources(load: &Record, ordinals: &ArrayRef) -> ArrayRef {
    let ordinals = ordinals.as_primitive::<UInt32Type>().values();
    Arc::new(StringArray::from_iter_values(ordinals.iter().map(|&ordinal| source_name(load, ordinal))))
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
            let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; batch.num_rows()])) };
            let column = |name: &str| Arc::clone(&batch[name]);
            appender.append_record_batch(RecordBatch::try_from_iter_with_nullable([
                ("dataset", same(&shown.name), false),
                ("kind", same(kind), false),
                ("bibcode", column("bibcode"), true),
                ("source", sources(tables.load, &batch["source"]), true),
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
    let mut places = lineage.records_beside(tables, PLACE.records)?;
    for batch in lineage.store().read_parquet(&failed.digest)? {
        let batch = batch?;
        let places = places.of(batch[table::BIBCODE].as_string())?;
        let [(_, ordinals), (_, line)] = &places[..] else { continue };
        let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; batch.num_rows()])) };
        appender.append_record_batch(RecordBatch::try_from_iter_with_nullable([
            ("dataset", same(&shown.name), false),
            ("kind", same("embed"), false),
            ("bibcode", Arc::clone(&batch[table::BIBCODE]), true),
            ("source", sources(tables.load, ordinals), true),
            ("line", Arc::clone(line), true),
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

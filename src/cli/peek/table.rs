//! Rows of a step's table, one JSON object a line.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use arrow_json::LineDelimitedWriter;

use super::refused;
use crate::cli::print::remark;
use crate::cli::{DoorError, Failure};
use crate::error::Exit;
use crate::graph::{Scope, StepIndex};
use crate::observe::Observer;
use crate::plan::load_above;
use crate::record::{Output, Record};
use crate::run::RunError;
use crate::store::Store;

/// The tables that can be looked at.
const TABLES: [&str; 6] = ["records", "texts", "vectors", "rejects", "superseded", "failed"];

/// Prints rows of a table of a step, at most `limit` of them.
pub fn print(
    observer: &mut Observer,
    scope: &Scope,
    step: StepIndex,
    table: &str,
    limit: Option<usize>,
) -> Result<Exit, Failure> {
    // Looking at a table publishes nothing.
    observer.take_over = true;
    let observed = observer.observe(scope).map_err(|errors| RunError::Observe { errors })?;
    let graph = observer.graph;
    let unapplied = || {
        let reason = "it has no record for the workflow as it stands";
        refused(graph, step, reason, "apply the workflow first, or leave the table out".to_owned())
    };
    let record = observed.record(step).ok_or_else(unapplied)?;
    let known: Vec<&str> = TABLES.into_iter().filter(|table| record.outputs.contains_key(*table)).collect();
    let output = record.outputs.get(table).filter(|_| known.contains(&table));
    let output = *output.ok_or_else(|| refused(graph, step, &format!("it has no table {table:?}"), help(&known)))?;
    if output.rows == 0 {
        let step = &graph.steps[step].id;
        remark(format!("{table} of {step} has no rows; its tables are {}", known.join(", ")));
    }
    let load = load_above(graph, step).and_then(|load| observed.record(load));
    let files = |load: &Record| load.sources.iter().map(|source| source.name.clone()).collect();
    rows(&observer.store, output, limit.unwrap_or(usize::MAX), &load.map_or(Vec::new(), files))
}

fn help(known: &[&str]) -> String {
    match known {
        [] => "look papers up with `sciembed get`".to_owned(),
        _ => format!("its tables are {}", known.join(", ")),
    }
}

/// A rejects batch with a column `file`, which is the source by its name: the tables themselves hold no names of files,
/// because a moved file is the same file.
fn with_files(batch: &RecordBatch, files: &[String]) -> Result<RecordBatch, ArrowError> {
    let Some(sources) = batch.column_by_name("source").and_then(|column| column.as_primitive_opt::<UInt32Type>())
    else {
        return Ok(batch.clone());
    };
    let names = sources.iter().map(|source| files.get(source? as usize).map(String::as_str));
    let mut fields = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("file", DataType::Utf8, true)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(names.collect::<StringArray>()));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn rows(store: &Store, output: Output, limit: usize, files: &[String]) -> Result<Exit, Failure> {
    let mut writer = LineDelimitedWriter::new(BufWriter::new(io::stdout().lock()));
    let mut left = limit;
    let mut write = |batch: &RecordBatch| {
        let rows = batch.num_rows().min(left);
        left -= rows;
        with_files(&batch.slice(0, rows), files).and_then(|batch| writer.write(&batch)).map_err(output_error)
    };
    if let Ok(table) = store.read_ipc(&output.digest) {
        for batch in table.batches() {
            write(batch?)?;
        }
    } else {
        for batch in store.read_parquet(&output.digest)? {
            write(&batch.map_err(output_error)?)?;
        }
    }
    writer.finish().map_err(output_error)?;
    writer.into_inner().flush().map_err(DoorError::Output)?;
    Ok(Exit::Done)
}

/// Keeps a broken pipe recognisable inside Arrow's error.
fn output_error(error: ArrowError) -> DoorError {
    match error {
        ArrowError::IoError(_, error) => DoorError::Output(error),
        other => DoorError::Output(io::Error::other(other)),
    }
}

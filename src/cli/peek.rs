//! `sciembed peek`: rows of a step's table, one JSON object a line.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use arrow_json::LineDelimitedWriter;

use super::environment::Machine;
use super::print::remark;
use super::workflow::WorkflowArguments;
use super::{DoorError, Failure};
use crate::error::Exit;
use crate::graph::{Graph, StepIndex};
use crate::plan::{Observed, load_above};
use crate::record::{Output, Record};
use crate::run::RunError;
use crate::store::Store;

/// The tables that can be looked at; the first one that a step has is its main one.
const TABLES: [&str; 6] = ["records", "texts", "vectors", "rejects", "superseded", "failed"];

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
    /// The step, as plan names it: load.records[2010]
    step: String,
    /// The table: records, rejects, texts, vectors, failed or superseded [default: the step's main one]
    table: Option<String>,
    /// Print at most this many rows
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.workflow.read()?;
    let scope = workflow.graph.select(None, std::slice::from_ref(&arguments.step))?;
    let index = only_step(&workflow.graph, scope.steps(), &arguments.step)?;
    let mut observer = workflow.observer(&arguments.machine)?;
    // Looking at a table publishes nothing.
    observer.take_over = true;
    let observed = observer.observe(&scope).map_err(|errors| RunError::Observe { errors })?;
    let record = record(&observed, index, &arguments.step)?;
    let output = output(record, arguments)?;
    let load = load_above(&workflow.graph, index).and_then(|load| observed.record(load));
    let files = load.map_or(Vec::new(), |load| load.sources.iter().map(|source| source.name.clone()).collect());
    if output.rows == 0 {
        remark(empty(record, arguments));
    }
    print(&observer.store, output, arguments.limit.unwrap_or(usize::MAX), &files)
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

/// The step that was named: the last of the selection, unless the name stands for several.
fn only_step(graph: &Graph, selection: &[StepIndex], step: &str) -> Result<StepIndex, DoorError> {
    let same_node = |a: StepIndex, b: StepIndex| graph.steps[a].id.node == graph.steps[b].id.node;
    let only = |last: &StepIndex| selection.iter().filter(|&&other| same_node(other, *last)).count() == 1;
    selection.last().copied().filter(only).ok_or_else(|| {
        let one = selection.last().map_or(String::new(), |&last| graph.steps[last].id.to_string());
        refused(step, "it stands for several steps", format!("name one of them, as in {one}"))
    })
}

fn record<'a>(observed: &'a Observed, index: StepIndex, step: &str) -> Result<&'a Record, DoorError> {
    let reason = "it has no record for the workflow as it stands";
    observed.record(index).ok_or_else(|| refused(step, reason, "apply the workflow first".to_owned()))
}

/// The tables of a step, and the one that is meant.
fn tables<'a>(record: &Record, arguments: &'a Arguments) -> (Vec<&'static str>, &'a str) {
    let known: Vec<&str> = TABLES.into_iter().filter(|table| record.outputs.contains_key(*table)).collect();
    let wanted = arguments.table.as_deref().or(known.first().copied()).unwrap_or("records");
    (known, wanted)
}

/// Why nothing is printed.
fn empty(record: &Record, arguments: &Arguments) -> String {
    let (known, wanted) = tables(record, arguments);
    format!("{wanted} of {} has no rows; its tables are {}", arguments.step, known.join(", "))
}

fn output(record: &Record, arguments: &Arguments) -> Result<Output, DoorError> {
    let (known, wanted) = tables(record, arguments);
    let output = record.outputs.get(wanted).filter(|_| known.contains(&wanted));
    output.copied().ok_or_else(|| {
        let help = match known.len() {
            0 => "look papers up with `sciembed get`".to_owned(),
            _ => format!("its tables are {}", known.join(", ")),
        };
        refused(&arguments.step, &format!("it has no table {wanted:?}"), help)
    })
}

fn refused(step: &str, reason: &str, help: String) -> DoorError {
    DoorError::Peek { step: step.to_owned(), reason: reason.to_owned(), help }
}

fn print(store: &Store, output: Output, limit: usize, files: &[String]) -> Result<Exit, Failure> {
    let mut writer = LineDelimitedWriter::new(BufWriter::new(io::stdout().lock()));
    let mut left = limit;
    let mut write = |batch: &RecordBatch| {
        let rows = batch.num_rows().min(left);
        left -= rows;
        with_files(&batch.slice(0, rows), files).and_then(|batch| writer.write(&batch)).map_err(output_error)
    };
    if let Ok(table) = store.read_ipc(&output.digest) {
        table.batches().iter().try_for_each(&mut write)?;
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

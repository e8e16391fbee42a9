//! `sciembed catalog`: a question in SQL to a directory's catalog, or the catalog made anew.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use console::{measure_text_width, truncate_str};

use super::print::{self, printable, remark, shortest, show};
use super::{DoorError, Failure};
use crate::catalog::{self, Answer, Built};
use crate::error::Exit;

/// Rows that a table shows: more are not read by people.
const TABLE_ROWS: usize = 200;
/// Columns of the terminal that a value may take in a table: programs take csv or json.
const CELL_WIDTH: usize = 200;
/// Columns that a cell keeps on a terminal that is too narrow for all.
const NARROWEST: usize = 8;
/// What is told when nothing is asked: the tables with their rows, their columns, and what both mean.
const OVERVIEW: &str = "\
    SELECT \"table\", \"column\", type, meaning FROM ( \
    SELECT table_oid, 0 AS place, table_name AS \"table\", '' AS \"column\", estimated_size || ' rows' AS type, \
    comment AS meaning FROM duckdb_tables() \
    UNION ALL \
    SELECT table_oid, column_index, '', column_name, lower(data_type), coalesce(columns.comment, '') \
    FROM duckdb_columns() AS columns WHERE NOT internal) \
    ORDER BY table_oid, place";

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    catalog: CatalogArguments,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The question, as in "SELECT dataset, rows FROM datasets" [default: list the tables and their columns]
    sql: Option<String>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make the catalog anew from the directory and the store behind it.
    Rebuild(RebuildArguments),
}

#[derive(clap::Args)]
struct CatalogArguments {
    /// The directory that a persist or merge node publishes into
    #[arg(long, value_name = "DIR", default_value = "embeddings")]
    dir: PathBuf,
}

#[derive(clap::Args)]
struct RebuildArguments {
    #[command(flatten)]
    catalog: CatalogArguments,
    /// The store that its datasets were built in [default: what their provenance files say]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Aligned columns, for people: the first 200 rows
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Json,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(Command::Rebuild(rebuild)) = &arguments.command {
        return make(&rebuild.catalog.dir, rebuild.store.as_deref());
    }
    let dir = &arguments.catalog.dir;
    // With options before it, it is read as a query, and it is none.
    if arguments.sql.as_deref() == Some("rebuild") {
        return make(dir, None);
    }
    let sql = arguments.sql.as_deref().filter(|sql| !sql.trim_matches([' ', '\n', ';']).is_empty());
    let answer = catalog::query(dir, sql.unwrap_or(OVERVIEW))?;
    if !catalog::is_current(dir) {
        let dir = dir.display();
        remark(format!("the catalog is older than what {dir} shows: sciembed catalog rebuild --dir {dir}"));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = match arguments.format {
        Format::Table => print_table(&mut out, &answer),
        Format::Csv => print_csv(&mut out, &answer),
        Format::Json => print_json(&mut out, &answer),
    };
    printed?;
    out.flush().map_err(DoorError::Output)?;
    Ok(Exit::Done)
}

fn make(dir: &Path, store: Option<&Path>) -> Result<Exit, Failure> {
    let built = catalog::rebuild(dir, store)?;
    show(told(dir, &built))?;
    Ok(Exit::Done)
}

/// A catalog that was made, in words.
pub fn told(dir: &Path, built: &Built) -> String {
    let path = shortest(&catalog::path(dir));
    let Built { datasets, papers, bytes } = built;
    let plural = if *datasets == 1 { "" } else { "s" };
    format!("{}: {datasets} dataset{plural}, {papers} rows of papers, {} KB", path.display(), bytes.div_ceil(1000))
}

fn print_table(out: &mut impl Write, answer: &Answer) -> Result<(), DoorError> {
    let header: Vec<String> = answer.schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut rows = vec![header];
    for batch in &answer.batches {
        let left = (TABLE_ROWS + 1).saturating_sub(rows.len());
        let shown = cells(&batch.slice(0, batch.num_rows().min(left)), "null")?;
        let shortened = |cell: &String| truncate_str(&printable(cell), CELL_WIDTH, "…").into_owned();
        rows.extend(shown.iter().map(|row| row.iter().map(shortened).collect()));
    }
    let width = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    if let Some(columns) = print::width() {
        narrow(&mut widths, columns);
    }
    for row in &rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| {
            let cell = truncate_str(cell, *width, "…");
            let padding = " ".repeat(width - measure_text_width(&cell));
            format!("{cell}{padding}")
        });
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end()).map_err(DoorError::Output)?;
    }
    let total: usize = answer.batches.iter().map(RecordBatch::num_rows).sum();
    match total.saturating_sub(TABLE_ROWS) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more rows of {total}: --format csv or json prints them all")
            .map_err(DoorError::Output),
    }
}

/// Takes from the widest columns what a terminal has no room for.
fn narrow(widths: &mut [usize], columns: usize) {
    let mut excess = (widths.iter().sum::<usize>() + 2 * widths.len()).saturating_sub(columns + 2);
    while excess > 0
        && let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST)
    {
        *widest -= 1;
        excess -= 1;
    }
}

fn print_csv(out: &mut impl Write, answer: &Answer) -> Result<(), DoorError> {
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => DoorError::Output(error),
        other => DoorError::Output(io::Error::other(format!("{other:?}"))),
    };
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(answer.schema.fields().iter().map(|field| field.name())).map_err(failed)?;
    for batch in &answer.batches {
        for row in cells(batch, "")? {
            writer.write_record(row).map_err(failed)?;
        }
    }
    writer.flush().map_err(DoorError::Output)
}

fn print_json(out: &mut impl Write, answer: &Answer) -> Result<(), DoorError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out);
    answer.batches.iter().try_for_each(|batch| writer.write(batch)).map_err(unprinted)?;
    writer.finish().map_err(unprinted)
}

/// Each row's values as texts: bytes as hexadecimal digits, times as ISO 8601.
fn cells(batch: &RecordBatch, null: &str) -> Result<Vec<Vec<String>>, DoorError> {
    let options = FormatOptions::default().with_null(null).with_display_error(false);
    let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let formatters: Vec<ArrayFormatter> = formatters.collect::<Result<_, _>>().map_err(unprinted)?;
    let cell = |column: &ArrayFormatter, row| column.value(row).try_to_string().map_err(unprinted);
    (0..batch.num_rows()).map(|row| formatters.iter().map(|column| cell(column, row)).collect()).collect()
}

/// Keeps a broken pipe recognisable inside Arrow's error; what else it says is about a value that it cannot show.
fn unprinted(error: ArrowError) -> DoorError {
    match error {
        ArrowError::IoError(_, error) => DoorError::Output(error),
        other => DoorError::Unprintable(other),
    }
}

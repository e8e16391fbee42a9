//! `sciembed get`: papers by bibcode or alias, from the arguments or one a line on standard input.

use std::io::{self, BufRead, BufWriter, IsTerminal, Write};

use serde_json::{Value, json};

use super::datasets::{DatasetArguments, look_up, tell_unknown};
use super::print::remark;
use super::{DoorError, Failure};
use crate::dataset::{Dataset, Row};
use crate::error::Exit;
use crate::export::npy;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    datasets: DatasetArguments,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// The bibcodes, or aliases of papers [default: one a line on standard input]
    bibcodes: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// One JSON object a line: metadata and vector
    Json,
    /// One NumPy array, n x dim, float32; row n is the n-th bibcode asked for, NaN if it is unknown
    Npy,
    /// Bare float32 components, little-endian, n x dim, likewise
    F32le,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let datasets = arguments.datasets.open()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut answers = Answers::default();
    for bibcode in bibcodes(arguments) {
        let bibcode = bibcode.map_err(DoorError::Input)?;
        let bibcode = bibcode.trim();
        if bibcode.is_empty() {
            continue;
        }
        answers.asked += 1;
        match look_up(&datasets, bibcode)? {
            Some((dataset, row)) => {
                if row.bibcode != bibcode && !matches!(arguments.format, Format::Json) {
                    remark(format!("{bibcode} stands under {} now", row.bibcode));
                }
                match arguments.format {
                    Format::Json => writeln!(out, "{}", as_json(dataset, &row, bibcode)).map_err(DoorError::Output)?,
                    Format::F32le => write_f32le(&mut out, &row.vector).map_err(DoorError::Output)?,
                    Format::Npy => answers.vectors.push(row.vector),
                }
            }
            None => {
                answers.unknown += 1;
                tell_unknown(&datasets, bibcode);
                // Row n stays the n-th bibcode asked for.
                let nothing = vec![f32::NAN; datasets.first().map_or(0, |dataset| dataset.description().dim)];
                match arguments.format {
                    Format::Json => {}
                    Format::F32le => write_f32le(&mut out, &nothing).map_err(DoorError::Output)?,
                    Format::Npy => answers.vectors.push(nothing),
                }
            }
        }
    }
    if matches!(arguments.format, Format::Npy) {
        let dim = datasets.first().map_or(0, |dataset| dataset.description().dim);
        npy::write_header(&mut out, "<f4", answers.vectors.len(), dim).map_err(DoorError::Output)?;
        answers.vectors.iter().try_for_each(|vector| write_f32le(&mut out, vector)).map_err(DoorError::Output)?;
    }
    out.flush().map_err(DoorError::Output)?;
    Ok(answers.exit())
}

/// What was asked and what came of it.
#[derive(Default)]
struct Answers {
    asked: usize,
    unknown: usize,
    /// Kept only for NumPy, whose header tells the number of rows first.
    vectors: Vec<Vec<f32>>,
}

impl Answers {
    fn exit(&self) -> Exit {
        if self.unknown == 0 {
            return Exit::Done;
        }
        if self.asked > 1 {
            remark(format!("{} of {} bibcodes are unknown", self.unknown, self.asked));
        }
        Exit::Error
    }
}

/// The bibcodes asked for, streamed from standard input if none is an argument.
fn bibcodes(arguments: &Arguments) -> Box<dyn Iterator<Item = io::Result<String>>> {
    if !arguments.bibcodes.is_empty() {
        return Box::new(arguments.bibcodes.clone().into_iter().map(Ok));
    }
    if io::stdin().is_terminal() {
        remark("reading bibcodes, one a line; end with Ctrl-D");
    }
    Box::new(io::stdin().lock().lines())
}

fn as_json(dataset: &Dataset, row: &Row, asked: &str) -> Value {
    let description = dataset.description();
    let mut answer = json!({
        "bibcode": row.bibcode,
        "dataset": description.dataset,
        "set": description.set,
        "row": row.row,
        "model": description.model,
        "dim": description.dim,
        "dtype": description.dtype,
        "metadata_digest": row.metadata_digest,
        "row_key": row.row_key,
        "embedding": row.vector,
    });
    if row.bibcode != asked {
        answer["asked"] = json!(asked);
    }
    answer
}

fn write_f32le(out: &mut impl Write, vector: &[f32]) -> io::Result<()> {
    vector.iter().try_for_each(|component| out.write_all(&component.to_le_bytes()))
}

//! `sciembed explain`: where a published row came from, down to the line of a source file.

use std::path::PathBuf;

use chrono::DateTime;

use super::Failure;
use super::datasets::{DatasetArguments, look_up, tell_unknown};
use super::print::say;
use crate::error::Exit;
use crate::lineage::{Lineage, MadeBy, Trace, published_by, store_of};

/// Characters of a field or text that fit on its line.
const SHOWN_CHARACTERS: usize = 100;

#[derive(clap::Args)]
pub struct Arguments {
    /// The paper
    #[arg(required = true)]
    bibcode: String,
    #[command(flatten)]
    datasets: DatasetArguments,
    /// The store that it was built in [default: what the dataset's provenance file says]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print everything as JSON, texts in full
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let datasets = arguments.datasets.open()?;
    let bibcode = arguments.bibcode.trim();
    let Some((dataset, _)) = look_up(&datasets, bibcode)? else {
        tell_unknown(&datasets, bibcode);
        return Ok(Exit::Error);
    };
    let (dir, name) = (&arguments.datasets.dir, &dataset.description().dataset);
    let store = store_of(dir, name, arguments.store.as_deref())?;
    let lineage = Lineage::open(store, &published_by(dir, name)?.owner.workflow)?;
    let trace = lineage.trace(dataset, bibcode)?.expect("it was just looked up in this very set");
    if arguments.json {
        say(serde_json::to_string_pretty(&trace).expect("a trace is plain data"))?;
    } else {
        say(worded(&trace))?;
    }
    Ok(Exit::Done)
}

/// One block for each hand-over, the published row first.
fn worded(trace: &Trace) -> String {
    let mut lines = vec![trace.bibcode.clone()];
    let mut tell = |what: &str, text: String| lines.push(format!("  {what:8}  {text}"));
    for dataset in &trace.datasets {
        tell("dataset", format!("row {} of {}, set {}", dataset.row, dataset.dataset, dataset.set.short()));
        tell("", made(&dataset.made_by));
    }
    let vector = &trace.vector;
    tell("vector", format!("row {} of table {}, row key {}", vector.row, vector.table.short(), vector.row_key));
    tell("", format!("{} tokens read, {} dropped", vector.tokens, vector.tokens_dropped));
    tell("", made(&vector.made_by));
    let text = &trace.text;
    tell(
        "text",
        format!("row {} of table {}{}", text.row, text.table.short(), if text.truncated { ", truncated" } else { "" }),
    );
    tell("", shortened(&text.text));
    tell("", made(&text.made_by));
    let record = &trace.record;
    tell("record", format!("row {} of table {}, digest {}", record.row, record.table.short(), record.metadata_digest));
    for (name, values) in &record.fields {
        let values = values.as_ref().map_or("(missing)".to_owned(), |values| shortened(&values.join("; ")));
        tell("", format!("{name}: {values}"));
    }
    tell("", made(&record.made_by));
    let source = &trace.source;
    tell("source", format!("line {} of {}", source.line, source.file));
    tell("", format!("{} bytes, BLAKE3 {}", source.bytes, source.digest));
    lines.join("\n")
}

fn made(by: &MadeBy) -> String {
    let step = by.step.as_deref().unwrap_or("a step that the workflow no longer has");
    let at = i64::try_from(by.started).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let at = at.map_or(String::new(), |at| format!(" at {}", at.format("%Y-%m-%d %H:%M:%S UTC")));
    format!("made by {step}, key {}, in run {} on {}{at}", by.key.short(), by.run, by.host)
}

fn shortened(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{} … ({} characters in all)", &flat[..end], text.chars().count()),
        None => flat,
    }
}

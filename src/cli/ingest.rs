//! `sciembed ingest`: from a folder of dumps to published vectors in one command, by the workflow that it stands for.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::init::{self, Draft, look};
use super::print::{remark, say};
use super::{DoorError, Failure, apply};
use crate::digest::Digest;
use crate::error::Exit;

/// Embed a folder of yearly dumps in one command; `--emit` prints the workflow that it stands for instead.
///
/// The workflow is kept as OUT/ingest.toml: edit it and apply it with `sciembed apply` once you want more.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sciembed ingest --input data/ads_metadata_by_year_full --years 2015:2020 --fields title abstract \\
      --model hf://sentence-transformers/all-MiniLM-L6-v2 --out embeddings
  sciembed ingest --config ingest.yaml --emit > workflow.toml")]
pub struct Arguments {
    /// A file with these options: YAML, JSON or TOML, by its ending; options given here come first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Print the workflow, and do nothing
    #[arg(long)]
    emit: bool,
}

/// What may be said of an ingest, here or in a file.
#[derive(clap::Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The folder of the yearly files, or one of the files
    #[arg(long, value_name = "DIR")]
    input: Option<PathBuf>,
    /// The years, as in 2015:2020 [default: all that have a file]
    #[arg(long, value_name = "YEARS")]
    years: Option<String>,
    /// The fields that make the text of a paper [default: title and abstract]
    #[arg(long, value_name = "FIELD", num_args = 1.., value_delimiter = ',')]
    fields: Option<Vec<String>>,
    /// Put before every text, for models that want an instruction there
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// The model: hf://organisation/name, or the path of its folder
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Tokens in one run of the model, at most; a longer text still runs, alone
    #[arg(long, value_name = "TOKENS")]
    batch: Option<u32>,
    /// The directory that shows the vectors, with the store and the workflow in it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Options {
    /// These, and where they say nothing, others.
    fn or(self, other: Self) -> Self {
        Self {
            input: self.input.or(other.input),
            years: self.years.or(other.years),
            fields: self.fields.or(other.fields),
            prefix: self.prefix.or(other.prefix),
            model: self.model.or(other.model),
            batch: self.batch.or(other.batch),
            out: self.out.or(other.out),
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let options = match &arguments.config {
        Some(path) => arguments.options.clone().or(read(path)?),
        None => arguments.options.clone(),
    };
    let missing = |what: &'static str| DoorError::Ingest { what };
    let input = options.input.ok_or_else(|| missing("--input"))?;
    let model = options.model.ok_or_else(|| missing("--model"))?;
    let out = options.out.ok_or_else(|| missing("--out"))?;
    let data = look(&input)?;
    let years = data.chosen(options.years.as_deref().unwrap_or(&data.years_text()))?;
    if !years.is_empty() {
        remark(format!(
            "takes {} file{}, of {}",
            years.len(),
            if years.len() == 1 { "" } else { "s" },
            years.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(lacking) = options.years.as_deref().and_then(|years| data.lacking(years)) {
        remark(lacking);
    }
    let draft = Draft {
        written_by: "ingest",
        name: "ingest".to_owned(),
        store: out.join("store").display().to_string(),
        dir: out.display().to_string(),
        years,
        fields: options.fields.unwrap_or_else(|| data.proposed_fields()),
        prefix: options.prefix.unwrap_or_default(),
        model,
        batch: options.batch,
    };
    if arguments.emit {
        say(init::text(&data, &draft, Path::new(".")).trim_end())?;
        return Ok(Exit::Done);
    }
    let path = out.join("ingest.toml");
    let failed = |error: std::io::Error| DoorError::IngestWorkflow { path: path.clone(), reason: error.to_string() };
    fs::create_dir_all(&out).map_err(failed)?;
    if fs::read_to_string(&path).is_ok_and(|text| !is_untouched(&text)) {
        return Err(DoorError::IngestEdited { path }.into());
    }
    fs::write(&path, marked(&init::text(&data, &draft, &out))).map_err(failed)?;
    remark(format!("applies {}, which says the same as these options", path.display()));
    apply::run(&apply::Arguments::of(path))
}

/// What the last line of a workflow that an ingest wrote begins with.
const MARK: &str = "# as ingest wrote it: ";

/// A workflow with a digest of itself as its last line.
fn marked(text: &str) -> String {
    format!("{text}{MARK}{}\n", Digest::of(text.as_bytes()))
}

/// Whether a workflow is as an ingest wrote it: an edited one is the user's own.
fn is_untouched(text: &str) -> bool {
    text.rsplit_once(MARK).is_some_and(|(before, _)| marked(before) == text)
}

/// Options from a file.
fn read(path: &Path) -> Result<Options, DoorError> {
    let failed = |reason: String| DoorError::IngestConfig { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => serde_yaml_ng::from_str(&text).map_err(|error| failed(error.to_string())),
        Some("json") => serde_json::from_str(&text).map_err(|error| failed(error.to_string())),
        Some("toml") => toml::from_str(&text).map_err(|error| failed(error.to_string())),
        _ => Err(failed("its name ends neither with .yaml nor with .json nor with .toml".to_owned())),
    }
}

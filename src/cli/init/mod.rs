//! `sciembed init`: looks into the data, proposes a workflow, and writes it with comments.

mod look;
mod text;

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

pub use look::{Data, look};
pub use text::{Draft, text};

use super::print::{remark, show};
use super::{DoorError, Failure};
use crate::error::Exit;
use crate::graph::resolve;
use crate::manifest::Source;

/// The model that is proposed where the folder of the examples is not at hand.
const MODEL: &str = "hf://sentence-transformers/all-MiniLM-L6-v2";
/// The folder that setup.sh makes.
const LOCAL_MODEL: &str = "models/all-MiniLM-L6-v2";

/// Look into your data, and write a commented workflow for it.
///
/// What is not given as an option is asked, with a proposal; where nobody can be asked, the proposal is taken.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sciembed init --input data/ads_metadata_by_year_full
  sciembed init --input data/ads_metadata_by_year_full --years 2015:2020 --fields title,abstract --to workflows/ads.toml")]
pub struct Arguments {
    /// The folder of the yearly files, or one of the files
    #[arg(long, value_name = "DIR", default_value = "data")]
    input: PathBuf,
    /// The years, as in 2015:2020
    #[arg(long, value_name = "YEARS")]
    years: Option<String>,
    /// The fields that make the text of a paper, as in title abstract, or title,abstract
    #[arg(long, value_name = "FIELDS", num_args = 1.., value_delimiter = ',')]
    fields: Vec<String>,
    /// The model: hf://organisation/name, or the path of its folder
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The workflow's file
    #[arg(long, value_name = "FILE", default_value = "workflow.toml")]
    to: PathBuf,
    /// Take all proposals
    #[arg(long)]
    yes: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.to.exists() {
        let reason = "there is a file already".to_owned();
        return Err(DoorError::Init { path: arguments.to.clone(), reason }.into());
    }
    let data = look(&arguments.input)?;
    remark(found(&data));
    let asks = !arguments.yes && io::stdin().is_terminal();
    let answer = |question: &str, given: Option<String>, proposal: &str| match given {
        Some(given) => Ok(given),
        None if asks => ask(question, proposal),
        None => Ok(proposal.to_owned()),
    };
    let years = answer("years", arguments.years.clone(), &data.years_text())?;
    let chosen = data.chosen(&years)?;
    if let Some(lacking) = arguments.years.as_deref().and_then(|years| data.lacking(years)) {
        remark(lacking);
    }
    let fields = Some(arguments.fields.join(",")).filter(|fields| !fields.is_empty());
    let fields = answer("fields of a paper's text", fields, &data.proposed_fields().join(","))?;
    let fields: Vec<String> =
        fields.split(',').map(|field| field.trim().to_owned()).filter(|field| !field.is_empty()).collect();
    if let Some(strange) = fields.iter().find(|field| !data.knows(field)) {
        remark(format!("none of the records that were looked at has the field {strange}"));
    }
    let model = answer("model", arguments.model.clone(), proposed_model())?;
    let draft = Draft {
        written_by: "init",
        name: name(&arguments.to),
        store: "store".to_owned(),
        dir: "embeddings".to_owned(),
        years: chosen,
        fields,
        prefix: String::new(),
        model,
        batch: None,
    };
    write(&arguments.to, &data, &draft)?;
    let path = arguments.to.display();
    show(format!(
        "{path} is written. Look at what it would do, then do it:\n  sciembed plan {path}\n  sciembed apply {path}"
    ))?;
    Ok(Exit::Done)
}

/// Writes a workflow that is read again first: what this program writes, it accepts.
fn write(path: &Path, data: &Data, draft: &Draft) -> Result<(), Failure> {
    let failed = |reason: String| DoorError::Init { path: path.to_owned(), reason };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
    let written = text(data, draft, folder);
    resolve(&Source { name: path.display().to_string(), text: written.clone() }, &[])?;
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    opened.and_then(|mut file| file.write_all(written.as_bytes())).map_err(|error| failed(error.to_string()))?;
    Ok(())
}

fn found(data: &Data) -> String {
    let fields: Vec<String> =
        data.fields.iter().map(|(name, share)| format!("{name} ({:.0} %)", share * 100.0)).collect();
    let first = if data.looked_at == 1 { "record".to_owned() } else { format!("{} records", data.looked_at) };
    format!(
        "found {}; of the first {first} of {} the key is {}, and the fields are {}",
        data.files_text(),
        data.sample.display(),
        data.key,
        fields.join(", ")
    )
}

fn proposed_model() -> &'static str {
    if Path::new(LOCAL_MODEL).is_dir() { LOCAL_MODEL } else { MODEL }
}

fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    if name.is_empty() { "workflow".to_owned() } else { name }
}

/// Asks for a value; an empty line takes the proposal.
fn ask(question: &str, proposal: &str) -> Result<String, Failure> {
    let mut told = io::stderr();
    // Who cannot be told cannot be asked: then the proposal is taken.
    let _ = write!(told, "{question} [{proposal}]: ").and_then(|()| told.flush());
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line).map_err(DoorError::Texts)? == 0 {
        remark("\nnothing is written, since not all was answered; --yes takes all proposals");
        return Err(Failure::Told(Exit::Error));
    }
    let line = line.trim();
    Ok(if line.is_empty() { proposal.to_owned() } else { line.to_owned() })
}

//! What a published dataset is handed on as: arrays, tables and documents in files, points on servers.
//!
//! ```text
//! published vectors + the records behind them -> documents.rs: rows in order
//!     -> folder.rs: part after part in a folder beside, exchanged for the old one when all are there
//!     -> server.rs: batch after batch, by ids made of bibcodes, and then what is no longer in the dataset is removed
//! ```
//!
//! It is derived: outside every key, and made again at any time. A note, sealed, tells which set was handed on, as what, and how
//! far that got: an export that was interrupted goes on behind the last whole part or batch, and one that stands is not done
//! again. `npy.rs`, `parquet.rs` and `lines.rs` are the forms of files, `qdrant.rs` and `weaviate.rs` the servers.

mod documents;
mod error;
mod folder;
mod http;
mod lines;
pub mod npy;
mod parquet;
mod part;
mod qdrant;
mod server;
mod weaviate;

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use documents::Document;
pub use error::ExportError;

use crate::dataset::{Dataset, Description};
use crate::digest::{Digest, NodeKey};
use crate::lineage::Lineage;
use crate::manifest::config::Export;
use crate::store::{durable, is_sealed_json, pretty_json, seal_json};

/// Raised when what is written changes: older exports are made anew.
const VERSION: u32 = 1;

/// A dataset that is to be handed on, and as what.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What relative folders start from.
    pub base: &'a Path,
    /// The directory that shows the dataset.
    pub dir: &'a Path,
    /// What it becomes.
    pub export: &'a Export,
}

/// What was handed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Rows of the dataset.
    pub rows: u64,
    /// Rows of them that an earlier, interrupted export had handed on.
    pub resumed: u64,
    /// Bytes of the files, or of what was sent this time.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// How far an export got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    version: u32,
    dataset: String,
    set: NodeKey,
    export: Export,
    /// The first rows, which were handed on.
    rows: u64,
    /// Whether those are all.
    complete: bool,
    files: Vec<Part>,
}

/// A file that is whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    name: String,
    bytes: u64,
    digest: Digest,
}

impl Note {
    fn new(dataset: &Description, export: &Export) -> Self {
        let (dataset, set) = (dataset.dataset.clone(), dataset.set);
        Self { version: VERSION, dataset, set, export: export.clone(), rows: 0, complete: false, files: Vec::new() }
    }

    /// What stands there, unless it was damaged or another version wrote it.
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read(path).ok().filter(|text| is_sealed_json(text))?;
        serde_json::from_slice(&text).ok().filter(|note: &Self| note.version == VERSION)
    }

    fn write(&self, path: &Path) -> Result<(), ExportError> {
        let text = seal_json(pretty_json(&serde_json::json!(self)));
        let temporary = path.with_file_name(format!(".{}", durable::unique_name()));
        durable::write(path, &temporary, &text).map_err(|source| ExportError::Write { path: path.to_owned(), source })
    }

    /// Whether it is about the same rows in the same form.
    fn is_of(&self, dataset: &Description, export: &Export) -> bool {
        self.dataset == dataset.dataset && self.set == dataset.set && self.export == *export
    }
}

impl Job<'_> {
    /// Why the export is to be made, or gone on with; none if it stands as it should. Servers are not asked: what they were
    /// given is known by the note.
    pub fn due(&self, dataset: &Description) -> Option<String> {
        let path = match self.export.dir() {
            Some(dir) => folder::note_path(&folder::place(self.base, dir, &dataset.dataset)),
            None => server::note_path(self.dir, &dataset.dataset, self.export),
        };
        let Some(note) = Note::read(&path) else {
            return Some(match self.started(dataset) {
                Some(rows) => format!("{rows} of {} rows were written", dataset.rows),
                None => "there is none yet".to_owned(),
            });
        };
        if note.dataset != dataset.dataset || note.set != dataset.set {
            return Some("it is of another set".to_owned());
        }
        if note.export != *self.export {
            return Some("something else is asked for".to_owned());
        }
        if !note.complete {
            return Some(format!("{} of {} rows were sent", note.rows, dataset.rows));
        }
        let missing = path.parent().and_then(|folder| {
            let is_there =
                |part: &&Part| std::fs::metadata(folder.join(&part.name)).is_ok_and(|it| it.len() == part.bytes);
            note.files.iter().find(|part| !is_there(part))
        });
        missing.map(|part| format!("{} is missing or was changed", part.name))
    }

    /// Rows of an export to files that was interrupted.
    fn started(&self, dataset: &Description) -> Option<u64> {
        let partial = folder::beside(&folder::place(self.base, self.export.dir()?, &dataset.dataset));
        let note = Note::read(&folder::note_path(&partial)).filter(|note| note.is_of(dataset, self.export))?;
        (note.rows > 0).then_some(note.rows)
    }

    /// Hands the dataset on, from where an interrupted export got to. `lineage` leads to its records, and is needed where
    /// fields are wanted; `key` is the server's.
    ///
    /// # Errors
    /// [`ExportError`]; what was whole stays, and the next export goes on from there.
    pub fn run(&self, dataset: &Dataset, lineage: Option<&Lineage>, key: Option<&str>) -> Result<Done, ExportError> {
        let begun = Instant::now();
        if let Some(field) = self.export.clash() {
            return Err(ExportError::Name { field: field.to_owned() });
        }
        // What is handed on is out of our hands, and is not looked at again.
        dataset.verify()?;
        let mut done = match self.export.dir() {
            Some(dir) => {
                folder::export(self, &folder::place(self.base, dir, &dataset.description().dataset), dataset, lineage)
            }
            None => server::export(self, dataset, lineage, key),
        }?;
        done.seconds = begun.elapsed().as_secs_f64();
        Ok(done)
    }

    /// Where the note of a server's export is, or the folder of files, for words.
    pub fn place(&self, dataset: &str) -> String {
        match (self.export.dir(), self.export.server()) {
            (Some(dir), _) => folder::place(self.base, dir, dataset).display().to_string(),
            (None, Some(server)) => format!("{} of {}", server::collection(self.export, dataset), server.url),
            (None, None) => String::new(),
        }
    }
}

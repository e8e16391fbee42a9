//! What is noted of batches that were handed over, a file each.
//!
//! A note names a batch's texts by their digests. Notes stay for a month, as a server's files do: what was downloaded and
//! not yet on disk when a run died is downloaded again, and not paid again.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::ApiError;
use crate::cost::HandedOver;
use crate::digest::Digest;

/// How long a note is kept: so long servers keep the files.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// How the folder of an embedder key's notes begins; the key follows.
pub const PREFIX: &str = "batches-";

/// What is remembered of a batch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    pub version: u32,
    pub mark: String,
    /// What each request asks for, in order: the text's digest, and which of its pieces; nothing where it was not answered.
    pub requests: Vec<Vec<Option<(Digest, usize)>>>,
    /// What the ledger calls it.
    pub reservation: String,
    pub file: Option<String>,
    /// When it was last tried to create the batch, in seconds of Unix time.
    pub creating: Option<u64>,
    pub batch: Option<String>,
    /// Whether its answers were read and its cost settled.
    pub is_collected: bool,
}

impl Note {
    /// The texts that it asks for, some of them several times.
    pub fn asked(&self) -> impl Iterator<Item = &Digest> {
        self.requests.iter().flatten().flatten().map(|(text, _)| text)
    }

    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", self.mark))
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<(), ApiError> {
        let path = self.path(folder);
        let failed = |source| ApiError::Ledger { file: path.clone(), source };
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let text = serde_json::to_vec(self).expect("a note is always JSON");
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map(|_| ()).map_err(|error| failed(error.error))
    }

    /// Puts it aside, and not away: it is all that tells what was handed over.
    pub fn forget(&self, folder: &Path) -> Result<(), ApiError> {
        let path = self.path(folder);
        fs::rename(&path, path.with_extension("gone")).map_err(|source| ApiError::Ledger { file: path, source })
    }
}

/// The notes of a folder, in the order of their marks; those past their time say nothing any more.
pub fn read_notes(folder: &Path) -> Result<Vec<Note>, ApiError> {
    let mut notes = Vec::new();
    for file in files(folder)?.into_iter().filter(|file| !is_old(file)) {
        let text = fs::read(&file).map_err(|source| ApiError::Ledger { file: file.clone(), source })?;
        let note: Note = serde_json::from_slice(&text).map_err(|_| ApiError::BadLedger { file, line: 1 })?;
        notes.push(note);
    }
    notes.sort_by(|a, b| a.mark.cmp(&b.mark));
    Ok(notes)
}

/// Removes the notes that are past their time.
pub fn sweep(folder: &Path) -> Result<(), ApiError> {
    let old = files(folder)?.into_iter().filter(|file| is_old(file));
    let remove = |file: PathBuf| fs::remove_file(&file).map_err(|source| ApiError::Ledger { file, source });
    old.into_iter().try_for_each(remove)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, ApiError> {
    let failed = |source| ApiError::Ledger { file: folder.into(), source };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
    let is_note = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    Ok(entries.into_iter().map(|entry| entry.path()).filter(is_note).collect())
}

fn is_old(file: &Path) -> bool {
    let written = fs::metadata(file).and_then(|it| it.modified()).ok();
    let age = written.and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age > KEPT)
}

/// What a folder of notes says of batches that are still to be collected; nothing where there is no folder.
///
/// # Errors
/// Notes that cannot be read.
pub fn handed_over(folder: &Path) -> Result<HandedOver, ApiError> {
    let notes = match read_notes(folder) {
        Err(ApiError::Ledger { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(HandedOver::default());
        }
        notes => notes?,
    };
    let open = || notes.iter().filter(|note| !note.is_collected);
    let texts: HashSet<&Digest> = open().flat_map(Note::asked).collect();
    Ok(HandedOver { batches: open().count(), texts: texts.len() })
}

/// What other embedder keys of the same node handed over and nobody collected: the folders beside this one.
///
/// # Errors
/// Notes that cannot be read.
pub fn left_behind(folder: &Path) -> Result<Vec<(PathBuf, HandedOver)>, ApiError> {
    let prefix = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    let beside = folder.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    let others = beside.map(|entry| entry.path()).filter(|path| path != folder && prefix(path));
    let left = others.map(|path| Ok((path.clone(), handed_over(&path)?))).collect::<Result<Vec<_>, ApiError>>()?;
    Ok(left.into_iter().filter(|(_, left)| left.batches > 0).collect())
}

/// Where the model's name is kept, beside the folder of an embedder key's notes.
fn model_file(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("model-{}.txt", name.strip_prefix(PREFIX).unwrap_or(&name)))
}

/// The model's name as the server said it in an earlier run, if it did.
pub fn model_told(folder: &Path) -> Option<String> {
    fs::read_to_string(model_file(folder)).ok().filter(|name| !name.is_empty())
}

/// Keeps the model's name as the server says it.
///
/// # Errors
/// A file that cannot be written.
pub fn remember_model(folder: &Path, name: &str) -> Result<(), ApiError> {
    let file = model_file(folder);
    let parent = file.parent().unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(parent).and_then(|mut new| {
        new.write_all(name.as_bytes())?;
        new.persist(&file).map_err(|error| error.error)
    });
    written.map(|_| ()).map_err(|source| ApiError::Ledger { file, source })
}

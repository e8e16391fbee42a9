//! The journal of a run: one JSON object a line, appended as things happen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{Store, StoreError, failpoint};

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Store {
    /// Opens the journal of a new run.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn journal(&self, run: &str) -> Result<Journal, StoreError> {
        let path = self.root.join("runs").join(format!("{run}.jsonl"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map(|file| Journal { path: path.clone(), file }).map_err(|error| StoreError::write(&path, error))
    }
}

impl Store {
    /// The journals of all runs, oldest first: each run's id, and its lines. The last line of a run that is under way, or was
    /// killed, may be torn.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn journals(&self) -> Result<Vec<(String, String)>, StoreError> {
        let folder = self.root.join("runs");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::read(&folder, error)),
        };
        let mut journals = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(run) = name.strip_suffix(".jsonl") else { continue };
            let bytes = fs::read(entry.path()).map_err(|error| StoreError::read(&entry.path(), error))?;
            journals.push((run.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
        }
        journals.sort();
        Ok(journals)
    }
}

impl Journal {
    /// Appends one event as one write, so that a line is whole or absent.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn append(&mut self, event: &impl Serialize) -> Result<(), StoreError> {
        let write = |file: &mut File| -> io::Result<()> {
            let mut line = serde_json::to_vec(event)?;
            line.push(b'\n');
            failpoint::torn("journal: half a line", file, &line);
            file.write_all(&line)?;
            failpoint::reached("journal: a line");
            Ok(())
        };
        write(&mut self.file).map_err(|error| StoreError::write(&self.path, error))
    }
}

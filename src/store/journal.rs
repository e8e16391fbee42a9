//! The journal of a run: one JSON object a line, appended as things happen.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{Store, StoreError};

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

impl Journal {
    /// Appends one event as one write, so that a line is whole or absent.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn append(&mut self, event: &impl Serialize) -> Result<(), StoreError> {
        let write = |file: &mut File| -> io::Result<()> {
            let mut line = serde_json::to_vec(event)?;
            line.push(b'\n');
            file.write_all(&line)
        };
        write(&mut self.file).map_err(|error| StoreError::write(&self.path, error))
    }
}

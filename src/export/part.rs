//! A file of an export under way: rows in, then a digest and a size.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Document, ExportError, Part};
use crate::manifest::config::Export;
use crate::store::HashedFile;

/// What writes rows into one or more files.
pub trait RowWriter {
    /// Adds a row.
    ///
    /// # Errors
    /// Whatever writing gives.
    fn add(&mut self, document: &Document) -> io::Result<()>;

    /// Ends the files, which are on the disk then.
    ///
    /// # Errors
    /// Whatever writing gives.
    fn finish(self: Box<Self>) -> io::Result<Vec<Part>>;
}

/// A file that is digested while it is written, in strides.
pub struct Sink {
    path: PathBuf,
    file: io::BufWriter<HashedFile>,
}

/// Bytes that are gathered before they are digested and written.
const STRIDE_BYTES: usize = 1 << 18;

impl Sink {
    /// A new file.
    ///
    /// # Errors
    /// Whatever opening gives.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let file = io::BufWriter::with_capacity(STRIDE_BYTES, HashedFile::new(File::create(&path)?));
        Ok(Self { path, file })
    }

    /// Ends it, synced.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn finish(self) -> io::Result<Part> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync()?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Part { name, bytes: file.bytes(), digest: file.digest() })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A failure while a file of this folder was written.
pub fn failed(folder: &Path) -> impl Fn(io::Error) -> ExportError {
    move |source| ExportError::Write { path: folder.to_owned(), source }
}

/// The name of the `number`-th file, from 0.
pub fn name(export: &Export, number: usize) -> String {
    let ending = match export {
        Export::Parquet(_) => "parquet",
        Export::Elasticsearch(_) => "ndjson",
        _ => "jsonl",
    };
    format!("part-{number:05}.{ending}")
}

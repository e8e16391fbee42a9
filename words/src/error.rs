//! What goes wrong, in words that fit after "failed to".

use std::io;
use std::path::{Path, PathBuf};

use tantivy::TantivyError;

/// Why an index could not be built, opened or searched.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// A folder to build in that holds something.
    #[error("write an index of words into {}: the folder is not empty; empty it, or name another", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A row that does not come after the one before it.
    #[error("add row {row} after row {last}: rows must ascend")]
    Order {
        /// The row given.
        row: u32,
        /// The row before it.
        last: u32,
    },
    /// More texts than an index has numbers for.
    #[error("add row {row}: an index takes {} texts at most", crate::layout::MOST_TEXTS)]
    Full {
        /// The row given.
        row: u32,
    },
    /// A file or folder that cannot be read or written.
    #[error("use {}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder that holds no index of words, or whose building did not end.
    #[error("open {} as an index of words: {reason}; build it anew", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What gives it away.
        reason: &'static str,
    },
    /// An index that other code wrote.
    #[error(
        "open {} as an index of words: it has version {found}, and this program reads {}; build it anew",
        path.display(),
        crate::VERSION
    )]
    Version {
        /// The folder.
        path: PathBuf,
        /// The version it has.
        found: u32,
    },
    /// A file that is not as it was written.
    #[error("read {} as part of an index of words: {reason}; build it anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An error of the search library.
    #[error("{doing} {}: {source}", path.display())]
    Tantivy {
        /// What was tried.
        doing: &'static str,
        /// The folder of the index.
        path: PathBuf,
        /// The library's own error.
        source: Box<TantivyError>,
    },
}

impl WordsError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }

    pub(crate) fn tantivy<E: Into<TantivyError>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Tantivy { doing, path: path.to_owned(), source: Box::new(source.into()) }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

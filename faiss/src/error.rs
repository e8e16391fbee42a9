//! What goes wrong, in words that fit after "failed to".

use std::io;
use std::path::{Path, PathBuf};

/// Why an index could not be built, opened or searched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Faiss is compiled for more than this processor can do.
    #[error("use Faiss: this processor has no AVX2, FMA and F16C")]
    Processor,
    /// A factory string that is not understood, or that is of no use here.
    #[error("read `{text}` as an index: {reason}")]
    Factory {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Vectors of this length cannot be cut as the index wants it.
    #[error("make {index} of vectors of {dim} numbers: {reason}")]
    Dim {
        /// The factory string.
        index: String,
        /// Numbers of a vector.
        dim: usize,
        /// What does not fit.
        reason: String,
    },
    /// A slice that is no whole number of vectors.
    #[error("read {len} numbers as vectors of {dim}")]
    Shape {
        /// Numbers given.
        len: usize,
        /// Numbers of a vector.
        dim: usize,
    },
    /// A vector with what is no number, or so large that sums of squares overflow: Faiss would train on it for ever.
    #[error("use vector {row}: a number of it is beyond a million, or is none")]
    Range {
        /// Its place in the slice that was given.
        row: usize,
    },
    /// A sample that centroids cannot be learned from.
    #[error("train {index} on {given} vectors: it needs {needed}")]
    Sample {
        /// The factory string.
        index: String,
        /// Vectors given.
        given: usize,
        /// Vectors needed at least.
        needed: usize,
    },
    /// A file that cannot be read or written.
    #[error("use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is no index, or no whole one.
    #[error("read {} as an index: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An exception of Faiss.
    #[error("{doing}: Faiss says: {message}")]
    Faiss {
        /// What was tried.
        doing: &'static str,
        /// The exception's words.
        message: String,
    },
}

impl Error {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

//! Why a text cannot be read as it is, on its way to where its file's name is known: [`super::SourceError`] words it there.

use std::io;

/// What a text is, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Unfit {
    /// What it is.
    pub detail: String,
    /// What to do.
    pub help: String,
}

impl From<Unfit> for io::Error {
    fn from(unfit: Unfit) -> Self {
        Self::new(io::ErrorKind::InvalidData, unfit)
    }
}

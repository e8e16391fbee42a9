//! What can go wrong when a set is shown.

use std::io;
use std::path::PathBuf;

use super::Owner;
use crate::digest::Digest;

/// Publishing failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PublishError {
    /// The file system refused.
    #[error("publish {}: {source}", path.display())]
    #[diagnostic(
        code(sciembed::publish::write),
        help("free space or permissions there and apply again: only publishing is left to do")
    )]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's name.
    #[error("publish {name} in {}: it belongs to {} of workflow {}", dir.display(), owner.step, owner.workflow)]
    #[diagnostic(
        code(sciembed::publish::owned),
        help("choose another `label` or `dir`, or give `--take-over` if this workflow is to own it from now on")
    )]
    Owned {
        /// The directory.
        dir: PathBuf,
        /// The dataset.
        name: String,
        /// Whose it is.
        owner: Owner,
    },
    /// A blob of the store that is not what its name says.
    #[error("publish {file}: blob {digest} of the store does not have the bytes that its name says")]
    #[diagnostic(code(sciembed::publish::damaged), help("apply again: the blob was put out of use, and is made anew"))]
    Damaged {
        /// The file.
        file: String,
        /// The blob.
        digest: Digest,
    },
    /// The wait for another publisher was ended.
    #[error("publish: interrupted while another process publishes there")]
    #[diagnostic(code(sciembed::publish::interrupted), help("apply again: only publishing is left to do"))]
    Interrupted,
    /// A file that no dataset put there.
    #[error("publish {}: a file of that name is there already, and no dataset put it there", path.display())]
    #[diagnostic(code(sciembed::publish::occupied), help("move that file away, or choose another `label` or `dir`"))]
    Occupied {
        /// The file.
        path: PathBuf,
    },
}

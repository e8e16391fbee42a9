//! What can be wrong with an index.

use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::store::StoreError;

/// An error of this room.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AnnError {
    /// An index of another set.
    #[error("use the index of {dataset}: it was built of another set than is published")]
    #[diagnostic(
        code(sciembed::ann::other_set),
        help("apply the workflow, which builds it anew; or look at every vector: --exact")
    )]
    OtherSet {
        /// The dataset.
        dataset: String,
    },
    /// An index whose bytes changed.
    #[error("use {}: it is not the file that its description was written for", path.display())]
    #[diagnostic(
        code(sciembed::ann::damaged),
        help("remove it and apply the workflow, which builds it anew; or look at every vector: --exact")
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// An index that cannot be written.
    #[error("write {}: {source}", path.display())]
    #[diagnostic(code(sciembed::ann::write), help("free space there and apply again: the dataset itself is published"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Faiss.
    #[error(transparent)]
    #[diagnostic(
        code(sciembed::ann::faiss),
        help("see `index` of the node: `[merge.NAME.index.auto]` chooses what fits")
    )]
    Faiss(#[from] sciembed_faiss::Error),
    /// The dataset.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dataset(#[from] DatasetError),
    /// A file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

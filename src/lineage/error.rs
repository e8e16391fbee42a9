//! What can keep a row from being traced back.

use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::digest::{Digest, NodeKey};
use crate::store::StoreError;

/// An error of tracing.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LineageError {
    /// Nobody says who published it.
    #[error("read {}: it does not tell who published the dataset", path.display())]
    #[diagnostic(
        code(sciembed::lineage::no_provenance),
        help("apply the workflow that publishes this dataset: it writes the file anew")
    )]
    NoProvenance {
        /// The provenance file.
        path: PathBuf,
    },
    /// Nobody says which store it is.
    #[error("trace {dataset} in {}: its provenance file does not name the store that it was built in", dir.display())]
    #[diagnostic(code(sciembed::lineage::store_unknown), help("name it with `--store`, or publish the dataset anew"))]
    StoreUnknown {
        /// The directory.
        dir: PathBuf,
        /// The dataset.
        dataset: String,
    },
    /// A store that is not where the provenance file says.
    #[error("trace {dataset}: there is no store at {}", store.display())]
    #[diagnostic(
        code(sciembed::lineage::store_missing),
        help("it was moved or removed: name the place where it is now with `--store`")
    )]
    StoreMissing {
        /// The dataset.
        dataset: String,
        /// Where it should be.
        store: PathBuf,
    },
    /// The record of a set.
    #[error("trace set {set}: {} has no record of it", store.display())]
    #[diagnostic(
        code(sciembed::lineage::set_unknown),
        help("name the store that it was built in with `--store`, or apply the workflow that publishes it")
    )]
    SetUnknown {
        /// The set.
        set: NodeKey,
        /// The store.
        store: PathBuf,
    },
    /// The record of a table.
    #[error("trace table {digest}: {} has no record of a step that made it", store.display())]
    #[diagnostic(
        code(sciembed::lineage::table_unknown),
        help("records were removed from the store: apply the workflow again")
    )]
    TableUnknown {
        /// The table.
        digest: Digest,
        /// The store.
        store: PathBuf,
    },
    /// A row that does not agree with the one it should come from.
    #[error("trace {bibcode}: {detail}")]
    #[diagnostic(
        code(sciembed::lineage::broken),
        help("the store is damaged there: `sciembed verify WORKFLOW --repair` says what is lost, and makes it again")
    )]
    Broken {
        /// The paper.
        bibcode: String,
        /// What does not agree with what.
        detail: String,
    },
    /// The published dataset.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dataset(Box<DatasetError>),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl From<DatasetError> for LineageError {
    fn from(error: DatasetError) -> Self {
        Self::Dataset(Box::new(error))
    }
}

impl LineageError {
    /// Whether the store itself is at fault.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::Dataset(error) => error.is_damage(),
            Self::Store(error) => error.is_damage(),
            _ => false,
        }
    }
}

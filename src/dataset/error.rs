//! What can go wrong when reading published datasets.

use std::path::PathBuf;

use crate::store::StoreError;

/// An error of this room.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DatasetError {
    /// The directory holds no dataset.
    #[error("find a dataset in {}", dir.display())]
    #[diagnostic(
        code(sciembed::dataset::none),
        help("name a directory that a persist or merge node publishes into: its `dir`")
    )]
    NoDataset {
        /// The directory.
        dir: PathBuf,
    },
    /// No dataset of this name.
    #[error("find dataset {name} in {}", dir.display())]
    #[diagnostic(code(sciembed::dataset::unknown), help("it holds {known}"))]
    Unknown {
        /// The directory.
        dir: PathBuf,
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// A file that the set should have.
    #[error("open {}: the published set lacks it", path.display())]
    #[diagnostic(
        code(sciembed::dataset::incomplete),
        help("apply the workflow that publishes this dataset: it will publish it anew")
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// The directory itself.
    #[error("find a dataset in {}: there is no such directory", dir.display())]
    #[diagnostic(
        code(sciembed::dataset::no_dir),
        help("apply a workflow first, or name the directory that one publishes into: the `dir` of its persist nodes")
    )]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// A file with other bytes.
    #[error("read {}: its bytes are not those that were published", path.display())]
    #[diagnostic(
        code(sciembed::dataset::damaged),
        help("apply the workflow that publishes this dataset: it will publish it anew")
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A row with other bytes.
    #[error("read row {row} of {}: it is not what was published", path.display())]
    #[diagnostic(
        code(sciembed::dataset::row_damaged),
        help(
            "the file is damaged: `sciembed verify WORKFLOW --repair` publishes the dataset anew. If this comes back, suspect \
             the disk"
        )
    )]
    RowDamaged {
        /// The file of vectors.
        path: PathBuf,
        /// The row in it, from 0.
        row: usize,
    },
    /// A file of another set.
    #[error("open {}: it belongs to set {found}, not to {expected}", path.display())]
    #[diagnostic(
        code(sciembed::dataset::mixed),
        help("apply the workflow that publishes this dataset: it will publish it anew")
    )]
    Mixed {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl DatasetError {
    /// Whether files are not what they were.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::RowDamaged { .. } | Self::Mixed { .. } | Self::Incomplete { .. } => true,
            Self::Store(error) => error.is_damage(),
            Self::NoDataset { .. } | Self::NoDirectory { .. } | Self::Unknown { .. } => false,
        }
    }
}

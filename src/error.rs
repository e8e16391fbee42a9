//! The sum of the rooms' errors, and the exit code that each one means.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, or nothing to do |
//! | 1 | an error that the user can mend: the message says how |
//! | 2 | `plan` found something to do |
//! | 3 | `apply` ended incomplete: some steps failed or were skipped, or an index or export could not be made; the others are done |
//! | 4 | the store, or what is published of it, is damaged: `verify` says where |
//! | 5 | some texts could not be embedded: their steps are incomplete, all others are done |
//! | 6 | texts were handed over in batches and `--no-wait` was given: a later apply collects them |
//! | 130 | interrupted; what was sealed is kept |

use crate::ann::AnnError;
use crate::catalog::CatalogError;
use crate::convert::ConvertError;
use crate::dataset::DatasetError;
use crate::embedder::EmbedderError;
use crate::export::ExportError;
use crate::graph::SelectError;
use crate::hub::HubError;
use crate::lineage::LineageError;
use crate::manifest::Faults;
use crate::model::ModelError;
use crate::node::NodeError;
use crate::observe::ObserveError;
use crate::published::PublishError;
use crate::run::RunError;
use crate::search::SearchError;
use crate::stages::StagesError;
use crate::store::StoreError;
use crate::words::WordsError;

/// Any error of the library.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The manifest.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Manifest(#[from] Faults),
    /// `--years` or `--target`.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Select(#[from] SelectError),
    /// Planning or running as a whole.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Run(#[from] RunError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The hub, or the lock file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hub(#[from] HubError),
    /// A model.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ModelError),
    /// The graph made of its weights.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Convert(#[from] ConvertError),
    /// An embedder.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Embedder(#[from] EmbedderError),
    /// A published dataset.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dataset(#[from] DatasetError),
    /// Where a row came from.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lineage(#[from] LineageError),
    /// One record's way.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stages(#[from] StagesError),
    /// An index.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ann(#[from] AnnError),
    /// An index of words.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Words(#[from] WordsError),
    /// An export.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Export(#[from] ExportError),
    /// Looking for papers.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Search(#[from] SearchError),
    /// The catalog.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Catalog(#[from] CatalogError),
    /// A published directory.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Publish(#[from] PublishError),
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// An error that the user can mend.
    Error,
    /// A plan with something to do.
    Stale,
    /// Some steps failed, others are done.
    Incomplete,
    /// The store is damaged.
    Damaged,
    /// Some texts could not be embedded; everything else is done.
    RowsFailed,
    /// Batches are at an API, and were not to be waited for; everything else is done.
    HandedOver,
    /// Interrupted by a signal.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Stale => 2,
            Self::Incomplete => 3,
            Self::Damaged => 4,
            Self::RowsFailed => 5,
            Self::HandedOver => 6,
            Self::Interrupted => 130,
        }
    }
}

impl Error {
    /// The exit that this error means.
    pub fn exit(&self) -> Exit {
        let damage = match self {
            Self::Store(error) | Self::Run(RunError::Store(error)) => error.is_damage(),
            Self::Run(RunError::Observe { errors }) => {
                errors.iter().any(|error| matches!(error, ObserveError::Store(error) if error.is_damage()))
            }
            Self::Lineage(error) => error.is_damage(),
            Self::Stages(StagesError::Store(error)) | Self::Search(SearchError::Store(error)) => error.is_damage(),
            Self::Dataset(error)
            | Self::Export(ExportError::Dataset(error))
            | Self::Search(SearchError::Dataset(error))
            | Self::Catalog(CatalogError::Dataset(error)) => error.is_damage(),
            Self::Search(SearchError::Words(WordsError::Damaged { .. })) => true,
            Self::Catalog(error) => error.is_damage(),
            Self::Manifest(_) | Self::Select(_) => false,
            Self::Run(RunError::Lock(_)) | Self::Hub(_) | Self::Model(_) | Self::Convert(_) => false,
            Self::Embedder(_) | Self::Stages(_) | Self::Search(_) | Self::Ann(_) => false,
            Self::Words(_) | Self::Export(_) | Self::Publish(_) => false,
        };
        if damage { Exit::Damaged } else { Exit::Error }
    }
}

/// The exit that the failure of some steps means: damage weighs more than one year's missing file, and that more than
/// a text that cannot be embedded; and all of that more than what only waits.
pub fn exit_of_failures<'a>(failures: impl Iterator<Item = &'a NodeError>) -> Exit {
    let (waiting, failures): (Vec<&NodeError>, Vec<&NodeError>) = failures.partition(|it| it.is_handed_over());
    if failures.is_empty() && !waiting.is_empty() {
        return Exit::HandedOver;
    }
    let of_rows = |failure: &&NodeError| matches!(failure, NodeError::Incomplete { .. });
    let mut exit = if failures.iter().all(of_rows) { Exit::RowsFailed } else { Exit::Incomplete };
    for failure in failures {
        if matches!(failure, NodeError::Table { .. }) || matches!(failure, NodeError::Store(error) if error.is_damage())
        {
            exit = Exit::Damaged;
        }
    }
    exit
}

//! What can keep papers from being found.

use crate::ann::AnnError;
use crate::dataset::DatasetError;
use crate::embedder::EmbedderError;
use crate::lineage::LineageError;
use crate::model::ModelError;
use crate::store::StoreError;
use crate::words::WordsError;

/// An error of this room.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SearchError {
    /// Datasets whose scores cannot be compared.
    #[error("search {} together: their vectors are of different embedders", datasets.join(", "))]
    #[diagnostic(code(sciembed::search::embedders), help("choose one with --dataset NAME"))]
    SeveralEmbedders {
        /// Their names.
        datasets: Vec<String>,
    },
    /// A question that says nothing.
    #[error("search for papers: the question is empty")]
    #[diagnostic(
        code(sciembed::search::empty),
        help(
            "ask in words, as in `sciembed search \"tidal disruption events\"`, or one question a line on standard input"
        )
    )]
    Empty,
    /// A dataset that does not say what embedded it.
    #[error("embed the query as {dataset} was embedded: nothing says by which model")]
    #[diagnostic(
        code(sciembed::search::no_model),
        help("name the model, as the workflow does: --model hf://organisation/name, or its folder")
    )]
    NoModel {
        /// The dataset.
        dataset: String,
    },
    /// A model that is another one now.
    #[error("embed the query as {dataset} was embedded: {what} is {now}, and was {was}")]
    #[diagnostic(
        code(sciembed::search::other_model),
        help("bring the model back as it was, or apply the workflow, which embeds the papers anew")
    )]
    OtherModel {
        /// The dataset.
        dataset: String,
        /// The ingredient.
        what: String,
        /// What it was.
        was: String,
        /// What it is.
        now: String,
    },
    /// A query that has no vector.
    #[error("embed the query: {why}")]
    #[diagnostic(code(sciembed::search::unfit), help("ask with other words"))]
    Unfit {
        /// Why.
        why: String,
    },
    /// A field that no record has.
    #[error("filter by {field}: the records of {dataset} have {known}")]
    #[diagnostic(
        code(sciembed::search::no_field),
        help("`where` asks for what the load node selects: add the field to its `fields`, and apply")
    )]
    NoField {
        /// The field.
        field: String,
        /// The dataset.
        dataset: String,
        /// The fields that there are.
        known: String,
    },
    /// The model.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ModelError),
    /// The embedder.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Embedder(#[from] EmbedderError),
    /// An index.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ann(#[from] AnnError),
    /// An index of words.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Words(#[from] WordsError),
    /// A dataset.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dataset(#[from] DatasetError),
    /// What the dataset was made of.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lineage(#[from] LineageError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

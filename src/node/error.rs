//! What can end a node before it made its outputs.

use arrow::error::ArrowError;

use crate::api::ApiError;
use crate::embedder::EmbedderError;
use crate::pool::Panicked;
use crate::published::PublishError;
use crate::reuse::ReuseError;
use crate::source::SourceError;
use crate::store::StoreError;

/// An error of a node.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NodeError {
    /// The run was interrupted; what was sealed is kept.
    #[error("finish: the run was interrupted")]
    #[diagnostic(code(sciembed::node::interrupted), help("apply again: it goes on from where it stopped"))]
    Interrupted,
    /// An input file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The embedder.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Embedder(#[from] Box<EmbedderError>),
    /// The dataset directory.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Publish(#[from] PublishError),
    /// Looking for vectors that stand already.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Reuse(ReuseError),
    /// A thread.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Panicked(#[from] Panicked),
    /// Sets that do not belong into one dataset.
    #[error("merge {datasets}: {difference}")]
    #[diagnostic(
        code(sciembed::node::mixed),
        help(
            "vectors of different embedders cannot be compared: take that axis out of `across`, or make these settings equal"
        )
    )]
    Mixed {
        /// The two datasets.
        datasets: String,
        /// What differs, with both values.
        difference: String,
    },
    /// More components than there are.
    #[error("publish {dim} components of each vector: the embedder gives {whole}")]
    #[diagnostic(code(sciembed::node::dim), help("lower `dim` of the persist node, or leave it out for all of them"))]
    Dim {
        /// What was asked for.
        dim: usize,
        /// What there is.
        whole: usize,
    },
    /// A table that does not have the shape that its maker gives it.
    #[error("understand the {table} table: {detail}")]
    #[diagnostic(
        code(sciembed::node::table),
        help("the store is damaged: `sciembed verify WORKFLOW --repair` finds the file, and makes it again")
    )]
    Table {
        /// Which table.
        table: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// A table that could not be written.
    #[error("write the {table} table: {source}")]
    #[diagnostic(
        code(sciembed::node::write),
        help("free space on the store's file system and apply again: what was finished is kept")
    )]
    Write {
        /// Which table.
        table: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Every line was refused.
    #[error("keep any line of {input}: {lines} of {lines} were refused, {first}")]
    #[diagnostic(
        code(sciembed::node::nothing_kept),
        help(
            "each record must be a JSON object, or a row of a table, with a bibcode, or whichever field `key` names, which must be a string; `records` names where in an answer they are"
        )
    )]
    NothingKept {
        /// The input, as written.
        input: String,
        /// How many lines there were.
        lines: u64,
        /// Where the first one stands, and why it was refused.
        first: String,
    },
    /// A condition that nothing meets, with a field that is nowhere.
    #[error("take any of {records} records of {input}: none has anything in {field}, which `where` asks for")]
    #[diagnostic(
        code(sciembed::node::nothing_met),
        help("{remedy} Where years may have none, put `missing = \"skip\"` into that load node")
    )]
    NothingMet {
        /// The input, as written.
        input: String,
        /// How many records were looked at.
        records: u64,
        /// The field, in code quotes.
        field: String,
        /// What was probably meant, or what there is, with its full stop.
        remedy: String,
    },
    /// No record had any text.
    #[error("make a text of any of {records} records: none has text in {fields}")]
    #[diagnostic(
        code(sciembed::node::no_texts),
        help("name fields that the records have, in this node and in the load node")
    )]
    NoTexts {
        /// How many records there were.
        records: u64,
        /// The fields that were asked for.
        fields: String,
    },
    /// Texts that could not be embedded.
    #[error("embed {failed} of {rows} rows, {first} among them: {reason}")]
    #[diagnostic(
        code(sciembed::node::incomplete),
        help(
            "all others are sealed and kept. Mend what failed and apply again, or publish without these rows: apply --accept-failures. {list} lists them"
        )
    )]
    Incomplete {
        /// How many rows.
        failed: u64,
        /// Of how many.
        rows: u64,
        /// The first of them.
        first: String,
        /// What keeps it from being embedded.
        reason: String,
        /// The command that lists them.
        list: String,
    },
}

impl From<ReuseError> for NodeError {
    fn from(error: ReuseError) -> Self {
        match error {
            ReuseError::Store(error) => Self::Store(error),
            ReuseError::Stopped => Self::Interrupted,
            ReuseError::Panicked(_) => Self::Reuse(error),
        }
    }
}

impl NodeError {
    /// Whether a step only waits for batches that it handed over, and was told not to.
    pub fn is_handed_over(&self) -> bool {
        let Self::Embedder(error) = self else { return false };
        matches!(**error, EmbedderError::Api(ApiError::HandedOver { .. }))
    }

    /// A table of another shape than expected.
    pub fn table(table: &'static str, detail: impl ToString) -> Self {
        Self::Table { table, detail: detail.to_string() }
    }

    /// For use with `map_err` on Arrow's own errors.
    pub fn arrow(table: &'static str) -> impl Fn(ArrowError) -> Self {
        move |error| match error {
            ArrowError::IoError(_, source) => Self::Write { table, source },
            other => Self::table(table, other),
        }
    }
}

/// An error with what caused it, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        // A transparent error words its cause already.
        if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
    })
}

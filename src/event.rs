//! What a run tells the world. Bars, plain lines and the journal are all listeners to this one enum.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{NodeKey, RowKey};
use crate::fingerprint::{Fingerprint, StaleReason};
use crate::graph::StepId;
use crate::record::Pace;

/// What progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes of the input files, compressed as they are.
    Bytes,
    /// Rows.
    Rows,
}

/// Something that happened in a run, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The run's id.
        run: String,
        /// The workflow's name.
        workflow: String,
        /// The overrides in force.
        overrides: Vec<String>,
        /// sciembed's version.
        version: String,
        /// Steps that are to run, as far as is known at the beginning. Journals of older versions do not tell it.
        #[serde(default)]
        steps: u64,
        /// Seconds since 1970-01-01 UTC.
        at: u64,
    },
    /// A step began.
    StepStarted {
        /// The step.
        step: StepId,
        /// Why it runs.
        reason: StaleReason,
    },
    /// A step got on.
    StepProgress {
        /// The step.
        step: StepId,
        /// How much is done.
        done: u64,
        /// Of how much, where that is known.
        total: Option<u64>,
        /// Of what.
        unit: Unit,
    },
    /// Something that the user should know about a step.
    StepNote {
        /// The step.
        step: StepId,
        /// In words.
        note: String,
    },
    /// Something about a step's rows that is to be found again later.
    StepDetail {
        /// The step.
        step: StepId,
        /// What it is.
        detail: Detail,
    },
    /// A step's record landed.
    StepFinished {
        /// The step.
        step: StepId,
        /// The record's key. Journals of older versions do not tell it.
        #[serde(default)]
        key: Option<NodeKey>,
        /// What the key is made of. As above.
        #[serde(default)]
        fingerprint: Option<Box<Fingerprint>>,
        /// Counts that follow from its inputs.
        counts: BTreeMap<String, u64>,
        /// Counts of this run: embedded, reused.
        run_counts: BTreeMap<String, u64>,
        /// What an embedder computed in this run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pace: Option<Pace>,
        /// How long it took.
        seconds: f64,
    },
    /// A step failed; steps that do not need it go on.
    StepFailed {
        /// The step.
        step: StepId,
        /// Why, in words.
        error: String,
    },
    /// The run was told to end: steps put their work in order.
    RunInterrupted,
    /// The run ended.
    RunFinished {
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        seconds: f64,
        /// Seconds since 1970-01-01 UTC.
        at: u64,
    },
}

/// What is told of a step's rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Detail {
    /// Vectors were sealed: they survive a kill.
    Sealed {
        /// How many this time.
        vectors: u64,
        /// Rows of the step that have their vectors now.
        done: u64,
        /// All rows of the step.
        total: u64,
    },
    /// The embedder gave vectors for a batch of texts. Told as it happens, and kept by no journal.
    Batch {
        /// How many.
        rows: u64,
        /// Tokens that the model read.
        tokens: u64,
        /// How long it took.
        seconds: f64,
    },
    /// What the model has read of a step in this run, told about once a second. Kept by no journal.
    Read {
        /// Tokens.
        tokens: u64,
        /// Seconds that the embedder took for them.
        seconds: f64,
    },
    /// Rows whose vectors stood already, known when an embed step begins. Kept by no journal: counts of the step tell it.
    Reused {
        /// How many.
        rows: u64,
    },
    /// Rows that a step has rejected so far. Kept by no journal, likewise.
    Rejected {
        /// How many.
        rows: u64,
    },
    /// What an API was asked and paid for a step, however it ended.
    Asked {
        /// Requests sent.
        requests: u64,
        /// Those of them that brought no right answer.
        failed: u64,
        /// Tokens that were counted to it.
        tokens: u64,
        /// Millionths of a dollar; 0 where no price is known.
        micro_usd: u64,
    },
    /// Texts that could not be embedded, a few at a time.
    Failed {
        /// Which.
        rows: Vec<FailedRow>,
    },
    /// Papers that a dataset showed when it was last published and shows no longer, a few at a time.
    Removed {
        /// Which.
        rows: Vec<RemovedRow>,
    },
}

/// Rows that one [`Detail`] lists at most: a line of the journal stays readable.
pub const LISTED_ROWS: usize = 1000;

/// A text that could not be embedded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRow {
    /// The paper.
    pub bibcode: String,
    /// Its text under its embedder.
    pub row_key: RowKey,
    /// What kept it from being embedded.
    pub reason: String,
}

/// A paper that is no longer in a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRow {
    /// The bibcode that it had.
    pub bibcode: String,
    /// The bibcode under which the dataset holds it now, where it lists the old one among its aliases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was to be done.
    NothingToDo,
    /// Everything selected is fresh now.
    Done,
    /// Some step failed.
    Failed,
    /// It was interrupted; what was sealed is kept.
    Interrupted,
}

impl Event {
    /// Whether the journal keeps it: progress would only drown the rest.
    pub fn is_kept(&self) -> bool {
        match self {
            Self::StepProgress { .. } => false,
            Self::StepDetail { detail, .. } => {
                use Detail::{Batch, Read, Rejected, Reused};
                !matches!(detail, Batch { .. } | Read { .. } | Reused { .. } | Rejected { .. })
            }
            _ => true,
        }
    }
}

//! What a report is made of: plain data, filled by whoever ran the workflow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a run of a workflow went.
///
/// [`Report::default()`] is a run that did nothing; set what is known and leave the rest. Numbers that are not finite are
/// shown as 0 and are `null` in the JSON, which then does not parse back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The workflow's name.
    pub title: String,
    /// The run's id.
    pub run: String,
    /// The program's version.
    pub version: String,
    /// How the run ended.
    pub outcome: Outcome,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub started: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Settings that were overridden for this run, as they were given.
    pub overrides: Vec<String>,
    /// The machine, and versions of what the run stood on.
    pub facts: Vec<Fact>,
    /// All steps of the plan; `upstreams` point into this list.
    pub steps: Vec<Step>,
    /// Rows that were embedded since the run began, told now and then, in order.
    pub throughput: Vec<Progress>,
    /// What embedders computed in this run. Without it, papers per second are taken from `throughput`.
    pub pace: Option<Pace>,
    /// How long the texts are that embedders read.
    pub tokens: Option<TokenHistogram>,
    /// Rows that were left out, by step and reason.
    pub rejects: Vec<Reject>,
    /// What was embedded and what was not embedded again.
    pub reuse: Reuse,
    /// What an API was asked and paid.
    pub cost: Option<Cost>,
    /// Indexes that were built or measured.
    pub indexes: Vec<IndexLine>,
    /// Papers on a plane.
    pub map: Option<Map>,
    /// What the user should know about a step.
    pub notes: Vec<Note>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was selected is fresh now.
    #[default]
    Done,
    /// Some step failed.
    Failed,
    /// It was told to end; what was sealed is kept.
    Interrupted,
}

/// Something about the machine or a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What is told, such as `processor`.
    pub name: String,
    /// What it is.
    pub value: String,
}

/// One step of the plan, whether it ran or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id, such as `embed.minilm[2010]`.
    pub id: String,
    /// The kind of its node.
    pub kind: Kind,
    /// The node that it is an instance of, such as `embed.minilm`.
    pub node: String,
    /// Where in [`Report::steps`] the steps stand that it reads from. What points nowhere is not drawn.
    pub upstreams: Vec<usize>,
    /// What became of it.
    pub state: State,
    /// When it began, in seconds since the run began; none if it did not run.
    pub begin: Option<f64>,
    /// When it ended, in seconds since the run began; none if it did not run, or was under way when the run ended.
    pub end: Option<f64>,
    /// Why it ran, in words; empty if it did not.
    pub reason: String,
    /// Rows that it read.
    pub rows_in: Option<u64>,
    /// Rows of its output.
    pub rows: Option<u64>,
    /// What else it counted, such as `truncated`.
    pub counts: BTreeMap<String, u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The kind of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Reads input files.
    #[default]
    Load,
    /// Makes texts of records.
    Prepare,
    /// Makes vectors of texts.
    Embed,
    /// Publishes a dataset.
    Persist,
    /// Publishes a dataset of several.
    Merge,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It ran, and its record landed.
    Ran,
    /// There was nothing to do.
    #[default]
    Fresh,
    /// It failed.
    Failed,
    /// It was under way when the run was interrupted.
    Interrupted,
    /// It did not begin.
    NotReached,
}

/// How far a run was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Seconds since the run began.
    pub seconds: f64,
    /// Rows embedded until then, in all steps together.
    pub rows: u64,
}

/// What embedders computed, and how long they were at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Rows that were computed.
    pub rows: u64,
    /// Seconds that this took.
    pub seconds: f64,
}

/// How many texts have how many tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHistogram {
    /// Tokens that a bin is wide: bin `i` holds texts of `i * bin_width` to `(i + 1) * bin_width - 1` tokens.
    pub bin_width: u64,
    /// Texts of each bin.
    pub counts: Vec<u64>,
    /// Tokens that the model reads at most (its `max_length`).
    pub limit: u64,
    /// Texts that were longer, and were cut.
    pub longer: u64,
    /// Tokens that were cut off, of all texts together.
    pub dropped: u64,
}

/// Rows that a step left out for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The step's id.
    pub step: String,
    /// Why.
    pub reason: String,
    /// How many rows.
    pub rows: u64,
}

/// What was embedded in this run, and what did not have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reuse {
    /// Rows that were embedded.
    pub embedded: u64,
    /// Rows whose vectors were there already.
    pub reused: u64,
    /// Rows that datasets showed before and show no longer.
    pub removed: u64,
}

/// What an API was asked and paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Requests that were sent.
    pub requests: u64,
    /// Those of them that brought no right answer.
    pub failed: u64,
    /// Tokens that were counted to us.
    pub tokens: u64,
    /// Millionths of a dollar; 0 where no price is known.
    pub micro_usd: u64,
}

/// An index over a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexLine {
    /// The dataset.
    pub dataset: String,
    /// What the index is made of, in Faiss's words, such as `IVF256,SQ8`.
    pub factory: String,
    /// Vectors in it.
    pub rows: u64,
    /// Bytes of the index for each vector.
    pub bytes_each: f64,
    /// The share, 0 to 1, of the ten nearest papers that it finds; none where it was not measured.
    pub recall_at_10: Option<f64>,
    /// Seconds that it took to build.
    pub seconds: f64,
}

/// Papers on a plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The papers, or a sample of them: each takes about 300 bytes of the page.
    pub points: Vec<Point>,
    /// The shares of the variance, 0 to 1, that lie along the two axes, as [`crate::pca::Projection`] has them.
    pub explained: [f64; 2],
}

/// A paper on the map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Along the first axis.
    pub x: f32,
    /// Along the second axis, upwards.
    pub y: f32,
    /// The paper.
    pub bibcode: String,
    /// Its title, where there is one.
    pub title: Option<String>,
    /// What it is coloured by, such as its year.
    pub group: String,
}

/// Something that the user should know about a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The step's id.
    pub step: String,
    /// In words.
    pub note: String,
}

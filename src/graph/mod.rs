//! The workflow as a typed, acyclic graph of node instances.
//!
//! One [`Step`] is one node under one choice of matrix values. Steps stand in topological order, upstreams first, so
//! whoever walks them front to back has seen every input. Nothing unresolved gets in here: [`resolve`] settles names
//! (`names.rs`), multiplies nodes by the matrix (`expand.rs`, `steps.rs`), and either returns a graph without fault or every fault.
//! Which steps a command is about is chosen in `select.rs`. No I/O, here or below.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::encoding::SetDtype;
use crate::manifest::config::{Derived, EmbedConfig, LoadConfig, MergeConfig, PersistConfig, PrepareConfig};

#[cfg(test)]
mod corpus;
mod expand;
mod names;
mod resolve;
mod select;
mod steps;

pub use resolve::resolve;
pub use select::{Scope, SelectError, Selection};
pub use steps::short_name;

/// The kinds of node, in the order data flows through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Reads files into records and rejects.
    Load,
    /// Makes one text of each record.
    Prepare,
    /// Makes one vector of each text.
    Embed,
    /// Publishes a dataset.
    Persist,
    /// Publishes one dataset made of several.
    Merge,
}

impl NodeKind {
    /// The kind's section in the manifest.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Prepare => "prepare",
            Self::Embed => "embed",
            Self::Persist => "persist",
            Self::Merge => "merge",
        }
    }

    /// The kinds that a node of this kind may read from; none for load.
    pub const fn reads_from(self) -> &'static [Self] {
        match self {
            Self::Load => &[],
            Self::Prepare => &[Self::Load],
            Self::Embed => &[Self::Prepare],
            Self::Persist => &[Self::Embed],
            Self::Merge => &[Self::Persist, Self::Merge],
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.section())
    }
}

/// One node instance: `embed.minilm[2017]`. The cells are axis -> value, sorted by axis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId {
    /// The node's kind, which is its section in the manifest.
    pub kind: NodeKind,
    /// The node's name.
    pub node: String,
    /// The matrix values of this instance.
    pub cells: BTreeMap<String, String>,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.node)?;
        if !self.cells.is_empty() {
            let values: Vec<&str> = self.cells.values().map(String::as_str).collect();
            write!(f, "[{}]", values.join(","))?;
        }
        Ok(())
    }
}

/// The resolved configuration of a step, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Of a load step.
    Load(LoadConfig),
    /// Of a prepare step.
    Prepare(PrepareConfig),
    /// Of an embed step.
    Embed(EmbedConfig),
    /// Of a persist step.
    Persist(PersistConfig),
    /// Of a merge step.
    Merge(MergeConfig),
}

/// The place of a step in [`Graph::steps`].
pub type StepIndex = usize;

/// One node instance with its configuration and the steps it reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who it is.
    pub id: StepId,
    /// What it does.
    pub config: Config,
    /// The steps that `from` stands for: none for load; for a merge all that it merges, in the order of the matrix.
    pub upstreams: Vec<StepIndex>,
}

/// The dataset that a step publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedAs<'a> {
    /// The directory that shows it, relative to the manifest.
    pub dir: &'a str,
    /// The label in its name.
    pub label: &'a str,
    /// Its name, which is the stem of its files.
    pub name: String,
    /// The element type of its vectors.
    pub dtype: SetDtype,
    /// What is made of it.
    pub derived: &'a Derived,
}

impl Step {
    /// The dataset that this step publishes; none for kinds that publish nothing.
    pub fn dataset(&self) -> Option<PublishedAs<'_>> {
        let (dir, label, dtype, derived) = match &self.config {
            Config::Persist(PersistConfig { dir, label, dtype, dim: _, derived })
            | Config::Merge(MergeConfig { dir, label, dtype, view: _, derived }) => (dir, label, *dtype, derived),
            Config::Load(_) | Config::Prepare(_) | Config::Embed(_) => return None,
        };
        Some(PublishedAs { dir, label, name: dataset_name(label, &self.id.cells), dtype, derived })
    }
}

/// A resolved workflow. `steps` is in topological order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The workflow's name.
    pub name: String,
    /// The store's path, relative to the manifest.
    pub store: String,
    /// Every step, upstreams first; within a node, in the order of the matrix.
    pub steps: Vec<Step>,
    /// The overrides given with `--set`, as written.
    pub overrides: Vec<String>,
}

impl Graph {
    /// The embed node that the vectors of a step come from: its own, or that of the first step above it.
    pub fn embed_node(&self, index: StepIndex) -> Option<&EmbedConfig> {
        match &self.steps[index].config {
            Config::Embed(config) => Some(config),
            _ => self.embed_node(*self.steps[index].upstreams.first()?),
        }
    }
}

/// The name of a dataset, which is the stem of its files: the label, then the matrix values in the order of their axes.
pub fn dataset_name(label: &str, cells: &BTreeMap<String, String>) -> String {
    std::iter::once(label).chain(cells.values().map(String::as_str)).collect::<Vec<_>>().join("_")
}

/// The file of a dataset's vectors.
pub fn embeddings_file(name: &str, dtype: SetDtype) -> String {
    format!("embeddings_{name}.{dtype}")
}

/// The folder in a view's set that holds the vectors of its parts.
const PARTS: &str = "parts/";

/// The file of a part's vectors in the set of a view.
pub fn part_file(name: &str, dtype: SetDtype) -> String {
    format!("{PARTS}{}", embeddings_file(name, dtype))
}

/// Whether a file of a set is one that a view holds of a part. Its dataset shows it; the view makes no name for it.
pub fn is_part_file(file: &str) -> bool {
    file.starts_with(PARTS)
}

/// The file of a dataset's bibcodes, one a line.
pub fn bibcodes_file(name: &str) -> String {
    format!("bibcodes_{name}.txt")
}

/// The file of a dataset's index by bibcode.
pub fn keys_file(name: &str) -> String {
    format!("keys_{name}.fst")
}

/// The file that describes a dataset.
pub fn manifest_file(name: &str) -> String {
    format!("manifest_{name}.json")
}

//! Whether a store and what is published of it are what they were when they were written, to the last bit.
//!
//! ```text
//! files of the store -> each against its name, its seal or its own check        (store.rs)
//! published sets     -> each file against the digest that its record names     (sets.rs)
//! published rows     -> each against the tables of the store that it came from  (rows.rs, merged.rs)
//! ```
//!
//! Reads everything, a batch at a time, and remembers nothing: what a plan takes from memory (sizes, times) proves no
//! content. Writes nothing; [`mend`] puts out of use what was found damaged, and an apply then makes it again. What runs
//! meanwhile only adds to a store, and is looked at or not; gc must not delete meanwhile, or its records may seem to lack
//! outputs.

mod cursor;
pub mod mend;
mod merged;
mod rows;
mod sets;
mod store;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::{Digest, NodeKey};
use crate::graph::Graph;
use crate::record::Record;
use crate::store::{Store, StoreError};

pub use store::version;

/// What kind of thing was found damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The file that says which version the store has.
    Version,
    /// A record.
    Record,
    /// A reference.
    Reference,
    /// A blob.
    Blob,
    /// A sealed segment of vectors.
    Segment,
    /// The sorted rows of a finished vectors table.
    TableRows,
    /// A journal.
    Journal,
    /// The remembered digests.
    Digests,
    /// A converted model.
    Graph,
    /// A file or link of a published set.
    Published,
    /// A published row that is not what the store's tables make of it.
    Row,
    /// A file of an index that stands beside a published set.
    Index,
}

impl Kind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Version => "the store's version",
            Self::Record => "record",
            Self::Reference => "reference",
            Self::Blob => "blob",
            Self::Segment => "segment",
            Self::TableRows => "list of a table's rows",
            Self::Journal => "journal",
            Self::Digests => "remembered digests",
            Self::Graph => "converted model",
            Self::Published => "published file",
            Self::Row => "published row",
            Self::Index => "index",
        }
    }
}

/// What puts a finding out of use.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mend {
    /// These are removed, in this order: records before what they name.
    Remove(Vec<PathBuf>),
    /// The lines that can be trusted stay.
    Lines,
    /// The file is written again.
    Version,
    /// An apply mends it.
    Apply,
    /// Nothing here does.
    Nothing,
}

/// Something that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// What is wrong with it.
    pub wrong: String,
    /// What follows from it.
    pub follows: String,
    #[serde(skip)]
    mend: Mend,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What is damaged.
    pub findings: Vec<Finding>,
    /// What stands in the store and is nothing that this program knows; no damage.
    pub unknown: Vec<PathBuf>,
    /// How many of each kind were checked.
    pub checked: BTreeMap<&'static str, u64>,
}

impl Report {
    fn count(&mut self, what: &'static str, more: u64) {
        *self.checked.entry(what).or_default() += more;
    }
}

/// Told what is looked at, how many bytes of it are done, and of how many.
pub type Tell<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// A store that is being verified.
struct Verifier<'a> {
    store: &'a Store,
    report: Report,
    records: HashMap<NodeKey, Record>,
    /// Who last used a record: `embed.minilm[2010] of tests`.
    users: HashMap<NodeKey, Vec<String>>,
    /// Blobs that are missing or damaged: told already.
    broken: HashSet<Digest>,
    tell: Tell<'a>,
}

/// Checks every file of a store, and, of a workflow whose paths are relative to the given folder, every dataset.
///
/// # Errors
/// [`StoreError`] if something cannot be read at all; damage is in the [`Report`].
pub fn verify(store: &Store, workflow: Option<(&Graph, &Path)>, tell: Tell) -> Result<Report, StoreError> {
    let mut verifier = Verifier {
        store,
        report: Report::default(),
        records: HashMap::new(),
        users: HashMap::new(),
        broken: HashSet::new(),
        tell,
    };
    verifier.store()?;
    if let Some((graph, base)) = workflow {
        verifier.sets(graph, base)?;
    }
    let mut report = verifier.report;
    report.unknown.sort();
    Ok(report)
}

impl Verifier<'_> {
    fn found(&mut self, kind: Kind, path: &Path, wrong: impl ToString, follows: impl ToString, mend: Mend) {
        let (wrong, follows) = (wrong.to_string(), follows.to_string());
        self.report.findings.push(Finding { path: path.to_owned(), kind, wrong, follows, mend });
    }

    /// What follows from the loss of records.
    fn run_again<'k>(&self, keys: impl Iterator<Item = &'k NodeKey>) -> String {
        let mut users: Vec<&str> = keys.filter_map(|key| self.users.get(key)).flatten().map(String::as_str).collect();
        users.sort_unstable();
        users.dedup();
        match users.as_slice() {
            [] => "no workflow uses it any more".to_owned(),
            users => format!("to be made again: {}", users.join(", ")),
        }
    }

    fn record_path(&self, key: &NodeKey) -> PathBuf {
        self.store.root().join("records").join(format!("{key}.json"))
    }
}

/// What is wrong, without the path that is told beside it.
fn detail(error: &StoreError) -> String {
    match error {
        StoreError::Damaged { detail, .. } => detail.clone(),
        other => other.to_string(),
    }
}

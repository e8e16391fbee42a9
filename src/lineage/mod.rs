//! Where a published row came from: from a dataset back through the store to the line of a source file.
//!
//! ```text
//! bibcode -> dataset -> set -> [the set that a merge took it from] -> vectors table -> row key
//!                                                                      -> text -> record -> file and line
//! ```
//!
//! A set's digest is the key of the step that made it, so its record is found at once, and its manifest names the tables
//! that it was made of. Which step made a table is found among all records. Reads only; `trace.rs` follows one row,
//! `set_aside.rs` says why there is none, `walk.rs` follows all.

mod error;
mod set_aside;
mod trace;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

pub use error::LineageError;
pub use set_aside::{Selecting, SetAside};
pub use trace::{DatasetRow, MadeBy, RecordRow, SourceLine, TextRow, Trace, VectorRow};
pub use walk::{Beside, Columns, Walked};

use crate::digest::{Digest, EmbedderKey, NodeKey};
use crate::graph::{StepId, manifest_file};
use crate::published::{Layout, PublishedBy, provenance, run_file};
use crate::record::Record;
use crate::store::{Store, StoreError};

/// The records of a store, found by what they made.
pub struct Lineage {
    store: Store,
    records: HashMap<NodeKey, Record>,
    /// Table -> the steps that made it. Several did if, say, one year's file was compressed again.
    makers: HashMap<Digest, Vec<NodeKey>>,
    /// The steps of one workflow, and the record that each one last used.
    steps: BTreeMap<StepId, NodeKey>,
}

/// What the manifest of a set says, as far as tracing needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct SetManifest {
    /// The dataset's name.
    pub dataset: String,
    /// The matrix values of the dataset.
    cells: BTreeMap<String, String>,
    /// The embedder's key.
    pub embedder: Option<EmbedderKey>,
    records: Option<Digest>,
    texts: Option<Digest>,
    vectors: Option<Digest>,
    /// The papers that were left out since their texts could not be embedded.
    #[serde(default)]
    failed: Vec<IgnoredAny>,
    /// Whether it is a view: then a row's number counts the superseded rows before it too.
    #[serde(default)]
    pub view: bool,
    #[serde(default)]
    parts: Vec<PartOfMerge>,
}

/// One of the sets that were merged.
#[derive(Clone, Debug, Deserialize)]
pub struct PartOfMerge {
    /// The dataset's name.
    pub dataset: String,
    /// Its set, as it was merged.
    pub set: NodeKey,
    /// Its rows, those that a later set supersedes included.
    pub rows: u64,
}

/// A set and what it was made of.
pub struct SetLineage<'a> {
    /// The record of the step that made it.
    pub record: &'a Record,
    /// What it says of itself.
    pub manifest: SetManifest,
    /// What its rows come from.
    pub origin: Origin<'a>,
}

/// What the rows of a set come from.
pub enum Origin<'a> {
    /// One embed step and what is above it.
    Embedded(Tables<'a>),
    /// Other sets, in the order in which they were merged.
    Merged(Vec<PartOfMerge>),
}

/// The tables behind a set that was embedded, each with the record of the step that made it.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    /// Bibcode, fields, source and line.
    pub records: Digest,
    /// Bibcode and text; row n is row n of the vectors, less the rows that were left out.
    pub texts: Digest,
    /// Bibcode, vector and row key; row n is row n of the set.
    pub vectors: Digest,
    /// Who made the records.
    pub load: &'a Record,
    /// Who made the texts.
    pub prepare: &'a Record,
    /// Who made the vectors.
    pub embed: &'a Record,
}

/// What the provenance file of a published dataset says.
///
/// # Errors
/// [`LineageError::NoProvenance`] if there is none that can be read.
pub fn published_by(dir: &Path, dataset: &str) -> Result<PublishedBy, LineageError> {
    provenance(dir, dataset).ok_or_else(|| LineageError::NoProvenance { path: dir.join(run_file(dataset)) })
}

/// The store that a published set was built in: `named` if that holds it, else what the provenance file says.
///
/// # Errors
/// [`LineageError`] if nobody says which it is, or it is not there.
pub fn store_of(dir: &Path, dataset: &str, set: &NodeKey, named: Option<&Path>) -> Result<Store, LineageError> {
    let holds = |root: &&Path| root.join("records").join(format!("{set}.json")).is_file();
    let root: PathBuf = match named.filter(holds) {
        Some(root) => root.to_owned(),
        None => {
            let unknown = || LineageError::StoreUnknown { dir: dir.to_owned(), dataset: dataset.to_owned() };
            dir.join(published_by(dir, dataset)?.store.ok_or_else(unknown)?)
        }
    };
    if !root.join("records").is_dir() {
        return Err(LineageError::StoreMissing { dataset: dataset.to_owned(), store: root });
    }
    Ok(Store::open(&root)?)
}

impl Lineage {
    /// Reads the records of a store. Where several steps made one table, those of `workflow` are preferred.
    ///
    /// # Errors
    /// [`LineageError::Store`].
    pub fn open(store: Store, workflow: &str) -> Result<Self, LineageError> {
        let steps = store.references(workflow)?.into_iter().map(|reference| (reference.step, reference.key)).collect();
        let records: HashMap<NodeKey, Record> =
            store.records()?.into_iter().map(|record| (record.key, record)).collect();
        let mut makers: HashMap<Digest, Vec<NodeKey>> = HashMap::new();
        for record in records.values() {
            let tables = ["records", "texts", "vectors"];
            let made = tables.iter().filter_map(|table| record.outputs.get(*table));
            made.for_each(|output| makers.entry(output.digest).or_default().push(record.key));
        }
        Ok(Self { store, records, makers, steps })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The step of the workflow that last used a record: the first, if years of one content share it.
    pub fn step(&self, key: &NodeKey) -> Option<&StepId> {
        self.steps.iter().find(|(_, used)| *used == key).map(|(step, _)| step)
    }

    /// The steps of the workflow, each with the key of the record that it last used.
    pub fn steps(&self) -> impl Iterator<Item = (&StepId, &NodeKey)> {
        self.steps.iter()
    }

    /// The record of a key.
    pub fn record(&self, key: &NodeKey) -> Option<&Record> {
        self.records.get(key)
    }

    /// A set and what it was made of.
    ///
    /// # Errors
    /// [`LineageError`] if its record, its manifest or the record of a table that it was made of is not there.
    pub fn set(&self, set: &NodeKey) -> Result<SetLineage<'_>, LineageError> {
        let unknown = || LineageError::SetUnknown { set: *set, store: self.store.root().to_owned() };
        let record = self.records.get(set).ok_or_else(unknown)?;
        let manifest = self.manifest(record)?;
        let origin = match (manifest.records, manifest.texts, manifest.vectors) {
            (Some(records), Some(texts), Some(vectors)) => Origin::Embedded(Tables {
                records,
                texts,
                vectors,
                load: self.maker(&records, &manifest.cells)?,
                prepare: self.maker(&texts, &manifest.cells)?,
                embed: self.maker(&vectors, &manifest.cells)?,
            }),
            _ => Origin::Merged(manifest.parts.clone()),
        };
        Ok(SetLineage { record, manifest, origin })
    }

    fn manifest(&self, record: &Record) -> Result<SetManifest, LineageError> {
        let described = record.outputs.iter().find(|(file, _)| is_manifest(file));
        let unknown = || LineageError::SetUnknown { set: record.key, store: self.store.root().to_owned() };
        let (_, output) = described.ok_or_else(unknown)?;
        let bytes = self.store.map_blob(&output.digest)?;
        let damaged = |error| StoreError::damaged(&self.store.blob_path(&output.digest), error);
        Ok(serde_json::from_slice(&bytes).map_err(damaged)?)
    }

    /// The record of the step that made a table for a dataset of these cells. Where several made it, a step of the workflow
    /// whose cells are among them comes first, then any other of the workflow, then the one that started last.
    fn maker(&self, table: &Digest, cells: &BTreeMap<String, String>) -> Result<&Record, LineageError> {
        let of_cells = |step: &StepId| step.cells.iter().all(|(axis, value)| cells.get(axis) == Some(value));
        let rank = |record: &&Record| {
            let used_by = self.steps.iter().filter(|(_, key)| **key == record.key);
            (used_by.map(|(step, _)| 1 + u8::from(of_cells(step))).max(), record.provenance.started, record.key)
        };
        let makers = self.makers.get(table).into_iter().flatten().map(|key| &self.records[key]);
        let unknown = || LineageError::TableUnknown { digest: *table, store: self.store.root().to_owned() };
        makers.max_by_key(rank).ok_or_else(unknown)
    }
}

fn is_manifest(file: &str) -> bool {
    file.strip_prefix("manifest_")
        .and_then(|rest| rest.strip_suffix(".json"))
        .is_some_and(|name| manifest_file(name) == file)
}

/// The set that a directory shows under a dataset's name.
pub fn shown(dir: &Path, dataset: &str) -> Option<NodeKey> {
    Layout::new(dir).shown(dataset)?.parse().ok()
}

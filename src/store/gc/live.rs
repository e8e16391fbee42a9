//! What is live: what references and young records lead to, and everything that this was made of.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Deserialize;

use super::super::{Store, StoreError};
use super::{GraphFolder, measured};
use crate::digest::{Digest, NodeKey};
use crate::record::{Record, Reference};

/// Outputs by which a record is found as the maker of something. The others (what was set aside, lists of bibcodes) are
/// often equal between records that have nothing to do with each other.
const MADE: [&str; 3] = ["records", "texts", "vectors"];
/// Where an embed record names the texts that it read.
const TEXTS: &str = "texts";
/// Where it names the key of its embedder.
const EMBEDDER: &str = "embedder";

/// The live part of a store, and the rest of its records.
pub(super) struct Live {
    records: HashMap<NodeKey, (PathBuf, Record)>,
    keys: HashSet<NodeKey>,
    blobs: HashSet<Digest>,
    graphs: HashSet<String>,
    embedders: HashSet<String>,
}

/// What the description of a set says of what it was made of.
#[derive(Deserialize)]
struct Origin {
    records: Option<Digest>,
    texts: Option<Digest>,
    vectors: Option<Digest>,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    set: NodeKey,
    #[serde(default)]
    manifest: Option<Digest>,
}

impl Live {
    /// Finds everything that is live.
    ///
    /// # Errors
    /// The first reference, record or description that cannot be read.
    pub fn of(store: &Store, before: SystemTime, graph_folder: GraphFolder) -> Result<Self, StoreError> {
        let references = store.reference_files()?.into_iter().map(|(_, reference)| reference);
        let references: Vec<Reference> = references.collect::<Result<_, _>>()?;
        let records = store.record_files()?.into_iter().map(|(path, record)| record.map(|record| (path, record)));
        let records: Vec<(PathBuf, Record)> = records.collect::<Result<_, _>>()?;
        let young = records.iter().filter(|(path, _)| measured(path).is_none_or(|(_, modified)| modified > before));
        let mut open: Vec<NodeKey> = young.map(|(_, record)| record.key).collect();
        open.extend(references.iter().map(|reference| reference.key));

        let records: HashMap<_, _> = records.into_iter().map(|(path, record)| (record.key, (path, record))).collect();
        let mut live = Self {
            records,
            keys: HashSet::new(),
            blobs: HashSet::new(),
            graphs: HashSet::new(),
            embedders: HashSet::new(),
        };
        let inputs = references.iter().flat_map(|reference| &reference.fingerprint.inputs);
        live.blobs.extend(inputs.map(|(_, digest)| *digest));
        live.graphs.extend(references.iter().filter_map(|reference| graph_folder(&reference.fingerprint.config)));
        live.close(store, open, graph_folder)?;
        Ok(live)
    }

    /// Follows what leads on until nothing new is found.
    fn close(&mut self, store: &Store, mut open: Vec<NodeKey>, graph_folder: GraphFolder) -> Result<(), StoreError> {
        let mut makers: HashMap<Digest, Vec<NodeKey>> = HashMap::new();
        for (_, record) in self.records.values() {
            let made = MADE.iter().filter_map(|name| record.outputs.get(*name));
            made.for_each(|output| makers.entry(output.digest).or_default().push(record.key));
        }
        let made = |blobs: &mut dyn Iterator<Item = Digest>| -> Vec<NodeKey> {
            blobs.filter_map(|blob| makers.get(&blob)).flatten().copied().collect()
        };
        open.extend(made(&mut self.blobs.iter().copied()));
        while let Some(key) = open.pop() {
            if !self.keys.insert(key) {
                continue;
            }
            let Some((_, record)) = self.records.get(&key) else { continue };
            let origin = origin(store, record)?;
            let blobs: Vec<Digest> = record
                .outputs
                .values()
                .map(|output| output.digest)
                .chain(record.facts.get(TEXTS).and_then(|texts| texts.parse().ok()))
                .chain(origin.iter().flat_map(|of| [of.records, of.texts, of.vectors]).flatten())
                .chain(origin.iter().flat_map(|of| &of.parts).filter_map(|part| part.manifest))
                .collect();
            self.graphs.extend(graph_folder(&ingredients(record)));
            self.embedders.extend(record.facts.get(EMBEDDER).cloned());
            open.extend(origin.iter().flat_map(|of| &of.parts).map(|part| part.set));
            open.extend(made(&mut blobs.iter().copied()));
            self.blobs.extend(blobs);
        }
        Ok(())
    }

    /// Whether a blob is live.
    pub fn holds(&self, blob: &Digest) -> bool {
        self.blobs.contains(blob)
    }

    /// Whether a live embedder runs a converted model.
    pub fn runs_graph(&self, folder: &str) -> bool {
        self.graphs.contains(folder)
    }

    /// Whether an embedder, by its key, made something that is live.
    pub fn runs_embedder(&self, key: &str) -> bool {
        self.embedders.contains(key)
    }

    /// The records that nothing leads to, in the order of their names.
    pub fn superseded(&self) -> impl Iterator<Item = &(PathBuf, Record)> {
        let mut superseded: Vec<_> =
            self.records.values().filter(|(_, record)| !self.keys.contains(&record.key)).collect();
        superseded.sort_by(|(a, _), (b, _)| a.cmp(b));
        superseded.into_iter()
    }

    /// All records.
    pub fn all_records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(|(_, record)| record)
    }

    /// Keeps a record, with what it made, that nothing leads to.
    pub fn keep(&mut self, key: &NodeKey) {
        if let Some((_, record)) = self.records.get(key) {
            self.blobs.extend(record.outputs.values().map(|output| output.digest));
            self.keys.insert(*key);
        }
    }
}

/// What a set was made of, as its description in the store says; none for records of other kinds.
fn origin(store: &Store, record: &Record) -> Result<Option<Origin>, StoreError> {
    let is_manifest = |name: &str| name.starts_with("manifest_") && name.ends_with(".json");
    let Some((_, output)) = record.outputs.iter().find(|(name, _)| is_manifest(name)) else { return Ok(None) };
    let bytes = store.map_blob(&output.digest)?;
    let path = store.blob_path(&output.digest);
    // A flipped digit would lead elsewhere, and what is live would go.
    if Digest::of(&bytes) != output.digest {
        return Err(StoreError::BlobDamaged { path });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| StoreError::damaged(&path, error))
}

/// What the embedder of a record is made of.
fn ingredients(record: &Record) -> BTreeMap<String, String> {
    let named = record.facts.iter().filter_map(|(name, value)| Some((name.strip_prefix("embedder.")?, value)));
    named.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

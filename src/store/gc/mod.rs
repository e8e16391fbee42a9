//! gc: what in a store nothing leads to any more, as a plan of plain data, and its execution.
//!
//! ```text
//! references of all workflows, records younger than `keep` -> live records -> their outputs and inputs -> who made those
//! everything else, older than `keep` -> doomed, by reason; rows that nothing else holds are kept unless they are dropped
//! ```
//!
//! The lineage of what is live is live (`live.rs`), so that what is published can be traced for as long as it is. Vectors
//! cost the most: `vectors.rs` says which rows stand nowhere else. Nothing here decides by what today's workflows say: an
//! edited prefix or an unmounted disk must not make paid vectors look unreachable.

mod live;
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::record::list;
use super::{Store, StoreError, durable};
use crate::digest::{Digest, EmbedderKey};
use live::Live;
pub use vectors::OnlyCopies;

/// Finds the folder of a converted model from an embedder's ingredients; none if it has none.
pub type GraphFolder = fn(&BTreeMap<String, String>) -> Option<String>;

/// What gc may do.
#[derive(Clone, Copy)]
pub struct GcOptions {
    /// What is younger stays.
    pub keep: Duration,
    /// Whether rows that nothing else holds may go.
    pub drop_vectors: bool,
    /// Where a converted model is kept, by the ingredients of its embedder.
    pub graph_folder: GraphFolder,
}

/// Why something may go. In the order in which it goes: records first, so that none is ever ahead of its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A record that no reference leads to.
    SupersededRecord,
    /// An output of such records alone.
    SupersededOutput,
    /// A blob that no record names.
    Unrecorded,
    /// A segment of which no live table holds a row.
    DroppedSegment,
    /// The row keys of a table that goes, or is gone.
    LeftoverRows,
    /// What a dead process did not finish.
    Unfinished,
    /// A converted model that no live embedder runs.
    UnusedGraph,
    /// What TensorRT compiled for an embedder of which there is no live record.
    UnusedEngine,
    /// A lock of a dead process.
    LeftoverLock,
}

impl Reason {
    /// In words, as the name of what goes.
    pub fn words(self) -> &'static str {
        match self {
            Self::SupersededRecord => "superseded records",
            Self::SupersededOutput => "outputs of superseded records",
            Self::Unrecorded => "blobs of no record",
            Self::DroppedSegment => "segments of dropped vectors",
            Self::LeftoverRows => "row keys of tables that are gone",
            Self::Unfinished => "unfinished files of the dead",
            Self::UnusedGraph => "converted models that nothing uses",
            Self::UnusedEngine => "compiled models that nothing uses",
            Self::LeftoverLock => "locks of the dead",
        }
    }
}

/// One file or folder that may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doomed {
    /// Why.
    pub reason: Reason,
    /// Where it is.
    pub path: PathBuf,
    /// How much it frees.
    pub bytes: u64,
}

/// What gc would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GcPlan {
    /// What goes, in this order.
    pub doomed: Vec<Doomed>,
    /// Rows that no live table holds, by embedder: they stay, unless they are dropped.
    pub only_copies: Vec<OnlyCopies>,
    /// Files that would go if they were older, and their bytes.
    pub young: Tally,
}

/// A number of files, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Files; a folder counts as one.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl GcPlan {
    /// How much goes for each reason.
    pub fn tallies(&self) -> BTreeMap<Reason, Tally> {
        let mut tallies: BTreeMap<Reason, Tally> = BTreeMap::new();
        self.doomed.iter().for_each(|doomed| tallies.entry(doomed.reason).or_default().add(doomed.bytes));
        tallies
    }

    /// How much goes in all.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.doomed.iter().for_each(|doomed| total.add(doomed.bytes));
        total
    }
}

impl Store {
    /// Says what could be deleted. Reads all references and records, and the row keys of the tables of vectors; writes
    /// nothing. Sixteen bytes are held for each row of an embedder.
    ///
    /// # Errors
    /// The first reference, record or description of a live set that cannot be read: what it leads to is not known, so
    /// nothing may go.
    pub fn plan_gc(&self, options: &GcOptions) -> Result<GcPlan, StoreError> {
        let before = SystemTime::now().checked_sub(options.keep).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut live = Live::of(self, before, options.graph_folder)?;
        let mut sweep = Sweep { before, plan: GcPlan::default() };
        let segments = vectors::judge(self, &mut live, options.drop_vectors, &mut sweep)?;
        sweep.records(&live);
        let gone = sweep.blobs(self, &live)?;
        segments.into_iter().for_each(|(path, bytes)| sweep.doom(Reason::DroppedSegment, path, bytes));
        sweep.leftover_rows(self, &gone)?;
        sweep.unfinished(self)?;
        sweep.graphs(self, &live)?;
        sweep.engines(self, &live)?;
        sweep.leftover_locks(self)?;
        Ok(sweep.plan)
    }

    /// Deletes what a plan says, in its order, and makes the names of what is gone last. Whoever calls this holds gc's lock
    /// since before the plan was made.
    ///
    /// # Errors
    /// [`StoreError::Write`] at the first that cannot be deleted; the rest is found by the next gc.
    pub fn delete(&self, plan: &GcPlan) -> Result<(), StoreError> {
        let records = plan.doomed.partition_point(|doomed| doomed.reason == Reason::SupersededRecord);
        for part in [&plan.doomed[..records], &plan.doomed[records..]] {
            let mut folders = BTreeSet::new();
            for Doomed { path, .. } in part {
                remove(path).map_err(|error| StoreError::write(path, error))?;
                folders.extend(path.parent());
            }
            let sync =
                |folder: &Path| durable::sync_parent(&folder.join("any")).map_err(|e| StoreError::write(folder, e));
            folders.into_iter().try_for_each(sync)?;
        }
        Ok(())
    }
}

/// Collects what may go.
struct Sweep {
    before: SystemTime,
    plan: GcPlan,
}

impl Sweep {
    /// Takes something in, unless it is young.
    fn offer(&mut self, reason: Reason, path: PathBuf) -> bool {
        // What is gone meanwhile need not go.
        let Some((bytes, modified)) = measured(&path) else { return false };
        if modified > self.before {
            self.plan.young.add(bytes);
            return false;
        }
        self.doom(reason, path, bytes);
        true
    }

    fn doom(&mut self, reason: Reason, path: PathBuf, bytes: u64) {
        self.plan.doomed.push(Doomed { reason, path, bytes });
    }

    fn records(&mut self, live: &Live) {
        for (path, _) in live.superseded() {
            let bytes = measured(path).map_or(0, |(bytes, _)| bytes);
            self.doom(Reason::SupersededRecord, path.clone(), bytes);
        }
    }

    /// The blobs that nothing live names; says which tables are gone then.
    fn blobs(&mut self, store: &Store, live: &Live) -> Result<BTreeSet<Digest>, StoreError> {
        let outputs: BTreeSet<Digest> =
            live.superseded().flat_map(|(_, record)| record.outputs.values().map(|output| output.digest)).collect();
        let mut doomed: Vec<(Reason, PathBuf, Digest)> = Vec::new();
        for (path, digest) in store.blobs()? {
            let reason = if outputs.contains(&digest) { Reason::SupersededOutput } else { Reason::Unrecorded };
            if !live.holds(&digest) {
                doomed.push((reason, path, digest));
            }
        }
        doomed.sort();
        Ok(doomed.into_iter().filter_map(|(reason, path, digest)| self.offer(reason, path).then_some(digest)).collect())
    }

    /// Lists of row keys, `<table>.rows`, whose table is gone or goes.
    fn leftover_rows(&mut self, store: &Store, gone: &BTreeSet<Digest>) -> Result<(), StoreError> {
        for folder in list(&store.root.join("vectors"))?.iter().filter(|folder| folder.is_dir()) {
            for path in list(folder)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rows")) {
                let Some(table) = stem(&path).and_then(|stem| stem.parse::<Digest>().ok()) else { continue };
                if gone.contains(&table) {
                    let bytes = measured(&path).map_or(0, |(bytes, _)| bytes);
                    self.doom(Reason::LeftoverRows, path, bytes);
                } else if !store.blob_path(&table).exists() {
                    self.offer(Reason::LeftoverRows, path);
                }
            }
        }
        Ok(())
    }

    fn unfinished(&mut self, store: &Store) -> Result<(), StoreError> {
        for path in list(&store.root.join("tmp"))? {
            if durable::owner_is_dead(&name(&path)) {
                self.offer(Reason::Unfinished, path);
            }
        }
        Ok(())
    }

    fn graphs(&mut self, store: &Store, live: &Live) -> Result<(), StoreError> {
        for path in list(&store.root.join("graphs"))? {
            let name = name(&path);
            // Anything else there is not ours.
            let converted = name.parse::<Digest>().is_ok() && path.is_dir();
            if durable::owner_is_dead(&name) {
                self.offer(Reason::Unfinished, path);
            } else if converted && !live.runs_graph(&name) {
                self.offer(Reason::UnusedGraph, path);
            }
        }
        Ok(())
    }

    /// The folders are called by the key of their embedder.
    fn engines(&mut self, store: &Store, live: &Live) -> Result<(), StoreError> {
        for path in list(&store.root.join("engines"))? {
            let name = name(&path);
            let compiled = name.parse::<EmbedderKey>().is_ok() && path.is_dir();
            if compiled && !live.runs_embedder(&name) {
                self.offer(Reason::UnusedEngine, path);
            }
        }
        Ok(())
    }

    fn leftover_locks(&mut self, store: &Store) -> Result<(), StoreError> {
        for path in list(&store.locks())? {
            if store.living(&path).is_none() {
                self.offer(Reason::LeftoverLock, path);
            }
        }
        Ok(())
    }
}

impl Store {
    /// Every blob with its file, in the order of their names. Files that are called otherwise are passed over.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn blobs(&self) -> Result<Vec<(PathBuf, Digest)>, StoreError> {
        let mut blobs = Vec::new();
        for folder in list(&self.root.join("blobs"))?.iter().filter(|folder| folder.is_dir()) {
            for path in list(folder)? {
                let digest = format!("{}{}", name(folder), name(&path)).parse::<Digest>();
                // A name in capitals reads as the same digest, and is not its blob's.
                blobs.extend(digest.ok().filter(|digest| self.blob_path(digest) == path).map(|digest| (path, digest)));
            }
        }
        Ok(blobs)
    }

    /// The folders of sealed segments, each with the embedder whose vectors it holds.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn embedders(&self) -> Result<Vec<(PathBuf, EmbedderKey)>, StoreError> {
        let folders = list(&self.root.join("vectors"))?.into_iter().filter(|folder| folder.is_dir());
        Ok(folders.filter_map(|folder| name(&folder).parse().ok().map(|embedder| (folder, embedder))).collect())
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_string_lossy().into_owned())
}

/// The bytes of a file, or of all that a folder holds, and when the youngest of it was changed.
fn measured(path: &Path) -> Option<(u64, SystemTime)> {
    let meta = fs::symlink_metadata(path).ok()?;
    let own = (meta.len(), meta.modified().ok()?);
    if !meta.is_dir() {
        return Some(own);
    }
    let inside = fs::read_dir(path).ok()?.flatten().filter_map(|entry| measured(&entry.path()));
    Some(inside.fold((0, own.1), |(bytes, youngest), (more, modified)| (bytes + more, youngest.max(modified))))
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

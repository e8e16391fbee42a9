//! What directories show of a workflow: each published set, file by file, and then row by row.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Kind, Mend, Verifier};
use crate::ann;
use crate::digest::{Digest, EmbedderKey, NodeKey, RowKey};
use crate::encoding::SetDtype;
use crate::fingerprint::PublishFault;
use crate::graph::{Graph, PublishedAs, StepId, manifest_file};
use crate::published::{self, DerivedFiles, Layout, run_file};
use crate::record::{Output, Record, RecordState};
use crate::store::{DigestCache, StoreError};
use crate::table::SUPERSEDED;
use crate::words;

/// What the description of a set says, as far as its rows are checked by it.
#[derive(Debug, Deserialize)]
pub(super) struct SetManifest {
    pub embedder: Option<EmbedderKey>,
    pub dtype: SetDtype,
    pub dim: usize,
    pub records: Option<Digest>,
    pub texts: Option<Digest>,
    pub vectors: Option<Digest>,
    /// The papers that were left out since their texts could not be embedded, in the order of the texts.
    #[serde(default)]
    pub failed: Vec<FailedPaper>,
    #[serde(default)]
    pub view: bool,
    #[serde(default)]
    pub parts: Vec<MergedPart>,
}

/// A paper that a set lacks, since its text could not be embedded and that was accepted.
#[derive(Debug, Deserialize)]
pub(super) struct FailedPaper {
    pub bibcode: String,
    pub row_key: RowKey,
}

/// What a provenance file says of the set that it stands beside.
#[derive(Debug, Deserialize)]
struct PublishedSet {
    dataset: String,
    set: NodeKey,
}

/// A set that was merged into another.
#[derive(Debug, Deserialize)]
pub(super) struct MergedPart {
    pub dataset: String,
    pub set: NodeKey,
}

/// A published set under verification.
pub(super) struct Set<'a> {
    pub name: &'a str,
    pub folder: PathBuf,
    pub manifest: SetManifest,
    /// The rows of its parts that a merge left out.
    pub superseded: Option<Output>,
}

/// Why a row, or all of them, could not be found right: in words, and which tables the row is wrong by.
pub(super) enum Fault {
    /// A row that is not what the tables make of it.
    Row { wrong: String, by: Vec<Digest> },
    /// Something that cannot be read.
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Verifier<'_> {
    pub(super) fn sets(&mut self, graph: &Graph, base: &Path) -> Result<(), StoreError> {
        for step in &graph.steps {
            let Some(dataset) = step.dataset() else { continue };
            let layout = Layout::new(&base.join(dataset.dir));
            loop {
                let (shown, known) = (layout.shown(&dataset.name), self.report.findings.len());
                let checked = self.report.checked.clone();
                self.set(graph, &step.id, &dataset, base);
                if self.report.findings.len() == known || layout.shown(&dataset.name) == shown {
                    break;
                }
                // An apply showed another set meanwhile and removed this one: that is no damage.
                self.report.findings.truncate(known);
                self.report.checked = checked;
            }
        }
        Ok(())
    }

    /// Checks what is shown of one step: its files, then its names, then its rows, unless something was found before.
    fn set(&mut self, graph: &Graph, step: &StepId, dataset: &PublishedAs, base: &Path) {
        let known = self.report.findings.len();
        let Some((record, folder)) = self.shown(graph, step, dataset, base) else { return };
        self.files(&record, &folder);
        if self.report.findings.len() == known {
            self.links(&record, dataset, base);
        }
        if self.report.findings.len() == known {
            self.rows(&record, dataset, folder);
        }
        let dir = base.join(dataset.dir);
        let indexes = [ann::standing(&dir, &dataset.name), words::standing(&dir, &dataset.name)];
        indexes.into_iter().flatten().for_each(|index| self.index(index));
    }

    /// The files of an index. Without its description it is none, so that is what goes: an apply builds it anew.
    fn index(&mut self, DerivedFiles { description, files }: DerivedFiles) {
        let follows = "an apply builds the index anew, where the workflow asks for it";
        let mend = || Mend::Remove(vec![description.clone()]);
        let Some(files) = files else {
            return self.found(Kind::Index, &description, "it is not as it was written", follows, mend());
        };
        for (path, digest) in files {
            self.report.count("files of indexes", 1);
            match Digest::of_file(&path) {
                Ok(found) if found == digest => {}
                Ok(_) => self.found(Kind::Index, &path, "its bytes are not those that were written", follows, mend()),
                Err(error) => self.found(Kind::Index, &path, error, follows, mend()),
            }
        }
    }

    /// The record and the folder of the set that is shown; none if there is nothing to check.
    fn shown(&mut self, graph: &Graph, step: &StepId, dataset: &PublishedAs, base: &Path) -> Option<(Record, PathBuf)> {
        let dir = base.join(dataset.dir);
        let link = Layout::new(&dir).link(&dataset.name);
        let reference = self.store.reference(&graph.name, step).ok().flatten();
        let Some(shown) = Layout::new(&dir).shown(&dataset.name) else {
            // What was never applied shows nothing.
            if let Some(reference) = reference.filter(|reference| self.records.contains_key(&reference.key)) {
                let wrong = format!("nothing is shown there, and {step} published set {}", reference.key.short());
                self.found(Kind::Published, &link, wrong, "an apply publishes it again", Mend::Apply);
            }
            return None;
        };
        // Another workflow's, or one of before this step was first applied.
        reference?;
        let folder = fs::canonicalize(&link).ok();
        let record = shown.parse::<NodeKey>().ok().and_then(|set| self.record(&set));
        match (record, folder) {
            (Some(record), Some(folder)) => Some((record, folder)),
            (None, _) => {
                let wrong = format!("the store has no whole record of set {shown}, which it shows");
                self.found(Kind::Published, &link, wrong, format!("to be made again: {step}"), Mend::Apply);
                None
            }
            (_, None) => {
                let wrong = format!("set {shown}, which it shows, is not there");
                self.found(Kind::Published, &link, wrong, "an apply publishes it again", Mend::Apply);
                None
            }
        }
    }

    /// The whole record of a set, looked up once more if there was none: an apply may have written it since.
    fn record(&mut self, set: &NodeKey) -> Option<Record> {
        if !self.records.contains_key(set)
            && let Ok(Some(RecordState::Whole(record))) = self.store.record(set)
            && record.key == *set
        {
            self.records.insert(*set, *record);
        }
        self.records.get(set).cloned()
    }

    /// Every keyed file of a set against its digest, whatever size and times say.
    fn files(&mut self, record: &Record, folder: &Path) {
        let follows = "an apply publishes it again";
        for (file, output) in record.files() {
            let path = folder.join(&file);
            self.report.count("published files", 1);
            (self.tell)("published files", 0, 0);
            match Digest::of_file(&path) {
                Ok(found) if found == output.digest => {}
                Ok(_) => {
                    let wrong = "its bytes are not those that were published";
                    self.found(Kind::Published, &path, wrong, follows, Mend::Remove(vec![path.clone()]));
                }
                Err(error) => self.found(Kind::Published, &path, error, follows, Mend::Apply),
            }
        }
    }

    /// The names that people see, and the provenance file.
    fn links(&mut self, record: &Record, dataset: &PublishedAs, base: &Path) {
        let dir = base.join(dataset.dir);
        // The files were digested just now.
        let names: BTreeMap<String, Output> = BTreeMap::new();
        let mut forgetful = DigestCache::default();
        let fault = published::fault(&dir, &dataset.name, &record.key, &names, &mut forgetful);
        let fault = fault.or_else(|| {
            let files = record.files();
            let wrong = files.keys().find(|file| {
                let visible = dir.join(file);
                !file.contains('/') && fs::canonicalize(&visible).ok() != self.target(&dir, dataset, file)
            })?;
            Some(PublishFault::FileMissing { file: wrong.clone() })
        });
        if let Some(fault) = fault {
            let wrong = fault.to_string();
            return self.found(Kind::Published, &dir, wrong, "an apply publishes it again", Mend::Apply);
        }
        let provenance = Layout::new(&dir).link(&dataset.name).join(run_file(&dataset.name));
        let says = fs::read(&provenance).ok().and_then(|bytes| serde_json::from_slice::<PublishedSet>(&bytes).ok());
        if let Some(says) = says.filter(|says| (&says.dataset, says.set) != (&dataset.name, record.key)) {
            let wrong = format!("it is that of set {} of {}", says.set.short(), says.dataset);
            let mend = Mend::Remove(vec![provenance.clone()]);
            self.found(Kind::Published, &provenance, wrong, "an apply publishes it again", mend);
        }
    }

    /// Where the name of a published file should lead.
    fn target(&self, dir: &Path, dataset: &PublishedAs, file: &str) -> Option<PathBuf> {
        fs::canonicalize(Layout::new(dir).link(&dataset.name).join(file)).ok()
    }

    /// Every row of a set, unless what it came from is known to be damaged: that was told.
    fn rows(&mut self, record: &Record, dataset: &PublishedAs, folder: PathBuf) {
        let path = folder.join(manifest_file(&dataset.name));
        let manifest = fs::read(&path).map_err(|error| error.to_string());
        let manifest =
            manifest.and_then(|bytes| serde_json::from_slice::<SetManifest>(&bytes).map_err(|error| error.to_string()));
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(wrong) => {
                let mend = Mend::Remove(vec![self.record_path(&record.key)]);
                return self.found(Kind::Row, &path, wrong, self.run_again(std::iter::once(&record.key)), mend);
            }
        };
        let superseded = record.outputs.get(SUPERSEDED).copied();
        for part in &manifest.parts {
            self.record(&part.set);
        }
        let set = Set { name: &dataset.name, folder, manifest, superseded };
        (self.tell)(&dataset.name, 0, 0);
        let checked = if set.manifest.parts.is_empty() && set.manifest.vectors.is_some() {
            self.embedded(&set)
        } else {
            self.merged(&set)
        };
        match checked {
            Ok(rows) => {
                self.report.count("datasets", 1);
                self.report.count("published rows", rows);
            }
            Err(Fault::Row { wrong, by }) => self.wrong_row(record, &path, &wrong, &by),
            Err(Fault::Store(error)) => {
                let follows = self.run_again(std::iter::once(&record.key));
                self.found(Kind::Row, &path, error, follows, Mend::Apply);
            }
        }
    }

    /// Puts out of use the record of the set, and those of the tables that it is wrong by.
    fn wrong_row(&mut self, record: &Record, path: &Path, wrong: &str, by: &[Digest]) {
        let makes = |record: &&Record| record.outputs.values().any(|output| by.contains(&output.digest));
        let makers = self.records.values().filter(makes).map(|record| record.key);
        let keys: Vec<NodeKey> = std::iter::once(record.key).chain(makers).collect();
        let mend = Mend::Remove(keys.iter().map(|key| self.record_path(key)).collect());
        let follows = self.run_again(keys.iter());
        self.found(Kind::Row, path, wrong, follows, mend);
    }

    /// Whether none of these tables is missing or damaged.
    pub(super) fn sound(&self, tables: &[Digest]) -> bool {
        !tables.iter().any(|table| self.broken.contains(table))
    }
}

//! Every file of a store, each against what it says of itself: its name, its seal or its own check.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Finding, Kind, Mend, Verifier, detail};
use crate::convert;
use crate::digest::{Digest, EmbedderKey, NodeKey};
use crate::record::{Record, Reference};
use crate::store::sealed::SealedFile;
use crate::store::segment::{self, Segment};
use crate::store::table_rows::{self, TableRows};
use crate::store::{IS_A_DIRECTORY, STORE_VERSION, Store, StoreError, journal, list};

/// What stands in a store beside files that are checked: work under way, what APIs were paid, reports, which are for people, and
/// engines, which TensorRT checks and makes again.
const UNDER_WAY: [&str; 5] = ["engines", "locks", "reports", "spending", "tmp"];
/// What of it is checked.
const CHECKED: [&str; 8] = ["VERSION", "blobs", "digests.json", "graphs", "records", "refs", "runs", "vectors"];

/// Checks the version file of a store, without which it cannot be opened.
pub fn version(root: &Path) -> Option<Finding> {
    let path = root.join("VERSION");
    let found = |wrong: String, mend| {
        let follows = "nothing can be done with this store".to_owned();
        Some(Finding { path: path.clone(), kind: Kind::Version, wrong, follows, mend })
    };
    match fs::read(&path) {
        Ok(bytes) if bytes == format!("{STORE_VERSION}\n").as_bytes() => None,
        // A store without one was written by hand, or is being made.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => found(error.to_string(), Mend::Nothing),
        Ok(_) => match Store::open(root) {
            Err(StoreError::Version { found: says, .. }) => {
                let wrong = format!("it says {says:?}: it is damaged, unless a newer sciembed wrote this store");
                found(wrong, Mend::Nothing)
            }
            _ => found(format!("it does not say {STORE_VERSION}"), Mend::Version),
        },
    }
}

impl Verifier<'_> {
    pub(super) fn store(&mut self) -> Result<(), StoreError> {
        let references = self.references()?;
        self.records()?;
        self.check_references(&references);
        self.blobs()?;
        self.segments()?;
        self.journals()?;
        if let Err(error) = self.store.check_digest_cache() {
            let path = self.store.digest_cache_path();
            let mend = Mend::Remove(vec![path.clone()]);
            self.found(Kind::Digests, &path, detail(&error), "files are digested again", mend);
        }
        self.graphs()?;
        for path in list(self.store.root())? {
            let name = name(&path);
            if !UNDER_WAY.iter().chain(&CHECKED).any(|known| name == *known) {
                self.report.unknown.push(path);
            }
        }
        Ok(())
    }

    /// Reads the references, which tell who uses what.
    fn references(&mut self) -> Result<Vec<(PathBuf, Reference)>, StoreError> {
        let mut whole = Vec::new();
        for (path, reference) in self.store.reference_files()? {
            self.report.count("references", 1);
            match reference {
                Ok(reference) => {
                    let user = format!("{} of {}", reference.step, workflow_of(&path));
                    self.users.entry(reference.key).or_default().push(user);
                    whole.push((path, reference));
                }
                Err(error) => {
                    let follows = format!("an apply of {} writes it again", workflow_of(&path));
                    self.found(Kind::Reference, &path, detail(&error), follows, unless_newer(&error, &path));
                }
            }
        }
        for folder in list(&self.store.root().join("refs"))? {
            let files = if folder.is_dir() { list(&folder)? } else { vec![folder] };
            self.report.unknown.extend(files.into_iter().filter(|path| !has_extension(path, "json")));
        }
        Ok(whole)
    }

    fn records(&mut self) -> Result<(), StoreError> {
        for (path, record) in self.store.record_files()? {
            self.report.count("records", 1);
            match record {
                Ok(record) if name(&path) == format!("{}.json", record.key) => {
                    self.check_outputs(&path, &record);
                    self.records.insert(record.key, record);
                }
                Ok(record) => {
                    let wrong = format!("it is the record of {}", record.key);
                    let mend = Mend::Remove(vec![path.clone()]);
                    self.found(Kind::Record, &path, wrong, "what it is called after is made again", mend);
                }
                Err(error) => {
                    let key = path.file_stem().and_then(|stem| stem.to_string_lossy().parse::<NodeKey>().ok());
                    let follows = self.run_again(key.iter());
                    self.found(Kind::Record, &path, detail(&error), follows, unless_newer(&error, &path));
                }
            }
        }
        let files = list(&self.store.root().join("records"))?;
        self.report.unknown.extend(files.into_iter().filter(|path| !has_extension(path, "json")));
        Ok(())
    }

    /// Whether a record's outputs are there with their sizes. Their bytes are checked with all blobs.
    fn check_outputs(&mut self, path: &Path, record: &Record) {
        for (name, output) in &record.outputs {
            let found = fs::metadata(self.store.blob_path(&output.digest)).map(|meta| meta.len());
            // A gc that deletes it right now has removed the record first.
            if found.as_ref().is_ok_and(|bytes| *bytes == output.bytes) || !path.exists() {
                continue;
            }
            self.broken.insert(output.digest);
            let wrong = match found {
                Ok(bytes) => format!("its output {name} has {bytes} bytes, and it says {}", output.bytes),
                Err(_) => format!("its output {name} ({}) is not there", output.digest),
            };
            let follows = self.run_again(std::iter::once(&record.key));
            self.found(Kind::Record, path, wrong, follows, Mend::Remove(vec![path.to_owned()]));
        }
    }

    fn check_references(&mut self, references: &[(PathBuf, Reference)]) {
        for (path, reference) in references {
            let workflow = workflow_of(path);
            let Reference { step, key, fingerprint, .. } = reference;
            if fingerprint.key() != *key {
                let wrong =
                    format!("its key is {}, and its fingerprint's is {}", key.short(), fingerprint.key().short());
                let follows = format!("an apply of {workflow} writes it again");
                self.found(Kind::Reference, path, wrong, follows, Mend::Remove(vec![path.clone()]));
            } else if !self.record_path(key).exists() {
                let wrong = format!("the record {} that it names is not there", key.short());
                self.found(
                    Kind::Reference,
                    path,
                    wrong,
                    format!("to be made again: {step} of {workflow}"),
                    Mend::Apply,
                );
            }
        }
    }

    fn blobs(&mut self) -> Result<(), StoreError> {
        let blobs = self.store.blobs()?;
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
        let total: u64 = blobs.iter().map(|(path, _)| size(path)).sum();
        let mut makers: HashMap<Digest, Vec<NodeKey>> = HashMap::new();
        for record in self.records.values() {
            record.outputs.values().for_each(|output| makers.entry(output.digest).or_default().push(record.key));
        }
        let mut done = 0;
        for (path, digest) in &blobs {
            (self.tell)("blobs", done, total);
            done += size(path);
            self.report.count("blobs", 1);
            let wrong = match Digest::of_file(path) {
                Ok(found) if found == *digest => continue,
                // gc may have deleted it since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Ok(_) => "its bytes are not those that its name says".to_owned(),
                Err(error) => error.to_string(),
            };
            self.broken.insert(*digest);
            let keys = makers.get(digest).map(Vec::as_slice).unwrap_or_default();
            let follows = self.run_again(keys.iter());
            let mut going: Vec<PathBuf> = keys.iter().map(|key| self.record_path(key)).collect();
            going.push(path.clone());
            self.found(Kind::Blob, path, wrong, follows, Mend::Remove(going));
        }
        self.report.count("bytes of blobs", done);
        let mut found = Vec::new();
        for folder in list(&self.store.root().join("blobs"))? {
            found.extend(if folder.is_dir() { list(&folder)? } else { vec![folder] });
        }
        // Listed once more, and after: an apply may have written some since.
        let known: BTreeSet<PathBuf> = self.store.blobs()?.into_iter().map(|(path, _)| path).collect();
        self.report.unknown.extend(found.into_iter().filter(|path| !known.contains(path)));
        Ok(())
    }

    fn segments(&mut self) -> Result<(), StoreError> {
        for folder in list(&self.store.root().join("vectors"))? {
            let Ok(embedder) = name(&folder).parse::<EmbedderKey>() else {
                self.report.unknown.push(folder);
                continue;
            };
            list(&folder)?.into_iter().for_each(|path| self.vectors(path, &embedder));
        }
        Ok(())
    }

    fn vectors(&mut self, path: PathBuf, embedder: &EmbedderKey) {
        let (kind, checked, follows) = match path.extension().and_then(|extension| extension.to_str()) {
            Some(segment::EXTENSION) => {
                let checked = Segment::open(&path)
                    .and_then(|segment| sealed(segment.file(), &segment.header().embedder, embedder));
                (Kind::Segment, checked, "rows that stand in no sound table are computed again when they are needed")
            }
            Some(table_rows::EXTENSION) => {
                let checked =
                    TableRows::open(&path).and_then(|rows| sealed(rows.file(), &rows.header().embedder, embedder));
                (Kind::TableRows, checked, "vectors are taken from that table no longer; they stand in segments")
            }
            _ => return self.report.unknown.push(path),
        };
        let (files, rows) = match kind {
            Kind::Segment => ("segments", "rows of segments"),
            _ => ("lists of tables' rows", "rows in lists of tables' rows"),
        };
        self.report.count(files, 1);
        match checked {
            Ok(count) => self.report.count(rows, count),
            Err(StoreError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.found(kind, &path, detail(&error), follows, Mend::Remove(vec![path.clone()])),
        }
    }

    fn journals(&mut self) -> Result<(), StoreError> {
        for path in list(&self.store.root().join("runs"))? {
            if !has_extension(&path, "jsonl") {
                self.report.unknown.push(path);
                continue;
            }
            self.report.count("journals", 1);
            if path.is_dir() {
                let mend = Mend::Remove(vec![path.clone()]);
                self.found(Kind::Journal, &path, IS_A_DIRECTORY, "that run's story is lost", mend);
                continue;
            }
            let bytes = fs::read(&path).map_err(|error| StoreError::read(&path, error))?;
            let damaged = journal::check(&bytes).damaged;
            if !damaged.is_empty() {
                let lines: Vec<String> = damaged.iter().map(ToString::to_string).collect();
                let wrong = format!("not as written: line {}", lines.join(", "));
                self.found(Kind::Journal, &path, wrong, "that part of the run's story is lost", Mend::Lines);
            }
        }
        Ok(())
    }

    fn graphs(&mut self) -> Result<(), StoreError> {
        for folder in list(&self.store.root().join("graphs"))? {
            // Those of a conversion under way are called otherwise.
            if name(&folder).parse::<NodeKey>().is_err() {
                self.report.unknown.push(folder);
                continue;
            }
            self.report.count("converted models", 1);
            let damaged = convert::damaged_file(&folder).map_err(|error| StoreError::read(&folder, error))?;
            if let Some(file) = damaged {
                let wrong = "it and the digest noted beside it do not agree";
                let follows = "the model is converted again when it is needed";
                self.found(Kind::Graph, &folder.join(file), wrong, follows, Mend::Remove(vec![folder.clone()]));
            }
        }
        Ok(())
    }
}

/// The rows of a sealed file whose every byte is what was sealed, and which lies where it belongs.
fn sealed(file: &SealedFile, of: &EmbedderKey, folder: &EmbedderKey) -> Result<u64, StoreError> {
    file.verify()?;
    if of != folder {
        return Err(StoreError::damaged(file.path(), format!("it is of embedder {of}")));
    }
    if (1..file.rows()).any(|row| file.key(row - 1) >= file.key(row)) {
        return Err(StoreError::damaged(file.path(), "its row keys do not ascend"));
    }
    Ok(file.rows() as u64)
}

/// What is newer is not damaged, and stays.
fn unless_newer(error: &StoreError, path: &Path) -> Mend {
    if error.is_damage() { Mend::Remove(vec![path.to_owned()]) } else { Mend::Nothing }
}

/// The workflow whose reference a file is, as its folder is called.
fn workflow_of(path: &Path) -> String {
    path.parent().map(name).unwrap_or_default()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

//! Records and refs on disk: JSON that people read too, closed by a digest of itself.
//!
//! Version 1 had no digest and is read without a check. No single flipped bit makes a file of the one version into one of
//! the other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::checked::PRETTY;
use super::{Store, StoreError, durable, file_name};
use crate::digest::NodeKey;
use crate::graph::StepId;
use crate::record::{Record, RecordState, Reference};

/// The version that is written of records and references: closed by a digest.
const VERSION: u32 = 2;
/// The version before, without a digest.
const UNCHECKED: u32 = 1;

/// A file of the store, and what it says, or why it cannot be trusted.
pub type Found<T> = (PathBuf, Result<T, StoreError>);

impl Store {
    fn record_path(&self, key: &NodeKey) -> PathBuf {
        self.root.join("records").join(format!("{key}.json"))
    }

    fn reference_path(&self, workflow: &str, step: &StepId) -> PathBuf {
        self.root.join("refs").join(file_name(workflow)).join(format!("{}.json", file_name(&step.to_string())))
    }

    /// Looks a record up, and whether its outputs are there.
    ///
    /// # Errors
    /// If the record is there but cannot be read or understood.
    pub fn record(&self, key: &NodeKey) -> Result<Option<RecordState>, StoreError> {
        let Some(record) = read_json::<Record>(&self.record_path(key))? else { return Ok(None) };
        let damaged = record.outputs.iter().find(|(_, output)| !self.has_blob(output)).map(|(name, _)| name.clone());
        Ok(Some(match damaged {
            Some(output) => RecordState::Damaged { output },
            None => RecordState::Whole(Box::new(record)),
        }))
    }

    /// All records, whole or not, in no order.
    ///
    /// # Errors
    /// If one cannot be read or understood.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.record_files()?.into_iter().map(|(_, record)| record).collect()
    }

    /// All records with their files, in the order of their names, those that cannot be read included.
    ///
    /// # Errors
    /// If their folder cannot be listed.
    pub fn record_files(&self) -> Result<Vec<Found<Record>>, StoreError> {
        read_folder(&self.root.join("records"))
    }

    /// What every step of a workflow last used, in no order.
    ///
    /// # Errors
    /// If one cannot be read or understood.
    pub fn references(&self, workflow: &str) -> Result<Vec<Reference>, StoreError> {
        let files = read_folder(&self.root.join("refs").join(file_name(workflow)))?;
        files.into_iter().map(|(_, reference)| reference).collect()
    }

    /// The references of all workflows with their files, in the order of their names, those that cannot be read included.
    ///
    /// # Errors
    /// If their folders cannot be listed.
    pub fn reference_files(&self) -> Result<Vec<Found<Reference>>, StoreError> {
        let folders = list(&self.root.join("refs"))?;
        let files = folders.iter().filter(|folder| folder.is_dir()).map(|folder| read_folder(folder));
        Ok(files.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Writes a record and returns the one that stands: the first writer wins, unless its outputs are
    /// damaged, or it lacks rows that could not be embedded.
    ///
    /// # Errors
    /// [`StoreError::Write`], and reading errors of a record that stands already.
    pub fn write_record(&self, record: Record) -> Result<Record, StoreError> {
        let record = Record { version: VERSION, ..record };
        let path = self.record_path(&record.key);
        let bytes = PRETTY.add(pretty_json(&record));
        let created = durable::create(&path, &self.temporary(), &bytes);
        if created.map_err(|error| StoreError::write(&path, error))? {
            return Ok(record);
        }
        if let Ok(Some(RecordState::Whole(standing))) = self.record(&record.key)
            && !standing.lacks_rows()
        {
            return Ok(*standing);
        }
        durable::write(&path, &self.temporary(), &bytes).map_err(|error| StoreError::write(&path, error))?;
        Ok(record)
    }

    /// Looks up what a step of a workflow last used.
    ///
    /// # Errors
    /// If the ref is there but cannot be read or understood.
    pub fn reference(&self, workflow: &str, step: &StepId) -> Result<Option<Reference>, StoreError> {
        read_json(&self.reference_path(workflow, step))
    }

    /// Points a workflow's step at a record.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn write_reference(&self, workflow: &str, reference: &Reference) -> Result<(), StoreError> {
        let path = self.reference_path(workflow, &reference.step);
        let folder = path.parent().expect("a ref stands in its workflow's folder");
        let bytes = PRETTY.add(pretty_json(&Reference { version: VERSION, ..reference.clone() }));
        fs::create_dir_all(folder)
            .and_then(|()| durable::write(&path, &self.temporary(), &bytes))
            .map_err(|error| StoreError::write(&path, error))
    }
}

/// What is wrong where a directory stands in the place of a file.
pub const IS_A_DIRECTORY: &str = "it is a directory, and should be a file";

/// A value as JSON that people read too: indented, with a newline at the end. Keys stand in the order of their type.
pub fn pretty_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("store types are plain data with string keys");
    bytes.push(b'\n');
    bytes
}

/// Reads every JSON file of a folder, in the order of their names; one that went away meanwhile, or a folder that is not
/// there, holds nothing.
fn read_folder<T: DeserializeOwned>(folder: &Path) -> Result<Vec<Found<T>>, StoreError> {
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let files = list(folder)?.into_iter().filter(is_json);
    let read = files.filter_map(|path| read_json(&path).transpose().map(|read| (path, read)));
    Ok(read.collect())
}

/// What a folder holds, sorted; nothing if it is not there.
///
/// # Errors
/// [`StoreError::Read`].
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::read(folder, error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(|error| StoreError::read(folder, error))?;
    paths.sort();
    Ok(paths)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => checked(path, &bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(StoreError::damaged(path, IS_A_DIRECTORY)),
        Err(error) => Err(StoreError::read(path, error)),
    }
}

fn checked<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |error| StoreError::damaged(path, error);
    let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    match version {
        UNCHECKED => {}
        // A newer program's files are closed in the same way, so that they are not taken for damage.
        _ if !PRETTY.holds(bytes) => {
            return Err(StoreError::damaged(path, "its bytes are not those that its last field is the digest of"));
        }
        VERSION => {}
        _ => return Err(StoreError::Format { path: path.to_owned(), version }),
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::digest::Digest;
    use crate::record::Provenance;

    fn record(store: &Store, bytes: &[u8]) -> Record {
        let output = store.put_blob(bytes, 1).unwrap();
        Record {
            version: 1,
            key: NodeKey::from_bytes([3; 32]),
            outputs: BTreeMap::from([("texts".to_owned(), output)]),
            counts: BTreeMap::new(),
            sources: Vec::new(),
            facts: BTreeMap::new(),
            bit_stable: true,
            provenance: Provenance::default(),
        }
    }

    /// A GPU gives other bits each time: the record that others may already have built on must stand.
    #[test]
    fn the_first_record_wins_while_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let first = store.write_record(record(&store, b"a")).unwrap();
        let second = store.write_record(record(&store, b"b")).unwrap();
        assert_eq!(first, second);
        fs::remove_file(store.blob_path(&first.outputs["texts"].digest)).unwrap();
        assert!(matches!(store.record(&first.key).unwrap(), Some(RecordState::Damaged { .. })));
        let third = store.write_record(record(&store, b"b")).unwrap();
        assert_eq!(third.outputs["texts"].digest, Digest::of(b"b"));
    }

    /// Each bit of a record, one after the other.
    #[test]
    fn each_flipped_bit_of_a_record_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let written = store.write_record(record(&store, b"a")).unwrap();
        let path = store.record_path(&written.key);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = checked::<Record>(&path, &flipped);
            assert!(read.is_err_and(|error| error.is_damage()), "bit {bit} of {}", String::from_utf8_lossy(&whole));
        }
    }

    /// What the last version wrote is read as it was; what a newer one writes is not called damaged.
    #[test]
    fn older_records_are_read_and_newer_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let old = record(&store, b"a");
        let path = store.record_path(&old.key);
        fs::write(&path, pretty_json(&old)).unwrap();
        assert_eq!(store.record(&old.key).unwrap(), Some(RecordState::Whole(Box::new(old.clone()))));
        fs::write(&path, PRETTY.add(pretty_json(&Record { version: 3, ..old.clone() }))).unwrap();
        let error = store.record(&old.key).unwrap_err();
        assert!(matches!(error, StoreError::Format { version: 3, .. }) && !error.is_damage(), "{error}");
    }
}

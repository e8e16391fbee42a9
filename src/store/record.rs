//! Records and refs on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError, durable, file_name};
use crate::digest::NodeKey;
use crate::graph::StepId;
use crate::record::{Record, RecordState, Reference};

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
        read_folder(&self.root.join("records"))
    }

    /// What every step of a workflow last used, in no order.
    ///
    /// # Errors
    /// If one cannot be read or understood.
    pub fn references(&self, workflow: &str) -> Result<Vec<Reference>, StoreError> {
        read_folder(&self.root.join("refs").join(file_name(workflow)))
    }

    /// Writes a record and returns the one that stands: the first writer wins, unless its outputs are
    /// damaged, or it lacks rows that could not be embedded.
    ///
    /// # Errors
    /// [`StoreError::Write`], and reading errors of a record that stands already.
    pub fn write_record(&self, record: Record) -> Result<Record, StoreError> {
        let path = self.record_path(&record.key);
        let bytes = pretty_json(&record);
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
        fs::create_dir_all(folder)
            .and_then(|()| durable::write(&path, &self.temporary(), &pretty_json(reference)))
            .map_err(|error| StoreError::write(&path, error))
    }
}

/// A value as JSON that people read too: indented, with a newline at the end. Keys stand in the order of their type.
pub fn pretty_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("store types are plain data with string keys");
    bytes.push(b'\n');
    bytes
}

/// Reads every JSON file of a folder; one that went away meanwhile, or a folder that is not there, holds nothing.
fn read_folder<T: DeserializeOwned>(folder: &Path) -> Result<Vec<T>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::read(folder, error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<io::Result<Vec<_>>>().map_err(|error| StoreError::read(folder, error))?;
    let is_json = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "json");
    paths.iter().filter(is_json).filter_map(|path| read_json(path).transpose()).collect()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| StoreError::damaged(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::read(path, error)),
    }
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
}

//! Putting what is damaged out of use, and nothing else: whatever depends on it is then made again by an apply.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Finding, Mend, Report};
use crate::graph::Graph;
use crate::store::{STORE_VERSION, Store, StoreError, durable, journal};

/// Removes what was found damaged: records first, so that none is ever ahead of its outputs; of a journal the lines that
/// cannot be trusted. Says what was removed or written again. Whoever calls this holds gc's lock.
///
/// # Errors
/// [`StoreError::Write`] at the first that cannot be removed.
pub fn put_out_of_use(store: &Store, report: &Report) -> Result<Vec<PathBuf>, StoreError> {
    let (mut records, mut others) = (BTreeSet::new(), BTreeSet::new());
    let mut mended = Vec::new();
    for Finding { path, mend, .. } in &report.findings {
        match mend {
            Mend::Remove(paths) => {
                for path in paths {
                    let is_record = path.parent() == Some(&store.root().join("records"));
                    if is_record { &mut records } else { &mut others }.insert(path.clone());
                }
            }
            Mend::Lines => {
                keep_sound_lines(store, path)?;
                mended.push(path.clone());
            }
            Mend::Version | Mend::Apply | Mend::Nothing => {}
        }
    }
    for path in records.into_iter().chain(others) {
        if remove(&path)? {
            mended.push(path);
        }
    }
    Ok(mended)
}

/// Writes the version file again, if a store's is damaged for certain.
///
/// # Errors
/// [`StoreError::Write`].
pub fn write_version(root: &Path, finding: &Finding) -> Result<bool, StoreError> {
    if finding.mend != Mend::Version {
        return Ok(false);
    }
    let temporary = root.join("tmp").join(durable::unique_name());
    durable::write(&finding.path, &temporary, format!("{STORE_VERSION}\n").as_bytes())
        .map_err(|error| StoreError::write(&finding.path, error))?;
    Ok(true)
}

/// Removes the references of a workflow's former steps whose records are gone: no apply makes those again.
///
/// # Errors
/// [`StoreError`] if a reference cannot be read or removed.
pub fn forget_former_steps(store: &Store, graph: &Graph) -> Result<(), StoreError> {
    let of_graph: BTreeSet<_> = graph.steps.iter().map(|step| &step.id).collect();
    for (path, reference) in store.reference_files()? {
        let reference = reference?;
        let former = store.reference(&graph.name, &reference.step)?.is_some_and(|own| own == reference)
            && !of_graph.contains(&reference.step);
        if former && store.record(&reference.key)?.is_none() {
            remove(&path)?;
        }
    }
    Ok(())
}

fn keep_sound_lines(store: &Store, path: &Path) -> Result<(), StoreError> {
    let bytes = fs::read(path).map_err(|error| StoreError::read(path, error))?;
    let sound = journal::check(&bytes).sound;
    durable::write(path, &store.temporary(), &sound).map_err(|error| StoreError::write(path, error))
}

/// Says whether there was something to remove.
fn remove(path: &Path) -> Result<bool, StoreError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed.and_then(|()| durable::sync_parent(path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::write(path, error)),
    }
}

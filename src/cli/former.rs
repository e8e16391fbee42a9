//! Datasets that a workflow published and has no longer, such as a year that left the matrix: they are told, and removed where
//! that is asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::print::{remark, show};
use super::{DoorError, Failure};
use crate::graph::Graph;
use crate::{ann, dataset, published, words};

/// Datasets in these directories that steps of this workflow published which it has no longer, such as a year that left the
/// matrix.
pub fn former(graph: &Graph, dirs: &BTreeSet<PathBuf>) -> Vec<(PathBuf, String)> {
    let is_former = |dir: &Path, name: &str| {
        let owner = published::provenance(dir, name).map(|by| by.owner).filter(|owner| owner.workflow == graph.name);
        owner.is_some_and(|owner| graph.steps.iter().all(|step| step.id.to_string() != owner.step))
    };
    let of_dir = |dir: &PathBuf| {
        let names = dataset::names(dir).unwrap_or_default();
        let former = names.into_iter().filter(|name| is_former(dir, name));
        former.map(|name| (dir.clone(), name)).collect::<Vec<_>>()
    };
    dirs.iter().flat_map(of_dir).collect()
}

/// Says that these are published still: a search of their directory finds them.
///
/// # Errors
/// [`DoorError::Output`].
pub fn tell(former: &[(PathBuf, String)]) -> Result<(), DoorError> {
    let (are, them) = match former.len() {
        0 => return Ok(()),
        1 => ("1 dataset is".to_owned(), "it"),
        count => (format!("{count} datasets are"), "them"),
    };
    let names: Vec<&str> = former.iter().map(|(_, name)| name.as_str()).collect();
    show(format!(
        "{are} published that no step of this workflow publishes any more: {}; `apply --prune` removes {them}",
        names.join(", ")
    ))
}

/// Removes them with what was derived of them, and says whether all could be.
pub fn prune(former: &[(PathBuf, String)]) -> bool {
    let mut all = true;
    for (dir, name) in former {
        match remove(dir, name) {
            // If nobody reads it, the work is done all the same.
            Ok(()) => drop(show(format!("  removed    {name}: no step of this workflow publishes it any more"))),
            Err(error) => {
                remark(format!("{name} was not removed:"));
                // It was told in full, and what it means to the exit is said by the caller.
                let _ = error.tell();
                all = false;
            }
        }
    }
    all
}

/// The dataset goes last: while it is shown, what was derived of it is found again.
fn remove(dir: &Path, name: &str) -> Result<(), Failure> {
    ann::remove(dir, name)?;
    words::remove(dir, name)?;
    Ok(published::withdraw(dir, name)?)
}

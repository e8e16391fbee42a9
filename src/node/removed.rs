//! Which papers a dataset showed when it was last built and shows no longer: they are told, so that none goes unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};

use super::set::SetFiles;
use super::{Context, Made, NodeError};
use crate::event::{Detail, LISTED_ROWS, RemovedRow};
use crate::index::keys::KeyIndex;
use crate::record::Output;
use crate::store::StoreError;

/// The set that another one follows, as far as it tells which papers it showed.
#[derive(Clone, Copy, Debug)]
pub struct Previous {
    /// Its list of bibcodes.
    pub bibcodes: Output,
    /// Its key index.
    pub keys: Output,
}

/// Lists the papers that `previous` showed and the new set does not hold, and counts them. Where a file of the set before is
/// gone, nothing can be said. The list of a view holds every row of its parts: only those that its index leads to were shown.
///
/// # Errors
/// Whatever the store gives.
pub fn tell(
    context: &Context,
    previous: Option<&Previous>,
    files: &SetFiles,
    made: &mut Made,
) -> Result<(), NodeError> {
    let is_whole = |set: &&Previous| [set.bibcodes, set.keys].iter().all(|output| context.store.has_blob(output));
    let Some(previous) = previous.filter(is_whole) else { return Ok(()) };
    let before = KeyIndex::open(&context.store.blob_path(&previous.keys.digest))?;
    let index = KeyIndex::open(&context.store.blob_path(&files.keys.file.digest))?;
    let mut rows = Vec::new();
    each_line(context, &previous.bibcodes, |row, bibcode| {
        if before.row(&bibcode)? == Some(row) && index.row(&bibcode)?.is_none() {
            rows.push((index.row_of_alias(&bibcode)?, bibcode));
        }
        Ok(())
    })?;
    let names = names(context, &files.bibcodes, rows.iter().filter_map(|(row, _)| *row).collect())?;
    made.run_counts.insert("removed".into(), rows.len() as u64);
    let now = |row: Option<usize>| names.get(&row?).cloned();
    let rows: Vec<RemovedRow> = rows.into_iter().map(|(row, bibcode)| RemovedRow { bibcode, now: now(row) }).collect();
    rows.chunks(LISTED_ROWS).for_each(|rows| (context.detail)(Detail::Removed { rows: rows.to_vec() }));
    Ok(())
}

/// The bibcodes of some rows of a set.
fn names(context: &Context, bibcodes: &Output, rows: BTreeSet<usize>) -> Result<BTreeMap<usize, String>, NodeError> {
    let mut names = BTreeMap::new();
    if !rows.is_empty() {
        each_line(context, bibcodes, |row, bibcode| {
            if rows.contains(&row) {
                names.insert(row, bibcode);
            }
            Ok(())
        })?;
    }
    Ok(names)
}

fn each_line(
    context: &Context,
    list: &Output,
    mut each: impl FnMut(usize, String) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    let path = context.store.blob_path(&list.digest);
    let failed = |error| StoreError::read(&path, error);
    let lines = BufReader::new(File::open(&path).map_err(failed)?).lines();
    for (row, line) in lines.enumerate() {
        each(row, line.map_err(failed)?)?;
    }
    Ok(())
}

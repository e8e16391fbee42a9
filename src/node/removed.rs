//! Which papers a dataset showed when it was last built and shows no longer: they are told, so that none goes unseen.

use std::fs::File;
use std::io::{BufRead, BufReader};

use super::set::SetFiles;
use super::{Context, Made, NodeError};
use crate::event::{Detail, LISTED_ROWS, RemovedRow};
use crate::index::keys::KeyIndex;
use crate::record::Output;
use crate::store::StoreError;

/// Lists the papers of `previous`, a list of bibcodes, that the new set does not hold, and counts them. Where the list of
/// the set before is gone, nothing can be said.
///
/// # Errors
/// Whatever the store gives.
pub fn tell(context: &Context, previous: Option<&Output>, files: &SetFiles, made: &mut Made) -> Result<(), NodeError> {
    let Some(previous) = previous.filter(|previous| context.store.has_blob(previous)) else { return Ok(()) };
    let index = KeyIndex::open(&context.store.blob_path(&files.keys.digest))?;
    let path = context.store.blob_path(&previous.digest);
    let failed = |error| StoreError::read(&path, error);
    let (mut rows, mut removed) = (Vec::new(), 0);
    for line in BufReader::new(File::open(&path).map_err(failed)?).lines() {
        let bibcode = line.map_err(failed)?;
        if index.row(&bibcode).is_none() {
            removed += 1;
            rows.push(RemovedRow { bibcode, now: None });
        }
        if rows.len() == LISTED_ROWS {
            (context.detail)(Detail::Removed { rows: std::mem::take(&mut rows) });
        }
    }
    if !rows.is_empty() {
        (context.detail)(Detail::Removed { rows });
    }
    made.run_counts.insert("removed".into(), removed);
    Ok(())
}

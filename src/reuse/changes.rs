//! How a step's rows differ from what stands already, counted before anything is computed.

use arrow::array::{AsArray, StringArray};

use super::keys::name;
use super::{Going, ReuseError, Shape, Vectors, names, row_keys};
use crate::record::{Output, RowChanges};
use crate::store::{Store, StoreError};
use crate::table;

/// Counts the rows of a texts table against the embedder's vectors, and against the vectors table that it follows.
///
/// # Errors
/// Whatever the store gives.
pub fn changes(
    store: &Store,
    shape: Shape,
    texts: &Output,
    previous: Option<&Output>,
    going: Going,
) -> Result<RowChanges, ReuseError> {
    let keys = row_keys(store, shape.embedder, texts, going)?;
    // Apply passes over damaged vectors with a note; here they are merely not counted.
    let new = Vectors::count(store, shape, &keys, &|_| {})?.missing().count() as u64;
    let removed = previous.map_or(Ok(0), |previous| removed(store, previous, texts))?;
    Ok(RowChanges { new, reused: keys.len() as u64 - new, removed })
}

/// How many papers of a vectors table are in this texts table no longer. None if the vectors table is gone.
///
/// # Errors
/// Whatever the store gives.
pub fn removed(store: &Store, previous: &Output, texts: &Output) -> Result<u64, StoreError> {
    if !store.has_blob(previous) {
        return Ok(0);
    }
    let names = names(store, texts)?;
    let mut removed = 0;
    for batch in store.read_ipc_batches(&previous.digest)? {
        let batch = batch?;
        let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
        removed += bibcodes.iter().flatten().filter(|bibcode| names.binary_search(&name(bibcode)).is_err()).count();
    }
    Ok(removed as u64)
}

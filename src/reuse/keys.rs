//! The keys of a texts table's rows, in order.

use arrow::array::{AsArray, StringArray};
use arrow::error::ArrowError;

use super::{Going, ReuseError};
use crate::digest::{EmbedderKey, RowKey};
use crate::pool::map_ordered;
use crate::record::Output;
use crate::store::{Store, StoreError};
use crate::table;

/// The key of every text under this embedder, in order: 16 bytes a row are held.
///
/// # Errors
/// Whatever the store gives; [`ReuseError::Stopped`].
pub fn row_keys(store: &Store, embedder: EmbedderKey, texts: &Output, going: Going) -> Result<Vec<RowKey>, ReuseError> {
    let mut reader = store.read_parquet_columns(&texts.digest, &["text"])?;
    let path = store.blob_path(&texts.digest);
    let mut keys = Vec::with_capacity(usize::try_from(texts.rows).unwrap_or(0));
    map_ordered(
        || {
            if !going() {
                return Err(ReuseError::Stopped);
            }
            let damaged = |error: ArrowError| StoreError::damaged(&path, error);
            Ok(reader.next().transpose().map_err(damaged)?)
        },
        |batch| {
            let texts: &StringArray = batch["text"].as_string();
            texts.iter().flatten().map(|text| RowKey::of(&embedder, text)).collect::<Vec<_>>()
        },
        |batch_keys| {
            keys.extend(batch_keys);
            Ok::<_, ReuseError>(())
        },
    )?;
    Ok(keys)
}

/// 16 bytes of the digest of every bibcode of a texts table, sorted: who is there, in little memory.
///
/// # Errors
/// Whatever the store gives.
pub fn names(store: &Store, texts: &Output) -> Result<Vec<[u8; 16]>, StoreError> {
    let mut names = Vec::with_capacity(usize::try_from(texts.rows).unwrap_or(0));
    for batch in store.read_parquet_columns(&texts.digest, &[table::BIBCODE])? {
        let batch = batch.map_err(|error| StoreError::damaged(&store.blob_path(&texts.digest), error))?;
        let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
        names.extend(bibcodes.iter().flatten().map(name));
    }
    names.sort_unstable();
    Ok(names)
}

/// 16 bytes of a bibcode's digest: no two of a corpus share them.
pub(super) fn name(bibcode: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name.copy_from_slice(&blake3::hash(bibcode.as_bytes()).as_bytes()[..16]);
    name
}

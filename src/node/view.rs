//! A merge that is a view: the vectors stay where they are, and rows are found across them.
//!
//! Its rows are those of its parts one below the other, superseded ones included: what is held as it is cannot leave a
//! row out. Which files a view has is in `set.rs`; how it comes to hold them is `published/place.rs`'s.

use std::fs::File;
use std::io;

use super::left_out::LeftOut;
use super::merge::{Description, Part, running_sum};
use super::set::{Keys, SetFiles, SetIdentity};
use super::{Context, NodeError};
use crate::graph::part_file;
use crate::record::Output;
use crate::store::StoreError;

/// Where a part's rows are in a view.
pub fn rows(parts: &[LeftOut]) -> impl Fn(usize, usize) -> u64 {
    let before: Vec<usize> = std::iter::once(0).chain(parts.iter().map(LeftOut::rows).scan(0, running_sum)).collect();
    move |part, row| (before[part] + row) as u64
}

/// The files of a view: the parts' vectors under names of its own, all their bibcodes, and this index.
///
/// # Errors
/// Whatever the store gives.
pub fn files(
    context: &Context,
    identity: &SetIdentity,
    sets: &[Description],
    parts: &[Part],
    keys: Keys,
) -> Result<SetFiles, NodeError> {
    let named = |(says, part): (&Description, &Part)| (part_file(&says.dataset, identity.dtype), part.embeddings);
    let vectors = sets.iter().zip(parts).map(named).collect();
    Ok(SetFiles { vectors, rows: keys.file.rows, bibcodes: bibcodes(context, parts)?, keys })
}

/// The lists of the parts one below the other.
fn bibcodes(context: &Context, parts: &[Part]) -> Result<Output, NodeError> {
    let mut all = context.store.new_blob()?;
    for part in parts {
        context.check_cancel()?;
        let path = context.store.blob_path(&part.bibcodes.digest);
        let copied = File::open(&path).and_then(|mut list| io::copy(&mut list, &mut all));
        copied.map_err(|error| StoreError::write(&path, error))?;
    }
    Ok(all.finish(parts.iter().map(|part| part.bibcodes.rows).sum())?)
}

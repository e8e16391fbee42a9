//! The rows of a merge, each against the row of the part that it came from.

use super::Verifier;
use super::cursor::Cursor;
use super::rows::Listed;
use super::sets::{Fault, MergedPart, Set};
use crate::graph::{bibcodes_file, embeddings_file, keys_file, part_file};
use crate::index::keys::KeyIndex;
use crate::record::Output;

/// A part, as the store holds it.
struct Part<'a> {
    says: &'a MergedPart,
    embeddings: Output,
    index: KeyIndex,
}

impl Verifier<'_> {
    /// Checks each row of a merge; says how many rows can be found in it.
    pub(super) fn merged(&self, set: &Set) -> Result<u64, Fault> {
        let Some(parts) = self.parts(set)? else { return Ok(0) };
        let index = KeyIndex::open(&set.folder.join(keys_file(set.name)))?;
        let list = set.folder.join(bibcodes_file(set.name));
        let mut listed = Listed::open(&list)?;
        if set.manifest.view {
            self.view(set, &parts, &index, &mut listed)
        } else {
            self.copy(set, &parts, &index, &mut listed)
        }
    }

    /// The sets that were merged; none if one of them is known to be damaged.
    fn parts<'s>(&self, set: &'s Set) -> Result<Option<Vec<Part<'s>>>, Fault> {
        let mut parts = Vec::new();
        for says in &set.manifest.parts {
            let record = self.records.get(&says.set);
            let embeddings = embeddings_file(&says.dataset, set.manifest.dtype);
            let outputs = record.and_then(|record| {
                Some((*record.outputs.get(&embeddings)?, *record.outputs.get(&keys_file(&says.dataset))?))
            });
            let Some((embeddings, keys)) = outputs else {
                let wrong = format!("the store has no record of set {}, which it was merged from", says.set.short());
                return Err(Fault::Row { wrong, by: Vec::new() });
            };
            if !self.sound(&[embeddings.digest, keys.digest]) {
                return Ok(None);
            }
            let index = KeyIndex::open(&self.store.blob_path(&keys.digest))?;
            parts.push(Part { says, embeddings, index });
        }
        Ok(Some(parts))
    }

    /// A copy holds the rows of its parts one below the other, less those that a later part holds too.
    fn copy(&self, set: &Set, parts: &[Part], index: &KeyIndex, listed: &mut Listed) -> Result<u64, Fault> {
        let dtype = set.manifest.dtype;
        let mut published = Cursor::of_file(&set.folder.join(embeddings_file(set.name, dtype)))?;
        let (mut row, mut open) = (0, published.advance()?);
        for (at, part) in parts.iter().enumerate() {
            let mut came_from = Cursor::of_blob(self.store, &part.embeddings.digest)?;
            while came_from.advance()? {
                let bibcode = came_from.bibcode().unwrap_or_default();
                let wrong = |what: &str| {
                    let wrong = format!("row {row} ({bibcode} of {}): {what}", part.says.dataset);
                    Err(Fault::Row { wrong, by: Vec::new() })
                };
                if index.row(bibcode) != Some(row) {
                    // Left out, which only a later part may cause.
                    if is_superseded(&parts[at + 1..], bibcode) {
                        continue;
                    }
                    return wrong("the key index does not lead there");
                }
                if !open || published.bibcode() != Some(bibcode) {
                    return wrong("another paper is there");
                }
                let same =
                    ["metadata_digest", "row_key"].iter().all(|name| published.bytes(name) == came_from.bytes(name));
                if !same || published.vector(dtype) != came_from.vector(dtype) {
                    return wrong("it is not the row that it came from");
                }
                if listed.advance()?.as_deref() != Some(bibcode) {
                    return wrong("the list of bibcodes has another paper there");
                }
                (row, open) = (row + 1, published.advance()?);
            }
        }
        if open || listed.advance()?.is_some() {
            let wrong = format!("it goes on after {row} rows, and what it came from does not");
            return Err(Fault::Row { wrong, by: Vec::new() });
        }
        Ok(row as u64)
    }

    /// A view holds the files of its parts, whose bytes are those of the parts: its rows are theirs, one below the other.
    fn view(&self, set: &Set, parts: &[Part], index: &KeyIndex, listed: &mut Listed) -> Result<u64, Fault> {
        let (mut row, mut found) = (0, 0);
        for (at, part) in parts.iter().enumerate() {
            let mut held = Cursor::of_file(&set.folder.join(part_file(&part.says.dataset, set.manifest.dtype)))?;
            while held.advance()? {
                let bibcode = held.bibcode().unwrap_or_default();
                let wrong = |what: &str| {
                    let wrong = format!("row {row} ({bibcode} of {}): {what}", part.says.dataset);
                    Err(Fault::Row { wrong, by: Vec::new() })
                };
                if index.row(bibcode) == Some(row) {
                    found += 1;
                } else if !is_superseded(&parts[at + 1..], bibcode) {
                    return wrong("the key index does not lead there");
                }
                if listed.advance()?.as_deref() != Some(bibcode) {
                    return wrong("the list of bibcodes has another paper there");
                }
                row += 1;
            }
        }
        if listed.advance()?.is_some() {
            let wrong = format!("its list goes on after {row} rows");
            return Err(Fault::Row { wrong, by: Vec::new() });
        }
        Ok(found)
    }
}

fn is_superseded(later: &[Part], bibcode: &str) -> bool {
    later.iter().any(|part| part.index.row(bibcode).is_some())
}

//! The key index: a finite state transducer from bibcode to row, memory-mapped.
//!
//! About 13 bytes a bibcode and a few microseconds a lookup at any size. The file is the transducer as the `fst` crate
//! writes it, then the set's digest (32 bytes) and `SCIEKEYS`, so that an index is never paired with another set.

use std::io::{self, Write};
use std::path::Path;

use fst::automaton::Levenshtein;
use fst::map::OpBuilder;
use fst::{IntoStreamer, Map, MapBuilder, Streamer};
use memmap2::Mmap;

use crate::digest::NodeKey;
use crate::store::{StoreError, map_file};

const MAGIC: &[u8; 8] = b"SCIEKEYS";
const TRAILER_BYTES: usize = NodeKey::LEN + MAGIC.len();
/// Largest index whose checksum is verified at every opening: some 10 ms, a million bibcodes. A damaged larger one may
/// panic in a lookup.
const VERIFIED_BYTES: usize = 1 << 24;
/// Edits within which an unknown bibcode is thought to be a slip.
const NEAR_EDITS: u32 = 2;

/// Writes the index of `names` (bibcode, row), which are sorted on the way, and hands the sink back.
///
/// # Errors
/// Whatever writing gives; two equal bibcodes, which a vectors table never has.
pub fn write<W: Write>(sink: W, names: &mut [(&str, u32)], set: &NodeKey) -> io::Result<W> {
    names.sort_unstable();
    let mut writer = KeyWriter::new(sink)?;
    for (name, row) in names.iter() {
        writer.insert(name.as_bytes(), u64::from(*row))?;
    }
    writer.finish(set)
}

/// Writes an index whose bibcodes come in their own order, in constant memory.
pub struct KeyWriter<W: Write>(MapBuilder<W>);

impl<W: Write> KeyWriter<W> {
    /// Starts an index.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn new(sink: W) -> io::Result<Self> {
        MapBuilder::new(sink).map(Self).map_err(unwrapped)
    }

    /// Adds a bibcode, greater than all before it.
    ///
    /// # Errors
    /// Whatever writing gives; a bibcode that is not greater.
    pub fn insert(&mut self, bibcode: &[u8], row: u64) -> io::Result<()> {
        self.0.insert(bibcode, row).map_err(unwrapped)
    }

    /// Ends the index of this set, and hands the sink back.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn finish(self, set: &NodeKey) -> io::Result<W> {
        let mut sink = self.0.into_inner().map_err(unwrapped)?;
        sink.write_all(set.as_bytes())?;
        sink.write_all(MAGIC)?;
        Ok(sink)
    }
}

/// Keeps an I/O error what it is: a full disk has a kind of its own.
fn unwrapped(error: fst::Error) -> io::Error {
    match error {
        fst::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Where a bibcode is: which of several indexes, and the row there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The index's place in the list.
    pub index: usize,
    /// The row.
    pub row: u64,
}

/// Walks several indexes at once: every bibcode in its own order, with those that hold it in the order of the list. Holds
/// one bibcode of each index at a time.
///
/// # Errors
/// The first that `each` gives.
pub fn walk<E>(indexes: &[KeyIndex], mut each: impl FnMut(&[u8], &[Holder]) -> Result<(), E>) -> Result<(), E> {
    let union: OpBuilder = indexes.iter().map(|index| index.map.stream()).collect();
    let mut union = union.union();
    let mut holders = Vec::with_capacity(indexes.len());
    while let Some((bibcode, held)) = union.next() {
        holders.clear();
        holders.extend(held.iter().map(|held| Holder { index: held.index, row: held.value }));
        holders.sort_unstable();
        each(bibcode, &holders)?;
    }
    Ok(())
}

/// A key index, memory-mapped.
pub struct KeyIndex {
    map: Map<Transducer>,
    set: NodeKey,
}

/// The mapped file without its trailer.
struct Transducer(Mmap);

impl AsRef<[u8]> for Transducer {
    fn as_ref(&self) -> &[u8] {
        &self.0[..self.0.len() - TRAILER_BYTES]
    }
}

impl KeyIndex {
    /// Opens the index at `path`.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or is no key index.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let map = map_file(path)?;
        if map.len() < TRAILER_BYTES || !map.ends_with(MAGIC) {
            return Err(StoreError::damaged(path, "it is no key index"));
        }
        let mut set = [0; NodeKey::LEN];
        set.copy_from_slice(&map[map.len() - TRAILER_BYTES..][..NodeKey::LEN]);
        let small = map.len() <= VERIFIED_BYTES;
        let map = Map::new(Transducer(map)).map_err(|error| StoreError::damaged(path, error))?;
        if small {
            map.as_fst().verify().map_err(|error| StoreError::damaged(path, error))?;
        }
        Ok(Self { map, set: NodeKey::from_bytes(set) })
    }

    /// How many bibcodes it holds.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The set that this index belongs to.
    pub fn set(&self) -> NodeKey {
        self.set
    }

    /// The row of a bibcode.
    pub fn row(&self, bibcode: &str) -> Option<usize> {
        self.map.get(bibcode).and_then(|row| usize::try_from(row).ok())
    }

    /// Up to `limit` bibcodes within two edits of this one, in their own order.
    pub fn near(&self, bibcode: &str, limit: usize) -> Vec<String> {
        // A long query would need a huge automaton: it is no bibcode, and nothing is near it.
        let Ok(automaton) = Levenshtein::new(bibcode, NEAR_EDITS) else { return Vec::new() };
        let mut stream = self.map.search(automaton).into_stream();
        let mut near = Vec::new();
        while let Some((name, _)) = stream.next() {
            near.push(String::from_utf8_lossy(name).into_owned());
            if near.len() == limit {
                break;
            }
        }
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_and_slips_are_near() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let set = NodeKey::from_bytes([4; 32]);
        let mut names = [("2012arXiv1201.1234S", 0), ("1998A&A...330..453B", 1), ("2012arXiv1201.1235S", 2)];
        write(std::fs::File::create(&path).unwrap(), &mut names, &set).unwrap();
        let index = KeyIndex::open(&path).unwrap();
        assert_eq!((index.set(), index.row("1998A&A...330..453B"), index.row("1998")), (set, Some(1), None));
        assert_eq!(index.near("2012arXiv1201.1244S", 5), ["2012arXiv1201.1234S", "2012arXiv1201.1235S"]);
        std::fs::write(&path, b"short").unwrap();
        assert!(KeyIndex::open(&path).is_err());
    }
}

//! Finding the vectors of many row keys.
//!
//! Segments are looked through first, in the order of their digests, then tables: only keys that are still missing are
//! looked for in the next one. Where a source holds much more than is missing each key is searched in it, where it holds
//! much less each of its keys is searched among those missing, and otherwise the two are walked side by side.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{ReuseError, Source};
use crate::digest::{EmbedderKey, RowKey};
use crate::encoding::Dtype;
use crate::store::sealed::SealedFile;
use crate::store::{Store, StoreError};

/// How many times longer a list must be than another to be searched instead of walked: searching costs some 20 steps.
const MUCH_LONGER: usize = 16;

/// Which vectors are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Whose.
    pub embedder: EmbedderKey,
    /// Components per vector.
    pub dim: usize,
    /// Element type; wider ones serve.
    pub dtype: Dtype,
}

/// Where a vector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    source: u32,
    nth: u32,
}

/// The keys that are needed, and where the vectors of some of them are.
pub struct Vectors<'a> {
    store: &'a Store,
    shape: Shape,
    /// Whether what is found must be sound, since it will be taken.
    checked: bool,
    note: &'a dyn Fn(String),
    needed: Vec<RowKey>,
    located: Vec<Option<Located>>,
    /// Places among the needed keys that are not located, ascending.
    open: Vec<usize>,
    sources: Vec<Source>,
    /// Files that were looked in. By their paths: what is computed again in the stead of a damaged segment has its digest.
    known: BTreeSet<PathBuf>,
}

impl<'a> Vectors<'a> {
    /// Looks for vectors that are to be taken, of these keys, in whatever order. Sources that are damaged are passed over
    /// and told to `note`.
    ///
    /// # Errors
    /// Whatever listing the embedder's folder gives.
    pub fn find(store: &'a Store, shape: Shape, keys: &[RowKey], note: &'a dyn Fn(String)) -> Result<Self, ReuseError> {
        let mut vectors = Self::none(store, shape, keys, note);
        vectors.look()?;
        Ok(vectors)
    }

    /// The same to count alone: what is found is not read, so damage in it is not noticed.
    ///
    /// # Errors
    /// As [`Vectors::find`].
    pub fn count(
        store: &'a Store,
        shape: Shape,
        keys: &[RowKey],
        note: &'a dyn Fn(String),
    ) -> Result<Self, ReuseError> {
        let mut vectors = Self { checked: false, ..Self::none(store, shape, keys, note) };
        vectors.look()?;
        Ok(vectors)
    }

    /// Whether all keys of a file have vectors elsewhere too.
    ///
    /// # Errors
    /// As [`Vectors::find`].
    pub fn cover(store: &Store, shape: Shape, file: &SealedFile) -> Result<bool, ReuseError> {
        let keys: Vec<RowKey> = (0..file.rows()).map(|row| file.key(row)).collect();
        let mut vectors = Vectors { checked: false, ..Vectors::none(store, shape, &keys, &|_| {}) };
        vectors.known.insert(file.path().to_owned());
        vectors.look()?;
        Ok(vectors.open.is_empty())
    }

    fn none(store: &'a Store, shape: Shape, keys: &[RowKey], note: &'a dyn Fn(String)) -> Self {
        let mut needed = keys.to_vec();
        needed.sort_unstable();
        needed.dedup();
        Self {
            store,
            shape,
            checked: true,
            note,
            located: vec![None; needed.len()],
            open: (0..needed.len()).collect(),
            needed,
            sources: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    /// Looks once more, through what came meanwhile, for what is still missing.
    ///
    /// # Errors
    /// As [`Vectors::find`].
    pub fn look(&mut self) -> Result<(), ReuseError> {
        let Shape { embedder, dim, dtype } = self.shape;
        let (segments, damaged) = self.store.segments(&embedder, dim, dtype)?;
        damaged.iter().for_each(|error| self.pass_over(error));
        segments.into_iter().for_each(|segment| self.look_in(Source::Segment(segment)));
        if !self.open.is_empty() {
            let (tables, damaged) = self.store.table_rows(&embedder, dim, dtype)?;
            damaged.iter().for_each(|error| self.pass_over(error));
            tables.into_iter().for_each(|rows| self.look_in(Source::Table(rows, None)));
        }
        Ok(())
    }

    fn pass_over(&self, error: &StoreError) {
        (self.note)(format!("passed over vectors: {error}"));
    }

    fn look_in(&mut self, mut source: Source) {
        if self.open.is_empty() || !self.known.insert(source.file().path().to_owned()) {
            return;
        }
        let hits = hits(&self.needed, &self.open, source.file());
        if hits.is_empty() {
            return;
        }
        if self.checked
            && let Err(error) = source.check(self.store)
        {
            return self.pass_over(&error);
        }
        let index = u32::try_from(self.sources.len()).expect("an embedder has fewer than 2^32 files");
        for (at, nth) in hits {
            let nth = u32::try_from(nth).expect("a file of vectors has fewer than 2^32 rows");
            self.located[at] = Some(Located { source: index, nth });
        }
        self.open.retain(|&at| self.located[at].is_none());
        self.sources.push(source);
    }

    /// The distinct keys, ascending.
    pub fn needed(&self) -> &[RowKey] {
        &self.needed
    }

    /// The keys that no vector was found for, ascending.
    pub fn missing(&self) -> impl Iterator<Item = &RowKey> {
        self.open.iter().map(|&at| &self.needed[at])
    }

    /// Where the vector of a key is: the source, and the place in it.
    pub fn locate(&self, key: &RowKey) -> Option<(&Source, usize)> {
        let Located { source, nth } = self.located[self.needed.binary_search(key).ok()?]?;
        Some((&self.sources[source as usize], nth as usize))
    }

    /// The sources that something was found in.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

/// The open keys that a file holds: the place among the needed ones, and the row of the file.
fn hits(needed: &[RowKey], open: &[usize], file: &SealedFile) -> Vec<(usize, usize)> {
    if file.rows() / MUCH_LONGER > open.len() {
        return open.iter().filter_map(|&at| Some((at, file.find(&needed[at])?))).collect();
    }
    if open.len() / MUCH_LONGER > file.rows() {
        let find = |row| Some((open[open.binary_search_by_key(&file.key(row), |&at| needed[at]).ok()?], row));
        return (0..file.rows()).filter_map(find).collect();
    }
    let (mut hits, mut row) = (Vec::new(), 0);
    for &at in open {
        while row < file.rows() && file.key(row) < needed[at] {
            row += 1;
        }
        if row < file.rows() && file.key(row) == needed[at] {
            hits.push((at, row));
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::segment::{SegmentHeader, SegmentRow};

    fn key(n: u16) -> RowKey {
        let mut bytes = [0; RowKey::LEN];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        RowKey::from_bytes(bytes)
    }

    fn seal(store: &Store, rows: impl Iterator<Item = u16>) {
        let embedder = EmbedderKey::from_bytes([1; 32]);
        let (runtime, cpu) = ("test".into(), "test".into());
        let header = SegmentHeader { embedder, dim: 1, dtype: Dtype::F32, rows: 0, runtime, cpu };
        let mut writer = store.segment_writer(header).unwrap();
        let row = |n| SegmentRow { key: key(n), vector: vec![f32::from(n)], tokens: 1, tokens_dropped: 0 };
        rows.for_each(|n| writer.push(row(n)).unwrap());
        writer.seal().unwrap();
    }

    /// Few wanted of many, many of few, and alike: each way of looking finds exactly what is there.
    #[test]
    fn every_way_of_looking_finds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        seal(&store, (0u16..2_000).filter(|n| n.is_multiple_of(2)));
        seal(&store, 1..20);
        let shape = Shape { embedder: EmbedderKey::from_bytes([1; 32]), dim: 1, dtype: Dtype::F16 };
        let is_there = |n: &u16| (*n < 2_000 && n.is_multiple_of(2)) || *n < 20;
        for wanted in [vec![4, 5, 19, 1_999], (0..3_000).collect(), (0..60_000).collect(), vec![]] {
            let keys: Vec<RowKey> = wanted.iter().rev().map(|&n| key(n)).collect();
            let vectors = Vectors::find(&store, shape, &keys, &|note| panic!("{note}")).unwrap();
            let missing: Vec<RowKey> = wanted.iter().filter(|n| !is_there(n)).map(|&n| key(n)).collect();
            assert!(vectors.missing().eq(&missing));
            for n in wanted.iter().filter(|n| is_there(n)) {
                let (source, at) = vectors.locate(&key(*n)).unwrap();
                assert_eq!(source.file().key(at), key(*n));
            }
        }
    }
}

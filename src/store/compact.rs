//! Merging small segments, so that a year of nightly appends is looked up in a few files and not in hundreds.
//!
//! Segments fall into classes by their rows, each four times as large as the one before. Where a class has [`FAN`] of them
//! they become one of a larger class, so that of n rows there are at most some log n segments, each row is rewritten log n
//! times at most, and a segment of [`FULL_ROWS`] never again. The new segment is whole before the old ones go; who
//! is reading these keeps them, and who finds one gone lists again.

use std::fs;
use std::path::PathBuf;

use super::segment::{self, RowsToSeal, Segment, SegmentHeader};
use super::{LockOutcome, Store, StoreError, durable};
use crate::digest::{Digest, EmbedderKey, KeyHasher, NodeKey, RowKey};
use crate::encoding::Dtype;

/// Segments of a class that are merged: fewer would rewrite rows more often, more would have to be looked through.
const FAN: usize = 8;
/// How much larger the segments of the next class are.
const GROWTH: usize = 4;
/// Rows of a segment that is large enough: some 50 MB of 384 half floats. It is read whole to be trusted, so it should
/// not hold much more than one step wants of it.
const FULL_ROWS: usize = 65_536;

/// What merging did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that went.
    pub merged: usize,
    /// Segments that came.
    pub into: usize,
}

impl Store {
    /// Merges small segments of an embedder where there are many. If somebody else is at it, there is nothing to do.
    ///
    /// # Errors
    /// [`StoreError`]; then some are merged and the others as they were, and nothing is lost.
    pub fn compact(&self, embedder: &EmbedderKey, run: &str) -> Result<Compacted, StoreError> {
        let mut compacted = Compacted::default();
        if groups(&self.opened(embedder)?).is_empty() {
            return Ok(compacted);
        }
        let LockOutcome::Held(_lock) = self.lock(&lock_key(embedder), run)? else { return Ok(compacted) };
        loop {
            let segments = self.opened(embedder)?;
            let groups = groups(&segments);
            if groups.is_empty() {
                return Ok(compacted);
            }
            for group in groups {
                let group: Vec<&Segment> = group.into_iter().map(|at| &segments[at]).collect();
                // A flipped bit must not be sealed in anew.
                if let Some(damaged) = group.iter().find_map(|segment| segment.verify().err()) {
                    return Err(damaged);
                }
                self.merge(&group)?;
                compacted.merged += group.len();
                compacted.into += 1;
            }
        }
    }

    /// All sound-looking segments of an embedder, of whatever shape.
    fn opened(&self, embedder: &EmbedderKey) -> Result<Vec<Segment>, StoreError> {
        let (mut segments, _) = segment::open_all(&self.segment_folder(embedder), segment::EXTENSION, Segment::open)?;
        segments.retain(|segment| segment.header().embedder == *embedder);
        segments.sort_by_key(Segment::digest);
        Ok(segments)
    }

    fn merge(&self, group: &[&Segment]) -> Result<(), StoreError> {
        let merged = Merged::of(group);
        let header = SegmentHeader { rows: merged.rows.len(), ..group[0].header().clone() };
        let name = format!("{}.{}", durable::unique_name(), segment::EXTENSION);
        segment::write(&self.segment_folder(&header.embedder).join(name), &self.temporary(), &header, &merged)?;
        let gone = |path: &PathBuf| fs::remove_file(path).map_err(|error| StoreError::write(path, error));
        group.iter().map(|segment| segment.file().path().to_owned()).try_for_each(|path| gone(&path))
    }
}

/// Which segments become one: those of one origin and class, if there are enough of them.
fn groups(segments: &[Segment]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(SegmentHeader, u32, Vec<usize>)> = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let Some(class) = class(segment.header().rows) else { continue };
        let origin = SegmentHeader { rows: 0, ..segment.header().clone() };
        match groups.iter_mut().find(|(known, of, _)| *known == origin && *of == class) {
            Some((.., members)) => members.push(at),
            None => groups.push((origin, class, vec![at])),
        }
    }
    groups.into_iter().map(|(.., members)| members).filter(|members| members.len() >= FAN).collect()
}

/// The class of a segment; none if it is large enough.
fn class(rows: usize) -> Option<u32> {
    (rows < FULL_ROWS).then(|| rows.max(1).ilog(GROWTH))
}

fn lock_key(embedder: &EmbedderKey) -> NodeKey {
    KeyHasher::new("sciembed 2026 compaction lock v1").bytes(embedder.as_bytes()).node_key()
}

/// The rows of several segments in the order of their keys. Of a key in several, the segment of the lowest digest
/// counts.
struct Merged<'a> {
    segments: &'a [&'a Segment],
    rows: Vec<(RowKey, u32, u32)>,
}

impl<'a> Merged<'a> {
    fn of(segments: &'a [&'a Segment]) -> Self {
        let mut rows = Vec::with_capacity(segments.iter().map(|segment| segment.header().rows).sum());
        for (at, segment) in (0u32..).zip(segments) {
            let own = (0u32..).zip(0..segment.header().rows);
            rows.extend(own.map(|(place, row)| (segment.key(row), at, place)));
        }
        debug_assert!(segments.iter().map(|segment| segment.digest()).collect::<Vec<Digest>>().is_sorted());
        rows.sort_unstable();
        rows.dedup_by_key(|(key, ..)| *key);
        Self { segments, rows }
    }

    fn row(&self, row: usize) -> (&Segment, usize) {
        let (_, segment, place) = self.rows[row];
        (self.segments[segment as usize], place as usize)
    }

    fn dtype(&self) -> Dtype {
        self.segments[0].header().dtype
    }
}

impl RowsToSeal for Merged<'_> {
    fn key(&self, row: usize) -> RowKey {
        self.rows[row].0
    }

    fn tokens(&self, row: usize) -> (u32, u32) {
        let (segment, place) = self.row(row);
        segment.tokens(place)
    }

    fn copy_vector(&self, row: usize, bytes: &mut Vec<u8>) {
        let (segment, place) = self.row(row);
        segment.copy_vector(place, self.dtype(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::segment::SegmentRow;

    fn header(cpu: &str) -> SegmentHeader {
        let embedder = EmbedderKey::from_bytes([9; 32]);
        SegmentHeader { embedder, dim: 2, dtype: Dtype::F16, rows: 0, runtime: "test".into(), cpu: cpu.into() }
    }

    fn row(n: u32) -> SegmentRow {
        let mut key = [0; RowKey::LEN];
        key[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
        let vector = vec![n as f32 / 1e4, 1.0];
        SegmentRow { key: RowKey::from_bytes(key), vector, tokens: n, tokens_dropped: 1 }
    }

    fn seal(store: &Store, cpu: &str, rows: impl Iterator<Item = u32>) {
        let mut writer = store.segment_writer(header(cpu)).unwrap();
        rows.for_each(|n| writer.push(row(n)).unwrap());
        writer.seal().unwrap();
    }

    /// A year of nightly appends: however many nights, few segments, and every row is where it is looked for.
    #[test]
    fn many_nights_make_few_segments() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let embedder = header("a").embedder;
        for night in 0..100 {
            seal(&store, "a", night * 30..night * 30 + 33);
            store.compact(&embedder, "test").unwrap();
        }
        let (segments, damaged) = store.segments(&embedder, 2, Dtype::F16).unwrap();
        assert!(damaged.is_empty() && segments.len() < 3 * FAN, "{} segments", segments.len());
        for n in 0..3_003 {
            let found = segments.iter().find_map(|segment| Some((segment, segment.find(&row(n).key)?)));
            let (segment, at) = found.unwrap_or_else(|| panic!("row {n} is lost"));
            assert_eq!(segment.tokens(at), (n, 1));
            let (mut stored, mut wanted) = (Vec::new(), Vec::new());
            segment.copy_vector(at, Dtype::F16, &mut stored);
            segment::encode_vector(&row(n).vector, Dtype::F16, &mut wanted);
            assert_eq!(stored, wanted);
        }
        segments.iter().for_each(|segment| segment.verify().unwrap());
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    /// What another processor computed is told apart for as long as it is kept.
    #[test]
    fn origins_are_not_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let embedder = header("a").embedder;
        (0..7).for_each(|n| seal(&store, "a", n..n + 1));
        (0..7).for_each(|n| seal(&store, "b", n..n + 1));
        assert_eq!(store.compact(&embedder, "test").unwrap(), Compacted::default());
        seal(&store, "b", 7..8);
        assert_eq!(store.compact(&embedder, "test").unwrap(), Compacted { merged: 8, into: 1 });
    }

    #[test]
    fn a_damaged_segment_is_not_sealed_in_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let embedder = header("a").embedder;
        (0..8).for_each(|n| seal(&store, "a", n..n + 1));
        let path = store.opened(&embedder).unwrap()[3].file().path().to_owned();
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 60;
        bytes[at] ^= 4;
        fs::write(&path, bytes).unwrap();
        assert!(store.compact(&embedder, "test").unwrap_err().is_damage());
        assert_eq!(store.opened(&embedder).unwrap().len(), 8);
    }
}

//! Segments: sealed pieces of finished vectors, kept by embedder, so that a killed run loses at most what it had not sealed.
//!
//! One sealed segment is one file, made whole by a rename, with its rows sorted by row key so that it is its own index:
//!
//! ```text
//! "SCIEMSEG"  version u32  header length u32   header (JSON), zeros up to a multiple of 64
//! row keys      rows x 16 bytes, ascending
//! tokens        rows x u32
//! tokens dropped rows x u32, zeros up to a multiple of 64
//! vectors       rows x dim x (2 or 4) bytes
//! BLAKE3 of everything before (32 bytes)   "SEALEDSG"
//! ```
//!
//! Integers are little-endian. A segment belongs to the embedder, not to a node: when the nightly file changes while a
//! year is nearly done, nothing is stranded.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::blob::map_file;
use super::{Store, StoreError, durable};
use crate::digest::{Digest, EmbedderKey, RowKey};
use crate::manifest::config::Dtype;

const MAGIC: &[u8; 8] = b"SCIEMSEG";
const SEAL: &[u8; 8] = b"SEALEDSG";
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;
const PREAMBLE_BYTES: usize = 16;
const TRAILER_BYTES: usize = Digest::LEN + SEAL.len();

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHeader {
    /// Whose vectors these are.
    pub embedder: EmbedderKey,
    /// Components per vector.
    pub dim: usize,
    /// Element type of the vectors.
    pub dtype: Dtype,
    /// Rows in this segment.
    pub rows: usize,
    /// The runtime library that computed them.
    pub runtime: String,
    /// The class of CPU, or the device, that computed them.
    pub cpu: String,
}

/// One finished row: a text's key, its vector, its token counts.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentRow {
    /// The text under its embedder.
    pub key: RowKey,
    /// The vector, `dim` components.
    pub vector: Vec<f32>,
    /// Tokens that the model saw, special tokens included.
    pub tokens: u32,
    /// Tokens cut off.
    pub tokens_dropped: u32,
}

/// Collects finished rows and seals them as segments.
pub struct SegmentWriter {
    store: Store,
    folder: PathBuf,
    writer: String,
    sealed: usize,
    header: SegmentHeader,
    rows: Vec<SegmentRow>,
}

impl Store {
    fn segment_folder(&self, embedder: &EmbedderKey) -> PathBuf {
        self.root.join("vectors").join(embedder.to_string())
    }

    /// Starts writing segments of one embedder; `header.rows` is set at each seal.
    ///
    /// # Errors
    /// [`StoreError::Write`] if the embedder's folder cannot be made.
    pub fn segment_writer(&self, header: SegmentHeader) -> Result<SegmentWriter, StoreError> {
        let folder = self.segment_folder(&header.embedder);
        fs::create_dir_all(&folder).map_err(|error| StoreError::write(&folder, error))?;
        let writer = durable::unique_name();
        Ok(SegmentWriter { store: self.clone(), folder, writer, sealed: 0, header, rows: Vec::new() })
    }

    /// Opens every sealed segment of an embedder that can serve this shape, in order of their digests. A file that is
    /// no whole segment is passed over and named in the second list.
    ///
    /// # Errors
    /// [`StoreError::Read`] if the embedder's folder cannot be listed.
    pub fn segments(
        &self,
        embedder: &EmbedderKey,
        dim: usize,
        dtype: Dtype,
    ) -> Result<(Vec<Segment>, Vec<StoreError>), StoreError> {
        let folder = self.segment_folder(embedder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(StoreError::read(&folder, error)),
        };
        let (mut segments, mut damaged) = (Vec::new(), Vec::new());
        for path in
            entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "seg"))
        {
            match Segment::open(&path) {
                Ok(segment) if segment.serves(embedder, dim, dtype) => segments.push(segment),
                Ok(_) => {}
                Err(error) => damaged.push(error),
            }
        }
        segments.sort_by_key(|segment| segment.digest);
        Ok((segments, damaged))
    }
}

impl SegmentWriter {
    /// Takes a finished row. Refuses, by giving it back, a vector with a component beyond the element type's range.
    pub fn push(&mut self, row: SegmentRow) -> Result<(), SegmentRow> {
        let fits = match self.header.dtype {
            Dtype::F32 => true,
            Dtype::F16 => row.vector.iter().all(|&component| f16::from_f32(component).is_finite()),
        };
        if !fits {
            return Err(row);
        }
        self.rows.push(row);
        Ok(())
    }

    /// Rows not sealed yet.
    pub fn pending(&self) -> usize {
        self.rows.len()
    }

    /// Seals the rows taken so far, if any: after this they survive a kill and a power cut.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the rows are kept, and sealing may be tried again.
    pub fn seal(&mut self) -> Result<(), StoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.rows.sort_by_key(|row| row.key);
        self.rows.dedup_by_key(|row| row.key);
        self.header.rows = self.rows.len();
        let path = self.folder.join(format!("{}-{}.seg", self.writer, self.sealed));
        let bytes = encode(&self.header, &self.rows);
        durable::write(&path, &self.store.temporary(), &bytes).map_err(|error| StoreError::write(&path, error))?;
        self.rows.clear();
        self.sealed += 1;
        Ok(())
    }
}

fn encode(header: &SegmentHeader, rows: &[SegmentRow]) -> Vec<u8> {
    let json = serde_json::to_vec(header).expect("a header is plain data");
    let mut bytes = Vec::with_capacity(rows.len() * (24 + header.dim * header.dtype.bytes()) + 4096);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(json.len()).expect("a header is a few hundred bytes").to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    rows.iter().for_each(|row| bytes.extend_from_slice(row.key.as_bytes()));
    rows.iter().for_each(|row| bytes.extend_from_slice(&row.tokens.to_le_bytes()));
    rows.iter().for_each(|row| bytes.extend_from_slice(&row.tokens_dropped.to_le_bytes()));
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    rows.iter().for_each(|row| encode_vector(&row.vector, header.dtype, &mut bytes));
    let digest = Digest::of(&bytes);
    bytes.write_all(digest.as_bytes()).expect("writing to memory cannot fail");
    bytes.extend_from_slice(SEAL);
    bytes
}

/// Appends a vector's components, little-endian, rounded to nearest even where the type is narrower.
pub fn encode_vector(vector: &[f32], dtype: Dtype, bytes: &mut Vec<u8>) {
    match dtype {
        Dtype::F32 => vector.iter().for_each(|component| bytes.extend_from_slice(&component.to_le_bytes())),
        Dtype::F16 => {
            vector.iter().for_each(|&component| bytes.extend_from_slice(&f16::from_f32(component).to_le_bytes()));
        }
    }
}

/// Reads a vector's components, little-endian.
pub fn decode_vector(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect(),
        Dtype::F16 => {
            let halves: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|chunk| f16::from_le_bytes(*chunk)).collect();
            halves.to_f32_vec()
        }
    }
}

/// A sealed segment, memory-mapped.
#[derive(Debug)]
pub struct Segment {
    path: PathBuf,
    map: Mmap,
    header: SegmentHeader,
    digest: Digest,
    keys_at: usize,
    tokens_at: usize,
    vectors_at: usize,
}

impl Segment {
    /// Opens a segment and checks its frame: magic, lengths and seal. [`Segment::verify`] checks its bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the frame is not that of a sealed segment of a known version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let map = map_file(path)?;
        Self::from_map(path, map).map_err(|detail| StoreError::damaged(path, detail))
    }

    fn from_map(path: &Path, map: Mmap) -> Result<Self, String> {
        if map.len() < PREAMBLE_BYTES + TRAILER_BYTES || !map.starts_with(MAGIC) || !map.ends_with(SEAL) {
            return Err("it is no sealed segment".to_owned());
        }
        let word = |at: usize| u32::from_le_bytes([map[at], map[at + 1], map[at + 2], map[at + 3]]);
        if word(8) != VERSION {
            return Err(format!("its format is version {}, and this program reads {VERSION}", word(8)));
        }
        let header_end = PREAMBLE_BYTES + word(12) as usize;
        let json = map.get(PREAMBLE_BYTES..header_end).ok_or("its header is longer than the file")?;
        let header: SegmentHeader = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let keys_at = header_end.next_multiple_of(ALIGNMENT);
        let sizes = layout(&header, keys_at).filter(|layout| layout.end + TRAILER_BYTES == map.len());
        let Layout { tokens_at, vectors_at, end } = sizes.ok_or("its length is not what its header says")?;
        let mut digest = [0; Digest::LEN];
        digest.copy_from_slice(&map[end..end + Digest::LEN]);
        let digest = Digest::from_bytes(digest);
        Ok(Self { path: path.to_owned(), map, header, digest, keys_at, tokens_at, vectors_at })
    }

    fn serves(&self, embedder: &EmbedderKey, dim: usize, dtype: Dtype) -> bool {
        self.header.embedder == *embedder && self.header.dim == dim && self.header.dtype >= dtype
    }

    /// Checks every byte against the digest that was sealed in.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if they differ.
    pub fn verify(&self) -> Result<(), StoreError> {
        let end = self.map.len() - TRAILER_BYTES;
        if Digest::of(&self.map[..end]) == self.digest {
            Ok(())
        } else {
            Err(StoreError::damaged(&self.path, "its bytes are not those that were sealed"))
        }
    }

    /// What the segment says of itself.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The key of a row.
    pub fn key(&self, row: usize) -> RowKey {
        let at = self.keys_at + row * RowKey::LEN;
        let mut bytes = [0; RowKey::LEN];
        bytes.copy_from_slice(&self.map[at..at + RowKey::LEN]);
        RowKey::from_bytes(bytes)
    }

    /// The row of a key.
    pub fn find(&self, key: &RowKey) -> Option<usize> {
        let (mut low, mut high) = (0, self.header.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Tokens that the model saw, and tokens cut off.
    pub fn tokens(&self, row: usize) -> (u32, u32) {
        let word = |at: usize| u32::from_le_bytes([self.map[at], self.map[at + 1], self.map[at + 2], self.map[at + 3]]);
        (word(self.tokens_at + 4 * row), word(self.tokens_at + 4 * (self.header.rows + row)))
    }

    /// Appends a row's vector to `bytes` as `dtype`, which is not wider than the segment's own.
    pub fn copy_vector(&self, row: usize, dtype: Dtype, bytes: &mut Vec<u8>) {
        let width = self.header.dim * self.header.dtype.bytes();
        let at = self.vectors_at + row * width;
        let stored = &self.map[at..at + width];
        if dtype == self.header.dtype {
            bytes.extend_from_slice(stored);
        } else {
            encode_vector(&decode_vector(stored, self.header.dtype), dtype, bytes);
        }
    }
}

struct Layout {
    tokens_at: usize,
    vectors_at: usize,
    end: usize,
}

/// Where the parts are; none if the header's numbers overflow.
fn layout(header: &SegmentHeader, keys_at: usize) -> Option<Layout> {
    let tokens_at = keys_at.checked_add(header.rows.checked_mul(RowKey::LEN)?)?;
    let vectors_at = tokens_at.checked_add(header.rows.checked_mul(8)?)?.checked_next_multiple_of(ALIGNMENT)?;
    let width = header.dim.checked_mul(header.dtype.bytes())?;
    let end = vectors_at.checked_add(header.rows.checked_mul(width)?)?;
    Some(Layout { tokens_at, vectors_at, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(dtype: Dtype) -> SegmentHeader {
        let embedder = EmbedderKey::from_bytes([9; 32]);
        SegmentHeader { embedder, dim: 3, dtype, rows: 0, runtime: "test".into(), cpu: "test".into() }
    }

    fn row(n: u8) -> SegmentRow {
        let vector = vec![f32::from(n), 0.1, -1.0];
        SegmentRow { key: RowKey::from_bytes([n; 16]), vector, tokens: u32::from(n), tokens_dropped: 7 }
    }

    fn sealed(store: &Store, dtype: Dtype, rows: &[u8]) {
        let mut writer = store.segment_writer(header(dtype)).unwrap();
        rows.iter().for_each(|&n| writer.push(row(n)).unwrap());
        writer.seal().unwrap();
    }

    #[test]
    fn sealed_rows_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        sealed(&store, Dtype::F32, &[5, 1, 3, 3]);
        let (segments, damaged) = store.segments(&header(Dtype::F32).embedder, 3, Dtype::F16).unwrap();
        assert!(damaged.is_empty());
        let segment = &segments[0];
        segment.verify().unwrap();
        assert_eq!(segment.header().rows, 3);
        let at = segment.find(&row(3).key).unwrap();
        assert_eq!(segment.tokens(at), (3, 7));
        let mut bytes = Vec::new();
        segment.copy_vector(at, Dtype::F32, &mut bytes);
        assert_eq!(decode_vector(&bytes, Dtype::F32), row(3).vector);
        assert_eq!(segment.find(&row(2).key), None);
    }

    /// A half-float segment cannot serve a node that wants single precision.
    #[test]
    fn narrower_segments_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        sealed(&store, Dtype::F16, &[1]);
        let embedder = header(Dtype::F16).embedder;
        assert!(store.segments(&embedder, 3, Dtype::F32).unwrap().0.is_empty());
        assert_eq!(store.segments(&embedder, 3, Dtype::F16).unwrap().0.len(), 1);
    }

    #[test]
    fn a_torn_segment_is_passed_over_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        sealed(&store, Dtype::F32, &[1, 2]);
        let folder = store.segment_folder(&header(Dtype::F32).embedder);
        let path = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&path).unwrap();
        for cut in [0, 7, 20, 100, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            let (segments, damaged) = store.segments(&header(Dtype::F32).embedder, 3, Dtype::F32).unwrap();
            assert_eq!((segments.len(), damaged.len()), (0, 1), "cut at {cut}");
        }
        let mut flipped = whole.clone();
        flipped[whole.len() - TRAILER_BYTES - 1] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(Segment::open(&path).unwrap().verify().is_err());
    }

    #[test]
    fn components_beyond_half_precision_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let mut writer = store.segment_writer(header(Dtype::F16)).unwrap();
        let large = SegmentRow { vector: vec![70_000.0, 0.0, 0.0], ..row(1) };
        assert_eq!(writer.push(large.clone()), Err(large));
    }
}

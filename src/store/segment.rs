//! Segments: sealed pieces of finished vectors, kept by embedder, so that a killed run loses at most what it had not sealed.
//!
//! One sealed segment is one file (`sealed.rs`), made whole by a rename. After its sorted row keys follow
//!
//! ```text
//! tokens         rows x u32
//! tokens dropped rows x u32, zeros up to a multiple of 64
//! vectors        rows x dim x (2 or 4) bytes
//! ```
//!
//! A segment belongs to the embedder, not to a node: when the nightly file changes while a year is nearly done, nothing is
//! stranded. `compact.rs` keeps them few.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use half::f16;
use serde::{Deserialize, Serialize};

use super::sealed::{self, ALIGNMENT, Magic, SealedFile, SealedWriter};
use super::{Store, StoreError, durable};
use crate::digest::{Digest, EmbedderKey, RowKey};
use crate::encoding::{Dtype, SetDtype, decode, encode};

const MAGIC: &Magic = b"SCIEMSEG";
/// The end of a segment's name.
pub const EXTENSION: &str = "seg";
/// How often a folder is listed anew because a segment in it went away meanwhile: somebody was merging segments, and
/// what it held is in another one. More often than this means that something else is wrong.
const LISTINGS: usize = 10;

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

impl SegmentRow {
    /// Whether `dtype` can hold the vector: every component is finite, in that type too.
    pub fn fits(&self, dtype: Dtype) -> bool {
        match dtype {
            Dtype::F32 => self.vector.iter().all(|component| component.is_finite()),
            Dtype::F16 => self.vector.iter().all(|&component| f16::from_f32(component).is_finite()),
        }
    }
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
    /// The folder of an embedder's segments.
    pub fn segment_folder(&self, embedder: &EmbedderKey) -> PathBuf {
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
        let (mut segments, damaged) = open_all(&folder, EXTENSION, Segment::open)?;
        segments.retain(|segment| segment.serves(embedder, dim, dtype));
        segments.sort_by_key(Segment::digest);
        Ok((segments, damaged))
    }
}

/// Opens every file of a folder with this extension. Files that went away while it was listed were replaced by others, so
/// it is listed anew; what cannot be opened otherwise is in the second list.
pub(super) fn open_all<T>(
    folder: &Path,
    extension: &str,
    open: impl Fn(&Path) -> Result<T, StoreError>,
) -> Result<(Vec<T>, Vec<StoreError>), StoreError> {
    let is_gone = |error: &StoreError| matches!(error, StoreError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound);
    let mut listings = 0;
    loop {
        let (mut opened, mut failed) = (Vec::new(), Vec::new());
        for path in list(folder, extension)? {
            match open(&path) {
                Ok(file) => opened.push(file),
                Err(error) => failed.push(error),
            }
        }
        listings += 1;
        if listings == LISTINGS || !failed.iter().any(is_gone) {
            return Ok((opened, failed));
        }
    }
}

fn list(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::read(folder, error)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect())
}

impl SegmentWriter {
    /// Takes a finished row. Refuses, by giving it back, a vector with a component that is not finite in the element type.
    pub fn push(&mut self, row: SegmentRow) -> Result<(), SegmentRow> {
        if !row.fits(self.header.dtype) {
            return Err(row);
        }
        self.rows.push(row);
        Ok(())
    }

    /// Rows not sealed yet.
    pub fn pending(&self) -> usize {
        self.rows.len()
    }

    /// Seals the rows taken so far, if any: after this they survive a kill and a power cut. Says how many there were.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the rows are kept, and sealing may be tried again.
    pub fn seal(&mut self) -> Result<usize, StoreError> {
        if self.rows.is_empty() {
            return Ok(0);
        }
        self.rows.sort_by_key(|row| row.key);
        self.rows.dedup_by_key(|row| row.key);
        self.header.rows = self.rows.len();
        let path = self.folder.join(format!("{}-{}.{EXTENSION}", self.writer, self.sealed));
        write(&path, &self.store.temporary(), &self.header, &Finished(&self.rows, self.header.dtype))?;
        self.rows.clear();
        self.sealed += 1;
        Ok(self.header.rows)
    }
}

/// Rows to be sealed, in the order of their keys.
pub(super) trait RowsToSeal {
    /// The key of a row.
    fn key(&self, row: usize) -> RowKey;
    /// Tokens that the model saw, and tokens cut off.
    fn tokens(&self, row: usize) -> (u32, u32);
    /// Appends the vector's components in the segment's element type.
    fn copy_vector(&self, row: usize, bytes: &mut Vec<u8>);
}

struct Finished<'a>(&'a [SegmentRow], Dtype);

impl RowsToSeal for Finished<'_> {
    fn key(&self, row: usize) -> RowKey {
        self.0[row].key
    }

    fn tokens(&self, row: usize) -> (u32, u32) {
        (self.0[row].tokens, self.0[row].tokens_dropped)
    }

    fn copy_vector(&self, row: usize, bytes: &mut Vec<u8>) {
        encode_vector(&self.0[row].vector, self.1, bytes);
    }
}

/// Writes a segment of `header.rows` rows, which are sealed once this returns.
///
/// # Errors
/// [`StoreError::Write`].
pub(super) fn write(
    path: &Path,
    temporary: &Path,
    header: &SegmentHeader,
    rows: &impl RowsToSeal,
) -> Result<(), StoreError> {
    sealed::write(path, temporary, MAGIC, header, |file: &mut SealedWriter| {
        let all = 0..header.rows;
        all.clone().try_for_each(|row| file.write_all(rows.key(row).as_bytes()))?;
        all.clone().try_for_each(|row| file.write_all(&rows.tokens(row).0.to_le_bytes()))?;
        all.clone().try_for_each(|row| file.write_all(&rows.tokens(row).1.to_le_bytes()))?;
        file.align()?;
        let mut vector = Vec::new();
        all.into_iter().try_for_each(|row| {
            vector.clear();
            rows.copy_vector(row, &mut vector);
            file.write_all(&vector)
        })
    })
}

/// Appends a vector's components, little-endian, rounded to nearest even where the type is narrower.
pub fn encode_vector(vector: &[f32], dtype: Dtype, bytes: &mut Vec<u8>) {
    encode(vector, SetDtype::of(dtype), bytes);
}

/// Reads a vector's components, little-endian.
pub fn decode_vector(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    decode(bytes, 1.0, SetDtype::of(dtype), bytes.len() / dtype.bytes())
}

/// A sealed segment, memory-mapped.
#[derive(Debug)]
pub struct Segment {
    file: SealedFile,
    header: SegmentHeader,
    tokens_at: usize,
    vectors_at: usize,
}

impl Segment {
    /// Opens a segment and checks its frame. [`Segment::verify`] checks its bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the frame is not that of a sealed segment of a known version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (mut tokens_at, mut vectors_at) = (0, 0);
        let (file, header) = SealedFile::open(path, MAGIC, |header: &SegmentHeader, keys_at| {
            let layout = layout(header, keys_at)?;
            (tokens_at, vectors_at) = (layout.tokens_at, layout.vectors_at);
            Some((header.rows, layout.end))
        })?;
        Ok(Self { file, header, tokens_at, vectors_at })
    }

    fn serves(&self, embedder: &EmbedderKey, dim: usize, dtype: Dtype) -> bool {
        self.header.embedder == *embedder && self.header.dim == dim && self.header.dtype >= dtype
    }

    /// Checks every byte against the digest that was sealed in.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if they differ.
    pub fn verify(&self) -> Result<(), StoreError> {
        self.file.verify()
    }

    /// What the segment says of itself.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.file.digest()
    }

    /// Its file.
    pub fn file(&self) -> &SealedFile {
        &self.file
    }

    /// The key of a row.
    pub fn key(&self, row: usize) -> RowKey {
        self.file.key(row)
    }

    /// The row of a key.
    pub fn find(&self, key: &RowKey) -> Option<usize> {
        self.file.find(key)
    }

    /// Tokens that the model saw, and tokens cut off.
    pub fn tokens(&self, row: usize) -> (u32, u32) {
        let dropped_at = self.tokens_at + 4 * self.header.rows;
        (self.file.word(self.tokens_at + 4 * row), self.file.word(dropped_at + 4 * row))
    }

    /// Appends a row's vector to `bytes` as `dtype`, which is not wider than the segment's own.
    pub fn copy_vector(&self, row: usize, dtype: Dtype, bytes: &mut Vec<u8>) {
        let width = self.header.dim * self.header.dtype.bytes();
        let stored = self.file.slice(self.vectors_at + row * width, width);
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
        flipped[whole.len() / 2] ^= 1;
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

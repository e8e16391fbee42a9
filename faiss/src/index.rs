//! An index: built block by block, written, opened, searched.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::Error;
use crate::factory::{Factory, Search};
use crate::file::{self, Described};
use crate::raw::Raw;
use crate::sink::Failure;

/// Rows that Faiss is given at once. A row's list is found by products of blocks, and by other sums in blocks of less than
/// 20: blocks of one size make the file independent of how rows arrive. 16,384 rows of 384 numbers are 25 MB.
const BLOCK_ROWS: usize = 1 << 14;

/// Builds an index: trains it, then takes rows in any portions.
///
/// The same vectors in the same order give the same bytes, whatever the portions and the number of threads. A graph
/// (HNSW) is therefore built by one thread.
pub struct Builder {
    raw: Raw,
    described: Described,
    threads: usize,
    /// Numbers of rows that do not fill a block yet.
    pending: Vec<f32>,
}

impl Builder {
    /// Learns centroids, codebooks and ranges from a sample, `n x dim`, row-major. [`crate::sample`] draws one.
    ///
    /// Scores are inner products. `threads` is at least 1. Needs as much memory again as the sample has, at most.
    ///
    /// # Errors
    /// [`Error::Sample`] where there are fewer than [`Factory::sample_rows`] wants, [`Error::Dim`] where vectors cannot be
    /// cut as the index wants it, [`Error::Shape`], [`Error::Range`], [`Error::Processor`], [`Error::Faiss`].
    pub fn train(factory: Factory, dim: usize, sample: &[f32], threads: usize) -> Result<Self, Error> {
        factory.check(dim)?;
        let (given, needed) = (rows_of(sample, dim)?, *factory.sample_rows().start());
        if given < needed {
            return Err(Error::Sample { index: factory.to_string(), given, needed });
        }
        let mut raw = Raw::new(&factory, dim)?;
        raw.train(sample, dim, threads)?;
        let described = Described { kind: factory, dim, rows: 0 };
        Ok(Self { raw, described, threads, pending: Vec::new() })
    }

    /// Takes an index from its file, to add more rows. Centroids and codebooks stay what they are.
    ///
    /// # Errors
    /// As for [`Index::open`].
    pub fn resume(path: &Path, threads: usize) -> Result<Self, Error> {
        let Index { raw, described, .. } = Index::load(path, threads)?;
        Ok(Self { raw, described, threads, pending: Vec::new() })
    }

    /// Adds rows, `n x dim`, row-major: row numbers go on from [`Builder::len`].
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Range`], [`Error::Faiss`].
    pub fn add(&mut self, vectors: &[f32]) -> Result<(), Error> {
        let dim = self.described.dim;
        self.described.rows += rows_of(vectors, dim)?;
        let block = BLOCK_ROWS * dim;
        let mut rest = vectors;
        while self.pending.len() + rest.len() >= block {
            let (head, tail) = rest.split_at(block - self.pending.len());
            rest = tail;
            if self.pending.is_empty() {
                self.give(head)?;
            } else {
                self.pending.extend_from_slice(head);
                self.give_pending()?;
            }
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the building.
    ///
    /// # Errors
    /// [`Error::Faiss`].
    pub fn finish(mut self) -> Result<Index, Error> {
        self.give_pending()?;
        assert_eq!(self.raw.rows(), self.described.rows, "every row has been given to Faiss");
        Ok(Index { raw: self.raw, described: self.described, threads: self.threads, is_mapped: false })
    }

    /// Rows that were added so far.
    pub fn len(&self) -> usize {
        self.described.rows
    }

    /// Whether no row was added yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn give_pending(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        self.give(&pending)?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    fn give(&mut self, vectors: &[f32]) -> Result<(), Error> {
        if vectors.is_empty() {
            return Ok(());
        }
        // The links of a row depend on which rows have theirs already.
        let threads = if let Search::Hnsw { .. } = self.described.kind.search { 1 } else { self.threads };
        self.raw.add(vectors, self.described.dim, threads)
    }
}

/// How thoroughly to search; what an index does not know is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Lists to read (IVF).
    pub nprobe: usize,
    /// Rows of a graph to keep in view (HNSW); never fewer than hits are wanted.
    pub ef: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { nprobe: 64, ef: 128 }
    }
}

/// An index that can be searched.
pub struct Index {
    raw: Raw,
    described: Described,
    threads: usize,
    is_mapped: bool,
}

/// A row that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its number, from 0, in the order in which rows were added.
    pub row: usize,
    /// Its inner product with the query, as exactly as its code tells.
    pub score: f32,
}

/// What a search found, query by query.
#[derive(Clone, Debug, PartialEq)]
pub struct Hits {
    k: usize,
    hits: Vec<Option<Hit>>,
}

impl Hits {
    /// The hits of a query, best first: `k` of them, or fewer where the lists that were read hold no more.
    pub fn of(&self, query: usize) -> impl Iterator<Item = Hit> + '_ {
        self.hits[query * self.k..][..self.k].iter().copied().flatten()
    }
}

impl Index {
    /// Opens a file, mapped into memory: its pages are read when a search first needs them. Centroids are read at once.
    ///
    /// For a few queries: each search of mapped lists starts threads that read ahead, and takes 2 ms where one in memory
    /// takes 1 (`benches/recall.rs`, a query at a time over 200,000 rows). For many see [`Index::load`].
    ///
    /// Opening reads the lengths of all lists, and a graph once from end to end, to see that no link leads nowhere.
    ///
    /// The file must not change while it is open. Its frame is checked, its content is not: compare a digest first.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, [`Error::Damaged`] where it is no whole index, [`Error::Processor`],
    /// [`Error::Faiss`].
    pub fn open(path: &Path, threads: usize) -> Result<Self, Error> {
        Self::read(path, threads, true)
    }

    /// Reads a whole file into memory, for many queries.
    ///
    /// # Errors
    /// As for [`Index::open`].
    pub fn load(path: &Path, threads: usize) -> Result<Self, Error> {
        Self::read(path, threads, false)
    }

    fn read(path: &Path, threads: usize, is_mapped: bool) -> Result<Self, Error> {
        let described = file::describe(path)?;
        let raw = Raw::read(path, described.kind, is_mapped)?;
        Ok(Self { raw, described, threads, is_mapped })
    }

    /// Writes a file, without flushing it to the disk.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be written, [`Error::Faiss`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let told = |source| Error::file(path, source);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(told)?);
        self.write_to(&mut file).map_err(|failure| match failure {
            Failure::Io(source) => told(source),
            Failure::Faiss(error) => error,
        })?;
        file.flush().map_err(told)
    }

    /// Writes the same bytes into any writer, in small pieces, from the first to the last: one that also hashes them, say.
    ///
    /// # Errors
    /// The first failure of the writer, or what Faiss says, as [`Failure`].
    pub fn write_to(&self, into: &mut dyn Write) -> Result<(), Failure> {
        self.raw.write(into)
    }

    /// Finds the `k` best rows for each query, `n x dim`, row-major.
    ///
    /// Scores are those of codes: ask for more than are wanted (`k` of some hundred for ten), and score these anew by the
    /// vectors themselves. Takes 40 bytes of memory for each of the `n x k` hits.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Range`], [`Error::Faiss`], the last also where a hit is no row: the file is damaged.
    pub fn search(&mut self, queries: &[f32], k: usize, parameters: Parameters) -> Result<Hits, Error> {
        let dim = self.described.dim;
        let asked = rows_of(queries, dim)?;
        let k = k.min(self.len());
        if k == 0 || asked == 0 {
            return Ok(Hits { k: 0, hits: Vec::new() });
        }
        match self.described.kind.search {
            Search::Scan => {}
            Search::Ivf { lists, .. } => self.raw.set(c"nprobe", parameters.nprobe.clamp(1, lists))?,
            Search::Hnsw { .. } => self.raw.set(c"efSearch", parameters.ef.clamp(k, 1 << 20))?,
        }
        let (mut rows, mut scores) = (vec![-1; asked * k], vec![0.0; asked * k]);
        self.raw.search(queries, dim, k, self.threads, &mut rows, &mut scores)?;
        let hits = rows.into_iter().zip(scores).map(|(row, score)| self.hit(row, score)).collect::<Result<_, _>>()?;
        Ok(Hits { k, hits })
    }

    fn hit(&self, row: i64, score: f32) -> Result<Option<Hit>, Error> {
        match usize::try_from(row) {
            Ok(row) if row < self.len() => Ok(Some(Hit { row, score })),
            _ if row == -1 => Ok(None),
            _ => Err(Error::Faiss { doing: "search", message: format!("row {row} of {}", self.len()) }),
        }
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.described.rows
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of a vector.
    pub fn dim(&self) -> usize {
        self.described.dim
    }

    /// Which index it is.
    pub fn kind(&self) -> Factory {
        self.described.kind
    }

    /// Bytes of memory that it holds of its own, about: what is mapped is the system's, which takes it back at need.
    pub fn memory_bytes(&self) -> usize {
        let Described { kind, dim, rows } = self.described;
        // A mapped list has a place, a length and a capacity; a graph's levels and offsets are never mapped.
        let own = match kind.search {
            _ if !self.is_mapped => kind.row_bytes(dim) * rows,
            Search::Ivf { lists, .. } => 24 * lists,
            Search::Hnsw { .. } => 12 * rows,
            Search::Scan => 0,
        };
        kind.fixed_bytes(dim) + own
    }
}

/// Beyond this a number is a mistake: vectors are about as long as one.
const LARGEST: f32 = 1e6;

/// How many vectors a slice holds, all of them within range.
fn rows_of(vectors: &[f32], dim: usize) -> Result<usize, Error> {
    if !vectors.len().is_multiple_of(dim) {
        return Err(Error::Shape { len: vectors.len(), dim });
    }
    // All at once, for that is fast; one by one only to say where.
    if vectors.iter().fold(true, |all, value| all & (value.abs() <= LARGEST)) {
        return Ok(vectors.len() / dim);
    }
    let place = vectors.iter().position(|value| value.is_nan() || value.abs() > LARGEST).unwrap_or(0);
    Err(Error::Range { row: place / dim })
}

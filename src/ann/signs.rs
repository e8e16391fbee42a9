//! The signs of all vectors in a file, and the rows that agree with a query in most of them.
//!
//! ```text
//! SCIESIGN | rows (u64, little-endian) | dim (u64) | a row's bits, one after the other, as `packbits(vector > 0)` has them
//! ```
//!
//! Equal vectors give equal bytes. All of it is looked at by each search, an eighth of the bytes of `i8`.

use std::io::{self, Write};
use std::path::Path;

use memmap2::Mmap;
use rayon::prelude::*;
use sciembed_kernel::Level;
use sciembed_kernel::scan::{self, Best, Queries, Rows};

use crate::encoding::{SetDtype, encode};
use crate::index::flat::{Hit, Vectors};
use crate::store::{StoreError, map_file};

const MAGIC: &[u8; 8] = b"SCIESIGN";
const HEADER_BYTES: usize = 24;
/// Rows whose components are read at once.
const BLOCK_ROWS: usize = 16_384;
/// Rows that one task looks at: some megabytes.
const TASK_ROWS: usize = 65_536;

/// Writes the signs of vectors of `dim` components.
///
/// # Errors
/// Whatever writing gives.
pub fn write(vectors: &Vectors, dim: usize, sink: &mut impl Write) -> io::Result<()> {
    let rows = vectors.rows();
    sink.write_all(MAGIC)?;
    sink.write_all(&(rows as u64).to_le_bytes())?;
    sink.write_all(&(dim as u64).to_le_bytes())?;
    for start in (0..rows).step_by(BLOCK_ROWS) {
        let floats = vectors.floats(start..(start + BLOCK_ROWS).min(rows));
        let mut bits = Vec::with_capacity(BLOCK_ROWS * dim.div_ceil(8));
        for vector in floats.chunks_exact(dim) {
            encode(vector, SetDtype::Binary, &mut bits);
        }
        sink.write_all(&bits)?;
    }
    Ok(())
}

/// Such a file, memory-mapped.
pub struct Signs {
    file: Mmap,
    rows: usize,
    dim: usize,
}

impl Signs {
    /// Opens a file.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = map_file(path)?;
        let number = |at: usize| file.get(at..at + 8)?.first_chunk::<8>().map(|it| u64::from_le_bytes(*it));
        let (rows, dim) = (number(8), number(16));
        let whole = |rows: u64, dim: u64| rows.checked_mul(dim.div_ceil(8))?.checked_add(HEADER_BYTES as u64);
        match (rows, dim) {
            (Some(rows), Some(dim)) if file.starts_with(MAGIC) && whole(rows, dim) == Some(file.len() as u64) => {
                Ok(Self { rows: rows as usize, dim: dim as usize, file })
            }
            _ => Err(StoreError::damaged(path, "it is no file of signs")),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Components of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The `k` rows that agree with each query in most signs, best first.
    pub fn nearest(&self, queries: &[Vec<f32>], k: usize) -> Vec<Vec<Hit>> {
        let width = self.dim.div_ceil(8);
        let none = || vec![Best::new(k); queries.len()];
        let components: Vec<f32> = queries.concat();
        let queries = Queries::new(&components, self.dim);
        let tasks: Vec<usize> = (0..self.rows).step_by(TASK_ROWS).collect();
        let best = tasks.into_par_iter().fold(none, |mut best, start| {
            let end = (start + TASK_ROWS).min(self.rows);
            let bits = &self.file[HEADER_BYTES + start * width..HEADER_BYTES + end * width];
            scan::search(Level::best(), &Rows::Bits(bits), &queries, start as u64, None, &mut best);
            best
        });
        let best = best.reduce(none, |mut all, some| {
            all.iter_mut().zip(some).for_each(|(all, some)| all.merge(some));
            all
        });
        best.into_iter().map(Best::into_hits).collect()
    }
}

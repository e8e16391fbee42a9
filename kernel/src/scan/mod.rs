//! Looking at every stored vector: inner products of some queries with many rows, straight where the rows lie, and the best
//! of them.
//!
//! ```text
//! rows, as stored -> 16 at a time as f32 (f32 where they lie) -> tiles of 4 rows x 4 queries -> scores -> the best k of each query
//! ```
//!
//! A score is a function of the two vectors alone: it is summed in sixteen lanes that are folded in one order, whatever the
//! instructions, the batch of queries or the split of rows ([`crate::lanes`]). Threads are the caller's: each searches rows
//! of its own, and [`Best::merge`] gives the same as one search over all.

mod best;
mod dots;

pub use best::{Best, Hit};

use crate::level::dispatched;
use dots::Dots;

/// Rows that are widened together: with 384 components 24 KB, which the innermost cache holds.
const WIDENED: usize = 16;
/// Rows and queries of a tile.
const TILE: usize = 4;

/// Stored vectors, one after another, as they lie in a file.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// IEEE single precision.
    F32(&'a [f32]),
    /// The bits of IEEE half precision.
    F16(&'a [u16]),
    /// The upper halves of single precision.
    Bf16(&'a [u16]),
    /// Integers, each row's times its scale.
    I8 {
        /// The integers.
        codes: &'a [i8],
        /// A scale a row.
        scales: &'a [f32],
    },
    /// Signs, 1 for a component above zero, the first component in the highest bit of a row's first byte.
    Bits(&'a [u8]),
}

impl Rows<'_> {
    /// How many there are, of `dim` components each.
    pub fn count(&self, dim: usize) -> usize {
        match self {
            Self::F32(values) => values.len() / dim,
            Self::F16(values) | Self::Bf16(values) => values.len() / dim,
            Self::I8 { codes, .. } => codes.len() / dim,
            Self::Bits(bytes) => bytes.len() / dim.div_ceil(8),
        }
    }
}

/// Queries, `n x dim`.
#[derive(Clone, Debug)]
pub struct Queries {
    dim: usize,
    values: Vec<f32>,
    /// Their signs, as [`Rows::Bits`] has them.
    bits: Vec<u8>,
}

impl Queries {
    /// These queries, one after another.
    ///
    /// # Panics
    /// If they are no whole number of vectors of `dim` components, or `dim` is 0.
    pub fn new(values: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && values.len().is_multiple_of(dim), "queries of {dim} components");
        let sign = |(at, value): (usize, &f32)| u8::from(*value > 0.0) << (7 - at);
        let byte = |eight: &[f32]| eight.iter().enumerate().map(sign).sum();
        let bits = values.chunks_exact(dim).flat_map(|query| query.chunks(8).map(byte)).collect();
        Self { dim, values: values.to_vec(), bits }
    }

    fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    fn query(&self, at: usize) -> &[f32] {
        &self.values[at * self.dim..][..self.dim]
    }
}

/// Scores each row for each query, and keeps the best. The rows are numbered from `first`; of a row whose bit in `allowed`
/// is 0 (row n is bit n mod 64 of word n / 64) nothing is kept.
///
/// The score is the inner product; with [`Rows::Bits`] that of the signs, dim - 2 x the number of components that differ.
///
/// # Panics
/// If `rows` are no whole number of vectors of the queries' length, there is not one of `best` for each query, or `allowed`
/// ends before the rows do.
pub fn search(
    level: crate::Level,
    rows: &Rows,
    queries: &Queries,
    first: u64,
    allowed: Option<&[u64]>,
    best: &mut [Best],
) {
    assert_eq!(queries.count(), best.len(), "one of the best for each query");
    let (dim, count) = (queries.dim, rows.count(queries.dim));
    let is_whole = match rows {
        Rows::F32(values) => values.len() == count * dim,
        Rows::F16(values) | Rows::Bf16(values) => values.len() == count * dim,
        Rows::I8 { codes, scales } => codes.len() == count * dim && scales.len() == count,
        Rows::Bits(bytes) => bytes.len() == count * dim.div_ceil(8),
    };
    assert!(is_whole, "rows of {dim} components");
    assert!(allowed.is_none_or(|bits| (first as usize + count).div_ceil(64) <= bits.len()), "a bit for each row");
    let may = |row: usize| {
        let at = first as usize + row;
        allowed.is_none_or(|bits| bits[at / 64] >> (at % 64) & 1 == 1)
    };
    let mut keep = |query: usize, row: usize, score: f32| best[query].push(Hit { row: first + row as u64, score });
    match rows {
        Rows::Bits(bytes) => signs(bytes, queries, &may, &mut keep),
        _ => {
            let mut widened = vec![0.0; WIDENED * dim];
            for start in (0..count).step_by(WIDENED) {
                let some = start..(start + WIDENED).min(count);
                if !some.clone().any(may) {
                    continue;
                }
                let of = some.start * dim..some.end * dim;
                let space = &mut widened[..some.len() * dim];
                let values: &[f32] = match rows {
                    Rows::F32(values) => &values[of],
                    Rows::F16(values) => {
                        widen_halves(level, &values[of], space);
                        space
                    }
                    Rows::Bf16(values) => {
                        widen_upper_halves(level, &values[of], space);
                        space
                    }
                    Rows::I8 { codes, .. } => {
                        widen_bytes(level, &codes[of], space);
                        space
                    }
                    Rows::Bits(_) => unreachable!("signs are compared as they are"),
                };
                let mut keep = |query: usize, row: usize, score: f32| {
                    let row = some.start + row;
                    if may(row) {
                        let scale = if let Rows::I8 { scales, .. } = rows { scales[row] } else { 1.0 };
                        keep(query, row, score * scale);
                    }
                };
                products(level, values, queries, &mut keep);
            }
        }
    }
}

/// Counts the signs that agree.
fn signs(bytes: &[u8], queries: &Queries, may: &dyn Fn(usize) -> bool, keep: &mut dyn FnMut(usize, usize, f32)) {
    let (dim, width) = (queries.dim, queries.dim.div_ceil(8));
    // Bits behind the last component say nothing.
    let last = 0xffu8 << (width * 8 - dim);
    for (row, bits) in bytes.chunks_exact(width).enumerate().filter(|(row, _)| may(*row)) {
        for (query, asked) in queries.bits.chunks_exact(width).enumerate() {
            let (words, asked_words) = (bits[..width - 1].as_chunks::<8>(), asked[..width - 1].as_chunks::<8>());
            let word = |(a, b): (&[u8; 8], &[u8; 8])| (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)).count_ones();
            let byte = |(a, b): (&u8, &u8)| (a ^ b).count_ones();
            let mut differ: u32 = words.0.iter().zip(asked_words.0).map(word).sum();
            differ += words.1.iter().zip(asked_words.1).map(byte).sum::<u32>();
            differ += ((bits[width - 1] ^ asked[width - 1]) & last).count_ones();
            keep(query, row, dim as f32 - 2.0 * differ as f32);
        }
    }
}

dispatched! {
    /// The inner product of each row with each query, handed to `keep` with the numbers of query and row.
    fn products(rows: &[f32], queries: &Queries, keep: &mut dyn FnMut(usize, usize, f32)) = products_body
}

#[inline(always)]
fn products_body<I: Dots>(rows: &[f32], queries: &Queries, keep: &mut dyn FnMut(usize, usize, f32)) {
    let dim = queries.dim;
    let count = rows.len() / dim;
    let row = |at: usize| &rows[at.min(count - 1) * dim..][..dim];
    for first in (0..count).step_by(TILE) {
        // A tile that is not full has its last row several times.
        let tile: [&[f32]; TILE] = std::array::from_fn(|at| row(first + at));
        let rows = TILE.min(count - first);
        let mut query = 0;
        while query + TILE <= queries.count() {
            let asked: [&[f32]; TILE] = std::array::from_fn(|at| queries.query(query + at));
            let scores = I::dots(&tile, &asked);
            for (at, scores) in scores.iter().enumerate() {
                scores[..rows].iter().enumerate().for_each(|(row, score)| keep(query + at, first + row, *score));
            }
            query += TILE;
        }
        for query in query..queries.count() {
            let [scores] = I::dots(&tile, &[queries.query(query)]);
            scores[..rows].iter().enumerate().for_each(|(row, score)| keep(query, first + row, *score));
        }
    }
}

dispatched! {
    /// Half precision as single precision.
    fn widen_halves(halves: &[u16], values: &mut [f32]) = widen_halves_body
}

#[inline(always)]
fn widen_halves_body<I: Dots>(halves: &[u16], values: &mut [f32]) {
    I::widen(halves, values);
}

dispatched! {
    /// Upper halves of single precision, filled up with zeros.
    fn widen_upper_halves(halves: &[u16], values: &mut [f32]) = widen_upper_halves_body
}

#[inline(always)]
fn widen_upper_halves_body<I: Dots>(halves: &[u16], values: &mut [f32]) {
    for (value, half) in values.iter_mut().zip(halves) {
        *value = f32::from_bits(u32::from(*half) << 16);
    }
}

dispatched! {
    /// Integers as single precision.
    fn widen_bytes(codes: &[i8], values: &mut [f32]) = widen_bytes_body
}

#[inline(always)]
fn widen_bytes_body<I: Dots>(codes: &[i8], values: &mut [f32]) {
    for (value, code) in values.iter_mut().zip(codes) {
        *value = f32::from(*code);
    }
}

#[cfg(test)]
mod tests;

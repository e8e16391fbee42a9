//! Exact search: the k stored vectors whose inner products with a query are the greatest.
//!
//! Vectors are read where they lie, in the type they are stored in, each once for all queries. A query is of f32 always,
//! and a score is a function of the query and the vector alone: the sum runs in sixteen lanes of fused multiply-adds along
//! the components, the last lanes filled up with zeros, and the lanes are folded in halves ([`crate::lanes`]). So neither
//! the level of instructions, nor how many queries are asked together, nor how rows are split over calls and threads shows
//! in it. Equal scores are ranked by row, so the hits are the same too.
//!
//! Up to four queries take rows straight from memory, as fast as that gives them. More share a block of rows made f32 once.
//! Threads are the caller's: each searches some rows with a [`Best`] of its own, and [`Best::merge`] joins them.
//! `benches/scan.rs` measures all of it. Read next: `products.rs`, where the time goes.

mod best;
mod bits;
mod picks;
mod products;
mod queries;

use std::array;
use std::mem;

pub use best::{Best, Hit};
pub use queries::Queries;

use super::level::dispatched;
use picks::Picks;
use products::{Bf16, F16, F32, I8, Lanes, Products, Stored, TILE};

/// Rows whose scores are compared with the worst hit at once.
const BLOCK: usize = 64;
/// How far ahead rows are asked for that lie one after another, in bytes: processors alone do not look far enough, least of
/// all past the end of a page. Measured best of 2 to 16 KiB.
const AHEAD_BYTES: usize = 8 << 10;
/// Bytes of f32 that many queries share before the next rows are read. They stay in the nearest cache, which has 32 to
/// 48 KiB, beside four queries.
const SHARED_BYTES: usize = 24 << 10;

/// Stored vectors, one after another, each of as many components as the queries have.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Of f32.
    F32(&'a [f32]),
    /// Of IEEE 754 binary16, by their bits.
    F16(&'a [u16]),
    /// Of bfloat16, the upper halves of f32, by their bits.
    Bf16(&'a [u16]),
    /// Of int8: a component is its code times the scale of its row. A score is the sum over codes, times the scale.
    I8 {
        /// The codes.
        codes: &'a [i8],
        /// A scale for each row.
        scales: &'a [f32],
    },
    /// Signs: 1 stands for a component above zero. Each row begins at a byte, its first component at that byte's highest
    /// bit; what fills up its last byte is not looked at. Queries are reduced to signs too, and a score is the inner
    /// product of two vectors of 1 and -1: the components less twice the signs that differ.
    Bits(&'a [u8]),
}

impl Rows<'_> {
    /// How many there are, of `dim` components each.
    ///
    /// # Panics
    /// Where there are no components, or a part of a row.
    pub fn count(&self, dim: usize) -> usize {
        let (length, width) = match self {
            Self::F32(values) => (values.len(), dim),
            Self::F16(values) | Self::Bf16(values) => (values.len(), dim),
            Self::I8 { codes, .. } => (codes.len(), dim),
            Self::Bits(bytes) => (bytes.len(), dim.div_ceil(8)),
        };
        assert!(width > 0 && length.is_multiple_of(width), "rows of {dim} components");
        length / width
    }
}

dispatched! {
    /// Adds to `best`, one for each query, the hits among `rows`, which are numbered from `first`. Of the rows only those
    /// are asked whose bit in `allowed` is 1: row n is bit n mod 64 of word n / 64, n counted as in hits.
    ///
    /// A score that is no number, of a query or a row with such a component, is never a hit. Infinities are scores.
    ///
    /// # Panics
    /// Where this processor lacks the level, the lengths of slices do not fit, or `allowed` ends before the rows.
    pub fn search(
        rows: &Rows<'_>,
        queries: &Queries,
        first: u64,
        allowed: Option<&[u64]>,
        best: &mut [Best],
    ) = body
}

#[inline(always)]
fn body<I: Products>(rows: &Rows<'_>, queries: &Queries, first: u64, allowed: Option<&[u64]>, best: &mut [Best]) {
    assert_eq!(best.len(), queries.count(), "hits for each query");
    let dim = queries.dim();
    let picks = Picks::new(first, rows.count(dim), allowed);
    match *rows {
        Rows::F32(values) => floats::<I, F32>(&Matrix { values, dim, scales: None }, queries, picks, best),
        Rows::F16(values) => floats::<I, F16>(&Matrix { values, dim, scales: None }, queries, picks, best),
        Rows::Bf16(values) => floats::<I, Bf16>(&Matrix { values, dim, scales: None }, queries, picks, best),
        Rows::I8 { codes: values, scales } => {
            assert_eq!(scales.len(), rows.count(dim), "a scale for each row");
            floats::<I, I8>(&Matrix { values, dim, scales: Some(scales) }, queries, picks, best);
        }
        Rows::Bits(bytes) => bits::search(bytes, queries, picks, best),
    }
}

/// Stored vectors of one type.
struct Matrix<'a, S: Stored> {
    values: &'a [S::Raw],
    dim: usize,
    scales: Option<&'a [f32]>,
}

impl<S: Stored> Matrix<'_, S> {
    #[inline(always)]
    fn row(&self, row: usize) -> &[S::Raw] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// The rows of a tile, the last one again where there are fewer.
    #[inline(always)]
    fn tile(&self, rows: &[usize]) -> [&[S::Raw]; TILE] {
        array::from_fn(|place| self.row(rows[place.min(rows.len() - 1)]))
    }

    /// Makes scores of the products of rows.
    #[inline(always)]
    fn scale(&self, rows: &[usize], products: &mut [f32]) {
        if let Some(scales) = self.scales {
            products.iter_mut().zip(rows).for_each(|(product, &row)| *product *= scales[row]);
        }
    }
}

#[inline(always)]
fn floats<I: Products, S: Stored>(matrix: &Matrix<'_, S>, queries: &Queries, picks: Picks<'_>, best: &mut [Best]) {
    match best {
        [] => {}
        [_] => few::<I, S, 1>(matrix, queries, picks, best),
        best if best.len() <= TILE => few::<I, S, TILE>(matrix, queries, picks, best),
        best => together::<I, S>(matrix, queries, picks, best),
    }
}

/// The hits of up to `Q` queries, from rows as they lie in memory.
#[inline(always)]
fn few<I: Products, S: Stored, const Q: usize>(
    matrix: &Matrix<'_, S>,
    queries: &Queries,
    mut picks: Picks<'_>,
    best: &mut [Best],
) {
    let (mut rows, mut next) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    let ahead = if picks.are_all() { AHEAD_BYTES } else { 0 };
    let mut scores = [[0.0; BLOCK]; Q];
    picks.fill(&mut rows, BLOCK);
    while !rows.is_empty() {
        picks.fill(&mut next, BLOCK);
        let mut far = next.chunks(TILE);
        for (place, rows) in rows.chunks(TILE).enumerate() {
            if ahead == 0 {
                far.next().unwrap_or_default().iter().for_each(|&row| I::prefetch(matrix.row(row)));
            }
            put(&mut scores, place, &I::rows::<S, Q>(matrix.tile(rows), queries.lanes(), ahead));
        }
        offer(matrix, picks.first(), &rows, &mut scores, best);
        mem::swap(&mut rows, &mut next);
    }
}

/// Puts the products of a tile where the scores of its rows go.
#[inline(always)]
fn put<const Q: usize>(scores: &mut [[f32; BLOCK]; Q], place: usize, products: &[[f32; TILE]; Q]) {
    for (scores, products) in scores.iter_mut().zip(products) {
        scores[place * TILE..][..TILE].copy_from_slice(products);
    }
}

/// Offers each query the scores of rows.
#[inline(always)]
fn offer<S: Stored>(
    matrix: &Matrix<'_, S>,
    first: u64,
    rows: &[usize],
    scores: &mut [[f32; BLOCK]],
    best: &mut [Best],
) {
    for (best, scores) in best.iter_mut().zip(scores) {
        let scores = &mut scores[..rows.len()];
        matrix.scale(rows, scores);
        best.offer(first, rows, scores);
    }
}

/// The hits of many queries, in tiles of four, from blocks of rows made f32.
#[inline(always)]
fn together<I: Products, S: Stored>(
    matrix: &Matrix<'_, S>,
    queries: &Queries,
    mut picks: Picks<'_>,
    best: &mut [Best],
) {
    let tile = queries.tile();
    let limit = (SHARED_BYTES / (tile * size_of::<Lanes>())).clamp(1, BLOCK / TILE) * TILE;
    let mut shared = vec![Lanes::default(); limit / TILE * tile];
    let ahead = if picks.are_all() { AHEAD_BYTES } else { 0 };
    let (mut rows, mut next) = (Vec::with_capacity(limit), Vec::with_capacity(limit));
    picks.fill(&mut rows, limit);
    while !rows.is_empty() {
        picks.fill(&mut next, limit);
        for (rows, shared) in rows.chunks(TILE).zip(shared.chunks_exact_mut(tile)) {
            I::widen::<S>(matrix.tile(rows), shared, ahead);
        }
        // Each tile asks for its share of the next rows, which come nearer while these are multiplied.
        let tiles = rows.len().div_ceil(TILE) * best.len().div_ceil(TILE);
        let mut shares = next.chunks(next.len().div_ceil(tiles).max(1));
        for (queries, best) in queries.lanes().chunks_exact(tile).zip(best.chunks_mut(TILE)) {
            let mut scores = [[0.0; BLOCK]; TILE];
            for (place, shared) in shared.chunks_exact(tile).take(rows.len().div_ceil(TILE)).enumerate() {
                shares.next().unwrap_or_default().iter().for_each(|&row| I::prefetch(matrix.row(row)));
                put(&mut scores, place, &I::tile(shared, queries));
            }
            offer(matrix, picks.first(), &rows, &mut scores, best);
        }
        mem::swap(&mut rows, &mut next);
    }
}

#[cfg(test)]
mod tests;

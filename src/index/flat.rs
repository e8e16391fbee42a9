//! Looking at every vector: exact search straight over the memory-mapped files, with no copy of them, and so the measure of
//! every other index.
//!
//! The arithmetic is the crate `kernel`'s; a score is a function of the two vectors alone, ties go to the lower row, and
//! so the answer is the same however rows are spread over threads.

use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float16Type, Float32Type, Int8Type, UInt8Type, UInt16Type};
use rayon::prelude::*;
use sciembed_kernel::Level;
use sciembed_kernel::scan::{self, Best, Queries};
pub use sciembed_kernel::scan::{Hit, Rows};

use crate::encoding::{SetDtype, decode};
use crate::table;

/// Rows that one task looks at: some megabytes.
const TASK_ROWS: usize = 8192;

/// The vectors of a dataset, where they lie.
pub struct Vectors<'a> {
    dim: usize,
    dtype: SetDtype,
    /// Each with its first row and the number of its rows.
    blocks: Vec<(usize, usize, Rows<'a>)>,
}

impl<'a> Vectors<'a> {
    /// The vectors of these batches, each with its first row; none if they lie otherwise than `dim` and `dtype` say.
    pub fn of(batches: &'a [(usize, RecordBatch)], dim: usize, dtype: SetDtype) -> Option<Self> {
        let block =
            |(first, batch): &'a (usize, RecordBatch)| Some((*first, batch.num_rows(), rows(batch, dim, dtype)?));
        Some(Self { dim, dtype, blocks: batches.iter().map(block).collect::<Option<_>>()? })
    }

    /// The `k` rows with the largest inner products with each query, best first, of those whose bits are set.
    ///
    /// # Panics
    /// If a query has not `dim` components.
    pub fn nearest(&self, queries: &[Vec<f32>], k: usize, allowed: Option<&[u64]>) -> Vec<Vec<Hit>> {
        let none = || vec![Best::new(k); queries.len()];
        let components: Vec<f32> = queries.concat();
        let queries = Queries::new(&components, self.dim);
        let best = self.tasks().into_par_iter().fold(none, |mut best, (first, rows)| {
            scan::search(Level::best(), &rows, &queries, first as u64, allowed, &mut best);
            best
        });
        let best = best.reduce(none, |mut all, some| {
            all.iter_mut().zip(some).for_each(|(all, some)| all.merge(some));
            all
        });
        best.into_iter().map(Best::into_hits).collect()
    }

    /// The `k` of these rows with the largest inner products with a query, best first.
    pub fn best_of(&self, query: &[f32], rows: &[usize], k: usize) -> Vec<Hit> {
        let queries = Queries::new(query, self.dim);
        let mut best = [Best::new(k)];
        for &row in rows {
            if let Some((rows, _)) = self.at(row) {
                scan::search(Level::best(), &rows, &queries, row as u64, None, &mut best);
            }
        }
        let [best] = best;
        best.into_hits()
    }

    /// The components of rows, `n x dim`.
    pub fn floats(&self, rows: Range<usize>) -> Vec<f32> {
        let mut floats = Vec::with_capacity(rows.len() * self.dim);
        for row in rows {
            let Some((rows, scale)) = self.at(row) else { break };
            let bytes: &[u8] = match &rows {
                Rows::F32(values) => bytemuck::cast_slice(values),
                Rows::F16(values) | Rows::Bf16(values) => bytemuck::cast_slice(values),
                Rows::I8 { codes, .. } => bytemuck::cast_slice(codes),
                Rows::Bits(bytes) => bytes,
            };
            floats.extend(decode(bytes, scale, self.dtype, self.dim));
        }
        floats
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.blocks.last().map_or(0, |(first, count, _)| first + count)
    }

    /// One row, and its scale.
    fn at(&self, row: usize) -> Option<(Rows<'a>, f32)> {
        let after = self.blocks.partition_point(|(first, ..)| *first <= row);
        let (first, count, rows) = &self.blocks[after.checked_sub(1)?];
        let at = (row - first < *count).then_some(row - first)?;
        let scale = if let Rows::I8 { scales, .. } = rows { scales[at] } else { 1.0 };
        Some((slice(rows, at, at + 1, self.dtype.elements(self.dim)), scale))
    }

    fn tasks(&self) -> Vec<(usize, Rows<'a>)> {
        let mut tasks = Vec::new();
        for (first, count, rows) in &self.blocks {
            for start in (0..*count).step_by(TASK_ROWS) {
                let end = (start + TASK_ROWS).min(*count);
                tasks.push((first + start, slice(rows, start, end, self.dtype.elements(self.dim))));
            }
        }
        tasks
    }
}

/// Rows `start..end` of some, whose vectors have so many elements.
fn slice<'a>(rows: &Rows<'a>, start: usize, end: usize, elements: usize) -> Rows<'a> {
    let of = start * elements..end * elements;
    match rows {
        Rows::F32(rows) => Rows::F32(&rows[of]),
        Rows::F16(rows) => Rows::F16(&rows[of]),
        Rows::Bf16(rows) => Rows::Bf16(&rows[of]),
        Rows::I8 { codes, scales } => Rows::I8 { codes: &codes[of], scales: &scales[start..end] },
        Rows::Bits(rows) => Rows::Bits(&rows[of]),
    }
}

/// The vectors of a batch.
fn rows(batch: &RecordBatch, dim: usize, dtype: SetDtype) -> Option<Rows<'_>> {
    let lists = batch.column_by_name(table::EMBEDDING)?.as_fixed_size_list_opt()?;
    let values = lists.values();
    if values.len() != batch.num_rows() * dtype.elements(dim) {
        return None;
    }
    Some(match dtype {
        SetDtype::F32 => Rows::F32(values.as_primitive_opt::<Float32Type>()?.values()),
        SetDtype::F16 => Rows::F16(bytemuck::cast_slice(values.as_primitive_opt::<Float16Type>()?.values())),
        SetDtype::Bf16 => Rows::Bf16(values.as_primitive_opt::<UInt16Type>()?.values()),
        SetDtype::I8 => Rows::I8 {
            codes: values.as_primitive_opt::<Int8Type>()?.values(),
            scales: batch.column_by_name(table::SCALE)?.as_primitive_opt::<Float32Type>()?.values(),
        },
        SetDtype::Binary => Rows::Bits(values.as_primitive_opt::<UInt8Type>()?.values()),
    })
}

//! The innermost products of a search, in registers: four rows with one query, or with four.
//!
//! Each sum is kept in sixteen lanes whatever the width of registers, and folded as [`crate::lanes`] does.
//! Here is what every processor does; `products/x86.rs` does the same in vector instructions.

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::lanes::{LANES, fold};
use crate::tile::Portable;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::Loads;

/// Rows, and queries, of a tile: sixteen sums, each in a register of AVX-512.
pub(super) const TILE: usize = 4;

/// Sixteen components, where a register loads them fastest.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub [f32; LANES]);

/// A type that components are stored in, each of which is a number of f32.
pub(super) trait Stored: Loads {
    /// The component's value.
    fn value(raw: Self::Raw) -> f32;
}

/// Components of f32.
pub(super) struct F32;
/// Components of binary16.
pub(super) struct F16;
/// Components of bfloat16.
pub(super) struct Bf16;
/// Codes of int8.
pub(super) struct I8;

impl Stored for F32 {
    #[inline(always)]
    fn value(raw: f32) -> f32 {
        raw
    }
}

impl Stored for F16 {
    #[inline(always)]
    fn value(raw: u16) -> f32 {
        // The exponent is 112 too low, which a product puts right for the subnormal numbers as well.
        let finite = f32::from_bits(u32::from(raw & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        let special = if raw & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(finite.to_bits() | special | u32::from(raw & 0x8000) << 16)
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    fn value(raw: u16) -> f32 {
        f32::from_bits(u32::from(raw) << 16)
    }
}

impl Stored for I8 {
    #[inline(always)]
    fn value(raw: i8) -> f32 {
        f32::from(raw)
    }
}

/// One kind of instructions.
pub(super) trait Products {
    /// The products of each of `Q` queries with four rows of as many components, of which the queries have the first lanes
    /// of each, then the second ones, the last filled up. What lies so many bytes ahead of the rows is asked for meanwhile.
    fn rows<S: Stored, const Q: usize>(rows: [&[S::Raw]; TILE], queries: &[Lanes], ahead: usize) -> [[f32; TILE]; Q];

    /// The products of each of four queries with four rows: the first lanes of each, then the second ones, of both.
    fn tile(rows: &[Lanes], queries: &[Lanes]) -> [[f32; TILE]; TILE];

    /// Four rows as [`Products::tile`] reads them. What lies so many bytes ahead is asked for meanwhile.
    fn widen<S: Stored>(rows: [&[S::Raw]; TILE], lanes: &mut [Lanes], ahead: usize);

    /// Asks for a row that will be read soon.
    #[inline(always)]
    fn prefetch<T>(_row: &[T]) {}
}

/// Not inlined: in a function of their own the sums stay in registers where LLVM has 32 of 128 bits (NEON).
impl Products for Portable {
    #[inline(never)]
    fn rows<S: Stored, const Q: usize>(rows: [&[S::Raw]; TILE], queries: &[Lanes], _ahead: usize) -> [[f32; TILE]; Q] {
        let queries = queries.as_chunks::<Q>().0;
        let mut products = [[0.0; TILE]; Q];
        for (place, row) in rows.into_iter().enumerate() {
            let mut sums = [[0.0; LANES]; Q];
            let (whole, rest) = row.as_chunks::<LANES>();
            for (components, queries) in whole.iter().zip(queries) {
                add_each(&mut sums, &components.map(S::value), queries);
            }
            if !rest.is_empty() {
                add_each(&mut sums, &lanes_of::<S>(rest).0, &queries[whole.len()]);
            }
            for (products, sums) in products.iter_mut().zip(sums) {
                products[place] = fold(sums, |a, b| a + b);
            }
        }
        products
    }

    #[inline(never)]
    fn tile(rows: &[Lanes], queries: &[Lanes]) -> [[f32; TILE]; TILE] {
        let mut products = [[0.0; TILE]; TILE];
        // A query at a time, whose sums of four rows take sixteen registers.
        for (place, products) in products.iter_mut().enumerate() {
            let mut sums = [[0.0; LANES]; TILE];
            for (rows, queries) in rows.as_chunks::<TILE>().0.iter().zip(queries.as_chunks::<TILE>().0) {
                for (sums, row) in sums.iter_mut().zip(rows) {
                    add(sums, &row.0, &queries[place].0);
                }
            }
            for (product, sums) in products.iter_mut().zip(sums) {
                *product = fold(sums, |a, b| a + b);
            }
        }
        products
    }

    #[inline(always)]
    fn widen<S: Stored>(rows: [&[S::Raw]; TILE], lanes: &mut [Lanes], _ahead: usize) {
        for (place, row) in rows.into_iter().enumerate() {
            for (components, lanes) in row.chunks(LANES).zip(lanes.as_chunks_mut::<TILE>().0) {
                lanes[place] = lanes_of::<S>(components);
            }
        }
    }
}

/// Adds the products of sixteen components, each to its lane.
#[inline(always)]
fn add(sums: &mut [f32; LANES], row: &[f32; LANES], query: &[f32; LANES]) {
    for lane in 0..LANES {
        sums[lane] = row[lane].mul_add(query[lane], sums[lane]);
    }
}

/// The same of a row with some queries.
#[inline(always)]
fn add_each<const Q: usize>(sums: &mut [[f32; LANES]; Q], row: &[f32; LANES], queries: &[Lanes; Q]) {
    for (sums, query) in sums.iter_mut().zip(queries) {
        add(sums, row, &query.0);
    }
}

/// Up to sixteen components, filled up with zeros.
#[inline(always)]
fn lanes_of<S: Stored>(components: &[S::Raw]) -> Lanes {
    let mut lanes = Lanes::default();
    for (lane, component) in lanes.0.iter_mut().zip(components) {
        *lane = S::value(*component);
    }
    lanes
}

/// How components are loaded: by their value alone.
#[cfg(not(target_arch = "x86_64"))]
pub(super) trait Loads {
    /// What is stored.
    type Raw: Copy + Default;
}

#[cfg(not(target_arch = "x86_64"))]
mod plain {
    impl super::Loads for super::F32 {
        type Raw = f32;
    }
    impl super::Loads for super::F16 {
        type Raw = u16;
    }
    impl super::Loads for super::Bf16 {
        type Raw = u16;
    }
    impl super::Loads for super::I8 {
        type Raw = i8;
    }
}

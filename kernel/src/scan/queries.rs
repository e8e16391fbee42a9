//! Queries as the products read them: in lanes, four queries together, and their signs in words.

use super::products::{Lanes, TILE};
use crate::lanes::LANES;

/// What rows are searched for.
#[derive(Clone, Debug)]
pub struct Queries {
    dim: usize,
    count: usize,
    /// One query, or tiles of four: the first lanes of each, then the second ones.
    lanes: Vec<Lanes>,
    /// The signs of each query, as [`super::Rows::Bits`] has them, eight bytes a word.
    signs: Vec<u64>,
}

impl Queries {
    /// Prepares queries of `dim` components, one after another.
    ///
    /// # Panics
    /// Where there are no components, or a part of a query.
    pub fn new(queries: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && queries.len().is_multiple_of(dim), "queries of {dim} components");
        let count = queries.len() / dim;
        let together = if count == 1 { 1 } else { TILE };
        let signs = queries.chunks_exact(dim).flat_map(signs).collect();
        Self { dim, count, lanes: lanes(queries, dim, together), signs }
    }

    /// The components of each.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// All, in tiles.
    #[inline(always)]
    pub(super) fn lanes(&self) -> &[Lanes] {
        &self.lanes
    }

    /// The lanes of a tile of several.
    pub(super) fn tile(&self) -> usize {
        self.dim.div_ceil(LANES) * TILE
    }

    /// The signs of each.
    pub(super) fn signs(&self) -> impl Iterator<Item = &[u64]> {
        self.signs.chunks_exact(self.dim.div_ceil(64))
    }
}

fn lanes(queries: &[f32], dim: usize, together: usize) -> Vec<Lanes> {
    let chunks = dim.div_ceil(LANES);
    let mut lanes = vec![Lanes::default(); (queries.len() / dim).next_multiple_of(together) * chunks];
    for (query, components) in queries.chunks_exact(dim).enumerate() {
        let (tile, place) = (query / together, query % together);
        for (chunk, components) in components.chunks(LANES).enumerate() {
            lanes[(tile * chunks + chunk) * together + place].0[..components.len()].copy_from_slice(components);
        }
    }
    lanes
}

/// The signs of a query in words.
fn signs(query: &[f32]) -> impl Iterator<Item = u64> {
    query.chunks(64).map(|components| {
        let bits = components.iter().enumerate().filter(|(_, component)| **component > 0.0);
        // The first component is the highest bit of the first byte.
        u64::from_le_bytes(bits.map(|(at, _)| 1 << (63 - at)).sum::<u64>().to_be_bytes())
    })
}

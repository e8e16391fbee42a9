//! Which index suits how many rows, in how many bytes. Pure: the numbers come from Faiss' guidelines and from
//! `benches/recall.rs`.

use crate::factory::{Codes, Factory, Search};
use crate::index::Parameters;

/// Rows below which no index is worth its bytes: a scan of 20,000 vectors of 384 f16 reads 15 MB, in about a millisecond.
pub const WORTH_AN_INDEX: usize = 20_000;
/// Most that a sample may take in memory: half of the two gigabytes in which an index is to be built.
const SAMPLE_BYTES: usize = 1 << 30;
/// Vectors of the sample for each list. Faiss wants 39 to 256; beyond 64 no more was found in the bench.
const SAMPLE_PER_LIST: usize = 64;

/// Blocks below which a product code tells too little apart.
const LEAST_BLOCKS: usize = 8;

/// An index, how to train it and how to search in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The index.
    pub factory: Factory,
    /// Vectors to train it on.
    pub sample_rows: usize,
    /// How thoroughly to search in it.
    pub parameters: Parameters,
    /// Hits to ask for, and to score anew by the vectors, where ten are wanted; in proportion where more are.
    pub candidates: usize,
}

/// Chooses an index for `rows` vectors of `dim` numbers that takes at most `row_bytes` of each row, all its parts counted.
/// `None` where a scan is the better index: for few rows, or where no code fits.
///
/// - Lists: about `4 sqrt(rows)`, a power of two. A search compares a query with every centroid, then with the rows of some
///   lists, and both take the same time at a multiple of the root; Faiss' guidelines say 4 to 16 of it ("Guidelines to
///   choose an index", Faiss' wiki). The least of that, for training takes time and memory by the square of it.
/// - Codes: the longest product codes that fit, of 3 to 8 numbers a byte. Longer ones (SQ8) find no more, and are taken only
///   where vectors cannot be cut. Shorter ones cost candidates, each a page to read where vectors lie on a disk.
/// - No rotation (OPQ): a model's numbers are mixed already, and rotations are learned for minutes.
/// - No graph: HNSW takes 272 bytes a row beyond the codes, and is built by one thread.
///
/// Over a million vectors like MiniLM's (`benches/recall.rs`), `nprobe` 64 of 4096 lists, this finds 0.99 of the ten
/// nearest: 0.994 with 3 numbers a byte, 0.994 with 4, 0.991 with 6.
pub fn choose(rows: usize, dim: usize, row_bytes: usize) -> Option<Choice> {
    if rows < WORTH_AN_INDEX {
        return None;
    }
    let lists = lists(rows);
    let fits = |codes: &Codes| {
        let factory = Factory { search: Search::Ivf { lists, rotated: None }, codes: *codes };
        factory.row_bytes(dim) + factory.fixed_bytes(dim).div_ceil(rows) <= row_bytes
    };
    let cuts = (3..=8).filter(|numbers| dim.is_multiple_of(*numbers) && dim / numbers >= LEAST_BLOCKS);
    let codes = cuts.map(|numbers| Codes::Pq { blocks: dim / numbers }).chain([Codes::Sq8]).find(fits)?;
    let factory = Factory { search: Search::Ivf { lists, rotated: None }, codes };
    Some(Choice {
        factory,
        sample_rows: sample_rows(&factory, rows, dim),
        parameters: Parameters { nprobe: nprobe(lists), ..Parameters::default() },
        candidates: candidates(codes, dim),
    })
}

/// The power of two nearest to `4 sqrt(rows)`, by ratio.
fn lists(rows: usize) -> usize {
    let wanted = 4.0 * (rows as f64).sqrt();
    1 << (wanted.log2().round() as u32)
}

fn sample_rows(factory: &Factory, rows: usize, dim: usize) -> usize {
    let Search::Ivf { lists, .. } = factory.search else { return rows };
    // A codebook wants 256 vectors for each of its 256 centroids.
    let wanted = (SAMPLE_PER_LIST * lists).max(1 << 16);
    let least = *factory.sample_rows().start();
    wanted.min(SAMPLE_BYTES / (4 * dim)).max(least).min(rows)
}

/// Measured: 64 lists find 0.99 of the nearest among 11,000 rows (real ones), 200,000 and 1,000,000. A share of the lists
/// beyond that, to be safe: a neighbour is never farther away in more rows.
fn nprobe(lists: usize) -> usize {
    (lists / 64).max(64).min(lists)
}

/// Measured over a million rows: so many, and what is missed was not in the lists that were read.
fn candidates(codes: Codes, dim: usize) -> usize {
    match codes {
        Codes::Pq { blocks } => 100 * (dim / blocks).saturating_sub(2).max(1),
        _ => 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(rows: usize, dim: usize, row_bytes: usize) -> String {
        choose(rows, dim, row_bytes).map_or_else(|| "a scan".into(), |choice| choice.factory.to_string())
    }

    #[test]
    fn choices_by_rows_and_room() {
        assert_eq!(chosen(19_999, 384, 1000), "a scan");
        assert_eq!(chosen(20_000, 384, 190), "IVF512,PQ96np");
        assert_eq!(chosen(200_000, 384, 190), "IVF2048,PQ128np");
        assert_eq!(chosen(1_000_000, 384, 190), "IVF4096,PQ128np");
        assert_eq!(chosen(25_000_000, 384, 190), "IVF16384,PQ128np");
        assert_eq!(chosen(1_000_000, 384, 580), "IVF4096,PQ128np");
        assert_eq!(chosen(1_000_000, 384, 120), "IVF4096,PQ96np");
        assert_eq!(chosen(1_000_000, 384, 40), "a scan");
        assert_eq!(chosen(1_000_000, 768, 190), "IVF4096,PQ128np");
        assert_eq!(chosen(1_000_000, 97, 190), "IVF4096,SQ8");
    }

    /// Whatever is chosen can be trained, fits, and is built within the memory that there is.
    #[test]
    fn a_choice_keeps_what_it_promises() {
        for rows in [20_000, 50_000, 123_456, 1_000_000, 5_000_000, 30_000_000] {
            for dim in [32, 100, 384, 768, 1024] {
                for row_bytes in [60, 100, 190, 400, 2000] {
                    let Some(choice) = choose(rows, dim, row_bytes) else { continue };
                    let Choice { factory, sample_rows, parameters, candidates } = choice;
                    factory.check(dim).unwrap();
                    assert!(factory.row_bytes(dim) + factory.fixed_bytes(dim) / rows <= row_bytes, "{choice:?}");
                    assert!(factory.sample_rows().contains(&sample_rows) && sample_rows <= rows, "{choice:?}");
                    let Search::Ivf { lists, .. } = factory.search else { panic!("{choice:?}") };
                    let roots = lists as f64 / (rows as f64).sqrt();
                    assert!((2.8..=5.7).contains(&roots) && (1..=lists).contains(&parameters.nprobe), "{choice:?}");
                    assert!((100..=600).contains(&candidates), "{choice:?}");
                }
            }
        }
    }
}

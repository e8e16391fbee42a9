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

/// An index, how to train it and how to search in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The index.
    pub factory: Factory,
    /// Vectors to train it on.
    pub sample_rows: usize,
    /// How thoroughly to search in it.
    pub parameters: Parameters,
    /// Hits to ask for, and to score anew by the vectors, where ten are wanted.
    pub candidates: usize,
}

/// Chooses an index for `rows` vectors of `dim` numbers that takes at most `row_bytes` of each row, all its parts counted.
/// `None` where a scan is the better index: for few rows, or where no code fits.
///
/// - Lists: about `4 sqrt(rows)`, a power of two. A search compares a query with every centroid, then with the rows of some
///   lists, and both take the same time at a multiple of the root; Faiss' guidelines say 4 to 16 of it ("Guidelines to
///   choose an index", Faiss' wiki). The least of that, for training takes time and memory by the square of it.
/// - Codes: of those that fit, the longest. A byte a number (SQ8) where there is room, else product codes of 2 to 8
///   numbers a byte. A longer code needs fewer candidates.
/// - No rotation (OPQ): a model's numbers are mixed already, and rotations are learned for minutes.
/// - No graph: HNSW takes 272 bytes a row beyond the codes, and is built by one thread.
pub fn choose(rows: usize, dim: usize, row_bytes: usize) -> Option<Choice> {
    if rows < WORTH_AN_INDEX {
        return None;
    }
    let lists = lists(rows);
    let fits = |codes: &Codes| {
        let factory = Factory { search: Search::Ivf { lists, rotated: None }, codes: *codes };
        factory.row_bytes(dim) + factory.fixed_bytes(dim).div_ceil(rows) <= row_bytes
    };
    let product =
        (2..=8).filter(|numbers| dim.is_multiple_of(*numbers)).map(|numbers| Codes::Pq { blocks: dim / numbers });
    let codes = std::iter::once(Codes::Sq8).chain(product).find(fits)?;
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

/// Measured.
fn nprobe(lists: usize) -> usize {
    (lists / 32).max(16)
}

/// Measured: the fewer numbers share a byte, the better is the order in which hits come.
fn candidates(codes: Codes, dim: usize) -> usize {
    match codes {
        Codes::Pq { blocks } => 50 * (dim / blocks),
        _ => 50,
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
        assert_eq!(chosen(1_000_000, 384, 580), "IVF4096,SQ8");
        assert_eq!(chosen(1_000_000, 384, 120), "IVF4096,PQ96np");
        assert_eq!(chosen(1_000_000, 384, 40), "a scan");
        assert_eq!(chosen(1_000_000, 768, 190), "IVF4096,PQ128np");
        assert_eq!(chosen(1_000_000, 7, 190), "IVF4096,SQ8");
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
                    assert!((50..=400).contains(&candidates), "{choice:?}");
                }
            }
        }
    }
}

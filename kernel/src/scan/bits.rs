//! Products of signs: counts of those that differ, of a block of rows at once.

use super::picks::Picks;
use super::{BLOCK, Best, Queries};

/// Sixty-four signs of each row of a block.
type Words = [u64; BLOCK];

/// As [`super::search`] of [`super::Rows::Bits`].
#[inline(always)]
pub(super) fn search(bytes: &[u8], queries: &Queries, mut picks: Picks<'_>, best: &mut [Best]) {
    let dim = queries.dim();
    let width = dim.div_ceil(8);
    let signs = last_signs(dim);
    let mut rows = Vec::with_capacity(BLOCK);
    let mut words = vec![[0; BLOCK]; width.div_ceil(8)];
    while picks.fill(&mut rows, BLOCK) {
        for (place, &row) in rows.iter().enumerate() {
            read(&bytes[row * width..][..width], place, &mut words);
        }
        words[dim.div_ceil(64) - 1].iter_mut().for_each(|word| *word &= signs);
        for (query, best) in queries.signs().zip(best.iter_mut()) {
            let scores = differing(&words, query).map(|differing| (dim as i32 - 2 * differing as i32) as f32);
            best.offer(picks.first(), &rows, &scores[..rows.len()]);
        }
    }
}

/// The bits of the last word that stand for components.
fn last_signs(dim: usize) -> u64 {
    let beyond = dim.next_multiple_of(64) - dim;
    // The first component is the highest bit of the first byte.
    (u64::MAX << beyond).swap_bytes()
}

/// Puts a row at a place of the block.
#[inline(always)]
fn read(row: &[u8], place: usize, words: &mut [Words]) {
    let (whole, rest) = row.as_chunks();
    for (words, word) in words.iter_mut().zip(whole) {
        words[place] = u64::from_le_bytes(*word);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()][place] = u64::from_le_bytes(last);
    }
}

/// How many signs of each row are not the query's.
#[inline(always)]
fn differing(words: &[Words], query: &[u64]) -> [u64; BLOCK] {
    let mut counts = [0; BLOCK];
    for (words, query) in words.iter().zip(query) {
        for (count, word) in counts.iter_mut().zip(words) {
            *count += u64::from((word ^ query).count_ones());
        }
    }
    counts
}

//! Which rows to train on.

use fastrand::Rng;

/// Draws `wanted` of `rows` row numbers, each set as likely as any other, in ascending order: files are then read forward.
/// All of them, where there are no more.
///
/// Faiss starts its centroids at rows that it draws with a seed of its own; so this seed is the one that decides what an
/// index looks like.
///
/// By Floyd's method (Bentley and Floyd, "A sample of brilliance", CACM 30, 1987): as much memory as the sample takes.
pub fn sample(rows: usize, wanted: usize, seed: u64) -> Vec<usize> {
    if wanted >= rows {
        return (0..rows).collect();
    }
    let mut random = Rng::with_seed(seed);
    let mut drawn = std::collections::BTreeSet::new();
    for last in rows - wanted..rows {
        let row = random.usize(0..=last);
        drawn.insert(if drawn.contains(&row) { last } else { row });
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_what_was_asked_for_and_the_same_again() {
        for (rows, wanted) in [(0, 0), (0, 5), (5, 5), (5, 9), (10, 3), (1000, 999), (1_000_000, 100)] {
            let drawn = sample(rows, wanted, 7);
            assert_eq!(drawn.len(), wanted.min(rows));
            assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.last().is_none_or(|last| *last < rows));
            assert_eq!(drawn, sample(rows, wanted, 7));
        }
        assert_ne!(sample(1000, 10, 1), sample(1000, 10, 2));
    }

    #[test]
    fn every_row_is_as_likely() {
        let mut times = [0; 20];
        for seed in 0..4000 {
            sample(20, 5, seed).into_iter().for_each(|row| times[row] += 1);
        }
        assert!(times.iter().all(|times| (850..1150).contains(times)), "{times:?}: about 1,000 each");
    }
}

//! One order of several: reciprocal rank fusion.
//!
//! A paper's score is the sum of 1 / (60 + rank) over the lists that hold it, ranks from 1. Scores of the lists themselves are
//! not compared. Source: Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
//! learning methods", SIGIR 2009, with their constant.

use super::{Hit, best};

/// Keeps the first places from deciding alone.
const RANK_OFFSET: f32 = 60.0;

/// The best `k` of several lists, each best first.
pub fn fuse(lists: &[Vec<Hit>], k: usize) -> Vec<Hit> {
    let mut fused: Vec<Hit> = Vec::new();
    for list in lists {
        for (at, hit) in list.iter().enumerate() {
            let score = 1.0 / (RANK_OFFSET + at as f32 + 1.0);
            match fused.iter_mut().find(|known| known.bibcode == hit.bibcode) {
                Some(known) => known.score += score,
                None => fused.push(Hit { score, ..hit.clone() }),
            }
        }
    }
    best(fused, k)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bibcodes: &[&str]) -> Vec<Hit> {
        let hit = |(row, bibcode): (usize, &&str)| Hit { dataset: 0, row, bibcode: (*bibcode).to_owned(), score: 9.0 };
        bibcodes.iter().enumerate().map(hit).collect()
    }

    #[test]
    fn what_both_lists_hold_comes_first() {
        let fused = fuse(&[list(&["a", "b", "c"]), list(&["d", "c"])], 3);
        let told: Vec<(&str, f32)> = fused.iter().map(|hit| (hit.bibcode.as_str(), hit.score)).collect();
        assert_eq!(told, [("c", 1.0 / 63.0 + 1.0 / 62.0), ("a", 1.0 / 61.0), ("d", 1.0 / 61.0)]);
    }
}

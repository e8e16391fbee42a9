//! The best hits of a query so far: a heap with the worst on top, which few rows ever reach.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and its inner product with the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row's number.
    pub row: u64,
    /// The inner product; never NaN.
    pub score: f32,
}

/// The better hit is the lesser, so that the worst is on top of a heap: a higher score is better, then a lower row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ranked(Hit);

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        // No score is NaN, and the two zeros are equal.
        let by_score = other.0.score.partial_cmp(&self.0.score).unwrap_or(Ordering::Equal);
        by_score.then(self.0.row.cmp(&other.0.row))
    }
}

/// Up to k hits of one query. Which they are does not depend on the order in which rows are offered.
#[derive(Clone, Debug)]
pub struct Best {
    k: usize,
    hits: BinaryHeap<Ranked>,
}

impl Best {
    /// None yet, of `k`.
    pub fn new(k: usize) -> Self {
        Self { k, hits: BinaryHeap::new() }
    }

    /// Takes a hit if it is one of the best. A score that is no number is none.
    pub fn push(&mut self, hit: Hit) {
        if hit.score.is_nan() {
            return;
        }
        if self.hits.len() < self.k {
            self.hits.push(Ranked(hit));
        } else if let Some(mut worst) = self.hits.peek_mut()
            && Ranked(hit) < *worst
        {
            *worst = Ranked(hit);
        }
    }

    /// Takes the hits of other rows of the same query.
    pub fn merge(&mut self, other: Self) {
        other.hits.into_iter().for_each(|hit| self.push(hit.0));
    }

    /// The hits, by descending score, then by ascending row.
    pub fn into_hits(self) -> Vec<Hit> {
        self.hits.into_sorted_vec().into_iter().map(|hit| hit.0).collect()
    }

    /// Takes what is good enough of the scores of `rows`, which ascend and are numbered from `first`.
    #[inline(always)]
    pub(super) fn offer(&mut self, first: u64, rows: &[usize], scores: &[f32]) {
        let better = match self.gate(first + rows[0] as u64) {
            Some(gate) => scores.iter().map(|&score| u32::from(score > gate)).sum(),
            None => 1,
        };
        if better > 0 {
            self.take(first, rows, scores);
        }
    }

    /// What a score must exceed from row `from` on, once there are k hits.
    fn gate(&self, from: u64) -> Option<f32> {
        let worst = self.hits.peek().filter(|_| self.hits.len() == self.k)?.0;
        // An equal score is a hit only in a lower row; below the least of all is none.
        match worst.row < from {
            true => Some(worst.score),
            false => Some(worst.score.next_down()).filter(|gate| *gate < worst.score),
        }
    }

    #[cold]
    #[inline(never)]
    fn take(&mut self, first: u64, rows: &[usize], scores: &[f32]) {
        for (&row, &score) in rows.iter().zip(scores) {
            self.push(Hit { row: first + row as u64, score });
        }
    }
}

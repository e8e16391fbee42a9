//! The best of what was seen so far, of one query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row's number.
    pub row: u64,
    /// Its score; a larger one is better.
    pub score: f32,
}

/// The `k` best hits: of the highest scores, and of equal ones the lowest rows, in whatever order they come.
#[derive(Clone, Debug)]
pub struct Best {
    k: usize,
    /// The worst on top.
    heap: BinaryHeap<Worst>,
    /// What is below this is not among the best.
    floor: f32,
}

/// A hit, ordered so that the worst is the greatest.
#[derive(Clone, Copy, Debug)]
struct Worst(Hit);

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.score.total_cmp(&self.0.score).then(self.0.row.cmp(&other.0.row))
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Worst {}

impl Best {
    /// The best `k`, none of them seen yet.
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new(), floor: f32::NEG_INFINITY }
    }

    /// Takes a hit in. One whose score is no number is never among the best.
    #[inline]
    pub fn push(&mut self, hit: Hit) {
        // Not "below the floor", which no number would not be either.
        if hit.score >= self.floor {
            self.take(hit);
        }
    }

    fn take(&mut self, Hit { row, score }: Hit) {
        // There is one zero: -0 + 0 = 0.
        self.heap.push(Worst(Hit { row, score: score + 0.0 }));
        if self.heap.len() > self.k {
            self.heap.pop();
        }
        if self.heap.len() == self.k {
            self.floor = self.heap.peek().map_or(f32::INFINITY, |worst| worst.0.score);
        }
    }

    /// Takes in what another one has seen.
    pub fn merge(&mut self, other: Self) {
        other.heap.into_iter().for_each(|Worst(hit)| self.push(hit));
    }

    /// What was seen, the best first.
    pub fn into_hits(self) -> Vec<Hit> {
        self.heap.into_sorted_vec().into_iter().map(|Worst(hit)| hit).collect()
    }
}

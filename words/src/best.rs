//! The best hits among many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: u32,
    /// Its BM25 score, above 0. Scores of different questions or indexes cannot be compared.
    pub score: f32,
}

impl Hit {
    /// Better hits first: higher scores, then smaller rows.
    fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Keeps the best hits that are offered, the worst of them on top.
pub(crate) struct Best {
    wanted: usize,
    heap: BinaryHeap<Kept>,
}

struct Kept(Hit);

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}

impl Best {
    pub(crate) fn new(wanted: usize) -> Self {
        Self { wanted, heap: BinaryHeap::new() }
    }

    pub(crate) fn offer(&mut self, hit: Hit) {
        self.heap.push(Kept(hit));
        if self.heap.len() > self.wanted {
            self.heap.pop();
        }
    }

    /// The score that a hit must reach, once there are as many as are wanted.
    pub(crate) fn bar(&self) -> Option<f32> {
        (self.heap.len() >= self.wanted).then(|| self.heap.peek().map(|worst| worst.0.score)).flatten()
    }

    pub(crate) fn into_hits(self) -> Vec<Hit> {
        self.heap.into_sorted_vec().into_iter().map(|kept| kept.0).collect()
    }
}

//! The windows of long texts: where they are cut, which text each belongs to, and one vector out of theirs.
//!
//! A text that fits is one window, and its vector is that window's, bit for bit. Otherwise it is the mean of the windows'
//! vectors, weighted by their tokens, and scaled to length 1 where theirs are. Windows may come back in any order; they
//! are added in the text's own, so that the sum does not show it.

use std::ops::Range;

use super::pooling::normalize;
use super::{Embedding, Tokens};

/// Windows of `room` tokens over so many in all, each of which shares `overlap` with the one before it. Before every window
/// but the first the `prompt` first tokens are put once more, and take of its room; the last one is what is left.
pub(super) fn parts(tokens: usize, room: usize, prompt: usize, overlap: usize) -> Vec<Range<usize>> {
    let room = room - prompt;
    // At least one token further each time.
    let step = room.saturating_sub(overlap).max(1);
    let ends_before = |start: usize| start == prompt || start - step + room < tokens;
    let starts = (prompt..).step_by(step).take_while(|start| ends_before(*start));
    let mut parts: Vec<Range<usize>> = starts.map(|start| start..(start + room).min(tokens)).collect();
    parts[0].start = 0;
    parts
}

/// The windows of some texts, one text behind the other.
pub(super) struct Windows {
    /// The tokens of each window.
    pub tokens: Vec<Tokens>,
    /// Of each window, its text.
    pub texts: Vec<usize>,
    /// Of each text, its windows.
    ranges: Vec<Range<usize>>,
}

impl Windows {
    /// The windows of texts, each of which has one or more.
    pub fn of(texts: Vec<Vec<Tokens>>) -> Self {
        let mut windows = Self { tokens: Vec::with_capacity(texts.len()), texts: Vec::new(), ranges: Vec::new() };
        for (text, tokens) in texts.into_iter().enumerate() {
            let first = windows.tokens.len();
            windows.texts.resize(first + tokens.len(), text);
            windows.tokens.extend(tokens);
            windows.ranges.push(first..windows.tokens.len());
        }
        windows
    }

    /// Of each window, its number of tokens.
    pub fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(|tokens| tokens.ids.len()).collect()
    }
}

/// Gathers the vectors of windows until a text has all of its own.
pub(super) struct Gathered<'a> {
    windows: &'a Windows,
    /// Whether vectors have length 1.
    normalized: bool,
    /// Vectors that wait for the others of their text.
    waiting: Vec<Option<Vec<f32>>>,
}

impl<'a> Gathered<'a> {
    pub fn new(windows: &'a Windows, normalized: bool) -> Self {
        Self { windows, normalized, waiting: vec![None; windows.tokens.len()] }
    }

    /// Takes the vector of a window; gives the text and its result if that was the last one.
    pub fn take(&mut self, window: usize, vector: Vec<f32>) -> Option<(usize, Embedding)> {
        let text = self.windows.texts[window];
        let range = self.windows.ranges[text].clone();
        if range.len() == 1 {
            return Some((text, self.embedding(range, vector)));
        }
        self.waiting[window] = Some(vector);
        let all = self.waiting[range.clone()].iter().all(Option::is_some);
        all.then(|| (text, self.mean(range)))
    }

    fn mean(&mut self, range: Range<usize>) -> Embedding {
        let mut sums = Vec::new();
        let mut total = 0.0;
        for window in range.clone() {
            let vector = self.waiting[window].take().unwrap_or_default();
            let weight = self.windows.tokens[window].ids.len() as f64;
            sums.resize(vector.len(), 0.0);
            sums.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * f64::from(value));
            total += weight;
        }
        let mut vector: Vec<f32> = sums.into_iter().map(|sum| (sum / total) as f32).collect();
        if self.normalized {
            normalize(&mut vector);
        }
        self.embedding(range, vector)
    }

    fn embedding(&self, range: Range<usize>, vector: Vec<f32>) -> Embedding {
        let count = |of: fn(&Tokens) -> usize| {
            let sum: usize = self.windows.tokens[range.clone()].iter().map(of).sum();
            u32::try_from(sum).unwrap_or(u32::MAX)
        };
        Embedding { vector, tokens: count(|tokens| tokens.ids.len()), tokens_dropped: count(|tokens| tokens.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_to_the_end() {
        assert_eq!(parts(10, 5, 0, 1), [0..5, 4..9, 8..10]);
        assert_eq!(parts(9, 5, 0, 1), [0..5, 4..9]);
        assert_eq!(parts(11, 6, 1, 1), [0..6, 5..10, 9..11]);
        assert_eq!(parts(4, 2, 1, 1), [0..2, 2..3, 3..4]);
    }

    proptest::proptest! {
        /// All tokens are read, none is skipped, and a window is full unless it is the last.
        #[test]
        fn windows_cover_a_text(prompt in 0_usize..5, more in 1_usize..40, overlap in 0_usize..30, over in 1_usize..200) {
            let room = prompt + more;
            let parts = parts(room + over, room, prompt, overlap);
            proptest::prop_assert_eq!(parts[0].clone(), 0..room);
            proptest::prop_assert_eq!(parts.last().unwrap().end, room + over);
            for pair in parts.windows(2) {
                let shared = overlap.min(more - 1);
                proptest::prop_assert_eq!(pair[1].start, pair[0].end - shared);
                proptest::prop_assert!(pair[1].end > pair[0].end && pair[1].len() <= more);
                proptest::prop_assert!(pair[1].len() == more || pair[1].end == room + over);
            }
        }
    }

    fn tokens(length: usize, dropped: usize) -> Tokens {
        Tokens { ids: vec![0; length], type_ids: vec![0; length], dropped }
    }

    #[test]
    fn a_text_that_fits_keeps_its_windows_vector() {
        let windows = Windows::of(vec![vec![tokens(3, 2)]]);
        let (text, embedding) = Gathered::new(&windows, true).take(0, vec![0.1, 0.7]).unwrap();
        assert_eq!((text, embedding), (0, Embedding { vector: vec![0.1, 0.7], tokens: 3, tokens_dropped: 2 }));
    }

    #[test]
    fn windows_are_weighted_by_their_tokens_in_any_order() {
        let windows = Windows::of(vec![vec![tokens(1, 0)], vec![tokens(3, 0), tokens(1, 0)]]);
        assert_eq!((windows.lengths(), &windows.texts[..]), (vec![1, 3, 1], &[0, 1, 1][..]));
        for order in [[1, 2], [2, 1]] {
            let mut gathered = Gathered::new(&windows, false);
            let vector = |window: usize| if window == 1 { vec![1.0, 0.0] } else { vec![0.0, 1.0] };
            assert!(gathered.take(order[0], vector(order[0])).is_none());
            let (text, embedding) = gathered.take(order[1], vector(order[1])).unwrap();
            assert_eq!((text, embedding), (1, Embedding { vector: vec![0.75, 0.25], tokens: 4, tokens_dropped: 0 }));
        }
        let mut gathered = Gathered::new(&windows, true);
        assert!(gathered.take(1, vec![0.6, 0.8]).is_none());
        assert_eq!(gathered.take(2, vec![0.6, 0.8]).unwrap().1.vector, [0.6, 0.8]);
    }
}

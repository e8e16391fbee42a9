//! Which rows of a set a merge leaves out: a bit a row, and how many come before any row in constant time.

use std::ops::Range;

const WORD: usize = u64::BITS as usize;

/// The rows of one set that are left out.
#[derive(Clone, Debug)]
pub struct LeftOut {
    rows: usize,
    words: Vec<u64>,
    /// Rows left out before each word, and in all at the end.
    before: Vec<usize>,
}

impl LeftOut {
    /// None of this many rows.
    pub fn none(rows: usize) -> Self {
        let words = vec![0; rows.div_ceil(WORD)];
        Self { rows, before: vec![0; words.len() + 1], words }
    }

    /// The rows of the set, left out or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Leaves a row out. Call [`Self::count`] before asking how many there are.
    pub fn add(&mut self, row: usize) {
        self.words[row / WORD] |= 1 << (row % WORD);
    }

    /// Counts what was added.
    pub fn count(&mut self) {
        let mut sum = 0;
        for (before, word) in self.before.iter_mut().zip(self.words.iter().chain([&0])) {
            *before = sum;
            sum += word.count_ones() as usize;
        }
    }

    /// Whether a row is left out.
    pub fn contains(&self, row: usize) -> bool {
        self.words[row / WORD] >> (row % WORD) & 1 == 1
    }

    /// The runs of these rows that are not left out, in order.
    pub fn kept(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut start = rows.start;
        std::iter::from_fn(move || {
            while start < rows.end && self.contains(start) {
                start += 1;
            }
            let any = self.within(&(start..rows.end)) > 0;
            let end =
                if any { (start..rows.end).find(|row| self.contains(*row)).unwrap_or(rows.end) } else { rows.end };
            let run = start..end;
            start = end;
            (!run.is_empty()).then_some(run)
        })
    }

    /// How many of these rows are left out.
    pub fn within(&self, rows: &Range<usize>) -> usize {
        self.up_to(rows.end) - self.up_to(rows.start)
    }

    /// How many rows are left out.
    pub fn total(&self) -> usize {
        self.up_to(self.rows)
    }

    fn up_to(&self, row: usize) -> usize {
        let (word, bit) = (row / WORD, row % WORD);
        let inside = self.words.get(word).map_or(0, |bits| bits & ((1 << bit) - 1));
        self.before[word] + inside.count_ones() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_counting() {
        for rows in [0, 1, 63, 64, 65, 200] {
            let mut left_out = LeftOut::none(rows);
            let chosen = |row: &usize| row % 7 == 3 || row % 64 == 63;
            (0..rows).filter(chosen).for_each(|row| left_out.add(row));
            left_out.count();
            assert_eq!(left_out.total(), (0..rows).filter(chosen).count());
            for start in 0..rows {
                assert_eq!(left_out.contains(start), chosen(&start));
                assert_eq!(left_out.within(&(start..rows)), (start..rows).filter(chosen).count());
                let kept: Vec<usize> = left_out.kept(start..rows).flatten().collect();
                assert_eq!(kept, (start..rows).filter(|row| !chosen(row)).collect::<Vec<usize>>());
            }
        }
    }
}

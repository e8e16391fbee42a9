//! Which rows are asked: all, or those whose bit is set.

/// Walks over rows, in order.
pub(super) struct Picks<'a> {
    /// The number of row 0.
    first: u64,
    next: usize,
    end: usize,
    allowed: Option<&'a [u64]>,
}

impl<'a> Picks<'a> {
    /// Panics where `allowed` has no bit for the last of `rows`.
    pub(super) fn new(first: u64, rows: usize, allowed: Option<&'a [u64]>) -> Self {
        let bits = allowed.map_or(u64::MAX, |allowed| allowed.len() as u64 * 64);
        assert!(bits >= first + rows as u64, "{bits} rows allowed or not, {rows} to search from {first} on");
        Self { first, next: 0, end: rows, allowed }
    }

    /// The number of row 0.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Whether they lie one after another.
    pub(super) fn are_all(&self) -> bool {
        self.allowed.is_none()
    }

    /// Replaces `rows` by the next ones, `limit` at most; whether there are any.
    pub(super) fn fill(&mut self, rows: &mut Vec<usize>, limit: usize) -> bool {
        rows.clear();
        match self.allowed {
            None => {
                let end = self.end.min(self.next + limit);
                rows.extend(self.next..end);
                self.next = end;
            }
            Some(allowed) => self.fill_allowed(allowed, rows, limit),
        }
        !rows.is_empty()
    }

    fn fill_allowed(&mut self, allowed: &[u64], rows: &mut Vec<usize>, limit: usize) {
        while rows.len() < limit && self.next < self.end {
            let number = self.first + self.next as u64;
            let word = allowed[(number / 64) as usize] >> (number % 64);
            if word == 0 {
                self.next += 64 - (number % 64) as usize;
                continue;
            }
            let row = self.next + word.trailing_zeros() as usize;
            if row < self.end {
                rows.push(row);
            }
            self.next = row + 1;
        }
    }
}

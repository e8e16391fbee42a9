//! Packing pieces into requests, by their number and their tokens.

use super::tokens::Piece;

/// A piece with the text that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The text's place in the call.
    pub row: usize,
    /// Which of the text's pieces it is.
    pub nth: usize,
    /// What is asked for.
    pub piece: Piece,
}

/// What one request asks for, and how it went so far.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The pieces, in the order in which they are sent.
    pub parts: Vec<Part>,
    /// Tries that gave no answer.
    pub failed: u32,
    /// Answers that could not be believed.
    pub wrong: u32,
    /// Answers to other requests when this one was first sent.
    pub answered_before: Option<u64>,
    /// Whether it was asked for something else, to see whether the server answers at all.
    pub is_doubted: bool,
}

impl Request {
    /// Its tokens, as they are counted here.
    pub fn tokens(&self) -> u64 {
        self.parts.iter().map(|part| part.piece.tokens).sum()
    }

    /// The most that a server may count.
    pub fn most(&self) -> u64 {
        self.parts.iter().map(|part| part.piece.most).sum()
    }

    /// Two of half the pieces each, in order.
    pub fn halves(mut self) -> [Self; 2] {
        let rest = self.parts.split_off(self.parts.len() / 2);
        [self.parts, rest].map(|parts| Self { parts, ..Self::default() })
    }
}

/// Collects parts until a request is full.
#[derive(Debug)]
pub struct Packer {
    max_inputs: usize,
    max_tokens: u64,
    filling: Request,
    tokens: u64,
}

impl Packer {
    /// Requests of so many inputs and tokens at most; a piece that has more goes alone.
    pub fn new(max_inputs: usize, max_tokens: u64) -> Self {
        Self { max_inputs, max_tokens, filling: Request::default(), tokens: 0 }
    }

    /// From now on requests of so many inputs at most.
    pub fn set_max_inputs(&mut self, max_inputs: usize) {
        self.max_inputs = max_inputs;
    }

    /// Takes a part in; gives the request that is full without it.
    pub fn push(&mut self, part: Part) -> Option<Request> {
        let is_full = self.filling.parts.len() >= self.max_inputs
            || (!self.filling.parts.is_empty() && self.tokens + part.piece.tokens > self.max_tokens);
        let full = if is_full { self.take() } else { None };
        self.tokens += part.piece.tokens;
        self.filling.parts.push(part);
        full
    }

    /// What is left.
    pub fn take(&mut self) -> Option<Request> {
        self.tokens = 0;
        Some(std::mem::take(&mut self.filling)).filter(|request| !request.parts.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(row: usize, tokens: u64) -> Part {
        Part { row, nth: 0, piece: Piece { text: String::new(), tokens, most: tokens } }
    }

    proptest! {
        /// No piece is lost or moved, no request is too large unless a piece alone is, and none could take the next piece.
        #[test]
        fn requests_are_full_and_not_too_full(sizes in prop::collection::vec(1u64..40, 0..60), inputs in 1usize..9, tokens in 1u64..60) {
            let mut packer = Packer::new(inputs, tokens);
            let mut requests: Vec<Request> =
                sizes.iter().enumerate().filter_map(|(row, &size)| packer.push(part(row, size))).collect();
            requests.extend(packer.take());
            let rows: Vec<usize> = requests.iter().flat_map(|request| request.parts.iter().map(|part| part.row)).collect();
            prop_assert_eq!(rows, (0..sizes.len()).collect::<Vec<_>>());
            for request in &requests {
                prop_assert!(request.parts.len() <= inputs);
                prop_assert!(request.tokens() <= tokens || request.parts.len() == 1);
            }
            for two in requests.windows(2) {
                let next = two[1].parts[0].piece.tokens;
                prop_assert!(two[0].parts.len() == inputs || two[0].tokens() + next > tokens);
            }
        }
    }
}

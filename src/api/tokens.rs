//! Counting a text's tokens as the server's model does, and cutting it where it has too many.
//!
//! A text that a server is left to cut is cut nobody knows where, or refused. A piece is a text again and not a list of
//! tokens, since few servers take those; what is cut is counted anew, for the end of a piece may become other tokens.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tiktoken_rs::CoreBPE;
use tokenizers::Tokenizer;
use unicode_segmentation::UnicodeSegmentation;

use super::ApiError;
use crate::manifest::config::Long;

/// Bytes of a guessed token: English has four; LaTeX and numbers have fewer.
const GUESSED_BYTES: usize = 3;
/// Bytes of a text that are made into tokens at once.
const BLOCK_BYTES: usize = 200_000;
/// Special tokens that a server may add to a text whose tokenizer is not known.
const GUESSED_ADDED: u64 = 16;

/// What tells tokens.
#[derive(Clone)]
pub enum Counter {
    /// OpenAI's, `cl100k_base`, which all its embedding models have.
    Cl100k(&'static CoreBPE),
    /// The model's own tokenizer.json, with the special tokens that it adds.
    Own(Arc<Tokenizer>, usize),
    /// Nothing does: tokens are guessed, and nothing is cut.
    Guess,
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cl100k(_) => "cl100k_base",
            Self::Own(..) => "tokenizer.json",
            Self::Guess => "guess",
        })
    }
}

impl Counter {
    /// OpenAI's.
    pub fn cl100k() -> Self {
        Self::Cl100k(tiktoken_rs::cl100k_base_singleton())
    }

    /// The tokenizer in `file`, without the padding and truncation that it may say.
    ///
    /// # Errors
    /// A file that cannot be read, or is no tokenizer.
    pub fn read(file: &Path) -> Result<Self, ApiError> {
        let bad = |reason: String| ApiError::Tokenizer { file: file.into(), reason };
        let bytes = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| bad(error.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| bad(error.to_string()))?;
        let added = tokenizer.encode("", true).map_err(|error| bad(error.to_string()))?.len();
        Ok(Self::Own(Arc::new(tokenizer), added))
    }

    /// Where each token of a text ends, in bytes, without special tokens; ascending. None where tokens are guessed.
    fn ends(&self, text: &str) -> Option<Vec<usize>> {
        match self {
            Self::Cl100k(bpe) => {
                let mut end = 0;
                let length = |token: u32| bpe.decode_bytes(&[token]).map_or(0, |bytes| bytes.len());
                let ends = blocks(text).flat_map(|block| bpe.encode_ordinary(block)).map(|token| {
                    end += length(token);
                    end
                });
                Some(ends.collect())
            }
            Self::Own(tokenizer, _) => {
                let encoding = tokenizer.encode(text, false).ok()?;
                let mut furthest = 0;
                let ends = encoding.get_offsets().iter().map(|(_, end)| {
                    furthest = furthest.max(*end);
                    furthest
                });
                Some(ends.collect())
            }
            Self::Guess => None,
        }
    }

    /// The tokens that a server counts for a text, special tokens included: exact, or guessed.
    pub fn count(&self, text: &str) -> u64 {
        match self {
            Self::Cl100k(bpe) => blocks(text).map(|block| bpe.encode_ordinary(block).len() as u64).sum(),
            Self::Own(tokenizer, added) => {
                tokenizer.encode(text, false).map_or_else(|_| most(text), |encoding| (encoding.len() + added) as u64)
            }
            Self::Guess => text.len().div_ceil(GUESSED_BYTES) as u64,
        }
    }

    /// Special tokens that are added to every text.
    fn added(&self) -> usize {
        if let Self::Own(_, added) = self { *added } else { 0 }
    }

    /// The most tokens that a server can count for a text of which `count` were counted.
    fn most(&self, text: &str, count: u64) -> u64 {
        if matches!(self, Self::Guess) { most(text) } else { count }
    }
}

/// A text in parts that the tokenizer's expressions can digest: a million blanks are too many for them.
fn blocks(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut end = text.len().min(BLOCK_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (block, rest) = text.split_at(end);
        text = rest;
        Some(block).filter(|block| !block.is_empty())
    })
}

/// No tokenizer makes more tokens than bytes.
fn most(text: &str) -> u64 {
    text.len() as u64 + GUESSED_ADDED
}

/// One text of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The prompt and the text, or a part of it.
    pub text: String,
    /// Its tokens, as they are counted here.
    pub tokens: u64,
    /// The most that a server may count.
    pub most: u64,
}

/// How a text is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// One, or several of a text that is read in windows.
    pub pieces: Vec<Piece>,
    /// Tokens of the text that are in none.
    pub dropped: u64,
}

/// How texts are cut.
#[derive(Clone, Debug)]
pub struct Cutting {
    /// What counts.
    pub counter: Counter,
    /// What stands before every text.
    pub prompt: String,
    /// Tokens of a piece at most, prompt and special tokens included; none where nothing is cut.
    pub max_length: Option<usize>,
    /// What happens to a text with more.
    pub long: Long,
    /// Tokens that two windows share.
    pub overlap: usize,
}

impl Cutting {
    /// Tokens of a text that fit behind the prompt; none where nothing is cut.
    pub fn room(&self) -> Option<usize> {
        let prompt = self.counter.ends(&self.prompt).map_or(0, |ends| ends.len());
        Some(self.max_length?.saturating_sub(prompt + self.counter.added()))
    }

    /// The pieces that a text is asked for in.
    pub fn cut(&self, text: &str) -> Pieces {
        let first = self.piece(text);
        let fits = self.max_length.is_none_or(|most| first.tokens <= most as u64);
        let units = if fits { None } else { self.counter.ends(text).map(|ends| units(text, &ends)) };
        let (Some(units), Some(room)) = (units, self.room()) else { return Pieces { pieces: vec![first], dropped: 0 } };
        if self.long == Long::Mean {
            return Pieces { pieces: self.windows(text, &units, room), dropped: 0 };
        }
        let (piece, kept) = self.fitting(text, &units, 0, room);
        let dropped = units[kept..].iter().map(|unit| unit.tokens as u64).sum();
        Pieces { pieces: vec![piece], dropped }
    }

    fn windows(&self, text: &str, units: &[Unit], room: usize) -> Vec<Piece> {
        let (mut pieces, mut start) = (Vec::new(), 0);
        loop {
            let (piece, end) = self.fitting(text, units, start, room);
            pieces.push(piece);
            if end == units.len() {
                return pieces;
            }
            let (mut next, mut shared) = (end, 0);
            while next > start + 1 && shared + units[next - 1].tokens <= self.overlap {
                next -= 1;
                shared += units[next].tokens;
            }
            start = next;
        }
    }

    /// The longest piece from unit `start` on that fits, and the unit that follows what is in it.
    fn fitting(&self, text: &str, units: &[Unit], start: usize, room: usize) -> (Piece, usize) {
        let begin = if start == 0 { 0 } else { units[start - 1].end };
        let mut sum = 0;
        let fit = units[start..].iter().take_while(|unit| {
            sum += unit.tokens;
            sum <= room
        });
        let mut next = start + fit.count().max(1);
        loop {
            let end = units[next - 1].end;
            let is_cut = self.long == Long::Word && next < units.len();
            let part = if is_cut { whole_words(text, begin, end) } else { &text[begin..end] };
            let piece = self.piece(part);
            // The end of a piece may become more tokens than it was.
            if next == start + 1 || self.max_length.is_none_or(|most| piece.tokens <= most as u64) {
                let in_it = units[start..next].iter().filter(|unit| unit.end <= begin + part.len()).count();
                return (piece, start + in_it.max(1));
            }
            next -= 1;
        }
    }

    fn piece(&self, text: &str) -> Piece {
        let text = format!("{}{text}", self.prompt);
        let tokens = self.counter.count(&text);
        Piece { tokens, most: self.counter.most(&text, tokens), text }
    }
}

/// Tokens that make whole characters together: most are one, but a rare character is several.
#[derive(Clone, Copy, Debug)]
struct Unit {
    /// Where it ends in the text, in bytes.
    end: usize,
    tokens: usize,
}

fn units(text: &str, ends: &[usize]) -> Vec<Unit> {
    let (mut units, mut tokens) = (Vec::new(), 0);
    for &end in ends {
        tokens += 1;
        if text.is_char_boundary(end) {
            units.push(Unit { end, tokens });
            tokens = 0;
        }
    }
    // A tokenizer may drop what stands at the end, such as a blank.
    match units.last_mut() {
        Some(last) => (last.end, last.tokens) = (text.len(), last.tokens + tokens),
        None => units.push(Unit { end: text.len(), tokens }),
    }
    units
}

/// `text[begin..end]` without a word that goes on behind it; a word that is all there is stays, cut.
fn whole_words(text: &str, begin: usize, end: usize) -> &str {
    let words = text[begin..].split_word_bound_indices();
    let split =
        words.map(|(at, word)| (begin + at, begin + at + word.len())).find(|(at, after)| *at < end && *after > end);
    match split {
        Some((at, _)) if !text[begin..at].trim().is_empty() => text[begin..at].trim_end(),
        _ => &text[begin..end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cutting(max_length: usize, long: Long) -> Cutting {
        let max_length = Some(max_length);
        Cutting { counter: Counter::cl100k(), prompt: String::new(), max_length, long, overlap: 2 }
    }

    #[test]
    fn tokens_are_openais() {
        // As OpenAI's own tokenizer page counts them.
        let counter = Counter::cl100k();
        assert_eq!(counter.count("tiktoken is great!"), 6);
        assert_eq!(counter.count("antidisestablishmentarianism"), 6);
        assert_eq!(counter.count("お誕生日おめでとう"), 9);
    }

    #[test]
    fn a_long_text_is_cut_and_what_is_lost_is_counted() {
        let text = "The stellar halo of the Milky Way holds antidisestablishmentarianism";
        let all = Counter::cl100k().count(text);
        let cut = cutting(10, Long::Truncate).cut(text);
        assert_eq!((cut.pieces.len(), cut.pieces[0].tokens, cut.dropped), (1, 10, all - 10));
        assert!(text.starts_with(&cut.pieces[0].text));
        let word = cutting(12, Long::Word).cut(text);
        assert_eq!(word.pieces[0].text, "The stellar halo of the Milky Way holds");
        assert_eq!(word.dropped, all - word.pieces[0].tokens);
        assert_eq!(cutting(100, Long::Truncate).cut(text).dropped, 0);
    }

    #[test]
    fn a_million_blanks_are_counted() {
        let text = format!("a{}b", " ".repeat(1_000_000));
        assert!(Counter::cl100k().count(&text) > 1000);
        let cut = cutting(10, Long::Truncate).cut(&text);
        assert!(cut.dropped > 1000 && cut.pieces[0].tokens <= 10);
    }

    #[test]
    fn a_prompt_is_counted_and_stays() {
        let cutting = Cutting { prompt: "passage: ".into(), ..cutting(6, Long::Truncate) };
        let cut = cutting.cut("one two three four five six seven");
        assert!(cut.pieces[0].text.starts_with("passage: one") && cut.pieces[0].tokens <= 6);
        assert!(cut.dropped > 0);
    }

    #[test]
    fn without_a_tokenizer_nothing_is_cut_and_the_most_is_what_bytes_allow() {
        let cutting = Cutting { counter: Counter::Guess, ..cutting(3, Long::Truncate) };
        let piece = cutting.cut("é".repeat(100).as_str()).pieces.remove(0);
        assert_eq!((piece.tokens, piece.most), (67, 216));
    }

    proptest! {
        /// Whatever the text: each piece fits, and windows leave nothing out.
        #[test]
        fn pieces_fit_and_cover(text in "[a-zé日🜚 .]{0,200}", max in 8usize..20, mean: bool) {
            let cut = cutting(max, if mean { Long::Mean } else { Long::Word }).cut(&text);
            for piece in &cut.pieces {
                prop_assert!(piece.tokens <= max as u64, "{piece:?}");
            }
            if mean && cut.pieces.len() > 1 {
                prop_assert!(text.starts_with(&cut.pieces[0].text));
                prop_assert!(text.ends_with(&cut.pieces[cut.pieces.len() - 1].text));
                // Each begins where the one before ends, or before that.
                let mut covered = cut.pieces[0].text.len();
                for piece in &cut.pieces[1..] {
                    let begins = text.char_indices().map(|(begin, _)| begin).filter(|begin| *begin <= covered);
                    let latest = begins.rev().find(|begin| text[*begin..].starts_with(&piece.text));
                    prop_assert!(latest.is_some(), "{piece:?}");
                    covered = covered.max(latest.unwrap() + piece.text.len());
                }
                prop_assert_eq!(covered, text.len());
            }
            if cut.dropped == 0 && cut.pieces.len() == 1 {
                prop_assert_eq!(&cut.pieces[0].text, &text);
            }
        }
    }
}

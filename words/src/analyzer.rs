//! What Tantivy asks of a tokenizer, answered by this crate's words.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::words::Reader;

#[derive(Clone, Default)]
pub(crate) struct Analyzer {
    reader: Reader,
    /// The words of one text, one behind the other.
    letters: String,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Tokenizer for Analyzer {
    type TokenStream<'a> = Words<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Words<'a> {
        self.letters.clear();
        self.ends.clear();
        self.reader.text(text, |word| {
            self.letters.push_str(word);
            self.ends.push(self.letters.len());
        });
        Words { letters: &self.letters, ends: &self.ends, next: 0, token: Token::default() }
    }
}

/// The words of a text. Where they stood is not told: nothing here asks for phrases.
pub(crate) struct Words<'a> {
    letters: &'a str,
    ends: &'a [usize],
    next: usize,
    token: Token,
}

impl TokenStream for Words<'_> {
    fn advance(&mut self) -> bool {
        let Some(&end) = self.ends.get(self.next) else { return false };
        let start = self.next.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.token.text.clear();
        self.token.text.push_str(&self.letters[start..end]);
        self.token.position = self.next;
        self.next += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

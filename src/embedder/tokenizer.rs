//! tokenizer.json, with our own truncation: exact counts of what the model sees and of what it does not.
//!
//! Truncation and padding that the file carries are switched off: they are settings of whoever saved it (MiniLM's
//! file says 128 and pads to it), not of the model. The limit comes from the resolved settings.

use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{Encoding, PostProcessor, Tokenizer};

/// The tokens of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, special tokens included.
    pub ids: Vec<i64>,
    /// Segment ids, one per token.
    pub type_ids: Vec<i64>,
    /// Tokens of the text beyond the maximal length.
    pub dropped: usize,
}

/// A tokenizer that truncates to a model's maximal length.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    direction: TruncationDirection,
    lowercase: bool,
    /// Special tokens added to every text.
    added: usize,
    /// Tokens of the text itself, at most.
    room: usize,
}

impl TextTokenizer {
    /// Reads a tokenizer.json that is to give at most `max_length` tokens, special tokens included.
    ///
    /// # Errors
    /// What the tokenizers crate says about the file.
    pub fn from_bytes(bytes: &[u8], max_length: usize, lowercase: bool) -> Result<Self, tokenizers::Error> {
        let mut tokenizer = Tokenizer::from_bytes(bytes)?;
        // transformers, too, keeps the side that the file truncates on, and only that.
        let direction = tokenizer.get_truncation().map_or(TruncationDirection::Right, |params| params.direction);
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        Ok(Self { tokenizer, direction, lowercase, added, room: max_length.saturating_sub(added) })
    }

    /// Special tokens added to every text.
    pub fn added(&self) -> usize {
        self.added
    }

    /// Tokens of a text itself, at most; 0 if the maximal length leaves none.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Tokenises a text, which may be empty.
    ///
    /// # Errors
    /// What the tokenizers crate says about the text.
    pub fn encode(&self, text: &str) -> Result<Tokens, tokenizers::Error> {
        let mut encoding = match self.lowercase {
            true => self.tokenizer.encode_fast(text.to_lowercase(), false)?,
            false => self.tokenizer.encode_fast(text, false)?,
        };
        let dropped = encoding.len().saturating_sub(self.room);
        encoding.truncate(self.room, 0, self.direction);
        // The overflow is post-processed as well, with its own special tokens; nobody reads it.
        encoding.take_overflowing();
        let encoding = self.tokenizer.post_process(encoding, None, true)?;
        Ok(Tokens {
            ids: widened(&encoding, Encoding::get_ids),
            type_ids: widened(&encoding, Encoding::get_type_ids),
            dropped,
        })
    }
}

fn widened(encoding: &Encoding, field: fn(&Encoding) -> &[u32]) -> Vec<i64> {
    field(encoding).iter().map(|&id| i64::from(id)).collect()
}

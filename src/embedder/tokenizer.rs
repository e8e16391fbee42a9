//! tokenizer.json, with our own truncation: exact counts of what the model sees and of what it does not.
//!
//! Truncation and padding that the file carries are switched off: they are settings of whoever saved it (MiniLM's
//! file says 128 and pads to it), not of the model. The limit comes from the resolved settings.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{Encoding, NormalizerWrapper, PostProcessor, Tokenizer};

use super::error::panic_message;

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
    /// Text put before every text.
    prompt: String,
    /// Tokens that the prompt takes, special tokens before it included.
    prompt_tokens: usize,
    /// Special tokens added to every text.
    added: usize,
    /// Tokens of the text itself, at most.
    room: usize,
}

impl TextTokenizer {
    /// Reads a tokenizer.json that is to give at most `max_length` tokens, special tokens included, of a text with
    /// `prompt` before it.
    ///
    /// # Errors
    /// What the tokenizers crate says about the file. One that contradicts itself, such as by a template of tokens that
    /// it does not list, makes the crate panic, and not before the first text: so a text is tried here.
    pub fn from_bytes(
        bytes: &[u8],
        max_length: usize,
        lowercase: bool,
        prompt: &str,
    ) -> Result<Self, tokenizers::Error> {
        let tried = || {
            let tokenizer = Self::read(bytes, max_length, lowercase, prompt)?;
            tokenizer.encode("").map(|_| tokenizer)
        };
        let panicked = |payload: Box<dyn Any + Send>| format!("it contradicts itself: {}", panic_message(&*payload));
        catch_unwind(AssertUnwindSafe(tried)).unwrap_or_else(|payload| Err(panicked(payload).into()))
    }

    fn read(bytes: &[u8], max_length: usize, lowercase: bool, prompt: &str) -> Result<Self, tokenizers::Error> {
        let mut tokenizer = Tokenizer::from_bytes(bytes)?;
        // transformers, too, keeps the side that the file truncates on, and only that.
        let direction = tokenizer.get_truncation().map_or(TruncationDirection::Right, |params| params.direction);
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if lowercase {
            lowercase_first(&mut tokenizer)?;
        }
        let room = max_length.saturating_sub(added);
        let mut tokenizer = Self { tokenizer, direction, prompt: prompt.to_owned(), prompt_tokens: 0, added, room };
        tokenizer.prompt_tokens = tokenizer.count_prompt()?;
        Ok(tokenizer)
    }

    /// The tokens of the prompt alone, without the special token that may end it: as sentence-transformers counts what
    /// is left out of pooling.
    fn count_prompt(&self) -> Result<usize, tokenizers::Error> {
        if self.prompt.is_empty() {
            return Ok(0);
        }
        let encoding = self.tokenizer.encode_fast(&*self.prompt, true)?;
        let ends_specially = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(ends_specially))
    }

    /// Tokens that the prompt takes, special tokens before it included.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// The token with the largest id, and that id.
    pub fn largest(&self) -> (String, u32) {
        let vocabulary = self.tokenizer.get_vocab(true);
        vocabulary.into_iter().max_by_key(|(_, id)| *id).unwrap_or_default()
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
        let mut encoding = match self.prompt.is_empty() {
            true => self.tokenizer.encode_fast(text, false)?,
            false => self.tokenizer.encode_fast(self.prompt.clone() + text, false)?,
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

/// As sentence-transformers does for `do_lower_case`: before whatever the tokenizer does, and not to special tokens.
fn lowercase_first(tokenizer: &mut Tokenizer) -> Result<(), tokenizers::Error> {
    let mut steps: Vec<NormalizerWrapper> = vec![Lowercase.into()];
    steps.extend(tokenizer.get_normalizer().cloned());
    tokenizer.with_normalizer(Some(Sequence::new(steps)))?;
    Ok(())
}

fn widened(encoding: &Encoding, field: fn(&Encoding) -> &[u32]) -> Vec<i64> {
    field(encoding).iter().map(|&id| i64::from(id)).collect()
}

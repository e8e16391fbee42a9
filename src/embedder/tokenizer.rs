//! tokenizer.json, with our own limits: exact counts of what the model sees and of what it does not.
//!
//! Truncation and padding that the file carries are switched off: they are settings of whoever saved it (MiniLM's
//! file says 128 and pads to it), not of the model. The limit comes from the resolved settings. A text beyond it is cut,
//! at the last token or the last whole word that fits, or read in windows.

use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{Encoding, NormalizerWrapper, PostProcessor, Tokenizer};
use unicode_segmentation::UnicodeSegmentation;

use super::error::panic_message;
use super::windows;
use crate::manifest::config::Long;
use crate::model::Settings;

/// The tokens of one text, or of one window of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, special tokens included.
    pub ids: Vec<i64>,
    /// Segment ids, one per token.
    pub type_ids: Vec<i64>,
    /// Tokens of the text beyond the maximal length.
    pub dropped: usize,
}

/// What a tokenizer makes of one window of a text, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The tokens as the vocabulary writes them, special ones and those of the prompt included.
    pub tokens: Vec<String>,
    /// The bytes of the text that they stand for.
    pub bytes: Range<usize>,
}

/// A tokenizer that keeps to a model's maximal length.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    direction: TruncationDirection,
    long: Long,
    /// Tokens that a window shares with the one before it, where a long text is read in windows.
    overlap: usize,
    /// Text put before every text.
    prompt: String,
    /// Tokens that the prompt takes, special tokens before it included.
    prompt_tokens: usize,
    /// The same without these special tokens.
    inner_prompt: usize,
    /// Special tokens added to every text.
    added: usize,
    /// Tokens of the text itself, at most.
    room: usize,
}

impl TextTokenizer {
    /// Reads the tokenizer.json of a model with these settings.
    ///
    /// # Errors
    /// What the tokenizers crate says about the file. One that contradicts itself, such as by a template of tokens that
    /// it does not list, makes the crate panic, and not before the first text: so a text is tried here.
    pub fn from_bytes(bytes: &[u8], settings: &Settings) -> Result<Self, tokenizers::Error> {
        let tried = || {
            let tokenizer = Self::read(bytes, settings)?;
            tokenizer.encode("").map(|_| tokenizer)
        };
        let panicked = |payload: Box<dyn Any + Send>| format!("it contradicts itself: {}", panic_message(&*payload));
        catch_unwind(AssertUnwindSafe(tried)).unwrap_or_else(|payload| Err(panicked(payload).into()))
    }

    fn read(bytes: &[u8], settings: &Settings) -> Result<Self, tokenizers::Error> {
        let mut tokenizer = Tokenizer::from_bytes(bytes)?;
        // transformers, too, keeps the side that the file truncates on, and only that.
        let direction = tokenizer.get_truncation().map_or(TruncationDirection::Right, |params| params.direction);
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if settings.lowercase {
            lowercase_first(&mut tokenizer)?;
        }
        let mut tokenizer = Self {
            tokenizer,
            direction,
            long: settings.long,
            overlap: settings.overlap,
            prompt: settings.prompt.clone(),
            prompt_tokens: 0,
            inner_prompt: 0,
            added,
            room: settings.max_length.saturating_sub(added),
        };
        (tokenizer.prompt_tokens, tokenizer.inner_prompt) = tokenizer.count_prompt()?;
        Ok(tokenizer)
    }

    /// The tokens of the prompt alone, and how many special ones stand before them. The special token that may end it is not
    /// counted: as sentence-transformers counts what is left out of pooling.
    fn count_prompt(&self) -> Result<(usize, usize), tokenizers::Error> {
        if self.prompt.is_empty() {
            return Ok((0, 0));
        }
        let encoding = self.tokenizer.encode_fast(&*self.prompt, true)?;
        let is_special = encoding.get_special_tokens_mask();
        let before = is_special.iter().take_while(|mask| **mask == 1).count();
        let tokens = encoding.len() - usize::from(is_special.last() == Some(&1));
        Ok((tokens, tokens.saturating_sub(before)))
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

    /// Tokens of a text behind the prompt, at most; 0 if that leaves none.
    pub fn text_room(&self) -> usize {
        self.room.saturating_sub(self.inner_prompt)
    }

    /// Tokenises a text, which may be empty: one window, or several of a long one.
    ///
    /// # Errors
    /// What the tokenizers crate says about the text.
    pub fn encode(&self, text: &str) -> Result<Vec<Tokens>, tokenizers::Error> {
        let text = self.prompted(text);
        let mut encoding = self.tokenizer.encode_fast(&*text, false)?;
        let parts = self.parts(encoding.len());
        if let [all] = &parts[..] {
            if self.long == Long::Word && encoding.len() > self.room {
                encoding = self.tokenizer.encode(&*text, false)?;
                let words = self.whole_words(&encoding, &text, all.clone());
                return Ok(vec![self.window(&encoding, words)?]);
            }
            return Ok(vec![self.window(&encoding, all.clone())?]);
        }
        let windows = parts.into_iter().map(|part| self.window(&encoding, part));
        let mut windows = windows.collect::<Result<Vec<_>, _>>()?;
        windows.iter_mut().for_each(|window| window.dropped = 0);
        Ok(windows)
    }

    /// What is read of a text, window by window, for people.
    ///
    /// # Errors
    /// What the tokenizers crate says about the text.
    pub fn read_aloud(&self, text: &str) -> Result<Vec<Reading>, tokenizers::Error> {
        let prompted = self.prompted(text);
        let encoding = self.tokenizer.encode(&*prompted, false)?;
        let mut parts = self.parts(encoding.len());
        if self.long == Long::Word && encoding.len() > self.room {
            parts = vec![self.whole_words(&encoding, &prompted, parts[0].clone())];
        }
        let before = self.prompt.len();
        let reading = |part: Range<usize>| {
            let offsets = &encoding.get_offsets()[part.clone()];
            let of_text = |at: usize| at.max(before) - before;
            let start = offsets.iter().find(|(start, end)| start < end).map_or(0, |(start, _)| of_text(*start));
            let end = offsets.iter().map(|(_, end)| of_text(*end)).max().unwrap_or(start);
            let tokens = self.processed(&encoding, part)?.get_tokens().to_vec();
            Ok(Reading { tokens, bytes: start..end.max(start) })
        };
        parts.into_iter().map(reading).collect()
    }

    fn prompted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.prompt.is_empty() { text.into() } else { (self.prompt.clone() + text).into() }
    }

    /// The tokens of each window, of so many in all; those of the prompt are in the first one alone.
    fn parts(&self, tokens: usize) -> Vec<Range<usize>> {
        let (room, prompt) = (self.room, self.inner_prompt);
        let one = |part: Range<usize>| vec![part];
        match (self.long, self.direction) {
            _ if tokens <= room => one(0..tokens),
            (Long::Mean, _) if room > prompt => windows::parts(tokens, room, prompt, self.overlap),
            (_, TruncationDirection::Right) => one(0..room),
            (_, TruncationDirection::Left) => one(tokens - room..tokens),
        }
    }

    /// The part without the tokens at its cut that belong to a word of which others are cut off; all of it, where it is one
    /// word. Words are those of Unicode (UAX #29), as in `prepare`.
    fn whole_words(&self, encoding: &Encoding, text: &str, part: Range<usize>) -> Range<usize> {
        let offsets = encoding.get_offsets();
        let words: Vec<(usize, usize)> = text.unicode_word_indices().map(|(at, word)| (at, at + word.len())).collect();
        let inside = |at: usize| {
            let word = words.partition_point(|(start, _)| *start < at);
            word.checked_sub(1).is_some_and(|word| at < words[word].1)
        };
        let least = self.inner_prompt + 1;
        match self.direction {
            TruncationDirection::Right => {
                let end = (least..=part.end).rev().find(|end| !inside(offsets[end - 1].1));
                part.start..end.unwrap_or(part.end)
            }
            TruncationDirection::Left => {
                let start = (part.start..part.end).find(|start| !inside(offsets[*start].0));
                start.unwrap_or(part.start)..part.end
            }
        }
    }

    fn window(&self, encoding: &Encoding, part: Range<usize>) -> Result<Tokens, tokenizers::Error> {
        let dropped = encoding.len() - part.len();
        let encoding = self.processed(encoding, part)?;
        Ok(Tokens {
            ids: widened(&encoding, Encoding::get_ids),
            type_ids: widened(&encoding, Encoding::get_type_ids),
            dropped,
        })
    }

    /// Some of the tokens, with the prompt's before them and the special ones around.
    fn processed(&self, encoding: &Encoding, part: Range<usize>) -> Result<Encoding, tokenizers::Error> {
        let is_further = self.long == Long::Mean && part.start > 0;
        let prompt = 0..if is_further { self.inner_prompt } else { 0 };
        self.tokenizer.post_process(picked(encoding, prompt.chain(part)), None, true)
    }
}

/// These tokens of an encoding.
fn picked(encoding: &Encoding, at: impl Iterator<Item = usize> + Clone) -> Encoding {
    fn of<T: Clone>(all: &[T], at: impl Iterator<Item = usize>) -> Vec<T> {
        at.map(|at| all[at].clone()).collect()
    }
    Encoding::new(
        of(encoding.get_ids(), at.clone()),
        of(encoding.get_type_ids(), at.clone()),
        of(encoding.get_tokens(), at.clone()),
        of(encoding.get_word_ids(), at.clone()),
        of(encoding.get_offsets(), at.clone()),
        of(encoding.get_special_tokens_mask(), at.clone()),
        of(encoding.get_attention_mask(), at),
        Vec::new(),
        // One sequence, which is all of it.
        Default::default(),
    )
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

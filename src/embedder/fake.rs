//! The deterministic embedder for tests: vectors from BLAKE3, words for tokens, and as slow as asked.
//!
//! It keeps every promise of the trait and none of meaning. The delay per row exists so that a test can kill a run in
//! the middle.

use std::ops::ControlFlow;

use super::{Description, Embedder, EmbedderError, Embedding, Sink, pooling};
use crate::model::Fake;

/// Tokens that the test embedder pretends to add to every text.
const SPECIAL_TOKENS: usize = 2;

/// See the file's head.
pub(super) struct FakeEmbedder {
    fake: Fake,
    description: Description,
}

impl FakeEmbedder {
    pub fn new(fake: Fake, description: Description) -> Self {
        Self { fake, description }
    }

    fn embedding(&self, text: &str) -> Embedding {
        let words: Vec<&str> = text.split_whitespace().collect();
        let room = self.fake.max_length.map_or(usize::MAX, |length| length.saturating_sub(SPECIAL_TOKENS));
        let kept = words.len().min(room);
        // Like a model, it sees nothing of what was dropped.
        let seen = if kept == words.len() { text.to_owned() } else { words[..kept].join(" ") };
        Embedding {
            vector: vector(&seen, self.fake.dim),
            tokens: saturating_u32(kept + SPECIAL_TOKENS),
            tokens_dropped: saturating_u32(words.len() - kept),
        }
    }
}

impl Embedder for FakeEmbedder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn embed(&mut self, texts: &[&str], sink: Sink) -> Result<(), EmbedderError> {
        for (row, text) in texts.iter().enumerate() {
            if !self.fake.delay.is_zero() {
                std::thread::sleep(self.fake.delay);
            }
            if let ControlFlow::Break(()) = sink(row, self.embedding(text)) {
                break;
            }
        }
        Ok(())
    }
}

/// `dim` numbers from -1 to 1 out of BLAKE3's extendable output, scaled to length 1.
fn vector(text: &str, dim: usize) -> Vec<f32> {
    let mut bytes = vec![0u8; dim * 4];
    blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    let (numbers, _) = bytes.as_chunks::<4>();
    let unit = |bytes: &[u8; 4]| (f64::from(i32::from_le_bytes(*bytes)) / f64::from(i32::MAX)) as f32;
    let mut vector: Vec<f32> = numbers.iter().map(unit).collect();
    pooling::normalize(&mut vector);
    vector
}

fn saturating_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

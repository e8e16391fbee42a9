//! What the server saw and did: what a test asks about afterwards.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

/// How many bodies are kept.
const BODIES: usize = 16;

/// A snapshot. What is not said to be about batches is about `POST /v1/embeddings`.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub requests: u64,
    /// Answered with status 200 and the right content.
    pub answered: u64,
    /// Of every request that was processed, whatever came of its answer.
    pub billed_tokens: u64,
    /// The same, request by request.
    pub billed: Vec<(Instant, u64)>,
    /// How many right answers each input got, batches included.
    pub answers: BTreeMap<String, u32>,
    /// Requests that no server of this kind takes: malformed, beyond a limit, for another model.
    pub bad_requests: u64,
    /// Refused for an input that the server does not like.
    pub poisoned: u64,
    /// Requests at the same time.
    pub max_concurrent: u64,
    /// Requests by bearer token, refused ones included; without any, under the empty one.
    pub by_key: BTreeMap<String, u64>,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Of the first requests.
    pub bodies: Vec<Value>,
    /// Uploaded.
    pub files: u64,
    /// Created.
    pub batches: u64,
    /// How often a batch was asked for.
    pub polls: u64,
    /// Of lines that were processed in batches.
    pub batch_tokens: u64,
}

impl Seen {
    pub(super) fn request(&mut self, key: &str, body: &Value) {
        self.requests += 1;
        *self.by_key.entry(key.to_owned()).or_default() += 1;
        if self.bodies.len() < BODIES {
            self.bodies.push(body.clone());
        }
    }

    pub(super) fn bill(&mut self, tokens: u64) {
        self.billed_tokens += tokens;
        self.billed.push((Instant::now(), tokens));
    }

    pub(super) fn answer(&mut self, inputs: &[String]) {
        for input in inputs {
            *self.answers.entry(input.clone()).or_default() += 1;
        }
    }
}

//! What a test tells the server: its limits, its keys, and what it does wrong and when.

use std::collections::BTreeMap;
use std::time::Duration;

/// How the server behaves; by default perfectly.
#[derive(Clone, Debug)]
pub struct Script {
    /// The one model it knows; another is answered 404.
    pub model: String,
    /// Components of a vector, where a request does not say `dimensions`.
    pub dim: usize,
    /// How long every request that is processed takes.
    pub latency: Duration,
    /// Outcomes of the first requests in order, before any is drawn; `None` is a good answer.
    pub first: Vec<Option<Fault>>,
    /// What later requests draw from, with weights.
    pub faults: Vec<(u32, Fault)>,
    /// The weight of a good answer beside `faults`.
    pub good_weight: u32,
    pub seed: u64,
    /// A bucket of a minute's worth that refills continuously, as the next one.
    pub tokens_per_minute: Option<u64>,
    pub requests_per_minute: Option<u64>,
    /// Inputs in a request.
    pub max_inputs: usize,
    pub max_input_tokens: u64,
    pub max_request_tokens: u64,
    /// Bearer tokens that are accepted; any or none where this is `None`.
    pub keys: Option<Vec<String>>,
    /// After so many requests with this key, it is answered 401.
    pub revoked: BTreeMap<String, u64>,
    /// Whether `encoding_format: base64` is honoured; otherwise it is answered 400.
    pub supports_base64: bool,
    /// Answers floats, whatever was asked.
    pub ignores_base64: bool,
    pub omits_usage: bool,
    /// How many tokens it bills for each that its tokenizer counts.
    pub billed_for_one: u64,
    /// An input that contains this makes its whole request a 400, which does not tell the input.
    pub poison: Option<String>,
    pub batch: BatchScript,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            model: "text-embedding-3-small".to_owned(),
            dim: 8,
            latency: Duration::ZERO,
            first: Vec::new(),
            faults: Vec::new(),
            good_weight: 1,
            seed: 0,
            tokens_per_minute: None,
            requests_per_minute: None,
            max_inputs: 2048,
            max_input_tokens: 8191,
            max_request_tokens: 300_000,
            keys: None,
            revoked: BTreeMap::new(),
            supports_base64: true,
            ignores_base64: false,
            omits_usage: false,
            billed_for_one: 1,
            poison: None,
            batch: BatchScript::default(),
        }
    }
}

impl Script {
    /// What becomes of the request of this number, from 0: a function of the script alone, so that runs repeat.
    pub fn outcome(&self, number: usize) -> Option<Fault> {
        if let Some(told) = self.first.get(number) {
            return told.clone();
        }
        let total = self.good_weight + self.faults.iter().map(|(weight, _)| weight).sum::<u32>();
        if total == 0 {
            return None;
        }
        // An odd constant spreads neighbouring numbers over the generator's seeds.
        let seed = self.seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut drawn = fastrand::Rng::with_seed(seed).u32(..total);
        for (weight, fault) in &self.faults {
            match drawn.checked_sub(*weight) {
                Some(rest) => drawn = rest,
                None => return Some(fault.clone()),
            }
        }
        None
    }
}

/// How batches go; by default they are done when first asked for.
#[derive(Clone, Debug, Default)]
pub struct BatchScript {
    /// How often a batch is not done yet when it is asked for.
    pub polls_until_done: u32,
    /// The first batch expires with the first half of its lines done.
    pub expires_half_done: bool,
    /// Every batch fails before any line is processed.
    pub fails_validation: bool,
    /// So many lines of the first batch fail with status 500; sent again, they are right.
    pub line_errors: usize,
    /// The first batch is created, and the connection cut before the answer.
    pub create_fails_after_creating: bool,
    /// What becomes of the first requests about files and batches, in order. Only faults that need no processing.
    pub first: Vec<Option<Fault>>,
}

/// What goes wrong with one request. What comes with status 200 was processed, and is billed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// 429.
    TooMany { retry_after: Option<RetryAfter> },
    /// This status with an error as JSON.
    Status(u16),
    /// This status with a page for people.
    HtmlPage(u16),
    /// The right answer, so much later.
    Slow(Duration),
    /// Half of the right body, shorter than its Content-Length.
    CutMidBody,
    /// A whole answer of HTTP with half of the right JSON.
    TruncatedJson,
    /// The last vector is missing.
    WrongCount,
    /// The right answer, its last vector first.
    ShuffledIndices,
    /// The first index stands twice.
    DuplicateIndex,
    /// The last vector has a component that is no number; `null` where it is written as floats.
    Nan,
    /// The last vector is zero.
    ZeroVector,
    /// All vectors have a component more.
    WrongDim,
    /// The answer names another model.
    WrongModel,
    /// Nothing is answered, and the connection stays.
    Hang,
    /// Nothing is answered, and the connection is closed.
    Disconnect,
    /// 307 to this address.
    Redirect(String),
    /// 200 with a body that does not end.
    HugeBody,
}

/// How a 429 tells when to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAfter {
    /// `Retry-After` in seconds.
    Seconds(u64),
    /// `Retry-After` as a date so many seconds from now, by a clock an hour fast, which the header `Date` shows too.
    Date(u64),
    /// `retry-after-ms`, and no other.
    Millis(u64),
}

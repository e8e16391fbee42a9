//! Asking an embeddings API over HTTP: OpenAI's, or any server that speaks like it.
//!
//! ```text
//! texts -> tokens.rs: pieces that fit -> requests, packed by tokens -> dispatch.rs -> client.rs: one try each
//!                                                                       |  pace.rs: when, with which key
//!                                                                       |  budget.rs: whether it may be paid for
//!                                                                       +-> answer.rs: checked vectors, with their rows
//! ```
//!
//! One loop owns the state of a call: which requests wait, which are under way, what each key may do, what is spent. A try
//! is asked for and judged in `client.rs`, which knows HTTP and nothing of rows. Nothing here writes vectors: who calls
//! does, and no more texts are under way or handed over than its window allows. What is paid for is in the ledger before it
//! is sent. May not tell a key, or what a server says of one. Read next: `dispatch.rs`.

mod answer;
mod batch;
mod budget;
mod call;
mod client;
mod dispatch;
mod error;
mod limits;
mod note;
mod outcome;
mod pace;
mod prices;
mod request;
mod secret;
mod tokens;

pub use budget::{Budget, spent};
pub use call::Delivery;
pub use dispatch::{Asker, Tally};
pub use error::ApiError;
pub use note::{PREFIX as BATCHES, handed_over};
pub use prices::Prices;
pub use secret::Secret;
pub use tokens::{Counter, Cutting};

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::cost::Price;
use crate::manifest::config::{Dollars, Mode};

/// Everything about a server and a model that is settled before the first request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the server's paths begin, without a slash at the end.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// Components of a vector.
    pub dim: usize,
    /// Whether `dim` is asked for.
    pub dimensions: bool,
    /// Whether vectors are asked for in base64.
    pub base64: bool,
    /// More fields of the body.
    pub extra: Map<String, Value>,
    /// The names of the variables that hold keys.
    pub key_variables: Vec<String>,
    /// Texts per request, at most.
    pub max_inputs: usize,
    /// Tokens per request, at most.
    pub max_request_tokens: u64,
    /// Requests under way at once, at most, over all keys.
    pub concurrency: usize,
    /// Texts that may be asked for or answered and not be on disk.
    pub window: usize,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often a request is tried before its texts are doubted.
    pub tries: u32,
    /// Whether the server's vectors have length 1, as far as is known.
    pub unit_length: bool,
    /// Whether vectors are scaled to length 1 here.
    pub normalize: bool,
    /// What a token costs, where it is known.
    pub price: Option<Price>,
    /// The most that may be spent.
    pub max_cost: Option<Dollars>,
    /// The most tokens that may be spent.
    pub max_tokens: Option<u64>,
    /// How texts are cut, and their tokens counted.
    pub cutting: Cutting,
    /// Where what was spent is noted; none where nothing is limited and nothing kept.
    pub ledger: Option<PathBuf>,
    /// Whether requests are answered at once.
    pub mode: Mode,
    /// Where it is noted which batches are under way.
    pub batches: Option<PathBuf>,
    /// Whether batches are left to a later run.
    pub no_wait: bool,
}

impl Settings {
    /// The server's host, with its port where it is said, for people.
    pub fn host(&self) -> &str {
        host(&self.base_url)
    }
}

/// The host of an address, with its port where it is said.
pub fn host(base_url: &str) -> &str {
    let rest = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::config::Long;

    /// Settings for a server that nobody asks.
    pub fn settings() -> Settings {
        let counter = Counter::cl100k();
        Settings {
            base_url: "http://127.0.0.1:1/v1".into(),
            model: "m".into(),
            dim: 4,
            dimensions: false,
            base64: true,
            extra: Map::new(),
            key_variables: Vec::new(),
            max_inputs: 8,
            max_request_tokens: 1000,
            concurrency: 4,
            window: 64,
            timeout: Duration::from_secs(5),
            tries: 4,
            unit_length: false,
            normalize: false,
            price: None,
            max_cost: None,
            max_tokens: None,
            cutting: Cutting { counter, prompt: String::new(), max_length: None, long: Long::Truncate, overlap: 0 },
            ledger: None,
            mode: Mode::Live,
            batches: None,
            no_wait: false,
        }
    }

    #[test]
    fn a_host_is_what_stands_between_scheme_and_path() {
        assert_eq!(host("https://api.openai.com/v1"), "api.openai.com");
        assert_eq!(host("http://127.0.0.1:8080"), "127.0.0.1:8080");
    }
}

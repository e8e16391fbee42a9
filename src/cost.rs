//! What tokens cost, as plain data: a price with its day, sums, and what is handed over and not yet settled.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::config::Dollars;

/// What one model's tokens cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Price {
    /// Dollars per million tokens.
    pub usd_per_million_tokens: f64,
    /// The day of the table that says so.
    pub date: String,
}

impl Price {
    /// What so many tokens cost, rounded up to a millionth of a dollar.
    pub fn of(&self, tokens: u64) -> Dollars {
        Dollars((tokens as f64 * self.usd_per_million_tokens).ceil() as u64)
    }
}

/// Tokens, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens.
    pub tokens: u64,
    /// In millionths of a dollar; 0 where no price is known.
    pub micro_usd: u64,
}

impl Spent {
    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        let (tokens, micro_usd) =
            (self.tokens.saturating_add(other.tokens), self.micro_usd.saturating_add(other.micro_usd));
        Self { tokens, micro_usd }
    }

    /// The difference of two; nothing where the other is larger.
    pub fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            micro_usd: self.micro_usd.saturating_sub(other.micro_usd),
        }
    }

    /// So many times as much, rounded up.
    pub fn times(self, factor: f64) -> Self {
        let times = |amount: u64| (amount as f64 * factor).ceil() as u64;
        Self { tokens: times(self.tokens), micro_usd: times(self.micro_usd) }
    }

    /// In dollars.
    pub fn cost(self) -> Dollars {
        Dollars(self.micro_usd)
    }
}

/// Batches that are at an API, or may be, and were not collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HandedOver {
    /// How many batches.
    pub batches: usize,
    /// How many texts they hold.
    pub texts: usize,
}

impl fmt::Display for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = |count: usize, ending: &'static str| if count == 1 { "" } else { ending };
        let Self { batches, texts } = *self;
        write!(f, "{texts} text{} in {batches} batch{}", several(texts, "s"), several(batches, "es"))
    }
}

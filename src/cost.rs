//! What tokens cost, as plain data: a price with its day, and sums.

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

    /// In dollars.
    pub fn cost(self) -> Dollars {
        Dollars(self.micro_usd)
    }
}

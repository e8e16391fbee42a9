//! What a token costs, by a dated table.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::ApiError;
use crate::cost::Price;
use crate::manifest::config::Mode;

/// Prices of models, and the day on which they were so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The day, as `2026-11-01`.
    pub date: String,
    models: BTreeMap<String, PerMillion>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerMillion {
    usd_per_million_tokens: f64,
    batch_usd_per_million_tokens: Option<f64>,
}

impl Prices {
    /// The table that comes with the program.
    pub const BUILT_IN: &str = include_str!("prices.toml");

    /// The table in `file`, or the one that comes with the program.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such table.
    pub fn read(file: Option<&Path>) -> Result<Self, ApiError> {
        let Some(file) = file else {
            return Ok(toml::from_str(Self::BUILT_IN).expect("a test reads the built-in table"));
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| ApiError::Prices { file: file.into(), reason: error.to_string() })?;
        let table: Self = toml::from_str(&text)
            .map_err(|error| ApiError::Prices { file: file.into(), reason: error.to_string().trim_end().to_owned() })?;
        let is_price = |price: f64| price.is_finite() && price >= 0.0;
        let of = |price: &PerMillion| [Some(price.usd_per_million_tokens), price.batch_usd_per_million_tokens];
        match table.models.iter().find(|(_, price)| !of(price).into_iter().flatten().all(is_price)) {
            Some((model, _)) => {
                Err(ApiError::Prices { file: file.into(), reason: format!("the price of {model} is no amount") })
            }
            None => Ok(table),
        }
    }

    /// What a model's tokens cost.
    pub fn of(&self, model: &str, mode: Mode) -> Option<Price> {
        let price = self.models.get(model)?;
        let usd_per_million_tokens = match mode {
            Mode::Live => price.usd_per_million_tokens,
            Mode::Batch => price.batch_usd_per_million_tokens.unwrap_or(price.usd_per_million_tokens),
        };
        Some(Price { usd_per_million_tokens, date: self.date.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::config::Dollars;

    #[test]
    fn the_built_in_table_is_dated_and_has_openais_models() {
        let prices = Prices::read(None).unwrap();
        assert_eq!(prices.date.len(), 10);
        let price = prices.of("text-embedding-3-small", Mode::Live).unwrap();
        assert_eq!(price.of(1_000_000), Dollars(20_000));
        assert_eq!(price.of(1), Dollars(1));
        assert_eq!(prices.of("text-embedding-3-small", Mode::Batch).unwrap().of(1_000_000), Dollars(10_000));
        assert_eq!(prices.of("bge", Mode::Live), None);
    }

    #[test]
    fn a_table_of_ones_own_says_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("prices.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Prices::read(Some(&file)).map(|prices| prices.of("bge", Mode::Batch).unwrap().of(1000))
        };
        assert_eq!(read("date = 'd'\n[models.bge]\nusd_per_million_tokens = 3").unwrap(), Dollars(3000));
        for bad in ["", "date = 'd'\n[models.bge]\nusd = 3", "date = 'd'\n[models.bge]\nusd_per_million_tokens = -3"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("prices.toml"), "{error}");
        }
    }
}

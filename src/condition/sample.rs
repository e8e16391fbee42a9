//! A part of the records, drawn by their bibcodes.
//!
//! Whether a paper is drawn depends on its bibcode and the fraction alone: not on the file, its order or what else is in
//! it. So a sample is the same in every run and on every machine, it stays when a file grows, and a larger fraction keeps
//! all papers of a smaller one.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The part of the records that a sample keeps: above 0, and 1 at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Fraction(f64);

// Never NaN.
impl Eq for Fraction {}

impl Fraction {
    /// The fraction, where it is one.
    pub fn new(value: f64) -> Option<Self> {
        (value > 0.0 && value <= 1.0).then_some(Self(value))
    }

    /// Its value.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Fraction {
    /// The shortest decimal that is this fraction and no other; it is in keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a paper is in the sample of this fraction: whether the first 8 bytes of its bibcode's BLAKE3, most significant
/// first, as a part of 2^64, are below it. Published samples rest on this; it may not change.
pub fn in_sample(bibcode: &str, fraction: f64) -> bool {
    let digest = Digest::of(bibcode.as_bytes());
    let drawn = digest.as_bytes()[..8].iter().fold(0, |drawn, byte| drawn << 8 | u128::from(*byte));
    // A product with a power of two is exact; 2^64 itself is no u64.
    drawn < (fraction * 2f64.powi(64)) as u128
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FractionVisitor;

        impl Visitor<'_> for FractionVisitor {
            type Value = Fraction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number above 0, and 1 at most")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Fraction, E> {
                Fraction::new(value).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Fraction, E> {
                match value {
                    1 => Ok(Fraction(1.0)),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
                }
            }
        }

        deserializer.deserialize_any(FractionVisitor)
    }
}

impl JsonSchema for Fraction {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fraction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(fraction: f64) -> Vec<String> {
        let bibcodes = (0..2000).map(|n| format!("2010Test..{n:05}A"));
        bibcodes.filter(|bibcode| in_sample(bibcode, fraction)).collect()
    }

    #[test]
    fn a_sample_has_about_its_part() {
        assert_eq!(sample(1.0).len(), 2000);
        for (fraction, about) in [(0.5, 1000), (0.1, 200), (0.01, 20)] {
            let drawn = sample(fraction).len();
            assert!(drawn.abs_diff(about) <= about / 2, "{fraction}: {drawn}");
        }
    }

    /// Pinned: who was drawn once is drawn for ever.
    #[test]
    fn a_sample_stays_what_it_was() {
        let numbers: Vec<usize> = sample(0.005).iter().map(|bibcode| bibcode[10..15].parse().unwrap()).collect();
        assert_eq!(numbers, [101, 348, 535, 898, 948, 1053, 1250, 1478, 1529, 1541, 1637, 1786, 1900, 1972]);
    }

    proptest! {
        /// A larger fraction keeps all of a smaller one, and the whole keeps everything.
        #[test]
        fn larger_samples_hold_smaller_ones(bibcode in ".{0,30}", one in 0.0f64..=1.0, other in 0.0f64..=1.0) {
            let (small, large) = (one.min(other), one.max(other));
            prop_assert!(!in_sample(&bibcode, small) || in_sample(&bibcode, large));
            prop_assert!(in_sample(&bibcode, 1.0));
            prop_assert!(!in_sample(&bibcode, 0.0));
        }
    }

    #[test]
    fn fractions_are_above_0_and_1_at_most() {
        assert_eq!(Fraction::new(0.01).unwrap().to_string(), "0.01");
        assert_eq!(Fraction::new(1.0).unwrap().to_string(), "1");
        for value in [0.0, -0.5, 1.000001, f64::NAN, f64::INFINITY] {
            assert_eq!(Fraction::new(value), None);
        }
    }
}

//! What an embeddings API answers, and whether it can be believed.
//!
//! A server may send vectors in another order, leave some out, or send numbers that are none: each vector is put where its
//! `index` says, and a request whose answer lacks anything is as good as not answered.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

/// How far from 1 the length of a vector may be where it should be 1: f16 on the server's side costs some 1e-3.
const LENGTH_TOLERANCE: f32 = 1e-2;

/// An answer, as it was sent.
#[derive(Debug, Deserialize)]
pub struct Answer {
    data: Vec<Item>,
    // What a server writes beside its vectors may be anything: nonsense there must not make them unreadable.
    #[serde(default)]
    model: Value,
    #[serde(default)]
    usage: Value,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    index: Value,
    embedding: Components,
}

impl Item {
    /// Its index; its place where none is said, and none where it is no index.
    fn index(&self, place: usize) -> Option<usize> {
        match &self.index {
            Value::Null => Some(place),
            Value::String(text) => text.parse().ok(),
            number => {
                let index = number.as_f64().filter(|index| index.fract() == 0.0 && (0.0..1e9).contains(index))?;
                Some(index as usize)
            }
        }
    }
}

impl Answer {
    /// The model's name, as the server says it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_str().filter(|model| !model.is_empty())
    }

    /// The tokens that the server counted, where it says so.
    pub fn tokens(&self) -> Option<u64> {
        let count = |name: &str| self.usage.get(name).and_then(Value::as_u64);
        // Some servers send zeros: that is not said.
        count("total_tokens").or_else(|| count("prompt_tokens")).filter(|tokens| *tokens > 0)
    }

    /// The vectors of `count` inputs, in their order, each of `dim` components, or what is wrong with one.
    ///
    /// # Errors
    /// What is wrong with the answer as a whole.
    pub fn vectors(
        self,
        count: usize,
        dim: usize,
        unit_length: bool,
    ) -> Result<Vec<Result<Vec<f32>, &'static str>>, Flaw> {
        if self.data.len() != count {
            return Err(Flaw::Count { expected: count, found: self.data.len() });
        }
        let mut vectors: Vec<Option<Result<Vec<f32>, &'static str>>> = vec![None; count];
        for (place, item) in self.data.into_iter().enumerate() {
            let slot = item.index(place).and_then(|index| vectors.get_mut(index)).filter(|slot| slot.is_none());
            let slot = slot.ok_or(Flaw::Index { place })?;
            *slot = Some(match item.embedding.0 {
                Some(vector) if vector.len() != dim => return Err(Flaw::Dim { found: vector.len() }),
                Some(vector) => flaw(&vector, unit_length).map_or(Ok(vector), Err),
                None => Err("its vector cannot be read"),
            });
        }
        Ok(vectors.into_iter().flatten().collect())
    }
}

/// What is wrong with a vector.
fn flaw(vector: &[f32], unit_length: bool) -> Option<&'static str> {
    let length = vector.iter().map(|component| component * component).sum::<f32>().sqrt();
    if !vector.iter().all(|component| component.is_finite()) {
        Some("its vector has a component that is no number")
    } else if length == 0.0 {
        Some("its vector is zero")
    } else if unit_length && (length - 1.0).abs() > LENGTH_TOLERANCE {
        Some("its vector does not have length 1")
    } else {
        None
    }
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Another number of vectors than of inputs.
    Count { expected: usize, found: usize },
    /// The vector at this place has an index that is none, or was there before.
    Index { place: usize },
    /// Vectors of another length.
    Dim { found: usize },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { expected, found } => write!(f, "it answers {found} vectors to {expected} texts"),
            Self::Index { place } => write!(f, "the index of vector {place} of its answer is no text's, or another's"),
            Self::Dim { found } => write!(f, "it answers vectors of {found} components"),
        }
    }
}

/// Numbers, or the bytes of little-endian f32 in base64; nothing where they are neither.
#[derive(Debug)]
struct Components(Option<Vec<f32>>);

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ComponentsVisitor;

        impl<'de> Visitor<'de> for ComponentsVisitor {
            type Value = Components;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers, or base64 of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Components, E> {
                let Ok(bytes) = STANDARD.decode(text) else { return Ok(Components(None)) };
                let (numbers, rest) = bytes.as_chunks::<4>();
                let numbers = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
                Ok(Components(rest.is_empty().then_some(numbers)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Components, A::Error> {
                let mut numbers = Vec::with_capacity(seq.size_hint().unwrap_or(0));
                // JSON has no NaN: servers write null.
                while let Some(number) = seq.next_element::<Option<f64>>()? {
                    numbers.push(number.map_or(f32::NAN, |number| number as f32));
                }
                Ok(Components(Some(numbers)))
            }
        }

        deserializer.deserialize_any(ComponentsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(json: &str, count: usize) -> Result<Vec<Vec<f32>>, Flaw> {
        let vectors = serde_json::from_str::<Answer>(json).unwrap().vectors(count, 2, false)?;
        Ok(vectors.into_iter().map(Result::unwrap).collect())
    }

    #[test]
    fn vectors_stand_where_their_index_says() {
        let json = r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":"AACAPwAAAEA="}],"model":"m","usage":{"total_tokens":7}}"#;
        assert_eq!(vectors(json, 2).unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(serde_json::from_str::<Answer>(json).unwrap().tokens(), Some(7));
        assert_eq!(vectors(r#"{"data":[{"embedding":[3,4]}]}"#, 1).unwrap(), [[3.0, 4.0]]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let flaw = |json: &str, count| vectors(json, count).unwrap_err();
        assert_eq!(flaw(r#"{"data":[]}"#, 1), Flaw::Count { expected: 1, found: 0 });
        let twice = r#"{"data":[{"index":1,"embedding":[3,4]},{"index":1,"embedding":[3,4]}]}"#;
        assert_eq!(flaw(twice, 2), Flaw::Index { place: 1 });
        for index in ["9", "-1", "0.5", "\"x\"", "{}", "1e30"] {
            let json = format!(r#"{{"data":[{{"index":{index},"embedding":[3,4]}}]}}"#);
            assert_eq!(flaw(&json, 1), Flaw::Index { place: 0 });
        }
        assert_eq!(flaw(r#"{"data":[{"embedding":[3]}]}"#, 1), Flaw::Dim { found: 1 });
        for bad in ["[3,null]", "[0,0]"] {
            let answer: Answer = serde_json::from_str(&format!(r#"{{"data":[{{"embedding":{bad}}}]}}"#)).unwrap();
            assert!(answer.vectors(1, 2, false).unwrap()[0].is_err());
        }
        let long: Answer = serde_json::from_str(r#"{"data":[{"embedding":[3,4]}]}"#).unwrap();
        assert!(long.vectors(1, 2, true).unwrap()[0].is_err());
        for bad in [r#""!!""#, r#""AAA=""#, "[1e300, 1]"] {
            let answer: Answer = serde_json::from_str(&format!(r#"{{"data":[{{"embedding":{bad}}}]}}"#)).unwrap();
            assert!(answer.vectors(1, 2, false).unwrap()[0].is_err(), "{bad}");
        }
        for bad in ["3", "[\"a\"]"] {
            assert!(
                serde_json::from_str::<Answer>(&format!(r#"{{"data":[{{"embedding":{bad}}}]}}"#)).is_err(),
                "{bad}"
            );
        }
        // Nonsense beside the vectors is passed over.
        let json = r#"{"data":[{"index":"0","embedding":[3,4]}],"model":5,"usage":{"total_tokens":-7}}"#;
        assert_eq!(vectors(json, 1).unwrap(), [[3.0, 4.0]]);
        let answer: Answer = serde_json::from_str(json).unwrap();
        assert_eq!((answer.tokens(), answer.model()), (None, None));
    }
}

//! What an embeddings API answers, and whether it can be believed.
//!
//! A server may send vectors in another order, leave some out, or send numbers that are none: each vector is put where its
//! `index` says, and a request whose answer lacks anything is as good as not answered.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// How far from 1 the length of a vector may be where it should be 1: f16 on the server's side costs some 1e-3.
const LENGTH_TOLERANCE: f32 = 1e-2;

/// An answer, as it was sent.
#[derive(Debug, Deserialize)]
pub struct Answer {
    data: Vec<Item>,
    /// The model's name, as the server says it.
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    index: Option<usize>,
    embedding: Components,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

impl Answer {
    /// The tokens that the server counted, where it says so.
    pub fn tokens(&self) -> Option<u64> {
        let usage = self.usage.as_ref()?;
        // Some servers send zeros: that is not said.
        usage.total_tokens.or(usage.prompt_tokens).filter(|tokens| *tokens > 0)
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
        let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
        for (place, Item { index, embedding: Components(vector) }) in self.data.into_iter().enumerate() {
            let slot = vectors.get_mut(index.unwrap_or(place)).filter(|slot| slot.is_none());
            let slot = slot.ok_or(Flaw::Index { index: index.unwrap_or(place) })?;
            if vector.len() != dim {
                return Err(Flaw::Dim { found: vector.len() });
            }
            *slot = Some(vector);
        }
        Ok(vectors.into_iter().flatten().map(|vector| flaw(&vector, unit_length).map_or(Ok(vector), Err)).collect())
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
    /// An index that is none, or is there twice.
    Index { index: usize },
    /// Vectors of another length.
    Dim { found: usize },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { expected, found } => write!(f, "it answers {found} vectors to {expected} texts"),
            Self::Index { index } => write!(f, "it answers index {index} twice, or for no text"),
            Self::Dim { found } => write!(f, "it answers vectors of {found} components"),
        }
    }
}

/// Numbers, or the bytes of little-endian f32 in base64.
#[derive(Debug)]
struct Components(Vec<f32>);

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ComponentsVisitor;

        impl<'de> Visitor<'de> for ComponentsVisitor {
            type Value = Components;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers, or base64 of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Components, E> {
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("an embedding that is no base64"))?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                match rest {
                    [] => Ok(Components(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())),
                    _ => Err(E::custom("an embedding whose bytes are no floats")),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Components, A::Error> {
                let mut numbers = Vec::with_capacity(seq.size_hint().unwrap_or(0));
                // JSON has no NaN: servers write null.
                while let Some(number) = seq.next_element::<Option<f32>>()? {
                    numbers.push(number.unwrap_or(f32::NAN));
                }
                Ok(Components(numbers))
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
        assert_eq!(flaw(twice, 2), Flaw::Index { index: 1 });
        assert_eq!(flaw(r#"{"data":[{"index":9,"embedding":[3,4]}]}"#, 1), Flaw::Index { index: 9 });
        assert_eq!(flaw(r#"{"data":[{"embedding":[3]}]}"#, 1), Flaw::Dim { found: 1 });
        for bad in ["[3,null]", "[0,0]"] {
            let answer: Answer = serde_json::from_str(&format!(r#"{{"data":[{{"embedding":{bad}}}]}}"#)).unwrap();
            assert!(answer.vectors(1, 2, false).unwrap()[0].is_err());
        }
        let long: Answer = serde_json::from_str(r#"{"data":[{"embedding":[3,4]}]}"#).unwrap();
        assert!(long.vectors(1, 2, true).unwrap()[0].is_err());
        for bad in [r#""!!""#, r#""AAA=""#, "3", "[\"a\"]"] {
            assert!(
                serde_json::from_str::<Answer>(&format!(r#"{{"data":[{{"embedding":{bad}}}]}}"#)).is_err(),
                "{bad}"
            );
        }
    }
}

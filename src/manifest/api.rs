//! `[embed.NAME.api]`: where an API's server is, who pays, and how much at most.
//!
//! Written and resolved are one type, since nothing in it refers to anything else. What of it decides a vector is said in
//! `fingerprint.rs` and in `model/api.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// How an API is asked. `identity`, `extra`, `tokenizer` and `dimensions` decide vectors; the rest does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Where the server's paths begin, such as `"http://127.0.0.1:8080/v1"`. Default: `"https://api.openai.com/v1"`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub base_url: Option<String>,

    /// What the server is, for its vectors' key: two servers' models of one name are two. Write the same for servers that
    /// run the same model. Default: the host of `base_url`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub identity: Option<String>,

    /// The environment variable that holds the API key, or a list of them that share the load. Default: `OPENAI_API_KEY`
    /// for OpenAI's own server, none for another.
    #[serde(default)]
    pub api_key_env: Option<KeyVariables>,

    /// Whether a server that is not on this machine may be asked without encryption. Default: false.
    #[serde(default)]
    pub allow_http: bool,

    /// `"live"` (the default) asks and gets answers; `"batch"` hands over files that are answered within a day, at half
    /// the price where it is OpenAI's.
    #[serde(default)]
    pub mode: Mode,

    /// The path of the model's `tokenizer.json`, relative to the manifest, by which its tokens are counted and long texts
    /// cut. OpenAI's models need none. Without one, tokens are guessed, and texts are not cut.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub tokenizer: Option<String>,

    /// Whether `dim` is asked of the server as `dimensions`. Default: true for OpenAI's models that can, where `dim` is not
    /// all of them.
    #[serde(default)]
    pub dimensions: Option<bool>,

    /// Whether vectors are asked for in base64, a quarter of the bytes; an answer in numbers is taken as well. Default: true.
    #[serde(default)]
    pub base64: Option<bool>,

    /// More fields of each request's body, such as `{ input_type = "passage" }`.
    #[serde(default)]
    pub extra: BTreeMap<String, serde_json::Value>,

    /// How many texts go into one request, at most. Default: 128.
    #[serde(default)]
    pub max_inputs: Option<NonZeroUsize>,

    /// How many tokens go into one request, at most. Default: 100,000.
    #[serde(default)]
    pub max_request_tokens: Option<NonZeroUsize>,

    /// How many requests are under way at once, at most; fewer are where the server asks for patience. Default: 16.
    #[serde(default)]
    pub concurrency: Option<NonZeroUsize>,

    /// How many texts may be asked for or answered and not yet be on disk: what a crash can cost. Default: 8,192.
    #[serde(default)]
    pub window: Option<NonZeroUsize>,

    /// How many seconds an answer may take. Default: 120.
    #[serde(default)]
    pub timeout_seconds: Option<NonZeroU64>,

    /// How often a request is tried before its texts are doubted. Default: 8.
    #[serde(default)]
    pub tries: Option<NonZeroU32>,

    /// The most dollars that this node may spend, all runs of this workflow together. Default: no limit.
    #[serde(default)]
    pub max_cost_usd: Option<Dollars>,

    /// The most tokens that this node may have counted to it, all runs of this workflow together. Default: no limit.
    #[serde(default)]
    pub max_tokens: Option<u64>,

    /// The path of a table of prices, relative to the manifest, instead of the built-in one: see `sciembed model prices`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub prices: Option<String>,
}

/// Whether answers are waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each request is answered at once.
    #[default]
    Live,
    /// Requests are handed over in files, and collected later.
    Batch,
}

/// The names of environment variables, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVariables(pub Vec<String>);

const KEY_FORMS: &str = "the name of an environment variable, such as \"OPENAI_API_KEY\", or a list of names";

/// Whether a word can be the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

// By hand, because an untagged enum would lose the position of a fault.
impl<'de> Deserialize<'de> for KeyVariables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;

        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = KeyVariables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(KEY_FORMS)
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<KeyVariables, E> {
                // What is no name is a key written by mistake: it must not be repeated in a message.
                if is_variable(name) {
                    Ok(KeyVariables(vec![name.to_owned()]))
                } else {
                    Err(E::invalid_value(de::Unexpected::Other("what cannot be such a name"), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<KeyVariables, A::Error> {
                let mut names: Vec<String> = Vec::new();
                while let Some(name) = seq.next_element::<String>()? {
                    if !is_variable(&name) || names.contains(&name) {
                        let what = de::Unexpected::Other("what cannot be such a name, or is there twice");
                        return Err(de::Error::invalid_value(what, &self));
                    }
                    names.push(name);
                }
                match names.is_empty() {
                    true => Err(de::Error::invalid_length(0, &self)),
                    false => Ok(KeyVariables(names)),
                }
            }
        }

        deserializer.deserialize_any(NamesVisitor)
    }
}

impl Serialize for KeyVariables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [alone] => alone.serialize(serializer),
            names => names.serialize(serializer),
        }
    }
}

impl JsonSchema for KeyVariables {
    fn schema_name() -> Cow<'static, str> {
        "KeyVariables".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let name = json_schema!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" });
        json_schema!({
            "description": "The name of an environment variable, or a list of such names; never a key itself.",
            "anyOf": [name, { "type": "array", "items": name, "minItems": 1, "uniqueItems": true }],
        })
    }
}

/// An amount of money, in millionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dollars(pub u64);

const PER_DOLLAR: f64 = 1e6;

impl Dollars {
    /// So many dollars, if it is an amount.
    pub fn new(dollars: f64) -> Option<Self> {
        (dollars.is_finite() && (0.0..1e12).contains(&dollars)).then(|| Self((dollars * PER_DOLLAR).round() as u64))
    }

    /// In dollars.
    pub fn get(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }
}

impl fmt::Display for Dollars {
    /// With as many digits as tell something: cents from ten cents on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0 >= 100_000 || self.0 == 0 { 2 } else { 6 };
        write!(f, "${:.digits$}", self.get())
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DollarsVisitor;

        impl Visitor<'_> for DollarsVisitor {
            type Value = Dollars;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of dollars, such as 2.5")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Dollars, E> {
                Dollars::new(value).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Dollars, E> {
                Dollars::new(value as f64).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Dollars, E> {
                Dollars::new(value as f64).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }
        }

        deserializer.deserialize_any(DollarsVisitor)
    }
}

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}

impl JsonSchema for Dollars {
    fn schema_name() -> Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_and_never_written() {
        let read = |text: &str| toml::from_str::<Api>(text).map(|api| api.api_key_env);
        assert_eq!(read("api_key_env = 'A'").unwrap(), Some(KeyVariables(vec!["A".into()])));
        assert_eq!(read("api_key_env = ['A', 'B_2']").unwrap(), Some(KeyVariables(vec!["A".into(), "B_2".into()])));
        for bad in ["'sk-proj-secret'", "[]", "['A', 'A']", "['sk-secret']", "3", "''"] {
            let error = read(&format!("api_key_env = {bad}")).unwrap_err();
            assert!(!error.message().contains("secret"), "{}", error.message());
        }
    }

    #[test]
    fn amounts_are_dollars() {
        let read = |text: &str| toml::from_str::<Api>(&format!("max_cost_usd = {text}")).map(|api| api.max_cost_usd);
        assert_eq!(read("2.5").unwrap(), Some(Dollars(2_500_000)));
        assert_eq!(read("3").unwrap(), Some(Dollars(3_000_000)));
        for bad in ["-1", "nan", "inf", "'2'"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(
            [Dollars(0), Dollars(12), Dollars(1_234_567)].map(|it| it.to_string()),
            ["$0.00", "$0.000012", "$1.23"]
        );
    }
}

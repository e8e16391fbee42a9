//! One JSON line becomes a record of wanted fields, or a reason why it cannot.
//!
//! ADS gives a title as a list or as a string, a year as a string, an identifier list with nulls in it. Here every field
//! becomes a list of strings: a string is a list of one, a number or boolean its JSON text, null and an absent key are
//! missing, nulls inside a list are passed over. Objects and nested lists are refused: their text would be a guess.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::digest::{KeyHasher, MetadataDigest};
use crate::manifest::config::DEFAULT_KEY;

/// A record: its bibcode, and the wanted fields in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The key, as it stands in the key field.
    pub bibcode: String,
    /// One entry per wanted field; none where it is missing or null.
    pub fields: Vec<Option<Vec<String>>>,
}

/// Why a line or a row was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The line is no JSON object.
    InvalidJson,
    /// The line is not UTF-8.
    InvalidUtf8,
    /// There is no bibcode, or it is null or blank, or no string.
    NoBibcode,
    /// A wanted field is an object or a nested list.
    UnusableField,
    /// A later line has the same bibcode.
    Superseded,
    /// No wanted field has any text.
    NoText,
}

impl Reason {
    /// The reason's name in tables and counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NoBibcode => "no_bibcode",
            Self::UnusableField => "unusable_field",
            Self::Superseded => "superseded",
            Self::NoText => "no_text",
        }
    }
}

/// Why a line was set aside, with what a person needs to find the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of fault.
    pub reason: Reason,
    /// What was found.
    pub detail: String,
    /// The bibcode, where it could be read.
    pub bibcode: Option<String>,
}

impl SourceRecord {
    /// Digest of the selected fields in canonical form: a string and a list of that one string are the same.
    pub fn metadata_digest(&self, names: &[String]) -> MetadataDigest {
        let mut hasher = KeyHasher::new("sciembed 2026 metadata digest v1");
        hasher.text(&self.bibcode).count(names.len() as u64);
        for (name, values) in names.iter().zip(&self.fields) {
            hasher.text(name).optional(values.as_ref().map(|_| ""));
            let values = values.as_deref().unwrap_or_default();
            hasher.count(values.len() as u64);
            values.iter().for_each(|value| {
                hasher.text(value);
            });
        }
        hasher.metadata_digest()
    }
}

/// What people call the key that is read from the field `key`: the bibcode, or the field's own name in code quotes.
pub fn key_in_words(key: &str) -> Cow<'_, str> {
    if key == DEFAULT_KEY { Cow::Borrowed(key) } else { Cow::Owned(format!("`{key}`")) }
}

/// Reads the key from the field `key`, and the fields `names`, from one line of JSON.
///
/// # Errors
/// A [`Refusal`] saying why the line cannot be used.
pub fn parse(line: &[u8], key: &str, names: &[String]) -> Result<SourceRecord, Refusal> {
    let refuse = |reason, detail: String| Refusal { reason, detail, bibcode: None };
    let text = std::str::from_utf8(line)
        .map_err(|error| refuse(Reason::InvalidUtf8, format!("byte {} of the line", error.valid_up_to())))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = WantedFields { key, names }.deserialize(&mut deserializer).and_then(|fields| {
        deserializer.end()?;
        Ok(fields)
    });
    let found = parsed.map_err(|error| refuse(Reason::InvalidJson, without_line(&error)))?;
    found.into_record(key, names)
}

/// The error by its byte: its "line 1" is the line itself, and would contradict the line's number in the file.
fn without_line(error: &serde_json::Error) -> String {
    let told = error.to_string();
    match told.rfind(" at line ") {
        Some(at) => format!("{}, at byte {} of the line", &told[..at], error.column()),
        None => told,
    }
}

/// What stood in a line, still as JSON text: only what is wanted is read.
struct Found<'de> {
    bibcode: Option<&'de RawValue>,
    fields: Vec<Option<&'de RawValue>>,
}

impl Found<'_> {
    fn into_record(self, key: &str, names: &[String]) -> Result<SourceRecord, Refusal> {
        let bibcode = bibcode(self.bibcode, key)?;
        let mut fields = Vec::with_capacity(names.len());
        for (name, raw) in names.iter().zip(self.fields) {
            let refuse = |reason, detail| Refusal { reason, detail, bibcode: Some(bibcode.clone()) };
            match raw.map_or(Ok(Value::Null), read) {
                Ok(value) => fields.push(
                    value
                        .into_list()
                        .map_err(|shape| refuse(Reason::UnusableField, format!("field `{name}` is {shape}")))?,
                ),
                Err(error) => {
                    return Err(refuse(Reason::InvalidJson, format!("field `{name}`: {}", without_line(&error))));
                }
            }
        }
        Ok(SourceRecord { bibcode, fields })
    }
}

fn bibcode(raw: Option<&RawValue>, key: &str) -> Result<String, Refusal> {
    let refuse = |fault: &str| {
        let detail = format!("the {}{fault}", key_in_words(key));
        Refusal { reason: Reason::NoBibcode, detail, bibcode: None }
    };
    let text: String = match raw.map(RawValue::get) {
        None | Some("null") => return Err(refuse(" is missing")),
        Some(raw) if raw.starts_with('"') => {
            serde_json::from_str(raw).map_err(|error| refuse(&format!(": {}", without_line(&error))))?
        }
        Some(_) => return Err(refuse(" is not a string")),
    };
    // No key has spaces around it, and nobody would look it up with them.
    let text = text.trim();
    if text.is_empty() {
        return Err(refuse(" is blank"));
    }
    // A newline in it would shift every line of the published list of bibcodes.
    if text.contains(char::is_control) {
        return Err(refuse(" has a control character in it"));
    }
    Ok(text.to_owned())
}

/// Reads an object, keeping wanted keys only. Of a key that stands twice the last one counts, as everywhere in JSON.
struct WantedFields<'a> {
    key: &'a str,
    names: &'a [String],
}

impl<'de> DeserializeSeed<'de> for WantedFields<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WantedFields<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found { bibcode: None, fields: vec![None; self.names.len()] };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.key {
                found.bibcode = Some(map.next_value()?);
            } else if let Some(at) = self.names.iter().position(|name| *name == key) {
                found.fields[at] = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A field's value, as far as its shape can be used.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Text(String),
    List(Vec<Value>),
    Object,
}

/// Reads a value. Numbers and booleans stay as they are written: `1.10` is a version to somebody, and an identifier may
/// have more digits than a float.
fn read(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => Value::Text(serde_json::from_str(text)?),
        Some(b'n') => Value::Null,
        Some(b'{') => Value::Object,
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            // A list inside a list is refused by its shape alone: what is in it is not read, however deep.
            let item =
                |raw: &&RawValue| if raw.get().starts_with('[') { Ok(Value::List(Vec::new())) } else { read(raw) };
            Value::List(items.iter().map(item).collect::<Result<_, _>>()?)
        }
        _ => Value::Text(text.to_owned()),
    })
}

impl Value {
    /// As a list of strings, none if missing; the shape's name if it has no plain text.
    fn into_list(self) -> Result<Option<Vec<String>>, &'static str> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(vec![text])),
            Self::Object => Err("an object"),
            Self::List(values) => {
                let mut texts = Vec::with_capacity(values.len());
                for value in values {
                    match value {
                        Self::Null => {}
                        Self::Text(text) => texts.push(text),
                        Self::List(_) => return Err("a list of lists"),
                        Self::Object => return Err("a list of objects"),
                    }
                }
                Ok(Some(texts))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["title".into(), "abstract".into()]
    }

    fn fields(line: &str) -> Vec<Option<Vec<String>>> {
        parse(line.as_bytes(), "bibcode", &names()).unwrap().fields
    }

    fn refusal(line: &[u8]) -> (Reason, String) {
        let refusal = parse(line, "bibcode", &names()).unwrap_err();
        (refusal.reason, refusal.detail)
    }

    #[test]
    fn the_shapes_of_ads_become_lists() {
        let one = |text: &str| Some(vec![text.to_owned()]);
        assert_eq!(fields(r#"{"bibcode":"b","title":["T"],"abstract":"A"}"#), [one("T"), one("A")]);
        assert_eq!(fields(r#"{"bibcode":"b","title":null}"#), [None, None]);
        assert_eq!(fields(r#"{"bibcode":"b","title":[],"abstract":2010}"#), [Some(vec![]), one("2010")]);
        assert_eq!(
            fields(r#"{"bibcode":"b","title":1.10,"abstract":[123456789012345678901]}"#),
            [one("1.10"), one("123456789012345678901")]
        );
        assert_eq!(fields(r#"{"bibcode":"b","title":["a",null,"b"]}"#)[0], Some(vec!["a".into(), "b".into()]));
        assert_eq!(fields(r#"{"bibcode":"b","title":"x","title":"\u00e9 \\"}"#)[0], one("é \\"));
    }

    #[test]
    fn a_string_and_a_list_of_it_have_one_digest() {
        let digest = |line: &str| parse(line.as_bytes(), "bibcode", &names()).unwrap().metadata_digest(&names());
        assert_eq!(digest(r#"{"bibcode":"b","title":["T"]}"#), digest(r#"{"year":"2010","title":"T","bibcode":"b"}"#));
        assert_ne!(digest(r#"{"bibcode":"b","title":"T"}"#), digest(r#"{"bibcode":"b","abstract":"T"}"#));
        assert_ne!(digest(r#"{"bibcode":"b","title":""}"#), digest(r#"{"bibcode":"b"}"#));
    }

    #[test]
    fn the_key_is_read_from_the_field_that_is_named() {
        let read = |line: &str| parse(line.as_bytes(), "_id", &names());
        let record = read(r#"{"_id":" 7 ","bibcode":["another field"],"title":"T"}"#).unwrap();
        assert_eq!((record.bibcode.as_str(), &record.fields[0]), ("7", &Some(vec!["T".to_owned()])));
        let same = parse(br#"{"bibcode":"7","title":"T"}"#, "bibcode", &names()).unwrap();
        assert_eq!(record.metadata_digest(&names()), same.metadata_digest(&names()));
        let refused = |line: &str| read(line).unwrap_err();
        let missing = Refusal { reason: Reason::NoBibcode, detail: "the `_id` is missing".into(), bibcode: None };
        assert_eq!(refused(r#"{"bibcode":"b","title":"T"}"#), missing);
        assert_eq!(refused(r#"{"_id":7}"#).detail, "the `_id` is not a string");
        assert_eq!(
            refused(r#"{"_id":"\ud800"}"#).detail,
            "the `_id`: unexpected end of hex escape, at byte 8 of the line"
        );
        assert_eq!(refused(r#"{"_id":"7","title":{}}"#).bibcode.as_deref(), Some("7"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        assert_eq!(refusal(b"{\"bibcode\":").0, Reason::InvalidJson);
        assert_eq!(refusal(b"[1]").0, Reason::InvalidJson);
        assert_eq!(refusal(br#"{"bibcode":"b"} x"#).0, Reason::InvalidJson);
        assert_eq!(refusal(b"{\"bibcode\":\"\xff\"}").0, Reason::InvalidUtf8);
        assert_eq!(refusal(br#"{"title":"x"}"#), (Reason::NoBibcode, "the bibcode is missing".into()));
        assert_eq!(refusal(br#"{"bibcode":" "}"#), (Reason::NoBibcode, "the bibcode is blank".into()));
        assert_eq!(refusal(br#"{"bibcode":"a\nb"}"#).0, Reason::NoBibcode);
        assert_eq!(refusal(br#"{"bibcode":["b"]}"#), (Reason::NoBibcode, "the bibcode is not a string".into()));
        let deep = format!(r#"{{"bibcode":"b","title":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(refusal(deep.as_bytes()), (Reason::UnusableField, "field `title` is a list of lists".into()));
        let object = br#"{"bibcode":"b","title":{"en":"x"}}"#;
        assert_eq!(refusal(object), (Reason::UnusableField, "field `title` is an object".into()));
    }
}

//! One JSON line becomes a record of wanted fields, or a reason why it cannot.
//!
//! ADS gives a title as a list or as a string, a year as a string, an identifier list with nulls in it. Here every field
//! becomes a list of strings: a string is a list of one, a number or boolean its JSON text, null and an absent key are
//! missing, nulls inside a list are passed over. Objects and nested lists are refused: their text would be a guess.
//!
//! Aliases are other bibcodes of the same paper. They are read apart, from a field that holds identifiers of all sorts:
//! what does not have the form of a bibcode is passed over, whatever it is, and nothing about them refuses a record.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::digest::{KeyHasher, MetadataDigest};
use crate::manifest::config::DEFAULT_KEY;

/// What is read of a line.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The field that the key is read from.
    pub key: &'a str,
    /// The fields, in the order in which a record has them.
    pub fields: &'a [String],
    /// The field that aliases are read from, if any; it may be one of `fields` too.
    pub aliases: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// These fields, and no aliases.
    pub const fn of(key: &'a str, fields: &'a [String]) -> Self {
        Self { key, fields, aliases: None }
    }
}

/// A record: its bibcode, and the wanted fields in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The key, as it stands in the key field.
    pub bibcode: String,
    /// One entry per wanted field; none where it is missing or null.
    pub fields: Vec<Option<Vec<String>>>,
    /// Other bibcodes of the same paper, each once, as they stand; none if no field of aliases is wanted.
    pub aliases: Vec<String>,
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

/// Bytes of a bibcode: year, journal, volume, qualifier, page, author.
const BIBCODE_BYTES: usize = 19;

/// Whether a text has the form of a bibcode, `YYYYJJJJJVVVVMPPPPA`, filled up with dots: four digits first, and last the
/// author's initial, or a dot where there is none. DOIs, arXiv numbers and titles do not.
///
/// <https://ui.adsabs.harvard.edu/help/actions/bibcode>
pub fn is_bibcode(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == BIBCODE_BYTES
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes.iter().all(u8::is_ascii_graphic)
        && bytes.last().is_some_and(|last| last.is_ascii_alphabetic() || *last == b'.')
}

/// Reads what is wanted from one line of JSON.
///
/// # Errors
/// A [`Refusal`] saying why the line cannot be used.
pub fn parse(line: &[u8], wanted: &Wanted) -> Result<SourceRecord, Refusal> {
    let refuse = |reason, detail: String| Refusal { reason, detail, bibcode: None };
    let text = std::str::from_utf8(line)
        .map_err(|error| refuse(Reason::InvalidUtf8, format!("byte {} of the line", error.valid_up_to())))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Seed(wanted).deserialize(&mut deserializer).and_then(|fields| {
        deserializer.end()?;
        Ok(fields)
    });
    let found = parsed.map_err(|error| refuse(Reason::InvalidJson, without_line(&error)))?;
    found.into_record(wanted)
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
    aliases: Option<&'de RawValue>,
}

impl Found<'_> {
    fn into_record(self, wanted: &Wanted) -> Result<SourceRecord, Refusal> {
        let bibcode = bibcode(self.bibcode, wanted.key)?;
        let mut fields = Vec::with_capacity(wanted.fields.len());
        for (name, raw) in wanted.fields.iter().zip(self.fields) {
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
        let aliases = self.aliases.map(|raw| aliases(raw, &bibcode)).unwrap_or_default();
        Ok(SourceRecord { bibcode, fields, aliases })
    }
}

/// The bibcodes in a string or a list of strings, in their order and each once, but the record's own.
fn aliases(raw: &RawValue, own: &str) -> Vec<String> {
    let mut aliases: Vec<String> = Vec::new();
    let mut add = |raw: &str| {
        let text: String = serde_json::from_str(raw).unwrap_or_default();
        let alias = text.trim();
        if is_bibcode(alias) && alias != own && !aliases.iter().any(|known| known == alias) {
            aliases.push(alias.to_owned());
        }
    };
    if raw.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
        items.iter().map(|item| item.get()).filter(|item| item.starts_with('"')).for_each(add);
    } else {
        add(raw.get());
    }
    aliases
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
struct Seed<'a>(&'a Wanted<'a>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let Wanted { key: of_key, fields, aliases } = self.0;
        let mut found = Found { bibcode: None, fields: vec![None; fields.len()], aliases: None };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let field = fields.iter().position(|name| *name == key);
            let of_aliases = aliases.is_some_and(|name| name == key);
            if key == *of_key {
                found.bibcode = Some(map.next_value()?);
            } else if field.is_some() || of_aliases {
                let value = map.next_value()?;
                if let Some(at) = field {
                    found.fields[at] = Some(value);
                }
                if of_aliases {
                    found.aliases = Some(value);
                }
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
        parse(line.as_bytes(), &Wanted::of("bibcode", &names())).unwrap().fields
    }

    fn refusal(line: &[u8]) -> (Reason, String) {
        let refusal = parse(line, &Wanted::of("bibcode", &names())).unwrap_err();
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
        let parsed = |line: &str| parse(line.as_bytes(), &Wanted::of("bibcode", &names())).unwrap();
        let digest = |line: &str| parsed(line).metadata_digest(&names());
        assert_eq!(digest(r#"{"bibcode":"b","title":["T"]}"#), digest(r#"{"year":"2010","title":"T","bibcode":"b"}"#));
        assert_ne!(digest(r#"{"bibcode":"b","title":"T"}"#), digest(r#"{"bibcode":"b","abstract":"T"}"#));
        assert_ne!(digest(r#"{"bibcode":"b","title":""}"#), digest(r#"{"bibcode":"b"}"#));
    }

    #[test]
    fn the_key_is_read_from_the_field_that_is_named() {
        let read = |line: &str| parse(line.as_bytes(), &Wanted::of("_id", &names()));
        let record = read(r#"{"_id":" 7 ","bibcode":["another field"],"title":"T"}"#).unwrap();
        assert_eq!((record.bibcode.as_str(), &record.fields[0]), ("7", &Some(vec!["T".to_owned()])));
        let same = parse(br#"{"bibcode":"7","title":"T"}"#, &Wanted::of("bibcode", &names())).unwrap();
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

    #[test]
    fn bibcodes_have_a_form() {
        for bibcode in [
            "2020arXiv200100001A",
            "1998A&A...330..453B",
            "2013Natur.503..290L",
            "2015PhDT.......123.",
            "1543droc.book.....C",
            "2020astro-ph/00001Z",
        ] {
            assert!(is_bibcode(bibcode), "{bibcode}");
        }
        for other in [
            "",
            "arXiv:2001.00001",
            "10.1093/mnras/stx01",
            "2020arXiv200100001",
            "2020arXiv200100001AB",
            "2020arXiv200100001 ",
            "2020arXiv2001 0001A",
            "202OarXiv200100001A",
            "2020arXiv2001000011",
            "2020arXiv20010000é",
            "2020arXiv2001000\u{7f}1A",
        ] {
            assert!(!is_bibcode(other), "{other}");
        }
    }

    /// Whatever stands among identifiers, a record is read: what is no bibcode, the record's own, and repeats are passed over.
    #[test]
    fn aliases_are_the_bibcodes_among_identifiers() {
        let wanted = Wanted { key: "bibcode", fields: &names(), aliases: Some("identifier") };
        let read = |identifier: &str| {
            let line = format!(r#"{{"bibcode":"2021ApJ...900....1A","identifier":{identifier},"title":"T"}}"#);
            let record = parse(line.as_bytes(), &wanted).unwrap();
            assert_eq!(record.fields[0], Some(vec!["T".to_owned()]), "{identifier}");
            record.aliases
        };
        let list = r#"["arXiv:2001.00001","2020arXiv200100001A","10.1/x","2021ApJ...900....1A"," 1998A\u0026A...330..453B ",
            "2020arXiv200100001A",null,7,["2019arXiv190100001A"],{"a":"2018arXiv180100001A"},"\ud800"]"#;
        assert_eq!(read(list), ["2020arXiv200100001A", "1998A&A...330..453B"]);
        assert_eq!(read(r#""2020arXiv200100001A""#), ["2020arXiv200100001A"]);
        for other in ["null", "7", "{}", "[]", r#""x""#, r#""\ud800""#, "[[[]]]"] {
            assert!(read(other).is_empty(), "{other}");
        }
        let unwanted = parse(br#"{"bibcode":"b","identifier":["2020arXiv200100001A"]}"#, &Wanted::of("bibcode", &[]));
        assert!(unwanted.unwrap().aliases.is_empty());
    }

    /// A field may be both: kept as it is, and read for aliases. The digest is of what is kept.
    #[test]
    fn a_field_of_aliases_may_be_kept_too() {
        let fields = ["identifier".to_owned()];
        let line = br#"{"bibcode":"b","identifier":["x","2020arXiv200100001A"]}"#;
        let both = parse(line, &Wanted { key: "bibcode", fields: &fields, aliases: Some("identifier") }).unwrap();
        let kept = parse(line, &Wanted::of("bibcode", &fields)).unwrap();
        assert_eq!(both.aliases, ["2020arXiv200100001A"]);
        assert_eq!((&both.fields, both.metadata_digest(&fields)), (&kept.fields, kept.metadata_digest(&fields)));
    }
}

//! The text of one record becomes a record of wanted fields, or a reason why it cannot.
//!
//! ADS gives a title as a list or as a string, a year as a string, an identifier list with nulls in it. Here every field
//! becomes a list of strings: a string is a list of one, a number or boolean its JSON text, null and an absent key are
//! missing, nulls inside a list are passed over. Objects and nested lists are refused: their text would be a guess.
//!
//! Aliases are other bibcodes of the same paper. They are read apart, from a field that holds identifiers of all sorts:
//! what does not have the form of a bibcode is passed over, whatever it is, and nothing about them refuses a record.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memchr;
use serde_json::value::RawValue;

use super::fields::{self, Found};
use super::lists;
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

/// A record: its bibcode, and the wanted fields in their order. Text stays where it was read, but where it had escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord<'a> {
    /// The key, as it stands in the key field.
    pub bibcode: Cow<'a, str>,
    /// One entry per wanted field.
    pub fields: Vec<Field<'a>>,
    /// Other bibcodes of the same paper, each once, as they stand; none if no field of aliases is wanted.
    pub aliases: Vec<Cow<'a, str>>,
    /// Whether a wanted field stands twice or more; the last one counts.
    pub has_duplicates: bool,
}

/// A wanted field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// It is not there.
    Missing,
    /// It is null.
    Null,
    /// Its texts; none of an empty list.
    Texts(Vec<Cow<'a, str>>),
}

impl<'a> Field<'a> {
    /// Its texts, if it is neither missing nor null.
    pub fn texts(&self) -> Option<&[Cow<'a, str>]> {
        match self {
            Self::Texts(texts) => Some(texts),
            Self::Missing | Self::Null => None,
        }
    }
}

/// Why a line or a row was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The line is no JSON object.
    InvalidJson,
    /// The row of a table has not the cells that it should have.
    InvalidRow,
    /// The line is not UTF-8.
    InvalidUtf8,
    /// There is no bibcode, or it is null or blank, or no string.
    NoBibcode,
    /// A wanted field is an object or a nested list.
    UnusableField,
    /// It is longer than records may be.
    TooLong,
    /// It stands beside the path to the records.
    OutsideRecords,
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
            Self::InvalidRow => "invalid_row",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NoBibcode => "no_bibcode",
            Self::UnusableField => "unusable_field",
            Self::TooLong => "too_long",
            Self::OutsideRecords => "outside_records",
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

/// Where every metadata digest starts: deriving it anew would cost as much as a short record.
static METADATA_DIGEST: LazyLock<KeyHasher> = LazyLock::new(|| KeyHasher::new("sciembed 2026 metadata digest v1"));

impl SourceRecord<'_> {
    /// Digest of the selected fields in canonical form: a string and a list of that one string are the same.
    pub fn metadata_digest(&self, names: &[String]) -> MetadataDigest {
        let mut hasher = METADATA_DIGEST.clone();
        hasher.text(&self.bibcode).count(names.len() as u64);
        for (name, field) in names.iter().zip(&self.fields) {
            let values = field.texts();
            hasher.text(name).optional(values.map(|_| ""));
            let values = values.unwrap_or_default();
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

/// Reads what is wanted from the text of one record.
///
/// # Errors
/// A [`Refusal`] saying why it cannot be used.
pub fn parse<'a>(text: &'a [u8], wanted: &Wanted) -> Result<SourceRecord<'a>, Refusal> {
    let text = utf8(text)?;
    match fields::find(text, wanted) {
        Some(found) => into_record(found, wanted),
        None => found_carefully(text, wanted),
    }
    .map_err(|refusal| with_hint(refusal, text, wanted.key))
}

/// Of an answer that has its records somewhere inside, says where.
fn with_hint(mut refusal: Refusal, text: &str, key: &str) -> Refusal {
    if refusal.reason == Reason::NoBibcode
        && let Some(list) = lists::list_with(text.as_bytes(), key)
    {
        refusal.detail +=
            &format!("; objects with it are at `{list}`: are these the records, write `records = \"{list}\"`");
    }
    refusal
}

/// As [`parse`], and with the same result, but never the fast way: what tests and fuzzing hold that against.
///
/// # Errors
/// A [`Refusal`] saying why the text cannot be used.
pub fn parse_carefully<'a>(text: &'a [u8], wanted: &Wanted) -> Result<SourceRecord<'a>, Refusal> {
    let text = utf8(text)?;
    found_carefully(text, wanted).map_err(|refusal| with_hint(refusal, text, wanted.key))
}

fn utf8(text: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(text).map_err(|error| {
        let detail = format!("byte {} of the line", error.valid_up_to());
        Refusal { reason: Reason::InvalidUtf8, detail, bibcode: None }
    })
}

fn found_carefully<'a>(text: &'a str, wanted: &Wanted) -> Result<SourceRecord<'a>, Refusal> {
    let found = fields::find_carefully(text, wanted).map_err(|error| Refusal {
        reason: Reason::InvalidJson,
        detail: without_line(&error),
        bibcode: None,
    })?;
    into_record(found, wanted)
}

/// The error by its byte: its "line 1" is the line itself, and would contradict the line's number in the file.
fn without_line(error: &serde_json::Error) -> String {
    let told = error.to_string();
    match told.rfind(" at line ") {
        Some(at) => format!("{}, at byte {} of the line", &told[..at], error.column()),
        None => told,
    }
}

fn into_record<'a>(found: Found<'a>, wanted: &Wanted) -> Result<SourceRecord<'a>, Refusal> {
    let bibcode = bibcode(found.bibcode, wanted.key)?;
    let mut fields = Vec::with_capacity(wanted.fields.len());
    for (name, raw) in wanted.fields.iter().zip(found.fields) {
        let refuse = |reason, detail| Refusal { reason, detail, bibcode: Some(bibcode.clone().into_owned()) };
        match raw.map(read) {
            None => fields.push(Field::Missing),
            Some(Ok(value)) => fields.push(
                value
                    .into_field()
                    .map_err(|shape| refuse(Reason::UnusableField, format!("field `{name}` is {shape}")))?,
            ),
            Some(Err(error)) => {
                return Err(refuse(Reason::InvalidJson, format!("field `{name}`: {}", without_line(&error))));
            }
        }
    }
    let aliases = found.aliases.map(|raw| aliases(raw, &bibcode)).unwrap_or_default();
    Ok(SourceRecord { bibcode, fields, aliases, has_duplicates: found.has_duplicates })
}

/// The bibcodes in a string or a list of strings, in their order and each once, but the record's own.
fn aliases<'a>(raw: &'a str, own: &str) -> Vec<Cow<'a, str>> {
    let mut aliases: Vec<Cow<'a, str>> = Vec::new();
    let mut add = |raw: &'a str| {
        let alias = string(raw).map(trimmed).unwrap_or_default();
        if is_bibcode(&alias) && alias != own && !aliases.contains(&alias) {
            aliases.push(alias);
        }
    };
    if raw.starts_with('[') {
        let items: Vec<&'a RawValue> = serde_json::from_str(raw).unwrap_or_default();
        items.iter().map(|item| item.get()).filter(|item| item.starts_with('"')).for_each(add);
    } else if raw.starts_with('"') {
        add(raw);
    }
    aliases
}

fn bibcode<'a>(raw: Option<&'a str>, key: &str) -> Result<Cow<'a, str>, Refusal> {
    let refuse = |fault: &str| {
        let detail = format!("the {}{fault}", key_in_words(key));
        Refusal { reason: Reason::NoBibcode, detail, bibcode: None }
    };
    let text = match raw {
        None | Some("null") => return Err(refuse(" is missing")),
        Some(raw) if raw.starts_with('"') => {
            string(raw).map_err(|error| refuse(&format!(": {}", without_line(&error))))?
        }
        Some(_) => return Err(refuse(" is not a string")),
    };
    // No key has spaces around it, and nobody would look it up with them.
    let text = trimmed(text);
    if text.is_empty() {
        return Err(refuse(" is blank"));
    }
    // A newline in it would shift every line of the published list of bibcodes.
    if text.contains(char::is_control) {
        return Err(refuse(" has a control character in it"));
    }
    Ok(text)
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// The text of a JSON string: where it stands, if it has no escapes.
fn string(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match raw.get(1..raw.len().saturating_sub(1)) {
        Some(inside) if memchr(b'\\', inside.as_bytes()).is_none() => Ok(Cow::Borrowed(inside)),
        _ => serde_json::from_str(raw).map(Cow::Owned),
    }
}

/// A field's value, as far as its shape can be used.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object,
}

/// Reads a value. Numbers and booleans stay as they are written: `1.10` is a version to somebody, and an identifier may
/// have more digits than a float.
fn read(raw: &str) -> Result<Value<'_>, serde_json::Error> {
    Ok(match raw.as_bytes().first() {
        Some(b'"') => Value::Text(string(raw)?),
        Some(b'n') => Value::Null,
        Some(b'{') => Value::Object,
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw)?;
            Value::List(items.into_iter().map(|raw| item(raw.get())).collect::<Result<_, _>>()?)
        }
        _ => Value::Text(Cow::Borrowed(raw)),
    })
}

/// Reads an element of a list. A list inside a list is refused by its shape alone: what is in it is not read, however deep.
fn item(raw: &str) -> Result<Value<'_>, serde_json::Error> {
    if raw.starts_with('[') { Ok(Value::List(Vec::new())) } else { read(raw) }
}

impl<'a> Value<'a> {
    /// As a field; the shape's name if it has no plain text.
    fn into_field(self) -> Result<Field<'a>, &'static str> {
        match self {
            Self::Null => Ok(Field::Null),
            Self::Text(text) => Ok(Field::Texts(vec![text])),
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
                Ok(Field::Texts(texts))
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

    fn texts(record: &SourceRecord) -> Vec<Option<Vec<String>>> {
        let owned = |texts: &[Cow<str>]| texts.iter().map(|text| text.clone().into_owned()).collect();
        record.fields.iter().map(|field| field.texts().map(owned)).collect()
    }

    fn fields(line: &str) -> Vec<Option<Vec<String>>> {
        texts(&parse(line.as_bytes(), &Wanted::of("bibcode", &names())).unwrap())
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
        let names = names();
        let wanted = Wanted::of("bibcode", &names);
        let digest = |line: &str| parse(line.as_bytes(), &wanted).unwrap().metadata_digest(&names);
        assert_eq!(digest(r#"{"bibcode":"b","title":["T"]}"#), digest(r#"{"year":"2010","title":"T","bibcode":"b"}"#));
        assert_ne!(digest(r#"{"bibcode":"b","title":"T"}"#), digest(r#"{"bibcode":"b","abstract":"T"}"#));
        assert_ne!(digest(r#"{"bibcode":"b","title":""}"#), digest(r#"{"bibcode":"b"}"#));
    }

    #[test]
    fn the_key_is_read_from_the_field_that_is_named() {
        let names = names();
        let wanted = Wanted::of("_id", &names);
        let record = parse(br#"{"_id":" 7 ","bibcode":["another field"],"title":"T"}"#, &wanted).unwrap();
        assert_eq!((&*record.bibcode, &texts(&record)[0]), ("7", &Some(vec!["T".to_owned()])));
        let same = parse(br#"{"bibcode":"7","title":"T"}"#, &Wanted::of("bibcode", &names)).unwrap();
        assert_eq!(record.metadata_digest(&names), same.metadata_digest(&names));
        let refused = |line: &str| parse(line.as_bytes(), &wanted).unwrap_err();
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
        let answer = br#"{"response":{"docs":[{"bibcode":"b"}]}}"#;
        let told = "the bibcode is missing; objects with it are at `response.docs`: are these the records, write `records = \"response.docs\"`";
        assert_eq!(refusal(answer), (Reason::NoBibcode, told.into()));
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
        let names = names();
        let wanted = Wanted { key: "bibcode", fields: &names, aliases: Some("identifier") };
        let read = |identifier: &str| {
            let line = format!(r#"{{"bibcode":"2021ApJ...900....1A","identifier":{identifier},"title":"T"}}"#);
            let record = parse(line.as_bytes(), &wanted).unwrap();
            assert_eq!(texts(&record)[0], Some(vec!["T".to_owned()]), "{identifier}");
            record.aliases.into_iter().map(Cow::into_owned).collect::<Vec<String>>()
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

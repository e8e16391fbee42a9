//! Finds the wanted fields in the text of a record, and leaves their values as JSON text.
//!
//! Twice: [`find`] skips what is not wanted by vector instructions, four times as fast as [`find_carefully`], which it
//! leaves everything to that it does not like. So what is refused, and in what words, is for one parser to say. And
//! only that one may meet deep nesting: it keeps no stack.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr2_iter, memmem};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sonic_rs::to_object_iter;

use super::members::members;
use super::record::Wanted;

/// Brackets that open in a record at most, for the fast way to be taken: it goes down a level with each.
const FAST_BRACKETS: usize = 512;

/// What is white space in JSON; that of ASCII has the form feed besides.
const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What stood in a record, still as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value of the key field.
    pub bibcode: Option<&'a str>,
    /// The values of the wanted fields.
    pub fields: Vec<Option<&'a str>>,
    /// The value of the field of aliases.
    pub aliases: Option<&'a str>,
    /// Whether any of these stood twice or more.
    pub has_duplicates: bool,
}

impl<'a> Found<'a> {
    fn nothing(wanted: &Wanted) -> Self {
        Self { bibcode: None, fields: vec![None; wanted.fields.len()], aliases: None, has_duplicates: false }
    }

    /// Keeps a value if its key is wanted. Of a key that stands twice the last one counts, as everywhere in JSON.
    fn keep(&mut self, wanted: &Wanted, key: &str, raw: &'a str) {
        let Self { bibcode, fields, aliases, has_duplicates } = self;
        let mut keep = |name: &str, place: &mut Option<&'a str>| {
            if let Some(value) = value_at(name, key, raw) {
                *has_duplicates |= std::mem::replace(place, value).is_some();
            }
        };
        keep(wanted.key, bibcode);
        wanted.fields.iter().zip(fields).for_each(|(name, place)| keep(name, place));
        if let Some(name) = wanted.aliases {
            keep(name, aliases);
        }
    }
}

/// What the name of a field stands for, in the value of a key of the record: that value, or one inside it, if it is there;
/// none at all if the name leads elsewhere.
fn value_at<'a>(name: &str, key: &str, raw: &'a str) -> Option<Option<&'a str>> {
    match name.strip_prefix(key)? {
        "" => Some(Some(raw)),
        inside => Some(dig(raw, inside.strip_prefix('.')?)),
    }
}

/// The value at a path: keys of objects, and numbers of list elements from 0, with dots between. What is no list is a list
/// of one, as it is everywhere else.
fn dig<'a>(raw: &'a str, path: &str) -> Option<&'a str> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = if raw.starts_with('[') {
        let items: Vec<&'a RawValue> = serde_json::from_str(raw).ok()?;
        items.get(first.parse::<usize>().ok()?)?.get()
    } else if raw.starts_with('{') {
        members(raw, &[first]).ok()?[0]?.get()
    } else if first == "0" && raw != "null" {
        raw
    } else {
        return None;
    };
    rest.map_or(Some(value), |rest| dig(value, rest))
}

/// Finds the wanted fields of one object, if the text is just that and nothing about it is odd.
pub fn find<'a>(text: &'a str, wanted: &Wanted) -> Option<Found<'a>> {
    if memchr2_iter(b'{', b'[', text.as_bytes()).nth(FAST_BRACKETS).is_some() || has_odd_escape(text.as_bytes()) {
        return None;
    }
    let mut found = Found::nothing(wanted);
    let mut end = None;
    for entry in to_object_iter(text) {
        let (key, value) = entry.ok()?;
        let Cow::Borrowed(raw) = value.as_raw_cow() else { return None };
        end = Some(place_in(text, raw)? + raw.len());
        found.keep(wanted, &key, raw);
    }
    // The walk ends with the object's bracket: nothing may stand behind it.
    let behind = text.get(end?..)?.trim_matches(JSON_SPACE);
    (behind == "}").then_some(found)
}

/// Whether some `\\u` is followed by anything but four digits. The fast way does not look; in `\\\\upsilon` it would be right.
fn has_odd_escape(text: &[u8]) -> bool {
    let is_odd = |at: usize| !text[at + 2..].iter().take(4).all(u8::is_ascii_hexdigit) || at + 6 > text.len();
    memmem::find_iter(text, b"\\u").any(is_odd)
}

/// The byte of `text` at which its part `part` begins.
fn place_in(text: &str, part: &str) -> Option<usize> {
    (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize).filter(|at| at + part.len() <= text.len())
}

/// Finds the wanted fields of any text, or says why it is no object.
///
/// # Errors
/// That the text is no JSON object.
pub fn find_carefully<'a>(text: &'a str, wanted: &Wanted) -> Result<Found<'a>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = Seed(wanted).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

/// Reads an object, keeping wanted keys only.
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
        let Wanted { key: of_key, fields, aliases } = *self.0;
        let mut found = Found::nothing(self.0);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let mut names = fields.iter().map(String::as_str).chain([of_key]).chain(aliases);
            if names.any(|name| name.starts_with(&*key)) {
                let value: &'de RawValue = map.next_value()?;
                found.keep(self.0, &key, value.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Vec<String> {
        vec!["title".into(), "abstract".into()]
    }

    /// The fast way finds what the careful one finds, or leaves it to that.
    fn agree(text: &str) -> bool {
        let names = names();
        let wanted = Wanted { key: "bibcode", fields: &names, aliases: Some("title") };
        find(text, &wanted).is_none_or(|found| find_carefully(text, &wanted).is_ok_and(|other| other == found))
    }

    #[test]
    fn the_fast_way_is_taken_by_ordinary_records() {
        let names = names();
        let wanted = Wanted::of("bibcode", &names);
        for text in [
            r#"{"bibcode":"b","title":["T"],"abstract":"\"A\"","x":{"y":[1,2.5e3,true,null]}}"#,
            " { \"bibcode\" : \"b\" , \"z\" : [ ] } ",
            r#"{"title":"x","title":"y","bib\u0063ode":"b"}"#,
        ] {
            let found = find(text, &wanted).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found, find_carefully(text, &wanted).unwrap(), "{text}");
        }
        let twice = find(r#"{"title":"x","bibcode":"b","title":"y"}"#, &wanted).unwrap();
        assert_eq!((twice.fields[0], twice.has_duplicates), (Some("\"y\""), true));
    }

    #[test]
    fn a_path_leads_into_a_value() {
        let names: Vec<String> =
            ["author.0", "author.2", "pub.name", "pub.x.1.y", "pub", "title.0", "title.1"].map(str::to_owned).into();
        let text = r#"{"bibcode":"b","author":["A","B"],"pub":{"name":"ApJ","x":[0,{"y":null}]},"title":"T"}"#;
        let found = find(text, &Wanted::of("bibcode", &names)).unwrap();
        let pub_object = r#"{"name":"ApJ","x":[0,{"y":null}]}"#;
        let expected = [Some("\"A\""), None, Some("\"ApJ\""), Some("null"), Some(pub_object), Some("\"T\""), None];
        assert_eq!(found.fields, expected);
        assert_eq!(find_carefully(text, &Wanted::of("bibcode", &names)).unwrap(), found);
    }

    #[test]
    fn behind_a_path_the_last_of_several_counts_too() {
        let names = ["pub.name".to_owned()];
        for (text, value) in [
            (r#"{"pub":{"name":"A"},"pub":{"name":"B","name":"C"}}"#, Some("\"C\"")),
            (r#"{"pub":{"name":"A"},"pub":{"x":1}}"#, None),
        ] {
            let found = find(text, &Wanted::of("bibcode", &names)).unwrap();
            assert_eq!((found.fields[0], found.has_duplicates), (value, true), "{text}");
            assert_eq!(find_carefully(text, &Wanted::of("bibcode", &names)).unwrap(), found);
        }
    }

    #[test]
    fn a_form_feed_is_no_white_space() {
        for text in
            ["{\"bibcode\":\"b\"}\u{c}", "{\"bibcode\":\"b\"\u{c}}", "\u{c}{\"bibcode\":\"b\"}", "{\"x\":{}} \r\u{c}\r"]
        {
            let names = names();
            assert_eq!(find(text, &Wanted::of("bibcode", &names)), None, "{text:?}");
            assert!(agree(text));
        }
    }

    #[test]
    fn deep_nesting_ends_no_stack() {
        let names = names();
        let wanted = Wanted::of("bibcode", &names);
        let deep = format!(r#"{{"bibcode":"b","x":{}{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(find(&deep, &wanted), None);
        assert_eq!(find_carefully(&deep, &wanted).unwrap().bibcode, Some("\"b\""));
    }

    proptest! {
        #[test]
        fn both_ways_agree_on_anything(text in "\\PC{0,60}") {
            prop_assert!(agree(&text));
        }

        /// Pieces of JSON in any order: most are broken in ways that records are.
        #[test]
        fn both_ways_agree_on_pieces(pieces in prop::collection::vec(prop_oneof![
            Just("{"), Just("}"), Just("["), Just("]"), Just(":"), Just(","), Just("\"title\""), Just("\"bibcode\""),
            Just("\"\\ud800\""), Just("\"a\\nb\""), Just("\"\t\""), Just("\""), Just("\\"), Just("1"), Just("-0.5e+7"),
            Just("01"), Just("1e999"), Just("tru"), Just("true"), Just("null"), Just("nul"), Just(" "), Just("\n"), Just("é"),
            Just("\u{0}"), Just("\"title\":\"x\","), Just("{\"bibcode\":\"b\","),
        ], 0..24)) {
            prop_assert!(agree(&pieces.concat()));
        }

        /// A record in order, with one byte of it another.
        #[test]
        fn both_ways_agree_on_a_changed_byte(at in 0usize..90, byte in 1u8..128) {
            let mut text = br#"{"bibcode":"b","title":["T","\u00e9"],"x":{"y":[1,-2.5e3,true,null]},"abstract":"A\\n b"}"#.to_vec();
            let at = at % text.len();
            text[at] = byte;
            prop_assert!(agree(std::str::from_utf8(&text).unwrap()));
        }
    }
}

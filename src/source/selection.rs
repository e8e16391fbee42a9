//! Which records of a file are taken: what a condition asks for is looked up in the line, and papers are drawn.
//!
//! A path leads through objects by name and through lists by number, counted from 0. A name that meets a list is looked
//! up in each of its elements, and what they have is a list again: `authors.name` is the names of all authors. Where a
//! path leads nowhere the value is missing. What a comparison then means is said in `condition/`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::members::members;
use super::record::{Reason, Refusal};
use crate::condition::{Condition, Fraction, Value, in_sample};

/// Lists inside lists that are looked into; a deeper one compares as an object does. Each level reads its text once more,
/// and a line may be all brackets.
const MAX_LISTS: usize = 8;

/// What a selection makes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Taken,
    /// The draw leaves it out, and it is not looked at.
    NotDrawn,
    /// It does not meet the condition.
    NotMet,
}

/// What a load takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    condition: Option<&'a Condition>,
    sample: Option<Fraction>,
}

impl<'a> Selection<'a> {
    /// The records for which this condition holds, and of those this part.
    pub const fn new(condition: Option<&'a Condition>, sample: Option<Fraction>) -> Self {
        Self { condition, sample }
    }

    /// The fields that are looked up, as they are written in the condition.
    pub fn fields(&self) -> &'a [String] {
        self.condition.map(Condition::fields).unwrap_or_default()
    }

    /// Says whether the record on this line is taken. Counts in `present`, by the places of [`Self::fields`], which of them it
    /// has; they are not looked up in a record that is not drawn.
    ///
    /// # Errors
    /// A refusal where a field that is looked up has text that cannot be read, or the line is no JSON object.
    pub fn takes(&self, line: &str, bibcode: &str, present: &mut [u64]) -> Result<Verdict, Refusal> {
        if !self.sample.is_none_or(|sample| in_sample(bibcode, sample.get())) {
            return Ok(Verdict::NotDrawn);
        }
        let Some(condition) = self.condition else { return Ok(Verdict::Taken) };
        let values = values(line, condition).map_err(|detail| Refusal {
            reason: Reason::InvalidJson,
            detail,
            bibcode: Some(bibcode.to_owned()),
        })?;
        for (value, present) in values.iter().zip(present) {
            *present += u64::from(!matches!(value, Value::Missing | Value::Null));
        }
        Ok(if condition.holds(&values) { Verdict::Taken } else { Verdict::NotMet })
    }
}

/// What a record has in the fields of a condition, in their order; or why that cannot be told.
fn values<'l>(line: &'l str, condition: &Condition) -> Result<Vec<Value<'l>>, String> {
    let heads: Vec<&str> = condition.paths().iter().map(|path| path[0].as_str()).collect();
    let found = members(line, &heads).map_err(|error| error.to_string())?;
    let paths = condition.paths().iter().zip(condition.fields());
    paths
        .map(|(path, field)| {
            // Paths with one first name share what it found.
            let head = heads.iter().position(|head| *head == path[0]);
            let Some(raw) = head.and_then(|head| found[head]) else { return Ok(Value::Missing) };
            follow(raw, &path[1..], MAX_LISTS).map_err(|_| format!("field `{field}` has text that cannot be read"))
        })
        .collect()
}

/// What stands at the end of a path that goes on from here.
fn follow<'l>(raw: &'l RawValue, path: &[String], lists: usize) -> Result<Value<'l>, serde_json::Error> {
    let Some((name, rest)) = path.split_first() else { return read(raw, lists) };
    match raw.get().as_bytes().first() {
        Some(b'{') => match members(raw.get(), &[name])?[0] {
            Some(raw) => follow(raw, rest, lists),
            None => Ok(Value::Missing),
        },
        Some(b'[') if lists > 0 => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get())?;
            if name.bytes().all(|byte| byte.is_ascii_digit()) {
                let item = name.parse().ok().and_then(|at: usize| items.get(at));
                return item.map_or(Ok(Value::Missing), |item| follow(item, rest, lists - 1));
            }
            let values: Vec<Value<'l>> =
                items.into_iter().map(|item| follow(item, path, lists - 1)).collect::<Result<_, _>>()?;
            let values: Vec<Value<'l>> = values.into_iter().filter(|value| *value != Value::Missing).collect();
            Ok(if values.is_empty() { Value::Missing } else { Value::List(values) })
        }
        // What is no list is a list of one.
        Some(b'"' | b't' | b'f' | b'-' | b'0'..=b'9') if name == "0" => follow(raw, rest, lists),
        _ => Ok(Value::Missing),
    }
}

/// A value as conditions see it. Text without escapes stays where it stands.
fn read(raw: &RawValue, lists: usize) -> Result<Value<'_>, serde_json::Error> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') if !text.contains('\\') => Value::Text(Cow::Borrowed(&text[1..text.len() - 1])),
        Some(b'"') => Value::Text(Cow::Owned(serde_json::from_str(text)?)),
        Some(b'[') if lists > 0 => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            Value::List(items.into_iter().map(|item| read(item, lists - 1)).collect::<Result<_, _>>()?)
        }
        Some(b'{' | b'[') => Value::Object,
        Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        _ => Value::Number(text),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"{"bibcode": "b", "year": "2010", "pub": {"name": "ApJ", "7": true}, "year": "2011", "nul": null,
        "author": ["Hu\u0062ble, E.", "Ö"], "refs": [{"id": 1}, {"id": 2, "x": 0}, [{"id": 3}], 4], "n": -1.50e3, "o": {}}"#;

    fn value(path: &str) -> Value<'static> {
        let condition = Condition::parse(&format!("{path} is null")).unwrap();
        values(LINE, &condition).unwrap().remove(0)
    }

    #[test]
    fn paths_lead_through_objects_and_lists() {
        let text = |text: &'static str| Value::Text(text.into());
        assert_eq!(value("year"), text("2011"), "the last of two counts");
        assert_eq!(value("pub.name"), text("ApJ"));
        assert_eq!(value("pub.7"), Value::Bool(true));
        assert_eq!(value("year.0"), text("2011"), "what is no list is a list of one");
        assert_eq!(value("author.0"), text("Hubble, E."));
        assert_eq!(value("author"), Value::List(vec![text("Hubble, E."), text("Ö")]));
        assert_eq!(value("n"), Value::Number("-1.50e3"));
        assert_eq!((value("o"), value("nul")), (Value::Object, Value::Null));
        assert_eq!(value("refs.1.x"), Value::Number("0"));
        let [one, two, three] = ["1", "2", "3"].map(Value::Number);
        assert_eq!(value("refs.id"), Value::List(vec![one, two, Value::List(vec![three])]));
        for nowhere in
            ["x", "pub.x", "author.2", "author.99999999999999999999", "author.x", "year.1", "nul.0", "`pub.name`"]
        {
            assert_eq!(value(nowhere), Value::Missing, "{nowhere}");
        }
    }

    fn taken(condition: &str, sample: Option<f64>, line: &str) -> (Result<Verdict, Refusal>, Vec<u64>) {
        let condition = Condition::parse(condition).unwrap();
        let selection = Selection::new(Some(&condition), sample.and_then(Fraction::new));
        let mut present = vec![0; selection.fields().len()];
        (selection.takes(line, "b", &mut present), present)
    }

    #[test]
    fn takes_what_is_drawn_and_meets_the_condition() {
        assert_eq!(taken("year > 2010 and nul is null and x = 1", None, LINE), (Ok(Verdict::NotMet), vec![1, 0, 0]));
        assert_eq!(taken("year > 2010 or x = 1", Some(1.0), LINE), (Ok(Verdict::Taken), vec![1, 0]));
        assert_eq!(taken("year > 2010", Some(1e-9), LINE), (Ok(Verdict::NotDrawn), vec![0]), "not looked at");
        assert_eq!(Selection::default().takes(LINE, "b", &mut []), Ok(Verdict::Taken));
    }

    #[test]
    fn text_that_cannot_be_read_is_refused() {
        let (refused, _) = taken("`odd one` = 'x'", None, r#"{"odd one": "\ud800"}"#);
        let refusal = refused.unwrap_err();
        assert_eq!((refusal.reason, refusal.bibcode.as_deref()), (Reason::InvalidJson, Some("b")));
        assert_eq!(refusal.detail, "field ``odd one`` has text that cannot be read");
    }

    /// A line may be all brackets: that costs neither the stack nor the square of its length.
    #[test]
    fn deep_lists_compare_as_objects() {
        let deep = |levels: usize| format!("{{\"x\": {}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(taken("x = 1", None, &deep(MAX_LISTS)).0, Ok(Verdict::Taken));
        assert_eq!(taken("x = 1", None, &deep(MAX_LISTS + 1)).0, Ok(Verdict::NotMet));
        assert_eq!(taken("x = 1 or x.a = 1 or x.0.0 = 1", None, &deep(1_000_000)).0, Ok(Verdict::NotMet));
    }

    proptest! {
        /// Any line gives an answer or a refusal.
        #[test]
        fn any_line_is_answered(line in prop_oneof![".{0,40}", r#"\{"a": [\[{}\]"a:,1\\u0.]{0,20}\}"#]) {
            let _ = taken("a = 1 or a.a.0 contains 'x' or b is null", None, &line);
        }
    }
}

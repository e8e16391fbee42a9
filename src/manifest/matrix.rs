//! `[matrix]`: axes and their values.
//!
//! A range stays a pair of numbers until the steps have been counted (`graph/expand.rs`), so that a slip such as
//! `"2015..=20200000"` is a fault and not a full memory.

use std::collections::BTreeMap;

use super::fault::{Code, Fault};
use super::parse::Reading;
use super::spec::{self, Cell};
use super::template::is_axis_name;
use super::text::Span;

/// The values of one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Both ends included.
    Range(u64, u64),
    List(Vec<String>),
}

impl Values {
    pub fn len(&self) -> u64 {
        match self {
            Self::Range(first, last) => last - first + 1,
            Self::List(values) => values.len() as u64,
        }
    }

    /// The values in the order written. Count before calling.
    pub fn to_vec(&self) -> Vec<String> {
        match self {
            Self::Range(first, last) => (*first..=*last).map(|value| value.to_string()).collect(),
            Self::List(values) => values.clone(),
        }
    }
}

/// The axes by name. An axis whose values are faulty has none, and nothing that uses it is made.
pub(crate) type Matrix = BTreeMap<String, Option<Values>>;

/// Reads the axes and reports what is wrong with them.
pub(crate) fn read(axes: &BTreeMap<String, spec::Axis>, reading: &Reading, faults: &mut Vec<Fault>) -> Matrix {
    let places = &reading.places;
    let mut matrix = Matrix::new();
    for (name, axis) in axes {
        let Some(place) = places.get(&["matrix", name]) else { continue };
        if !is_axis_name(name) {
            faults.push(
                Fault::new(Code::InvalidName, format!("`{name}` cannot name an axis"))
                    .at(place.key, "not a name")
                    .help("letters, digits and `_`, with a letter first"),
            );
            continue;
        }
        let values = match axis {
            spec::Axis::Range(text) => read_range(name, text, place.value).map_err(|fault| faults.push(fault)).ok(),
            spec::Axis::List(cells) => read_list(name, cells, place.value, reading, faults),
        };
        matrix.insert(name.clone(), values);
    }
    // An axis that could not be read is known all the same, or every use of it would be a fault too.
    for removed in &reading.removed {
        if let [section, name, ..] = removed.as_slice()
            && section == "matrix"
        {
            matrix.insert(name.clone(), None);
        }
    }
    matrix
}

fn read_range(name: &str, text: &str, span: Span) -> Result<Values, Fault> {
    let refused = |message: String, label: &str| Fault::new(Code::Range, message).at(span, label);
    let form = "write `\"2015..=2020\"`, or `\"2015..2021\"` without its end, or a list";
    let unread = || {
        let help = otherwise_written(text).map_or(form.to_owned(), |meant| format!("did you mean `\"{meant}\"`?"));
        refused(format!("`matrix.{name}` cannot be read as a range"), "not a range").help(help)
    };
    let (first, last, closed) = match (text.split_once("..="), text.split_once("..")) {
        (Some((first, last)), _) => (first, last, true),
        (None, Some((first, last))) => (first, last, false),
        (None, None) => return Err(unread()),
    };
    let (Some(first), Some(end)) = (number(first), number(last)) else { return Err(unread()) };
    if first > end {
        let message = format!("the range `matrix.{name}` runs backwards");
        return Err(refused(message, "the end is before the start").help(format!("write `\"{end}..={first}\"`")));
    }
    if first == end && !closed {
        let message = format!("the range `matrix.{name}` is empty");
        let help = format!("`..` leaves the end out; `\"{first}..={end}\"` keeps it");
        return Err(refused(message, "no value lies in it").help(help));
    }
    Ok(Values::Range(first, if closed { end } else { end - 1 }))
}

/// The range that was meant where its ends stand as other languages write them: `2003-2004`, `2003:2004`, or one year.
fn otherwise_written(text: &str) -> Option<String> {
    let ends = ["...", "–", "-", ":", " to "].iter().find_map(|between| text.split_once(between));
    let (first, last) = ends.unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then(|| format!("{first}..={last}"))
}

/// A plain number. One with a leading zero is refused: the value would lose it, and then name no file.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    // 18 digits leave room for counting.
    if plain && text.len() <= 18 { text.parse().ok() } else { None }
}

fn read_list(name: &str, cells: &[Cell], span: Span, reading: &Reading, faults: &mut Vec<Fault>) -> Option<Values> {
    let damaged = reading.damaged(&["matrix", name]);
    let before = faults.len();
    if cells.is_empty() && !damaged {
        let fault = Fault::new(Code::Range, format!("the axis `matrix.{name}` has no values")).at(span, "empty");
        faults.push(fault.help("list at least one value, or remove the axis"));
    }
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for (n, Cell(value)) in cells.iter().enumerate() {
        let at = reading.places.value(&["matrix", name, &n.to_string()]).unwrap_or(span);
        if !is_cell(value) {
            faults.push(
                Fault::new(Code::InvalidName, format!("`{value}` cannot be a value of `matrix.{name}`"))
                    .at(at, "cannot be part of a file name")
                    .help("letters, digits, `_`, `.` and `-`, without a dot at the start"),
            );
        }
        if let Some(first) = seen.insert(value, at) {
            let message = format!("`{value}` is twice in `matrix.{name}`");
            faults
                .push(Fault::new(Code::DuplicateValue, message).at(at, "the second time").at(first, "the first time"));
        }
    }
    let values = cells.iter().map(|Cell(value)| value.clone()).collect();
    (faults.len() == before && !damaged).then_some(Values::List(values))
}

fn is_cell(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !value.is_empty() && !value.starts_with('.') && value.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<Vec<String>, String> {
        read_range("year", text, Span::new(0, 0)).map(|values| values.to_vec()).map_err(|fault| fault.message)
    }

    #[test]
    fn ranges_with_and_without_their_end() {
        assert_eq!(range("2019..=2021").unwrap(), ["2019", "2020", "2021"]);
        assert_eq!(range("2019..2021").unwrap(), ["2019", "2020"]);
        assert_eq!(range("7 ..= 7").unwrap(), ["7"]);
        for faulty in ["2020..=2019", "7..7", "a..b", "..=3", "01..=12", "1..=", "1..=9999999999999999999", "-1..=3"] {
            assert!(range(faulty).is_err(), "{faulty}");
        }
    }

    #[test]
    fn ranges_as_others_write_them() {
        for text in ["2003-2004", "2003:2004", "2003...2004", "2003 – 2004", "2003 to 2004"] {
            let fault = read_range("year", text, Span::new(0, 0)).unwrap_err();
            assert_eq!(fault.help.as_deref(), Some("did you mean `\"2003..=2004\"`?"), "{text}");
        }
        for (text, meant) in [("12", Some("12..=12")), ("2004-2003", None), ("a-b", None), ("2003-01-01", None)] {
            assert_eq!(otherwise_written(text).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn huge_ranges_are_counted_and_not_made() {
        let Ok(values) = read_range("n", "0..=999999999999999999", Span::new(0, 0)) else { panic!("a range") };
        assert_eq!(values.len(), 1_000_000_000_000_000_000);
    }
}

//! Strings with `{axis}` in them.
//!
//! `{{` and `}}` are literal braces. Anything else in braces is refused rather than passed on: prefixes come from
//! papers, and LaTeX that slipped through half-read would change vectors unseen.

use std::collections::BTreeMap;
use std::ops::Range;

use super::fault::{Code, Fault};
use super::suggestion::{hint, listed};
use super::text::{Span, Text};

/// A template, read. Rendering cannot fail once every axis is known.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Axis(String),
}

/// A pair of braces, or one without its other half; the range includes the braces.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hole<'s> {
    range: Range<usize>,
    /// What is inside, if both braces are there.
    inner: Option<&'s str>,
}

impl Template {
    /// Reads a template written at `span`, whose value is `value`. Words that are no axis are reported at the very
    /// word; what can be read is kept.
    pub fn read(value: &str, span: Span, text: &Text, axes: &[&str], faults: &mut Vec<Fault>) -> Self {
        let holes = holes(value);
        // Escapes make the written text differ from its value; holes are found again in what was written.
        let written = holes_written(text.slice(span), holes.len());
        let mut parts = Vec::new();
        let mut end = 0;
        for (n, hole) in holes.iter().enumerate() {
            parts.push(Part::Text(unescaped(&value[end..hole.range.start])));
            end = hole.range.end;
            let at = written.get(n).map_or(span, |range| Span::from(range.clone()).shift(span.start));
            match judge(hole, at, axes) {
                Ok(axis) => parts.push(Part::Axis(axis)),
                Err(fault) => faults.push(fault),
            }
        }
        parts.push(Part::Text(unescaped(&value[end..])));
        Self(parts)
    }

    /// The axes it mentions.
    pub fn axes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Axis(axis) => Some(axis.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The string for one choice of values.
    pub fn render(&self, cells: &BTreeMap<String, String>) -> String {
        let filled = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Axis(axis) => cells.get(axis).expect("a node's axes include those of its strings").as_str(),
        });
        filled.collect()
    }
}

/// Whether a word can name an axis.
pub(crate) fn is_axis_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn judge(hole: &Hole<'_>, at: Span, axes: &[&str]) -> Result<String, Fault> {
    let doubled = "a literal brace is doubled: `{{` or `}}`";
    let Some(inner) = hole.inner else {
        return Err(Fault::new(Code::Template, "a brace without its other half").at(at, "alone").help(doubled));
    };
    if !is_axis_name(inner) {
        return Err(Fault::new(Code::Template, "braces must enclose the name of an axis")
            .at(at, "no axis can be called this")
            .help(format!("{doubled}, so this text would be `{{{{{inner}}}}}`")));
    }
    if axes.contains(&inner) {
        return Ok(inner.to_owned());
    }
    let there = |axes: &[&str]| match axes {
        [] => "the manifest has no matrix".to_owned(),
        _ => format!("the matrix has {}", listed(axes.iter().copied())),
    };
    let word = Span::new(at.start + 1, at.end.saturating_sub(1).max(at.start + 1));
    Err(Fault::new(Code::UnknownAxis, format!("`{inner}` is no axis of the matrix"))
        .at(word, "not an axis")
        .help(format!("{} (literal braces are doubled: `{{{{{inner}}}}}`)", hint(inner, axes, there))))
}

/// The holes in the text as written, if they are the same ones.
fn holes_written(written: &str, expected: usize) -> Vec<Range<usize>> {
    let found = holes(written);
    if found.len() == expected { found.into_iter().map(|hole| hole.range).collect() } else { Vec::new() }
}

fn holes(text: &str) -> Vec<Hole<'_>> {
    let bytes = text.as_bytes();
    let mut holes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let brace = bytes[at];
        if brace != b'{' && brace != b'}' {
            at += 1;
        } else if bytes.get(at + 1) == Some(&brace) {
            at += 2;
        } else {
            let hole = hole(text, at);
            at = hole.range.end;
            holes.push(hole);
        }
    }
    holes
}

/// The hole that the single brace at `start` opens, or the brace alone.
fn hole(text: &str, start: usize) -> Hole<'_> {
    let inside = &text[start + 1..];
    let close =
        inside.find(['{', '}']).filter(|close| text[start..].starts_with('{') && inside[*close..].starts_with('}'));
    match close {
        Some(close) => Hole { range: start..start + close + 2, inner: Some(&inside[..close]) },
        None => Hole { range: start..start + 1, inner: None },
    }
}

fn unescaped(text: &str) -> String {
    text.replace("{{", "{").replace("}}", "}")
}

#[cfg(test)]
mod tests {
    use super::super::text::Source;
    use super::*;

    /// The rendered text with year = 2017, and where each fault points.
    fn read(value: &str) -> (String, Vec<String>) {
        let text = Text::new(&Source { name: "t".into(), text: value.into() }, &[]);
        let mut faults = Vec::new();
        let template = Template::read(value, Span::new(0, value.len()), &text, &["year"], &mut faults);
        let cells = [("year".to_owned(), "2017".to_owned())].into();
        (template.render(&cells), faults.iter().map(|fault| text.slice(fault.span()).to_owned()).collect())
    }

    #[test]
    fn fills_in_axes_and_keeps_doubled_braces() {
        assert_eq!(read("ads/{year}.json").0, "ads/2017.json");
        assert_eq!(read("{{{year}}}").0, "{2017}");
        assert_eq!(read("{{x}} é {year}{year}").0, "{x} é 20172017");
        assert_eq!(read("").0, "");
    }

    #[test]
    fn points_at_the_very_word() {
        assert_eq!(read("a{yeer}b{moon}").1, ["yeer", "moon"]);
        assert_eq!(read(r"x^{\alpha}").1, [r"{\alpha}"]);
        assert_eq!(read("a } b").1, ["}"]);
        assert_eq!(read("a { b").1, ["{"]);
        assert_eq!(read("{{yeer}} {yeer}").1, ["yeer"]);
    }

    #[test]
    fn never_panics_on_braces() {
        for text in ["{", "}", "{}", "}{", "{{", "{{}", "{}}", "{é}", "{{{", "}}}"] {
            read(text);
        }
    }
}

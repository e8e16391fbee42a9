//! Templates that the fields of a record are put into: `"{title} [SEP] {abstract|Abstract: |.}"`.
//!
//! Read once, into pieces; `node/prepare.rs` fills them. A slip is told at its very place inside the string. What fields
//! there are is checked in `graph/`, which knows the load node. For `{axis}` in other strings see `template.rs`.

use std::num::NonZeroU64;
use std::ops::Range;

use super::fault::{Code, Fault};
use super::written::Written;

/// A template, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTemplate {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Text(String),
    /// The place of a field.
    Field(Placeholder),
}

/// The place of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// Its name.
    pub field: String,
    /// Characters kept of it, where it is cut.
    pub limit: Option<NonZeroU64>,
    /// Text put before it, if it is there.
    pub prefix: String,
    /// Text put after it, if it is there.
    pub suffix: String,
    /// Where its name stands in the template.
    at: Range<usize>,
}

impl Placeholder {
    /// Where its name stands in the template's text, in bytes.
    pub const fn at(&self) -> &Range<usize> {
        &self.at
    }
}

/// How a literal brace is written.
const DOUBLED: &str = "a literal brace is doubled: `{{` or `}}`";

/// What may stand in braces.
const FORMS: &str = "write `{title}`, `{title:300}` or `{abstract|before |after}`";

impl RecordTemplate {
    /// Reads a template and reports what is wrong with it; what can be read is kept.
    pub(crate) fn read(text: &str, written: &Written, faults: &mut Vec<Fault>) -> Self {
        let mut reader = Reader { text, written, faults, pieces: Vec::new() };
        let before = reader.faults.len();
        reader.read();
        let pieces = reader.pieces;
        let sound = faults.len() == before;
        let template = Self { text: text.to_owned(), pieces };
        if sound && template.placeholders().next().is_none() {
            let fault = Fault::new(Code::Template, "the template has no place for a field");
            faults.push(fault.at(written.at(0..text.len()), "every text would be the same").help(FORMS));
        }
        template
    }

    /// The template as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The places of fields, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    written: &'a Written,
    faults: &'a mut Vec<Fault>,
    pieces: Vec<Piece>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        while let Some(brace) = self.text[at..].find(['{', '}']).map(|brace| at + brace) {
            self.literal(at..brace);
            at = self.brace(brace);
        }
        self.literal(at..self.text.len());
    }

    /// Reads what a brace begins, and gives where that ends.
    fn brace(&mut self, start: usize) -> usize {
        let rest = &self.text[start..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            self.literal(start..start + 1);
            return start + 2;
        }
        if rest.starts_with('}') {
            self.fault("a brace without its other half", start..start + 1, "closes nothing", DOUBLED);
            return start + 1;
        }
        let Some(length) = rest[1..].find(['{', '}']).filter(|length| rest[1 + length..].starts_with('}')) else {
            let help = format!("close it with `}}` after the field; {DOUBLED}");
            self.fault("a brace without its other half", start..start + 1, "never closed", &help);
            return start + 1;
        };
        self.placeholder(start + 1..start + 1 + length);
        start + length + 2
    }

    /// What stands in braces.
    fn placeholder(&mut self, inside: Range<usize>) {
        let mut parts = self.text[inside.clone()].split('|');
        let head = parts.next().unwrap_or_default();
        let (prefix, suffix) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if parts.next().is_some() {
            let bar = inside.start + head.len() + prefix.len() + suffix.len() + 2;
            let help = "`|` parts the field, the text before it and the text after it";
            return self.fault("a third `|` in one pair of braces", bar..bar + 1, "one too many", help);
        }
        let (field, number) = head.split_once(':').map_or((head, None), |(field, number)| (field, Some(number)));
        let at = inside.start..inside.start + field.len();
        if field.trim().is_empty() {
            let braces = inside.start - 1..inside.end + 1;
            return self.fault("braces that name no field", braces, "no field", &format!("{FORMS}; {DOUBLED}"));
        }
        let limit = number.map(|number| number.parse::<NonZeroU64>().map_err(|_| number));
        if let Some(Err(number)) = limit {
            let place = if number.is_empty() { at.end..at.end + 1 } else { at.end + 1..at.end + 1 + number.len() };
            let message = format!("`{number}` is no number of characters");
            let help = format!("a whole number, 1 or more: `{{{field}:300}}`");
            return self.fault(&message, place, "not a number", &help);
        }
        self.pieces.push(Piece::Field(Placeholder {
            field: field.to_owned(),
            limit: limit.and_then(Result::ok),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
            at,
        }));
    }

    /// Text that stays, joined to that before it.
    fn literal(&mut self, range: Range<usize>) {
        let text = &self.text[range];
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn fault(&mut self, message: &str, part: Range<usize>, label: &str, help: &str) {
        self.faults.push(Fault::new(Code::Template, message).at(self.written.at(part), label).help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::{Source, Span, Text};
    use super::*;

    /// The template, and where each fault points.
    fn read(value: &str) -> (RecordTemplate, Vec<String>) {
        let text = Text::new(&Source { name: "t".into(), text: value.into() }, &[]);
        let written = Written::of(value, Span::new(0, value.len()), &text);
        let mut faults = Vec::new();
        let template = RecordTemplate::read(value, &written, &mut faults);
        (template, faults.iter().map(|fault| text.slice(fault.span()).to_owned()).collect())
    }

    #[test]
    fn places_have_limits_and_text_around_them() {
        let (template, faults) = read("{{a}} {title:300} [SEP] {abstract|Abstract: |.}");
        assert_eq!(faults, [""; 0]);
        let [title, text] = &template.placeholders().cloned().collect::<Vec<_>>()[..] else { panic!("two places") };
        assert_eq!((title.field.as_str(), title.limit, title.prefix.as_str()), ("title", NonZeroU64::new(300), ""));
        assert_eq!((text.prefix.as_str(), text.suffix.as_str()), ("Abstract: ", "."));
        assert_eq!(&template.text()[text.at().clone()], "abstract");
        let [Piece::Text(first), _, Piece::Text(second), _] = template.pieces() else { panic!("four pieces") };
        assert_eq!((first.as_str(), second.as_str()), ("{a} ", " [SEP] "));
    }

    #[test]
    fn slips_are_told_at_their_place() {
        for (template, at) in [
            ("{title", "{"),
            ("{title {abstract}", "{"),
            ("title}", "}"),
            ("{}", "{}"),
            ("{ } x", "{ }"),
            ("{title:many}", "many"),
            ("{title:0}", "0"),
            ("{title:}", ":"),
            ("{title:-3|a}", "-3"),
            ("{title|a|b|c}", "|"),
            ("{{title}}", "{{title}}"),
            ("", ""),
        ] {
            assert_eq!(read(template).1, [at], "{template}");
        }
    }
}

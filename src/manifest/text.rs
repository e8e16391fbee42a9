//! The manifest and its overrides as one text, so that one number says where anything was written.
//!
//! Spans count bytes in the combined text while faults are gathered; only `fault.rs` asks which source a span lies in.
//! This file does not know what the text means.

use std::ops::Range;
use std::sync::Arc;

/// A manifest as it was found. The library reads no files: whoever calls it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What diagnostics call it, usually the path.
    pub name: String,
    /// The TOML.
    pub text: String,
}

/// A stretch of the combined text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub const fn shift(self, by: usize) -> Self {
        Self::new(self.start + by, self.end + by)
    }

    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

/// What a TOML string may open with, longest first; the value of an override may have no quotes at all. An end of line
/// that follows three quotes is no part of the value.
const OPENINGS: [&str; 9] = ["\"\"\"\r\n", "'''\r\n", "\"\"\"\n", "'''\n", "\"\"\"", "'''", "\"", "'", ""];

/// The combined text. Piece 0 is the manifest, the others are the overrides in order.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    name: String,
    combined: String,
    pieces: Vec<Span>,
}

impl Text {
    pub fn new(source: &Source, overrides: &[String]) -> Self {
        let mut text = Self { name: source.name.clone(), combined: String::new(), pieces: Vec::new() };
        for piece in std::iter::once(&source.text).chain(overrides) {
            let start = text.combined.len();
            text.combined.push_str(piece);
            text.pieces.push(Span::new(start, text.combined.len()));
            // Between two pieces lies a byte of neither, so that an end and the next start differ.
            text.combined.push('\n');
        }
        text
    }

    pub fn slice(&self, span: Span) -> &str {
        &self.combined[span.range()]
    }

    /// Where a string's value starts within the span of the string, so that a place in the one is a place in the other.
    /// None where escapes, or ends of lines, make what was written differ from its value.
    pub fn start_of(&self, span: Span, value: &str) -> Option<usize> {
        let written = self.slice(span);
        let opening = OPENINGS.into_iter().find(|opening| {
            let rest = written.strip_prefix(opening).and_then(|rest| rest.strip_prefix(value));
            rest == Some(opening.trim_end())
        })?;
        Some(span.start + opening.len())
    }

    pub fn manifest(&self) -> &str {
        self.slice(self.pieces[0])
    }

    pub fn manifest_name(&self) -> &str {
        &self.name
    }

    pub fn overrides(&self) -> &[Span] {
        &self.pieces[1..]
    }

    /// The piece that a span lies in.
    pub fn piece(&self, span: Span) -> usize {
        self.pieces.iter().rposition(|piece| piece.start <= span.start).unwrap_or(0)
    }

    pub fn name(&self, piece: usize) -> &str {
        if piece == 0 { &self.name } else { "--set" }
    }

    pub fn content(&self, piece: usize) -> Arc<str> {
        Arc::from(self.slice(self.pieces[piece]))
    }

    /// The span within its piece.
    pub fn local(&self, piece: usize, span: Span) -> Range<usize> {
        let start = self.pieces[piece].start;
        span.start - start..span.end - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_finds_its_piece() {
        let source = Source { name: "wf.toml".into(), text: "a = 1".into() };
        let text = Text::new(&source, &["b=2".into(), "c=3".into()]);
        assert_eq!(text.manifest(), "a = 1");
        let [b, c] = text.overrides() else { panic!("two overrides") };
        assert_eq!((text.slice(*b), text.slice(*c)), ("b=2", "c=3"));
        assert_eq!(text.piece(Span::new(5, 5)), 0);
        assert_eq!((text.piece(*b), text.piece(*c)), (1, 2));
        assert_eq!(text.local(2, *c), 0..3);
        assert_eq!(text.name(2), "--set");
    }

    #[test]
    fn a_string_starts_behind_its_quotes() {
        for (written, value, start) in [
            ("\"x = 1\"", "x = 1", Some(1)),
            ("'x = 1'", "x = 1", Some(1)),
            ("\"\"\"x = 1\"\"\"", "x = 1", Some(3)),
            ("'''\n x = '1''''", " x = '1'", Some(4)),
            ("\"'x' = 1\"", "'x' = 1", Some(1)),
            ("x = 1", "x = 1", Some(0)),
            ("\"\"", "", Some(1)),
            ("\"x = \\\"1\\\"\"", "x = \"1\"", None),
            ("\"\"\"x \\\n= 1\"\"\"", "x = 1", None),
        ] {
            let text = Text::new(&Source { name: "t".into(), text: format!("k={written}") }, &[]);
            let span = Span::new(2, 2 + written.len());
            assert_eq!(text.start_of(span, value), start.map(|start| start + 2), "{written}");
        }
    }
}

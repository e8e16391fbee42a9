//! Where in the manifest a part of a string's value stands: escapes make what is written longer than what it says.

use std::ops::Range;

use super::text::{Span, Text};

/// A string as it was written, beside its value.
pub(crate) struct Written {
    span: Span,
    /// For each byte of the value, and its end, where it begins in what is written; none where the two cannot be matched.
    starts: Option<Vec<usize>>,
}

impl Written {
    /// The string that was written at `span`, and says `value`.
    pub fn of(value: &str, span: Span, text: &Text) -> Self {
        Self { span, starts: starts(text.slice(span), value) }
    }

    /// Where this part of the value stands; the whole string where that cannot be said.
    pub fn at(&self, part: Range<usize>) -> Span {
        let place = |at: usize| self.starts.as_ref().and_then(|starts| starts.get(at)).copied();
        match (place(part.start), place(part.end)) {
            (Some(start), Some(end)) => Span::new(start, end).shift(self.span.start),
            _ => self.span,
        }
    }
}

fn starts(written: &str, value: &str) -> Option<Vec<usize>> {
    // The value of an override stands there without quotes.
    if written == value {
        return Some((0..=value.len()).collect());
    }
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| written.starts_with(quote))?;
    let mut at = quote.len();
    if quote.len() == 3 {
        at += ["\r\n", "\n"].iter().find(|end| written[at..].starts_with(**end)).map_or(0, |end| end.len());
    }
    let mut starts = Vec::with_capacity(value.len() + 1);
    for letter in value.chars() {
        if quote.starts_with('"') {
            at += continued(&written[at..]);
        }
        starts.extend(std::iter::repeat_n(at, letter.len_utf8()));
        let escaped = quote.starts_with('"') && written[at..].starts_with('\\');
        at += if escaped { escape(&written[at..])? } else { letter.len_utf8() };
        if !escaped && !written[..at].ends_with(letter) {
            return None;
        }
        written.get(at..)?;
    }
    starts.push(at);
    Some(starts)
}

/// The bytes of an escape.
fn escape(written: &str) -> Option<usize> {
    Some(match written.chars().nth(1)? {
        'u' => 6,
        'U' => 10,
        'x' => 4,
        _ => 2,
    })
}

/// The bytes from a backslash that ends a line up to the next word: they say nothing.
fn continued(written: &str) -> usize {
    match written.strip_prefix('\\') {
        Some(after) if after.trim_start_matches([' ', '\t', '\r']).starts_with('\n') => {
            written.len() - after.trim_start().len()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written where the value says `part`.
    fn found<'w>(written: &'w str, part: &str) -> &'w str {
        let value: toml::Table = toml::from_str(&format!("a = {written}")).unwrap();
        let value = value["a"].as_str().unwrap();
        let start = value.find(part).unwrap();
        let starts = starts(written, value).unwrap();
        &written[starts[start]..starts[start + part.len()]]
    }

    #[test]
    fn parts_are_found_behind_escapes() {
        assert_eq!(found(r#""a\n\u00e9 {x}""#, "{x}"), "{x}");
        assert_eq!(found(r"'a\n {x}'", "{x}"), "{x}");
        assert_eq!(found("\"\"\"\na \\\n   \\t{x}\"\"\"", "{x}"), "{x}");
        assert_eq!(found(r#""{\u0078}""#, "x"), r"\u0078");
        assert_eq!(found("'''\n{x}'''", "{x}"), "{x}");
    }
}

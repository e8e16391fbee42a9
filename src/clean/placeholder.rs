//! `placeholder`: a value that says nothing but that there is none becomes empty, which counts as missing.
//!
//! The value as a whole is compared, without regard to case, to brackets around it and to a full stop. So "none" inside
//! a sentence stays, and so does a paper that is titled "Not available light".

use std::borrow::Cow;

/// What stands for nothing. `NA` is not among them: it is sodium.
const PLACEHOLDERS: [&str; 33] = [
    "",
    "-",
    "--",
    "---",
    "\u{2013}",
    "\u{2014}",
    "abstract",
    "abstract is not available",
    "abstract not available",
    "abstract not provided",
    "abstract not yet available",
    "abstract unavailable",
    "n.a",
    "n/a",
    "nan",
    "no abstract",
    "no abstract available",
    "no abstract found",
    "no abstract has been provided",
    "no abstract is available",
    "no abstract provided",
    "no abstract supplied",
    "no abstract was provided",
    "no title",
    "no title available",
    "none",
    "not available",
    // As ADS writes it, for where tags are left in.
    "not available <p />",
    "null",
    "title not available",
    "there is no abstract available",
    "unavailable",
    "undefined",
];

/// Longest value that is compared, in bytes: longer than any of them with brackets around it.
const MAX_BYTES: usize = 64;

/// Empties a value that stands for nothing.
pub(super) fn placeholder(text: &str) -> Cow<'_, str> {
    let value = text.trim();
    let missing = value.len() <= MAX_BYTES && PLACEHOLDERS.iter().any(|word| word.eq_ignore_ascii_case(bare(value)));
    Cow::Borrowed(if missing { "" } else { text })
}

/// The value without full stop and brackets around it.
fn bare(value: &str) -> &str {
    let value = value.trim_end_matches('.').trim();
    let inside = [('[', ']'), ('(', ')'), ('{', '}')].into_iter().find_map(|(open, close)| {
        let inside = value.strip_prefix(open)?.strip_suffix(close)?;
        Some(inside.trim())
    });
    inside.map_or(value, |inside| inside.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::placeholder;

    #[test]
    fn stand_ins_are_missing() {
        for text in [
            "Not Available",
            "Not Available <P />",
            " not available. ",
            "No Abstract",
            "ABSTRACT NOT AVAILABLE.",
            "-",
            "n/a",
            "N.A.",
            "[]",
            "[ ]",
            "()",
            "[No abstract available]",
            "(none)",
            "None",
            "…".trim_matches('…'),
            "...",
        ] {
            assert_eq!(placeholder(text), "", "{text:?}");
        }
    }

    #[test]
    fn what_says_something_stays() {
        for text in ["None of these stars varies", "Na", "NA", "Not available light", "0", "[Fe/H]", "No", "- a -"] {
            assert_eq!(placeholder(text), text);
        }
    }
}

//! `whitespace`: runs of Unicode's white space become one space each, and the ends are trimmed.

use std::borrow::Cow;

use memchr::memmem;

/// Folds and trims.
pub(super) fn whitespace(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if is_plain(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let Some(first) = unfolded(text) else { return Cow::Borrowed(text) };
    let mut folded = String::with_capacity(text.len());
    folded.push_str(&text[..first]);
    for word in text[first..].split_whitespace() {
        if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    Cow::Owned(folded)
}

/// Whether a text has, at a glance, nothing to fold; most have not.
fn is_plain(text: &[u8]) -> bool {
    text.is_ascii() && !text.iter().any(|byte| *byte < b' ') && memmem::find(text, b"  ").is_none()
}

/// Where the first white space stands that is no single space.
fn unfolded(text: &str) -> Option<usize> {
    let mut after_space = false;
    text.char_indices().find_map(|(at, letter)| {
        let space = letter.is_whitespace();
        let found = space && (letter != ' ' || after_space);
        after_space = space;
        found.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::whitespace;

    #[test]
    fn runs_become_one_space() {
        assert_eq!(whitespace("  a\n b\t\u{a0}\u{2003}c  d\u{3000}"), "a b c d");
        assert_eq!(whitespace("a  b"), "a b");
        assert_eq!(whitespace("a\nb"), "a b");
        assert_eq!(whitespace(" \n "), "");
    }

    #[test]
    fn what_is_folded_is_not_copied() {
        assert!(matches!(whitespace(" Λ CDM at z = 3 "), Cow::Borrowed("Λ CDM at z = 3")));
    }
}

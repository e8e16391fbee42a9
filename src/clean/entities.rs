//! `entities`: named and numeric character references of HTML become characters.
//!
//! A reference counts only with its semicolon: browsers also read `&para` without one, and would make `¶llel` of
//! `R&parallel`. It is decoded once, so that `&amp;lt;` becomes `&lt;`.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

/// Longest reference, with `&` and `;`: `&CounterClockwiseContourIntegral;`.
const MAX_BYTES: usize = 33;

/// Decodes references.
pub(super) fn entities(text: &str) -> Cow<'_, str> {
    let mut decoded = String::new();
    let mut kept = 0;
    for at in memchr_iter(b'&', text.as_bytes()) {
        let Some((reference, character)) = decode(&text[at..]) else { continue };
        decoded.push_str(&text[kept..at]);
        decoded.push_str(&character);
        kept = at + reference;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    decoded.push_str(&text[kept..]);
    Cow::Owned(decoded)
}

/// The bytes of the reference at the beginning, and what it stands for.
fn decode(text: &str) -> Option<(usize, Cow<'_, str>)> {
    let bytes = &text.as_bytes()[..text.len().min(MAX_BYTES)];
    let end = memchr(b';', bytes)? + 1;
    if !bytes[1..end - 1].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#') {
        return None;
    }
    let character = htmlize::unescape(&text[..end]);
    // Of an unknown name the beginning may be decoded alone, and then at least a letter and the semicolon are left.
    (character.chars().count() <= 2).then_some((end, character))
}

#[cfg(test)]
mod tests {
    use super::entities;

    #[test]
    fn references_are_decoded() {
        for (text, decoded) in [
            ("z &lt; 3 &amp; M &#8805; 1", "z < 3 & M ≥ 1"),
            ("10000 &plusmn; 1000 K", "10000 ± 1000 K"),
            ("Garc&iacute;a, &#x3b1;, &#945;, &#146;", "García, α, α, ’"),
            ("&amp;lt;", "&lt;"),
            ("&nbsp;", "\u{a0}"),
        ] {
            assert_eq!(entities(text), decoded);
        }
    }

    #[test]
    fn what_is_none_stays() {
        for text in
            ["A&A 5; B", "R&D;", "R&parallel 3", "AT&T", "&", "&;", "&#;", "&#x;", "&notathing;", "a &lt b", "&é;"]
        {
            assert_eq!(entities(text), text);
        }
    }
}

//! `unicode-nfc`: Unicode's normalisation form C, in which one character with its accents is written in one way.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Normalises.
pub(super) fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

#[cfg(test)]
mod tests {
    use super::nfc;

    #[test]
    fn accents_are_composed() {
        assert_eq!(nfc("e\u{301}toile A\u{30a}"), "étoile Å");
        // The sign of the unit is the letter, by Unicode's own decision.
        assert_eq!(nfc("\u{212b}"), "Å");
    }
}

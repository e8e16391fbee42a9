//! Numbers as they are written, in conditions and in records.
//!
//! They are kept as text and read where they are compared: an identifier of 20 digits would lose its last ones as `f64`.

use std::cmp::Ordering;

/// A number, as far as a comparison needs it.
enum Number<'a> {
    Integer {
        negative: bool,
        /// Without leading zeros; nothing for 0.
        digits: &'a str,
    },
    Other,
}

/// Whether a text is a number: digits, perhaps with a minus before, a fraction and an exponent after them.
pub(super) fn is_number(text: &str) -> bool {
    read(text).is_some()
}

/// How two numbers compare; none where one of the texts is no number.
pub(super) fn compare(left: &str, right: &str) -> Option<Ordering> {
    match (read(left)?, read(right)?) {
        (Number::Integer { negative, digits }, Number::Integer { negative: right_negative, digits: right_digits }) => {
            Some(match (negative, right_negative) {
                (false, false) => magnitudes(digits, right_digits),
                (true, true) => magnitudes(right_digits, digits),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
            })
        }
        _ => left.parse::<f64>().ok()?.partial_cmp(&right.parse().ok()?),
    }
}

/// A longer integer is larger; of equally long ones the digits decide.
fn magnitudes(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

fn read(text: &str) -> Option<Number<'_>> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, rest) = digits(rest)?;
    if rest.is_empty() {
        let digits = whole.trim_start_matches('0');
        // There is one zero.
        return Some(Number::Integer { negative: negative && !digits.is_empty(), digits });
    }
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => digits(fraction)?.1,
        None => rest,
    };
    let rest = match rest.strip_prefix(['e', 'E']) {
        Some(exponent) => digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?.1,
        None => rest,
    };
    rest.is_empty().then_some(Number::Other)
}

/// The digits that a text opens with, at least one, and the rest.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_compare_exactly_at_any_length() {
        let long = "123456789012345678901234567890";
        assert_eq!(compare(long, "123456789012345678901234567891"), Some(Ordering::Less));
        assert_eq!(compare(&format!("-{long}"), long), Some(Ordering::Less));
        assert_eq!(compare("-10", "-9"), Some(Ordering::Less));
        assert_eq!(compare("9007199254740993", "9007199254740992"), Some(Ordering::Greater));
        for (left, right) in
            [("007", "7"), ("-0", "0"), ("000", "0"), ("2010.0", "2010"), ("1e3", "1000"), ("-0.0", "0")]
        {
            assert_eq!(compare(left, right), Some(Ordering::Equal), "{left} {right}");
        }
        assert_eq!(compare("1e-3", "0.01"), Some(Ordering::Less));
        assert_eq!(compare("1e999", "2"), Some(Ordering::Greater));
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in
            ["", "-", ".5", "5.", "1e", "1e+", "+1", " 1", "1 ", "0x1", "inf", "NaN", "1_000", "²", "1.2.3", "--1"]
        {
            assert!(!is_number(text), "{text:?}");
            assert_eq!(compare(text, "1"), None);
        }
    }
}

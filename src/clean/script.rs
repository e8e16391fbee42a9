//! How a formula becomes signs in a row: scripts behind their bases, fractions, roots. `latex` and MathML in `html` agree
//! on it here.

use std::borrow::Cow;

use unicode_normalization::char::is_combining_mark;

/// Where a script stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Below: x_1.
    Index,
    /// Above: x^2.
    Power,
}

/// What is put before a script and behind it. `before` is the last character that stands before the script.
///
/// An index goes without a sign, as `<SUB>` does, but where two numbers would become one. A power keeps its sign where
/// there is something that is raised, which `^{13}CO` does not have.
pub(super) fn signs(script: Script, before: Option<char>, text: &str) -> (&'static str, &'static str) {
    let (Some(before), Some(first)) = (before, text.chars().next()) else { return ("", "") };
    let is_signed = "+-−±∓".contains(first);
    match script {
        Script::Index if is_signed || (before.is_ascii_digit() && first.is_ascii_digit()) => ("_", ""),
        Script::Index => ("", ""),
        Script::Power if "°′″".contains(first) => ("", ""),
        Script::Power if !(is_signed || is_raised(before)) => ("", ""),
        Script::Power if is_compound(text) => ("^(", ")"),
        Script::Power => ("^", ""),
    }
}

/// Whether a power may stand behind this: a letter, with its accent or without, a number, or what closes.
fn is_raised(before: char) -> bool {
    before.is_alphanumeric() || is_combining_mark(before) || ")]}>|⊙′⊕".contains(before)
}

/// A script without loose spaces: some abstracts have `^{+ 0.04}`.
pub(super) fn tidied(script: &str) -> Cow<'_, str> {
    let script = script.trim();
    match script.split_once(' ') {
        Some((sign @ ("+" | "-" | "−" | "±"), number)) => Cow::Owned(format!("{sign}{}", number.trim_start())),
        _ => Cow::Borrowed(script),
    }
}

/// A fraction in one row; a part of several signs is enclosed.
pub(super) fn fraction(above: &str, below: &str) -> String {
    format!("{}/{}", enclosed(above.trim(), is_compound), enclosed(below.trim(), is_compound))
}

/// A square root in one row.
pub(super) fn root(inside: &str) -> String {
    format!("√{}", enclosed(inside.trim(), |inside| !inside.chars().all(char::is_alphanumeric)))
}

fn enclosed(part: &str, is_to_be: impl FnOnce(&str) -> bool) -> Cow<'_, str> {
    if is_to_be(part) { Cow::Owned(format!("({part})")) } else { Cow::Borrowed(part) }
}

/// Whether a part of a formula needs parentheses to stay one part: a sign or a space between its ends, which the charge
/// of `^{6+}` is not.
fn is_compound(part: &str) -> bool {
    let enclosed = part.starts_with('(') && part.find(')') == Some(part.len() - 1);
    let last = part.char_indices().next_back().map_or(0, |(at, _)| at);
    !enclosed && part[..last].chars().skip(1).any(|sign| " +-−±/·×=".contains(sign))
}

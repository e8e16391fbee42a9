//! Cuts LaTeX into commands, groups, arguments and formulas, without judging what they mean.

use memchr::{memchr, memchr2, memchr3, memmem};

/// Bytes within which a group or a formula must end. It bounds the search for the end of one.
const MAX_BYTES: usize = 1000;

/// Where the first character stands that is more than itself.
pub(super) fn special(text: &str, math: bool) -> Option<usize> {
    if math {
        return text.bytes().position(|byte| matches!(byte, b'\\' | b'{' | b'$' | b'_' | b'^' | b'~'));
    }
    let bytes = text.as_bytes();
    let first = memchr3(b'\\', b'{', b'$', bytes);
    // No further than that: each search for these two would otherwise walk to the end of the text.
    memchr2(b'~', b'`', &bytes[..first.unwrap_or(bytes.len())]).or(first)
}

/// What stands in TeX's double quotes at the beginning of the text, and what follows it.
pub(super) fn quoted(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix("``")?;
    let end = memmem::find(&after.as_bytes()[..after.len().min(MAX_BYTES)], b"''")?;
    (!after[..end].contains("``")).then_some((&after[..end], &after[end + 2..]))
}

/// What follows the arguments of a reference: `[p.~5]{key}`; none if it has no key.
pub(super) fn reference(text: &str) -> Option<&str> {
    let mut text = text.strip_prefix('*').unwrap_or(text);
    while text.starts_with('[') {
        let end = memchr(b']', &text.as_bytes()[..text.len().min(MAX_BYTES)])?;
        text = &text[end + 1..];
    }
    group(text).map(|(_, rest)| rest)
}

/// The letters after a backslash at the beginning of the text.
pub(super) fn name(text: &str) -> Option<&str> {
    let after = text.strip_prefix('\\')?;
    let length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
    (length > 0).then_some(&after[..length])
}

/// The inside of the group at the beginning of the text, and what follows it.
pub(super) fn group(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with('{') {
        return None;
    }
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, byte) in text.bytes().enumerate().take(MAX_BYTES) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some((&text[1..at], &text[at + 1..])),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The bytes of the groups at the beginning of the text.
pub(super) fn groups(text: &str) -> usize {
    let mut after = text;
    while let Some((_, rest)) = group(after) {
        after = rest;
    }
    text.len() - after.len()
}

/// What a command or a script at the end of the text before takes: a group, a command with its groups, or a character.
pub(super) fn argument(text: &str) -> Option<(&str, &str)> {
    if let Some(group) = group(text) {
        return Some(group);
    }
    if let Some(name) = name(text) {
        return Some(text.split_at(1 + name.len() + groups(&text[1 + name.len()..])));
    }
    let first = text.chars().next().filter(|first| !"{}\\$ ".contains(*first))?;
    Some(text.split_at(first.len_utf8()))
}

/// The formula that a dollar at the beginning of the text opens, and what follows it; none if the dollar is money.
pub(super) fn formula(text: &str) -> Option<(&str, &str)> {
    let (sign, after) = match text.strip_prefix("$$") {
        Some(after) => ("$$", after),
        None => ("$", text.strip_prefix('$')?),
    };
    let end = unescaped_dollar(after)?;
    let (inner, rest) = (&after[..end], after[end..].strip_prefix(sign)?);
    (sign == "$$" || is_formula(inner, rest)).then_some((inner, rest))
}

/// `\(..\)` and `\[..\]`.
pub(super) fn display(text: &str) -> Option<(&str, &str)> {
    let (after, close) = match text.strip_prefix("\\(") {
        Some(after) => (after, "\\)"),
        None => (text.strip_prefix("\\[")?, "\\]"),
    };
    // No further than it counts: of many that open and none that closes, each would walk to the end of the text.
    let end = memmem::find(&after.as_bytes()[..after.len().min(MAX_BYTES + close.len())], close.as_bytes())?;
    Some((&after[..end], &after[end + close.len()..]))
}

fn unescaped_dollar(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = memchr(b'$', &text.as_bytes()[from..]).map(|at| from + at).filter(|at| *at <= MAX_BYTES) {
        if !text[..at].ends_with('\\') {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// As pandoc tells: nothing blank just inside the dollars, and no number on both sides of the second, as in "$5-$10". With
/// a space inside, it takes a command or a script to be a formula.
fn is_formula(inner: &str, rest: &str) -> bool {
    if inner.trim().is_empty() || inner.contains("\n\n") {
        return false;
    }
    let digit = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    if inner.starts_with(char::is_whitespace) || inner.ends_with(char::is_whitespace) {
        return inner.contains('\\') || (marked(inner) && !digit(inner));
    }
    !(digit(inner) && digit(rest)) || inner.contains('\\')
}

fn marked(inner: &str) -> bool {
    inner.contains(['\\', '^', '_', '=', '<', '>'])
}

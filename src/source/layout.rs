//! How records stand in a text: an object a line, or objects one after the other, in an array or not.
//!
//! Told by content. Lines are the form of dumps, and forgiving: a broken line is one reject, and the next line begins
//! anew. In all other forms records end where their brackets close, so they are walked byte by byte in `scan.rs`.

use memchr::memchr2;

/// The mark that some editors put before a text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How records stand in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One object a line.
    Lines,
    /// Objects anywhere: in one array, spread over lines, or one behind the other.
    Scanned,
}

/// The layout of a text that begins so.
pub fn layout(head: &[u8]) -> Layout {
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    match text.first() {
        Some(b'[') => Layout::Scanned,
        Some(b'{') => of_objects(text),
        _ => Layout::Lines,
    }
}

fn of_objects(text: &[u8]) -> Layout {
    let line_end = text.iter().position(|&byte| byte == b'\n');
    let object_end = object_end(text);
    // Behind the object, or behind a line that does not hold a whole one.
    let next = |at: usize| text[at..].trim_ascii_start().first().copied();
    let goes_on = match (object_end, line_end) {
        (Some(end), None) => matches!(next(end), Some(b'{' | b',')),
        (Some(end), Some(line)) if end <= line => {
            let behind = text[end..line].trim_ascii();
            matches!(behind.first(), Some(b'{')) || behind == b","
        }
        // A line that was cut off is followed by another record; one of an object that is spread over lines is not.
        (_, Some(line)) => next(line).is_some_and(|byte| byte != b'{'),
        (None, None) => false,
    };
    if goes_on { Layout::Scanned } else { Layout::Lines }
}

/// Where the object that a text begins with ends, if it does.
fn object_end(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0usize);
    while at < text.len() {
        match text[at] {
            b'"' => at = string_end(text, at + 1)? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the closing quote of a string whose inside begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_by_content() {
        for lines in [
            "",
            "\n\n",
            "no json",
            "{\"a\":1}",
            "{\"a\":\"}{\"}\n{\"a\":1}",
            "\u{feff}{\"a\":1}\r\n{\"a\":2}\r\n",
            "{\"a\":\"cut off\n{\"a\":2}\n",
            "{\"a\":1} junk\n{\"a\":2}\n",
            "{\"a\":[1,{\"b\":\"\\\"}\"}]}",
        ] {
            assert_eq!(layout(lines.as_bytes()), Layout::Lines, "{lines}");
        }
        for scanned in [
            "[]",
            " \n[{\"a\":1}]",
            "\u{feff}[",
            "{\"a\":1}{\"a\":2}",
            "{\"a\":1} {\"a\":2}\n{\"a\":3}",
            "{\"a\":1},\n{\"a\":2}",
            "{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}",
            "{\n  \"a\": 1\n}",
        ] {
            assert_eq!(layout(scanned.as_bytes()), Layout::Scanned, "{scanned}");
        }
    }
}

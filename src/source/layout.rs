//! How records stand in a text: an object a line, or objects one after the other, in an array or not.
//!
//! Told by content. Lines are the form of dumps, and forgiving: a broken line is one reject, and the next line begins
//! anew. So a text is read in lines wherever its lines mostly are records, even if one of them is broken or holds several,
//! as happens where files without their last newline are joined. Only where objects really are spread over lines, or there
//! is no line, records end where their brackets close, and are found by the walk of `scan.rs`.

use std::ops::Range;

use memchr::{memchr, memchr3};

/// The mark that some editors put before a text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Lines that are looked at, where the first ones do not tell.
const LINES_LOOKED_AT: usize = 1000;

/// How records stand in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One object a line.
    Lines,
    /// Objects anywhere: in one array, spread over lines, or one behind the other.
    Scanned,
}

/// Where an object ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind its last bracket.
    At(usize),
    /// It has not ended.
    Open,
    /// It holds a string that goes over the end of a line, which none may.
    Broken,
}

/// The layout of a text that begins so; none where more of it is to be looked at.
pub fn layout(head: &[u8], is_whole: bool) -> Option<Layout> {
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    match text.first() {
        Some(b'[') => Some(Layout::Scanned),
        Some(b'{') => of_objects(text, is_whole),
        _ => Some(Layout::Lines),
    }
}

fn of_objects(text: &[u8], is_whole: bool) -> Option<Layout> {
    let Some(first_line) = memchr(b'\n', text) else { return of_one_line(text, is_whole) };
    // One line tells little: an empty object may stand before others that are spread.
    let second_line = first_line + text[first_line..].len() - text[first_line..].trim_ascii_start().len();
    for mut at in [0, second_line] {
        let line_end = memchr(b'\n', &text[at..]).map_or(text.len(), |end| at + end);
        while text.get(at) == Some(&b'{') {
            match object_end(&text[at..]) {
                End::At(end) if at + end <= line_end => {
                    let behind = &text[at + end..line_end];
                    at = line_end - behind.trim_ascii_start().len();
                }
                End::Open if line_end == text.len() => break,
                // Objects are spread over lines, or one line is broken, or a stray newline is in one.
                End::At(_) | End::Open | End::Broken => return Some(of_most_lines(text, is_whole)),
            }
            if at == line_end {
                break;
            }
        }
    }
    Some(Layout::Lines)
}

/// Of a text without any newline.
fn of_one_line(text: &[u8], is_whole: bool) -> Option<Layout> {
    match object_end(text) {
        End::At(end) => match text[end..].trim_ascii_start().first() {
            Some(b'{' | b',') => Some(Layout::Scanned),
            Some(_) => Some(Layout::Lines),
            None => is_whole.then_some(Layout::Lines),
        },
        End::Open | End::Broken => is_whole.then_some(Layout::Lines),
    }
}

/// Whether the lines of a text mostly are records; objects that are spread have few lines that are.
fn of_most_lines(text: &[u8], is_whole: bool) -> Layout {
    // The last line may go on.
    let text = if is_whole { text } else { &text[..memchr::memrchr(b'\n', text).unwrap_or(text.len())] };
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let (mut records, mut others) = (0, 0);
    for line in lines.take(LINES_LOOKED_AT) {
        let is_record = line.starts_with(b"{") && object_end(line) == End::At(line.len());
        *if is_record { &mut records } else { &mut others } += 1;
    }
    if records >= others { Layout::Lines } else { Layout::Scanned }
}

/// The objects of a line that holds several, one behind the other; the last of these is what follows the last whole one.
/// One piece, the line itself, where it begins with no object that another one follows.
pub fn objects(line: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while line.get(at) == Some(&b'{') {
        let End::At(end) = object_end(&line[at..]) else { break };
        let next = line.len() - line[at + end..].trim_ascii_start().len();
        if line.get(next) != Some(&b'{') {
            break;
        }
        found.push(at..at + end);
        at = next;
    }
    found.push(at..line.len());
    found
}

/// Whether a line ends inside a record.
pub fn breaks_off(line: &[u8]) -> bool {
    objects(line).pop().is_some_and(|last| line[last.clone()].starts_with(b"{") && object_end(&line[last]) == End::Open)
}

/// Where the object that a text begins with ends, if it does.
pub fn object_end(text: &[u8]) -> End {
    let (mut at, mut depth) = (0, 0usize);
    while at < text.len() {
        match text[at] {
            b'"' => match string_end(text, at + 1) {
                End::At(end) => at = end - 1,
                other => return other,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return End::At(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    End::Open
}

/// Behind the closing quote of a string whose inside begins at `at`.
pub fn string_end(text: &[u8], mut at: usize) -> End {
    loop {
        let Some(found) = text.get(at..).and_then(|rest| memchr3(b'"', b'\\', b'\n', rest)) else { return End::Open };
        at += found;
        match text[at] {
            b'"' => return End::At(at + 1),
            b'\n' => return End::Broken,
            // What is escaped is passed over, but for the end of a line.
            _ => at += if text.get(at + 1) == Some(&b'\n') { 1 } else { 2 },
        }
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
            "{\"a\":[1,\n{\"a\":2}\n{\"a\":3}\n",
            "{\"a\":1} junk\n{\"a\":2}\n",
            "{\"a\":1}\n{\"a\":\n2}\n{\"a\":3}\n{\"a\":4}\n",
            "{\"a\":[1,{\"b\":\"\\\"}\"}]}",
            "{\"a\":1} {\"a\":2}\n{\"a\":3}",
            "{\"a\":1}{\"a\":2}\n{\"a\":\"cut\n{\"a\":3}\n{\"a\":4}\n",
            "{\"a\":1},\n{\"a\":2}",
            "{\"a\":1}\n{\"a\":2",
        ] {
            assert_eq!(layout(lines.as_bytes(), true), Some(Layout::Lines), "{lines}");
        }
        for scanned in [
            "[]",
            " \n[{\"a\":1}]",
            "\u{feff}[",
            "{\"a\":1}{\"a\":2}",
            "{\"a\":1}, {\"a\":2}",
            "{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}",
            "{\n  \"a\": 1\n}",
            "{}\n{\n  \"a\": 1\n}",
            "{\"a\":1}{\n\"a\":2}\n",
            "{\n\"a\": \"a line\nand another\"\n}\n",
        ] {
            assert_eq!(layout(scanned.as_bytes(), true), Some(Layout::Scanned), "{scanned}");
        }
    }

    /// A first record may be longer than what was read yet.
    #[test]
    fn a_head_may_be_too_short() {
        for (head, of_part, of_whole) in [
            ("{\"a\":1", None, Layout::Lines),
            ("{\"a\":\"", None, Layout::Lines),
            ("{\"a\":1}", None, Layout::Lines),
            ("{\"a\":1}{", Some(Layout::Scanned), Layout::Scanned),
            ("{\"a\":1}\n{\"b\"", Some(Layout::Lines), Layout::Lines),
        ] {
            assert_eq!(
                (layout(head.as_bytes(), false), layout(head.as_bytes(), true)),
                (of_part, Some(of_whole)),
                "{head}"
            );
        }
    }

    #[test]
    fn a_line_may_hold_several_objects() {
        let told = |line: &'static str| -> Vec<&str> {
            objects(line.as_bytes()).into_iter().map(|range| &line[range]).collect()
        };
        assert_eq!(told(r#"{"a":"}{"}"#), [r#"{"a":"}{"}"#]);
        assert_eq!(told(r#"{"a":1}{"b":2} {"c":3}"#), [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#]);
        assert_eq!(told(r#"{"a":1}{"b":"#), [r#"{"a":1}"#, r#"{"b":"#]);
        assert_eq!(told(r#"{"a":1}{"b":2} x"#), [r#"{"a":1}"#, r#"{"b":2} x"#]);
        for line in [r#"{"a":1} x {"b":2}"#, r#"x{"a":1}{"b":2}"#, r#"{"a":"x{"b":1}{"#, ""] {
            assert_eq!(told(line), [line]);
        }
        assert!(breaks_off(br#"{"a":1}{"b"#) && breaks_off(br#"{"a":[1"#) && breaks_off(br#"{"a":"x\"}"#));
        assert!(!breaks_off(br#"{"a":1}"#) && !breaks_off(br#"{"a":1} x"#) && !breaks_off(b"x{"));
    }
}

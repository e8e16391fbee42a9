//! Arrays, objects behind each other, and nested answers: any bytes, read in any strokes and cut into any chunks, give the
//! same pieces at the same places and end alike, though of a text that breaks off one way of reading may give fewer pieces
//! before it says so; what is in no piece is white space and what stands between records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sciembed_fuzz::{Handed, Told, in_parts, whole};

fuzz_target!(|input: &[u8]| {
    let Some(handed) = Handed::of(input) else { return };
    let expected = whole(handed.text, handed.records);
    let found = in_parts(&handed, handed.text);
    assert_eq!(found.1, expected.1);
    let common = if expected.1.is_some() { found.0.len().min(expected.0.len()) } else { usize::MAX };
    let head = |told: &[Told]| told.iter().take(common).cloned().collect::<Vec<_>>();
    assert_eq!(head(&found.0), head(&expected.0));
    check(&expected, handed.text, handed.records.is_none());
});

fn check((told, error): &(Vec<Told>, Option<String>), text: &[u8], is_top: bool) {
    let mut end = 0;
    for (bytes, line, offset, _) in told {
        let start = usize::try_from(*offset).expect("a text of a target is short");
        assert!(start >= end && !bytes.is_empty(), "{told:?}");
        let newlines = text[..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(*line, newlines + 1, "{told:?}");
        // The offset of a line is that of its first byte, blank or not.
        let part = &text[start..];
        let before = part.windows(bytes.len()).position(|window| window == bytes).expect("a piece is of the text");
        check_between(&text[end..start + before], is_top);
        end = start + before + bytes.len();
    }
    // What a text breaks off with is told as an error, and is no piece.
    check_between(&text[end..], is_top && error.is_none());
}

/// Around records that a path leads to there is anything.
fn check_between(text: &[u8], is_top: bool) {
    let stands_between = |byte: &u8| byte.is_ascii_whitespace() || b",[]\xef\xbb\xbf".contains(byte);
    assert!(!is_top || text.iter().all(stands_between), "{text:?} is in no piece");
}

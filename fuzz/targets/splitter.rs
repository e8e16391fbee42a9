//! Lines: any bytes, read in any strokes and cut into any chunks, are the lines that a loop over the whole finds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sciembed_fuzz::{Handed, Told, in_parts, whole};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fuzz_target!(|input: &[u8]| {
    let Some(mut handed) = Handed::of(input) else { return };
    handed.records = None;
    let start = handed.text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(handed.text).trim_ascii_start();
    // What begins as JSON may be told to be no lines: another line before it makes it so.
    let is_json = matches!(start.first(), Some(b'[' | b'{'));
    let text = if is_json { [b"-\n", handed.text].concat() } else { handed.text.to_vec() };
    // Without its last newline a line may be told to be cut short.
    let text = [&text[..], b"\n"].concat();
    // Lines of several records, and those with a comma behind theirs, are for unit tests.
    if [&b"}{"[..], b"} {", b"},"].iter().any(|seam| text.windows(seam.len()).any(|window| window == *seam)) {
        return;
    }
    let expected = (lines(&text), None);
    assert_eq!(whole(&text, None), expected);
    assert_eq!(in_parts(&handed, &text), expected);
});

/// Every byte that is not blank, line by line; the mark before a text is none of it.
fn lines(text: &[u8]) -> Vec<Told> {
    let (mut told, mut offset) = (Vec::new(), 0);
    for (line, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let inside = if line == 1 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes };
        let inside = inside.trim_ascii();
        if !inside.is_empty() {
            told.push((inside.to_vec(), line, offset, false));
        }
        offset += bytes.len() as u64 + 1;
    }
    told
}

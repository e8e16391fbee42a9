//! JSON that tells by itself whether a bit of it was flipped: its last field is a digest of the bytes before that field.
//!
//! ```text
//! {                                       {"event":"run_interrupted","check":"9f86d081884c7d65"}
//!   "version": 2,                         a line of a journal
//!   …,
//!   "blake3": "9f86d081…"
//! }
//! a record or a reference
//! ```
//!
//! The whole tail is compared, not only the digits in it: every bit of the file counts. Readers who know nothing of the
//! field read past it.

use crate::digest::Digest;

/// How the field stands in a kind of file.
#[derive(Debug)]
pub(crate) struct Check {
    /// What closes the object without the field.
    closing: &'static str,
    /// From the last byte that is digested to the digits.
    opening: &'static str,
    /// After the digits.
    end: &'static str,
    /// Hexadecimal digits of the digest.
    digits: usize,
}

/// Of a record or a reference, as `pretty_json` writes them.
pub(crate) const PRETTY: Check =
    Check { closing: "\n}\n", opening: ",\n  \"blake3\": \"", end: "\"\n}\n", digits: 2 * Digest::LEN };
/// Of a file without white space.
pub(crate) const COMPACT: Check =
    Check { closing: "}", opening: ",\"blake3\":\"", end: "\"}\n", digits: 2 * Digest::LEN };
/// Of a line of a journal, without its line end: one in 2^64 damaged lines would pass.
pub(crate) const LINE: Check = Check { closing: "}", opening: ",\"check\":\"", end: "\"}", digits: 16 };

/// JSON as `pretty_json` writes it, with its digest as the last field.
pub fn seal_json(json: Vec<u8>) -> Vec<u8> {
    PRETTY.add(json)
}

/// Whether these are the bytes that [`seal_json`] gave, to the last bit.
pub fn is_sealed_json(bytes: &[u8]) -> bool {
    PRETTY.holds(bytes)
}

impl Check {
    /// Adds the field to a JSON object that has at least one other.
    pub fn add(&self, mut json: Vec<u8>) -> Vec<u8> {
        debug_assert!(json.ends_with(self.closing.as_bytes()));
        json.truncate(json.len().saturating_sub(self.closing.len()));
        let tail = self.tail(&json);
        json.extend_from_slice(tail.as_bytes());
        json
    }

    /// Whether these are the bytes that were written, to the last bit.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let tail_bytes = self.opening.len() + self.digits + self.end.len();
        let Some(at) = bytes.len().checked_sub(tail_bytes) else { return false };
        let (before, tail) = bytes.split_at(at);
        tail == self.tail(before).as_bytes()
    }

    fn tail(&self, before: &[u8]) -> String {
        let digest = Digest::of(before).to_string();
        format!("{}{}{}", self.opening, &digest[..self.digits], self.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every bit, the check's own included.
    #[test]
    fn each_flipped_bit_is_seen() {
        let value = BTreeMap::from([("version", "2"), ("with", "\n  \"blake3\": \"0\"\n}\n")]);
        let compact = serde_json::to_vec(&value).unwrap();
        for (check, json) in [(PRETTY, super::super::pretty_json(&value)), (COMPACT, compact.clone()), (LINE, compact)]
        {
            let whole = check.add(json);
            assert!(check.holds(&whole));
            serde_json::from_slice::<serde_json::Value>(&whole).unwrap();
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!check.holds(&flipped), "bit {bit} of {}", String::from_utf8_lossy(&whole));
            }
            (0..whole.len()).for_each(|cut| assert!(!check.holds(&whole[..cut])));
        }
    }

    /// A changed form would make every store look damaged.
    #[test]
    fn the_digest_is_of_everything_before_the_field() {
        let written = PRETTY.add(super::super::pretty_json(&BTreeMap::from([("version", 2)])));
        let digest = Digest::of(b"{\n  \"version\": 2");
        let expected = format!("{{\n  \"version\": 2,\n  \"blake3\": \"{digest}\"\n}}\n");
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}

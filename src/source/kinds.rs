//! What a file is, where it is nothing that holds records: told by its first bytes, and said in so many words.

use std::io::{self, Cursor, Read};

use super::unfit::Unfit;

/// Bytes that are looked at: the first line of a table is in them.
const HEAD_BYTES: u64 = 1 << 16;

/// What other files begin with.
const KINDS: [(&[u8], &str); 13] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x1f\x8b", "compressed twice"),
    (b"\x28\xb5\x2f\xfd", "compressed twice"),
    (b"PAR1", "a Parquet file that was compressed once more"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"%PDF", "a PDF document"),
];
/// Where a tar archive says that it is one, and how.
const TAR_AT: usize = 257;
const TAR: &[u8] = b"ustar";

/// A text with its beginning.
pub struct Opened {
    /// What it begins with.
    pub head: Vec<u8>,
    /// All of it.
    pub text: Box<dyn Read + Send>,
}

/// Looks at the beginning of a text.
///
/// # Errors
/// That it is of a kind that holds no records, and whatever reading gives.
pub fn open(mut text: Box<dyn Read + Send>) -> io::Result<Opened> {
    let mut head = Vec::new();
    text.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    if let Some(unfit) = unfit(&head) {
        return Err(unfit.into());
    }
    let text = Box::new(Cursor::new(head.clone()).chain(text));
    Ok(Opened { head, text })
}

fn unfit(head: &[u8]) -> Option<Unfit> {
    let is = |detail: &str, help: &str| Some(Unfit { detail: format!("it is {detail}"), help: help.to_owned() });
    let unpack = "unpack it; `input` may be a glob such as `data/*.json`";
    if head.get(TAR_AT..).is_some_and(|rest| rest.starts_with(TAR)) {
        return is("a tar archive", unpack);
    }
    if let Some((_, kind)) = KINDS.iter().find(|(begin, _)| head.starts_with(begin)) {
        let is_packed = kind.contains("archive") || kind.contains("compressed");
        return is(kind, if is_packed { unpack } else { "convert it to lines of JSON, CSV or Parquet" });
    }
    let text = head.trim_ascii_start();
    let begins = |with: &str| text.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()));
    if begins("<!doctype html") || begins("<html") {
        return is("an HTML page", "fetch the file again: a server answers so where it asks for a login, or fails");
    }
    if begins("<?xml") {
        return is("an XML document", "convert it to lines of JSON, CSV or Parquet");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Option<String> {
        let opened = open(Box::new(Cursor::new(bytes.to_vec())));
        opened
            .map(|mut opened| {
                let mut all = Vec::new();
                opened.text.read_to_end(&mut all).unwrap();
                assert_eq!(all, bytes);
            })
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn what_holds_no_records_is_named() {
        let mut tar = vec![b'a'; 1024];
        tar[TAR_AT..TAR_AT + 8].copy_from_slice(b"ustar\x0000");
        for (bytes, kind) in [
            (&tar[..], "it is a tar archive"),
            (b"PK\x03\x04x", "it is a zip archive"),
            (b"\n<!DOCTYPE HTML><title>Sign in</title>", "it is an HTML page"),
            (b"<html>", "it is an HTML page"),
            (b"<?xml version=\"1.0\"?>", "it is an XML document"),
        ] {
            assert_eq!(told(bytes).as_deref(), Some(kind));
        }
        for text in ["", "{\"a\":1}", "[", "PK,bibcode\n"] {
            assert_eq!(told(text.as_bytes()), None);
        }
        assert_eq!(told("{\"a\":1}\n".repeat(20_000).as_bytes()), None);
    }
}

//! Text cut into chunks of whole records, each record knowing its line.
//!
//! One thread reads, decompresses and cuts; parsing a chunk is another thread's work. So as little as possible happens
//! here: of lines only the last newline of a chunk is looked for, and all others by whoever parses them.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memchr_iter, memrchr};

use super::layout::{BYTE_ORDER_MARK, Layout, layout};
use super::scan::Scanner;

/// Bytes per chunk: some hundred records, enough that handing it to a thread costs nothing beside parsing it.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Bytes that are kept of a record that is too long, for people to find it by.
const KEPT_BYTES: usize = 1 << 10;

/// Whole records from one file.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    bytes: Vec<u8>,
    /// The line of the first byte, from 1.
    line: u64,
    /// The decompressed bytes before this chunk.
    offset: u64,
    pieces: Pieces,
}

/// Which of a chunk's bytes are records.
#[derive(Debug, PartialEq, Eq)]
enum Pieces {
    /// Each line is one.
    Lines,
    /// These are.
    At(Vec<Range<usize>>),
    /// All of it is the beginning of one that is longer than records may be.
    TooLong,
}

/// What should be a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its bytes, without what is around it.
    pub bytes: &'a [u8],
    /// The line that it begins in, from 1.
    pub line: u64,
    /// The decompressed bytes before it.
    pub offset: u64,
    /// Whether it is longer than records may be: its bytes are the first ones then.
    pub is_too_long: bool,
}

/// Cuts a reader into [`Chunk`]s.
pub struct Chunks<R> {
    reader: R,
    /// What was read and not handed out.
    rest: Vec<u8>,
    line: u64,
    offset: u64,
    is_ended: bool,
    /// Whether nothing but white space was handed out or passed over.
    is_blank: bool,
    chunk_bytes: usize,
    max_record_bytes: usize,
    path: Vec<String>,
    way: Way,
}

/// How records are found.
enum Way {
    /// Nothing was read yet.
    Unknown,
    Lines {
        /// Whether the rest of a line that was too long is to be passed over.
        is_skipping: bool,
    },
    Scanned {
        scanner: Scanner,
        /// How much of the rest was walked.
        walked: usize,
        /// Whether the record that is open was told to be too long.
        is_skipping: bool,
    },
}

impl<R: Read> Chunks<R> {
    /// Wraps a reader of decompressed text. The records are at the end of the path `records`, or at the top.
    pub fn new(reader: R, records: Option<&str>, max_record_bytes: u64) -> Self {
        Self {
            reader,
            rest: Vec::new(),
            line: 1,
            offset: 0,
            is_ended: false,
            is_blank: true,
            chunk_bytes: CHUNK_BYTES,
            max_record_bytes: usize::try_from(max_record_bytes).unwrap_or(usize::MAX),
            path: records.map_or(Vec::new(), |path| path.split('.').map(str::to_owned).collect()),
            way: Way::Unknown,
        }
    }

    /// With chunks of another size: the records and their places are the same ones, which tests and fuzzing try.
    #[must_use]
    pub fn in_chunks_of(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes.max(1);
        self
    }

    /// Decompressed bytes handed out so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next chunk; none at the end. A record longer than a chunk comes whole, in a chunk of its own size, as far as
    /// records may be so long.
    ///
    /// # Errors
    /// Whatever reading or decompressing gives; a text that ends before its brackets close.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        if let Way::Unknown = self.way {
            // However small chunks are: a layout is told by as much of the text.
            self.fill(CHUNK_BYTES)?;
            let is_lines = self.path.is_empty() && layout(&self.rest) == Layout::Lines;
            self.way = if is_lines {
                Way::Lines { is_skipping: false }
            } else {
                Way::Scanned { scanner: Scanner::new(&self.path), walked: 0, is_skipping: false }
            };
        }
        match self.way {
            Way::Lines { .. } | Way::Unknown => self.next_lines(),
            Way::Scanned { .. } => self.next_scanned(),
        }
    }

    fn next_lines(&mut self) -> io::Result<Option<Chunk>> {
        let mut wanted = self.chunk_bytes;
        loop {
            self.fill(wanted)?;
            if let Way::Lines { is_skipping: true } = self.way {
                self.skip_line();
                continue;
            }
            let (window, is_last) = self.window(wanted);
            let cut = if is_last { Some(window) } else { memrchr(b'\n', &self.rest[..window]).map(|at| at + 1) };
            match cut {
                Some(0) => return Ok(None),
                Some(cut) => return Ok(Some(self.take(cut, Pieces::Lines))),
                None if window > self.max_record_bytes => {
                    self.way = Way::Lines { is_skipping: true };
                    return Ok(Some(self.take(KEPT_BYTES.min(window), Pieces::TooLong)));
                }
                None => wanted += self.chunk_bytes,
            }
        }
    }

    /// Passes over the rest of a line that was too long, as far as it was read.
    fn skip_line(&mut self) {
        let end = memchr(b'\n', &self.rest);
        if end.is_some() || self.is_ended {
            self.way = Way::Lines { is_skipping: false };
        }
        self.take(end.map_or(self.rest.len(), |at| at + 1), Pieces::Lines);
    }

    fn next_scanned(&mut self) -> io::Result<Option<Chunk>> {
        let mut wanted = self.chunk_bytes;
        loop {
            self.fill(wanted)?;
            let (window, is_last) = self.window(wanted);
            let Way::Scanned { scanner, walked, is_skipping } = &mut self.way else { return Ok(None) };
            let mut pieces = Vec::new();
            scanner.walk(&self.rest[..window], *walked, &mut pieces);
            *walked = window;
            if std::mem::take(is_skipping) {
                // The first piece that ends is the one that was too long, unless it is open still.
                let passed = if pieces.is_empty() { None } else { Some(pieces.remove(0)) };
                *is_skipping = passed.is_none() && scanner.open_piece().is_some();
            }
            let open = scanner.open_piece();
            if is_last {
                let missing = scanner.missing();
                pieces.extend(open.filter(|start| !*is_skipping && *start < window).map(|start| start..window));
                return self.last_scanned(pieces, missing);
            }
            let cut = open.unwrap_or(window);
            if *is_skipping {
                self.take(window, Pieces::Lines);
            } else if !pieces.is_empty() {
                return Ok(Some(self.take(cut, Pieces::At(pieces))));
            } else if window - cut > self.max_record_bytes {
                *is_skipping = true;
                self.take(cut, Pieces::Lines);
                return Ok(Some(self.take(KEPT_BYTES.min(window - cut), Pieces::TooLong)));
            } else if open.is_some() {
                wanted = window + self.chunk_bytes;
            } else {
                // Only what is around records.
                self.take(cut, Pieces::Lines);
            }
        }
    }

    fn last_scanned(&mut self, pieces: Vec<Range<usize>>, missing: Option<String>) -> io::Result<Option<Chunk>> {
        if !pieces.is_empty() {
            return Ok(Some(self.take(self.rest.len(), Pieces::At(pieces))));
        }
        match missing {
            // An empty file is told of in other words.
            Some(missing) if !(self.is_blank && self.rest.trim_ascii().is_empty()) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, missing))
            }
            _ => Ok(None),
        }
    }

    /// How much of the rest is looked at, and whether that is all there is to come.
    fn window(&self, wanted: usize) -> (usize, bool) {
        let window = wanted.min(self.rest.len());
        (window, self.is_ended && window == self.rest.len())
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.is_ended || self.rest.len() >= wanted {
            return Ok(());
        }
        let missing = (wanted - self.rest.len()) as u64;
        self.rest.reserve(wanted - self.rest.len());
        let read = self.reader.by_ref().take(missing).read_to_end(&mut self.rest)?;
        self.is_ended = (read as u64) < missing;
        Ok(())
    }

    /// Hands out the first bytes of the rest.
    fn take(&mut self, cut: usize, pieces: Pieces) -> Chunk {
        let cut = cut.min(self.rest.len());
        let rest = self.rest.split_off(cut);
        let bytes = std::mem::replace(&mut self.rest, rest);
        let chunk = Chunk { line: self.line, offset: self.offset, bytes, pieces };
        self.line += memchr_iter(b'\n', &chunk.bytes).count() as u64;
        self.offset += chunk.bytes.len() as u64;
        self.is_blank = self.is_blank && chunk.bytes.trim_ascii().is_empty();
        if let Way::Scanned { scanner, walked, .. } = &mut self.way {
            scanner.shift(cut);
            *walked = walked.saturating_sub(cut);
        }
        chunk
    }
}

impl Chunk {
    /// The chunk's records, blank lines left out, in their order.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let mut found = Vec::new();
        match &self.pieces {
            Pieces::Lines => self.lines(&mut found),
            Pieces::At(places) => {
                let (mut line, mut counted) = (self.line, 0);
                for Range { start, end } in places {
                    line += memchr_iter(b'\n', &self.bytes[counted..*start]).count() as u64;
                    counted = *start;
                    let bytes = self.bytes[*start..*end].trim_ascii();
                    found.push(Piece { bytes, line, offset: self.offset + *start as u64, is_too_long: false });
                }
            }
            Pieces::TooLong => {
                found.push(Piece { bytes: &self.bytes, line: self.line, offset: self.offset, is_too_long: true });
            }
        }
        found
    }

    fn lines<'a>(&'a self, found: &mut Vec<Piece<'a>>) {
        let (mut start, mut line) = (0, self.line);
        while start < self.bytes.len() {
            let end = memchr(b'\n', &self.bytes[start..]).map_or(self.bytes.len(), |at| start + at);
            let is_first = self.offset == 0 && start == 0;
            let bytes = &self.bytes[start..end];
            let bytes = if is_first { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes };
            let bytes = bytes.trim_ascii();
            if !bytes.is_empty() {
                found.push(Piece { bytes, line, offset: self.offset + start as u64, is_too_long: false });
            }
            (start, line) = (end + 1, line + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 16 << 20;

    /// Gives a text in strokes of these sizes.
    struct Strokes<'a>(&'a [u8], VecDeque<usize>);

    impl Read for Strokes<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.pop_front().unwrap_or(usize::MAX).max(1);
            let taken = size.min(buffer.len()).min(self.0.len());
            buffer[..taken].copy_from_slice(&self.0[..taken]);
            self.0 = &self.0[taken..];
            Ok(taken)
        }
    }

    type Told = (Vec<u8>, u64, u64, bool);

    fn read(reader: impl Read, records: Option<&str>, limit: u64) -> io::Result<Vec<Told>> {
        let mut chunks = Chunks::new(reader, records, limit);
        let mut told = Vec::new();
        while let Some(chunk) = chunks.next_chunk()? {
            told.extend(chunk.pieces().iter().map(|p| (p.bytes.to_vec(), p.line, p.offset, p.is_too_long)));
        }
        Ok(told)
    }

    fn texts(text: &str, records: Option<&str>) -> Vec<String> {
        let told = read(text.as_bytes(), records, LIMIT).unwrap();
        told.into_iter().map(|(bytes, ..)| String::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn lines_know_their_place_across_chunks() {
        let long = format!("{}\n", "x".repeat(CHUNK_BYTES * 2));
        let text = format!("\u{feff}a\r\n\n{long}b\nlast");
        let told = read(text.as_bytes(), None, LIMIT).unwrap();
        let places: Vec<(usize, u64, u64)> =
            told.iter().map(|(bytes, line, at, _)| (bytes.len(), *line, *at)).collect();
        let b_at = 7 + long.len() as u64;
        assert_eq!(places, [(1, 1, 0), (long.len() - 1, 3, 7), (1, 4, b_at), (4, 5, b_at + 2)]);
        assert_eq!(read(&b""[..], None, LIMIT).unwrap(), []);
    }

    #[test]
    fn objects_are_found_wherever_they_stand() {
        let (a, b) = (r#"{"a":"]}\"{","b":[{}]}"#, "{\n \"a\": 2\n}");
        for text in [
            format!("[{a},{b}]"),
            format!(" [\n{a}\n,\n{b}\n]\n"),
            format!("{a}{b}"),
            format!("{a},\n{b},\n"),
            format!("[{a}][{b}]"),
        ] {
            assert_eq!(texts(&text, None), [a, b], "{text}");
        }
        let solr = format!(
            r#"{{"responseHeader":{{"docs":[1],"q":"response\""}},"response":{{"n":2,"docs":[{a},{b}],"x":[{{}}]}},"z":1}}"#
        );
        assert_eq!(texts(&solr, Some("response.docs")), [a, b]);
        assert_eq!(texts(&format!("{solr}\n{solr}"), Some("response.docs")), [a, b, a, b]);
        assert_eq!(texts(&format!(r#"{{"doc":{b}}}{{"doc":{a},"docs":[{b}]}}"#), Some("doc")), [b, a]);
        assert_eq!(
            texts(r#"[{"a":1}, 7, "x", null, [{"b":2}], {"c":3}]"#, None),
            [r#"{"a":1}"#, "7", "\"x\"", "null", r#"[{"b":2}]"#, r#"{"c":3}"#]
        );
    }

    #[test]
    fn a_text_that_breaks_off_is_an_error() {
        let told = |text: &str, records| read(text.as_bytes(), records, LIMIT).unwrap_err().to_string();
        assert_eq!(told(r#"[{"a":1},"#, None), "it ends before its last bracket closes");
        assert_eq!(told(r#"{"docs":[{"a":1}]"#, Some("docs")), "it ends before its last bracket closes");
        assert_eq!(told(r#"{"doc":[{"a":1}]}"#, Some("docs")), "it has nothing at `records = \"docs\"`");
        assert_eq!(texts(r#"{"a":1}{"a":"#, None), [r#"{"a":1}"#, r#"{"a":"#], "the record itself is refused later");
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_told() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(3 * CHUNK_BYTES));
        for (before, between, after) in [("", "\n", ""), ("[", ",", "]"), ("", "", "")] {
            let text = format!("{before}{{\"a\":1}}{between}{long}{between}{{\"b\":2}}{after}");
            let told = read(text.as_bytes(), None, 2 << 20).unwrap();
            let told: Vec<(usize, bool)> = told.iter().map(|(bytes, _, _, long)| (bytes.len(), *long)).collect();
            assert_eq!(told, [(7, false), (KEPT_BYTES, true), (7, false)]);
        }
    }

    proptest! {
        /// However a reader hands a text out, the same records are found at the same places.
        #[test]
        fn strokes_do_not_show(
            pieces in prop::collection::vec(prop_oneof![
                Just("{\"a\":1}"), Just("\n"), Just(","), Just("["), Just("]"), Just("{\"b\":[{\"c\":\"]}\\\"\"}]}"),
                Just("\"x\""), Just("7"), Just("{"), Just("}"), Just("\""), Just("\\"), Just(" "), Just("\u{feff}"),
                Just("\"docs\":"),
            ], 0..40),
            strokes in prop::collection::vec(1usize..9, 0..200),
            by_path in any::<bool>(),
        ) {
            let text: String = pieces.concat();
            let records = by_path.then_some("docs");
            let whole = read(text.as_bytes(), records, LIMIT).map_err(|error| error.to_string());
            let cut = read(Strokes(text.as_bytes(), strokes.into()), records, LIMIT).map_err(|error| error.to_string());
            prop_assert_eq!(&whole, &cut);
            if let Ok(told) = &whole {
                let mut end = 0;
                for (bytes, _, offset, _) in told {
                    prop_assert!(*offset >= end);
                    prop_assert!(!bytes.is_empty());
                    end = offset + bytes.len() as u64;
                }
            }
        }

        /// Small chunks and a walk that is broken off anywhere find what a walk over the whole finds.
        #[test]
        fn a_walk_may_stop_anywhere(text in "[\\[\\]{}\",:a\\\\ \n]{0,200}", cuts in prop::collection::vec(0usize..200, 0..20)) {
            let bytes = text.as_bytes();
            let mut whole = Vec::new();
            Scanner::new(&[]).walk(bytes, 0, &mut whole);
            let (mut scanner, mut pieces, mut at) = (Scanner::new(&[]), Vec::new(), 0);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
            cuts.sort_unstable();
            for cut in cuts {
                scanner.walk(&bytes[..cut], at, &mut pieces);
                at = cut;
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}

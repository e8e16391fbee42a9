//! Text cut into chunks of whole records, each record knowing its line.
//!
//! One thread reads, decompresses and cuts; parsing a chunk is another thread's work. So as little as possible happens
//! here: of lines only the last newline of a chunk is looked for, and all others by whoever parses them.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::layout::{self, BYTE_ORDER_MARK, Layout, layout};
use super::lists;
use super::scan::{Found, Missing, Scanner};
use super::unfit::Unfit;

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
    /// Each line is one, or several, one behind the other.
    Lines,
    /// Each line is a row of a table, as JSON.
    Rows,
    /// These are.
    At(Vec<Found>),
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
    /// What it is.
    pub kind: Kind,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text of a record, whole or broken.
    Record,
    /// A row of a table: an object, or a string that says what is wrong with the row.
    Row,
    /// Something longer than records may be: its bytes are the first ones.
    TooLong,
    /// Something beside the path to the records, where an answer with records should stand.
    Outside,
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
    /// Where lists of objects are in the beginning of a text with a path to its records.
    lists: Vec<String>,
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
    Rows,
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
            lists: Vec::new(),
            way: Way::Unknown,
        }
    }

    /// Of rows that `tables` made lines of.
    #[must_use]
    pub fn of_rows(mut self) -> Self {
        self.way = Way::Rows;
        self
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
            self.way = if self.path.is_empty() && self.layout()? == Layout::Lines {
                Way::Lines { is_skipping: false }
            } else {
                self.fill(CHUNK_BYTES)?;
                self.lists = if self.path.is_empty() { Vec::new() } else { lists::lists(&self.rest) };
                Way::Scanned { scanner: Scanner::new(&self.path), walked: 0, is_skipping: false }
            };
        }
        match self.way {
            Way::Lines { .. } | Way::Rows | Way::Unknown => self.next_lines(),
            Way::Scanned { .. } => self.next_scanned(),
        }
    }

    /// How records stand in the text, told by as much of it as that takes: a first record may be long.
    fn layout(&mut self) -> io::Result<Layout> {
        // However small chunks are, a layout is told by as much of the text.
        let mut looked_at = CHUNK_BYTES;
        loop {
            self.fill(looked_at)?;
            match layout(&self.rest, self.is_ended) {
                Some(layout) => return Ok(layout),
                None if looked_at > self.max_record_bytes => return Ok(Layout::Scanned),
                None => looked_at = looked_at.saturating_mul(2),
            }
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
            if is_last {
                self.check_last_line()?;
            }
            let cut = if is_last { Some(window) } else { memrchr(b'\n', &self.rest[..window]).map(|at| at + 1) };
            match cut {
                Some(0) => return Ok(None),
                Some(cut) => {
                    let pieces = if let Way::Rows = self.way { Pieces::Rows } else { Pieces::Lines };
                    return Ok(Some(self.take(cut, pieces)));
                }
                None if window > self.max_record_bytes && !matches!(self.way, Way::Rows) => {
                    self.way = Way::Lines { is_skipping: true };
                    return Ok(Some(self.take(KEPT_BYTES.min(window), Pieces::TooLong)));
                }
                None => wanted += self.chunk_bytes,
            }
        }
    }

    /// A text that ends inside a record was cut short, and is no short year: its last line has no end of its own.
    fn check_last_line(&self) -> io::Result<()> {
        let start = memrchr(b'\n', &self.rest).map_or(0, |at| at + 1);
        let line = &self.rest[start..];
        let line =
            if self.offset == 0 && start == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if matches!(self.way, Way::Rows) || !layout::breaks_off(line.trim_ascii()) {
            return Ok(());
        }
        let number = self.line + memchr_iter(b'\n', &self.rest[..start]).count() as u64;
        let told = format!("its last line, line {number}, is no whole record and has no newline");
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, told))
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
            // What was walked, of a piece that is open, must not be walked again.
            wanted = if let Way::Scanned { walked, .. } = &self.way { wanted.max(*walked) } else { wanted };
            self.fill(wanted)?;
            let (window, is_last) = self.window(wanted);
            let Way::Scanned { scanner, walked, is_skipping } = &mut self.way else { return Ok(None) };
            let mut pieces = Vec::new();
            scanner.walk(&self.rest[..window], *walked, &mut pieces);
            *walked = window;
            if std::mem::take(is_skipping) {
                // The first piece that ends is the one that was too long, unless it is open still.
                let passed = if pieces.is_empty() { None } else { Some(pieces.remove(0)) };
                *is_skipping = passed.is_none() && scanner.is_in_record();
            }
            let open = scanner.open_piece(window);
            if is_last {
                let missing = scanner.missing();
                pieces.extend(scanner.last_piece(window).filter(|_| !*is_skipping));
                return self.last_scanned(pieces, missing);
            }
            let cut = open.unwrap_or(window);
            if *is_skipping {
                self.take(window, Pieces::Lines);
            } else if !pieces.is_empty() {
                return Ok(Some(self.take(cut, Pieces::At(pieces))));
            } else if scanner.is_in_record() && window - cut > self.max_record_bytes {
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

    fn last_scanned(&mut self, pieces: Vec<Found>, missing: Option<Missing>) -> io::Result<Option<Chunk>> {
        let told = match missing {
            // An empty file is told of in other words.
            _ if pieces.is_empty() && self.is_blank && self.rest.trim_ascii().is_empty() => return Ok(None),
            Some(Missing::Bracket) => "it ends before its last bracket closes",
            Some(Missing::EndOfRecord) => "it ends inside a record",
            Some(Missing::Records) => return Err(self.without_records()),
            None if pieces.is_empty() => return Ok(None),
            None => return Ok(Some(self.take(self.rest.len(), Pieces::At(pieces)))),
        };
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, told))
    }

    /// Says where lists are, if the path leads to none.
    fn without_records(&self) -> io::Error {
        let path = self.path.join(".");
        let lists: Vec<String> = self.lists.iter().map(|list| format!("`{list}`")).collect();
        let told = format!("it has nothing at `records = \"{path}\"`");
        let (detail, help) = match lists.as_slice() {
            [] => (told, "leave `records` out of that load node, if each record stands by itself".to_owned()),
            lists => {
                let told = format!("{told}; it has lists of objects at {}", lists.join(", "));
                (told, "correct `records` in that load node".to_owned())
            }
        };
        Unfit { detail, help }.into()
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
            Pieces::Lines => self.lines(Kind::Record, &mut found),
            Pieces::Rows => self.lines(Kind::Row, &mut found),
            Pieces::At(places) => {
                let (mut line, mut counted) = (self.line, 0);
                for Found { range: Range { start, end }, is_outside } in places {
                    line += memchr_iter(b'\n', &self.bytes[counted..*start]).count() as u64;
                    counted = *start;
                    let kind = if *is_outside { Kind::Outside } else { Kind::Record };
                    let bytes = self.bytes[*start..*end].trim_ascii();
                    found.push(Piece { bytes, line, offset: self.offset + *start as u64, kind });
                }
            }
            Pieces::TooLong => {
                found.push(Piece { bytes: &self.bytes, line: self.line, offset: self.offset, kind: Kind::TooLong });
            }
        }
        found
    }

    fn lines<'a>(&'a self, kind: Kind, found: &mut Vec<Piece<'a>>) {
        let (mut start, mut line) = (0, self.line);
        let seams = if kind == Kind::Record { seams(&self.bytes) } else { Vec::new() };
        let mut seams = seams.into_iter().peekable();
        while start < self.bytes.len() {
            let end = memchr(b'\n', &self.bytes[start..]).map_or(self.bytes.len(), |at| start + at);
            let is_first = self.offset == 0 && start == 0;
            let bytes = &self.bytes[start..end];
            let bytes = if is_first { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes };
            let bytes = bytes.trim_ascii_start();
            let behind_blanks = bytes.len();
            let bytes = without_comma(bytes.trim_ascii_end());
            let piece = Piece { bytes, line, offset: self.offset + start as u64, kind };
            if seams.next_if(|seam| *seam < end).is_some() {
                while seams.next_if(|seam| *seam < end).is_some() {}
                found.extend(piece.split((end - start - behind_blanks) as u64));
            } else if !bytes.is_empty() {
                found.push(piece);
            }
            (start, line) = (end + 1, line + 1);
        }
    }
}

impl<'a> Piece<'a> {
    /// The records of a line that may hold several, whose text begins so many bytes behind the line's beginning.
    fn split(self, before: u64) -> impl Iterator<Item = Self> {
        layout::objects(self.bytes).into_iter().map(move |range| {
            // As that of any line, the place of the first one is where its line begins.
            let offset = if range.start == 0 { self.offset } else { self.offset + before + range.start as u64 };
            Piece { bytes: self.bytes[range].trim_ascii_end(), offset, ..self }
        })
    }
}

/// A line without the comma that stands behind its object where lines were cut out of an array.
fn without_comma(line: &[u8]) -> &[u8] {
    if line.ends_with(b"},") { &line[..line.len() - 1] } else { line }
}

/// Where one object may end and the next one begin, in order. Most such places are inside of strings, but a text without any
/// has no line of several objects, and to find that out costs next to nothing.
fn seams(bytes: &[u8]) -> Vec<usize> {
    let mut seams: Vec<usize> = memmem::find_iter(bytes, b"}{").chain(memmem::find_iter(bytes, b"} {")).collect();
    seams.sort_unstable();
    seams
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

    type Told = (Vec<u8>, u64, u64, Kind);

    fn read(reader: impl Read, records: Option<&str>, limit: u64) -> io::Result<Vec<Told>> {
        read_chunks(Chunks::new(reader, records, limit))
    }

    fn read_chunks(mut chunks: Chunks<impl Read>) -> io::Result<Vec<Told>> {
        let mut told = Vec::new();
        while let Some(chunk) = chunks.next_chunk()? {
            told.extend(chunk.pieces().iter().map(|p| (p.bytes.to_vec(), p.line, p.offset, p.kind)));
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

    /// What stands before records makes the first stroke long: what it held of the next piece was walked twice.
    #[test]
    fn a_short_stroke_after_a_long_one_walks_nothing_twice() {
        let text = "{\"docs\":[2\r{\"\rd\":\r}]}";
        let expected = read(text.as_bytes(), Some("docs"), LIMIT).unwrap();
        assert_eq!(expected.len(), 2);
        for chunk_bytes in 1..20 {
            let chunks = Chunks::new(text.as_bytes(), Some("docs"), LIMIT).in_chunks_of(chunk_bytes);
            assert_eq!(read_chunks(chunks).unwrap(), expected, "{chunk_bytes}");
        }
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
        let lists = "it has nothing at `records = \"docs\"`; it has lists of objects at `doc`";
        assert_eq!(told(r#"{"doc":[{"a":1}]}"#, Some("docs")), lists);
        assert_eq!(told(r#"{"a":1}"#, Some("docs")), "it has nothing at `records = \"docs\"`");
        assert_eq!(told(r#"{"a":1}{"a":"#, None), "it ends inside a record");
        assert_eq!(told("{\n\"a\":1\n}\n{\n\"a\"", None), "it ends inside a record");
        for cut in ["{\"a\":", "{\"a\":1}{\"b\":\"", "{\"a\": \"x}"] {
            let text = format!("{{\"a\":1}}\n\n{cut}");
            assert_eq!(told(&text, None), "its last line, line 3, is no whole record and has no newline", "{cut}");
            assert_eq!(
                read(format!("{text}\n").as_bytes(), None, LIMIT).unwrap().len(),
                2 + usize::from(cut.contains("}{"))
            );
        }
        assert_eq!(texts("{\"a\":1}\n{\"b\":2} x", None).len(), 2, "a line that is no record is whole all the same");
    }

    /// What stands between answers is told of, be it an error, a record by itself or anything else.
    #[test]
    fn what_is_beside_the_path_is_a_piece() {
        let long = format!("{{\"error\":\"{}\"}}", "x".repeat(CHUNK_BYTES));
        for (between, piece) in [
            ("{\"error\":{\"docs\":1}}", "{\"error\":{\"docs\":1}}"),
            ("\n{\"a\":9}\n", "{\"a\":9}"),
            ("\nError 503\n", "Error 503"),
            ("[{\"docs\":[{}]}]", "[{\"docs\":[{}]}]"),
            (&long, "}"),
        ] {
            let text = format!("{{\"docs\":[{{\"a\":1}}]}}{between}{{\"docs\":[{{\"a\":2}}], \"n\":1}}");
            let told = read(text.as_bytes(), Some("docs"), LIMIT).unwrap();
            let pieces: Vec<(&[u8], Kind)> = told.iter().map(|(bytes, _, _, kind)| (&**bytes, *kind)).collect();
            let [first, last] = [&b"{\"a\":1}"[..], b"{\"a\":2}"].map(|bytes| (bytes, Kind::Record));
            assert_eq!(pieces, [first, (piece.as_bytes(), Kind::Outside), last], "{between}");
            assert!(text[usize::try_from(told[1].2).unwrap()..].starts_with(piece));
        }
        assert!(read(&b"{\"docs\":[]}"[..], Some("docs"), LIMIT).unwrap().is_empty());
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_told() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(3 * CHUNK_BYTES));
        for (before, between, after) in [("", "\n", ""), ("[", ",", "]"), ("", "", "")] {
            let text = format!("{before}{{\"a\":1}}{between}{long}{between}{{\"b\":2}}{after}");
            let told = read(text.as_bytes(), None, 2 << 20).unwrap();
            let told: Vec<(usize, Kind)> = told.iter().map(|(bytes, _, _, kind)| (bytes.len(), *kind)).collect();
            assert_eq!(told, [(7, Kind::Record), (KEPT_BYTES, Kind::TooLong), (7, Kind::Record)]);
        }
    }

    /// What joining files makes of one without its last newline: a line of two records. None of them is lost, wherever in
    /// the text it stands, and a broken line costs itself alone.
    #[test]
    fn lines_of_several_records_stay_lines() {
        let good = |n: usize| format!("{{\"a\":{n},\"t\":\"\\\\frac{{1}}{{2}}\"}}");
        let glued = format!("{}{}", good(1), good(2));
        for text in [
            format!("{glued}\n{}\n{{\"cut\n{}\n", good(3), good(4)),
            format!("{}\n{glued} \n{{\"cut\n{}\n", good(3), good(4)),
        ] {
            let told = read(text.as_bytes(), None, LIMIT).unwrap();
            assert_eq!(told.len(), 5, "{text}");
            for (bytes, line, offset, _) in &told {
                let at = usize::try_from(*offset).unwrap();
                assert!(text.as_bytes()[at..].starts_with(bytes), "{text}: {offset}");
                assert_eq!(text[..at].matches('\n').count() as u64 + 1, *line);
            }
            assert_eq!(told.iter().filter(|(bytes, ..)| bytes == b"{\"cut").count(), 1);
        }
        let blank = format!("\u{feff}  {} {}\n", good(1), good(2));
        let told = read(blank.as_bytes(), None, LIMIT).unwrap();
        assert_eq!(told.iter().map(|(.., offset, _)| *offset).collect::<Vec<_>>(), [0, 6 + good(1).len() as u64]);
    }

    #[test]
    fn a_first_record_may_be_long() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(CHUNK_BYTES + 10));
        assert_eq!(texts(&format!("{long}{{\"b\":2}}"), None), [&*long, "{\"b\":2}"]);
        assert_eq!(texts(&format!("{long}\n{{\"cut\n{{\"b\":2}}\n"), None), [&*long, "{\"cut", "{\"b\":2}"]);
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
            chunk_bytes in 1usize..30,
        ) {
            let text: String = pieces.concat();
            let records = by_path.then_some("docs");
            let whole = read(text.as_bytes(), records, LIMIT).map_err(|error| error.to_string());
            let cut = read(Strokes(text.as_bytes(), strokes.into()), records, LIMIT).map_err(|error| error.to_string());
            prop_assert_eq!(&whole, &cut);
            let small = Chunks::new(text.as_bytes(), records, LIMIT).in_chunks_of(chunk_bytes);
            prop_assert_eq!(&whole, &read_chunks(small).map_err(|error| error.to_string()));
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

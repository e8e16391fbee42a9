//! Finds records that are not one a line: a walk over bytes that knows strings and brackets, and nothing else of JSON.
//!
//! ```text
//! top level    [ ... ]  {...}{...}  {...},        arrays and objects, in any number
//! by a path    {"response": {"docs": [ ... ]}}    `response.docs`: the records are in that array, or are that object
//! ```
//!
//! What a record holds is not looked at: a broken one ends where its brackets close, and `record.rs` refuses it. What stands
//! between records and is none is a piece too, so that every byte belongs to a record, to a refusal or to the frame around.

use std::ops::Range;

use memchr::memchr2;

/// Bytes of a key that are compared: longer ones are on no path.
const KEY_BYTES: usize = 256;

/// Bytes that are kept of a value beside the path, to show what it is.
const KEPT_BYTES: usize = 1 << 12;

/// A piece of a text, by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub range: Range<usize>,
    /// Whether it stands beside the path to the records, where a value with records should.
    pub is_outside: bool,
}

/// What a text lacks at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The path led to no records.
    Records,
    /// A bracket around records does not close.
    Bracket,
    /// The last record does not end.
    EndOfRecord,
}

/// Where a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Where records may begin.
    Between,
    /// In a record that began at this byte, so many brackets deep.
    Record { start: usize, depth: usize },
    /// In something else that began at this byte, and ends with a line, a comma or a bracket.
    Junk { start: usize },
    /// Outside the records: on the way to them, or behind.
    Frame,
}

/// A container on the way to the records.
#[derive(Debug)]
struct Level {
    is_object: bool,
    /// Segments of the path that lead here; none if it is beside the path.
    matched: Option<usize>,
    /// Those that lead to the value which comes next.
    next: Option<usize>,
    /// Whether the next string is a key.
    is_key_next: bool,
}

/// Walks a text piece by piece, as it is read.
#[derive(Debug)]
pub struct Scanner {
    path: Vec<String>,
    state: State,
    /// In a string; and behind a backslash in it.
    in_string: bool,
    is_escaped: bool,
    /// The key that is being read in the frame.
    key: Option<Vec<u8>>,
    levels: Vec<Level>,
    /// Whether the records are in an array that has not ended.
    in_array: bool,
    /// Whether the path led anywhere.
    has_found: bool,
    /// Where the outermost value began, and whether the path led anywhere in it; on the way to records.
    outermost: Outermost,
}

/// The outermost value that a walk is in.
#[derive(Clone, Copy, Debug, Default)]
struct Outermost {
    /// Where it began; none if that is too far back for it to be shown.
    start: Option<usize>,
    has_found: bool,
}

impl Scanner {
    /// Starts before the first byte. The path's segments lead to the records; without any they are at the top.
    pub fn new(path: &[String]) -> Self {
        Self {
            state: if path.is_empty() { State::Between } else { State::Frame },
            path: path.to_vec(),
            in_string: false,
            is_escaped: false,
            key: None,
            levels: Vec::new(),
            in_array: false,
            has_found: path.is_empty(),
            outermost: Outermost::default(),
        }
    }

    /// Walks on from `at` to the end of the bytes, and adds each piece that ended.
    pub fn walk(&mut self, bytes: &[u8], mut at: usize, pieces: &mut Vec<Found>) {
        while at < bytes.len() {
            at = match self.state {
                _ if self.in_string => self.string(bytes, at),
                State::Between => self.between(bytes, at),
                State::Record { start, depth } => self.record(bytes, at, (start, depth), pieces),
                State::Junk { start } => self.junk(bytes, at, start, pieces),
                State::Frame => self.frame(bytes[at], at, pieces),
            };
        }
    }

    /// Where the piece began that has not ended, if the walk, which came to `end`, is in one that is to be kept.
    pub fn open_piece(&self, end: usize) -> Option<usize> {
        match self.state {
            State::Record { start, .. } | State::Junk { start } => Some(start),
            State::Frame if !self.levels.is_empty() && !self.outermost.has_found => {
                self.outermost.start.filter(|start| end - start < KEPT_BYTES)
            }
            State::Between | State::Frame => None,
        }
    }

    /// Whether the walk is in a record, or in what should be one.
    pub fn is_in_record(&self) -> bool {
        matches!(self.state, State::Record { .. } | State::Junk { .. })
    }

    /// What the end of the text ends, if that is `end`: what is no record has no end of its own.
    pub fn last_piece(&self, end: usize) -> Option<Found> {
        match self.state {
            State::Junk { start } if start < end => Some(Found { range: start..end, is_outside: self.is_beside() }),
            _ => None,
        }
    }

    /// Goes on as if the bytes before `by` had never been there.
    pub fn shift(&mut self, by: usize) {
        self.outermost.start = self.outermost.start.and_then(|start| start.checked_sub(by));
        match &mut self.state {
            State::Record { start, .. } | State::Junk { start } => *start = start.saturating_sub(by),
            State::Between | State::Frame => {}
        }
    }

    /// What is missing at the end of the text, if anything is: a download that broke off is no short year.
    pub fn missing(&self) -> Option<Missing> {
        if self.in_array || !self.levels.is_empty() {
            return Some(Missing::Bracket);
        }
        if let State::Record { .. } = self.state {
            return Some(Missing::EndOfRecord);
        }
        (!self.has_found).then_some(Missing::Records)
    }

    /// Whether what stands here stands beside the path to the records.
    fn is_beside(&self) -> bool {
        !self.path.is_empty() && !self.in_array
    }

    fn string(&mut self, bytes: &[u8], at: usize) -> usize {
        if self.is_escaped {
            self.is_escaped = false;
            self.keep_key(&bytes[at..=at]);
            return at + 1;
        }
        let end = memchr2(b'"', b'\\', &bytes[at..]).map_or(bytes.len(), |found| at + found);
        self.keep_key(&bytes[at..end]);
        match bytes.get(end) {
            Some(b'"') => {
                self.in_string = false;
                self.end_key();
            }
            Some(_) => {
                self.is_escaped = true;
                self.keep_key(b"\\");
            }
            None => {}
        }
        end + 1
    }

    fn between(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b'[' if !self.in_array && self.path.is_empty() => self.in_array = true,
            b']' if self.in_array => {
                self.in_array = false;
                if !self.path.is_empty() {
                    self.leave_records();
                }
            }
            b'{' | b'[' => self.state = State::Record { start: at, depth: 1 },
            byte if is_between(byte) => {}
            _ => self.state = State::Junk { start: at },
        }
        at + 1
    }

    fn record(&mut self, bytes: &[u8], at: usize, (start, depth): (usize, usize), pieces: &mut Vec<Found>) -> usize {
        match bytes[at] {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.state = State::Record { start, depth: depth + 1 },
            b'}' | b']' if depth > 1 => self.state = State::Record { start, depth: depth - 1 },
            b'}' | b']' => {
                pieces.push(Found { range: start..at + 1, is_outside: false });
                self.state = State::Between;
                // The path led to a record itself.
                if !self.path.is_empty() && !self.in_array {
                    self.leave_records();
                }
            }
            _ => {}
        }
        at + 1
    }

    fn junk(&mut self, bytes: &[u8], at: usize, start: usize, pieces: &mut Vec<Found>) -> usize {
        let ends = |byte: &u8| matches!(byte, b',' | b'\n' | b'{' | b'[' | b']');
        let Some(end) = bytes[at..].iter().position(ends) else { return bytes.len() };
        pieces.push(Found { range: start..at + end, is_outside: self.is_beside() });
        self.state = if self.is_beside() { State::Frame } else { State::Between };
        at + end
    }

    fn frame(&mut self, byte: u8, at: usize, pieces: &mut Vec<Found>) -> usize {
        match byte {
            b'{' | b'[' => return self.open(byte, at),
            byte if self.levels.is_empty() && !is_between(byte) => self.state = State::Junk { start: at },
            b'"' => {
                self.in_string = true;
                let is_key = self.levels.last().is_some_and(|level| level.is_object && level.is_key_next);
                self.key = is_key.then(Vec::new);
            }
            b'}' | b']' => self.close(at, pieces),
            b',' => {
                if let Some(level) = self.levels.last_mut() {
                    (level.is_key_next, level.next) = (level.is_object, None);
                }
            }
            b':' => {
                if let Some(level) = self.levels.last_mut() {
                    level.is_key_next = false;
                }
            }
            _ => {}
        }
        at + 1
    }

    fn open(&mut self, byte: u8, at: usize) -> usize {
        let matched = match self.levels.last() {
            None => Some(0),
            Some(level) => level.next,
        };
        if self.levels.is_empty() {
            self.outermost = Outermost { start: Some(at), has_found: false };
        }
        if matched == Some(self.path.len()) {
            (self.has_found, self.outermost.has_found) = (true, true);
            if byte == b'[' {
                (self.in_array, self.state) = (true, State::Between);
            } else {
                self.state = State::Record { start: at, depth: 1 };
            }
            return at + 1;
        }
        let is_object = byte == b'{';
        self.levels.push(Level { is_object, matched, next: None, is_key_next: is_object });
        at + 1
    }

    /// A container in the frame ends. An outermost one without records is told of, not passed over: an error, perhaps, in the
    /// place of an answer. One that is long is shown by its last bracket alone.
    fn close(&mut self, at: usize, pieces: &mut Vec<Found>) {
        self.levels.pop();
        if self.levels.is_empty() && !self.outermost.has_found {
            let start = self.outermost.start.filter(|start| at - start < KEPT_BYTES).unwrap_or(at);
            pieces.push(Found { range: start..at + 1, is_outside: true });
        }
    }

    fn leave_records(&mut self) {
        self.state = State::Frame;
        if let Some(level) = self.levels.last_mut() {
            level.next = None;
        }
    }

    fn keep_key(&mut self, bytes: &[u8]) {
        if let Some(key) = self.key.as_mut().filter(|key| key.len() <= KEY_BYTES) {
            key.extend_from_slice(bytes);
        }
    }

    fn end_key(&mut self) {
        let Some(key) = self.key.take() else { return };
        let Some(level) = self.levels.last_mut() else { return };
        let wanted = level.matched.and_then(|matched| Some((matched, self.path.get(matched)?)));
        level.next = wanted.filter(|(_, segment)| segment.as_bytes() == key).map(|(matched, _)| matched + 1);
    }
}

/// Whether a byte may stand between two values. The mark before a text is none of it.
fn is_between(byte: u8) -> bool {
    byte == b',' || byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(&byte)
}

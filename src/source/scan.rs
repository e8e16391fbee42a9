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
        }
    }

    /// Walks on from `at` to the end of the bytes, and adds each piece that ended.
    pub fn walk(&mut self, bytes: &[u8], mut at: usize, pieces: &mut Vec<Range<usize>>) {
        while at < bytes.len() {
            at = match self.state {
                _ if self.in_string => self.string(bytes, at),
                State::Between => self.between(bytes, at),
                State::Record { start, depth } => self.record(bytes, at, (start, depth), pieces),
                State::Junk { start } => self.junk(bytes, at, start, pieces),
                State::Frame => self.frame(bytes[at], at),
            };
        }
    }

    /// Where the piece began that has not ended, if the walk is in one.
    pub fn open_piece(&self) -> Option<usize> {
        match self.state {
            State::Record { start, .. } | State::Junk { start } => Some(start),
            State::Between | State::Frame => None,
        }
    }

    /// Goes on as if the bytes before `by` had never been there.
    pub fn shift(&mut self, by: usize) {
        match &mut self.state {
            State::Record { start, .. } | State::Junk { start } => *start = start.saturating_sub(by),
            State::Between | State::Frame => {}
        }
    }

    /// What is missing at the end of the text, if anything is: a download that broke off is no short year.
    pub fn missing(&self) -> Option<String> {
        if !self.has_found {
            return Some(format!("it has nothing at `records = \"{}\"`", self.path.join(".")));
        }
        if self.in_array || !self.levels.is_empty() {
            return Some("it ends before its last bracket closes".to_owned());
        }
        None
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
            // The mark before a text is none of it.
            byte if byte == b',' || byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(&byte) => {}
            _ => self.state = State::Junk { start: at },
        }
        at + 1
    }

    fn record(
        &mut self,
        bytes: &[u8],
        at: usize,
        (start, depth): (usize, usize),
        pieces: &mut Vec<Range<usize>>,
    ) -> usize {
        match bytes[at] {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.state = State::Record { start, depth: depth + 1 },
            b'}' | b']' if depth > 1 => self.state = State::Record { start, depth: depth - 1 },
            b'}' | b']' => {
                pieces.push(start..at + 1);
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

    fn junk(&mut self, bytes: &[u8], at: usize, start: usize, pieces: &mut Vec<Range<usize>>) -> usize {
        let ends = |byte: &u8| matches!(byte, b',' | b'\n' | b'{' | b'[' | b']');
        let Some(end) = bytes[at..].iter().position(ends) else { return bytes.len() };
        pieces.push(start..at + end);
        self.state = State::Between;
        at + end
    }

    fn frame(&mut self, byte: u8, at: usize) -> usize {
        match byte {
            b'"' => {
                self.in_string = true;
                let is_key = self.levels.last().is_some_and(|level| level.is_object && level.is_key_next);
                self.key = is_key.then(Vec::new);
            }
            b'{' | b'[' => return self.open(byte, at),
            b'}' | b']' => {
                self.levels.pop();
            }
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
        if matched == Some(self.path.len()) {
            self.has_found = true;
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

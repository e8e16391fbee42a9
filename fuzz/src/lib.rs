//! What the targets share: how a reader is broken into strokes, what is found in a text, and how long a step took.
//!
//! Targets state what must hold of any bytes. What a target finds becomes a unit test of the room that was wrong.

use std::collections::VecDeque;
use std::io::Read;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sciembed::clean::Step;
use sciembed::source::chunks::{Chunks, Kind};

/// Longer than any text that a target makes.
const LIMIT: u64 = 1 << 30;
/// Bytes of a text that is measured; a step takes some milliseconds for them.
const LONG_BYTES: usize = 100_000;
/// Time of the processor for such a text, a hundred times what is usual: a step whose time grows with the square takes more.
const LONG_AT_MOST: Duration = Duration::from_secs(1);
/// One of so many texts is measured: the others would wait for it.
const MEASURED: u64 = 1024;

/// A text and how it is to be handed out. The first line of an input says how: the records' path, the size of chunks, and
/// the sizes of strokes, a byte each.
pub struct Handed<'a> {
    /// The path to the records.
    pub records: Option<&'static str>,
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
    /// Bytes that each read gives.
    pub strokes: &'a [u8],
    /// The text.
    pub text: &'a [u8],
}

impl<'a> Handed<'a> {
    /// Reads an input; none without a first line.
    pub fn of(input: &'a [u8]) -> Option<Self> {
        let end = input.iter().position(|byte| *byte == b'\n')?;
        let (head, text) = (&input[..end], &input[end + 1..]);
        let records = match head.first() {
            Some(b'd') => Some("docs"),
            Some(b'r') => Some("response.docs"),
            _ => None,
        };
        let chunk_bytes = head.get(1).map_or(64, |byte| usize::from(*byte) + 1);
        Some(Self { records, chunk_bytes, strokes: head.get(2..).unwrap_or_default(), text })
    }
}

/// A piece with its line, its offset and whether it is too long.
pub type Told = (Vec<u8>, u64, u64, bool);

/// The pieces of a text and how it ended, read at once in chunks as they are by default.
pub fn whole(text: &[u8], records: Option<&str>) -> (Vec<Told>, Option<String>) {
    pieces(Chunks::new(text, records, LIMIT))
}

/// The same, read in strokes and cut into other chunks.
pub fn in_parts(handed: &Handed, text: &[u8]) -> (Vec<Told>, Option<String>) {
    let strokes = handed.strokes.iter().map(|size| usize::from(*size).max(1)).collect();
    pieces(Chunks::new(Strokes(text, strokes), handed.records, LIMIT).in_chunks_of(handed.chunk_bytes))
}

fn pieces(mut chunks: Chunks<impl Read>) -> (Vec<Told>, Option<String>) {
    let mut told = Vec::new();
    loop {
        match chunks.next_chunk() {
            Ok(Some(chunk)) => {
                told.extend(chunk.pieces().iter().map(|p| (p.bytes.to_vec(), p.line, p.offset, p.kind == Kind::TooLong)));
            }
            Ok(None) => return (told, None),
            Err(error) => return (told, Some(error.to_string())),
        }
    }
}

/// Gives a text in strokes of these sizes.
struct Strokes<'a>(&'a [u8], VecDeque<usize>);

impl Read for Strokes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = self.1.pop_front().unwrap_or(usize::MAX);
        let taken = size.min(buffer.len()).min(self.0.len());
        buffer[..taken].copy_from_slice(&self.0[..taken]);
        self.0 = &self.0[taken..];
        Ok(taken)
    }
}

/// What holds of a step over any text: it does not grow beyond what its shortest command could stand for, it is handed
/// back where it has none of these marks, and its time grows with its length alone.
pub fn check_step(step: Step, marks: &[char], text: &str) {
    let clean = step.apply(text);
    assert!(clean.len() <= 4 * text.len() + 8, "{step}: {text:?}");
    if !text.contains(marks) {
        assert!(matches!(clean, std::borrow::Cow::Borrowed(same) if same == text), "{step} changed {text:?}");
    }
    if !text.is_empty() && sum(text) % MEASURED == 0 {
        let long = text.repeat(LONG_BYTES / text.len() + 1);
        let begun = processor_time();
        step.apply(&long);
        let taken = processor_time().saturating_sub(begun);
        assert!(taken < LONG_AT_MOST, "{step} took {taken:?} for {} bytes of {text:?}", long.len());
    }
}

/// A number that is the same for equal texts, and any for others: FNV-1a.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) >> 32
}

/// What this thread has had of the processor: a machine that is busy otherwise makes nothing slow.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

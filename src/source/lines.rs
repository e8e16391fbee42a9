//! Text cut into chunks of whole lines, each knowing where it began.

use std::io::{self, Read};

/// Bytes per chunk: some hundred records, enough that handing it to a thread costs nothing beside parsing it.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Whole lines from one file.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes, ending with a newline unless it is the file's last line.
    pub bytes: Vec<u8>,
    /// The number of the first line, from 1.
    pub first_line: u64,
    /// The decompressed bytes before this chunk.
    pub offset: u64,
}

/// One line of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without its newline.
    pub bytes: &'a [u8],
    /// Its number in the file, from 1.
    pub number: u64,
    /// The decompressed bytes before it.
    pub offset: u64,
}

/// Cuts a reader into [`Chunk`]s.
pub struct Chunks<R> {
    reader: R,
    rest: Vec<u8>,
    line: u64,
    offset: u64,
    ended: bool,
}

impl<R: Read> Chunks<R> {
    /// Wraps a reader of decompressed text.
    pub fn new(reader: R) -> Self {
        Self { reader, rest: Vec::new(), line: 1, offset: 0, ended: false }
    }

    /// Decompressed bytes handed out so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next chunk; none at the end. A line longer than a chunk comes whole, in a chunk of its own size.
    ///
    /// # Errors
    /// Whatever reading or decompressing gives.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut wanted = CHUNK_BYTES;
        loop {
            self.fill(wanted)?;
            let cut = if self.ended { Some(self.rest.len()) } else { last_line_end(&self.rest) };
            match cut {
                Some(0) => return Ok(None),
                Some(cut) => return Ok(Some(self.take(cut))),
                None => wanted += CHUNK_BYTES,
            }
        }
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.ended || self.rest.len() >= wanted {
            return Ok(());
        }
        let missing = (wanted - self.rest.len()) as u64;
        let read = self.reader.by_ref().take(missing).read_to_end(&mut self.rest)?;
        self.ended = (read as u64) < missing;
        Ok(())
    }

    fn take(&mut self, cut: usize) -> Chunk {
        let rest = self.rest.split_off(cut);
        let bytes = std::mem::replace(&mut self.rest, rest);
        let chunk = Chunk { first_line: self.line, offset: self.offset, bytes };
        self.line += chunk.bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.offset += chunk.bytes.len() as u64;
        chunk
    }
}

fn last_line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1)
}

impl Chunk {
    /// The chunk's lines, blank ones included.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut offset = self.offset;
        self.bytes.split_inclusive(|&byte| byte == b'\n').zip(self.first_line..).map(move |(bytes, number)| {
            let line = Line { bytes: bytes.strip_suffix(b"\n").unwrap_or(bytes), number, offset };
            offset += bytes.len() as u64;
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &[u8]) -> Vec<Chunk> {
        let mut reader = Chunks::new(text);
        std::iter::from_fn(|| reader.next_chunk().unwrap()).collect()
    }

    #[test]
    fn lines_know_their_place_across_chunks() {
        let long = format!("{}\n", "x".repeat(CHUNK_BYTES * 2));
        let text = format!("a\n\n{long}b\nlast");
        let cut = chunks(text.as_bytes());
        assert!(cut.len() > 1);
        let lines: Vec<(u64, u64, usize)> =
            cut.iter().flat_map(Chunk::lines).map(|line| (line.number, line.offset, line.bytes.len())).collect();
        let b_at = 3 + long.len() as u64;
        assert_eq!(lines, [(1, 0, 1), (2, 2, 0), (3, 3, long.len() - 1), (4, b_at, 1), (5, b_at + 2, 4)]);
        assert_eq!(chunks(b""), []);
    }
}

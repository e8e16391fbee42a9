//! The head of an index: its version, how many texts it has, and the sum of each block of each of its files.
//!
//! Numbers are little-endian: eight bytes of magic, the version (u32), the number of texts (u32), Tantivy's own
//! description (a string), the number of files (u32); for each its name (a string), its length (u64) and the CRC-32 of each
//! of its blocks; at the end the CRC-32 of all this. A string is its length (u32) and its bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::layout::HEAD;
use crate::{VERSION, WordsError};

const MAGIC: &[u8; 8] = b"SCIWORDS";

/// Bytes that have one sum. A word's list is read from several blocks or from a part of one: 64 kB are checked in less
/// time than they take to come from a disk, and make 60 kB of sums for each GB.
pub(crate) const BLOCK_BYTES: usize = 1 << 16;

/// A file of an index as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: String,
    pub bytes: u64,
    pub sums: Vec<u32>,
}

impl Listed {
    /// Reads a file to its end and takes its sums.
    pub(crate) fn of(path: &Path, name: String) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut block, mut sums, mut bytes) = (Vec::with_capacity(BLOCK_BYTES), Vec::new(), 0);
        loop {
            block.clear();
            let read = file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
            if read == 0 {
                return Ok(Self { name, bytes, sums });
            }
            bytes += read as u64;
            sums.push(crc32fast::hash(&block));
        }
    }
}

/// What stands in the head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub texts: u32,
    /// Tantivy's description of the index (its `meta.json`); empty where there are no texts.
    pub meta: String,
    pub files: Vec<Listed>,
}

impl Head {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.texts.to_le_bytes());
        put(&mut bytes, &self.meta);
        bytes.extend((self.files.len() as u32).to_le_bytes());
        for file in &self.files {
            put(&mut bytes, &file.name);
            bytes.extend(file.bytes.to_le_bytes());
            file.sums.iter().for_each(|sum| bytes.extend(sum.to_le_bytes()));
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the head of the index in a folder.
    ///
    /// # Errors
    /// [`WordsError::Foreign`] where there is none, [`WordsError::Version`], [`WordsError::Damaged`], [`WordsError::File`].
    pub(crate) fn read(folder: &Path) -> Result<Self, WordsError> {
        let path = folder.join(HEAD);
        let foreign = |reason| WordsError::Foreign { path: folder.to_owned(), reason };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
                return Err(foreign("it has no words.head"));
            }
            Err(source) => return Err(WordsError::File { path, source }),
        };
        let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err(foreign("its words.head is none")) };
        // Before the sum: another version may end otherwise.
        let (version, _) = rest.split_first_chunk().ok_or_else(|| WordsError::damaged(&path, "it is cut"))?;
        let found = u32::from_le_bytes(*version);
        if found != VERSION {
            return Err(WordsError::Version { path: folder.to_owned(), found });
        }
        let (body, sum) = bytes.split_last_chunk().ok_or_else(|| WordsError::damaged(&path, "it is cut"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err(WordsError::damaged(&path, "its sum is not that of its bytes"));
        }
        Parse { rest: &body[MAGIC.len() + 4..] }.head().ok_or_else(|| WordsError::damaged(&path, "it does not add up"))
    }
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

struct Parse<'a> {
    rest: &'a [u8],
}

impl Parse<'_> {
    fn head(mut self) -> Option<Head> {
        let (texts, meta) = (self.u32()?, self.string()?);
        let files = (0..self.u32()?).map(|_| self.file()).collect::<Option<_>>()?;
        self.rest.is_empty().then_some(Head { texts, meta, files })
    }

    fn file(&mut self) -> Option<Listed> {
        let (name, bytes) = (self.string()?, u64::from_le_bytes(*self.take()?));
        let sums = (0..bytes.div_ceil(BLOCK_BYTES as u64)).map(|_| self.u32()).collect::<Option<_>>()?;
        Some(Listed { name, bytes, sums })
    }

    fn take<const N: usize>(&mut self) -> Option<&[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn string(&mut self) -> Option<String> {
        let length = self.u32()?;
        let (text, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

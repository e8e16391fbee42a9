//! Files read ahead: each on a thread of its own, digested and decompressed, and cut into chunks of records.
//!
//! Reading, not mapping: a file that is cut short while it is mapped would end the process, and reading costs a tenth of
//! what parsing does. At its end a file's bytes must be those that were planned with.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use super::super::NodeError;
use crate::digest::{Digest, DigestReader};
use crate::manifest::config::LoadConfig;
use crate::pool::Panicked;
use crate::record::SourceFile;
use crate::source::chunks::{Chunk, Chunks};
use crate::source::files::STANDARD_INPUT;
use crate::source::{SourceError, codec, delimited, kinds, tables};
use crate::store::Store;

/// Chunks of one file that wait to be parsed.
const CHUNKS_WAITING: usize = 2;

/// The chunks of some files, one file after the other, with each file's ordinal.
pub struct Feed {
    waiting: VecDeque<(u32, Source)>,
    open: VecDeque<(u32, Receiver<Result<Chunk, NodeError>>)>,
    /// Files that are read at the same time.
    ahead: usize,
}

/// A file, and what is known of it.
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// What people call it.
    pub name: String,
    /// The digest that its bytes must have, where it was planned with.
    pub planned: Option<Digest>,
}

impl Input {
    /// A file that was planned with. What came over standard input is kept in the store.
    pub fn planned(planned: &SourceFile, base: &Path, store: &Store) -> Self {
        let path = match planned.name.as_str() {
            STANDARD_INPUT => store.blob_path(&planned.digest),
            name => base.join(name),
        };
        Self { path, name: planned.name.clone(), planned: Some(planned.digest) }
    }
}

impl Feed {
    /// Starts reading. `read` counts the bytes of the files as they stand, compressed or not.
    pub fn new(inputs: impl IntoIterator<Item = Input>, config: &LoadConfig, read: &Arc<AtomicU64>) -> Self {
        let source = |input: Input| Source {
            input,
            records: config.records.clone(),
            columns: columns(config),
            max_record_bytes: config.max_record_bytes,
            read: Arc::clone(read),
        };
        let waiting = (0..).zip(inputs.into_iter().map(source)).collect();
        Self { waiting, open: VecDeque::new(), ahead: rayon::current_num_threads() }
    }

    /// The next chunk, in the order of the files; none at the end.
    ///
    /// # Errors
    /// A file that cannot be read, or is not the one that was planned with.
    pub fn next_chunk(&mut self) -> Result<Option<(u32, Chunk)>, NodeError> {
        loop {
            while self.open.len() < self.ahead
                && let Some((ordinal, source)) = self.waiting.pop_front()
            {
                self.open.push_back((ordinal, source.start()));
            }
            let Some((ordinal, chunks)) = self.open.front() else { return Ok(None) };
            match chunks.recv() {
                Ok(chunk) => return Ok(Some((*ordinal, chunk?))),
                Err(_) => drop(self.open.pop_front()),
            }
        }
    }
}

/// A file that is going to be read.
struct Source {
    input: Input,
    records: Option<String>,
    /// The columns of a table that are read, the key first.
    columns: Vec<String>,
    max_record_bytes: u64,
    read: Arc<AtomicU64>,
}

impl Source {
    fn start(self) -> Receiver<Result<Chunk, NodeError>> {
        let (sender, chunks) = sync_channel(CHUNKS_WAITING);
        std::thread::spawn(move || {
            // Who does not listen any more has given up.
            let mut each = |chunk| sender.send(Ok(chunk)).is_ok();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.read(&mut each)));
            if let Err(error) = result.unwrap_or(Err(Panicked.into())) {
                let _ = sender.send(Err(error));
            }
        });
        chunks
    }

    /// The text of a file that is no Parquet, and whether it is made of the rows of a table.
    fn text(&self, raw: &Counted) -> io::Result<(Box<dyn Read + Send>, bool)> {
        let kinds::Opened { head, text } = kinds::open(codec::decompress(raw.clone())?)?;
        let rows = match (&self.records, self.columns.first()) {
            (None, Some(key)) => delimited::rows(&head, key, self.max_record_bytes)?,
            _ => None,
        };
        Ok(match rows {
            Some(rows) => (rows.of(text), true),
            None => (text, false),
        })
    }

    fn read(self, each: &mut dyn FnMut(Chunk) -> bool) -> Result<(), NodeError> {
        let failed = |bytes| move |source| (bytes, source);
        let told = |(bytes, source)| SourceError::reading(self.shown(), bytes, source);
        let file = File::open(&self.input.path).map_err(failed(0)).map_err(told)?;
        let rows = tables::lines_of_parquet(&file, &self.columns).map_err(failed(0)).map_err(told)?;
        let raw = Counted { inner: Arc::new(Mutex::new(DigestReader::new(file))), read: Arc::clone(&self.read) };
        let (text, is_of_rows) = match rows {
            Some(rows) => (rows, self.records.is_none()),
            None => self.text(&raw).map_err(failed(0)).map_err(told)?,
        };
        let chunks = Chunks::new(text, self.records.as_deref(), self.max_record_bytes);
        let mut chunks = if is_of_rows { chunks.of_rows() } else { chunks };
        while let Some(chunk) = chunks.next_chunk().map_err(failed(chunks.offset())).map_err(told)? {
            if !each(chunk) {
                return Ok(());
            }
        }
        // Whatever the decompressor left unread is part of the file too.
        let digest = raw.rest().map_err(failed(chunks.offset())).map_err(told)?;
        match self.input.planned {
            Some(planned) if planned != digest => Err(SourceError::Changed { path: self.shown() }.into()),
            _ => Ok(()),
        }
    }

    /// The path that people know.
    fn shown(&self) -> PathBuf {
        if self.input.name == STANDARD_INPUT { STANDARD_INPUT.into() } else { self.input.path.clone() }
    }
}

/// The key and all that is asked of a record, by the first names of their paths.
fn columns(config: &LoadConfig) -> Vec<String> {
    let fields = [&config.key].into_iter().chain(&config.fields).chain(&config.aliases);
    let fields = fields.map(|field| field.split('.').next().unwrap_or_default());
    let asked = config.condition.iter().flat_map(|condition| condition.paths()).filter_map(|path| path.first());
    fields.chain(asked.map(String::as_str)).map(str::to_owned).collect()
}

/// A file's raw bytes on their way to the decompressor, counted; the digest is asked for at the end.
#[derive(Clone)]
struct Counted {
    inner: Arc<Mutex<DigestReader<File>>>,
    read: Arc<AtomicU64>,
}

impl Counted {
    /// Reads what is left; gives the digest of all.
    fn rest(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        let inner = self.inner.lock().map_err(|_| io::Error::other(Panicked))?;
        Ok(inner.digest())
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.inner.lock().map_err(|_| io::Error::other(Panicked))?;
        let read = inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

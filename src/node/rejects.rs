//! Collects what is set aside, so that nothing is dropped without being counted and listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder, UInt32Builder, UInt64Builder};

use super::{Made, NodeError};
use crate::record::Output;
use crate::source::record::Reason;
use crate::store::Store;
use crate::store::parquet::ParquetWriter;
use crate::table;

/// Bytes of a refused line that are kept.
pub const EXCERPT_BYTES: usize = 200;
/// Rejects buffered before they are written.
const BUFFER_ROWS: usize = 1024;

/// One line or row that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its bibcode, where it could be read.
    pub bibcode: Option<String>,
    /// The ordinal of its source file.
    pub source: u32,
    /// Its line, from 1.
    pub line: u64,
    /// The decompressed bytes before that line, where known.
    pub offset: Option<u64>,
    /// Why.
    pub reason: Reason,
    /// What was found.
    pub detail: String,
    /// The beginning of the line, where it tells something.
    pub excerpt: Option<String>,
}

/// Writes the rejects table and counts by reason.
pub struct Rejects {
    writer: ParquetWriter,
    buffer: Vec<Reject>,
    counts: BTreeMap<Reason, u64>,
    first: Option<String>,
}

impl Rejects {
    /// Starts a rejects table.
    ///
    /// # Errors
    /// Whatever the store gives.
    pub fn new(store: &Store) -> Result<Self, NodeError> {
        let writer = store.new_parquet(table::rejects())?;
        Ok(Self { writer, buffer: Vec::new(), counts: BTreeMap::new(), first: None })
    }

    /// Sets one aside.
    ///
    /// # Errors
    /// Whatever the store gives.
    pub fn push(&mut self, reject: Reject) -> Result<(), NodeError> {
        *self.counts.entry(reject.reason).or_default() += 1;
        if self.first.is_none() {
            self.first = Some(format!("line {} as {}: {}", reject.line, reject.reason.name(), reject.detail));
        }
        self.buffer.push(reject);
        if self.buffer.len() >= BUFFER_ROWS { self.flush() } else { Ok(()) }
    }

    /// Where the first one stands and what is wrong with it: `line 1 as no_bibcode: the bibcode is missing`.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// How many there are so far.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Ends the table, adds its counts to `made`, and gives the number of rejects.
    ///
    /// # Errors
    /// Whatever the store gives.
    pub fn finish(mut self, made: &mut Made) -> Result<Output, NodeError> {
        self.flush()?;
        for (reason, count) in &self.counts {
            made.count(&format!("rejected.{}", reason.name()), *count);
        }
        made.count("rejected", self.count());
        Ok(self.writer.finish()?)
    }

    fn flush(&mut self) -> Result<(), NodeError> {
        if !self.buffer.is_empty() {
            let rows = std::mem::take(&mut self.buffer);
            self.writer.write(batch(rows)?)?;
        }
        Ok(())
    }
}

fn batch(rows: Vec<Reject>) -> Result<RecordBatch, NodeError> {
    let (mut bibcode, mut reason, mut detail) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut source, mut line, mut offset) = (UInt32Builder::new(), UInt64Builder::new(), UInt64Builder::new());
    let mut excerpt = StringBuilder::new();
    for row in rows {
        bibcode.append_option(row.bibcode);
        source.append_value(row.source);
        line.append_value(row.line);
        offset.append_option(row.offset);
        reason.append_value(row.reason.name());
        detail.append_value(row.detail);
        excerpt.append_option(row.excerpt);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(bibcode.finish()),
        Arc::new(source.finish()),
        Arc::new(line.finish()),
        Arc::new(offset.finish()),
        Arc::new(reason.finish()),
        Arc::new(detail.finish()),
        Arc::new(excerpt.finish()),
    ];
    RecordBatch::try_new(table::rejects(), columns).map_err(NodeError::arrow("rejects"))
}

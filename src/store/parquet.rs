//! Parquet tables as blobs: equal rows give equal bytes.
//!
//! `created_by` is constant, row groups are cut by rows, and rows reach the encoder in batches of one size: page
//! boundaries depend on how rows arrive, so the caller's batch sizes must not show.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchReader, StringArray};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;

use super::{BlobWriter, Store, StoreError};
use crate::digest::Digest;
use crate::pool::{self, Panicked};
use crate::record::Output;
use crate::table::{BIBCODE, ROW_GROUP_ROWS};

/// Rows per batch when reading: a few megabytes of abstracts.
pub const READ_ROWS: usize = 4096;
/// Measured on abstracts: 2.6 times smaller at 1.5 times the speed of zstd's own default, which makes them 3.0 times smaller.
const ZSTD_LEVEL: i32 = 1;
/// Row groups that may be under way at once, some ten megabytes each: one for each of two threads, and one that waits.
const GROUPS_IN_FLIGHT: usize = 3;

type Builder = ParquetRecordBatchReaderBuilder<Bytes>;

/// A row group on its way through the encoder.
type Encoding = Receiver<Result<Vec<ArrowColumnChunk>, ParquetError>>;

/// Writes one Parquet table as a blob. Row groups are encoded on the pool, and written in their order.
pub struct ParquetWriter {
    root: std::path::PathBuf,
    writer: SerializedFileWriter<BlobWriter>,
    columns: Arc<ArrowRowGroupWriterFactory>,
    coalescer: BatchCoalescer,
    encoding: VecDeque<Encoding>,
    groups: usize,
    rows: u64,
}

impl Store {
    /// Starts a Parquet table.
    ///
    /// # Errors
    /// If the blob's temporary file cannot be made.
    pub fn new_parquet(&self, schema: SchemaRef) -> Result<ParquetWriter, StoreError> {
        let writer = ArrowWriter::try_new(self.new_blob()?, schema.clone(), Some(properties()));
        let parts = writer.and_then(ArrowWriter::into_serialized_writer);
        let (writer, columns) = parts.map_err(|error| StoreError::write(self.root(), std::io::Error::other(error)))?;
        Ok(ParquetWriter {
            root: self.root().to_owned(),
            writer,
            columns: Arc::new(columns),
            coalescer: BatchCoalescer::new(schema, ROW_GROUP_ROWS),
            encoding: VecDeque::new(),
            groups: 0,
            rows: 0,
        })
    }

    /// Opens a Parquet blob for reading in batches of [`READ_ROWS`].
    ///
    /// # Errors
    /// If the blob is missing, or is no Parquet.
    pub fn read_parquet(&self, digest: &Digest) -> Result<ParquetRecordBatchReader, StoreError> {
        self.open_parquet(digest, |builder| builder)
    }

    /// The same for these columns alone.
    ///
    /// # Errors
    /// As [`Store::read_parquet`].
    pub fn read_parquet_columns(
        &self,
        digest: &Digest,
        columns: &[&str],
    ) -> Result<ParquetRecordBatchReader, StoreError> {
        self.open_parquet(digest, |builder| {
            // By their places: a name with a dot in it would be taken for a path.
            let schema = builder.schema();
            let places: Vec<usize> = columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
            let mask = ProjectionMask::roots(builder.parquet_schema(), places);
            builder.with_projection(mask)
        })
    }

    /// One row of a Parquet blob, as a batch of one row; empty if it has fewer rows.
    ///
    /// # Errors
    /// As [`Store::read_parquet`].
    pub fn read_parquet_row(&self, digest: &Digest, row: usize) -> Result<RecordBatch, StoreError> {
        let reader = self.open_parquet(digest, |builder| builder.with_offset(row).with_limit(1))?;
        let schema = reader.schema();
        reader.last().map_or_else(
            || Ok(RecordBatch::new_empty(schema)),
            |batch| batch.map_err(|error| StoreError::damaged(&self.blob_path(digest), error)),
        )
    }

    fn open_parquet(
        &self,
        digest: &Digest,
        wanted: impl FnOnce(Builder) -> Builder,
    ) -> Result<ParquetRecordBatchReader, StoreError> {
        let path = self.blob_path(digest);
        let bytes = Bytes::from_owner(self.map_blob(digest)?);
        ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(|builder| wanted(builder.with_batch_size(READ_ROWS)).build())
            .map_err(|error| StoreError::damaged(&path, error))
    }
}

/// Walks a table beside bibcodes that stand in its order, though not each of its own need be among them: rows were rejected
/// on the way.
pub struct RowsBeside {
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    /// The first row of the batch that was not looked at.
    next: usize,
}

impl RowsBeside {
    /// Starts before the first row. The reader gives the column [`BIBCODE`] among others.
    pub fn new(reader: ParquetRecordBatchReader) -> Self {
        Self { reader, batch: None, next: 0 }
    }

    /// The batch that holds a bibcode, and the row's place in it; none if no row after the last one holds it.
    ///
    /// # Errors
    /// Whatever reading gives.
    pub fn row_of(&mut self, bibcode: &str) -> Result<Option<(&RecordBatch, usize)>, ArrowError> {
        while !self.advance_to(bibcode) {
            (self.batch, self.next) = (self.reader.next().transpose()?, 0);
            if self.batch.is_none() {
                return Ok(None);
            }
        }
        Ok(self.batch.as_ref().map(|batch| (batch, self.next - 1)))
    }

    /// The rows of `bibcodes` from the `start`-th on that follow each other here too; at least one, none if no row after
    /// the last one holds the first of them.
    ///
    /// # Errors
    /// Whatever reading gives.
    pub fn run_of(&mut self, bibcodes: &StringArray, start: usize) -> Result<Option<RecordBatch>, ArrowError> {
        let Some((batch, first)) = self.row_of(bibcodes.value(start))? else { return Ok(None) };
        let own: &StringArray = batch[BIBCODE].as_string();
        let wanted = (start..bibcodes.len()).map(|at| bibcodes.value(at));
        let length = wanted.zip((first..own.len()).map(|at| own.value(at))).take_while(|(a, b)| a == b).count();
        let run = batch.slice(first, length);
        self.next = first + length;
        Ok(Some(run))
    }

    fn advance_to(&mut self, wanted: &str) -> bool {
        let Some(batch) = &self.batch else { return false };
        let bibcodes: &StringArray = batch[BIBCODE].as_string();
        let found = (self.next..bibcodes.len()).find(|&row| bibcodes.value(row) == wanted);
        self.next = found.map_or(bibcodes.len(), |row| row + 1);
        found.is_some()
    }
}

impl ParquetWriter {
    /// Appends rows.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn write(&mut self, batch: RecordBatch) -> Result<(), StoreError> {
        self.rows += batch.num_rows() as u64;
        self.coalescer.push_batch(batch).map_err(|error| self.failed(error))?;
        self.drain()
    }

    /// Ends the table.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn finish(mut self) -> Result<Output, StoreError> {
        self.coalescer.finish_buffered_batch().map_err(|error| self.failed(error))?;
        self.drain()?;
        while let Some(group) = self.encoding.pop_front() {
            self.append(&group)?;
        }
        let Self { root, writer, rows, .. } = self;
        let blob = writer.into_inner().map_err(|error| StoreError::write(&root, std::io::Error::other(error)))?;
        blob.finish(rows)
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn drain(&mut self) -> Result<(), StoreError> {
        while let Some(batch) = self.coalescer.next_completed_batch() {
            self.encode(batch);
            if self.encoding.len() >= GROUPS_IN_FLIGHT
                && let Some(first) = self.encoding.pop_front()
            {
                self.append(&first)?;
            }
        }
        Ok(())
    }

    fn encode(&mut self, batch: RecordBatch) {
        let (columns, group) = (Arc::clone(&self.columns), self.groups);
        self.encoding.push_back(pool::start(move || encoded(&columns, group, &batch)));
        self.groups += 1;
    }

    fn append(&mut self, encoding: &Encoding) -> Result<(), StoreError> {
        let chunks = encoding.recv().map_err(|_| self.failed(Panicked))?;
        let chunks = chunks.map_err(|error| self.failed(error))?;
        let written = self.writer.next_row_group().and_then(|mut group| {
            chunks.into_iter().try_for_each(|chunk| chunk.append_to_row_group(&mut group))?;
            group.close().map(drop)
        });
        written.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::write(&self.root, std::io::Error::other(error))
    }
}

/// One row group, column by column.
fn encoded(
    columns: &ArrowRowGroupWriterFactory,
    group: usize,
    batch: &RecordBatch,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let mut writers = columns.create_column_writers(group)?.into_iter();
    let mut chunks = Vec::with_capacity(writers.len());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        for leaf in compute_leaves(field, column)? {
            let mut writer = writers.next().ok_or_else(|| ParquetError::General("a column has no writer".into()))?;
            writer.write(&leaf)?;
            chunks.push(writer.close()?);
        }
    }
    Ok(chunks)
}

fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("3 is one of zstd's levels");
    WriterProperties::builder()
        .set_created_by("sciembed".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        // Titles and abstracts hardly repeat: a dictionary would be built and thrown away.
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, StringArray, UInt32Array};

    use super::*;
    use crate::table;

    fn rows(range: std::ops::Range<u32>) -> RecordBatch {
        let text = |prefix: &str| StringArray::from_iter_values(range.clone().map(|n| format!("{prefix} {n}")));
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(text("bibcode")),
            Arc::new(text("some text that is long enough to fill pages")),
            Arc::new(UInt32Array::from_iter_values(range.clone())),
            Arc::new(BooleanArray::from(vec![false; range.len()])),
        ];
        RecordBatch::try_new(table::texts(), columns).unwrap()
    }

    /// Load's threads cut rows into batches as they come: the blob must not tell.
    #[test]
    fn batch_sizes_do_not_show_in_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let written = |cuts: &[u32]| {
            let mut writer = store.new_parquet(table::texts()).unwrap();
            cuts.windows(2).for_each(|cut| writer.write(rows(cut[0]..cut[1])).unwrap());
            writer.finish().unwrap()
        };
        let whole = written(&[0, 70_000]);
        assert_eq!(whole, written(&[0, 1, 5000, 65_536, 65_537, 70_000]));
        let read: usize = store.read_parquet(&whole.digest).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(read, 70_000);
    }
}

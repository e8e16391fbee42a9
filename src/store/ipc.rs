//! Arrow IPC tables: written in batches of a fixed number of rows (`ipc_writer.rs`), read by memory map without a copy.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, MetadataVersion, root_as_footer};
use bytes::Bytes;
use memmap2::Mmap;

use super::blob::map_file;
use super::caught::caught;
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::table::IPC_BATCH_ROWS;

/// Bytes of the trailer: footer length and magic.
const TRAILER_BYTES: usize = 10;

/// A memory-mapped Arrow IPC file. Its batches point into the map, and each is decoded, which reads and checks its texts, when
/// it is first asked for: opening takes as long for ten million rows as for ten.
#[derive(Debug)]
pub struct IpcTable {
    path: PathBuf,
    buffer: Buffer,
    layout: Layout,
    batches: Vec<OnceLock<RecordBatch>>,
    rows: usize,
}

impl Store {
    /// Opens an Arrow IPC blob.
    ///
    /// # Errors
    /// If the blob is missing, or is not what `ipc_writer.rs` writes.
    pub fn read_ipc(&self, digest: &Digest) -> Result<IpcTable, StoreError> {
        IpcTable::from_map(self.map_blob(digest)?, &self.blob_path(digest))
    }
}

impl IpcTable {
    /// Opens the Arrow IPC file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or is not what `ipc_writer.rs` writes.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::from_map(map_file(path)?, path)
    }

    fn from_map(map: Mmap, path: &Path) -> Result<Self, StoreError> {
        let buffer = Buffer::from(Bytes::from_owner(map));
        let layout = undamaged(path, || Layout::read(&buffer))?;
        let batches = layout.blocks.iter().map(|_| OnceLock::new()).collect();
        let mut table = Self { path: path.to_owned(), buffer, layout, batches, rows: 0 };
        if let Some(last) = table.batches.len().checked_sub(1) {
            table.rows = last * IPC_BATCH_ROWS + table.batch(last)?.num_rows();
        }
        Ok(table)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The schema, with the file's own metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    /// The batches, in order.
    ///
    /// # Errors
    /// For each, if it is damaged.
    pub fn batches(&self) -> impl Iterator<Item = Result<&RecordBatch, StoreError>> {
        (0..self.batches.len()).map(|nth| self.batch(nth))
    }

    /// These columns of all batches, in order. What else is in the file is not read.
    ///
    /// # Errors
    /// If there is no such column, or the file is damaged.
    pub fn columns(&self, names: &[&str]) -> Result<Vec<RecordBatch>, StoreError> {
        undamaged(&self.path, || {
            let layout = self.layout.of_columns(names)?;
            let batch =
                |(nth, block)| layout.batch(&self.buffer, block).and_then(|batch| self.of_full_size(nth, batch));
            layout.blocks.iter().enumerate().map(batch).collect()
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The batch that holds a row, and the row's place in it.
    ///
    /// # Errors
    /// If that batch is damaged.
    pub fn locate(&self, row: usize) -> Result<Option<(&RecordBatch, usize)>, StoreError> {
        if row >= self.rows {
            return Ok(None);
        }
        Ok(Some((self.batch(row / IPC_BATCH_ROWS)?, row % IPC_BATCH_ROWS)))
    }

    fn batch(&self, nth: usize) -> Result<&RecordBatch, StoreError> {
        if let Some(batch) = self.batches[nth].get() {
            return Ok(batch);
        }
        let decoded = undamaged(&self.path, || {
            let batch = self.layout.batch(&self.buffer, &self.layout.blocks[nth])?;
            self.of_full_size(nth, batch)
        })?;
        Ok(self.batches[nth].get_or_init(|| decoded))
    }

    /// Row lookup divides by the batch size, so every batch but the last must be full.
    fn of_full_size(&self, nth: usize, batch: RecordBatch) -> Result<RecordBatch, String> {
        let is_last = nth + 1 == self.batches.len();
        if batch.num_rows() == IPC_BATCH_ROWS || (is_last && batch.num_rows() <= IPC_BATCH_ROWS) {
            return Ok(batch);
        }
        Err(format!("its batches do not have {IPC_BATCH_ROWS} rows each"))
    }
}

/// Arrow's reader panics on some damaged footers and batches instead of refusing them.
fn undamaged<T>(path: &Path, decode: impl FnOnce() -> Result<T, String>) -> Result<T, StoreError> {
    let decoded = caught(decode).unwrap_or_else(|| Err("it is damaged".to_owned()));
    decoded.map_err(|detail| StoreError::damaged(path, detail))
}

/// The batches of an Arrow IPC file one by one, each through a map of its own: pages stay counted as ours for as long as
/// they are mapped, and a walk through a large file should hold one batch of it.
pub struct IpcBatches {
    path: PathBuf,
    layout: Layout,
    next: usize,
}

impl Store {
    /// Walks the batches of an Arrow IPC blob in constant memory.
    ///
    /// # Errors
    /// If the blob is missing, or is not what `ipc_writer.rs` writes.
    pub fn read_ipc_batches(&self, digest: &Digest) -> Result<IpcBatches, StoreError> {
        let buffer = Buffer::from(Bytes::from_owner(self.map_blob(digest)?));
        let path = self.blob_path(digest);
        let layout = undamaged(&path, || Layout::read(&buffer))?;
        Ok(IpcBatches { path, layout, next: 0 })
    }
}

impl IpcBatches {
    /// Walks the batches of the Arrow IPC file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or is not what `ipc_writer.rs` writes.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let buffer = Buffer::from(Bytes::from_owner(map_file(path)?));
        let layout = undamaged(path, || Layout::read(&buffer))?;
        Ok(Self { path: path.to_owned(), layout, next: 0 })
    }

    fn batch(&self, block: &Block) -> Result<RecordBatch, StoreError> {
        let buffer = Buffer::from(Bytes::from_owner(map_file(&self.path)?));
        undamaged(&self.path, || self.layout.batch(&buffer, block))
    }
}

impl Iterator for IpcBatches {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.layout.blocks.get(self.next)?;
        self.next += 1;
        Some(self.batch(block))
    }
}

/// What the footer says: the columns, and where the batches are.
#[derive(Debug)]
struct Layout {
    schema: SchemaRef,
    version: MetadataVersion,
    decoder: FileDecoder,
    blocks: Vec<Block>,
}

impl Layout {
    fn read(buffer: &Buffer) -> Result<Self, String> {
        let trailer_start = buffer.len().checked_sub(TRAILER_BYTES).ok_or("the file is cut short")?;
        let trailer = buffer[trailer_start..].try_into().map_err(|_| "the file is cut short")?;
        let footer_bytes = read_footer_length(trailer).map_err(|error| error.to_string())?;
        let footer_start = trailer_start.checked_sub(footer_bytes).ok_or("the footer is longer than the file")?;
        let footer = root_as_footer(&buffer[footer_start..trailer_start]).map_err(|error| error.to_string())?;
        let schema: SchemaRef = Arc::new(fb_to_schema(footer.schema().ok_or("the footer has no schema")?));
        let version = footer.version();
        let decoder = FileDecoder::new(Arc::clone(&schema), version).with_require_alignment(true);
        let blocks = footer.recordBatches().into_iter().flatten().copied().collect();
        Ok(Self { schema, version, decoder, blocks })
    }

    /// The same for these columns alone, in this order.
    fn of_columns(&self, names: &[&str]) -> Result<Self, String> {
        let places: Vec<usize> = names
            .iter()
            .map(|name| self.schema.index_of(name).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        let decoder = FileDecoder::new(Arc::clone(&self.schema), self.version);
        let decoder = decoder.with_require_alignment(true).with_projection(places);
        Ok(Self { schema: Arc::clone(&self.schema), version: self.version, decoder, blocks: self.blocks.clone() })
    }

    fn batch(&self, buffer: &Buffer, block: &Block) -> Result<RecordBatch, String> {
        let start = usize::try_from(block.offset()).map_err(|_| "a block starts before the file")?;
        let bytes = block.bodyLength() + i64::from(block.metaDataLength());
        let bytes = usize::try_from(bytes).map_err(|_| "a block has a negative length")?;
        if start.checked_add(bytes).is_none_or(|end| end > buffer.len()) {
            return Err("a block ends after the file".to_owned());
        }
        let data = buffer.slice_with_length(start, bytes);
        let batch = self.decoder.read_record_batch(block, &data).map_err(|error| error.to_string())?;
        batch.ok_or_else(|| "a block holds no rows".to_owned())
    }
}

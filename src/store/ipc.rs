//! Arrow IPC tables: written in batches of a fixed number of rows (`ipc_writer.rs`), read by memory map without a copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, root_as_footer};
use bytes::Bytes;
use memmap2::Mmap;

use super::blob::map_file;
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::table::IPC_BATCH_ROWS;

/// Bytes of the trailer: footer length and magic.
const TRAILER_BYTES: usize = 10;

/// A memory-mapped Arrow IPC file. Its batches point into the map.
#[derive(Debug)]
pub struct IpcTable {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
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
        // Arrow's reader panics on some damaged footers instead of refusing them.
        let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decode(buffer)));
        decoded
            .unwrap_or_else(|_| Err("its footer is damaged".to_owned()))
            .map_err(|detail| StoreError::damaged(path, detail))
    }

    /// The schema, with the file's own metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches, in order.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The batch that holds a row, and the row's place in it.
    pub fn locate(&self, row: usize) -> Option<(&RecordBatch, usize)> {
        (row < self.rows).then(|| (&self.batches[row / IPC_BATCH_ROWS], row % IPC_BATCH_ROWS))
    }
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
        let layout = Layout::read(&buffer).map_err(|detail| StoreError::damaged(&path, detail))?;
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
        let layout = Layout::read(&buffer).map_err(|detail| StoreError::damaged(path, detail))?;
        Ok(Self { path: path.to_owned(), layout, next: 0 })
    }

    fn batch(&self, block: &Block) -> Result<RecordBatch, StoreError> {
        let buffer = Buffer::from(Bytes::from_owner(map_file(&self.path)?));
        self.layout.batch(&buffer, block).map_err(|detail| StoreError::damaged(&self.path, detail))
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
struct Layout {
    schema: SchemaRef,
    decoder: FileDecoder,
    blocks: Vec<Block>,
}

fn decode(buffer: Buffer) -> Result<IpcTable, String> {
    let layout = Layout::read(&buffer)?;
    let batches: Vec<RecordBatch> =
        layout.blocks.iter().map(|block| layout.batch(&buffer, block)).collect::<Result<_, _>>()?;
    check_batches(&batches)?;
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    Ok(IpcTable { schema: layout.schema, batches, rows })
}

impl Layout {
    fn read(buffer: &Buffer) -> Result<Self, String> {
        let trailer_start = buffer.len().checked_sub(TRAILER_BYTES).ok_or("the file is cut short")?;
        let trailer = buffer[trailer_start..].try_into().map_err(|_| "the file is cut short")?;
        let footer_bytes = read_footer_length(trailer).map_err(|error| error.to_string())?;
        let footer_start = trailer_start.checked_sub(footer_bytes).ok_or("the footer is longer than the file")?;
        let footer = root_as_footer(&buffer[footer_start..trailer_start]).map_err(|error| error.to_string())?;
        let schema: SchemaRef = Arc::new(fb_to_schema(footer.schema().ok_or("the footer has no schema")?));
        let decoder = FileDecoder::new(schema.clone(), footer.version()).with_require_alignment(true);
        let blocks = footer.recordBatches().into_iter().flatten().copied().collect();
        Ok(Self { schema, decoder, blocks })
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

/// Row lookup divides by the batch size, so every batch but the last must be full.
fn check_batches(batches: &[RecordBatch]) -> Result<(), String> {
    let full = batches.iter().rev().skip(1).all(|batch| batch.num_rows() == IPC_BATCH_ROWS);
    full.then_some(()).ok_or_else(|| format!("its batches do not have {IPC_BATCH_ROWS} rows each"))
}

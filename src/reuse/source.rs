//! A place where vectors stand under sorted row keys: a sealed segment, or a finished vectors table.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;

use crate::digest::RowKey;
use crate::encoding::Dtype;
use crate::store::segment::{Segment, decode_vector, encode_vector};
use crate::store::table_rows::TableRows;
use crate::store::{IpcTable, Store, StoreError, sealed::SealedFile};
use crate::table;

/// See the file's head.
#[derive(Debug)]
pub enum Source {
    /// A sealed segment.
    Segment(Segment),
    /// The rows of a finished table, and the table once something is to be taken from it.
    Table(TableRows, Option<Box<IpcTable>>),
}

impl Source {
    /// The file with the sorted keys.
    pub fn file(&self) -> &SealedFile {
        match self {
            Self::Segment(segment) => segment.file(),
            Self::Table(rows, _) => rows.file(),
        }
    }

    /// The runtime and the processor that computed its vectors.
    pub fn origin(&self) -> (&str, &str) {
        match self {
            Self::Segment(segment) => (&segment.header().runtime, &segment.header().cpu),
            Self::Table(rows, _) => (&rows.header().runtime, &rows.header().cpu),
        }
    }

    /// Makes it ready to be taken from: every byte is checked against its digest.
    ///
    /// # Errors
    /// [`StoreError`] if it is damaged, or a table went away.
    pub fn check(&mut self, store: &Store) -> Result<(), StoreError> {
        match self {
            Self::Segment(segment) => segment.verify(),
            Self::Table(rows, table) => {
                rows.file().verify()?;
                let digest = rows.header().table;
                if crate::digest::Digest::of_file(&store.blob_path(&digest)).ok() != Some(digest) {
                    return Err(StoreError::damaged(&store.blob_path(&digest), "it is no whole vectors table"));
                }
                *table = Some(Box::new(store.read_ipc(&digest)?));
                Ok(())
            }
        }
    }

    /// Tokens that the model saw of the n-th key's text, and tokens cut off. None if it was not checked, or is no vectors
    /// table.
    pub fn tokens(&self, nth: usize) -> Option<(u32, u32)> {
        match self {
            Self::Segment(segment) => Some(segment.tokens(nth)),
            Self::Table(..) => {
                let (batch, row) = self.located(nth)?;
                let count = |name| Some(batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>()?.value(row));
                Some((count("tokens")?, count("tokens_dropped")?))
            }
        }
    }

    /// Appends the n-th key's vector to `bytes` as `dtype`, which is not wider than what stands there. None as above.
    pub fn copy_vector(&self, nth: usize, dtype: Dtype, bytes: &mut Vec<u8>) -> Option<()> {
        let Self::Table(rows, _) = self else {
            let Self::Segment(segment) = self else { return None };
            segment.copy_vector(nth, dtype, bytes);
            return Some(());
        };
        let (batch, row) = self.located(nth)?;
        let vectors = batch.column_by_name(table::EMBEDDING)?.as_fixed_size_list_opt()?.value(row).to_data();
        let width = rows.header().dim * rows.header().dtype.bytes();
        let start = vectors.offset() * rows.header().dtype.bytes();
        let stored = vectors.buffers().first()?.get(start..start + width)?;
        if dtype == rows.header().dtype {
            bytes.extend_from_slice(stored);
        } else {
            encode_vector(&decode_vector(stored, rows.header().dtype), dtype, bytes);
        }
        Some(())
    }

    /// The row of the table for the n-th key, if it really is that key's.
    fn located(&self, nth: usize) -> Option<(&RecordBatch, usize)> {
        let Self::Table(rows, Some(table)) = self else { return None };
        let (batch, row) = table.locate(rows.place(nth)).ok().flatten()?;
        let keys = batch.column_by_name("row_key")?.as_fixed_size_binary_opt()?;
        let key: [u8; RowKey::LEN] = keys.value(row).try_into().ok()?;
        (RowKey::from_bytes(key) == rows.file().key(nth)).then_some((batch, row))
    }
}

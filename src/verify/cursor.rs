//! Walking a table of vectors row by row, a batch in memory at a time.

use std::path::Path;

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Float32Type};

use crate::digest::Digest;
use crate::encoding::{Dtype, SetDtype, publish};
use crate::store::ipc::IpcBatches;
use crate::store::segment::decode_vector;
use crate::store::{Store, StoreError};
use crate::table::{self, DatasetRows};

/// A row of a vectors table or a dataset, where the walk is.
pub struct Cursor {
    batches: IpcBatches,
    batch: Option<Batch>,
    at: usize,
}

struct Batch {
    rows: RecordBatch,
    vectors: Buffer,
    /// The element type of a vectors table's vectors.
    stored: Option<Dtype>,
    /// Bytes of a vector.
    width: usize,
}

impl Cursor {
    /// Stands before the first row of a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { batches: IpcBatches::open(path)?, batch: None, at: 0 })
    }

    /// Stands before the first row of a blob.
    ///
    /// # Errors
    /// If it is missing, or cannot be read.
    pub fn of_blob(store: &Store, table: &Digest) -> Result<Self, StoreError> {
        Ok(Self { batches: store.read_ipc_batches(table)?, batch: None, at: 0 })
    }

    /// Goes on to the next row; says whether there is one.
    ///
    /// # Errors
    /// If a batch cannot be read.
    pub fn advance(&mut self) -> Result<bool, StoreError> {
        self.at += 1;
        while self.batch.as_ref().is_none_or(|batch| self.at >= batch.rows.num_rows()) {
            let Some(rows) = self.batches.next() else {
                self.batch = None;
                return Ok(false);
            };
            (self.batch, self.at) = (Batch::of(rows?), 0);
        }
        Ok(true)
    }

    /// The row's bibcode; none if there is no row, or no column of bibcodes.
    pub fn bibcode(&self) -> Option<&str> {
        let column: &StringArray = self.batch.as_ref()?.rows.column_by_name(table::BIBCODE)?.as_string_opt()?;
        Some(column.value(self.at))
    }

    /// The row's value in a column of bytes.
    pub fn bytes(&self, column: &str) -> Option<&[u8]> {
        let column: &FixedSizeBinaryArray =
            self.batch.as_ref()?.rows.column_by_name(column)?.as_fixed_size_binary_opt()?;
        Some(column.value(self.at))
    }

    /// The row's vector as it stands, and its scale, if it has one.
    pub fn vector(&self) -> Option<Vec<u8>> {
        let batch = self.batch.as_ref()?;
        let mut bytes = batch.vectors.get(self.at * batch.width..(self.at + 1) * batch.width)?.to_vec();
        if let Some(scales) = batch.rows.column_by_name(table::SCALE) {
            bytes.extend(scales.as_primitive_opt::<Float32Type>()?.value(self.at).to_le_bytes());
        }
        Some(bytes)
    }

    /// Whether the row of a dataset has the check that it should have.
    pub fn is_sound(&self) -> bool {
        let rows = self.batch.as_ref().and_then(|batch| DatasetRows::of(&batch.rows));
        rows.is_some_and(|rows| rows.is_sound(self.at))
    }

    /// What [`Cursor::vector`] is of this row of a vectors table, once it is published so.
    pub fn published(&self, dtype: SetDtype, dim: usize) -> Option<Vec<u8>> {
        let batch = self.batch.as_ref()?;
        let stored = batch.vectors.get(self.at * batch.width..(self.at + 1) * batch.width)?;
        let whole = batch.width / batch.stored?.bytes();
        if dtype == SetDtype::of(batch.stored?) && dim == whole {
            return Some(stored.to_vec());
        }
        let mut bytes = Vec::with_capacity(dtype.vector_bytes(dim));
        let scale = publish(&decode_vector(stored, batch.stored?), dim, dtype, &mut bytes);
        if dtype.has_scale() {
            bytes.extend(scale.to_le_bytes());
        }
        Some(bytes)
    }
}

impl Batch {
    /// None if it has no vectors.
    fn of(rows: RecordBatch) -> Option<Self> {
        let lists = rows.column_by_name(table::EMBEDDING)?.as_fixed_size_list_opt()?;
        let elements = usize::try_from(lists.value_length()).ok()?;
        let stored = match lists.value_type() {
            DataType::Float16 => Some(Dtype::F16),
            DataType::Float32 => Some(Dtype::F32),
            _ => None,
        };
        let width = elements * lists.value_type().primitive_width()?;
        let vectors = lists.values().to_data().buffers().first()?.clone();
        Some(Self { vectors, stored, width, rows })
    }
}

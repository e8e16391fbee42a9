//! The rows of a published table, each with its check.
//!
//! A row is read alone, where a bibcode led to it, and its file is far too large to be digested for that. So every row holds
//! the CRC-32 of the rest of it: bibcode, vector as it lies, metadata digest, row key, and the scale where there is one, in
//! this order. It is that of IEEE 802.3, as in zlib and PNG, so `zlib.crc32` of Python gives it too. It tells accidents, of
//! which one in four thousand million goes unseen; what somebody changed on purpose is told by the digests of the files.

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, Float32Array, RecordBatch, StringArray, UInt32Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{Float32Type, UInt32Type};

use super::{BIBCODE, CHECK, EMBEDDING, SCALE};

/// The rows of a batch of a published table.
pub struct DatasetRows<'a> {
    bibcodes: &'a StringArray,
    /// Vectors of `vector_bytes` bytes, one behind the other.
    vectors: Buffer,
    vector_bytes: usize,
    metadata_digests: &'a FixedSizeBinaryArray,
    row_keys: &'a FixedSizeBinaryArray,
    scales: Option<&'a Float32Array>,
    checks: &'a UInt32Array,
}

impl<'a> DatasetRows<'a> {
    /// Of this batch; none if it is no published table.
    pub fn of(batch: &'a RecordBatch) -> Option<Self> {
        let checks = batch.column_by_name(CHECK)?.as_primitive_opt::<UInt32Type>()?;
        Self::checked_by(batch, checks)
    }

    /// Of the columns of a published table that are checked, with checks that stand elsewhere.
    fn checked_by(batch: &'a RecordBatch, checks: &'a UInt32Array) -> Option<Self> {
        let lists = batch.column_by_name(EMBEDDING)?.as_fixed_size_list_opt()?;
        let elements = lists.values().to_data();
        let vectors = elements.buffers().first()?.clone();
        let width = usize::try_from(lists.value_length()).ok()? * lists.value_type().primitive_width()?;
        if elements.offset() != 0 || vectors.len() < batch.num_rows() * width {
            return None;
        }
        Some(Self {
            bibcodes: batch.column_by_name(BIBCODE)?.as_string_opt()?,
            vectors,
            vector_bytes: width,
            metadata_digests: batch.column_by_name("metadata_digest")?.as_fixed_size_binary_opt()?,
            row_keys: batch.column_by_name("row_key")?.as_fixed_size_binary_opt()?,
            scales: batch.column_by_name(SCALE).and_then(|column| column.as_primitive_opt::<Float32Type>()),
            checks,
        })
    }

    /// Bytes of a vector.
    pub fn vector_bytes(&self) -> usize {
        self.vector_bytes
    }

    /// The bibcode of a row.
    pub fn bibcode(&self, row: usize) -> &'a str {
        self.bibcodes.value(row)
    }

    /// The vector of a row, as it lies.
    pub fn vector(&self, row: usize) -> &[u8] {
        &self.vectors[row * self.vector_bytes..][..self.vector_bytes]
    }

    /// What the components of a row are multiplied by.
    pub fn scale(&self, row: usize) -> Option<f32> {
        self.scales.map(|scales| scales.value(row))
    }

    /// The metadata digest of a row.
    pub fn metadata_digest(&self, row: usize) -> &'a [u8] {
        self.metadata_digests.value(row)
    }

    /// The row key of a row.
    pub fn row_key(&self, row: usize) -> &'a [u8] {
        self.row_keys.value(row)
    }

    /// The checks of rows that have none yet; none if these are not the other columns of a published table.
    pub fn checks_of(batch: &RecordBatch) -> Option<UInt32Array> {
        let none = UInt32Array::from(Vec::<u32>::new());
        let rows = DatasetRows::checked_by(batch, &none)?;
        Some(UInt32Array::from_iter_values((0..batch.num_rows()).map(|row| rows.check(row))))
    }

    /// The check that a row should have.
    fn check(&self, row: usize) -> u32 {
        let mut check = crc32fast::Hasher::new();
        check.update(self.bibcode(row).as_bytes());
        check.update(self.vector(row));
        check.update(self.metadata_digest(row));
        check.update(self.row_key(row));
        if let Some(scale) = self.scale(row) {
            check.update(&scale.to_le_bytes());
        }
        check.finalize()
    }

    /// Whether a row has the check that it should have.
    pub fn is_sound(&self, row: usize) -> bool {
        self.checks.value(row) == self.check(row)
    }
}

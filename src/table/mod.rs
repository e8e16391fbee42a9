//! The Arrow schemas of the tables that pass between nodes.
//!
//! | table | made by | columns | form |
//! |---|---|---|---|
//! | records | load | bibcode, one list column per selected field, `_metadata_digest`, `_source`, `_line`; `_aliases` where they are read | Parquet, zstd |
//! | rejects | load, prepare | bibcode, source, line, offset, reason, detail, excerpt | Parquet, zstd |
//! | texts | prepare | bibcode, text, characters, truncated | Parquet, zstd |
//! | superseded | merge | bibcode, dataset, row, winner; `alias_of` where a set has aliases | Parquet, zstd |
//! | failed | embed | bibcode, row_key, reason | Parquet, zstd |
//! | vectors | embed | bibcode, embedding, row_key, tokens, tokens_dropped | Arrow IPC, memory-mapped |
//! | dataset | persist, merge | bibcode, embedding, metadata_digest, row_key; `scale` where vectors are `i8`; check | Arrow IPC, memory-mapped |
//!
//! Rows in = rows out + rejects, for every node. This file knows shapes only; `rows.rs` looks at the rows of a dataset,
//! `store/parquet.rs` and `store/ipc.rs` write and read tables.

mod rows;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use rows::DatasetRows;

use crate::digest::{MetadataDigest, RowKey};
use crate::encoding::{Dtype, SetDtype};

/// Name of the key column, in every table.
pub const BIBCODE: &str = "bibcode";
/// Name of the vector column.
pub const EMBEDDING: &str = "embedding";
/// Name of the column of what an `i8` row's components are multiplied by.
pub const SCALE: &str = "scale";
/// Name of the column of checks of published rows, which `rows.rs` defines.
pub const CHECK: &str = "check";
/// Name of the records table's column of metadata digests; the underscore keeps it apart from users' fields.
pub const METADATA_DIGEST: &str = "_metadata_digest";
/// Name of the records table's column of source ordinals.
pub const SOURCE: &str = "_source";
/// Name of the records table's column of line numbers, from 1.
pub const LINE: &str = "_line";
/// Name of the records table's column of aliases.
pub const ALIASES: &str = "_aliases";

/// Name of the table of rows that a merge left out.
pub const SUPERSEDED: &str = "superseded";
/// Name of that table's column of bibcodes that a row's own bibcode is an alias of.
pub const ALIAS_OF: &str = "alias_of";

/// Name of the table of rows that an embed step left out.
pub const FAILED: &str = "failed";

/// Rows per Parquet row group: some ten megabytes of abstracts. Cut by rows, not bytes, so that equal rows give equal files.
pub const ROW_GROUP_ROWS: usize = 8_192;
/// Rows per record batch of the memory-mapped tables: row -> batch is one division. 65,536 rows of 384 half floats
/// are 50 MB, the most that a writer holds.
pub const IPC_BATCH_ROWS: usize = 65_536;

/// The type of a selected field: ADS gives titles as a list or as a string, so every field is a list; null is missing.
pub fn field_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, false)))
}

/// The records table for these selected fields, with or without a column of aliases.
pub fn records(fields: &[String], aliases: bool) -> SchemaRef {
    let mut columns = vec![Field::new(BIBCODE, DataType::Utf8, false)];
    columns.extend(fields.iter().map(|name| Field::new(name, field_type(), true)));
    columns.push(Field::new(METADATA_DIGEST, binary(MetadataDigest::LEN), false));
    columns.push(Field::new(SOURCE, DataType::UInt32, false));
    columns.push(Field::new(LINE, DataType::UInt64, false));
    columns.extend(aliases.then(|| Field::new(ALIASES, field_type(), false)));
    Arc::new(Schema::new(columns))
}

/// The rejects table.
pub fn rejects() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(BIBCODE, DataType::Utf8, true),
        Field::new("source", DataType::UInt32, false),
        Field::new("line", DataType::UInt64, false),
        Field::new("offset", DataType::UInt64, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("excerpt", DataType::Utf8, true),
    ]))
}

/// The table of rows that a merge left out: the row of a dataset, and the dataset whose row counts instead. With aliases
/// also the bibcode of that row, where it is another one; null where it is the same.
pub fn superseded(aliases: bool) -> SchemaRef {
    let mut columns = vec![
        Field::new(BIBCODE, DataType::Utf8, false),
        Field::new("dataset", DataType::Utf8, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("winner", DataType::Utf8, false),
    ];
    columns.extend(aliases.then(|| Field::new(ALIAS_OF, DataType::Utf8, true)));
    Arc::new(Schema::new(columns))
}

/// The texts table.
pub fn texts() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(BIBCODE, DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("characters", DataType::UInt32, false),
        Field::new("truncated", DataType::Boolean, false),
    ]))
}

/// The vectors table: `n x dim`, one row per text, in the order of the texts.
pub fn vectors(dim: usize, dtype: Dtype) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(BIBCODE, DataType::Utf8, false),
        Field::new(EMBEDDING, embedding(dim, SetDtype::of(dtype)), false),
        Field::new("row_key", binary(RowKey::LEN), false),
        Field::new("tokens", DataType::UInt32, false),
        Field::new("tokens_dropped", DataType::UInt32, false),
    ]))
}

/// The table of rows that an embed step left out, since their texts could not be embedded and that was accepted.
pub fn failed() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(BIBCODE, DataType::Utf8, false),
        Field::new("row_key", binary(RowKey::LEN), false),
        Field::new("reason", DataType::Utf8, false),
    ]))
}

/// Bytes of a row of a set beside its vector, in all files: a bibcode and its offset 23, two digests 32, the check 4, the line
/// in the list 20, the key index about 11.
const BYTES_BESIDE_VECTOR: usize = 90;

/// Bytes of a row of a set, about, all its files counted.
pub fn set_bytes_each(dim: usize, dtype: SetDtype) -> u64 {
    let scale = if dtype.has_scale() { size_of::<f32>() } else { 0 };
    (dtype.vector_bytes(dim) + scale + BYTES_BESIDE_VECTOR) as u64
}

/// The published table: `n x dim`, in the order of the vectors table, or of the datasets merged.
pub fn dataset(dim: usize, dtype: SetDtype) -> Schema {
    let mut columns = vec![
        Field::new(BIBCODE, DataType::Utf8, false),
        Field::new(EMBEDDING, embedding(dim, dtype), false),
        Field::new("metadata_digest", binary(MetadataDigest::LEN), false),
        Field::new("row_key", binary(RowKey::LEN), false),
    ];
    columns.extend(dtype.has_scale().then(|| Field::new(SCALE, DataType::Float32, false)));
    columns.push(Field::new(CHECK, DataType::UInt32, false));
    Schema::new(columns)
}

/// The type of one vector of `dim` components.
pub fn embedding(dim: usize, dtype: SetDtype) -> DataType {
    let element = match dtype {
        SetDtype::F32 => DataType::Float32,
        SetDtype::F16 => DataType::Float16,
        // Arrow has no type of its own for it.
        SetDtype::Bf16 => DataType::UInt16,
        SetDtype::I8 => DataType::Int8,
        SetDtype::Binary => DataType::UInt8,
    };
    let elements = i32::try_from(dtype.elements(dim)).expect("a vector has fewer than 2^31 components");
    DataType::FixedSizeList(Arc::new(Field::new_list_field(element, false)), elements)
}

fn binary(len: usize) -> DataType {
    DataType::FixedSizeBinary(i32::try_from(len).expect("identifiers are a few bytes long"))
}

//! Gathering vectors into the vectors table, in the order of the texts.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::Buffer;

use super::compute::Failed;
use super::embed::EmbedPlan;
use super::{Context, NodeError};
use crate::digest::RowKey;
use crate::encoding::SetDtype;
use crate::event::FailedRow;
use crate::record::Output;
use crate::reuse::{Source, Vectors};
use crate::store::{BlobWriter, IpcWriter};
use crate::table::{self, IPC_BATCH_ROWS};

/// The vectors table, with what was counted on the way.
pub struct Gathered {
    /// The table.
    pub vectors: Output,
    /// Its distinct keys, ascending, each with a row of the table.
    pub rows: Vec<(RowKey, u32)>,
    /// Tokens that the model saw, over all rows.
    pub tokens: u64,
    /// Tokens cut off, over all rows.
    pub tokens_dropped: u64,
    /// Rows of which tokens were cut off.
    pub rows_cut: u64,
    /// Rows that were read in several windows.
    pub rows_windowed: u64,
}

/// Writes the vectors table in the order of the texts, less those that failed.
///
/// # Errors
/// Whatever the store gives; [`NodeError::Table`] if a row's vector is nowhere, which is a bug or a file lost meanwhile.
pub fn gather(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    keys: &[RowKey],
    failed: &Failed,
    vectors: &Vectors,
) -> Result<Gathered, NodeError> {
    let schema = table::vectors(plan.dim, plan.dtype);
    let writer = IpcWriter::new(context.store.new_blob()?, &schema).map_err(NodeError::arrow("vectors"))?;
    let mut rows = Rows { plan, schema, writer, batch: Batch::default(), written: 0 };
    let (mut tokens, mut tokens_dropped, mut rows_cut, mut rows_windowed) = (0, 0, 0, 0);
    let window = plan.window_tokens().unwrap_or(u64::MAX);
    let mut places = Vec::with_capacity(keys.len());
    each_row(context, texts, keys, |bibcode, key| {
        if failed.contains_key(key) {
            return Ok(());
        }
        let nowhere = || NodeError::table("vectors", format!("the vector of row {key} of {bibcode} is nowhere"));
        let (source, nth) = vectors.locate(key).ok_or_else(nowhere)?;
        let place = u32::try_from(places.len()).map_err(|_| NodeError::table("vectors", "it has 2^32 rows"))?;
        places.push((*key, place));
        let (seen, dropped) = rows.push(bibcode, key, source, nth)?.ok_or_else(nowhere)?;
        tokens += u64::from(seen);
        tokens_dropped += u64::from(dropped);
        rows_cut += u64::from(dropped > 0);
        rows_windowed += u64::from(u64::from(seen) > window);
        Ok(())
    })?;
    places.sort_unstable();
    places.dedup_by_key(|(key, _)| *key);
    Ok(Gathered { vectors: rows.finish()?, rows: places, tokens, tokens_dropped, rows_cut, rows_windowed })
}

/// Walks the bibcodes of a texts table with the keys of its texts.
fn each_row(
    context: &Context,
    texts: &Output,
    keys: &[RowKey],
    mut each: impl FnMut(&str, &RowKey) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    let mut keys = keys.iter();
    for batch in context.store.read_parquet_columns(&texts.digest, &[table::BIBCODE])? {
        context.check_cancel()?;
        let batch = batch.map_err(NodeError::arrow("texts"))?;
        let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
        bibcodes.iter().flatten().zip(keys.by_ref()).try_for_each(|(bibcode, key)| each(bibcode, key))?;
    }
    Ok(())
}

/// The papers whose texts failed, in the order of the texts.
///
/// # Errors
/// Whatever the store gives.
pub fn failed_rows(
    context: &Context,
    texts: &Output,
    keys: &[RowKey],
    failed: &Failed,
) -> Result<Vec<FailedRow>, NodeError> {
    let mut rows = Vec::new();
    each_row(context, texts, keys, |bibcode, key| {
        if let Some(reason) = failed.get(key) {
            rows.push(FailedRow { bibcode: bibcode.to_owned(), row_key: *key, reason: reason.clone() });
        }
        Ok(())
    })?;
    Ok(rows)
}

/// The table of papers that are left out since their texts failed.
///
/// # Errors
/// Whatever the store gives.
pub fn failed_table(context: &Context, rows: &[FailedRow]) -> Result<Output, NodeError> {
    let mut writer = context.store.new_parquet(table::failed())?;
    let keys = rows.iter().flat_map(|row| *row.row_key.as_bytes()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.bibcode))),
        Arc::new(keys_array(keys)?),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.reason))),
    ];
    writer.write(RecordBatch::try_new(table::failed(), columns).map_err(NodeError::arrow(table::FAILED))?)?;
    Ok(writer.finish()?)
}

struct Rows<'a> {
    plan: &'a EmbedPlan<'a>,
    schema: arrow::datatypes::SchemaRef,
    writer: IpcWriter<BlobWriter>,
    batch: Batch,
    written: u64,
}

/// Rows on their way into one record batch.
#[derive(Default)]
struct Batch {
    bibcodes: Vec<String>,
    vectors: Vec<u8>,
    keys: Vec<u8>,
    tokens: Vec<u32>,
    tokens_dropped: Vec<u32>,
}

impl Rows<'_> {
    /// Appends a row; gives its tokens, or none where the source does not have what it says.
    fn push(
        &mut self,
        bibcode: &str,
        key: &RowKey,
        source: &Source,
        nth: usize,
    ) -> Result<Option<(u32, u32)>, NodeError> {
        let Some((tokens, tokens_dropped)) = source.tokens(nth) else { return Ok(None) };
        if source.copy_vector(nth, self.plan.dtype, &mut self.batch.vectors).is_none() {
            return Ok(None);
        }
        self.batch.bibcodes.push(bibcode.to_owned());
        self.batch.keys.extend_from_slice(key.as_bytes());
        self.batch.tokens.push(tokens);
        self.batch.tokens_dropped.push(tokens_dropped);
        if self.batch.tokens.len() == IPC_BATCH_ROWS {
            self.flush()?;
        }
        Ok(Some((tokens, tokens_dropped)))
    }

    fn flush(&mut self) -> Result<(), NodeError> {
        let batch = std::mem::take(&mut self.batch);
        let rows = batch.tokens.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(batch.bibcodes)),
            Arc::new(
                vectors_array(batch.vectors, rows, self.plan.dim, SetDtype::of(self.plan.dtype))
                    .map_err(NodeError::arrow("vectors"))?,
            ),
            Arc::new(keys_array(batch.keys)?),
            Arc::new(UInt32Array::from(batch.tokens)),
            Arc::new(UInt32Array::from(batch.tokens_dropped)),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(NodeError::arrow("vectors"))?;
        self.written += rows as u64;
        self.writer.write(&[batch]).map_err(NodeError::arrow("vectors"))
    }

    fn finish(mut self) -> Result<Output, NodeError> {
        if !self.batch.tokens.is_empty() {
            self.flush()?;
        }
        let rows = self.written;
        let blob = self.writer.finish().map_err(NodeError::arrow("vectors"))?;
        Ok(blob.finish(rows)?)
    }
}

/// `rows x dim` components, row-major, little-endian, as a column.
///
/// # Errors
/// If the bytes are not `rows x dim` components.
pub fn vectors_array(
    bytes: Vec<u8>,
    rows: usize,
    dim: usize,
    dtype: SetDtype,
) -> Result<FixedSizeListArray, arrow::error::ArrowError> {
    let list = table::embedding(dim, dtype);
    let arrow::datatypes::DataType::FixedSizeList(item, _) = &list else { unreachable!("an embedding is a list") };
    let components = ArrayData::builder(item.data_type().clone())
        .len(rows * dtype.elements(dim))
        .add_buffer(Buffer::from(bytes))
        .align_buffers(true)
        .build()?;
    let data = ArrayData::builder(list.clone()).len(rows).add_child_data(components).build()?;
    Ok(FixedSizeListArray::from(data))
}

fn keys_array(bytes: Vec<u8>) -> Result<FixedSizeBinaryArray, NodeError> {
    let width = i32::try_from(RowKey::LEN).expect("a row key has 16 bytes");
    FixedSizeBinaryArray::try_new(width, Buffer::from(bytes), None).map_err(NodeError::arrow("vectors"))
}

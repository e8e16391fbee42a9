//! Finding row keys in sealed segments, and gathering their vectors into the vectors table.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::Buffer;

use super::embed::EmbedPlan;
use super::{Context, NodeError};
use crate::digest::RowKey;
use crate::manifest::config::Dtype;
use crate::record::Output;
use crate::store::segment::Segment;
use crate::store::{BlobWriter, IpcWriter};
use crate::table::{self, IPC_BATCH_ROWS};

/// Where a row's vector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The segment's place in the list.
    pub segment: u32,
    /// The row in it.
    pub row: u32,
}

/// Finds each of the ascending keys `needed` in `segments`. Where several hold one, the first in the list wins, and the
/// list is in the order of the segments' digests: the choice depends on content alone. A segment that holds any is
/// asked for its bytes to be `sound` first.
pub fn locate(needed: &[RowKey], segments: &[Segment], sound: &dyn Fn(&Segment) -> bool) -> Vec<Option<Located>> {
    let mut located = vec![None; needed.len()];
    for (segment, index) in segments.iter().zip(0u32..) {
        let hits = hits(needed, segment, &located);
        if !hits.is_empty() && sound(segment) {
            for (at, row) in hits {
                located[at] = Some(Located { segment: index, row });
            }
        }
    }
    located
}

/// The needed keys, not located yet, that a segment holds. The shorter list is walked and the longer one searched.
fn hits(needed: &[RowKey], segment: &Segment, located: &[Option<Located>]) -> Vec<(usize, u32)> {
    let rows = segment.header().rows;
    let open = |at: &usize| located[*at].is_none();
    let as_row = |row: usize| u32::try_from(row).expect("a segment has a few thousand rows");
    if rows < needed.len() {
        let find = |row: usize| needed.binary_search(&segment.key(row)).ok().map(|at| (at, as_row(row)));
        (0..rows).filter_map(find).filter(|(at, _)| open(at)).collect()
    } else {
        let find = |at: usize| segment.find(&needed[at]).map(|row| (at, as_row(row)));
        (0..needed.len()).filter(open).filter_map(find).collect()
    }
}

/// The vectors table, with what was counted on the way.
pub struct Gathered {
    /// The table.
    pub vectors: Output,
    /// Tokens that the model saw, over all rows.
    pub tokens: u64,
    /// Tokens cut off, over all rows.
    pub tokens_dropped: u64,
    /// Rows of which tokens were cut off.
    pub rows_cut: u64,
}

/// Writes the vectors table in the order of the texts.
///
/// # Errors
/// Whatever the store gives; [`NodeError::Table`] if a row is in no segment, which is a bug or a segment lost meanwhile.
pub fn gather(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    keys: &[RowKey],
    needed: &[RowKey],
    located: &[Option<Located>],
    segments: &[Segment],
) -> Result<Gathered, NodeError> {
    let schema = table::vectors(plan.dim, plan.dtype);
    let writer = IpcWriter::new(context.store.new_blob()?, &schema).map_err(NodeError::arrow("vectors"))?;
    let mut rows = Rows { plan, schema, writer, batch: Batch::default(), written: 0 };
    let (mut tokens, mut tokens_dropped, mut rows_cut) = (0, 0, 0);
    let mut keys = keys.iter();
    for batch in context.store.read_parquet(&texts.digest)? {
        context.check_cancel()?;
        let batch = batch.map_err(NodeError::arrow("texts"))?;
        let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
        for (bibcode, key) in bibcodes.iter().flatten().zip(keys.by_ref()) {
            let at = needed.binary_search(key).ok().and_then(|at| located[at]);
            let at =
                at.ok_or_else(|| NodeError::table("vectors", format!("no segment holds row {key} of {bibcode}")))?;
            let (seen, dropped) = rows.push(bibcode, key, &segments[at.segment as usize], at.row as usize)?;
            tokens += u64::from(seen);
            tokens_dropped += u64::from(dropped);
            rows_cut += u64::from(dropped > 0);
        }
    }
    Ok(Gathered { vectors: rows.finish()?, tokens, tokens_dropped, rows_cut })
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
    fn push(&mut self, bibcode: &str, key: &RowKey, segment: &Segment, row: usize) -> Result<(u32, u32), NodeError> {
        let (tokens, tokens_dropped) = segment.tokens(row);
        self.batch.bibcodes.push(bibcode.to_owned());
        segment.copy_vector(row, self.plan.dtype, &mut self.batch.vectors);
        self.batch.keys.extend_from_slice(key.as_bytes());
        self.batch.tokens.push(tokens);
        self.batch.tokens_dropped.push(tokens_dropped);
        if self.batch.tokens.len() == IPC_BATCH_ROWS {
            self.flush()?;
        }
        Ok((tokens, tokens_dropped))
    }

    fn flush(&mut self) -> Result<(), NodeError> {
        let batch = std::mem::take(&mut self.batch);
        let rows = batch.tokens.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(batch.bibcodes)),
            Arc::new(
                vectors_array(batch.vectors, rows, self.plan.dim, self.plan.dtype)
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
    dtype: Dtype,
) -> Result<FixedSizeListArray, arrow::error::ArrowError> {
    let list = table::embedding(dim, dtype);
    let arrow::datatypes::DataType::FixedSizeList(item, _) = &list else { unreachable!("an embedding is a list") };
    let components = ArrayData::builder(item.data_type().clone())
        .len(rows * dim)
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

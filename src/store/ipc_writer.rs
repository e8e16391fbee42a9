//! Writing Arrow IPC files without a copy of the rows in memory.
//!
//! A batch is given as pieces, one below the other, that point wherever their rows are: into a memory map, say. Their
//! bytes go from there to the sink, column by column. The file is, byte for byte, what arrow's own writer makes of the
//! pieces put together; that one copies a batch twice on the way, which costs more than writing it.

use std::io::Write;

use arrow::array::{Array, ArrayData, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::ipc::convert::IpcSchemaEncoder;
use arrow::ipc::writer::{EncodedData, FileWriter, IpcWriteOptions, write_message};
use arrow::ipc::{
    Block, Buffer as Place, FieldNode, FooterBuilder, MessageBuilder, MessageHeader, MetadataVersion,
    RecordBatchBuilder,
};
use flatbuffers::FlatBufferBuilder;

/// Alignment of every buffer in the file: what Arrow recommends, and one cache line.
const ALIGNMENT: usize = 64;
/// What a message starts with; with the length 0 it ends the messages.
const CONTINUATION: [u8; 4] = [0xff; 4];
const MAGIC: &[u8; 6] = b"ARROW1";

/// Writes an Arrow IPC file.
pub struct IpcWriter<W: Write> {
    sink: W,
    schema: Schema,
    written: usize,
    blocks: Vec<Block>,
}

impl<W: Write> IpcWriter<W> {
    /// Starts a file on `sink`.
    ///
    /// # Errors
    /// Whatever writing the header gives.
    pub fn new(mut sink: W, schema: &Schema) -> Result<Self, ArrowError> {
        let header = FileWriter::try_new_with_options(Vec::new(), schema, options()?)?;
        sink.write_all(header.get_ref())?;
        Ok(Self { sink, schema: schema.clone(), written: header.get_ref().len(), blocks: Vec::new() })
    }

    /// Writes the rows of these pieces, which have the file's columns, as one batch.
    ///
    /// # Errors
    /// Whatever writing gives; columns with nulls, or of a type that no table of ours has.
    pub fn write(&mut self, pieces: &[RecordBatch]) -> Result<(), ArrowError> {
        let body = Body::of(&self.schema, pieces)?;
        let rows = pieces.iter().map(RecordBatch::num_rows).sum();
        let message = EncodedData { ipc_message: body.header(rows), arrow_data: Vec::new() };
        let (header_bytes, _) = write_message(&mut self.sink, message, &options()?)?;
        body.write(&mut self.sink)?;
        let header_len = i32::try_from(header_bytes).map_err(|_| too_large())?;
        self.blocks.push(Block::new(as_i64(self.written)?, header_len, as_i64(body.bytes)?));
        self.written += header_bytes + body.bytes;
        Ok(())
    }

    /// Ends the file and hands the sink back.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn finish(mut self) -> Result<W, ArrowError> {
        let footer = self.footer();
        let footer_len = i32::try_from(footer.len()).map_err(|_| too_large())?;
        self.sink.write_all(&CONTINUATION)?;
        self.sink.write_all(&[0; 4])?;
        self.sink.write_all(&footer)?;
        self.sink.write_all(&footer_len.to_le_bytes())?;
        self.sink.write_all(MAGIC)?;
        Ok(self.sink)
    }

    fn footer(&self) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let dictionaries = builder.create_vector::<Block>(&[]);
        let blocks = builder.create_vector(&self.blocks);
        let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, &self.schema);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(blocks);
        let footer = footer.finish();
        builder.finish(footer, None);
        builder.finished_data().to_vec()
    }
}

fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
}

/// What follows a batch's header: the buffers of each column, each in as many stretches as there are pieces.
#[derive(Default)]
struct Body {
    nodes: Vec<FieldNode>,
    places: Vec<Place>,
    stretches: Vec<Vec<Buffer>>,
    bytes: usize,
}

impl Body {
    fn of(schema: &Schema, pieces: &[RecordBatch]) -> Result<Self, ArrowError> {
        let mut body = Self::default();
        for (at, field) in schema.fields().iter().enumerate() {
            let column: Vec<ArrayData> = pieces.iter().map(|piece| piece.column(at).to_data()).collect();
            body.column(field.data_type(), &column)?;
        }
        Ok(body)
    }

    fn column(&mut self, data_type: &DataType, pieces: &[ArrayData]) -> Result<(), ArrowError> {
        if pieces.iter().any(|piece| piece.data_type() != data_type || piece.null_count() > 0) {
            return Err(ArrowError::IpcError(format!("a column is not {data_type} without nulls")));
        }
        let rows = pieces.iter().map(ArrayData::len).sum();
        self.nodes.push(FieldNode::new(as_i64(rows)?, 0));
        // The validity of a column without nulls is left out.
        self.buffer(Vec::new())?;
        match data_type {
            DataType::Utf8 => {
                self.buffer(vec![offsets(pieces)?])?;
                self.buffer(pieces.iter().map(text).collect())
            }
            DataType::FixedSizeList(item, width) => {
                let width = usize::try_from(*width).map_err(|_| too_large())?;
                let items =
                    |piece: &ArrayData| piece.child_data()[0].slice(piece.offset() * width, piece.len() * width);
                self.column(item.data_type(), &pieces.iter().map(items).collect::<Vec<_>>())
            }
            DataType::FixedSizeBinary(width) => {
                let width = usize::try_from(*width).map_err(|_| too_large())?;
                self.buffer(pieces.iter().map(|piece| fixed(piece, width)).collect())
            }
            other => {
                let width = other.primitive_width();
                let width =
                    width.ok_or_else(|| ArrowError::IpcError(format!("no table of ours has a column of {other}")))?;
                self.buffer(pieces.iter().map(|piece| fixed(piece, width)).collect())
            }
        }
    }

    fn buffer(&mut self, stretches: Vec<Buffer>) -> Result<(), ArrowError> {
        let bytes: usize = stretches.iter().map(Buffer::len).sum();
        self.places.push(Place::new(as_i64(self.bytes)?, as_i64(bytes)?));
        self.bytes += bytes.next_multiple_of(ALIGNMENT);
        self.stretches.push(stretches);
        Ok(())
    }

    fn header(&self, rows: usize) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let places = builder.create_vector(&self.places);
        let nodes = builder.create_vector(&self.nodes);
        let mut batch = RecordBatchBuilder::new(&mut builder);
        batch.add_length(i64::try_from(rows).expect("rows in memory are fewer than 2^63"));
        batch.add_nodes(nodes);
        batch.add_buffers(places);
        let batch = batch.finish().as_union_value();
        let mut message = MessageBuilder::new(&mut builder);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(MessageHeader::RecordBatch);
        message.add_bodyLength(i64::try_from(self.bytes).expect("bytes in memory are fewer than 2^63"));
        message.add_header(batch);
        let message = message.finish();
        builder.finish(message, None);
        builder.finished_data().to_vec()
    }

    fn write(&self, sink: &mut impl Write) -> Result<(), ArrowError> {
        for stretches in &self.stretches {
            let mut bytes = 0;
            for stretch in stretches {
                sink.write_all(stretch)?;
                bytes += stretch.len();
            }
            sink.write_all(&[0; ALIGNMENT][..bytes.next_multiple_of(ALIGNMENT) - bytes])?;
        }
        Ok(())
    }
}

/// Where each row's text ends in the text of all pieces, 0 first.
fn offsets(pieces: &[ArrayData]) -> Result<Buffer, ArrowError> {
    let rows: usize = pieces.iter().map(ArrayData::len).sum();
    let mut offsets: Vec<i32> = Vec::with_capacity(rows + 1);
    offsets.push(0);
    let mut before = 0i32;
    for piece in pieces {
        let own = own_offsets(piece);
        let (first, last) = (own[0], own[own.len() - 1]);
        let end = before.checked_add(last - first).ok_or_else(too_large)?;
        offsets.extend(own[1..].iter().map(|offset| before + (offset - first)));
        before = end;
    }
    Ok(Buffer::from_vec(offsets))
}

/// The offsets of a piece's rows and the end of the last one. A column of no rows may have none.
fn own_offsets(piece: &ArrayData) -> &[i32] {
    if piece.is_empty() { &[0] } else { &piece.buffer::<i32>(0)[..=piece.len()] }
}

fn text(piece: &ArrayData) -> Buffer {
    let own = own_offsets(piece);
    let place = |offset: i32| usize::try_from(offset).expect("arrow checked that offsets are not negative");
    let (first, last) = (place(own[0]), place(own[own.len() - 1]));
    piece.buffers()[1].slice_with_length(first, last - first)
}

fn fixed(piece: &ArrayData, width: usize) -> Buffer {
    piece.buffers()[0].slice_with_length(piece.offset() * width, piece.len() * width)
}

fn as_i64(number: usize) -> Result<i64, ArrowError> {
    i64::try_from(number).map_err(|_| too_large())
}

fn too_large() -> ArrowError {
    ArrowError::IpcError("a batch is too large for the format".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, StringArray, UInt32Array};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, SchemaRef};

    use super::*;

    fn schema() -> SchemaRef {
        let item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let fields = vec![
            Field::new("text", DataType::Utf8, false),
            Field::new("vector", DataType::FixedSizeList(item, 3), false),
            Field::new("key", DataType::FixedSizeBinary(5), false),
            Field::new("number", DataType::UInt32, false),
        ];
        Arc::new(Schema::new(fields).with_metadata([("set".to_owned(), "abc".to_owned())].into()))
    }

    fn batch(rows: u32) -> RecordBatch {
        let item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let vectors: Float32Array = (0..3 * rows).map(|n| n as f32).collect::<Vec<_>>().into();
        let keys: Vec<[u8; 5]> = (0..rows).map(|n| [n as u8; 5]).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values((0..rows).map(|n| "é".repeat(n as usize % 4)))),
            Arc::new(FixedSizeListArray::new(item, 3, Arc::new(vectors), None)),
            Arc::new(FixedSizeBinaryArray::try_from_iter(keys.iter()).unwrap()),
            Arc::new(UInt32Array::from_iter_values(0..rows)),
        ];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    /// Equal rows, equal bytes: sets written by arrow's writer and by this one must not differ.
    #[test]
    fn the_bytes_are_those_of_arrows_writer() {
        let whole = batch(40);
        let batches = [
            vec![whole.clone()],
            vec![whole.slice(3, 7), whole.slice(0, 1), whole.slice(39, 1), whole.slice(5, 0), whole.slice(20, 11)],
            vec![whole.slice(11, 2)],
        ];
        for batches in [&batches[..], &[]] {
            let mut theirs = FileWriter::try_new_with_options(Vec::new(), &schema(), options().unwrap()).unwrap();
            let mut ours = IpcWriter::new(Vec::new(), &schema()).unwrap();
            for pieces in batches {
                theirs.write(&concat_batches(&schema(), pieces).unwrap()).unwrap();
                ours.write(pieces).unwrap();
            }
            assert_eq!(ours.finish().unwrap(), theirs.into_inner().unwrap());
        }
    }
}

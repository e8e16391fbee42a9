//! Parquet files: bibcode, embedding as a list of floats, and fields as lists of texts.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListBuilder, Float32Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::part::{RowWriter, Sink};
use super::{Document, Part};
use crate::table::{self, field_type};

/// Rows of a row group: 12 MB of 384 floats.
const GROUP_ROWS: usize = 8_192;

/// A file under way.
pub struct Table {
    writer: ArrowWriter<Sink>,
    schema: SchemaRef,
    bibcodes: StringBuilder,
    vectors: FixedSizeListBuilder<Float32Builder>,
    fields: Vec<ListBuilder<StringBuilder>>,
    pending: usize,
}

impl Table {
    /// A new file.
    ///
    /// # Errors
    /// Whatever opening gives.
    pub fn create(path: PathBuf, dim: usize, fields: &[String]) -> io::Result<Self> {
        let width = i32::try_from(dim).map_err(io::Error::other)?;
        let item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let mut columns = vec![
            Field::new(table::BIBCODE, DataType::Utf8, false),
            Field::new(table::EMBEDDING, DataType::FixedSizeList(Arc::clone(&item), width), false),
        ];
        columns.extend(fields.iter().map(|name| Field::new(name, field_type(), true)));
        let schema = Arc::new(Schema::new(columns));
        // Components hardly repeat: a dictionary would be built for nothing, and bytes of one place compress best.
        let component = ColumnPath::new(vec![table::EMBEDDING.to_owned(), "list".to_owned(), "element".to_owned()]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_column_dictionary_enabled(component.clone(), false)
            .set_column_encoding(component, Encoding::BYTE_STREAM_SPLIT)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(Sink::create(path)?, Arc::clone(&schema), Some(properties))?;
        let texts = |_| ListBuilder::new(StringBuilder::new()).with_field(Field::new_list_field(DataType::Utf8, false));
        Ok(Self {
            writer,
            schema,
            bibcodes: StringBuilder::new(),
            vectors: FixedSizeListBuilder::new(Float32Builder::new(), width).with_field(item),
            fields: (0..fields.len()).map(texts).collect(),
            pending: 0,
        })
    }

    fn write_group(&mut self) -> io::Result<()> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.bibcodes.finish()), Arc::new(self.vectors.finish())];
        columns.extend(self.fields.iter_mut().map(|field| Arc::new(field.finish()) as ArrayRef));
        self.pending = 0;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(io::Error::other)?;
        Ok(self.writer.write(&rows)?)
    }
}

impl RowWriter for Table {
    fn add(&mut self, document: &Document) -> io::Result<()> {
        self.bibcodes.append_value(document.bibcode);
        self.vectors.values().append_slice(document.vector);
        self.vectors.append(true);
        for (builder, (_, values)) in self.fields.iter_mut().zip(&document.fields) {
            for value in values.iter().flatten() {
                builder.values().append_value(value);
            }
            builder.append(values.is_some());
        }
        self.pending += 1;
        if self.pending == GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<Vec<Part>> {
        self.write_group()?;
        Ok(vec![self.writer.into_inner()?.finish()?])
    }
}

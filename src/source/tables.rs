//! Tables as text: each row of a file of cells or of a Parquet file becomes a line of JSON, and is read as any other record.
//!
//! How the rows of CSV and its like are read says `delimited.rs`; lines of JSON stand at the lines that their rows begin in,
//! and an empty cell is null. A row that cannot be read becomes a string, which says why. Parquet is told by its first bytes;
//! a row's line is its number, from 1. It is slower than reading columns as they are, and keeps one way to read records.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::delimited;
use super::unfit::Unfit;

/// What Parquet files begin with.
const PARQUET: &[u8; 4] = b"PAR1";

/// What is wrong with the row that this line was made of, if something is.
pub fn fault(line: &[u8]) -> Option<String> {
    line.starts_with(b"\"").then(|| serde_json::from_slice(line).ok()).flatten()
}

/// The columns of a Parquet file; none if it is none.
///
/// # Errors
/// A file that cannot be read.
pub fn columns_of_parquet(file: &File) -> io::Result<Option<Vec<String>>> {
    Ok(opened_parquet(file)?.map(|rows| names(&rows)))
}

fn opened_parquet(file: &File) -> io::Result<Option<ParquetRecordBatchReaderBuilder<File>>> {
    let mut head = [0; PARQUET.len()];
    if file.read_at(&mut head, 0)? < head.len() || head != *PARQUET {
        return Ok(None);
    }
    // Opened once more, by its descriptor: a clone would move the place at which the bytes are read that are digested.
    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    ParquetRecordBatchReaderBuilder::try_new(again).map(Some).map_err(io::Error::other)
}

fn names(rows: &ParquetRecordBatchReaderBuilder<File>) -> Vec<String> {
    rows.parquet_schema().root_schema().get_fields().iter().map(|root| root.name().to_owned()).collect()
}

/// The rows of a Parquet file as lines of JSON, of these columns alone, the key first; none if it is none. Bytes are read as
/// text, which some programs write without saying so.
///
/// # Errors
/// A file that cannot be read, or has no column of the key.
pub fn lines_of_parquet(file: &File, columns: &[String]) -> io::Result<Option<Box<dyn Read + Send>>> {
    let Some(builder) = opened_parquet(file)? else { return Ok(None) };
    let names = names(&builder);
    if let Some(key) = columns.first().filter(|key| !names.contains(key)) {
        return Err(delimited::without_key(&names, key).into());
    }
    let roots = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
    let wanted: Vec<usize> =
        roots.filter(|(_, root)| columns.iter().any(|column| column == root.name())).map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let rows = builder.with_projection(mask).build().map_err(io::Error::other)?;
    Ok(Some(Box::new(Lines::new(rows))))
}

/// Rows with text in the place of bytes.
fn with_text(batch: &RecordBatch) -> io::Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let column = |(field, column): (&FieldRef, &ArrayRef)| {
        let field = as_text(field);
        let no_text = |_| Unfit {
            detail: format!("its column `{}` has bytes that are no text (UTF-8)", field.name()),
            help: "write that column as text, or ask for other fields".to_owned(),
        };
        let column = cast_with_options(column, field.data_type(), &strict).map_err(no_text)?;
        Ok((field, column))
    };
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(column);
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) =
        columns.collect::<Result<Vec<_>, Unfit>>()?.into_iter().unzip();
    // Of no columns at all, only this tells how many rows there are.
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows).map_err(io::Error::other)
}

/// The column with text in the place of bytes, in lists too.
fn as_text(field: &Field) -> Field {
    let inside = |item: &FieldRef| Arc::new(as_text(item));
    let kind = match field.data_type() {
        DataType::Binary => DataType::Utf8,
        DataType::LargeBinary => DataType::LargeUtf8,
        DataType::BinaryView => DataType::Utf8View,
        DataType::List(item) => DataType::List(inside(item)),
        DataType::LargeList(item) => DataType::LargeList(inside(item)),
        other => other.clone(),
    };
    field.clone().with_data_type(kind)
}

/// Rows that become lines of JSON, some at a time.
pub(super) trait Rows {
    /// Appends the next lines; says whether there were any.
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<bool>;
}

impl Rows for ParquetRecordBatchReader {
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<bool> {
        let Some(batch) = self.next().transpose().map_err(io::Error::other)? else { return Ok(false) };
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(lines);
        writer.write(&with_text(&batch)?).and_then(|()| writer.finish()).map_err(io::Error::other)?;
        Ok(true)
    }
}

/// Reads rows as the text that they become.
pub(super) struct Lines<T> {
    rows: T,
    lines: Vec<u8>,
    /// How much of it was handed out.
    read: usize,
}

impl<T: Rows> Lines<T> {
    /// Starts before the first row.
    pub fn new(rows: T) -> Self {
        Self { rows, lines: Vec::new(), read: 0 }
    }
}

impl<T: Rows> Read for Lines<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.lines.len() {
            self.read = 0;
            self.lines.clear();
            if !self.rows.write(&mut self.lines)? {
                return Ok(0);
            }
        }
        let taken = buffer.len().min(self.lines.len() - self.read);
        buffer[..taken].copy_from_slice(&self.lines[self.read..][..taken]);
        self.read += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{BrotliLevel, Compression, GzipLevel};
    use parquet::file::properties::WriterProperties;

    use super::*;

    #[test]
    fn parquet_gives_the_columns_that_are_asked_for() {
        let columns: [(&str, ArrayRef); 3] = [
            ("bibcode", Arc::new(StringArray::from(vec!["a", "b"]))),
            ("title", Arc::new(StringArray::from(vec![Some("T"), None]))),
            ("year", Arc::new(Int64Array::from(vec![2010, 2011]))),
        ];
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let mut lines = String::new();
        let wanted = ["bibcode", "title", "other"].map(str::to_owned);
        lines_of_parquet(&file, &wanted).unwrap().unwrap().read_to_string(&mut lines).unwrap();
        assert_eq!(lines, "{\"bibcode\":\"a\",\"title\":\"T\"}\n{\"bibcode\":\"b\",\"title\":null}\n");
        file.rewind().unwrap();
        file.write_all(b"{}").unwrap();
        assert!(lines_of_parquet(&file, &wanted).unwrap().is_none());
    }
    fn written(columns: &[(&str, ArrayRef)], compression: Compression) -> File {
        let rows = RecordBatch::try_from_iter(columns.iter().cloned()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        file
    }

    fn read(file: &File) -> io::Result<String> {
        let mut lines = String::new();
        lines_of_parquet(file, &["bibcode".into(), "title".into()])?.unwrap().read_to_string(&mut lines)?;
        Ok(lines)
    }

    #[test]
    fn parquet_is_read_however_it_is_compressed() {
        let long = "T".repeat(1000);
        let columns: [(&str, ArrayRef); 1] = [("bibcode", Arc::new(StringArray::from(vec![&*long; 100])))];
        for compression in [
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::BROTLI(BrotliLevel::default()),
            Compression::LZ4,
            Compression::LZ4_RAW,
        ] {
            let lines = read(&written(&columns, compression)).unwrap();
            assert_eq!(lines.matches(&format!("{{\"bibcode\":\"{long}\"}}")).count(), 100, "{compression}");
        }
    }

    #[test]
    fn bytes_that_are_text_are_read_as_text() {
        let of = |title: &[u8]| -> [(&str, ArrayRef); 2] {
            [("bibcode", Arc::new(StringArray::from(vec!["a"]))), ("title", Arc::new(BinaryArray::from(vec![title])))]
        };
        let lines = read(&written(&of("Café".as_bytes()), Compression::SNAPPY)).unwrap();
        assert_eq!(lines, "{\"bibcode\":\"a\",\"title\":\"Café\"}\n");
        let other = lines_of_parquet(&written(&of(b"T"), Compression::SNAPPY), &["Title".into()]).err().unwrap();
        assert_eq!(other.to_string(), "it is a table with columns bibcode, title: none is `Title`");
        let error = read(&written(&of(b"Caf\xe9"), Compression::SNAPPY)).unwrap_err().to_string();
        assert_eq!(error, "its column `title` has bytes that are no text (UTF-8)");
    }
}

//! Tables as text: each row of a CSV or Parquet file becomes a line of JSON, and is read as any other record.
//!
//! CSV is told by its first line, which names the key among its columns, with commas or tabs between; lines of JSON stand at
//! the lines that their rows begin in, and an empty cell is null. Parquet is told by its first bytes; a row's line is its
//! number, from 1. It is slower than reading columns as they are, and keeps one way to read records.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::layout::BYTE_ORDER_MARK;

/// Bytes in which the first line of a CSV file must end.
const HEAD_BYTES: usize = 1 << 16;
/// What Parquet files begin with.
const PARQUET: &[u8; 4] = b"PAR1";

/// The text as it is, or lines of JSON if it is CSV with a column of this name.
///
/// # Errors
/// Whatever reading the first bytes gives.
pub fn lines_of_csv(text: Box<dyn Read + Send>, key: &str) -> io::Result<Box<dyn Read + Send>> {
    let mut text = BufReader::with_capacity(HEAD_BYTES, text);
    match delimiter(text.fill_buf()?, key) {
        Some(delimiter) => Ok(Box::new(Lines::new(CsvRows::new(text, delimiter)))),
        None => Ok(Box::new(text)),
    }
}

/// What stands between cells, if the first line names the key among several columns.
fn delimiter(head: &[u8], key: &str) -> Option<u8> {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let line = head.split(|byte| *byte == b'\n').next().filter(|line| line.len() < head.len())?;
    let names_key = |delimiter: &u8| {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(*delimiter).from_reader(line);
        let first = reader.records().next().and_then(Result::ok);
        first.is_some_and(|cells| cells.len() > 1 && cells.iter().any(|cell| cell == key))
    };
    [b',', b'\t'].into_iter().find(names_key)
}

/// The rows of a Parquet file as lines of JSON, of these columns alone; none if it is none.
///
/// # Errors
/// A file that cannot be read.
pub fn lines_of_parquet(file: &File, columns: &[String]) -> io::Result<Option<Box<dyn Read + Send>>> {
    let mut head = [0; PARQUET.len()];
    if file.read_at(&mut head, 0)? < head.len() || head != *PARQUET {
        return Ok(None);
    }
    // Opened once more, by its descriptor: a clone would move the place at which the bytes are read that are digested.
    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(again).map_err(io::Error::other)?;
    let roots = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
    let wanted: Vec<usize> =
        roots.filter(|(_, root)| columns.iter().any(|column| column == root.name())).map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let rows = builder.with_projection(mask).build().map_err(io::Error::other)?;
    Ok(Some(Box::new(Lines::new(rows))))
}

/// Rows that become lines of JSON, some at a time.
trait Rows {
    /// Appends the next lines; says whether there were any.
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<bool>;
}

impl Rows for ParquetRecordBatchReader {
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<bool> {
        let Some(batch) = self.next().transpose().map_err(io::Error::other)? else { return Ok(false) };
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(lines);
        writer.write(&batch).and_then(|()| writer.finish()).map_err(io::Error::other)?;
        Ok(true)
    }
}

struct CsvRows<R> {
    reader: csv::Reader<R>,
    row: csv::StringRecord,
    /// The line that the next bytes stand at.
    line: u64,
}

impl<R: Read> CsvRows<R> {
    fn new(text: R, delimiter: u8) -> Self {
        // A row of another length is a fault of that row alone.
        let reader = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(text);
        Self { reader, row: csv::StringRecord::new(), line: 1 }
    }
}

impl<R: Read> Rows for CsvRows<R> {
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<bool> {
        let names = self.reader.headers().map_err(io::Error::other)?.clone();
        let more = self.reader.read_record(&mut self.row);
        let place = self.row.position().map_or(self.line, csv::Position::line);
        let value = match more {
            Ok(false) => return Ok(false),
            Ok(true) if self.row.len() <= names.len() => object(&names, &self.row),
            Ok(true) => format!("{} cells, and the first line has {}", self.row.len(), names.len()).into(),
            // Bytes that are no UTF-8, in this row alone.
            Err(error) if !error.is_io_error() => error.to_string().into(),
            Err(error) => return Err(io::Error::other(error)),
        };
        while self.line < place {
            lines.push(b'\n');
            self.line += 1;
        }
        serde_json::to_writer(&mut *lines, &value)?;
        lines.push(b'\n');
        self.line += 1;
        Ok(true)
    }
}

fn object(names: &csv::StringRecord, row: &csv::StringRecord) -> serde_json::Value {
    let cell = |cell: &str| if cell.is_empty() { serde_json::Value::Null } else { cell.into() };
    names.iter().zip(row).map(|(name, text)| (name.to_owned(), cell(text))).collect()
}

/// Reads rows as the text that they become.
struct Lines<T> {
    rows: T,
    lines: Vec<u8>,
    /// How much of it was handed out.
    read: usize,
}

impl<T: Rows> Lines<T> {
    fn new(rows: T) -> Self {
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

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn read(text: &str) -> String {
        let mut lines = String::new();
        let text: Box<dyn Read + Send> = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
        lines_of_csv(text, "bibcode").unwrap().read_to_string(&mut lines).unwrap();
        lines
    }

    #[test]
    fn rows_stand_at_their_lines() {
        let text = "\u{feff}bibcode,title,year\na,\"One, and\nmore\",2010\nb,,\n\nc,Three,1,2\nd\n";
        let lines = read(text);
        let told: Vec<&str> = lines.lines().collect();
        assert_eq!(
            told,
            [
                "",
                r#"{"bibcode":"a","title":"One, and\nmore","year":"2010"}"#,
                "",
                r#"{"bibcode":"b","title":null,"year":null}"#,
                // A row behind a blank line is told at that line.
                r#""4 cells, and the first line has 3""#,
                "",
                r#"{"bibcode":"d"}"#,
            ]
        );
        assert_eq!(read("title\tbibcode\nT\ta\n"), "\n{\"bibcode\":\"a\",\"title\":\"T\"}\n");
    }

    #[test]
    fn what_is_no_table_stays() {
        for text in [
            "",
            "{\"bibcode\": \"a\", \"title\": 1}\n",
            "[{\"bibcode\":1}]\n",
            "id,title\na,b\n",
            "bibcode\na\n",
            "bibcode,x",
        ] {
            assert_eq!(read(text), text);
        }
    }

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
}

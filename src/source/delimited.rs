//! Tables as text: the rows of a file with commas, tabs or semicolons between its cells become lines of JSON.
//!
//! Told by its first line, which names the key among its columns. A cell may be enclosed in quotes, and goes over lines
//! then; a quote inside it is written twice. Nothing of a row is guessed: one with more or fewer cells than there are
//! columns, or with text behind a closing quote, is set aside at its line. If it went over several lines, which a single
//! stray quote makes of many rows, the first of these is set aside and the next one is read anew. A quote that is open where
//! the file ends is an error of the file.

use std::io::{self, BufRead, BufReader, Read};

use memchr::memchr;

use super::layout::BYTE_ORDER_MARK;
use super::tables::{Lines, Rows};
use super::unfit::Unfit;

/// What may stand between cells, and what people call it.
const DELIMITERS: [u8; 3] = [b',', b'\t', b';'];
/// Columns that are named to people.
const COLUMNS_TOLD: usize = 12;

/// Lines of JSON, an object a row, if the text that begins with `head` is a table with a column of the key's name. A row
/// has at most so many bytes.
///
/// # Errors
/// That it is a table without such a column.
pub fn rows(head: &[u8], key: &str, max_row_bytes: u64) -> io::Result<Option<RowsOf>> {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let Some(end) = memchr(b'\n', head) else { return Ok(None) };
    let (line, next) = (head[..end].trim_ascii_end(), head[end + 1..].trim_ascii_start());
    // A line of JSON may stand first, or second behind something else; it may hold what would be cells.
    let is_json = |text: &[u8]| text.is_empty() || matches!(text[0], b'{' | b'[');
    if is_json(line) {
        return Ok(None);
    }
    let tables: Vec<(u8, Vec<String>)> = DELIMITERS.iter().filter_map(|by| Some((*by, columns(line, *by)?))).collect();
    if let Some((delimiter, _)) = tables.iter().find(|(_, columns)| columns.iter().any(|column| column == key)) {
        return Ok(Some(RowsOf { delimiter: *delimiter, max_row_bytes }));
    }
    let next_line = next.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let table = tables.into_iter().find(|(delimiter, _)| memchr(*delimiter, next_line).is_some());
    match table.filter(|_| !is_json(next)) {
        Some((_, columns)) => Err(without_key(&columns, key).into()),
        None => Ok(None),
    }
}

/// The names in the first line, if there are several.
fn columns(line: &[u8], delimiter: u8) -> Option<Vec<String>> {
    let mut row = Row::default();
    let cells = (row.read(line, delimiter) == State::Whole).then_some(row.cells)?;
    let names: Option<Vec<String>> = cells.into_iter().map(|cell| String::from_utf8(cell).ok()).collect();
    names.filter(|names| names.len() > 1)
}

/// That a table has no column of the key's name.
pub(super) fn without_key(columns: &[String], key: &str) -> Unfit {
    let more = if columns.len() > COLUMNS_TOLD { ", …" } else { "" };
    let told = columns[..columns.len().min(COLUMNS_TOLD)].join(", ");
    let like = columns.iter().find(|column| column.trim().eq_ignore_ascii_case(key));
    let help = match like {
        Some(column) => format!("write `key = {column:?}` into that load node"),
        None => {
            "name the column of the keys with `key` in that load node, and put names into the first line".to_owned()
        }
    };
    Unfit { detail: format!("it is a table with columns {told}{more}: none is `{key}`"), help }
}

/// How the rows of a table are read.
#[derive(Clone, Copy, Debug)]
pub struct RowsOf {
    delimiter: u8,
    max_row_bytes: u64,
}

impl RowsOf {
    /// The lines of JSON that this text becomes.
    pub fn of(self, text: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        let reader = Reader {
            text: BufReader::new(text),
            again: Vec::new(),
            at: 0,
            is_fresh: false,
            max_bytes: self.max_row_bytes,
        };
        Box::new(Lines::new(Table { reader, delimiter: self.delimiter, names: None, line: 1, written: 1 }))
    }
}

/// The cells of a row, or what is wrong with it.
type Cells = Result<Vec<Vec<u8>>, String>;

/// A row as far as it was read.
#[derive(Debug, Default)]
struct Row {
    cells: Vec<Vec<u8>>,
    /// What was read of a cell in quotes that has not ended.
    open: Option<Vec<u8>>,
    /// How far the text was read.
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    /// A quote is open: the next line belongs to it.
    Open,
    /// Text stands behind the closing quote of a cell.
    Broken,
}

impl Row {
    /// Reads on in a text that has whole lines, without the end of the last one.
    fn read(&mut self, text: &[u8], delimiter: u8) -> State {
        loop {
            if self.open.is_none() && text.get(self.at) == Some(&b'"') {
                self.open = Some(Vec::new());
                self.at += 1;
            }
            let Some(mut cell) = self.open.take() else {
                let end = memchr(delimiter, &text[self.at..]).map_or(text.len(), |end| self.at + end);
                self.cells.push(text[self.at..end].to_vec());
                if end == text.len() {
                    return State::Whole;
                }
                self.at = end + 1;
                continue;
            };
            let Some(quote) = memchr(b'"', &text[self.at..]) else {
                cell.extend_from_slice(&text[self.at..]);
                (self.open, self.at) = (Some(cell), text.len());
                return State::Open;
            };
            cell.extend_from_slice(&text[self.at..self.at + quote]);
            self.at += quote + 1;
            match text.get(self.at) {
                Some(b'"') => {
                    cell.push(b'"');
                    self.open = Some(cell);
                }
                None => {
                    self.cells.push(cell);
                    return State::Whole;
                }
                Some(next) if *next == delimiter => self.cells.push(cell),
                Some(_) => return State::Broken,
            }
            self.at += 1;
        }
    }
}

/// Gives lines, those that are to be read again first.
struct Reader<R> {
    text: BufReader<R>,
    /// Lines that are read once more, and how far they were.
    again: Vec<u8>,
    at: usize,
    /// Whether a line of the row was read for the first time.
    is_fresh: bool,
    max_bytes: u64,
}

impl<R: Read> Reader<R> {
    /// Appends the next line with its end; says how many bytes it has. Of one that is longer than a row may be, the rest is
    /// passed over.
    fn line(&mut self, row: &mut Vec<u8>) -> io::Result<usize> {
        if self.at < self.again.len() {
            let rest = &self.again[self.at..];
            let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            row.extend_from_slice(&rest[..end]);
            self.at += end;
            return Ok(end);
        }
        self.is_fresh = true;
        let most = self.max_bytes.saturating_add(1);
        let mut read = self.text.by_ref().take(most).read_until(b'\n', row)?;
        while read as u64 >= most && !row.ends_with(b"\n") {
            let (before, length) = (row.len(), self.text.by_ref().take(most).read_until(b'\n', row)?);
            if row.ends_with(b"\n") || length == 0 {
                row.truncate(before);
                row.push(b'\n');
                break;
            }
            row.truncate(before);
            read += length;
        }
        Ok(read)
    }

    /// Gives back all lines of a row but the first. Where they were given back before, only the place changes: many rows
    /// that cannot be read copy nothing.
    fn back(&mut self, mut row: Vec<u8>) {
        let first = memchr(b'\n', &row).map_or(row.len(), |at| at + 1);
        if self.is_fresh {
            (self.again, self.at) = (row.split_off(first), 0);
        } else {
            self.at -= row.len() - first;
        }
    }
}

struct Table<R> {
    reader: Reader<R>,
    delimiter: u8,
    names: Option<Vec<String>>,
    /// The line that is read next, and the one that is written next.
    line: u64,
    written: u64,
}

impl<R: Read> Table<R> {
    /// The next row that is not blank, with the line that it begins in.
    fn row(&mut self) -> io::Result<Option<(u64, Cells)>> {
        let (mut row, mut text, mut lines) = (Row::default(), Vec::new(), 0);
        self.reader.is_fresh = false;
        loop {
            let is_ended = self.reader.line(&mut text)? == 0;
            let opens = self.line - lines;
            if is_ended && text.is_empty() {
                return Ok(None);
            }
            if is_ended {
                let told =
                    format!("the quote that opens in line {opens} does not close, in cell {}", row.cells.len() + 1);
                let help = "close that quote; inside a cell that stands in quotes, a quote is written twice".to_owned();
                return Err(Unfit { detail: told, help }.into());
            }
            (self.line, lines) = (self.line + 1, lines + 1);
            let whole = text.strip_suffix(b"\n").unwrap_or(&text);
            let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
            let whole = if opens == 1 { whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(whole) } else { whole };
            if lines == 1 && whole.iter().all(|byte| *byte == b' ') {
                (lines, text) = (0, Vec::new());
                continue;
            }
            if text.len() as u64 > self.reader.max_bytes {
                let fault = format!("the row has more than {} bytes (max_record_bytes)", self.reader.max_bytes);
                return Ok(Some((self.only_first(opens, text), Err(fault))));
            }
            match row.read(whole, self.delimiter) {
                State::Open => {}
                State::Whole => return Ok(Some((opens, Ok(row.cells)))),
                State::Broken => {
                    let told = "has text behind its closing quote; inside of quotes, a quote is written twice";
                    let fault = format!("cell {} {told}", row.cells.len() + 1);
                    return Ok(Some((self.only_first(opens, text), Err(fault))));
                }
            }
        }
    }

    /// Of a row that cannot be read, only the first line is given up: what follows is read again.
    fn only_first(&mut self, opens: u64, text: Vec<u8>) -> u64 {
        self.reader.back(text);
        self.line = opens + 1;
        opens
    }
}

impl<R: Read> Rows for Table<R> {
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<bool> {
        let Some((place, row)) = self.row()? else { return Ok(false) };
        let Some(names) = &self.names else {
            let names = row.unwrap_or_default().into_iter().map(|name| String::from_utf8_lossy(&name).into_owned());
            self.names = Some(names.collect());
            return Ok(true);
        };
        let value = match row.and_then(|cells| object(names, cells)) {
            Ok(value) => value,
            Err(fault) => fault.into(),
        };
        while self.written < place {
            lines.push(b'\n');
            self.written += 1;
        }
        serde_json::to_writer(&mut *lines, &value)?;
        lines.push(b'\n');
        self.written += 1;
        Ok(true)
    }
}

fn object(names: &[String], cells: Vec<Vec<u8>>) -> Result<serde_json::Value, String> {
    if cells.len() != names.len() {
        let plural = if cells.len() == 1 { "" } else { "s" };
        return Err(format!("the row has {} cell{plural}, and the first line has {}", cells.len(), names.len()));
    }
    let value = |(name, cell): (&String, Vec<u8>)| match String::from_utf8(cell) {
        Ok(cell) if cell.is_empty() => Ok((name.clone(), serde_json::Value::Null)),
        Ok(cell) => Ok((name.clone(), cell.into())),
        Err(_) => Err(format!("cell `{name}` has bytes that are no UTF-8")),
    };
    names.iter().zip(cells).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> io::Result<Option<String>> {
        let Some(rows) = rows(text, "bibcode", 64)? else { return Ok(None) };
        let mut lines = String::new();
        rows.of(Box::new(io::Cursor::new(text.to_vec()))).read_to_string(&mut lines)?;
        Ok(Some(lines))
    }

    /// What is told of the lines that are not blank, by their numbers.
    #[track_caller]
    fn told(text: &str, expected: &[(usize, &str)]) {
        for text in [text.to_owned(), text.replace('\n', "\r\n")] {
            let lines = lines(text.as_bytes()).unwrap().unwrap().replace("\\r\\n", "\\n");
            let lines = lines.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.is_empty());
            assert_eq!(lines.collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn rows_stand_at_their_lines() {
        told(
            "\u{feff}bibcode,title,year\na,\"One, and\nmore \"\"so\"\"\",2010\nb,,\n\n  \nc,Three \"3\",1\nd,4,4",
            &[
                (2, r#"{"bibcode":"a","title":"One, and\nmore \"so\"","year":"2010"}"#),
                (4, r#"{"bibcode":"b","title":null,"year":null}"#),
                (7, r#"{"bibcode":"c","title":"Three \"3\"","year":"1"}"#),
                (8, r#"{"bibcode":"d","title":"4","year":"4"}"#),
            ],
        );
        told("title\tbibcode\nT\ta\n", &[(2, r#"{"bibcode":"a","title":"T"}"#)]);
        told("\"title\";bibcode\nT, x;\"a\"\n", &[(2, r#"{"bibcode":"a","title":"T, x"}"#)]);
    }

    #[test]
    fn rows_with_other_cells_are_set_aside() {
        let long = "x".repeat(80);
        told(
            &format!("bibcode,title\na\nb,1,2\nc,{long}\n\t\nd,1\n"),
            &[
                (2, "\"the row has 1 cell, and the first line has 2\""),
                (3, "\"the row has 3 cells, and the first line has 2\""),
                (4, "\"the row has more than 64 bytes (max_record_bytes)\""),
                (5, "\"the row has 1 cell, and the first line has 2\""),
                (6, r#"{"bibcode":"d","title":"1"}"#),
            ],
        );
        let latin = lines(b"bibcode,title\na,\xe9\n").unwrap().unwrap();
        assert_eq!(latin, "\n\"cell `title` has bytes that are no UTF-8\"\n");
    }

    /// A stray quote costs its own line, not all down to the next quote.
    #[test]
    fn a_stray_quote_swallows_no_rows() {
        let behind = "\"cell 2 has text behind its closing quote; inside of quotes, a quote is written twice\"";
        told(
            "bibcode,title\na,\"One\nb,Two\nc,\"Three\"\nd,\"Fo\"ur\ne,5\n",
            &[
                (2, behind),
                (3, r#"{"bibcode":"b","title":"Two"}"#),
                (4, r#"{"bibcode":"c","title":"Three"}"#),
                (5, behind),
                (6, r#"{"bibcode":"e","title":"5"}"#),
            ],
        );
        // As far as a row may go.
        let rows = "b,2\n".repeat(40);
        let text = format!("bibcode,title\na,\"1\n{rows}");
        assert_eq!(lines(text.as_bytes()).unwrap().unwrap().matches("{\"bibcode\":\"b\"").count(), 40);
    }

    #[test]
    fn a_quote_that_is_open_at_the_end_is_an_error() {
        for text in ["bibcode,title\r\n\r\na,\"One\r\nb,Two\r\n", "bibcode,title\n\na,\"One\"\"\nb,Two"] {
            let error = lines(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, "the quote that opens in line 3 does not close, in cell 2");
        }
    }

    #[test]
    fn a_table_without_the_key_says_its_columns() {
        let told = |text: &str| {
            let Unfit { detail, help } = lines(text.as_bytes()).unwrap_err().downcast().unwrap();
            format!("{detail}: {help}")
        };
        assert_eq!(
            told("Bibcode,Title\na,b\n"),
            "it is a table with columns Bibcode, Title: none is `bibcode`: write `key = \"Bibcode\"` into that load node"
        );
        assert!(told("id;title\n\na;b\n").starts_with("it is a table with columns id, title: none is `bibcode`: name"));
    }

    #[test]
    fn what_is_no_table_stays() {
        for text in [
            "",
            "{\"bibcode\": \"a\", \"title\": 1}\n{\"bibcode\": \"b\", \"title\": 1}\n",
            "[{\"bibcode\":1}]\n",
            "{\"title\": \"a,bibcode,b\"}\n{}\n",
            "a note, with a comma\n{\"bibcode\":\"a\", \"b\":1}\n",
            "bibcode\na\n",
            "bibcode,x",
        ] {
            assert_eq!(lines(text.as_bytes()).unwrap(), None, "{text}");
        }
    }

    /// Quotes that open in every line cost no more than their lines do.
    #[test]
    fn no_table_is_slow() {
        for row in ["a,\"\n", "a,\"\"\n", "a,\"\"\"\n", "\"\n", "a,\"x\"y\n"] {
            let text = format!("bibcode,title\n{}", row.repeat(300_000));
            let rows = rows(text.as_bytes(), "bibcode", 1 << 24).unwrap().unwrap();
            let _ = io::copy(&mut rows.of(Box::new(io::Cursor::new(text.into_bytes()))), &mut io::sink());
        }
    }
}

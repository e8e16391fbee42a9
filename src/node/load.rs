//! load: source files become a records table and a rejects table.
//!
//! One thread reads, digests and decompresses; the pool parses; this thread settles which of several lines with one
//! bibcode counts (the last) and writes, all in the order of the files. The bytes read are digested on the way, and must
//! be those that were planned with.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, ListBuilder, RecordBatch, StringArray,
    StringBuilder, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field};

use super::rejects::{EXCERPT_BYTES, Reject, Rejects};
use super::{Context, Made, NodeError};
use crate::digest::{DigestReader, MetadataDigest};
use crate::event::Unit;
use crate::manifest::config::{LoadConfig, Missing};
use crate::pool::map_ordered;
use crate::record::{Output, SourceFile};
use crate::source::lines::{Chunk, Chunks, Line};
use crate::source::record::{Reason, SourceRecord, Wanted, key_in_words, parse};
use crate::source::{SourceError, codec};
use crate::store::parquet::ParquetWriter;
use crate::table;

/// Loads `sources`, in order, into a records and a rejects table.
///
/// # Errors
/// A file that cannot be read or changed since it was planned with, and whatever the store gives.
pub fn run(context: &Context, config: &LoadConfig, sources: &[SourceFile]) -> Result<Made, NodeError> {
    if sources.is_empty() {
        (context.note)(format!("{} is not there, and counts as empty (missing = \"skip\")", config.input));
    }
    let mut loader = Loader::new(context, config)?;
    let total = sources.iter().map(|source| source.bytes).sum();
    let read = AtomicU64::new(0);
    for (ordinal, source) in (0u32..).zip(sources) {
        loader.load_file(ordinal, source, &read, total)?;
    }
    loader.finish()
}

/// Where a bibcode was seen last.
#[derive(Clone, Copy)]
struct Place {
    row: u64,
    source: u32,
    line: u64,
    offset: u64,
}

struct Loader<'a> {
    context: &'a Context<'a>,
    config: &'a LoadConfig,
    /// Rows that have each field.
    present: Vec<u64>,
    aliases: u64,
    records: ParquetWriter,
    rejects: Rejects,
    /// By 16 bytes of the bibcode's digest: a year's bibcodes fit into memory, and no two share 16 bytes.
    seen: HashMap<[u8; 16], Place>,
    superseded: BTreeSet<u64>,
    lines: u64,
}

/// A parsed chunk: its records as a batch, with each row's offset, and what was refused.
struct Parsed {
    batch: Result<RecordBatch, NodeError>,
    offsets: Vec<u64>,
    rejects: Vec<Reject>,
    lines: u64,
}

impl<'a> Loader<'a> {
    fn new(context: &'a Context<'a>, config: &'a LoadConfig) -> Result<Self, NodeError> {
        Ok(Self {
            context,
            config,
            present: vec![0; config.fields.len()],
            aliases: 0,
            records: context.store.new_parquet(table::records(&config.fields, config.aliases.is_some()))?,
            rejects: Rejects::new(context.store)?,
            seen: HashMap::new(),
            superseded: BTreeSet::new(),
            lines: 0,
        })
    }

    fn load_file(&mut self, ordinal: u32, source: &SourceFile, read: &AtomicU64, total: u64) -> Result<(), NodeError> {
        let path = self.context.base.join(&source.name);
        let (context, config) = (self.context, self.config);
        let mut file = SourceReader::start(path, source, read)?;
        map_ordered(
            || {
                context.check_cancel()?;
                file.next_chunk()
            },
            |chunk| parse_chunk(&chunk, ordinal, config),
            |parsed| {
                (context.progress)(read.load(Ordering::Relaxed), Some(total), Unit::Bytes);
                self.take(parsed, ordinal, &source.name)
            },
        )
    }

    fn take(&mut self, parsed: Parsed, source: u32, name: &str) -> Result<(), NodeError> {
        let batch = parsed.batch?;
        self.lines += parsed.lines;
        if let Some(first) = parsed.rejects.first().filter(|_| self.records.rows() == 0 && batch.num_rows() <= 1)
            && first.excerpt.as_deref().is_some_and(|excerpt| excerpt.trim_start().starts_with('['))
        {
            return Err(NodeError::JsonArray { input: name.to_owned() });
        }
        parsed.rejects.into_iter().try_for_each(|reject| self.rejects.push(reject))?;
        for (field, present) in self.present.iter_mut().enumerate() {
            let column = batch.column(1 + field);
            *present += (column.len() - column.null_count()) as u64;
        }
        if let Some(aliases) = batch.column_by_name(table::ALIASES) {
            self.aliases += aliases.as_list::<i32>().values().len() as u64;
        }
        let bibcodes: &StringArray = batch.column(0).as_string();
        let lines = batch[table::LINE].as_primitive::<arrow::datatypes::UInt64Type>();
        for (index, bibcode) in bibcodes.iter().flatten().enumerate() {
            let row = self.records.rows() + index as u64;
            let place = Place { row, source, line: lines.value(index), offset: parsed.offsets[index] };
            self.settle(bibcode, place)?;
        }
        Ok(self.records.write(batch)?)
    }

    /// The last line with a bibcode counts: a later line of a dump corrects an earlier one.
    fn settle(&mut self, bibcode: &str, place: Place) -> Result<(), NodeError> {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(bibcode.as_bytes()).as_bytes()[..16]);
        let Some(loser) = self.seen.insert(key, place) else { return Ok(()) };
        self.superseded.insert(loser.row);
        let name = key_in_words(&self.config.key);
        self.rejects.push(Reject {
            bibcode: Some(bibcode.to_owned()),
            source: loser.source,
            line: loser.line,
            offset: Some(loser.offset),
            reason: Reason::Superseded,
            // By its ordinal: a file's name is in no key, so it may be in no output.
            detail: format!("line {} of source {} has the same {name} and comes later", place.line, place.source),
            excerpt: None,
        })
    }

    fn finish(self) -> Result<Made, NodeError> {
        self.refuse_nothing()?;
        let mut made = Made::default();
        for (field, present) in self.config.fields.iter().zip(&self.present) {
            made.count(&format!("field.{field}"), *present);
            if *present == 0 && self.records.rows() > 0 {
                (self.context.note)(format!("no record has a field `{field}`"));
            }
        }
        if let Some(field) = &self.config.aliases {
            made.count("aliases", self.aliases);
            if self.aliases == 0 && self.records.rows() > 0 {
                (self.context.note)(format!("no record has another bibcode in `{field}`"));
            }
        }
        let rejects = self.rejects.finish(&mut made)?;
        let mut records = self.records.finish()?;
        if !self.superseded.is_empty() {
            records = without(self.context, &records, &self.superseded)?;
        }
        made.count("rows_in", self.lines);
        made.count("rows", records.rows);
        made.outputs.insert("records".into(), records);
        made.outputs.insert("rejects".into(), rejects);
        Ok(made)
    }

    /// A file of another kind would otherwise replace a good year by an empty one.
    fn refuse_nothing(&self) -> Result<(), NodeError> {
        let input = self.config.input.clone();
        match self.rejects.first() {
            Some(first) if self.records.rows() == 0 => {
                Err(NodeError::NothingKept { input, lines: self.lines, first: first.to_owned() })
            }
            _ if self.lines == 0 && self.config.missing == Missing::Error => {
                Err(SourceError::Empty { path: self.context.base.join(input) }.into())
            }
            _ => Ok(()),
        }
    }
}

/// The records table without some of its rows. Duplicates are rare, so the table is written once more when there are any.
fn without(context: &Context, records: &Output, rows: &BTreeSet<u64>) -> Result<Output, NodeError> {
    let mut kept: Option<ParquetWriter> = None;
    let mut first = 0u64;
    for batch in context.store.read_parquet(&records.digest)? {
        let batch = batch.map_err(NodeError::arrow("records"))?;
        let after = first + batch.num_rows() as u64;
        let mask: BooleanArray = (first..after).map(|row| Some(!rows.contains(&row))).collect();
        let batch = arrow::compute::filter_record_batch(&batch, &mask).map_err(NodeError::arrow("records"))?;
        let writer = match &mut kept {
            Some(writer) => writer,
            None => kept.insert(context.store.new_parquet(batch.schema())?),
        };
        writer.write(batch)?;
        first = after;
    }
    let kept = kept.ok_or_else(|| NodeError::table("records", "it has no rows"))?.finish()?;
    context.store.discard_blob(&records.digest);
    Ok(kept)
}

/// Reads one file's chunks, and checks at its end that the bytes were those planned with.
struct SourceReader<'a> {
    path: PathBuf,
    planned: &'a SourceFile,
    raw: Arc<std::sync::Mutex<DigestReader<File>>>,
    chunks: Chunks<Box<dyn Read + Send>>,
    read: &'a AtomicU64,
    counted: u64,
}

/// The file's raw bytes on their way to the decompressor; the digest is asked for at the end.
struct SharedReader(Arc<std::sync::Mutex<DigestReader<File>>>);

impl Read for SharedReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_| std::io::Error::other("a reader panicked"))?.read(buffer)
    }
}

impl<'a> SourceReader<'a> {
    fn start(path: PathBuf, planned: &'a SourceFile, read: &'a AtomicU64) -> Result<Self, NodeError> {
        let failed = |source| SourceError::Read { path: path.clone(), bytes: 0, source };
        let file = File::open(&path).map_err(failed)?;
        let raw = Arc::new(std::sync::Mutex::new(DigestReader::new(file)));
        let text = codec::decompress(SharedReader(Arc::clone(&raw))).map_err(failed)?;
        Ok(Self { chunks: Chunks::new(text), path, planned, raw, read, counted: 0 })
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, NodeError> {
        let chunk = self.chunks.next_chunk();
        let mut raw = self.raw.lock().map_err(|_| crate::pool::Panicked)?;
        self.read.fetch_add(raw.bytes_read() - self.counted, Ordering::Relaxed);
        self.counted = raw.bytes_read();
        let failed = |source| SourceError::Read { path: self.path.clone(), bytes: self.chunks.offset(), source };
        match chunk {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Ok(None) => {
                // Whatever the decompressor left unread is part of the file too.
                std::io::copy(&mut *raw, &mut std::io::sink()).map_err(failed)?;
                if raw.digest() != self.planned.digest {
                    return Err(SourceError::Changed { path: self.path.clone() }.into());
                }
                Ok(None)
            }
            Err(error) => Err(failed(error).into()),
        }
    }
}

fn parse_chunk(chunk: &Chunk, source: u32, config: &LoadConfig) -> Parsed {
    let LoadConfig { key, fields, aliases, input: _, missing: _, condition: _, sample: _, limit: _ } = config;
    let wanted = Wanted { key, fields, aliases: aliases.as_deref() };
    let (mut records, mut offsets, mut rejects, mut lines) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for line in chunk.lines() {
        let bytes = without_mark(&line);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        lines += 1;
        match parse(bytes, &wanted) {
            Ok(record) => {
                records.push((record, line.number));
                offsets.push(line.offset);
            }
            Err(refusal) => rejects.push(Reject {
                bibcode: refusal.bibcode,
                source,
                line: line.number,
                offset: Some(line.offset),
                reason: refusal.reason,
                detail: refusal.detail,
                // For eyes: bytes that are no UTF-8 show as U+FFFD, and the offset says where the true ones are.
                excerpt: Some(String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT_BYTES)]).into_owned()),
            }),
        }
    }
    Parsed { batch: batch(&records, source, &wanted), offsets, rejects, lines }
}

/// The line without the byte order mark that some editors put before a file's first line.
fn without_mark<'a>(line: &Line<'a>) -> &'a [u8] {
    if line.number == 1 { line.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line.bytes) } else { line.bytes }
}

fn batch(records: &[(SourceRecord, u64)], source: u32, wanted: &Wanted) -> Result<RecordBatch, NodeError> {
    let names = wanted.fields;
    let bibcodes = StringArray::from_iter_values(records.iter().map(|(record, _)| &record.bibcode));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(bibcodes)];
    let field = |at: usize| records.iter().map(move |(record, _)| record.fields[at].as_ref());
    columns.extend((0..names.len()).map(|at| list_column(field(at))));
    let mut digests = FixedSizeBinaryBuilder::with_capacity(records.len(), MetadataDigest::LEN as i32);
    for (record, _) in records {
        let digest = record.metadata_digest(names);
        digests.append_value(digest.as_bytes()).map_err(NodeError::arrow("records"))?;
    }
    columns.push(Arc::new(digests.finish()));
    columns.push(Arc::new(UInt32Array::from_value(source, records.len())));
    columns.push(Arc::new(UInt64Array::from_iter_values(records.iter().map(|(_, line)| *line))));
    columns.extend(wanted.aliases.map(|_| list_column(records.iter().map(|(record, _)| Some(&record.aliases)))));
    let schema = table::records(names, wanted.aliases.is_some());
    RecordBatch::try_new(schema, columns).map_err(NodeError::arrow("records"))
}

fn list_column<'a>(rows: impl Iterator<Item = Option<&'a Vec<String>>>) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(DataType::Utf8, false));
    let mut column = ListBuilder::new(StringBuilder::new()).with_field(item);
    for row in rows {
        match row {
            Some(values) => {
                values.iter().for_each(|value| column.values().append_value(value));
                column.append(true);
            }
            None => column.append(false),
        }
    }
    Arc::new(column.finish())
}

//! A chunk of text becomes columns of records, and a list of what was refused. Runs on the pool.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, ListBuilder, RecordBatch, StringArray, StringBuilder, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field as Column};
use arrow::error::ArrowError;
use serde_json::{Map, Value};

use super::super::Made;
use super::super::rejects::{EXCERPT_BYTES, Reject};
use super::ROW_BITS;
use crate::digest::MetadataDigest;
use crate::manifest::config::LoadConfig;
use crate::source::chunks::{Chunk, Kind, Piece};
use crate::source::record::{Field, Reason, Refusal, SourceRecord, Wanted, parse};
use crate::source::selection::{Selection, Verdict};
use crate::source::tables;
use crate::table;

/// What became of a chunk.
pub struct Columns {
    /// Its records.
    pub batch: Result<RecordBatch, ArrowError>,
    /// Of each row: 96 bits of its bibcode's digest, above bits that are zero.
    pub keys: Vec<u128>,
    /// What was refused.
    pub rejects: Vec<Reject>,
    /// Records, rejects, and what was not selected.
    pub pieces: u64,
    /// Records that the condition and the draw leave out.
    pub not_selected: u64,
    /// Those of them that were looked at, and do not meet the condition.
    pub not_met: u64,
    /// The fields of the first of these.
    pub names: Vec<String>,
    /// In how many records each field of the condition is, of those that were looked at.
    pub asked: Vec<u64>,
    /// How the wanted fields were found.
    pub fields: Vec<FieldCounts>,
    /// Records in which a wanted field stands twice or more.
    pub duplicate_fields: u64,
}

/// In how many records a field is how. Where it is none of these, it is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct FieldCounts {
    /// It is there and not null.
    pub present: u64,
    /// It is null.
    pub null: u64,
    /// It is not there.
    pub missing: u64,
    /// It is there, and has no text.
    pub empty: u64,
}

impl FieldCounts {
    /// Adds those of other records.
    pub fn add(&mut self, other: Self) {
        let Self { present, null, missing, empty } = other;
        self.present += present;
        self.null += null;
        self.missing += missing;
        self.empty += empty;
    }

    fn see(&mut self, field: &Field) {
        match field {
            Field::Missing => self.missing += 1,
            Field::Null => self.null += 1,
            Field::Texts(texts) => {
                self.present += 1;
                self.empty += u64::from(texts.iter().all(|text| text.trim().is_empty()));
            }
        }
    }

    /// Adds these to the counts of a step; of what there is none of, only that nothing is present is told.
    pub fn tell(&self, field: &str, made: &mut Made) {
        made.count(&format!("field.{field}"), self.present);
        for (how, count) in [("null", self.null), ("missing", self.missing), ("empty", self.empty)] {
            if count > 0 {
                made.count(&format!("{how}.{field}"), count);
            }
        }
    }
}

/// A record that can be used.
pub struct Taken<'a> {
    /// The record.
    pub record: SourceRecord<'a>,
    /// Whether it is drawn and meets the condition.
    pub verdict: Verdict,
}

/// Looks at one piece of a chunk by itself.
///
/// # Errors
/// The reason why it is a reject.
pub fn take<'a>(piece: &Piece<'a>, config: &LoadConfig) -> Result<Taken<'a>, Refusal> {
    let selection = Selection::new(config.condition.as_ref(), config.sample);
    let mut asked = vec![0; selection.fields().len()];
    taken(piece, &wanted(config), config.max_record_bytes, &selection, &mut asked)
}

fn wanted(config: &LoadConfig) -> Wanted<'_> {
    Wanted { key: &config.key, fields: &config.fields, aliases: config.aliases.as_deref() }
}

fn taken<'a>(
    piece: &Piece<'a>,
    wanted: &Wanted,
    max_bytes: u64,
    selection: &Selection,
    asked: &mut [u64],
) -> Result<Taken<'a>, Refusal> {
    let record = parse_piece(piece, wanted, max_bytes)?;
    // What could be parsed is UTF-8.
    let text = str::from_utf8(piece.bytes).unwrap_or_default();
    let verdict = selection.takes(text, &record.bibcode, asked)?;
    Ok(Taken { record, verdict })
}

/// Parses a chunk of the file with this ordinal.
pub fn parse_chunk(chunk: &Chunk, source: u32, config: &LoadConfig) -> Columns {
    let LoadConfig { fields, max_record_bytes, condition, sample, .. } = config;
    let wanted = wanted(config);
    let selection = Selection::new(condition.as_ref(), *sample);
    let mut asked = vec![0; selection.fields().len()];
    let (mut not_drawn, mut not_met, mut names) = (0, 0, Vec::new());
    let (mut records, mut rejects) = (Vec::new(), Vec::new());
    let mut counts = vec![FieldCounts::default(); fields.len()];
    let pieces = chunk.pieces();
    for piece in &pieces {
        match taken(piece, &wanted, *max_record_bytes, &selection, &mut asked) {
            Ok(Taken { verdict: Verdict::NotDrawn, .. }) => not_drawn += 1,
            Ok(Taken { verdict: Verdict::NotMet, .. }) => {
                if not_met == 0 {
                    names = names_in(piece.bytes);
                }
                not_met += 1;
            }
            Ok(Taken { record, verdict: Verdict::Taken }) => {
                counts.iter_mut().zip(&record.fields).for_each(|(counts, field)| counts.see(field));
                records.push((record, piece.line));
            }
            Err(refusal) => rejects.push(reject(refusal, piece, source)),
        }
    }
    Columns {
        keys: records.iter().map(|(record, _)| key_of(&record.bibcode)).collect(),
        duplicate_fields: records.iter().filter(|(record, _)| record.has_duplicates).count() as u64,
        batch: batch(&records, source, &wanted),
        rejects,
        pieces: pieces.len() as u64,
        not_selected: not_drawn + not_met,
        not_met,
        names,
        asked,
        fields: counts,
    }
}

fn parse_piece<'a>(piece: &Piece<'a>, wanted: &Wanted, max_bytes: u64) -> Result<SourceRecord<'a>, Refusal> {
    let refuse = |reason, detail| Err(Refusal { reason, detail, bibcode: None });
    let fault = match piece.kind {
        Kind::Outside => {
            let told = "it stands where an answer with records should, and has nothing at the path of `records`";
            return refuse(Reason::OutsideRecords, told.to_owned());
        }
        Kind::Row => tables::fault(piece.bytes),
        Kind::Record | Kind::TooLong => None,
    };
    if let Some(fault) = fault {
        return refuse(Reason::InvalidRow, fault);
    }
    if piece.kind == Kind::TooLong || piece.bytes.len() as u64 > max_bytes {
        return refuse(Reason::TooLong, format!("it has more than {max_bytes} bytes (max_record_bytes)"));
    }
    parse(piece.bytes, wanted)
}

/// The fields of a record and those of the objects in it, as a condition names them; none if it cannot be told.
fn names_in(record: &[u8]) -> Vec<String> {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(record) else { return Vec::new() };
    let inside = |(name, value): (&String, &Value)| match value {
        Value::Object(fields) => fields.keys().map(|inner| format!("{name}.{inner}")).collect(),
        _ => Vec::new(),
    };
    fields.keys().cloned().chain(fields.iter().flat_map(inside)).collect()
}

fn reject(refusal: Refusal, piece: &Piece, source: u32) -> Reject {
    Reject {
        bibcode: refusal.bibcode,
        source,
        line: piece.line,
        offset: Some(piece.offset),
        reason: refusal.reason,
        detail: refusal.detail,
        // For eyes: bytes that are no UTF-8 show as U+FFFD, and the offset says where the true ones are.
        excerpt: Some(String::from_utf8_lossy(&piece.bytes[..piece.bytes.len().min(EXCERPT_BYTES)]).into_owned()),
    }
}

fn key_of(bibcode: &str) -> u128 {
    let mut bytes = [0; size_of::<u128>()];
    bytes.copy_from_slice(&blake3::hash(bibcode.as_bytes()).as_bytes()[..size_of::<u128>()]);
    u128::from_be_bytes(bytes) >> ROW_BITS << ROW_BITS
}

fn batch(records: &[(SourceRecord, u64)], source: u32, wanted: &Wanted) -> Result<RecordBatch, ArrowError> {
    let names = wanted.fields;
    let bibcodes = StringArray::from_iter_values(records.iter().map(|(record, _)| &record.bibcode));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(bibcodes)];
    let field = |at: usize| records.iter().map(move |(record, _)| record.fields[at].texts());
    columns.extend((0..names.len()).map(|at| list_column(field(at))));
    let mut digests = FixedSizeBinaryBuilder::with_capacity(records.len(), MetadataDigest::LEN as i32);
    for (record, _) in records {
        digests.append_value(record.metadata_digest(names).as_bytes())?;
    }
    columns.push(Arc::new(digests.finish()));
    columns.push(Arc::new(UInt32Array::from_value(source, records.len())));
    columns.push(Arc::new(UInt64Array::from_iter_values(records.iter().map(|(_, line)| *line))));
    let aliases = || list_column(records.iter().map(|(record, _)| Some(&*record.aliases)));
    columns.extend(wanted.aliases.map(|_| aliases()));
    RecordBatch::try_new(table::records(names, wanted.aliases.is_some()), columns)
}

fn list_column<'a>(rows: impl Iterator<Item = Option<&'a [Cow<'a, str>]>>) -> ArrayRef {
    let item = Arc::new(Column::new_list_field(DataType::Utf8, false));
    let mut column = ListBuilder::new(StringBuilder::new()).with_field(item);
    for row in rows {
        for value in row.unwrap_or_default() {
            column.values().append_value(value);
        }
        column.append(row.is_some());
    }
    Arc::new(column.finish())
}

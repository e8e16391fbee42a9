//! load: source files become a records table and a rejects table.
//!
//! ```text
//! a thread per file          the pool                this thread                     the pool
//! read, digest, decompress   parse, make columns     count, collect rejects          encode row groups
//! and cut into chunks    --> (columns)           --> and keys, all in order      --> (store/parquet)
//! ```
//!
//! A few files are read ahead. Which of several records with one bibcode counts (the last) is settled at the end, by
//! sorting 16 bytes a row. The bytes read are digested on the way, and must be those that were planned with.

mod columns;
mod reader;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use rayon::slice::ParallelSliceMut;

use super::rejects::{Reject, Rejects};
use super::{Context, Made, NodeError};
use crate::condition::Condition;
use crate::event::{Detail, Unit};
use crate::manifest::config::{LoadConfig, Missing};
use crate::manifest::{hint, listed};
use crate::pool::map_ordered;
use crate::record::{Output, SourceFile};
use crate::source::SourceError;
use crate::source::files::STANDARD_INPUT;
use crate::source::record::{Reason, key_in_words};
use crate::store::parquet::ParquetWriter;
use crate::table;
use columns::{Columns, FieldCounts, parse_chunk};
pub use columns::{Taken, take};
pub use reader::{Feed, Input};

/// Fields of a record that are listed where one of them was meant.
const LISTED_NAMES: usize = 12;

/// Loads `sources`, in order, into a records and a rejects table.
///
/// # Errors
/// A file that cannot be read or changed since it was planned with, and whatever the store gives.
pub fn run(context: &Context, config: &LoadConfig, sources: &[SourceFile]) -> Result<Made, NodeError> {
    if sources.is_empty() {
        (context.note)(format!("{} is not there, and counts as empty (missing = \"skip\")", config.input));
    }
    let mut loader = Loader::new(context, config)?;
    loader.load(sources)?;
    loader.finish()
}

struct Loader<'a> {
    context: &'a Context<'a>,
    config: &'a LoadConfig,
    counts: Vec<FieldCounts>,
    aliases: u64,
    duplicate_fields: u64,
    records: ParquetWriter,
    rejects: Rejects,
    keys: Keys,
    pieces: u64,
    not_selected: u64,
    /// Those of them that were looked at, and do not meet the condition; and the fields of the first one.
    not_met: u64,
    names: Vec<String>,
    beyond_limit: u64,
    /// In how many records each field of the condition is, of those that were looked at.
    asked: Vec<u64>,
}

impl<'a> Loader<'a> {
    fn new(context: &'a Context<'a>, config: &'a LoadConfig) -> Result<Self, NodeError> {
        Ok(Self {
            context,
            config,
            counts: vec![FieldCounts::default(); config.fields.len()],
            aliases: 0,
            duplicate_fields: 0,
            records: context.store.new_parquet(table::records(&config.fields, config.aliases.is_some()))?,
            rejects: Rejects::new(context.store)?,
            keys: Keys::default(),
            pieces: 0,
            not_selected: 0,
            not_met: 0,
            names: Vec::new(),
            beyond_limit: 0,
            asked: vec![0; config.condition.as_ref().map_or(0, |condition| condition.fields().len())],
        })
    }

    fn load(&mut self, sources: &[SourceFile]) -> Result<(), NodeError> {
        let (context, config) = (self.context, self.config);
        let total = sources.iter().map(|source| source.bytes).sum();
        let read = Arc::new(AtomicU64::new(0));
        let inputs = sources.iter().map(|source| Input::planned(source, context.base, context.store));
        let mut feed = Feed::new(inputs, config, &read);
        map_ordered(
            || {
                context.check_cancel()?;
                feed.next_chunk()
            },
            |(source, chunk)| parse_chunk(&chunk, source, config),
            |columns| {
                (context.progress)(read.load(Ordering::Relaxed), Some(total), Unit::Bytes);
                self.take(columns)
            },
        )
    }

    fn take(&mut self, columns: Columns) -> Result<(), NodeError> {
        let Columns { batch, mut keys, rejects, pieces, not_selected, not_met, .. } = columns;
        let Columns { names, asked, fields, duplicate_fields, .. } = columns;
        let mut batch = batch.map_err(NodeError::arrow("records"))?;
        self.pieces += pieces;
        self.not_selected += not_selected;
        if self.not_met == 0 {
            self.names = names;
        }
        self.not_met += not_met;
        self.asked.iter_mut().zip(asked).for_each(|(all, here)| *all += here);
        if let Some(limit) = self.config.limit {
            // A row that a later one stands for was one of the first all the same.
            let left = limit.get().saturating_sub(self.records.rows());
            let kept = batch.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.beyond_limit += (batch.num_rows() - kept) as u64;
            batch = batch.slice(0, kept);
            keys.truncate(kept);
        }
        self.duplicate_fields += duplicate_fields;
        self.counts.iter_mut().zip(fields).for_each(|(all, counts)| all.add(counts));
        if !rejects.is_empty() {
            rejects.into_iter().try_for_each(|reject| self.rejects.push(reject))?;
            (self.context.detail)(Detail::Rejected { rows: self.rejects.count() });
        }
        if let Some(aliases) = batch.column_by_name(table::ALIASES) {
            self.aliases += aliases.as_list::<i32>().values().len() as u64;
        }
        self.keys.add(self.records.rows(), keys)?;
        Ok(self.records.write(batch)?)
    }

    fn finish(self) -> Result<Made, NodeError> {
        self.refuse_nothing()?;
        let mut made = Made::default();
        self.count(&mut made);
        let Self { context, config, records, mut rejects, keys, pieces, .. } = self;
        let mut records = records.finish()?;
        let superseded = keys.superseded();
        if !superseded.is_empty() {
            records = without(context, config, &records, &superseded, &mut rejects)?;
        }
        let rejects = rejects.finish(&mut made)?;
        made.count("rows_in", pieces);
        made.count("rows", records.rows);
        made.outputs.insert("records".into(), records);
        made.outputs.insert("rejects".into(), rejects);
        Ok(made)
    }

    /// Counts of what was found in the records that were selected, before the limit and before some give way to later ones.
    fn count(&self, made: &mut Made) {
        let has_records = self.records.rows() > 0;
        for (field, counts) in self.config.fields.iter().zip(&self.counts) {
            counts.tell(field, made);
            if counts.present == 0 && has_records {
                (self.context.note)(format!("no record has a field `{field}`"));
            }
        }
        if self.duplicate_fields > 0 {
            made.count("duplicate_fields", self.duplicate_fields);
        }
        if self.config.condition.is_some() || self.config.sample.is_some() {
            made.count("not_selected", self.not_selected);
        }
        if self.config.limit.is_some() {
            made.count("beyond_limit", self.beyond_limit);
        }
        for field in self.unknown().filter(|_| self.pieces > 0) {
            (self.context.note)(format!("no record has a field {}, which `where` asks for", quoted(field)));
        }
        match (has_records, self.not_met, self.not_selected) {
            (false, 1.., _) => (self.context.note)(format!("no record meets `where`, and {} were read", self.pieces)),
            (false, 0, 1..) => (self.context.note)(format!("`sample` draws none of {} records", self.pieces)),
            _ => {}
        }
        if let Some(field) = &self.config.aliases {
            made.count("aliases", self.aliases);
            if self.aliases == 0 && has_records {
                (self.context.note)(format!("no record has another bibcode in `{field}`"));
            }
        }
    }

    /// The fields of the condition that no record has, of those that were looked at.
    fn unknown(&self) -> impl Iterator<Item = &str> {
        let asked = self.config.condition.iter().flat_map(Condition::fields).zip(&self.asked);
        asked.filter(|(_, present)| **present == 0).map(|(field, _)| field.as_str())
    }

    /// A file of another kind, or a slip in `where`, would otherwise replace a good year by an empty one.
    fn refuse_nothing(&self) -> Result<(), NodeError> {
        let input = self.config.input.clone();
        match self.rejects.first() {
            Some(first) if self.records.rows() == 0 && self.not_selected == 0 => {
                Err(NodeError::NothingKept { input, lines: self.pieces, first: first.to_owned() })
            }
            _ if self.pieces == 0 && self.config.missing == Missing::Error => Err(match input.as_str() {
                STANDARD_INPUT => SourceError::NothingPiped.into(),
                _ => SourceError::Empty { path: self.context.base.join(input) }.into(),
            }),
            _ if self.records.rows() == 0 && self.not_met > 0 && self.config.missing == Missing::Error => {
                self.unknown().next().map_or(Ok(()), |field| Err(self.nothing_met(field)))
            }
            _ => Ok(()),
        }
    }

    /// The error of a condition that nothing meets, and that asks for a field that no record has.
    fn nothing_met(&self, field: &str) -> NodeError {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let remedy = hint(field, &names, |names| match names {
            [] => "correct `where`.".to_owned(),
            _ => format!("the first record has {}.", listed(names.iter().take(LISTED_NAMES).copied())),
        });
        NodeError::NothingMet {
            input: self.config.input.clone(),
            records: self.not_met,
            field: quoted(field).into_owned(),
            remedy,
        }
    }
}

/// A field of a condition in code quotes, where it has none.
fn quoted(field: &str) -> Cow<'_, str> {
    if field.starts_with('`') { Cow::Borrowed(field) } else { Cow::Owned(format!("`{field}`")) }
}

/// Bits of a key that tell the row; the others are a digest of its bibcode.
const ROW_BITS: u32 = u32::BITS;

/// The rows by their bibcodes: 96 bits of a digest, which no two of a corpus share, and the row.
#[derive(Default)]
struct Keys(Vec<u128>);

impl Keys {
    /// Adds rows that begin at `first`: the keys are digests, and get their rows here.
    fn add(&mut self, first: u64, keys: Vec<u128>) -> Result<(), NodeError> {
        let rows = first + keys.len() as u64;
        if rows > u64::from(u32::MAX) {
            return Err(NodeError::table("records", "it has more than 4,294,967,295 rows: split its input"));
        }
        self.0.extend((first..).zip(keys).map(|(row, key)| key | u128::from(row)));
        Ok(())
    }

    /// The rows that a later one with the same bibcode stands for, each with the next such row, in their order.
    fn superseded(mut self) -> Vec<(u32, u32)> {
        self.0.par_sort_unstable();
        let row = |key: &u128| (key & u128::from(u32::MAX)) as u32;
        let is_same = |a: &u128, b: &u128| a >> ROW_BITS == b >> ROW_BITS;
        let pairs = self.0.windows(2).filter(|pair| is_same(&pair[0], &pair[1]));
        let mut superseded: Vec<(u32, u32)> = pairs.map(|pair| (row(&pair[0]), row(&pair[1]))).collect();
        superseded.sort_unstable();
        superseded
    }
}

/// The records table without the rows that later ones stand for: a later line of a dump corrects an earlier one. Such are
/// rare, so the table is written once more where there are any.
fn without(
    context: &Context,
    config: &LoadConfig,
    records: &Output,
    superseded: &[(u32, u32)],
    rejects: &mut Rejects,
) -> Result<Output, NodeError> {
    let mut kept: Option<ParquetWriter> = None;
    let mut first = 0;
    let mut found = Losers::new(superseded);
    for batch in context.store.read_parquet(&records.digest)? {
        let batch = batch.map_err(NodeError::arrow("records"))?;
        let mask = found.walk(first, &batch);
        first += batch.num_rows();
        let batch = arrow::compute::filter_record_batch(&batch, &mask).map_err(NodeError::arrow("records"))?;
        let writer = match &mut kept {
            Some(writer) => writer,
            None => kept.insert(context.store.new_parquet(batch.schema())?),
        };
        writer.write(batch)?;
    }
    let kept = kept.ok_or_else(|| NodeError::table("records", "it has no rows"))?.finish()?;
    context.store.discard_blob(&records.digest);
    found.rejects(&config.key).try_for_each(|reject| rejects.push(reject))?;
    Ok(kept)
}

/// Rows that later ones stand for, looked up in one walk over the records.
struct Losers<'a> {
    superseded: &'a [(u32, u32)],
    /// Of each row that loses: its bibcode and place.
    losers: Vec<(String, Place)>,
    /// Rows that are asked for as the next one, in their order, and where they are.
    winners: Vec<u32>,
    places: Vec<Place>,
}

/// The ordinal of a file, and a line in it.
#[derive(Clone, Copy)]
struct Place {
    source: u32,
    line: u64,
}

impl<'a> Losers<'a> {
    fn new(superseded: &'a [(u32, u32)]) -> Self {
        let mut winners: Vec<u32> = superseded.iter().map(|(_, winner)| *winner).collect();
        winners.sort_unstable();
        Self { superseded, losers: Vec::new(), winners, places: Vec::new() }
    }

    /// Looks at the rows that begin at `first`; says which of them stay.
    fn walk(&mut self, first: usize, batch: &RecordBatch) -> BooleanArray {
        let (sources, lines) =
            (batch[table::SOURCE].as_primitive::<UInt32Type>(), batch[table::LINE].as_primitive::<UInt64Type>());
        let bibcodes = batch[table::BIBCODE].as_string::<i32>();
        let mut stays = vec![true; batch.num_rows()];
        let place = |row: usize| Place { source: sources.value(row), line: lines.value(row) };
        let here = |row: u32| (row as usize).checked_sub(first).filter(|row| *row < batch.num_rows());
        while let Some(row) = self.superseded.get(self.losers.len()).and_then(|(loser, _)| here(*loser)) {
            stays[row] = false;
            self.losers.push((bibcodes.value(row).to_owned(), place(row)));
        }
        while let Some(row) = self.winners.get(self.places.len()).and_then(|winner| here(*winner)) {
            self.places.push(place(row));
        }
        stays.into()
    }

    fn rejects(self, key: &str) -> impl Iterator<Item = Reject> {
        let name = key_in_words(key).into_owned();
        let Self { superseded, losers, winners, places } = self;
        losers.into_iter().zip(superseded).map(move |((bibcode, lost), (_, winner))| {
            let by = places[winners.binary_search(winner).expect("every winner was looked up")];
            Reject {
                bibcode: Some(bibcode),
                source: lost.source,
                line: lost.line,
                offset: None,
                reason: Reason::Superseded,
                // By its ordinal: a file's name is in no key, so it may be in no output.
                detail: format!("line {} of source {} has the same {name} and comes later", by.line, by.source),
                excerpt: None,
            }
        })
    }
}

#[cfg(test)]
mod tests;

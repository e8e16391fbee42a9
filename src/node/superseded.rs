//! Which rows of the merged sets are left out, what stands for them, and the table that lists them.
//!
//! Two reasons: a later set has a row of the same bibcode, or another paper's row lists the bibcode as an alias. The first
//! comes before the second: what a superseded row lists does not count, since its later version may list it no more.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};

use super::claims::{Claim, settle};
use super::left_out::LeftOut;
use super::merge::{Description, Part};
use super::{Context, NodeError};
use crate::index::keys::{self, Found, Holder, KeyIndex};
use crate::record::Output;
use crate::store::ipc::IpcTable;
use crate::store::parquet::ParquetWriter;
use crate::table;

/// Rows buffered before they are written, and names walked before somebody is asked whether to stop.
pub(super) const BUFFER_ROWS: usize = 4096;

/// The rows that are left out.
pub struct Superseded {
    /// A bit for each, by set.
    pub left_out: Vec<LeftOut>,
    /// The table of them, in the order of bibcodes: first those of which a later set has a row, then the others.
    pub table: Output,
    /// How many are left out because another row lists their bibcode.
    pub by_alias: u64,
    gave_way: BTreeMap<Holder, Holder>,
}

impl Superseded {
    /// Finds them.
    ///
    /// # Errors
    /// Whatever the store gives; an index that names rows which its set has not.
    pub fn find(
        context: &Context,
        sets: &[Description],
        parts: &[Part],
        indexes: &[KeyIndex],
    ) -> Result<Self, NodeError> {
        let mut left_out: Vec<LeftOut> = sets.iter().map(|set| LeftOut::none(rows(set))).collect();
        let aliases = indexes.iter().any(|index| index.aliases() > 0);
        let mut losers = Losers::new(context, sets, aliases)?;
        let mut claimed: Vec<(Box<[u8]>, Claim)> = Vec::new();
        let mut walked = 0;
        keys::walk(indexes, |bibcode, Found { holders, claims }| {
            walked += 1;
            if walked % BUFFER_ROWS == 0 {
                context.check_cancel()?;
            }
            for claim in claims {
                row(claim, sets)?;
            }
            let Some((winner, earlier)) = holders.split_last() else { return Ok(()) };
            for loser in earlier {
                left_out[loser.index].add(row(loser, sets)?);
                losers.push(Loser { bibcode: text(bibcode), row: *loser, winner: winner.index, alias_of: None })?;
            }
            row(winner, sets)?;
            let others = claims.iter().filter(|by| *by != winner);
            claimed.extend(others.map(|by| (bibcode.into(), Claim { claimed: *winner, by: *by })));
            Ok::<_, NodeError>(())
        })?;
        let superseded = |row: &Holder| left_out[row.index].contains(usize::try_from(row.row).unwrap_or(usize::MAX));
        claimed.retain(|(_, claim)| !superseded(&claim.by));
        let gave_way = settle(&claimed.iter().map(|(_, claim)| claim.clone()).collect::<Vec<_>>());
        // Of several claims on one row one is enough: they stand side by side.
        claimed.dedup_by(|(_, later), (_, first)| later.claimed == first.claimed);
        claimed.retain(|(_, claim)| gave_way.contains_key(&claim.claimed));
        let mut bibcodes = Bibcodes { context, parts, open: HashMap::new() };
        for (bibcode, Claim { claimed, by: _ }) in &claimed {
            let stands = gave_way[claimed];
            left_out[claimed.index].add(row(claimed, sets)?);
            let alias_of = Some(bibcodes.of(&stands)?);
            losers.push(Loser { bibcode: text(bibcode), row: *claimed, winner: stands.index, alias_of })?;
        }
        left_out.iter_mut().for_each(LeftOut::count);
        Ok(Self { left_out, table: losers.finish()?, by_alias: claimed.len() as u64, gave_way })
    }

    /// The row that stands for a row: itself, or the one that it gave way to; none if a later set has a row of its bibcode,
    /// which need not be of the same opinion.
    pub fn stands_for(&self, row: &Holder) -> Option<Holder> {
        if self.is_left_out(row) { self.gave_way.get(row).copied() } else { Some(*row) }
    }

    /// Whether a row is left out.
    pub fn is_left_out(&self, row: &Holder) -> bool {
        usize::try_from(row.row).is_ok_and(|number| self.left_out[row.index].contains(number))
    }
}

fn rows(set: &Description) -> usize {
    usize::try_from(set.rows).expect("its rows were counted in a file in memory")
}

/// The row of a holder, if its set has it.
fn row(holder: &Holder, sets: &[Description]) -> Result<usize, NodeError> {
    let set = &sets[holder.index];
    let row = usize::try_from(holder.row).ok().filter(|_| holder.row < set.rows);
    row.ok_or_else(|| NodeError::table("keys", format!("{} has no row {}", set.dataset, holder.row)))
}

fn text(bibcode: &[u8]) -> String {
    String::from_utf8_lossy(bibcode).into_owned()
}

/// Bibcodes by row, out of the sets' own tables: an index only leads the other way.
struct Bibcodes<'a> {
    context: &'a Context<'a>,
    parts: &'a [Part],
    open: HashMap<usize, IpcTable>,
}

impl Bibcodes<'_> {
    fn of(&mut self, row: &Holder) -> Result<String, NodeError> {
        if !self.open.contains_key(&row.index) {
            let table = self.context.store.read_ipc(&self.parts[row.index].embeddings.digest)?;
            self.open.insert(row.index, table);
        }
        let located = usize::try_from(row.row).ok().map(|number| self.open[&row.index].locate(number)).transpose()?;
        let bibcode = located.flatten().and_then(|(batch, at)| {
            let bibcodes = batch.column_by_name(table::BIBCODE)?.as_string_opt::<i32>()?;
            Some(bibcodes.value(at).to_owned())
        });
        bibcode.ok_or_else(|| NodeError::table("dataset", format!("it has no row {}", row.row)))
    }
}

/// A row that is left out.
struct Loser {
    bibcode: String,
    row: Holder,
    /// The set whose row counts instead.
    winner: usize,
    /// The bibcode of that row, where it is another one.
    alias_of: Option<String>,
}

/// Writes the table of rows that are left out.
struct Losers<'a> {
    sets: &'a [Description],
    /// Whether any set has aliases. Tables without them are older: they stay what they were.
    aliases: bool,
    writer: ParquetWriter,
    buffer: Vec<Loser>,
}

impl<'a> Losers<'a> {
    fn new(context: &Context, sets: &'a [Description], aliases: bool) -> Result<Self, NodeError> {
        let writer = context.store.new_parquet(table::superseded(aliases))?;
        Ok(Self { sets, aliases, writer, buffer: Vec::new() })
    }

    fn push(&mut self, loser: Loser) -> Result<(), NodeError> {
        self.buffer.push(loser);
        if self.buffer.len() == BUFFER_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), NodeError> {
        let rows = std::mem::take(&mut self.buffer);
        let name = |index: usize| self.sets[index].dataset.as_str();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|loser| &loser.bibcode))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|loser| name(loser.row.index)))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|loser| loser.row.row))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|loser| name(loser.winner)))),
        ];
        if self.aliases {
            columns.push(Arc::new(StringArray::from_iter(rows.iter().map(|loser| loser.alias_of.as_deref()))));
        }
        let batch = RecordBatch::try_new(table::superseded(self.aliases), columns);
        Ok(self.writer.write(batch.map_err(NodeError::arrow("superseded"))?)?)
    }

    fn finish(mut self) -> Result<Output, NodeError> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        Ok(self.writer.finish()?)
    }
}

//! Which rows stand nowhere else: vectors cost the most, so their last copy never goes by itself.
//!
//! A row is held if a sealed segment of its embedder has it, or a live table of vectors, in an element type that is not
//! narrower. A superseded table goes only if all its rows are held elsewhere. A segment goes only if its rows may be
//! dropped and no live table has any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use serde::Serialize;

use super::live::Live;
use super::{Sweep, measured};
use crate::digest::{Digest, EmbedderKey, NodeKey, RowKey};
use crate::encoding::Dtype;
use crate::record::{Pace, Record};
use crate::store::record::list;
use crate::store::segment::Segment;
use crate::store::{Store, StoreError};
use crate::table::EMBEDDING;

/// Rows of one embedder that no live table holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnlyCopies {
    /// The embedder.
    pub embedder: EmbedderKey,
    /// Its model's short name, where a record tells.
    pub model: Option<String>,
    /// Such rows in segments, and in superseded tables whose rows stand nowhere else.
    pub rows: u64,
    /// What the files take up that hold them.
    pub bytes: u64,
    /// How many of them stay: all, or, where they may be dropped, those beside live ones in a segment, and the young.
    pub kept: u64,
    /// How many rows a second this embedder made, as its records tell.
    pub rate: Option<f64>,
}

impl OnlyCopies {
    /// What computing them again would take, in seconds.
    pub fn seconds(&self) -> Option<f64> {
        self.rate.map(|rate| self.rows as f64 / rate)
    }
}

/// The tables of vectors of one embedder.
#[derive(Default)]
struct Tables {
    live: BTreeSet<Digest>,
    superseded: BTreeMap<Digest, Vec<NodeKey>>,
}

/// Ascending row keys, by the element type of their vectors.
type Keys = BTreeMap<Dtype, Vec<RowKey>>;

/// Decides about tables and segments of vectors: superseded tables whose rows stand nowhere else are kept, and the segments
/// that go are returned.
pub(super) fn judge(
    store: &Store,
    live: &mut Live,
    drop: bool,
    sweep: &mut Sweep,
) -> Result<Vec<(PathBuf, u64)>, StoreError> {
    let mut tables = tables(live);
    let folders: BTreeMap<EmbedderKey, PathBuf> =
        store.embedders()?.into_iter().map(|(folder, embedder)| (embedder, folder)).collect();
    for embedder in folders.keys() {
        tables.entry(*embedder).or_default();
    }
    let mut going = Vec::new();
    for (embedder, tables) in &tables {
        let mut judged = Judged { drop, held: Keys::new(), copies: copies(*embedder, live), going: Vec::new() };
        for table in &tables.live {
            judged.hold_table(store, table)?;
        }
        judged.held.values_mut().for_each(tidy);
        judged.segments(folders.get(embedder), sweep)?;
        judged.held.values_mut().for_each(tidy);
        judged.tables(store, live, tables)?;
        going.append(&mut judged.going);
        if judged.copies.rows > 0 {
            sweep.plan.only_copies.push(judged.copies);
        }
    }
    Ok(going)
}

fn tidy(keys: &mut Vec<RowKey>) {
    keys.sort_unstable();
    keys.dedup();
}

fn embedder(record: &Record) -> Option<EmbedderKey> {
    record.facts.get("embedder")?.parse().ok()
}

fn tables(live: &Live) -> BTreeMap<EmbedderKey, Tables> {
    let mut tables: BTreeMap<EmbedderKey, Tables> = BTreeMap::new();
    let made = |record: &Record| Some((embedder(record)?, record.outputs.get("vectors")?.digest));
    for (embedder, table) in live.all_records().filter_map(made) {
        if live.holds(&table) {
            tables.entry(embedder).or_default().live.insert(table);
        }
    }
    for (_, record) in live.superseded() {
        if let Some((embedder, table)) = made(record).filter(|(_, table)| !live.holds(table)) {
            tables.entry(embedder).or_default().superseded.entry(table).or_default().push(record.key);
        }
    }
    tables
}

/// What is known of an embedder's rows before they are counted.
fn copies(key: EmbedderKey, live: &Live) -> OnlyCopies {
    let mine: Vec<&Record> = live.all_records().filter(|record| embedder(record) == Some(key)).collect();
    let model = mine.iter().find_map(|record| record.facts.get("model").cloned());
    let paces = || mine.iter().filter_map(|record| record.pace());
    let all = Pace { rows: paces().map(|pace| pace.rows).sum(), seconds: paces().map(|pace| pace.seconds).sum() };
    let rate = all.rate();
    OnlyCopies { embedder: key, model, rows: 0, bytes: 0, kept: 0, rate }
}

struct Judged {
    drop: bool,
    /// The rows of live tables first, then those of segments as well.
    held: Keys,
    copies: OnlyCopies,
    going: Vec<(PathBuf, u64)>,
}

impl Judged {
    fn hold_table(&mut self, store: &Store, table: &Digest) -> Result<(), StoreError> {
        // A live table that is gone is made again; until then it holds nothing.
        if !store.blob_path(table).exists() {
            return Ok(());
        }
        walk(store, table, |dtype, key| {
            self.held.entry(dtype).or_default().push(key);
        })
    }

    fn holds(&self, key: &RowKey, dtype: Dtype) -> bool {
        self.held.range(dtype..).any(|(_, keys)| keys.binary_search(key).is_ok())
    }

    /// Counts the rows of segments that no live table holds, and picks the segments that go.
    fn segments(&mut self, folder: Option<&PathBuf>, sweep: &Sweep) -> Result<(), StoreError> {
        let Some(folder) = folder else { return Ok(()) };
        let mut sealed = Keys::new();
        for path in list(folder)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "seg")) {
            // A damaged one holds nothing for sure. It is verify's to tell.
            let Ok(segment) = Segment::open(&path).and_then(|segment| segment.verify().map(|()| segment)) else {
                continue;
            };
            let rows = segment.header().rows;
            let is_live = |key: &RowKey| self.held.values().any(|keys| keys.binary_search(key).is_ok());
            let alone = (0..rows).filter(|row| !is_live(&segment.key(*row))).count();
            let (bytes, modified) = measured(&path).unwrap_or((0, sweep.before));
            self.copies.rows += alone as u64;
            self.copies.bytes += bytes * alone as u64 / rows.max(1) as u64;
            // Those of a segment that goes are counted here, so a table that has them too does not count them again.
            sealed.entry(segment.header().dtype).or_default().extend((0..rows).map(|row| segment.key(row)));
            if self.drop && alone == rows && modified <= sweep.before {
                self.going.push((path, bytes));
            } else {
                self.copies.kept += alone as u64;
            }
        }
        sealed.into_iter().for_each(|(dtype, keys)| self.held.entry(dtype).or_default().extend(keys));
        Ok(())
    }

    /// Keeps superseded tables with rows that stand nowhere else, unless such rows may be dropped.
    fn tables(&mut self, store: &Store, live: &mut Live, tables: &Tables) -> Result<(), StoreError> {
        for (table, makers) in &tables.superseded {
            let path = store.blob_path(table);
            let Some((bytes, _)) = measured(&path) else { continue };
            let (mut rows, mut lone) = (0, Keys::new());
            let walked = walk(store, table, |dtype, key| {
                rows += 1;
                if !self.holds(&key, dtype) {
                    lone.entry(dtype).or_default().push(key);
                }
            });
            lone.values_mut().for_each(tidy);
            let alone = lone.values().map(|keys| keys.len() as u64).sum::<u64>();
            // A table that cannot be read holds nothing that could be used.
            if walked.is_err() || alone == 0 {
                continue;
            }
            // The next table with such a row is not its only copy.
            for (dtype, mut keys) in lone {
                let held = self.held.entry(dtype).or_default();
                held.append(&mut keys);
                tidy(held);
            }
            self.copies.rows += alone;
            self.copies.bytes += bytes * alone / rows;
            if !self.drop {
                self.copies.kept += alone;
                makers.iter().for_each(|key| live.keep(key));
            }
        }
        Ok(())
    }
}

/// Walks the row keys of a table of vectors, each with the element type of its vector.
fn walk(store: &Store, table: &Digest, mut each: impl FnMut(Dtype, RowKey)) -> Result<(), StoreError> {
    let damaged = |detail: &str| StoreError::damaged(&store.blob_path(table), detail);
    for batch in store.read_ipc_batches(table)? {
        let batch = batch?;
        let vectors = batch.column_by_name(EMBEDDING).and_then(|column| column.as_fixed_size_list_opt());
        let dtype = match vectors.map(|vectors| vectors.value_type()) {
            Some(DataType::Float16) => Dtype::F16,
            Some(DataType::Float32) => Dtype::F32,
            _ => return Err(damaged("it has no column of vectors")),
        };
        let keys = batch.column_by_name("row_key").and_then(|column| column.as_fixed_size_binary_opt());
        let keys = keys.ok_or_else(|| damaged("it has no column of row keys"))?;
        for key in keys.iter().flatten() {
            let key: [u8; RowKey::LEN] = key.try_into().map_err(|_| damaged("its row keys have another length"))?;
            each(dtype, RowKey::from_bytes(key));
        }
    }
    Ok(())
}

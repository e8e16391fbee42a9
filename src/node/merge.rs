//! merge: several sets become one dataset, streamed set by set in the order of the matrix.
//!
//! ```text
//! key indexes, walked together -> which rows are superseded -> their table, and a bit for each
//! vectors, batch by batch      -> less those rows           -> embeddings and bibcodes
//! key indexes, walked again    -> each winner's new row     -> the new key index
//! ```
//!
//! Every set comes with an index that gives its bibcodes in order, so nothing is sorted here and no bibcode is held:
//! memory is a batch of vectors and a bit a row, however many sets there are. Of a bibcode that several sets hold the
//! last one counts, as a later line does in `load.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use serde::Deserialize;
use serde_json::{Value, json};

use super::left_out::LeftOut;
use super::set::{self, SetFiles, SetIdentity, SetWriter};
use super::{Context, Made, NodeError, removed, view};
use crate::digest::NodeKey;
use crate::event::Unit;
use crate::index::keys::{self, Holder, KeyIndex, KeyWriter};
use crate::manifest::config::Dtype;
use crate::pool::Panicked;
use crate::record::Output;
use crate::store::StoreError;
use crate::store::parquet::ParquetWriter;
use crate::table;

/// Superseded rows buffered before they are written, and bibcodes walked before somebody is asked whether to stop.
const BUFFER_ROWS: usize = 4096;

/// One of the sets that are merged, as its record names its files.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its description.
    pub manifest: Output,
    /// Its vectors.
    pub embeddings: Output,
    /// Its list of bibcodes.
    pub bibcodes: Output,
    /// Its key index.
    pub keys: Output,
}

/// What a merged set is made of.
pub struct MergeInputs<'a> {
    /// The set's digest, which is the step's key.
    pub set: NodeKey,
    /// The dataset's name: label and cells.
    pub name: &'a str,
    /// The label in it.
    pub label: &'a str,
    /// The cells of the step.
    pub cells: &'a BTreeMap<String, String>,
    /// The sets, in the order of the matrix.
    pub parts: &'a [Part],
    /// Whether the vectors stay where they are.
    pub view: bool,
    /// The bibcodes of the set that this one follows, if it is known.
    pub previous: Option<&'a Output>,
}

/// Builds the keyed files of a merged set, and the table of rows that were superseded.
///
/// # Errors
/// [`NodeError::Mixed`] if the sets come from different embedders; whatever the store gives.
pub fn run(context: &Context, inputs: &MergeInputs) -> Result<Made, NodeError> {
    let sets: Vec<Description> = inputs.parts.iter().map(|part| described(context, part)).collect::<Result<_, _>>()?;
    let identity = identity(inputs, &sets)?;
    let indexes = sets.iter().zip(inputs.parts).map(|(says, part)| index(context, says, part));
    let indexes: Vec<KeyIndex> = indexes.collect::<Result<_, _>>()?;
    let Assembled { files, left_out, superseded } = std::thread::scope(|threads| {
        let sound = threads.spawn(|| verify(context, inputs.parts));
        let assembled = assemble(context, inputs, &identity, &sets, &indexes);
        // What damage led to is not what should be told.
        joined(sound)?;
        assembled
    })?;
    let origin = origin(inputs, &sets, &left_out);
    let mut made = set::finish(context, &identity, &files, origin)?;
    removed::tell(context, inputs.previous, &files, &mut made)?;
    made.count("rows_in", sets.iter().map(|says| says.rows).sum());
    made.count("sets", sets.len() as u64);
    made.count("rejected", superseded.rows);
    made.count("rejected.superseded", superseded.rows);
    made.outputs.insert(table::SUPERSEDED.into(), superseded);
    Ok(made)
}

/// What the manifest tells of the sets. Of a view also where each begins, which readers go by.
fn origin(inputs: &MergeInputs, sets: &[Description], left_out: &[LeftOut]) -> Vec<(&'static str, Value)> {
    let mut parts = Vec::with_capacity(sets.len());
    let mut offset = 0;
    for ((says, part), left_out) in sets.iter().zip(inputs.parts).zip(left_out) {
        let mut told = json!({
            "dataset": says.dataset,
            "set": says.set,
            "manifest": part.manifest.digest,
            "rows": says.rows,
            "superseded": left_out.total(),
        });
        if inputs.view {
            told["offset"] = json!(offset);
        }
        offset += says.rows;
        parts.push(told);
    }
    let view = inputs.view.then_some(("view", json!(true)));
    std::iter::once(("parts", json!(parts))).chain(view).collect()
}

/// What is made of the sets.
struct Assembled {
    files: SetFiles,
    left_out: Vec<LeftOut>,
    superseded: Output,
}

fn assemble(
    context: &Context,
    inputs: &MergeInputs,
    identity: &SetIdentity,
    sets: &[Description],
    indexes: &[KeyIndex],
) -> Result<Assembled, NodeError> {
    let (left_out, superseded) = superseded(context, sets, indexes)?;
    let files = if inputs.view {
        let keys = write_keys(context, &inputs.set, indexes, &left_out, &view::rows(&left_out))?;
        view::files(context, identity, sets, inputs.parts, keys)?
    } else {
        copied(context, inputs, identity, indexes, &left_out)?
    };
    Ok(Assembled { files, left_out, superseded })
}

fn copied(
    context: &Context,
    inputs: &MergeInputs,
    identity: &SetIdentity,
    indexes: &[KeyIndex],
    left_out: &[LeftOut],
) -> Result<SetFiles, NodeError> {
    // The one waits for memory and disk, the other for the processor.
    std::thread::scope(|threads| {
        let keys = threads.spawn(|| write_keys(context, &inputs.set, indexes, left_out, &kept_rows(left_out)));
        let rows = threads.spawn(|| write_rows(context, identity, inputs.parts, left_out));
        let (rows, keys) = (joined(rows)?, joined(keys)?);
        Ok(SetFiles::own(identity, rows, keys))
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, NodeError>>) -> Result<T, NodeError> {
    thread.join().unwrap_or(Err(Panicked.into()))
}

/// Checks that the vectors are those that the manifests name.
fn verify(context: &Context, parts: &[Part]) -> Result<(), NodeError> {
    parts.iter().try_for_each(|part| {
        context.check_cancel()?;
        Ok(context.store.verify_blob(&part.embeddings)?)
    })
}

/// What the manifest of a set says, as far as merging needs it.
#[derive(Deserialize)]
pub(super) struct Description {
    pub dataset: String,
    set: NodeKey,
    model: Option<String>,
    embedder: Option<String>,
    embedder_ingredients: BTreeMap<String, String>,
    dim: usize,
    dtype: Dtype,
    rows: u64,
    bit_stable: bool,
}

fn described(context: &Context, part: &Part) -> Result<Description, NodeError> {
    let manifest = context.store.map_blob(&part.manifest.digest)?;
    let path = context.store.blob_path(&part.manifest.digest);
    Ok(serde_json::from_slice(&manifest).map_err(|error| StoreError::damaged(&path, error))?)
}

/// Opens the key index of a set. One that lacks rows would drop them unseen.
fn index(context: &Context, says: &Description, part: &Part) -> Result<KeyIndex, NodeError> {
    let path = context.store.blob_path(&part.keys.digest);
    let keys = KeyIndex::open(&path)?;
    if keys.len() as u64 == says.rows && keys.set() == says.set {
        return Ok(keys);
    }
    Err(StoreError::damaged(&path, format!("it is not the index of the {} rows of set {}", says.rows, says.set)).into())
}

/// What all sets have in common. The first that differs from the first one is an error.
fn identity<'a>(inputs: &'a MergeInputs, sets: &'a [Description]) -> Result<SetIdentity<'a>, NodeError> {
    let Some(first) = sets.first() else {
        return Err(NodeError::table("dataset", "a merge has no sets"));
    };
    for says in sets {
        if let Some(difference) = difference(first, says) {
            let datasets = format!("{} with {}", says.dataset, first.dataset);
            return Err(NodeError::Mixed { datasets, difference });
        }
    }
    let ingredients = first.embedder_ingredients.iter();
    Ok(SetIdentity {
        set: inputs.set,
        name: inputs.name,
        label: inputs.label,
        cells: inputs.cells,
        dim: first.dim,
        dtype: first.dtype,
        model: first.model.as_deref(),
        embedder: first.embedder.as_deref(),
        ingredients: ingredients.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        bit_stable: sets.iter().all(|says| says.bit_stable),
    })
}

/// What keeps two sets from being one: each ingredient with both its values.
fn difference(first: &Description, other: &Description) -> Option<String> {
    let differing = |what: &str, mine: Option<&str>, theirs: Option<&str>| {
        let shown = |value: Option<&str>| value.unwrap_or("(none)").to_owned();
        let (mine, theirs) = (shown(mine), shown(theirs));
        (mine != theirs).then(|| format!("{what} is {theirs} in {} and {mine} in {}", other.dataset, first.dataset))
    };
    let (mine, theirs) = (&first.embedder_ingredients, &other.embedder_ingredients);
    let names: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
    let value = |of: &'_ BTreeMap<String, String>, name: &String| of.get(name).cloned();
    let mut told: Vec<String> = names
        .into_iter()
        .filter_map(|name| {
            differing(&format!("embedder.{name}"), value(mine, name).as_deref(), value(theirs, name).as_deref())
        })
        .collect();
    if told.is_empty() {
        told.extend(differing("embedder", first.embedder.as_deref(), other.embedder.as_deref()));
    }
    told.extend(differing("dtype", Some(&first.dtype.to_string()), Some(&other.dtype.to_string())));
    // The dim is an ingredient; it is told by itself only where ingredients do not say it.
    if told.is_empty() {
        told.extend(differing("dim", Some(&first.dim.to_string()), Some(&other.dim.to_string())));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// Finds the rows whose bibcode a later set holds too: a bit for each, and a table of them in the order of bibcodes.
fn superseded(
    context: &Context,
    sets: &[Description],
    indexes: &[KeyIndex],
) -> Result<(Vec<LeftOut>, Output), NodeError> {
    let rows = |set: &Description| usize::try_from(set.rows).expect("its rows were counted in a file in memory");
    let mut left_out: Vec<LeftOut> = sets.iter().map(|set| LeftOut::none(rows(set))).collect();
    let mut table = Losers { sets, writer: context.store.new_parquet(table::superseded())?, buffer: Vec::new() };
    let mut walked = 0;
    keys::walk(indexes, |bibcode, holders| {
        walked += 1;
        if walked % BUFFER_ROWS == 0 {
            context.check_cancel()?;
        }
        let Some((winner, losers)) = holders.split_last() else { return Ok(()) };
        for loser in losers {
            left_out[loser.index].add(row(loser, sets)?);
            table.push(bibcode, *loser, winner.index)?;
        }
        Ok::<_, NodeError>(())
    })?;
    left_out.iter_mut().for_each(LeftOut::count);
    Ok((left_out, table.finish()?))
}

/// The row of a holder, if its set has it.
fn row(holder: &Holder, sets: &[Description]) -> Result<usize, NodeError> {
    let set = &sets[holder.index];
    let row = usize::try_from(holder.row).ok().filter(|_| holder.row < set.rows);
    row.ok_or_else(|| NodeError::table("keys", format!("{} has no row {}", set.dataset, holder.row)))
}

/// Writes the table of superseded rows.
struct Losers<'a> {
    sets: &'a [Description],
    writer: ParquetWriter,
    /// Bibcode, where it lost, and the set that won.
    buffer: Vec<(String, Holder, usize)>,
}

impl Losers<'_> {
    fn push(&mut self, bibcode: &[u8], loser: Holder, winner: usize) -> Result<(), NodeError> {
        self.buffer.push((String::from_utf8_lossy(bibcode).into_owned(), loser, winner));
        if self.buffer.len() == BUFFER_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), NodeError> {
        let rows = std::mem::take(&mut self.buffer);
        let name = |index: usize| self.sets[index].dataset.as_str();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(bibcode, ..)| bibcode))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, loser, _)| name(loser.index)))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(_, loser, _)| loser.row))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(.., winner)| name(*winner)))),
        ];
        let batch = RecordBatch::try_new(table::superseded(), columns).map_err(NodeError::arrow("superseded"))?;
        Ok(self.writer.write(batch)?)
    }

    fn finish(mut self) -> Result<Output, NodeError> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        Ok(self.writer.finish()?)
    }
}

/// Streams the rows that are left, in order, into the embeddings and the list of bibcodes.
fn write_rows(
    context: &Context,
    identity: &SetIdentity,
    parts: &[Part],
    left_out: &[LeftOut],
) -> Result<(Output, Output), NodeError> {
    let total = parts.iter().map(|part| part.embeddings.rows).sum();
    let mut writer = SetWriter::new(context, identity)?;
    let mut done = 0;
    for (part, left_out) in parts.iter().zip(left_out) {
        let mut row = 0;
        for batch in context.store.read_ipc_batches(&part.embeddings.digest)? {
            let batch = batch?;
            let rows = row..row + batch.num_rows();
            row = rows.end;
            if rows.end > left_out.rows() {
                return Err(NodeError::table("dataset", format!("it has more than {} rows", left_out.rows())));
            }
            done += batch.num_rows() as u64;
            let first = rows.start;
            let kept = left_out.kept(rows).map(|run| run.start - first..run.end - first);
            writer.push(batch.columns().to_vec(), kept)?;
            (context.progress)(done, Some(total), Unit::Rows);
        }
    }
    writer.finish()
}

/// Where a set's rows are in a copy: one below the other, less those left out.
fn kept_rows(left_out: &[LeftOut]) -> impl Fn(usize, usize) -> u64 {
    let kept = |set: &LeftOut| set.rows() - set.total();
    let before: Vec<usize> = std::iter::once(0).chain(left_out.iter().map(kept).scan(0, running_sum)).collect();
    move |set, row| (before[set] + row - left_out[set].within(&(0..row))) as u64
}

/// For use with `scan`.
pub(super) fn running_sum(sum: &mut usize, next: usize) -> Option<usize> {
    *sum += next;
    Some(*sum)
}

/// Writes the key index: each bibcode's winner, at the row that it has now, which `row` knows of a set's row.
fn write_keys(
    context: &Context,
    set: &NodeKey,
    indexes: &[KeyIndex],
    left_out: &[LeftOut],
    row: &dyn Fn(usize, usize) -> u64,
) -> Result<Output, NodeError> {
    let failed = |error| StoreError::write(context.store.root(), error);
    let mut writer = KeyWriter::new(context.store.new_blob()?).map_err(failed)?;
    let mut walked = 0;
    keys::walk(indexes, |bibcode, holders| {
        walked += 1;
        if walked % BUFFER_ROWS == 0 {
            context.check_cancel()?;
        }
        let Some(winner) = holders.last() else { return Ok(()) };
        let own = usize::try_from(winner.row).unwrap_or(usize::MAX);
        if own >= left_out[winner.index].rows() {
            return Err(NodeError::table("keys", format!("a set has no row {own}")));
        }
        Ok(writer.insert(bibcode, row(winner.index, own)).map_err(failed)?)
    })?;
    Ok(writer.finish(set).map_err(failed)?.finish(walked as u64)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use arrow::array::AsArray;
    use arrow::datatypes::Float32Type;

    use super::*;
    use crate::digest::{Digest, MetadataDigest, RowKey};
    use crate::graph::{bibcodes_file, embeddings_file, keys_file, manifest_file};
    use crate::node::gather::vectors_array;
    use crate::store::Store;

    const DIM: usize = 3;

    struct World {
        _dir: tempfile::TempDir,
        store: Store,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::create(dir.path()).unwrap();
            Self { _dir: dir, store }
        }

        fn with<T>(&self, work: impl FnOnce(&Context) -> T) -> T {
            let (cancel, progress, note, detail) = (AtomicBool::new(false), |_, _, _| {}, |_| {}, |_| {});
            let base = Path::new(".");
            work(&Context {
                store: &self.store,
                base,
                cancel: &cancel,
                progress: &progress,
                note: &note,
                detail: &detail,
            })
        }

        /// A set of these bibcodes; each vector's components are `value`, and its rows arrive in batches of `step`.
        fn set(&self, name: &str, pooling: &str, rows: &[String], value: f32, step: usize) -> Part {
            let (cells, set) = (BTreeMap::new(), NodeKey::from_bytes(*Digest::of(name.as_bytes()).as_bytes()));
            let identity = SetIdentity {
                set,
                name,
                label: "m",
                cells: &cells,
                dim: DIM,
                dtype: Dtype::F32,
                model: Some("fake"),
                embedder: Some(pooling),
                ingredients: BTreeMap::from([("dim", "3"), ("pooling", pooling)]),
                bit_stable: true,
            };
            let made = self.with(|context| {
                let mut writer = SetWriter::new(context, &identity).unwrap();
                rows.chunks(step)
                    .for_each(|rows| writer.push(columns(rows, value), std::iter::once(0..rows.len())).unwrap());
                let written = writer.finish().unwrap();
                let mut names: Vec<(&str, u32)> = rows.iter().map(String::as_str).zip(0..).collect();
                let keys = keys::write(self.store.new_blob().unwrap(), &mut names, &set).unwrap().finish(0).unwrap();
                set::finish(context, &identity, &SetFiles::own(&identity, written, keys), vec![]).unwrap()
            });
            part(&made, name)
        }

        fn merge(&self, parts: &[Part]) -> Result<Made, NodeError> {
            let (set, cells) = (NodeKey::from_bytes([9; 32]), BTreeMap::new());
            self.with(|context| {
                let inputs =
                    MergeInputs { set, name: "m", label: "m", cells: &cells, parts, view: false, previous: None };
                run(context, &inputs)
            })
        }

        /// Bibcode and first component of every row, read from the files and looked up in the index.
        fn rows(&self, made: &Made) -> Vec<(String, f32)> {
            let part = part(made, "m");
            let table = self.store.read_ipc(&part.embeddings.digest).unwrap();
            let index = KeyIndex::open(&self.store.blob_path(&part.keys.digest)).unwrap();
            let mut rows = Vec::new();
            for batch in table.batches() {
                let vectors = batch[table::EMBEDDING].as_fixed_size_list();
                for (at, bibcode) in batch[table::BIBCODE].as_string::<i32>().iter().enumerate() {
                    let bibcode = bibcode.unwrap().to_owned();
                    assert_eq!(index.row(&bibcode), Some(rows.len()));
                    rows.push((bibcode, vectors.value(at).as_primitive::<Float32Type>().value(0)));
                }
            }
            assert_eq!(index.len(), rows.len());
            let listed = std::fs::read_to_string(self.store.blob_path(&made.outputs["bibcodes_m.txt"].digest)).unwrap();
            assert!(listed.lines().eq(rows.iter().map(|(bibcode, _)| bibcode)));
            rows
        }
    }

    fn part(made: &Made, name: &str) -> Part {
        let output = |file: &String| made.outputs[file];
        Part {
            manifest: output(&manifest_file(name)),
            embeddings: output(&embeddings_file(name, Dtype::F32)),
            bibcodes: output(&bibcodes_file(name)),
            keys: output(&keys_file(name)),
        }
    }

    fn columns(rows: &[String], value: f32) -> Vec<ArrayRef> {
        let bytes: Vec<u8> = std::iter::repeat_n(value.to_le_bytes(), rows.len() * DIM).flatten().collect();
        let binary = |len: usize| {
            let values = rows.iter().map(|row| Digest::of(row.as_bytes()).as_bytes()[..len].to_vec());
            arrow::array::FixedSizeBinaryArray::try_from_iter(values).unwrap()
        };
        vec![
            Arc::new(StringArray::from_iter_values(rows)),
            Arc::new(vectors_array(bytes, rows.len(), DIM, Dtype::F32).unwrap()),
            Arc::new(binary(MetadataDigest::LEN)),
            Arc::new(binary(RowKey::LEN)),
        ]
    }

    fn bibcodes(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_later_set_wins_and_each_loser_is_listed() {
        let world = World::new();
        let parts = [
            world.set("m_2010", "mean", &bibcodes(&["c", "a", "x"]), 0.0, 9),
            world.set("m_2011", "mean", &bibcodes(&["b", "x", "a"]), 1.0, 9),
            world.set("m_2012", "mean", &bibcodes(&["x", "d"]), 2.0, 9),
        ];
        let made = world.merge(&parts).unwrap();
        let row = |bibcode: &str, value| (bibcode.to_owned(), value);
        assert_eq!(world.rows(&made), [row("c", 0.0), row("b", 1.0), row("a", 1.0), row("x", 2.0), row("d", 2.0)]);
        assert_eq!((made.counts["rows_in"], made.counts["rows"], made.counts["rejected.superseded"]), (8, 5, 3));
        let mut listed = world.store.read_parquet(&made.outputs[table::SUPERSEDED].digest).unwrap();
        let listed = listed.next().unwrap().unwrap();
        let text = |column: &str, at| listed[column].as_string::<i32>().value(at).to_owned();
        let told: Vec<String> = (0..listed.num_rows())
            .map(|at| {
                let row = listed["row"].as_primitive::<arrow::datatypes::UInt64Type>().value(at);
                format!("{} {}:{row} < {}", text("bibcode", at), text("dataset", at), text("winner", at))
            })
            .collect();
        assert_eq!(told, ["a m_2010:1 < m_2011", "x m_2010:2 < m_2012", "x m_2011:1 < m_2012"]);
    }

    /// Sets that end in the middle of a batch, and rows left out on both sides of its end.
    #[test]
    fn rows_are_batched_anew_and_how_they_came_does_not_show() {
        let world = World::new();
        let years = |from: usize, to: usize| (from..to).map(|n| format!("{n:06}")).collect::<Vec<String>>();
        let merged = |step: usize| {
            let first = world.set("m_2010", "mean", &years(0, 70_000), 0.0, step);
            let second = world.set("m_2011", "mean", &years(65_530, 140_000), 1.0, step);
            world.merge(&[first, second]).unwrap()
        };
        let made = merged(70_000);
        assert_eq!(made, merged(999));
        let rows = world.rows(&made);
        assert_eq!(rows.len(), 140_000);
        assert!(rows.iter().enumerate().all(|(n, row)| *row == (format!("{n:06}"), f32::from(u8::from(n >= 65_530)))));
    }

    #[test]
    fn a_merge_can_be_merged_and_none_stays_none() {
        let world = World::new();
        let empty = world.set("m_2009", "mean", &[], 0.0, 9);
        let made = world.merge(&[empty.clone(), empty]).unwrap();
        assert!(world.rows(&made).is_empty());
        let year = world.set("m_2010", "mean", &bibcodes(&["a"]), 1.0, 9);
        let made = world.merge(&[part(&made, "m"), year]).unwrap();
        assert_eq!(world.rows(&made), [("a".to_owned(), 1.0)]);
    }

    #[test]
    fn other_embedders_are_refused_by_what_differs() {
        let world = World::new();
        let parts = [
            world.set("m_2010", "mean", &bibcodes(&["a"]), 0.0, 9),
            world.set("m_2011", "cls", &bibcodes(&["b"]), 0.0, 9),
        ];
        let error = world.merge(&parts).unwrap_err();
        assert_eq!(error.to_string(), "merge m_2011 with m_2010: embedder.pooling is cls in m_2011 and mean in m_2010");
    }
}

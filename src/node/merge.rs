//! merge: several sets become one dataset, streamed set by set in the order of the matrix.
//!
//! ```text
//! key indexes, walked together -> which rows are left out -> their table, and a bit for each
//! vectors, batch by batch      -> less those rows         -> embeddings and bibcodes
//! key indexes, walked again    -> each winner's new row   -> the new key index
//! ```
//!
//! Every set comes with an index that gives its bibcodes and aliases in order, so nothing is sorted here and no bibcode is
//! held but those that an alias claims: memory is a batch of vectors and a bit a row, however many sets there are. Of a
//! bibcode that several sets hold the last one counts, as a later line does in `load.rs`; a row whose bibcode is another
//! row's alias gives way to it. `superseded.rs` finds both.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::ScopedJoinHandle;

use serde::Deserialize;
use serde_json::{Value, json};

use super::left_out::LeftOut;
use super::set::{self, Keys, SetFiles, SetIdentity, SetWriter};
use super::superseded::{BUFFER_ROWS, Superseded};
use super::{Context, Made, NodeError, Previous, removed, view};
use crate::digest::NodeKey;
use crate::encoding::SetDtype;
use crate::event::Unit;
use crate::index::keys::{self, Found, Holder, KeyIndex, KeyWriter};
use crate::pool::Panicked;
use crate::record::Output;
use crate::store::StoreError;
use crate::table;

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
    /// The set that this one follows, if it is known.
    pub previous: Option<&'a Previous>,
}

/// Builds the keyed files of a merged set, and the table of rows that were left out.
///
/// # Errors
/// [`NodeError::Mixed`] if the sets come from different embedders; whatever the store gives.
pub fn run(context: &Context, inputs: &MergeInputs) -> Result<Made, NodeError> {
    let sets: Vec<Description> = inputs.parts.iter().map(|part| described(context, part)).collect::<Result<_, _>>()?;
    let identity = identity(inputs, &sets)?;
    let indexes = sets.iter().zip(inputs.parts).map(|(says, part)| index(context, says, part));
    let indexes: Vec<KeyIndex> = indexes.collect::<Result<_, _>>()?;
    let (files, superseded) = std::thread::scope(|threads| {
        let sound = threads.spawn(|| verify(context, inputs.parts));
        let assembled = assemble(context, inputs, &identity, &sets, &indexes);
        // What damage led to is not what should be told.
        joined(sound)?;
        assembled
    })?;
    let origin = origin(inputs, &sets, &superseded.left_out);
    let mut made = set::finish(context, &identity, &files, origin)?;
    removed::tell(context, inputs.previous, &files, &mut made)?;
    made.count("rows_in", sets.iter().map(|says| says.rows).sum());
    made.count("sets", sets.len() as u64);
    let Superseded { table, by_alias, .. } = superseded;
    made.count("rejected", table.rows);
    made.count("rejected.superseded", table.rows - by_alias);
    if by_alias > 0 {
        made.count("rejected.alias", by_alias);
    }
    made.outputs.insert(table::SUPERSEDED.into(), table);
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

fn assemble(
    context: &Context,
    inputs: &MergeInputs,
    identity: &SetIdentity,
    sets: &[Description],
    indexes: &[KeyIndex],
) -> Result<(SetFiles, Superseded), NodeError> {
    let superseded = Superseded::find(context, sets, inputs.parts, indexes)?;
    let files = if inputs.view {
        let keys = write_keys(context, &inputs.set, indexes, &superseded, &view::rows(&superseded.left_out))?;
        view::files(context, identity, sets, inputs.parts, keys)?
    } else {
        copied(context, inputs, identity, indexes, &superseded)?
    };
    Ok((files, superseded))
}

fn copied(
    context: &Context,
    inputs: &MergeInputs,
    identity: &SetIdentity,
    indexes: &[KeyIndex],
    superseded: &Superseded,
) -> Result<SetFiles, NodeError> {
    let left_out = superseded.left_out.as_slice();
    // The one waits for memory and disk, the other for the processor.
    std::thread::scope(|threads| {
        let keys = threads.spawn(|| write_keys(context, &inputs.set, indexes, superseded, &kept_rows(left_out)));
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
    dtype: SetDtype,
    pub rows: u64,
    #[serde(default)]
    aliases: u64,
    bit_stable: bool,
}

fn described(context: &Context, part: &Part) -> Result<Description, NodeError> {
    let manifest = context.store.map_blob(&part.manifest.digest)?;
    let path = context.store.blob_path(&part.manifest.digest);
    Ok(serde_json::from_slice(&manifest).map_err(|error| StoreError::damaged(&path, error))?)
}

/// Opens the key index of a set. One that lacks rows would drop them unseen, and one that lacks aliases would keep papers
/// twice.
fn index(context: &Context, says: &Description, part: &Part) -> Result<KeyIndex, NodeError> {
    let path = context.store.blob_path(&part.keys.digest);
    let keys = KeyIndex::open_checked(&path)?;
    let Description { dataset: _, set, rows, aliases, .. } = says;
    if (keys.set(), keys.len() as u64) != (*set, *rows) {
        return Err(StoreError::damaged(&path, format!("it is not the index of the {rows} rows of set {set}")).into());
    }
    if keys.aliases() as u64 != *aliases {
        return Err(StoreError::damaged(&path, format!("it has not the {aliases} aliases of set {set}")).into());
    }
    Ok(keys)
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

/// Writes the key index: each bibcode's winner, and each alias' row, at the row that it has now, which `row` knows of a
/// set's row.
fn write_keys(
    context: &Context,
    set: &NodeKey,
    indexes: &[KeyIndex],
    superseded: &Superseded,
    row: &dyn Fn(usize, usize) -> u64,
) -> Result<Keys, NodeError> {
    let failed = |error| StoreError::write(context.store.root(), error);
    let now = |holder: &Holder| row(holder.index, usize::try_from(holder.row).expect("it was found in memory"));
    let mut writer = KeyWriter::new(context.store.new_blob()?).map_err(failed)?;
    let mut rows = 0;
    walk(context, indexes, |bibcode, found| {
        let Some(winner) = found.holders.last().filter(|winner| !superseded.is_left_out(winner)) else { return Ok(()) };
        rows += 1;
        Ok(writer.insert(bibcode, now(winner)).map_err(failed)?)
    })?;
    if indexes.iter().all(|index| index.aliases() == 0) {
        return Ok(Keys { file: writer.finish(set).map_err(failed)?.finish(rows)?, aliases: 0 });
    }
    let mut writer = writer.aliases().map_err(failed)?;
    walk(context, indexes, |alias, found| {
        // One that is the bibcode of a row that stays leads there already: it is claimed by itself, or by nobody who counts.
        if found.holders.last().is_some_and(|winner| !superseded.is_left_out(winner)) {
            return Ok(());
        }
        let stand = found.claims.iter().filter_map(|claim| superseded.stands_for(claim));
        let mut rows: Vec<u64> = stand.map(|stands| now(&stands)).collect();
        rows.sort_unstable();
        rows.dedup();
        Ok(writer.insert(alias, &rows).map_err(failed)?)
    })?;
    let aliases = writer.written();
    Ok(Keys { file: writer.finish(set).map_err(failed)?.finish(rows)?, aliases })
}

/// Walks the indexes, and asks from time to time whether to stop.
fn walk(
    context: &Context,
    indexes: &[KeyIndex],
    mut each: impl FnMut(&[u8], Found) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    let mut walked = 0;
    keys::walk(indexes, |name, found| {
        walked += 1;
        if walked % BUFFER_ROWS == 0 {
            context.check_cancel()?;
        }
        each(name, found)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
    use arrow::datatypes::{Float32Type, UInt64Type};
    use proptest::prelude::*;

    use super::*;
    use crate::digest::{Digest, MetadataDigest, RowKey};
    use crate::graph::{bibcodes_file, embeddings_file, keys_file, manifest_file};
    use crate::index::keys::Alias;
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
            self.claiming(name, pooling, rows, &[], value, step)
        }

        /// The same, with aliases of some rows.
        fn claiming(
            &self,
            name: &str,
            pooling: &str,
            rows: &[String],
            aliases: &[(Alias, u32)],
            value: f32,
            step: usize,
        ) -> Part {
            let (cells, set) = (BTreeMap::new(), NodeKey::from_bytes(*Digest::of(name.as_bytes()).as_bytes()));
            let identity = SetIdentity {
                set,
                name,
                label: "m",
                cells: &cells,
                dim: DIM,
                dtype: SetDtype::F32,
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
                let mut aliases = aliases.to_vec();
                let keys = keys::write(self.store.new_blob().unwrap(), &mut names, &mut aliases, &set).unwrap();
                let keys = Keys { file: keys.0.finish(0).unwrap(), aliases: keys.1 };
                set::finish(context, &identity, &SetFiles::own(&identity, written, keys), vec![]).unwrap()
            });
            part(&made, name)
        }

        /// A set of these papers, each with its aliases. Names of one letter become bibcodes.
        fn papers(&self, name: &str, papers: &[(char, &str)]) -> Part {
            let rows: Vec<String> = papers.iter().map(|(letter, _)| bibcode(*letter)).collect();
            let of_row = |(row, (_, aliases)): (u32, &(char, &str))| -> Vec<(Alias, u32)> {
                aliases.chars().map(|alias| (bibcode(alias).as_bytes().try_into().unwrap(), row)).collect()
            };
            let aliases: Vec<(Alias, u32)> = (0..).zip(papers).flat_map(of_row).collect();
            self.claiming(name, "mean", &rows, &aliases, 0.0, 9)
        }

        fn merge(&self, parts: &[Part]) -> Result<Made, NodeError> {
            self.merged(parts, false)
        }

        fn merged(&self, parts: &[Part], view: bool) -> Result<Made, NodeError> {
            let (set, cells) = (NodeKey::from_bytes([9; 32]), BTreeMap::new());
            self.with(|context| {
                let inputs = MergeInputs { set, name: "m", label: "m", cells: &cells, parts, view, previous: None };
                run(context, &inputs)
            })
        }

        fn index(&self, made: &Made) -> KeyIndex {
            KeyIndex::open(&self.store.blob_path(&made.outputs["keys_m.fst"].digest)).unwrap()
        }

        fn lines(&self, made: &Made) -> Vec<String> {
            let path = self.store.blob_path(&made.outputs["bibcodes_m.txt"].digest);
            std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
        }

        /// The rows that were left out: `bibcode dataset:row < winner`, and `as` what if by alias.
        fn listed(&self, made: &Made) -> Vec<String> {
            let mut told = Vec::new();
            for batch in self.store.read_parquet(&made.outputs[table::SUPERSEDED].digest).unwrap() {
                let batch = batch.unwrap();
                let text = |column: &str, at| batch[column].as_string::<i32>().value(at).to_owned();
                for at in 0..batch.num_rows() {
                    let row = batch["row"].as_primitive::<UInt64Type>().value(at);
                    let line =
                        format!("{} {}:{row} < {}", text("bibcode", at), text("dataset", at), text("winner", at));
                    let alias_of = batch.column_by_name(table::ALIAS_OF).filter(|papers| papers.is_valid(at));
                    told.push(alias_of.map_or(line.clone(), |_| format!("{line} as {}", text(table::ALIAS_OF, at))));
                }
            }
            told
        }

        /// Asserts which papers stay, in order, and what is listed, both in letters; and that every name which is told
        /// leads to the row of a paper, in a copy and in a view.
        fn assert_merged(&self, parts: &[Part], stays: &str, listed: &[&str], names: &[(char, char)]) -> Made {
            let made = self.merge(parts).unwrap();
            assert_eq!(self.lines(&made), stays.chars().map(bibcode).collect::<Vec<_>>());
            let letters = |line: &String| line.split(' ').map(letter).collect::<Vec<_>>().join(" ");
            assert_eq!(self.listed(&made).iter().map(letters).collect::<Vec<_>>(), listed);
            for made in [&made, &self.merged(parts, true).unwrap()] {
                let (index, lines) = (self.index(made), self.lines(made));
                assert_eq!((index.len(), index.aliases()), (stays.len(), names.len()));
                assert!(stays.chars().all(|own| lines[index.row(&bibcode(own)).unwrap().unwrap()] == bibcode(own)));
                for (name, paper) in names {
                    assert_eq!(index.row(&bibcode(*name)).unwrap(), None, "{name}");
                    assert_eq!(lines[index.row_of_alias(&bibcode(*name)).unwrap().unwrap()], bibcode(*paper), "{name}");
                }
                let count = |name: &str| made.counts.get(name).copied().unwrap_or(0);
                assert_eq!(count("rows_in"), count("rows") + count("rejected"));
                assert_eq!(count("rejected"), count("rejected.superseded") + count("rejected.alias"));
                assert_eq!((count("rows"), count("rejected")), (stays.len() as u64, listed.len() as u64));
                assert_eq!(count("aliases"), names.len() as u64);
            }
            made
        }

        /// Bibcode and first component of every row, read from the files and looked up in the index.
        fn rows(&self, made: &Made) -> Vec<(String, f32)> {
            let part = part(made, "m");
            let table = self.store.read_ipc(&part.embeddings.digest).unwrap();
            let index = KeyIndex::open(&self.store.blob_path(&part.keys.digest)).unwrap();
            let mut rows = Vec::new();
            for batch in table.batches().map(Result::unwrap) {
                let vectors = batch[table::EMBEDDING].as_fixed_size_list();
                for (at, bibcode) in batch[table::BIBCODE].as_string::<i32>().iter().enumerate() {
                    let bibcode = bibcode.unwrap().to_owned();
                    assert_eq!(index.row(&bibcode).unwrap(), Some(rows.len()));
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
            embeddings: output(&embeddings_file(name, SetDtype::F32)),
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
            Arc::new(vectors_array(bytes, rows.len(), DIM, SetDtype::F32).unwrap()),
            Arc::new(binary(MetadataDigest::LEN)),
            Arc::new(binary(RowKey::LEN)),
            Arc::new(UInt32Array::from(vec![0; rows.len()])),
        ]
    }

    /// A bibcode for a letter.
    fn bibcode(letter: char) -> String {
        format!("2020Test........00{letter}")
    }

    /// The letter of a bibcode; any other word as it is.
    fn letter(word: &str) -> String {
        word.strip_prefix("2020Test........00").unwrap_or(word).to_owned()
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
        let listed = world.listed(&made);
        assert_eq!(listed, ["a m_2010:1 < m_2011", "x m_2010:2 < m_2012", "x m_2011:1 < m_2012"]);
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

    #[test]
    fn a_row_gives_way_to_the_one_that_lists_it() {
        let world = World::new();
        // `e` became `p`; `x` was never seen here. The later version of `q` lists `f` no more.
        let parts = [
            world.papers("m_2010", &[('e', ""), ('f', ""), ('q', "fy")]),
            world.papers("m_2011", &[('p', "ex"), ('q', "z")]),
        ];
        let listed = ["q m_2010:2 < m_2011", "e m_2010:0 < m_2011 as p"];
        let made = world.assert_merged(&parts, "fpq", &listed, &[('e', 'p'), ('x', 'p'), ('z', 'q')]);
        assert_eq!((made.counts["rejected.superseded"], made.counts["rejected.alias"]), (1, 1));
        // The same in the other order of sets, and within one.
        let parts = [world.papers("m_2010", &[('p', "e")]), world.papers("m_2011", &[('e', "")])];
        world.assert_merged(&parts, "p", &["e m_2011:0 < m_2010 as p"], &[('e', 'p')]);
        let parts = [world.papers("m_2010", &[('p', "e"), ('e', "")])];
        world.assert_merged(&parts, "p", &["e m_2010:1 < m_2010 as p"], &[('e', 'p')]);
    }

    #[test]
    fn claims_are_followed_and_of_a_ring_the_latest_stays() {
        let world = World::new();
        let parts = [
            world.papers("m_2010", &[('a', "y")]),
            world.papers("m_2011", &[('b', "a")]),
            world.papers("m_2012", &[('c', "b")]),
        ];
        let listed = ["a m_2010:0 < m_2012 as c", "b m_2011:0 < m_2012 as c"];
        world.assert_merged(&parts, "c", &listed, &[('a', 'c'), ('b', 'c'), ('y', 'c')]);
        let parts = [world.papers("m_2010", &[('b', "a")]), world.papers("m_2011", &[('a', "b")])];
        world.assert_merged(&parts, "a", &["b m_2010:0 < m_2011 as a"], &[('b', 'a')]);
        // Each of a row's versions gives way: the earlier to the later, the last one to the paper.
        let parts = [
            world.papers("m_2010", &[('e', "")]),
            world.papers("m_2011", &[('e', "")]),
            world.papers("m_2012", &[('p', "e")]),
        ];
        world.assert_merged(&parts, "p", &["e m_2010:0 < m_2011", "e m_2011:0 < m_2012 as p"], &[('e', 'p')]);
    }

    /// What a merge dropped is known to it by its alias, so that a merge of it drops it again, wherever it turns up.
    #[test]
    fn a_merge_of_a_merge_knows_its_aliases() {
        let world = World::new();
        let parts = [world.papers("m_2010", &[('e', "")]), world.papers("m_2011", &[('p', "ex")])];
        let merged = part(&world.merge(&parts).unwrap(), "m");
        let parts = [merged, world.papers("m_2012", &[('x', ""), ('e', "")])];
        let listed = ["e m_2012:1 < m as p", "x m_2012:0 < m as p"];
        world.assert_merged(&parts, "p", &listed, &[('e', 'p'), ('x', 'p')]);
    }

    /// Aliases that nobody has as a bibcode change no row; sets without any have the table that they always had.
    #[test]
    fn tables_without_aliases_keep_their_columns() {
        let world = World::new();
        let columns = |made: &Made| {
            let reader = world.store.read_parquet(&made.outputs[table::SUPERSEDED].digest).unwrap();
            arrow::array::RecordBatchReader::schema(&reader).fields().len()
        };
        let plain = [world.papers("m_2010", &[('a', "")]), world.papers("m_2011", &[('a', "")])];
        let made = world.assert_merged(&plain, "a", &["a m_2010:0 < m_2011"], &[]);
        assert_eq!((columns(&made), made.counts.contains_key("rejected.alias")), (4, false));
        let manifest = |made: &Made| {
            let bytes = std::fs::read(world.store.blob_path(&made.outputs["manifest_m.json"].digest)).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        assert_eq!(manifest(&made)["aliases"], Value::Null);
        let with = [world.papers("m_2010", &[('a', "")]), world.papers("m_2012", &[('a', "z")])];
        let made = world.assert_merged(&with, "a", &["a m_2010:0 < m_2012"], &[('z', 'a')]);
        assert_eq!((columns(&made), manifest(&made)["aliases"].as_u64()), (5, Some(1)));
    }

    /// An index whose aliases are not those that the manifest tells is another set's.
    #[test]
    fn an_index_without_its_aliases_is_refused() {
        let world = World::new();
        let sound = world.papers("m_2010", &[('p', "e")]);
        let lacking = Part { keys: world.papers("m_2010", &[('p', "")]).keys, ..sound };
        let error = world.merge(&[lacking]).unwrap_err().to_string();
        assert!(error.contains("it has not the 1 aliases of set"), "{error}");
    }

    /// Two rows of a set list one bibcode, and the later one is superseded by a version that lists it no more.
    #[test]
    fn a_claim_outlives_its_rival() {
        let world = World::new();
        let older = world.papers("m_2010", &[('x', ""), ('a', "x"), ('b', "x")]);
        let parts = [older, world.papers("m_2011", &[('b', "")])];
        world.assert_merged(&parts, "ab", &["b m_2010:2 < m_2011", "x m_2010:0 < m_2010 as a"], &[('x', 'a')]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Whatever rows list whatever bibcodes: every name of a row that was left out, and every alias of one that stays,
        /// leads to a row that stays; what is listed and what stays are all rows; and no row that stays is listed by another.
        #[test]
        fn nothing_is_lost(sets in prop::collection::vec(prop::collection::btree_map(0u8..8, prop::collection::btree_set(0u8..10, 0..3), 0..6), 1..4)) {
            let world = World::new();
            let letter_of = |n: u8| char::from(b'a' + n);
            let sets: Vec<Vec<(char, String)>> = sets
                .iter()
                .map(|set| {
                    let own = |(n, aliases): (&u8, &std::collections::BTreeSet<u8>)| {
                        (letter_of(*n), aliases.iter().filter(|alias| *alias != n).map(|n| letter_of(*n)).collect())
                    };
                    set.iter().map(own).collect()
                })
                .collect();
            let parts: Vec<Part> = sets
                .iter()
                .enumerate()
                .map(|(n, set)| {
                    let papers: Vec<(char, &str)> = set.iter().map(|(own, aliases)| (*own, aliases.as_str())).collect();
                    world.papers(&format!("m_{n}"), &papers)
                })
                .collect();
            let made = world.merge(&parts).unwrap();
            let (index, lines) = (world.index(&made), world.lines(&made));
            prop_assert_eq!(lines.len() + world.listed(&made).len(), sets.iter().map(Vec::len).sum::<usize>());
            let stays = |name: char| lines.contains(&bibcode(name));
            let found = |name: char| index.row(&bibcode(name)).unwrap().or_else(|| index.row_of_alias(&bibcode(name)).unwrap());
            for (n, (own, aliases)) in sets.iter().enumerate().flat_map(|(n, set)| set.iter().map(move |row| (n, row))) {
                prop_assert!(found(*own).is_some_and(|row| row < lines.len()), "{} is lost", own);
                prop_assert_eq!(index.row(&bibcode(*own)).unwrap().is_some(), stays(*own));
                let last = !sets[n + 1..].iter().any(|set| set.iter().any(|(other, _)| other == own));
                for alias in aliases.chars().filter(|_| last) {
                    prop_assert!(found(alias).is_some(), "{} lists {}", own, alias);
                    prop_assert!(!stays(*own) || !stays(alias), "{} and {} stay", own, alias);
                }
            }
        }
    }
}

//! The keyed files of a set, whichever node makes it: vectors, bibcodes, key index and manifest.
//!
//! | file | what | keyed |
//! |---|---|---|
//! | `embeddings_{name}.{dtype}` | Arrow IPC: bibcode, embedding, metadata digest, row key | yes |
//! | `bibcodes_{name}.txt` | one bibcode a line; line n is row n | yes |
//! | `keys_{name}.fst` | bibcode, and alias, -> row, memory-mapped | yes |
//! | `manifest_{name}.json` | what the dataset is: model, dim, dtype, rows, digests; sealed (`store/checked.rs`) | yes |
//! | `run_{name}.json` | who made it, when and where | no |
//!
//! A view has, instead of the first, the vectors of its parts as `parts/embeddings_{part}.{dtype}`, one below the other:
//! its row n is row n of them all, superseded ones included, and so is its line n. Its index leads to the rows that
//! count, and the manifest's `rows` is their number.
//!
//! Equal rows give equal bytes, in whatever batches they come. Every keyed file but the list of bibcodes carries the
//! set's digest. `persist.rs` and `merge.rs` say which rows; showing the set in a directory is `published.rs`'s.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use serde_json::{Value, json};

use super::{Context, Made, NodeError};
use crate::digest::NodeKey;
use crate::encoding::SetDtype;
use crate::graph::{bibcodes_file, embeddings_file, is_part_file, keys_file, manifest_file};
use crate::record::Output;
use crate::store::{BlobWriter, IpcWriter, StoreError, pretty_json, seal_json};
use crate::table::{self, IPC_BATCH_ROWS};

/// What a set says of itself.
pub struct SetIdentity<'a> {
    /// The set's digest, which is the step's key.
    pub set: NodeKey,
    /// The dataset's name: label and cells.
    pub name: &'a str,
    /// The label in it.
    pub label: &'a str,
    /// The cells of the step.
    pub cells: &'a BTreeMap<String, String>,
    /// Components per vector.
    pub dim: usize,
    /// Element type of the vectors.
    pub dtype: SetDtype,
    /// The model's short name.
    pub model: Option<&'a str>,
    /// The embedder's key.
    pub embedder: Option<&'a str>,
    /// What the embedder's key is made of.
    pub ingredients: BTreeMap<&'a str, &'a str>,
    /// Whether the vectors would come out again.
    pub bit_stable: bool,
}

/// The files of a set that hold its rows.
pub struct SetFiles {
    /// The vectors: a file of its own, or those that a view holds.
    pub vectors: BTreeMap<String, Output>,
    /// The rows that can be found.
    pub rows: u64,
    /// The list of bibcodes.
    pub bibcodes: Output,
    /// The key index.
    pub keys: Keys,
}

/// A key index in the store.
#[derive(Clone, Copy)]
pub struct Keys {
    /// The file; its rows are its bibcodes.
    pub file: Output,
    /// Its aliases.
    pub aliases: u64,
}

impl SetFiles {
    /// Of a set with a file of vectors of its own.
    pub fn own(identity: &SetIdentity, (embeddings, bibcodes): (Output, Output), keys: Keys) -> Self {
        let vectors = BTreeMap::from([(embeddings_file(identity.name, identity.dtype), embeddings)]);
        Self { vectors, rows: embeddings.rows, bibcodes, keys }
    }
}

/// Writes vectors and bibcodes, row by row in one pass.
pub struct SetWriter<'a> {
    context: &'a Context<'a>,
    schema: SchemaRef,
    /// Rows on their way into one batch, where they stand: batches are of one size, since readers divide by it.
    pieces: Vec<RecordBatch>,
    pending: usize,
    embeddings: IpcWriter<BlobWriter>,
    bibcodes: BlobWriter,
    rows: u64,
}

impl<'a> SetWriter<'a> {
    /// Starts the files of a set.
    ///
    /// # Errors
    /// Whatever the store gives.
    pub fn new(context: &'a Context<'a>, identity: &SetIdentity) -> Result<Self, NodeError> {
        let metadata = [
            ("sciembed.set".to_owned(), identity.set.to_string()),
            ("sciembed.dataset".to_owned(), identity.name.to_owned()),
        ];
        let schema = Arc::new(table::dataset(identity.dim, identity.dtype).with_metadata(metadata.into()));
        let embeddings = IpcWriter::new(context.store.new_blob()?, &schema).map_err(NodeError::arrow("dataset"))?;
        let bibcodes = context.store.new_blob()?;
        Ok(Self { context, schema, pieces: Vec::new(), pending: 0, embeddings, bibcodes, rows: 0 })
    }

    /// Appends rows: bibcode, embedding, metadata digest, row key; of the columns only those in these runs.
    ///
    /// # Errors
    /// Whatever the store gives; columns of another shape.
    pub fn push(
        &mut self,
        columns: Vec<ArrayRef>,
        runs: impl IntoIterator<Item = Range<usize>>,
    ) -> Result<(), NodeError> {
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(NodeError::arrow("dataset"))?;
        for mut run in runs {
            while !run.is_empty() {
                let fitting = run.len().min(IPC_BATCH_ROWS - self.pending);
                self.pieces.push(rows.slice(run.start, fitting));
                run.start += fitting;
                self.pending += fitting;
                if self.pending == IPC_BATCH_ROWS {
                    self.write_batch()?;
                }
            }
        }
        Ok(())
    }

    /// Ends the files: the vectors and the bibcodes.
    ///
    /// # Errors
    /// Whatever the store gives.
    pub fn finish(mut self) -> Result<(Output, Output), NodeError> {
        if !self.pieces.is_empty() {
            self.write_batch()?;
        }
        let embeddings = self.embeddings.finish().map_err(NodeError::arrow("dataset"))?;
        Ok((embeddings.finish(self.rows)?, self.bibcodes.finish(self.rows)?))
    }

    fn write_batch(&mut self) -> Result<(), NodeError> {
        self.context.check_cancel()?;
        self.embeddings.write(&self.pieces).map_err(NodeError::arrow("dataset"))?;
        self.pending = 0;
        for piece in std::mem::take(&mut self.pieces) {
            let bibcodes: &StringArray = piece[table::BIBCODE].as_string();
            let lines: String = bibcodes.iter().flatten().flat_map(|bibcode| [bibcode, "\n"]).collect();
            self.bibcodes
                .write_all(lines.as_bytes())
                .map_err(|error| StoreError::write(self.context.store.root(), error))?;
            self.rows += piece.num_rows() as u64;
        }
        Ok(())
    }
}

/// Adds the manifest, which describes the set and names each other file's digest, and the counts of a set. `origin` says
/// what its rows come from.
///
/// # Errors
/// Whatever the store gives.
pub fn finish(
    context: &Context,
    identity: &SetIdentity,
    files: &SetFiles,
    origin: Vec<(&str, Value)>,
) -> Result<Made, NodeError> {
    let mut made = Made::default();
    let SetFiles { vectors, rows, bibcodes, keys } = files;
    made.outputs.clone_from(vectors);
    made.outputs.insert(bibcodes_file(identity.name), *bibcodes);
    made.outputs.insert(keys_file(identity.name), keys.file);
    // Sets without aliases are older than those with: their manifests stay what they were.
    let aliases = Some(("aliases", json!(keys.aliases))).filter(|_| keys.aliases > 0);
    let manifest = manifest(identity, *rows, &made.outputs, origin.into_iter().chain(aliases));
    made.outputs.insert(manifest_file(identity.name), context.store.put_blob(&manifest, 0)?);
    made.count("rows", *rows);
    if keys.aliases > 0 {
        made.count("aliases", keys.aliases);
    }
    // What a view holds was counted where it was made.
    let own = made.outputs.iter().filter(|(file, _)| !is_part_file(file));
    let bytes = own.map(|(_, output)| output.bytes).sum();
    made.count("bytes", bytes);
    made.not_bit_stable = !identity.bit_stable;
    Ok(made)
}

fn manifest<'a>(
    identity: &SetIdentity,
    rows: u64,
    outputs: &BTreeMap<String, Output>,
    more: impl Iterator<Item = (&'a str, Value)>,
) -> Vec<u8> {
    let SetIdentity { set, name, label, cells, dim, dtype, model, embedder, ingredients, bit_stable } = identity;
    let files: BTreeMap<&String, Value> = outputs
        .iter()
        .map(|(name, output)| (name, json!({ "blake3": output.digest, "bytes": output.bytes })))
        .collect();
    let mut value = json!({
        "version": 2,
        "dataset": name,
        "set": set,
        "label": label,
        "cells": cells,
        "model": model,
        "embedder": embedder,
        "embedder_ingredients": ingredients,
        "dim": dim,
        "dtype": dtype,
        "rows": rows,
        "bit_stable": bit_stable,
        "files": files,
    });
    for (name, of) in more {
        value[name] = of;
    }
    seal_json(pretty_json(&value))
}

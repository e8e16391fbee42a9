//! persist: a vectors table becomes an immutable dataset of five files, four of them keyed.
//!
//! | file | what | keyed |
//! |---|---|---|
//! | `embeddings_{name}.{dtype}` | Arrow IPC: bibcode, embedding, metadata digest, row key | yes |
//! | `bibcodes_{name}.txt` | one bibcode a line; line n is row n | yes |
//! | `keys_{name}.fst` | bibcode -> row, memory-mapped | yes |
//! | `manifest_{name}.json` | what the dataset is: model, dim, dtype, rows, digests | yes |
//! | `run_{name}.json` | who made it, when and where | no |
//!
//! Equal inputs give equal bytes. Every keyed file but the list of bibcodes carries the set's digest. Building the set
//! is this file's work; showing it in a directory is `published.rs`'s.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use serde_json::json;

use super::gather::vectors_array;
use super::{Context, Made, NodeError};
use crate::digest::NodeKey;
use crate::event::Unit;
use crate::index::keys;
use crate::manifest::config::{Dtype, PersistConfig};
use crate::record::Output;
use crate::store::ipc::{self, IpcTable};
use crate::store::segment::encode_vector;
use crate::store::{BlobWriter, StoreError};
use crate::table;

/// What a set is made of.
pub struct SetInputs<'a> {
    /// The set's digest, which is the step's key.
    pub set: NodeKey,
    /// The dataset's name: label and cells.
    pub name: &'a str,
    /// The cells of the step.
    pub cells: &'a BTreeMap<String, String>,
    /// The vectors table.
    pub vectors: &'a Output,
    /// The records that the vectors' texts came from.
    pub records: &'a Output,
    /// What the embed step says of its embedder.
    pub facts: &'a BTreeMap<String, String>,
    /// Whether the vectors would come out again.
    pub bit_stable: bool,
}

/// Builds the keyed files of a set.
///
/// # Errors
/// Whatever the store gives; [`NodeError::Table`] if vectors and records do not belong together.
pub fn run(context: &Context, config: &PersistConfig, inputs: &SetInputs) -> Result<Made, NodeError> {
    let vectors = context.store.read_ipc(&inputs.vectors.digest)?;
    let embeddings = write_embeddings(context, config, inputs, &vectors)?;
    let table = context.store.read_ipc(&embeddings.digest)?;
    let (bibcodes, keys) = write_names(context, inputs, &table)?;
    let mut made = Made::default();
    made.outputs.insert(format!("embeddings_{}.{}", inputs.name, config.dtype), embeddings);
    made.outputs.insert(format!("bibcodes_{}.txt", inputs.name), bibcodes);
    made.outputs.insert(format!("keys_{}.fst", inputs.name), keys);
    let manifest = manifest(config, inputs, dim(&vectors)?, &made.outputs);
    let manifest = context.store.put_blob(&manifest, 0)?;
    made.outputs.insert(format!("manifest_{}.json", inputs.name), manifest);
    made.count("rows_in", inputs.vectors.rows);
    made.count("rows", embeddings.rows);
    made.count("bytes", made.outputs.values().map(|output| output.bytes).sum());
    made.not_bit_stable = !inputs.bit_stable;
    Ok(made)
}

fn write_embeddings(
    context: &Context,
    config: &PersistConfig,
    inputs: &SetInputs,
    vectors: &IpcTable,
) -> Result<Output, NodeError> {
    let dim = dim(vectors)?;
    let metadata =
        [("sciembed.set".to_owned(), inputs.set.to_string()), ("sciembed.dataset".to_owned(), inputs.name.to_owned())];
    let schema = Arc::new(table::dataset(dim, config.dtype).with_metadata(metadata.into()));
    let blob = context.store.new_blob()?;
    let mut writer = ipc::writer(blob, &schema).map_err(NodeError::arrow("dataset"))?;
    let mut digests = MetadataDigests::new(context, inputs.records)?;
    let mut done = 0;
    for batch in vectors.batches() {
        context.check_cancel()?;
        let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
        let columns: Vec<ArrayRef> = vec![
            Arc::clone(&batch[table::BIBCODE]),
            narrowed(batch[table::EMBEDDING].as_fixed_size_list(), dim, config.dtype)?,
            Arc::new(digests.of(bibcodes)?),
            Arc::clone(&batch["row_key"]),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(NodeError::arrow("dataset"))?;
        done += batch.num_rows() as u64;
        writer.write(&batch).map_err(NodeError::arrow("dataset"))?;
        (context.progress)(done, Some(inputs.vectors.rows), Unit::Rows);
    }
    let blob = writer.into_inner().map_err(NodeError::arrow("dataset"))?;
    Ok(blob.finish(done)?)
}

/// Components per vector of a vectors table or a dataset.
///
/// # Errors
/// [`NodeError::Table`] if it has no vectors.
pub fn dim(vectors: &IpcTable) -> Result<usize, NodeError> {
    match vectors.schema().field_with_name(table::EMBEDDING).map(|field| field.data_type()) {
        Ok(DataType::FixedSizeList(_, dim)) => {
            usize::try_from(*dim).map_err(|_| NodeError::table("vectors", "its dim is negative"))
        }
        _ => Err(NodeError::table("vectors", "it has no column of vectors")),
    }
}

/// The vectors in the element type that is published: the same, or a narrower one.
fn narrowed(vectors: &FixedSizeListArray, dim: usize, dtype: Dtype) -> Result<ArrayRef, NodeError> {
    match (vectors.value_type(), dtype) {
        (DataType::Float16, Dtype::F16) | (DataType::Float32, Dtype::F32) => Ok(Arc::new(vectors.clone())),
        (DataType::Float32, Dtype::F16) => {
            let mut bytes = Vec::with_capacity(vectors.len() * dim * dtype.bytes());
            encode_vector(vectors.values().as_primitive::<Float32Type>().values(), dtype, &mut bytes);
            Ok(Arc::new(vectors_array(bytes, vectors.len(), dim, dtype).map_err(NodeError::arrow("dataset"))?))
        }
        (stored, _) => {
            Err(NodeError::table("vectors", format!("it holds {stored}, which cannot be widened to {dtype}")))
        }
    }
}

/// Walks the records beside the vectors: the vectors' rows are the records' rows less those rejected, in one order.
struct MetadataDigests {
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    at: usize,
}

impl MetadataDigests {
    fn new(context: &Context, records: &Output) -> Result<Self, NodeError> {
        Ok(Self { reader: context.store.read_parquet(&records.digest)?, batch: None, at: 0 })
    }

    fn of(&mut self, bibcodes: &StringArray) -> Result<FixedSizeBinaryArray, NodeError> {
        let digests: Vec<Vec<u8>> =
            bibcodes.iter().flatten().map(|bibcode| self.next(bibcode)).collect::<Result<_, _>>()?;
        FixedSizeBinaryArray::try_from_iter(digests.iter()).map_err(NodeError::arrow("dataset"))
    }

    fn next(&mut self, wanted: &str) -> Result<Vec<u8>, NodeError> {
        loop {
            if let Some(batch) = &self.batch {
                let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
                while self.at < bibcodes.len() {
                    let row = self.at;
                    self.at += 1;
                    if bibcodes.value(row) == wanted {
                        return Ok(batch[table::METADATA_DIGEST].as_fixed_size_binary().value(row).to_vec());
                    }
                }
            }
            let next = self.reader.next().transpose().map_err(NodeError::arrow("records"))?;
            self.batch = Some(next.ok_or_else(|| NodeError::table("records", format!("it lacks {wanted}")))?);
            self.at = 0;
        }
    }
}

/// Writes the list of bibcodes and the key index.
fn write_names(context: &Context, inputs: &SetInputs, table: &IpcTable) -> Result<(Output, Output), NodeError> {
    let rows = table.rows() as u64;
    let write = |error| StoreError::write(context.store.root(), error);
    let mut list = BufWriter::new(context.store.new_blob()?);
    let mut names: Vec<(&str, u32)> = Vec::with_capacity(table.rows());
    for batch in table.batches() {
        let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
        for bibcode in bibcodes.iter().flatten() {
            names.push((
                bibcode,
                u32::try_from(names.len()).map_err(|_| NodeError::table("vectors", "it has more than 2^32 rows"))?,
            ));
            list.write_all(bibcode.as_bytes()).and_then(|()| list.write_all(b"\n")).map_err(write)?;
        }
    }
    let list: BlobWriter = list.into_inner().map_err(|error| write(error.into_error()))?;
    let index = keys::write(context.store.new_blob()?, &mut names, &inputs.set).map_err(write)?;
    Ok((list.finish(rows)?, index.finish(rows)?))
}

/// The deterministic description of the set. It names each other file's digest.
fn manifest(config: &PersistConfig, inputs: &SetInputs, dim: usize, outputs: &BTreeMap<String, Output>) -> Vec<u8> {
    let files: BTreeMap<&String, serde_json::Value> = outputs
        .iter()
        .map(|(name, output)| (name, json!({ "blake3": output.digest, "bytes": output.bytes })))
        .collect();
    let ingredients: BTreeMap<&str, &String> =
        inputs.facts.iter().filter_map(|(name, value)| Some((name.strip_prefix("embedder.")?, value))).collect();
    let value = json!({
        "version": 1,
        "dataset": inputs.name,
        "set": inputs.set,
        "label": config.label,
        "cells": inputs.cells,
        "model": inputs.facts.get("model"),
        "embedder": inputs.facts.get("embedder"),
        "embedder_ingredients": ingredients,
        "dim": dim,
        "dtype": config.dtype,
        "rows": inputs.vectors.rows,
        "bit_stable": inputs.bit_stable,
        "records": inputs.records.digest,
        "texts": inputs.facts.get("texts"),
        "vectors": inputs.vectors.digest,
        "files": files,
    });
    let mut bytes = serde_json::to_vec_pretty(&value).expect("a manifest is plain data with string keys");
    bytes.push(b'\n');
    bytes
}

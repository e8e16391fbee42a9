//! persist: a vectors table becomes an immutable dataset.
//!
//! Vectors may be narrowed on the way, and each row gets the digest of its record's metadata. The key index also answers
//! to the aliases of the records, if load read any; no row is dropped for them here. Which files make a set is in
//! `set.rs`; showing it in a directory is `published.rs`'s work.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Float16Type, Float32Type};
use serde_json::{Value, json};

use super::gather::vectors_array;
use super::set::{self, Keys, SetFiles, SetIdentity, SetWriter};
use super::{Context, Made, NodeError, Previous, removed};
use crate::digest::{NodeKey, RowKey};
use crate::encoding::{Dtype, SetDtype, publish};
use crate::event::Unit;
use crate::index::keys::{self, Alias};
use crate::manifest::config::PersistConfig;
use crate::record::Output;
use crate::store::StoreError;
use crate::store::ipc::IpcTable;
use crate::store::parquet::RowsBeside;
use crate::table::{self, DatasetRows};

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
    /// The papers that were left out since their texts could not be embedded.
    pub failed: Option<&'a Output>,
    /// The set that this one follows, if it is known.
    pub previous: Option<&'a Previous>,
}

/// Builds the keyed files of a set.
///
/// # Errors
/// Whatever the store gives; [`NodeError::Table`] if vectors and records do not belong together.
pub fn run(context: &Context, config: &PersistConfig, inputs: &SetInputs) -> Result<Made, NodeError> {
    let vectors = context.store.read_ipc(&inputs.vectors.digest)?;
    let whole = dim(&vectors)?;
    if let Some(dim) = config.dim.filter(|dim| *dim > whole) {
        return Err(NodeError::Dim { dim, whole });
    }
    let identity = identity(config, inputs, config.dim.unwrap_or(whole));
    let (rows, aliases) = write_rows(context, &identity, inputs, &vectors)?;
    let files = SetFiles::own(&identity, rows, write_keys(context, &inputs.set, &vectors, aliases)?);
    let mut origin = vec![
        ("records", json!(inputs.records.digest)),
        ("texts", json!(inputs.facts.get("texts"))),
        ("vectors", json!(inputs.vectors.digest)),
    ];
    if let Some(failed) = inputs.failed {
        origin.push(("failed", failures(context, failed)?));
    }
    let mut made = set::finish(context, &identity, &files, origin)?;
    removed::tell(context, inputs.previous, &files, &mut made)?;
    made.count("rows_in", inputs.vectors.rows);
    Ok(made)
}

/// The papers that were left out, for the manifest.
fn failures(context: &Context, failed: &Output) -> Result<Value, NodeError> {
    let mut listed = Vec::new();
    for batch in context.store.read_parquet(&failed.digest)? {
        let batch = batch.map_err(NodeError::arrow(table::FAILED))?;
        let (bibcodes, keys): (&StringArray, _) =
            (batch[table::BIBCODE].as_string(), batch["row_key"].as_fixed_size_binary());
        for (bibcode, key) in bibcodes.iter().flatten().zip(keys.iter().flatten()) {
            let key = <[u8; RowKey::LEN]>::try_from(key).map_err(|error| NodeError::table(table::FAILED, error))?;
            listed.push(json!({ "bibcode": bibcode, "row_key": RowKey::from_bytes(key) }));
        }
    }
    Ok(listed.into())
}

fn identity<'a>(config: &'a PersistConfig, inputs: &SetInputs<'a>, dim: usize) -> SetIdentity<'a> {
    let PersistConfig { dir: _, label, dtype, dim: _, derived: _ } = config;
    let SetInputs { set, name, cells, facts, bit_stable, .. } = *inputs;
    let ingredient = |(name, value): (&'a String, &'a String)| Some((name.strip_prefix("embedder.")?, value.as_str()));
    SetIdentity {
        set,
        name,
        label,
        cells,
        dim,
        dtype: *dtype,
        model: facts.get("model").map(String::as_str),
        embedder: facts.get("embedder").map(String::as_str),
        ingredients: facts.iter().filter_map(ingredient).collect(),
        bit_stable,
    }
}

/// Vectors and bibcodes of a set.
type SetRows = (Output, Output);

fn write_rows(
    context: &Context,
    identity: &SetIdentity,
    inputs: &SetInputs,
    vectors: &IpcTable,
) -> Result<(SetRows, Vec<(Alias, u32)>), NodeError> {
    let mut writer = SetWriter::new(context, identity)?;
    let mut records = Records::new(context, inputs.records)?;
    let (whole, mut done) = (dim(vectors)?, 0);
    for batch in vectors.batches() {
        let batch = batch?;
        context.check_cancel()?;
        let bibcodes: &StringArray = batch[table::BIBCODE].as_string();
        let (embeddings, scales) = published(batch[table::EMBEDDING].as_fixed_size_list(), identity, whole)?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::clone(&batch[table::BIBCODE]),
            embeddings,
            Arc::new(records.digests(bibcodes)?),
            Arc::clone(&batch["row_key"]),
        ];
        columns.extend(scales);
        columns.push(checks(identity, &columns)?);
        writer.push(columns, std::iter::once(0..batch.num_rows()))?;
        done += batch.num_rows() as u64;
        (context.progress)(done, Some(inputs.vectors.rows), Unit::Rows);
    }
    Ok((writer.finish()?, records.aliases))
}

/// The checks of rows whose other columns are these.
fn checks(identity: &SetIdentity, columns: &[ArrayRef]) -> Result<ArrayRef, NodeError> {
    let others: Vec<usize> = (0..columns.len()).collect();
    let schema = table::dataset(identity.dim, identity.dtype).project(&others);
    let rows = schema.and_then(|schema| RecordBatch::try_new(Arc::new(schema), columns.to_vec()));
    let rows = rows.map_err(NodeError::arrow("dataset"))?;
    let checks = DatasetRows::checks_of(&rows);
    Ok(Arc::new(checks.ok_or_else(|| NodeError::table("dataset", "its rows cannot be checked"))?))
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

/// The vectors as they are published, and their scales where the type has them: as they are stored, or shorter, or narrower.
fn published(
    vectors: &FixedSizeListArray,
    identity: &SetIdentity,
    whole: usize,
) -> Result<(ArrayRef, Option<ArrayRef>), NodeError> {
    let (dim, dtype) = (identity.dim, identity.dtype);
    let stored = match vectors.value_type() {
        DataType::Float16 => Dtype::F16,
        DataType::Float32 => Dtype::F32,
        other => return Err(NodeError::table("vectors", format!("it holds {other}"))),
    };
    if dtype.widens(stored) {
        return Err(NodeError::table("vectors", format!("it holds {stored}, which cannot be widened to {dtype}")));
    }
    if dtype == SetDtype::of(stored) && dim == whole {
        return Ok((Arc::new(vectors.clone()), None));
    }
    let mut bytes = Vec::with_capacity(vectors.len() * dtype.vector_bytes(dim));
    let mut scales = Vec::with_capacity(vectors.len());
    for row in 0..vectors.len() {
        scales.push(publish(&components(&vectors.value(row)), dim, dtype, &mut bytes));
    }
    let vectors = vectors_array(bytes, vectors.len(), dim, dtype).map_err(NodeError::arrow("dataset"))?;
    let scales: Option<ArrayRef> = if dtype.has_scale() { Some(Arc::new(Float32Array::from(scales))) } else { None };
    Ok((Arc::new(vectors), scales))
}

/// The components of a stored vector.
fn components(vector: &ArrayRef) -> Vec<f32> {
    match vector.as_primitive_opt::<Float16Type>() {
        Some(halves) => halves.values().iter().map(|component| component.to_f32()).collect(),
        None => vector.as_primitive::<Float32Type>().values().to_vec(),
    }
}

/// Walks the records beside the vectors, whose rows are the records' rows less those rejected.
struct Records {
    beside: RowsBeside,
    /// Rows walked past.
    rows: u32,
    /// The aliases of those rows.
    aliases: Vec<(Alias, u32)>,
}

impl Records {
    fn new(context: &Context, records: &Output) -> Result<Self, NodeError> {
        // Where load read no aliases there is no such column, and it is passed over.
        let columns = [table::BIBCODE, table::METADATA_DIGEST, table::ALIASES];
        let beside = RowsBeside::new(context.store.read_parquet_columns(&records.digest, &columns)?);
        Ok(Self { beside, rows: 0, aliases: Vec::new() })
    }

    /// The metadata digests of the next rows. Their aliases are kept.
    fn digests(&mut self, bibcodes: &StringArray) -> Result<FixedSizeBinaryArray, NodeError> {
        let digests: Vec<Vec<u8>> =
            bibcodes.iter().flatten().map(|bibcode| self.next(bibcode)).collect::<Result<_, _>>()?;
        FixedSizeBinaryArray::try_from_iter(digests.iter()).map_err(NodeError::arrow("dataset"))
    }

    fn next(&mut self, bibcode: &str) -> Result<Vec<u8>, NodeError> {
        let found = self.beside.row_of(bibcode).map_err(NodeError::arrow("records"))?;
        let (batch, row) = found.ok_or_else(|| NodeError::table("records", format!("it lacks {bibcode}")))?;
        if let Some(aliases) = batch.column_by_name(table::ALIASES) {
            let of_row = aliases.as_list::<i32>().value(row);
            for alias in of_row.as_string::<i32>().iter().flatten() {
                let alias = alias.as_bytes().try_into();
                let no_bibcode = |_| NodeError::table("records", format!("an alias of {bibcode} is no bibcode"));
                self.aliases.push((alias.map_err(no_bibcode)?, self.rows));
            }
        }
        self.rows = self.rows.checked_add(1).ok_or_else(too_many_rows)?;
        Ok(batch[table::METADATA_DIGEST].as_fixed_size_binary().value(row).to_vec())
    }
}

fn too_many_rows() -> NodeError {
    NodeError::table("vectors", "it has more than 2^32 rows")
}

/// Writes the key index.
fn write_keys(
    context: &Context,
    set: &NodeKey,
    vectors: &IpcTable,
    mut aliases: Vec<(Alias, u32)>,
) -> Result<Keys, NodeError> {
    let mut names: Vec<(&str, u32)> = Vec::with_capacity(vectors.rows());
    for batch in vectors.batches() {
        let bibcodes: &StringArray = batch?[table::BIBCODE].as_string();
        for bibcode in bibcodes.iter().flatten() {
            names.push((bibcode, u32::try_from(names.len()).map_err(|_| too_many_rows())?));
        }
    }
    let (index, aliases) = keys::write(context.store.new_blob()?, &mut names, &mut aliases, set)
        .map_err(|error| StoreError::write(context.store.root(), error))?;
    Ok(Keys { file: index.finish(vectors.rows() as u64)?, aliases })
}

//! `read_vectors('minilm')`: the rows of a dataset with their vectors, as a table that DuckDB asks for a piece at a time.
//!
//! The vectors are not in the catalog: they are read where they lie, in the published files of the directory, and need no
//! extension. Rows that a view holds of superseded papers are left out.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use duckdb::Connection;
use duckdb::core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::{
    BindInfo, InitInfo, TableFunctionInfo, VTab, record_batch_to_duckdb_data_chunk, to_duckdb_logical_type,
};
use miette::Diagnostic;

use super::quoted;
use crate::dataset::{Dataset, DatasetError};
use crate::table;

/// Rows that DuckDB takes at once.
const CHUNK_ROWS: usize = 2048;

/// Makes `read_vectors(name)` known to a connection, over the datasets of a directory.
///
/// # Errors
/// Whatever DuckDB gives.
pub fn register(connection: &Connection, dir: &std::path::Path) -> duckdb::Result<()> {
    connection.register_table_function::<ReadVectors>("read_vectors_in")?;
    let dir = quoted(&dir.to_string_lossy());
    connection.execute_batch(&format!(
        "CREATE TEMP MACRO read_vectors(dataset) AS TABLE SELECT * FROM read_vectors_in({dir}, dataset)"
    ))
}

/// The table function `read_vectors_in(directory, dataset)`.
struct ReadVectors;

/// The dataset that a query reads.
struct Opened {
    dataset: Dataset,
    schema: SchemaRef,
}

impl VTab for ReadVectors {
    type InitData = AtomicUsize;
    type BindData = Opened;

    fn bind(bind: &BindInfo) -> Result<Opened, Box<dyn Error>> {
        let given = [0, 1].map(|nth| bind.get_parameter(nth));
        if given.iter().any(duckdb::vtab::Value::is_null) {
            return Err("read_vectors takes the name of a dataset, not NULL".into());
        }
        let [dir, name] = given.map(|it| it.to_string());
        let dataset = Dataset::open(&PathBuf::from(dir), &name).map_err(told)?;
        let item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let width = i32::try_from(dataset.description().dim)?;
        let schema = Schema::new(vec![
            Field::new(table::BIBCODE, DataType::Utf8, false),
            Field::new("row", DataType::UInt64, false),
            Field::new(table::EMBEDDING, DataType::FixedSizeList(item, width), false),
        ]);
        for field in schema.fields() {
            bind.add_result_column(field.name(), to_duckdb_logical_type(field.data_type())?);
        }
        bind.set_cardinality(dataset.description().rows as u64, true);
        Ok(Opened { dataset, schema: Arc::new(schema) })
    }

    fn init(init: &InitInfo) -> Result<AtomicUsize, Box<dyn Error>> {
        init.set_max_threads(1);
        Ok(AtomicUsize::new(0))
    }

    fn func(call: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let (opened, next) = (call.get_bind_data(), call.get_init_data());
        let dataset = &opened.dataset;
        // Of a view a whole stretch may be superseded; an empty chunk would be the end.
        loop {
            let first = next.fetch_add(CHUNK_ROWS, Ordering::Relaxed);
            let mut rows: Vec<(usize, &str)> = Vec::with_capacity(CHUNK_ROWS);
            for row in first..(first + CHUNK_ROWS).min(dataset.rows()) {
                rows.extend(dataset.bibcode(row).map_err(told)?.map(|bibcode| (row, bibcode)));
            }
            if !rows.is_empty() || first >= dataset.rows() {
                return opened.fill(&rows, output);
            }
        }
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeId::Varchar.into(), LogicalTypeId::Varchar.into()])
    }
}

impl Opened {
    fn fill(&self, rows: &[(usize, &str)], output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        if rows.is_empty() {
            output.set_len(0);
            return Ok(());
        }
        let vectors = self.dataset.vectors().map_err(told)?;
        let components: Float32Array =
            rows.iter().flat_map(|(row, _)| vectors.floats(*row..row + 1)).collect::<Vec<_>>().into();
        let DataType::FixedSizeList(item, width) = self.schema.field(2).data_type() else {
            return Err("the vectors are no list".into());
        };
        let embeddings = FixedSizeListArray::try_new(Arc::clone(item), *width, Arc::new(components), None)?;
        let bibcodes = StringArray::from_iter_values(rows.iter().map(|(_, bibcode)| bibcode));
        let numbers = UInt64Array::from_iter_values(rows.iter().map(|(row, _)| *row as u64));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new(schema, vec![Arc::new(bibcodes), Arc::new(numbers), Arc::new(embeddings)])?;
        record_batch_to_duckdb_data_chunk(&batch, output)
    }
}

/// What DuckDB is to say, the remedy with it. The error itself is kept, since DuckDB passes on words alone.
fn told(error: DatasetError) -> String {
    let help = error.help().map_or_else(String::new, |help| format!("; {help}"));
    let told = format!("failed to {error}{help}");
    *failure().lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    told
}

/// What kept a dataset from being read last, in whichever question of this process.
pub fn failure() -> &'static Mutex<Option<DatasetError>> {
    static FAILURE: Mutex<Option<DatasetError>> = Mutex::new(None);
    &FAILURE
}

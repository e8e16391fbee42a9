//! Asking a catalog: what comes out is what DuckDB has, or an error that says how to have it as text.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::datatypes::{DataType, Decimal128Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use duckdb::core::LogicalTypeId;
use duckdb::{AccessMode, Config, Connection, Statement};

use super::reading::refusal;
use super::{CatalogError, configured, path, vectors, worded};

/// What DuckDB may hold in memory for a question, which spills beyond it. The answer itself is held besides.
const MEMORY: &str = "2GB";

/// The answer to a query: its columns, and its rows in batches.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// Asks a directory's catalog, which is only read.
///
/// # Errors
/// [`CatalogError`] if there is none, or DuckDB refuses the query.
pub fn query(dir: &Path, sql: &str) -> Result<Answer, CatalogError> {
    if let Some(why) = refusal(sql) {
        return Err(CatalogError::Query { detail: why.to_owned() });
    }
    let path = path(dir);
    if !path.is_file() {
        return Err(CatalogError::None { path });
    }
    let connection = Config::default()
        .access_mode(AccessMode::ReadOnly)
        .and_then(|config| configured(config, MEMORY))
        .and_then(|config| Connection::open_with_flags(&path, config))
        .map_err(|error| CatalogError::Open { path, detail: worded(&error) })?;
    vectors::register(&connection, dir)
        .map_err(|error| CatalogError::Open { path: super::path(dir), detail: worded(&error) })?;
    let refused = |error: duckdb::Error| {
        let failure = vectors::failure().lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or_else(|| CatalogError::Query { detail: worded(&error) }, CatalogError::Dataset)
    };
    let mut statement = connection.prepare(sql).map_err(refused)?;
    statement.execute([]).map_err(refused)?;
    check_types(&statement)?;
    let schema = in_utc(&statement.schema());
    let mut batches = Vec::new();
    while let Some(rows) = statement.step().map_err(refused)? {
        let batch = RecordBatch::from(rows);
        check_digits(&batch).map_err(CatalogError::Value)?;
        batches.push(with_schema(&batch, &schema).map_err(CatalogError::Value)?);
    }
    Ok(Answer { schema, batches })
}

/// Refuses types whose values would come out as others.
fn check_types(statement: &Statement) -> Result<(), CatalogError> {
    for column in 0..statement.column_count() {
        let of = statement.column_logical_type(column).id();
        if matches!(of, LogicalTypeId::UHugeint | LogicalTypeId::TimeTZ | LogicalTypeId::Bit | LogicalTypeId::Bignum) {
            let name = statement.column_name(column).cloned().unwrap_or_default();
            return Err(CatalogError::Column { name, of: format!("{of:?}").to_uppercase() });
        }
    }
    Ok(())
}

/// Refuses numbers that have more digits than would be shown.
fn check_digits(batch: &RecordBatch) -> Result<(), ArrowError> {
    let decimals = batch.columns().iter().filter_map(|column| column.as_primitive_opt::<Decimal128Type>());
    decimals.into_iter().try_for_each(|decimals| decimals.validate_decimal_precision(decimals.precision()))
}

/// Times with a zone are moments counted in UTC, under the zone's name; they are shown in UTC.
fn in_utc(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            let utc = DataType::Timestamp(*unit, Some("+00:00".into()));
            Arc::new(field.as_ref().clone().with_data_type(utc))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        let data = column.to_data().into_builder().data_type(field.data_type().clone()).build()?;
        Ok::<ArrayRef, ArrowError>(make_array(data))
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

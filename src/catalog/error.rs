//! What can go wrong with a catalog.

use std::io;
use std::path::PathBuf;

use arrow::error::ArrowError;

use crate::dataset::DatasetError;
use crate::lineage::LineageError;
use crate::store::StoreError;

/// An error of the catalog.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CatalogError {
    /// There is none.
    #[error("open {}: there is no such catalog", path.display())]
    #[diagnostic(
        code(sciembed::catalog::none),
        help(
            "make it with `sciembed catalog rebuild --dir DIR`, where DIR is what a persist or merge node publishes into"
        )
    )]
    None {
        /// Where it would be.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("open {}: {detail}", path.display())]
    #[diagnostic(
        code(sciembed::catalog::open),
        help("it can always be made anew: `sciembed catalog rebuild --dir DIR`")
    )]
    Open {
        /// The catalog.
        path: PathBuf,
        /// What DuckDB says.
        detail: String,
    },
    /// DuckDB refuses a question.
    #[error("answer the query: {detail}")]
    #[diagnostic(code(sciembed::catalog::query), help("`sciembed catalog` without a query lists tables and columns"))]
    Query {
        /// What DuckDB says.
        detail: String,
    },
    /// A column whose values would come out as others.
    #[error("answer the query: values of type {of}, as in column {name}, would not come out as they are")]
    #[diagnostic(code(sciembed::catalog::column), help("make them text in the query: `CAST({name} AS VARCHAR)`"))]
    Column {
        /// The column.
        name: String,
        /// Its type.
        of: String,
    },
    /// A value that would come out as another.
    #[error("answer the query: {0}")]
    #[diagnostic(code(sciembed::catalog::value), help("make it text in the query, as in `CAST(column AS VARCHAR)`"))]
    Value(ArrowError),
    /// DuckDB cannot write.
    #[error("write {}: {detail}", path.display())]
    #[diagnostic(
        code(sciembed::catalog::build),
        help("free space or permissions there, then `sciembed catalog rebuild`; the datasets are not touched by this")
    )]
    Build {
        /// The catalog.
        path: PathBuf,
        /// What DuckDB says.
        detail: String,
    },
    /// The file system refuses.
    #[error("write {}: {source}", path.display())]
    #[diagnostic(
        code(sciembed::catalog::write),
        help("free space or permissions there, then `sciembed catalog rebuild`; the datasets are not touched by this")
    )]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A table of the store.
    #[error("read the store's tables: {0}")]
    #[diagnostic(
        code(sciembed::catalog::table),
        help("a table of the store is damaged: `sciembed verify WORKFLOW --repair` makes it again")
    )]
    Table(#[from] ArrowError),
    /// What the directory shows.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dataset(#[from] DatasetError),
    /// Where rows came from.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lineage(#[from] LineageError),
}

impl From<StoreError> for CatalogError {
    fn from(error: StoreError) -> Self {
        Self::Lineage(error.into())
    }
}

impl CatalogError {
    /// Whether the store itself is at fault.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Lineage(error) if error.is_damage()) || matches!(self, Self::Table(_))
    }
}

//! `catalog.duckdb`: what a directory shows, who made it and where each row came from, to be asked in SQL.
//!
//! It is derived: nothing reads it to decide anything, and it can be made anew from store and directory at any time. It is
//! made in a temporary file beside and renamed over, so whoever holds it open goes on reading the one they opened, and
//! no reader ever keeps a run from ending. `schema.sql` is its tables; `tables.rs` fills the small ones, `rows.rs` those
//! that have a row for each paper; `mark.rs` notes what it describes; `query.rs` asks, of the vectors by `vectors.rs`, where they lie.

mod error;
mod mark;
mod query;
mod reading;
mod rows;
mod tables;
mod vectors;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use duckdb::{Config, Connection};

pub use error::CatalogError;
use mark::{Datasets, Said};
pub use query::{Answer, query};

use crate::dataset;
use crate::digest::{Digest, NodeKey};
use crate::lineage::{self, Lineage, LineageError};
use crate::published::{self, Layout, PublishedBy};
use crate::store::{StoreError, durable, failpoint};

/// The tables and what their columns mean.
const SCHEMA: &str = include_str!("schema.sql");
/// Held while a catalog is made.
const LOCK: &str = "catalog.lock";
/// What DuckDB may hold in memory while a catalog is made.
const MEMORY: &str = "256MB";

/// Where a directory's catalog is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("catalog.duckdb")
}

/// A catalog that was just made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Datasets in it.
    pub datasets: usize,
    /// Rows of its table of papers.
    pub papers: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// One dataset that a directory shows, and the store that it was built in.
struct Shown {
    name: String,
    set: NodeKey,
    by: PublishedBy,
    /// Digest of the names of the files that it was read from.
    sources: Digest,
    /// Key into [`Shelf::lineages`].
    origin: (PathBuf, String),
}

impl Shown {
    fn says(&self) -> Said {
        Said { set: self.set, sources: self.sources }
    }
}

/// What a directory shows, with the records of every store and workflow behind it.
struct Shelf {
    datasets: Vec<Shown>,
    lineages: BTreeMap<(PathBuf, String), Lineage>,
}

/// Makes the catalog of a directory anew. `store` is where its datasets were built, if that is not where their provenance
/// files say.
///
/// # Errors
/// [`CatalogError`]; then the catalog is as it was.
pub fn rebuild(dir: &Path, store: Option<&Path>) -> Result<Built, CatalogError> {
    make(dir, store, |_| None)
}

/// Makes the catalog of a directory anew, but takes over from the one that stands what it has of sets that are shown still.
///
/// # Errors
/// [`CatalogError`]; then the catalog is as it was.
pub fn refresh(dir: &Path) -> Result<Built, CatalogError> {
    make(dir, None, mark::described)
}

fn make(dir: &Path, store: Option<&Path>, standing: impl Fn(&Path) -> Option<Datasets>) -> Result<Built, CatalogError> {
    dataset::names(dir)?;
    // One at a time, and what is shown is read under the lock: the last catalog to land is never an older view.
    let home = Layout::new(dir).home();
    let _held =
        durable::lock(&home.join(LOCK)).map_err(|source| CatalogError::Write { path: home.join(LOCK), source })?;
    // What a rebuild left that was killed. What cannot be removed is no reason to stop.
    let _ = published::sweep(&home);
    let shelf = Shelf::of(dir, store)?;
    let (temporary, papers) = filled(dir, &home, &shelf, &standing(dir).unwrap_or_default())?;
    failpoint::reached("catalog: filled");
    let failed = |source| CatalogError::Write { path: path(dir), source };
    File::open(&temporary.0).and_then(|file| file.sync_all()).map_err(failed)?;
    let bytes = fs::metadata(&temporary.0).map_err(failed)?.len();
    mark::forget(dir)
        .and_then(|()| durable::forget(&mark::foreign_log(dir)))
        .and_then(|()| durable::rename(&temporary.0, &path(dir)))
        .and_then(|()| mark::note(dir, &shelf.says()))
        .map_err(failed)?;
    Ok(Built { datasets: shelf.datasets.len(), papers, bytes })
}

/// A new database beside the catalog, and how many papers are in it. Where the one that stands cannot be read, nothing is taken
/// over from it.
fn filled(dir: &Path, home: &Path, shelf: &Shelf, standing: &Datasets) -> Result<(Temporary, u64), CatalogError> {
    let fill = |taken: &[&Shown]| {
        let temporary = Temporary(home.join(format!(".{}", durable::unique_name())));
        let papers = fill(&temporary.0, shelf, &path(dir), taken).map_err(|error| error.at(&path(dir)))?;
        Ok((temporary, papers))
    };
    let taken: Vec<&Shown> =
        shelf.datasets.iter().filter(|shown| standing.get(&shown.name) == Some(&shown.says())).collect();
    if taken.is_empty() { fill(&[]) } else { fill(&taken).or_else(|_| fill(&[])) }
}

/// Whether a directory's catalog is there and describes what the directory shows now. Opens no database.
pub fn is_current(dir: &Path) -> bool {
    let shown: Option<BTreeMap<String, NodeKey>> = dataset::names(dir)
        .ok()
        .and_then(|names| names.into_iter().map(|name| lineage::shown(dir, &name).map(|set| (name, set))).collect());
    let described = mark::described(dir);
    let described = described.map(|datasets| datasets.into_iter().map(|(name, said)| (name, said.set)).collect());
    shown.is_some() && described == shown
}

/// Extensions are not fetched behind people's backs.
fn configured(config: Config, memory: &str) -> duckdb::Result<Config> {
    config.enable_autoload_extension(false)?.max_memory(memory)
}

/// What DuckDB says, without the marks that it puts around it.
fn worded(error: &duckdb::Error) -> String {
    match error {
        duckdb::Error::DuckDBFailure(_, Some(message)) => message.trim_end().to_owned(),
        other => other.to_string(),
    }
}

impl Shelf {
    fn of(dir: &Path, store: Option<&Path>) -> Result<Self, CatalogError> {
        let mut shelf = Self { datasets: Vec::new(), lineages: BTreeMap::new() };
        for name in dataset::names(dir)? {
            // A link that shows no set is damage that apply mends.
            let Some(set) = lineage::shown(dir, &name) else { continue };
            let by = lineage::published_by(dir, &name)?;
            let store = lineage::store_of(dir, &name, &set, store)?;
            let origin = (store.root().to_owned(), by.owner.workflow.clone());
            if !shelf.lineages.contains_key(&origin) {
                shelf.lineages.insert(origin.clone(), Lineage::open(store, &by.owner.workflow)?);
            }
            let sources = rows::sources_of(&shelf.lineages[&origin], &set)?;
            shelf.datasets.push(Shown { name, set, by, sources, origin });
        }
        Ok(shelf)
    }

    fn lineage(&self, shown: &Shown) -> &Lineage {
        &self.lineages[&shown.origin]
    }

    fn says(&self) -> Datasets {
        self.datasets.iter().map(|shown| (shown.name.clone(), shown.says())).collect()
    }
}

/// Fills a new database, and says how many papers are in it. The rows of papers, rejects and truncations of these datasets are
/// taken over from the catalog that stands.
fn fill(path: &Path, shelf: &Shelf, standing: &Path, taken: &[&Shown]) -> Result<u64, FillError> {
    let config = configured(Config::default(), MEMORY)?.with("temp_directory", "")?;
    let connection = Connection::open_with_flags(path, config)?;
    if !taken.is_empty() {
        connection.execute_batch(&format!("ATTACH {} AS standing (READ_ONLY)", quoted(&standing.to_string_lossy())))?;
    }
    connection.execute_batch("BEGIN")?;
    connection.execute_batch(SCHEMA)?;
    tables::fill(&connection, shelf)?;
    let papers = rows::take_over(&connection, taken)? + rows::fill(&connection, shelf, taken)?;
    connection.execute_batch("COMMIT; CHECKPOINT")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(papers)
}

/// Where DuckDB writes down what is not in a database yet.
fn log_of(database: &Path) -> PathBuf {
    let mut log = database.to_owned().into_os_string();
    log.push(".wal");
    log.into()
}

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What can go wrong while a catalog is filled.
enum FillError {
    DuckDb(duckdb::Error),
    Other(Box<CatalogError>),
}

impl From<duckdb::Error> for FillError {
    fn from(error: duckdb::Error) -> Self {
        Self::DuckDb(error)
    }
}

impl From<LineageError> for FillError {
    fn from(error: LineageError) -> Self {
        Self::Other(Box::new(error.into()))
    }
}

impl From<StoreError> for FillError {
    fn from(error: StoreError) -> Self {
        Self::Other(Box::new(error.into()))
    }
}

impl From<ArrowError> for FillError {
    fn from(error: ArrowError) -> Self {
        Self::Other(Box::new(error.into()))
    }
}

impl FillError {
    fn at(self, path: &Path) -> CatalogError {
        match self {
            Self::DuckDb(error) => CatalogError::Build { path: path.to_owned(), detail: worded(&error) },
            Self::Other(error) => *error,
        }
    }
}

/// An unfinished database and its log, which go away unless it was renamed into place.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is gone is gone; what stays is swept when a dataset is published.
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(log_of(&self.0));
    }
}

//! Points on a server: upserted batch by batch by ids made of bibcodes, each with its set, by which what is no longer in the
//! dataset is told and removed at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::http::Server;
use super::lines::properties;
use super::{Document, Done, ExportError, Job, Note, documents};
use super::{qdrant::Qdrant, weaviate::Weaviate};
use crate::dataset::Dataset;
use crate::lineage::Lineage;
use crate::manifest::config::Export;
use crate::published::Layout;
use crate::store::{durable, failpoint};

/// Rows of a request, where nothing is said: some megabytes of JSON at 384 components.
const BATCH_ROWS: usize = 500;
/// How often it is noted how far it got: after a kill so much is sent again, which changes nothing.
const NOTED_EVERY: Duration = Duration::from_secs(5);
/// What a bibcode follows in the address that its id is made of.
const PAPERS: &str = "https://ui.adsabs.harvard.edu/abs/";

/// A collection of a server.
pub trait Collection {
    /// Makes it, unless it is there, and says which.
    ///
    /// # Errors
    /// [`ExportError::Collection`] if it is there and holds something else; whatever the server gives.
    fn prepare(&mut self, dim: usize, fields: &[String]) -> Result<Found, ExportError>;

    /// Adds points, or replaces those with the same ids.
    ///
    /// # Errors
    /// Whatever the server gives.
    fn upsert(&mut self, points: Vec<Point>) -> Result<(), ExportError>;

    /// Removes the points of a dataset that are of another set than this one.
    ///
    /// # Errors
    /// Whatever the server gives.
    fn remove_others(&mut self, dataset: &str, set: &str) -> Result<(), ExportError>;

    /// The server.
    fn server(&mut self) -> &mut Server;
}

/// Whether a collection was there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was, with what was sent before.
    There,
    /// It was made, and holds nothing.
    Made,
}

/// A point: a paper.
pub struct Point {
    /// UUID of version 5, by the address of the paper at ADS.
    pub id: Uuid,
    /// Its components.
    pub vector: Vec<f32>,
    /// Bibcode, dataset, set and fields.
    pub properties: Value,
}

/// The id of a paper: `uuid.uuid5(uuid.NAMESPACE_URL, "https://ui.adsabs.harvard.edu/abs/" + bibcode)` in Python.
pub fn id(bibcode: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{PAPERS}{bibcode}").as_bytes())
}

/// Where it is noted how far an export got: with what the directory shows, since the server may be anybody's.
pub fn note_path(dir: &Path, dataset: &str, export: &Export) -> PathBuf {
    Layout::new(dir).home().join("exports").join(format!("{dataset}.{}.json", export.format()))
}

/// The name of the collection.
pub fn collection(export: &Export, dataset: &str) -> String {
    let named = export.server().and_then(|server| server.collection.clone());
    match export {
        Export::Weaviate(_) => weaviate_name(&named.unwrap_or_else(|| dataset.to_owned())),
        _ => named.unwrap_or_else(|| dataset.to_owned()),
    }
}

/// As Weaviate wants it: letters, digits and `_`, a capital first.
fn weaviate_name(name: &str) -> String {
    let mut characters = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// Sends a dataset, from where an interrupted export got to.
///
/// # Errors
/// [`ExportError`]; what was sent is noted.
pub fn export(job: &Job, dataset: &Dataset, lineage: Option<&Lineage>, key: Option<&str>) -> Result<Done, ExportError> {
    let description = dataset.description();
    let path = note_path(job.dir, &description.dataset, job.export);
    let home = path.parent().unwrap_or(Path::new("."));
    let failed = |source| ExportError::Write { path: home.to_owned(), source };
    fs::create_dir_all(home).map_err(failed)?;
    let _held = durable::lock(&path.with_extension("lock")).map_err(failed)?;
    let found = Note::read(&path).filter(|note| note.is_of(description, job.export) && !note.complete);
    let mut note = found.unwrap_or_else(|| Note::new(description, job.export));
    let mut collection = open(job.export, &description.dataset, key);
    if collection.prepare(description.dim, job.export.fields())? == Found::Made {
        // Whatever was sent before is not there any more.
        note = Note::new(description, job.export);
    }
    // Before anything is sent: a run that is killed now must not be taken for the one that was noted before.
    note.write(&path)?;
    let resumed = note.rows;
    send(job, dataset, lineage, collection.as_mut(), &mut note, &path)?;
    collection.remove_others(&description.dataset, &description.set.to_string())?;
    note.complete = true;
    note.write(&path)?;
    Ok(Done { rows: note.rows, resumed, bytes: collection.server().sent, seconds: 0.0 })
}

fn open(export: &Export, dataset: &str, key: Option<&str>) -> Box<dyn Collection> {
    let name = collection(export, dataset);
    match export {
        Export::Weaviate(server) => Box::new(Weaviate::new(&server.url, key, name)),
        _ => {
            let url = export.server().map(|server| server.url.as_str()).unwrap_or_default();
            Box::new(Qdrant::new(url, key, name))
        }
    }
}

fn send(
    job: &Job,
    dataset: &Dataset,
    lineage: Option<&Lineage>,
    collection: &mut dyn Collection,
    note: &mut Note,
    path: &Path,
) -> Result<(), ExportError> {
    let rows = job.export.server().and_then(|server| server.batch).map_or(BATCH_ROWS, usize::from);
    let (name, set) = (dataset.description().dataset.clone(), dataset.description().set.to_string());
    let mut noted = Instant::now();
    let mut points = Vec::new();
    collection.server().done = note.rows;
    let mut flush = |points: &mut Vec<Point>, note: &mut Note| {
        let count = points.len() as u64;
        let sent = collection.upsert(std::mem::take(points));
        if sent.is_ok() {
            note.rows += count;
            collection.server().done = note.rows;
        }
        if sent.is_err() || noted.elapsed() >= NOTED_EVERY {
            noted = Instant::now();
            note.write(path)?;
        }
        failpoint::reached("export: a batch is sent");
        sent
    };
    let skipped = note.rows;
    documents::each(dataset, lineage, job.export.fields(), skipped, &mut |document: &Document| {
        let mut properties = properties(document);
        properties["dataset"] = json!(name);
        properties["set"] = json!(set);
        points.push(Point { id: id(document.bibcode), vector: document.vector.to_vec(), properties });
        if points.len() == rows { flush(&mut points, note) } else { Ok(()) }
    })?;
    if points.is_empty() { Ok(()) } else { flush(&mut points, note) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_those_of_pythons_uuid5() {
        // python3 -c 'import uuid; print(uuid.uuid5(uuid.NAMESPACE_URL, "https://ui.adsabs.harvard.edu/abs/2013PASP..125..306F"))'
        assert_eq!(super::id("2013PASP..125..306F").to_string(), "6e64b964-01f5-5cdc-8fef-1516112369b3");
    }

    #[test]
    fn weaviate_names_begin_with_a_capital() {
        assert_eq!(super::weaviate_name("minilm-2010.v2"), "Minilm_2010_v2");
    }
}

//! An approximate index of a dataset: near neighbours without looking at every vector.
//!
//! ```text
//! vectors, where they lie -> a sample -> trained -> all of them, block by block -> index_{name}.faiss or .signs, index_{name}.json
//! query -> candidates by their codes -> scored anew by the vectors themselves -> the best
//! ```
//!
//! It is derived: outside every key, made after the dataset was published, beside it and renamed over, and it can be made
//! anew at any time. Its description names the set and the digest of its own file; one of another set is never asked. Where a
//! set only gained rows behind those that it had, they are added. `build.rs` makes it; its engine is Faiss behind the crate
//! `faiss`, or the signs of all components (`signs.rs`).

mod build;
mod error;
mod signs;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use build::build;
pub use error::AnnError;

use crate::dataset::{Dataset, Description};
use crate::digest::{Digest, NodeKey};
use crate::index::flat::{Hit, Vectors};
use crate::manifest::config::Index as Wish;
use crate::published::DerivedFiles;
use crate::store::{DigestCache, StoreError, durable, is_sealed_json};
use signs::Signs;

/// Raised when descriptions change: indexes of older ones are made anew.
const VERSION: u32 = 1;
/// Held while an index is made.
const LOCK: &str = "index.lock";

/// What an index says of itself: `index_{name}.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    version: u32,
    /// The dataset's name.
    pub dataset: String,
    /// The set whose vectors are in it.
    pub set: NodeKey,
    /// What the workflow asks for.
    wish: Wish,
    /// What it is, as Faiss names it.
    pub factory: String,
    /// Vectors in it.
    pub rows: usize,
    /// Digest of their row keys, in order.
    row_keys: Digest,
    /// Of how many of them it was trained.
    pub sample_rows: usize,
    /// Bytes of its file.
    pub bytes: u64,
    /// Digest of its file.
    file: Digest,
    /// Lists that a search reads, where it has lists.
    pub nprobe: usize,
    /// Rows of its graph that a search keeps in view, where it is one.
    pub ef: usize,
    /// Rows that are scored by their vectors for ten that are wanted, in proportion for more.
    pub candidates: usize,
    /// Of the ten vectors nearest to a row, as looking at all of them finds them, the part that it finds: the mean over
    /// `asked` rows, the row itself left out.
    pub recall_at_10: f64,
    /// How many rows that was measured by.
    pub asked: usize,
    /// How long it took to build, in seconds.
    pub seconds: f64,
    /// The rows that it had before others were added; none if it was built anew.
    pub added_to: Option<usize>,
}

impl Described {
    /// Bytes for each vector.
    pub fn bytes_each(&self) -> u64 {
        self.bytes.div_ceil((self.rows as u64).max(1))
    }
}

/// Where such an index of a dataset is.
fn path(dir: &Path, dataset: &str, wish: &Wish) -> PathBuf {
    let ending = if matches!(wish, Wish::Signs(_)) { "signs" } else { "faiss" };
    dir.join(format!("index_{dataset}.{ending}"))
}

fn description_path(dir: &Path, dataset: &str) -> PathBuf {
    dir.join(format!("index_{dataset}.json"))
}

/// What stands there; none if there is no index, or one that another version made, or a description that was changed.
pub fn described(dir: &Path, dataset: &str) -> Option<Described> {
    let text = fs::read(description_path(dir, dataset)).ok().filter(|text| is_sealed_json(text))?;
    serde_json::from_slice(&text).ok().filter(|described: &Described| described.version == VERSION)
}

/// Why the index of a dataset is to be built; none if it stands as it should, or if looking at every vector is as good.
pub fn due(dir: &Path, dataset: &Description, wish: &Wish, digests: &mut DigestCache) -> Option<String> {
    if build::is_needless(dataset.rows, wish) {
        return None;
    }
    let Some(found) = described(dir, &dataset.dataset) else { return Some("it has none".to_owned()) };
    if found.set != dataset.set {
        return Some("its index is of another set".to_owned());
    }
    if found.wish != *wish {
        return Some(format!("its index is {}, and {} is asked for", found.factory, wish.name()));
    }
    let is_whole = digests.digest(&path(dir, &dataset.dataset, wish)).is_ok_and(|digest| digest == found.file);
    (!is_whole).then(|| "the file of its index is missing or damaged".to_owned())
}

/// Whether a dataset has an index, of whatever set.
pub fn is_there(dir: &Path, dataset: &str) -> bool {
    description_path(dir, dataset).exists()
}

/// What stands of a dataset's index; none if there is none.
pub fn standing(dir: &Path, dataset: &str) -> Option<DerivedFiles> {
    let description = description_path(dir, dataset);
    let text = fs::read(&description).ok()?;
    let files = is_sealed_json(&text).then(|| {
        let described = described(dir, dataset).into_iter();
        described.map(|described| (path(dir, dataset, &described.wish), described.file)).collect()
    });
    Some(DerivedFiles { description, files })
}

/// Removes the index of a dataset, which has none then.
///
/// # Errors
/// [`AnnError::Write`].
pub fn remove(dir: &Path, dataset: &str) -> Result<(), AnnError> {
    let paths = ["json", "faiss", "signs"].map(|ending| dir.join(format!("index_{dataset}.{ending}")));
    // The description goes first: without it the rest is no index.
    paths
        .iter()
        .try_for_each(|path| durable::forget(path).map_err(|source| AnnError::Write { path: path.clone(), source }))
}

/// An index that can be asked.
pub struct Ann {
    engine: Engine,
    described: Described,
}

/// What gives the candidates.
enum Engine {
    Faiss(sciembed_faiss::Index),
    Signs(Signs),
}

impl Engine {
    fn open(path: &Path, wish: &Wish) -> Result<Self, AnnError> {
        Ok(match wish {
            Wish::Signs(_) => Self::Signs(Signs::open(path)?),
            _ => Self::Faiss(sciembed_faiss::Index::open(path, threads())?),
        })
    }

    /// Rows and components.
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Faiss(index) => (index.len(), index.dim()),
            Self::Signs(signs) => (signs.len(), signs.dim()),
        }
    }

    /// So many rows for each query, best first by what the engine knows of them.
    fn candidates(
        &mut self,
        queries: &[Vec<f32>],
        count: usize,
        parameters: sciembed_faiss::Parameters,
    ) -> Result<Vec<Vec<usize>>, AnnError> {
        match self {
            Self::Faiss(index) => {
                let found = index.search(&queries.concat(), count, parameters)?;
                Ok((0..queries.len()).map(|nth| found.of(nth).map(|hit| hit.row).collect()).collect())
            }
            Self::Signs(signs) => {
                let found = signs.nearest(queries, count);
                Ok(found.into_iter().map(|hits| hits.into_iter().map(|hit| hit.row as usize).collect()).collect())
            }
        }
    }
}

/// How thoroughly to look; by default as its description says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Lists to read.
    pub nprobe: Option<usize>,
    /// Rows of a graph to keep in view.
    pub ef: Option<usize>,
}

impl Ann {
    /// Opens the index of a dataset; none if it has none.
    ///
    /// # Errors
    /// [`AnnError::OtherSet`] and [`AnnError::Damaged`] if it may not be asked.
    pub fn open(dir: &Path, dataset: &Dataset, digests: &mut DigestCache) -> Result<Option<Self>, AnnError> {
        let name = &dataset.description().dataset;
        let Some(described) = described(dir, name) else {
            return match standing(dir, name) {
                Some(DerivedFiles { description: path, files: None }) => Err(AnnError::Damaged { path }),
                _ => Ok(None),
            };
        };
        if described.set != dataset.description().set || described.rows != dataset.rows() {
            return Err(AnnError::OtherSet { dataset: name.clone() });
        }
        let file = path(dir, name, &described.wish);
        let found = digests.digest(&file).map_err(|error| StoreError::read(&file, error))?;
        if found != described.file {
            return Err(AnnError::Damaged { path: file });
        }
        let engine = Engine::open(&file, &described.wish)?;
        if engine.shape() != (described.rows, dataset.description().dim) {
            return Err(AnnError::Damaged { path: file });
        }
        Ok(Some(Self { engine, described }))
    }

    /// What it says of itself.
    pub fn described(&self) -> &Described {
        &self.described
    }

    /// What it is, as Faiss names it.
    pub fn factory(&self) -> &str {
        &self.described.factory
    }

    /// Which of these parameters change nothing, since it has no lists, or no graph.
    pub fn unheeded(&self, effort: Effort) -> Vec<&'static str> {
        let has = |part: &str| self.described.factory.contains(part);
        let given = [("nprobe", effort.nprobe, "IVF"), ("ef", effort.ef, "HNSW")];
        given.into_iter().filter(|(_, given, part)| given.is_some() && !has(part)).map(|(name, ..)| name).collect()
    }

    /// About the `k` rows with the largest inner products with each query, best first, scored by the vectors themselves.
    ///
    /// # Errors
    /// Whatever Faiss gives.
    pub fn nearest(
        &mut self,
        vectors: &Vectors,
        queries: &[Vec<f32>],
        k: usize,
        effort: Effort,
    ) -> Result<Vec<Vec<Hit>>, AnnError> {
        let Described { nprobe, ef, candidates, rows, .. } = self.described;
        let candidates = (candidates * k.div_ceil(10)).max(k).min(rows);
        let parameters = sciembed_faiss::Parameters {
            nprobe: effort.nprobe.unwrap_or(nprobe),
            ef: effort.ef.unwrap_or(ef).max(candidates),
        };
        let found = self.engine.candidates(queries, candidates, parameters)?;
        Ok(queries.iter().zip(&found).map(|(query, rows)| vectors.best_of(query, rows, k)).collect())
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

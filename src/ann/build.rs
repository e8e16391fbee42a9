//! Building an index of what is published, or adding to it the rows that the set gained.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::AsArray;
use sciembed_faiss::{Builder, Choice, Codes, Factory, Parameters, Search, WORTH_AN_INDEX, choose, sample};

use super::{
    AnnError, Described, Effort, Engine, LOCK, VERSION, described, description_path, due, path, signs, threads,
};
use crate::dataset::{Dataset, Description};
use crate::digest::Digest;
use crate::index::flat::Vectors;
use crate::manifest::config::Index as Wish;
use crate::published::Layout;
use crate::store::{DigestCache, HashedFile, durable, failpoint, pretty_json, seal_json};

/// Bytes of a row that an index may take, beside vectors of 384 half floats and what else stands with a row: 1,024 in all.
const ROW_BYTES: usize = 170;
/// Rows that are read at once: 25 MB of 384 components.
const BLOCK_ROWS: usize = 16_384;
/// Rows that Faiss wants for each list, or it warns (`min_points_per_centroid`).
const ROWS_PER_LIST: usize = 39;
/// What samples are drawn by; always the same, so that the same vectors give the same index.
const SEED: u64 = 2026;
/// Rows that signs give for ten that are wanted.
const SIGNS_CANDIDATES: usize = 400;
/// Rows whose neighbours are looked for to measure recall, and how many of them.
const ASKED: usize = 200;
const NEIGHBOURS: usize = 10;

/// Whether looking at every vector is as good as the index that is chosen.
pub(super) fn is_needless(rows: usize, wish: &Wish) -> bool {
    matches!(wish, Wish::Auto(_)) && rows < WORTH_AN_INDEX
}

/// What is to be built.
struct Plan {
    /// What Faiss builds; none for signs.
    factory: Option<Factory>,
    sample_rows: usize,
    parameters: Parameters,
    candidates: usize,
}

impl Plan {
    fn signs(wish: &Wish) -> Self {
        let candidates = wish.search().candidates.map_or(SIGNS_CANDIDATES, usize::from);
        Self { factory: None, sample_rows: 0, parameters: Parameters { nprobe: 0, ef: 0 }, candidates }
    }

    fn name(&self) -> String {
        self.factory.map_or_else(|| "signs".to_owned(), |factory| factory.to_string())
    }
}

/// Trains an index and adds all vectors to it, or to the one that stands only those that it lacks.
fn faiss(
    dir: &Path,
    dataset: &Dataset,
    (factory, before): (Factory, Option<usize>),
    plan: &Plan,
    tell: &dyn Fn(&str),
) -> Result<sciembed_faiss::Index, AnnError> {
    let Description { dataset: name, dim, .. } = dataset.description();
    let (vectors, rows) = (dataset.vectors()?, dataset.rows());
    let mut builder = match before {
        Some(before) => {
            tell(&format!("adds {} vectors to the index of {name}", rows - before));
            Builder::resume(&dir.join(format!("index_{name}.faiss")), threads())?
        }
        None => {
            tell(&format!("builds the index of {name}: {factory} over {rows} vectors"));
            Builder::train(factory, *dim, &sampled(&vectors, plan), threads())?
        }
    };
    for start in (before.unwrap_or(0)..rows).step_by(BLOCK_ROWS) {
        builder.add(&vectors.floats(start..(start + BLOCK_ROWS).min(rows)))?;
    }
    Ok(builder.finish()?)
}

/// Builds the index of a dataset that `dir` shows, or adds to it what the set gained, measures its recall and puts it into
/// place. `tell` is told what happens.
///
/// # Errors
/// [`AnnError`]; then the index is as it was.
pub fn build(dir: &Path, dataset: &Dataset, wish: &Wish, tell: &dyn Fn(&str)) -> Result<Described, AnnError> {
    let begun = Instant::now();
    let home = Layout::new(dir).home();
    let name = &dataset.description().dataset;
    let failed = |source| AnnError::Write { path: path(dir, name, wish), source };
    let _held = durable::lock(&home.join(LOCK)).map_err(failed)?;
    // Another process may have built it meanwhile.
    if let (None, Some(found)) =
        (due(dir, dataset.description(), wish, &mut DigestCache::default()), described(dir, name))
    {
        return Ok(found);
    }
    let (vectors, rows, dim) = (dataset.vectors()?, dataset.rows(), dataset.description().dim);
    let plan = plan(wish, rows, dim)?;
    let temporary = Temporary(home.join(format!(".{}", durable::unique_name())));
    let (file, bytes, added_to) = match plan.factory {
        Some(factory) => {
            let before = grown(dir, dataset, wish, &plan);
            let index = faiss(dir, dataset, (factory, before), &plan, tell)?;
            let (file, bytes) =
                write(&temporary.0, |sink| index.write_to(sink).map_err(io::Error::other)).map_err(failed)?;
            (file, bytes, before)
        }
        None => {
            tell(&format!("builds the index of {name}: the signs of {rows} vectors"));
            let (file, bytes) = write(&temporary.0, |sink| signs::write(&vectors, dim, sink)).map_err(failed)?;
            (file, bytes, None)
        }
    };
    let mut described = Described {
        version: VERSION,
        dataset: name.clone(),
        set: dataset.description().set,
        wish: wish.clone(),
        factory: plan.name(),
        rows,
        row_keys: row_keys(dataset, rows)?,
        sample_rows: plan.sample_rows,
        bytes,
        file,
        nprobe: plan.parameters.nprobe,
        ef: plan.parameters.ef,
        candidates: plan.candidates,
        recall_at_10: 0.0,
        asked: ASKED.min(rows),
        seconds: 0.0,
        added_to,
    };
    let mut ann = super::Ann { engine: Engine::open(&temporary.0, wish)?, described: described.clone() };
    described.recall_at_10 = recall(&mut ann, &vectors, rows)?;
    described.seconds = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    let text = seal_json(pretty_json(&serde_json::json!(described)));
    // The description goes first and comes last: beside it there is never another index than the one that it describes.
    let description = description_path(dir, name);
    durable::forget(&description).map_err(failed)?;
    failpoint::reached("index: the description is gone");
    durable::rename(&temporary.0, &path(dir, name, wish)).map_err(failed)?;
    failpoint::reached("index: in place");
    durable::write(&description, &home.join(format!(".{}", durable::unique_name())), &text).map_err(failed)?;
    Ok(described)
}

/// What is wanted, with what is left open chosen by the number of rows.
fn plan(wish: &Wish, rows: usize, dim: usize) -> Result<Plan, AnnError> {
    let chosen = choose(rows.max(WORTH_AN_INDEX), dim, ROW_BYTES);
    let lists = |nlist: Option<usize>| {
        let by_size = chosen.map_or(256, |choice| match choice.factory.search {
            Search::Ivf { lists, .. } => lists,
            _ => 256,
        });
        // Each list is learned from some rows.
        let most = (rows / ROWS_PER_LIST).max(1);
        nlist.unwrap_or_else(|| by_size.min(1 << most.ilog2()))
    };
    let factory = match wish {
        Wish::Signs(_) => return Ok(Plan::signs(wish)),
        Wish::Auto(_) => chosen.map_or_else(|| "SQ8".parse(), |choice| Ok(choice.factory))?,
        // Read, so that it is refused as a text would be.
        Wish::Hnsw(hnsw) => format!("HNSW{},SQ8", hnsw.m.map_or(32, usize::from)).parse()?,
        Wish::IvfPq(ivf) => {
            let by_size = chosen.map_or(Codes::Pq { blocks: (dim / 4).max(1) }, |choice| choice.factory.codes);
            let codes = ivf.m.map_or(by_size, |blocks| Codes::Pq { blocks: blocks.into() });
            Factory { search: Search::Ivf { lists: lists(ivf.nlist.map(Into::into)), rotated: None }, codes }
        }
        Wish::IvfSq8(ivf) => Factory {
            search: Search::Ivf { lists: lists(ivf.nlist.map(Into::into)), rotated: None },
            codes: Codes::Sq8,
        },
        Wish::Factory(factory) => factory.0.parse()?,
    };
    let same = chosen.filter(|choice| choice.factory == factory);
    let sample_rows = same.map_or(*factory.sample_rows().end(), |choice| choice.sample_rows).min(rows);
    let parameters = same.map_or_else(Parameters::default, |choice| choice.parameters);
    let candidates = same.map_or(200, |Choice { candidates, .. }| candidates);
    let search = wish.search();
    Ok(Plan {
        factory: Some(factory),
        sample_rows,
        parameters: Parameters {
            nprobe: search.nprobe.map_or(parameters.nprobe, usize::from),
            ef: search.ef.map_or(parameters.ef, usize::from),
        },
        candidates: search.candidates.map_or(candidates, usize::from),
    })
}

/// The rows that the index has, if those are the first rows of the set and it would be built alike.
fn grown(dir: &Path, dataset: &Dataset, wish: &Wish, plan: &Plan) -> Option<usize> {
    let before = described(dir, &dataset.description().dataset)?;
    let is_alike = before.wish == *wish && before.factory == plan.name() && before.rows < dataset.rows();
    // What was trained for few rows serves twice as many, and no more.
    let is_enough = is_alike && dataset.rows() <= before.rows * 2;
    let is_sound =
        is_enough && Digest::of_file(&path(dir, &before.dataset, wish)).is_ok_and(|found| found == before.file);
    // Of what cannot be read nothing can be said; whoever reads it next will tell.
    (is_sound && row_keys(dataset, before.rows).is_ok_and(|keys| keys == before.row_keys)).then_some(before.rows)
}

/// The digest of the first rows' keys: of equal keys vectors are equal.
fn row_keys(dataset: &Dataset, rows: usize) -> Result<Digest, AnnError> {
    let mut hasher = blake3::Hasher::new();
    let mut left = rows;
    for batch in dataset.batches() {
        let batch = batch?;
        let Some(keys) = batch.column_by_name("row_key").and_then(|column| column.as_fixed_size_binary_opt()) else {
            break;
        };
        keys.iter().take(left).flatten().for_each(|key| {
            hasher.update(key);
        });
        left = left.saturating_sub(batch.num_rows());
    }
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

fn sampled(vectors: &Vectors, plan: &Plan) -> Vec<f32> {
    sample(vectors.rows(), plan.sample_rows, SEED).into_iter().flat_map(|row| vectors.floats(row..row + 1)).collect()
}

/// Writes a file, synced: its digest and its bytes.
fn write(path: &Path, fill: impl FnOnce(&mut HashedFile) -> io::Result<()>) -> io::Result<(Digest, u64)> {
    let mut file = HashedFile::new(File::create(path)?);
    fill(&mut file)?;
    file.sync()?;
    Ok((file.digest(), file.bytes()))
}

/// The part of some rows' nearest neighbours that the index finds, the rows themselves left out.
fn recall(ann: &mut super::Ann, vectors: &Vectors, rows: usize) -> Result<f64, AnnError> {
    let asked = sample(rows, ASKED.min(rows), SEED + 1);
    let queries: Vec<Vec<f32>> = asked.iter().map(|row| vectors.floats(*row..row + 1)).collect();
    let exact = vectors.nearest(&queries, NEIGHBOURS + 1, None);
    let found = ann.nearest(vectors, &queries, NEIGHBOURS + 1, Effort::default())?;
    let neighbours = |hits: &[crate::index::flat::Hit], own: usize| {
        let others = hits.iter().map(|hit| hit.row).filter(|row| *row != own as u64);
        others.take(NEIGHBOURS).collect::<Vec<_>>()
    };
    let (mut wanted, mut right) = (0, 0);
    for ((exact, found), own) in exact.iter().zip(&found).zip(asked) {
        let (exact, found) = (neighbours(exact, own), neighbours(found, own));
        wanted += exact.len();
        right += exact.iter().filter(|row| found.contains(row)).count();
    }
    // Of a row without neighbours none is missed.
    Ok(if wanted == 0 { 1.0 } else { right as f64 / wanted as f64 })
}

/// An unfinished file, which goes away unless it was renamed into place.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays is swept when a dataset is published.
        let _ = fs::remove_file(&self.0);
    }
}

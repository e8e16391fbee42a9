//! Which papers are like this? From a question to the nearest rows of the datasets that a directory shows.
//!
//! ```text
//! text -> query.rs: the datasets' own embedder, with its prompt for queries --+
//! bibcode -> its vector ------------------------------------------------------+-> nearest rows ---+
//! years, where -> filter.rs: which rows may be found -------------------------+                   +-> rank.rs -> hits, best first
//! text -> `words`: rows that hold its words ----------------------------------+-> best rows ------+              -> about.rs: title, year, author
//! ```
//!
//! Datasets that are asked together have one embedder: scores of two cannot be compared. A row counts only where the key
//! index leads its bibcode to it, so what a view holds of superseded papers is never found. Reads only.

mod about;
mod error;
mod filter;
mod query;
mod rank;

use std::cmp::Ordering;
use std::collections::HashSet;

pub use about::{About, about};
pub use error::SearchError;
pub use filter::{Filter, Rows};
pub use query::{Asked, Querier};
pub use rank::fuse;

use crate::ann::{Ann, Effort};
use crate::dataset::Dataset;
use crate::index::flat;
use crate::words::Words;

/// A paper that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which of the datasets holds it.
    pub dataset: usize,
    /// Its row there.
    pub row: usize,
    /// Its bibcode.
    pub bibcode: String,
    /// The inner product of its vector and the query's, or of their signs where vectors are `binary`: the cosine, where
    /// vectors have length 1. Of words BM25, and of several lists the sum of 1 / (60 + rank).
    pub score: f32,
}

/// The datasets of one embedder that answer together, in the order in which they were given, and those of them that a merge
/// answers for though it was made of an older set: old and new rows of one paper never answer together.
///
/// # Errors
/// [`SearchError::SeveralEmbedders`].
pub fn answering(mut datasets: Vec<Dataset>) -> Result<(Vec<Dataset>, Vec<String>), SearchError> {
    let name = |dataset: &Dataset| dataset.description().dataset.clone();
    let merged: HashSet<String> =
        datasets.iter().flat_map(|it| &it.description().parts).map(|it| it.dataset.clone()).collect();
    let is_older = |part: &&Dataset| {
        merged.contains(&name(part)) && !datasets.iter().any(|merge| merge.description().merges(part.description()))
    };
    let lagging = datasets.iter().filter(is_older).map(name).collect();
    datasets.retain(|dataset| !merged.contains(&name(dataset)));
    let embedders: HashSet<_> = datasets.iter().map(|dataset| dataset.description().embedder).collect();
    if embedders.len() > 1 {
        let names = datasets.iter().map(|dataset| dataset.description().dataset.clone()).collect();
        return Err(SearchError::SeveralEmbedders { datasets: names });
    }
    Ok((datasets, lagging))
}

/// Whom to ask for a dataset's nearest rows.
pub enum Finder {
    /// Every vector.
    Exact,
    /// The index that stands beside it.
    Ann(Box<Ann>, Effort),
}

/// The `k` papers of these datasets that are nearest to each query, best first; of a bibcode that several hold the best row.
/// Of each dataset only rows in `allowed` are found; all, where there is none. Where rows are not allowed, or nearly all are
/// wanted, every vector is looked at, whatever finder there is.
///
/// # Errors
/// Vectors that cannot be read, and whatever an index gives.
pub fn nearest(
    datasets: &[Dataset],
    finders: &mut [Finder],
    allowed: &[Option<Rows>],
    queries: &[Vec<f32>],
    k: usize,
) -> Result<Vec<Vec<Hit>>, SearchError> {
    let mut found = vec![Vec::new(); queries.len()];
    for (nth, ((dataset, finder), allowed)) in datasets.iter().zip(finders).zip(allowed).enumerate() {
        let dim = dataset.description().dim;
        let short: Vec<Vec<f32>> = queries.iter().map(|query| crate::encoding::shortened(query, dim)).collect();
        // Superseded rows of a view are among the nearest too: more are asked for, until enough of them count.
        let mut wanted = k;
        loop {
            let vectors = dataset.vectors()?;
            let rows = match (&mut *finder, allowed) {
                (Finder::Ann(ann, effort), None) if wanted < dataset.rows() / 2 => {
                    ann.nearest(&vectors, &short, wanted, *effort)?
                }
                _ => vectors.nearest(&short, wanted, allowed.as_ref().map(Rows::bits)),
            };
            let is_all = wanted >= dataset.rows();
            let of_query = |rows: &Vec<flat::Hit>| {
                let hits = rows.iter().filter_map(|hit| counted(dataset, nth, hit.row as usize, hit.score).transpose());
                hits.collect::<Result<Vec<Hit>, _>>()
            };
            let counted: Vec<Vec<Hit>> = rows.iter().map(of_query).collect::<Result<_, _>>()?;
            if is_all || counted.iter().zip(&rows).all(|(hits, rows)| hits.len() >= k || rows.len() < wanted) {
                found.iter_mut().zip(counted).for_each(|(all, hits)| all.extend(hits));
                break;
            }
            wanted = (wanted * 2).min(dataset.rows());
        }
    }
    Ok(found.into_iter().map(|hits| best(hits, k)).collect())
}

/// The `k` papers of these datasets whose texts match the words of a question best, by BM25. Of each dataset only rows in
/// `allowed` are found. A score counts how rare a word is in its own dataset, so those of several are alike, not equal.
///
/// # Errors
/// Whatever an index gives.
pub fn matching(
    datasets: &[Dataset],
    words: &[Words],
    allowed: &[Option<Rows>],
    question: &str,
    k: usize,
) -> Result<Vec<Hit>, SearchError> {
    let mut found = Vec::new();
    for (nth, ((dataset, words), allowed)) in datasets.iter().zip(words).zip(allowed).enumerate() {
        let rows = words.best(question, k, allowed.as_ref().map(Rows::bits))?;
        for (row, score) in rows {
            found.extend(counted(dataset, nth, row, score)?);
        }
    }
    Ok(best(found, k))
}

/// The hit of a row, if its bibcode leads to it.
fn counted(dataset: &Dataset, nth: usize, row: usize, score: f32) -> Result<Option<Hit>, SearchError> {
    let bibcode = dataset.bibcode(row)?;
    Ok(bibcode.map(|bibcode| Hit { dataset: nth, row, bibcode: bibcode.to_owned(), score }))
}

/// The best `k`, each bibcode once.
fn best(mut hits: Vec<Hit>, k: usize) -> Vec<Hit> {
    hits.sort_by(order);
    let mut seen = HashSet::new();
    hits.retain(|hit| seen.insert(hit.bibcode.clone()));
    hits.truncate(k);
    hits
}

/// By score, then in the order of datasets and rows.
fn order(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| (a.dataset, a.row).cmp(&(b.dataset, b.row)))
}

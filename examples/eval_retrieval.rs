//! How well published vectors find what people judged relevant: nDCG@10 and recall@100 by exact search.
//!
//!     eval_retrieval DIR DOCUMENTS QUERIES QRELS
//!
//! DIR shows the datasets DOCUMENTS and QUERIES; QRELS is a file of judgements as BEIR has them: a heading, and then a
//! query, a document and a grade a line, separated by tabs. `just eval-scifact` makes all of that and runs this. Only
//! what sciembed publishes is read, and no vector but a judged query's is compared with any.
//!
//! The measures are those of trec_eval, as pytrec_eval gives them to BEIR (Thakur et al. 2021, arXiv:2104.08663):
//!
//! - Documents stand in the order of the cosine of their vector and the query's, and of equal ones the later id comes
//!   first. A document with the query's own id is left out: in some collections the queries are documents too.
//! - nDCG@k = DCG@k / ideal DCG@k, where DCG@k is the sum over the first k ranks of grade / log2(rank + 1), and the
//!   ideal order is that of falling grades, over all judged documents (Järvelin and Kekäläinen 2002).
//! - recall@k is the part of the relevant documents, graded 1 or more, that stand on the first k ranks.
//! - Told is the mean over the queries that have judgements. One without a relevant document counts as 0.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rayon::prelude::*;
use sciembed::dataset::Dataset;
use sciembed::graph::bibcodes_file;
use sciembed::published::run_file;
use serde::Deserialize;

/// The rank that nDCG ends at.
const NDCG_RANKS: usize = 10;
/// The rank that recall ends at, and so every search.
const RECALL_RANKS: usize = 100;

/// The grade of each document that was judged for a query.
type Grades = HashMap<String, f64>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, documents, queries, qrels] = arguments.as_slice() else {
        eprintln!("usage: eval_retrieval DIR DOCUMENTS QUERIES QRELS");
        return ExitCode::FAILURE;
    };
    match run(Path::new(dir), documents, queries, Path::new(qrels)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eval_retrieval: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path, documents: &str, queries: &str, qrels: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(qrels).map_err(|error| format!("read {}: {error}", qrels.display()))?;
    let judged = judgements(&text).map_err(|error| format!("read {}: {error}", qrels.display()))?;
    let queries = Vectors::open(dir, queries)?;
    let documents = Vectors::open(dir, documents)?;
    if queries.dim != documents.dim {
        return Err(format!("compare vectors of {} and {} components", queries.dim, documents.dim).into());
    }
    let scores = judged.par_iter().map(|(query, grades)| {
        let vector = queries.get(query).ok_or_else(|| format!("find the judged query {query} in {}", queries.name))?;
        let ranked = ranked(query, vector, &documents, RECALL_RANKS);
        Ok((ndcg(&ranked, grades, NDCG_RANKS), recall(&ranked, grades, RECALL_RANKS)))
    });
    let scores: Vec<(f64, f64)> = scores.collect::<Result<_, String>>()?;
    let mean = |of: fn(&(f64, f64)) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;

    println!("documents   {}", documents.ids.len());
    println!("queries     {} judged of {}", judged.len(), queries.ids.len());
    println!("judgements  {}", judged.values().map(HashMap::len).sum::<usize>());
    println!("papers/s    {}", documents.pace);
    println!("nDCG@10     {:.4}", mean(|(ndcg, _)| *ndcg));
    println!("recall@100  {:.4}", mean(|(_, recall)| *recall));
    Ok(())
}

/// The vectors of a dataset, each scaled to length 1.
struct Vectors {
    name: String,
    dim: usize,
    ids: Vec<String>,
    /// `ids.len() x dim`, row-major.
    components: Vec<f64>,
    rows: HashMap<String, usize>,
    /// How many vectors a second were computed, in words.
    pace: String,
}

impl Vectors {
    fn open(dir: &Path, name: &str) -> Result<Self, Box<dyn Error>> {
        let dataset = Dataset::open(dir, name)?;
        let path = dir.join(bibcodes_file(name));
        let listed = fs::read_to_string(&path).map_err(|error| format!("read {}: {error}", path.display()))?;
        let ids: Vec<String> = listed.lines().map(str::to_owned).collect();
        let dim = dataset.description().dim;
        let mut components = Vec::with_capacity(ids.len() * dim);
        for id in &ids {
            let row = dataset.get(id)?.ok_or_else(|| format!("find {id} in {name}: it was published anew"))?;
            components.extend(unit(&row.vector));
        }
        let rows = ids.iter().cloned().enumerate().map(|(row, id)| (id, row)).collect();
        Ok(Self { name: name.to_owned(), dim, ids, components, rows, pace: pace(&dir.join(run_file(name)))? })
    }

    fn get(&self, id: &str) -> Option<&[f64]> {
        let row = *self.rows.get(id)?;
        Some(&self.components[row * self.dim..(row + 1) * self.dim])
    }
}

/// A vector scaled to length 1, so that products of two are cosines. One without a length is like no other.
fn unit(vector: &[f32]) -> impl Iterator<Item = f64> {
    let length = vector.iter().map(|component| f64::from(*component).powi(2)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { length.recip() } else { 0.0 };
    vector.iter().map(move |component| f64::from(*component) * scale)
}

/// What a dataset's provenance file says of the step that embedded it.
#[derive(Deserialize)]
struct Run {
    embedded: Embedded,
}

#[derive(Deserialize)]
struct Embedded {
    seconds: f64,
    counts: BTreeMap<String, u64>,
}

/// Vectors computed a second, where any were: a store may have held them all before.
fn pace(path: &Path) -> Result<String, Box<dyn Error>> {
    let bytes = fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
    let run: Run = serde_json::from_slice(&bytes).map_err(|error| format!("read {}: {error}", path.display()))?;
    let Embedded { seconds, counts } = run.embedded;
    Ok(match counts.get("embedded") {
        Some(embedded) if *embedded > 0 && seconds > 0.0 => format!("{:.1}", *embedded as f64 / seconds),
        _ => "not measured: all vectors were reused".to_owned(),
    })
}

/// Reads judgements: the heading, then `query, document, grade`, separated by tabs. Grades below 0 count as 0, as for
/// trec_eval.
fn judgements(text: &str) -> Result<BTreeMap<String, Grades>, String> {
    let mut judged: BTreeMap<String, Grades> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [query, document, grade] = columns[..] else {
            return Err(format!("line {number} has {} columns, not a query, a document and a grade", columns.len()));
        };
        let grade: i32 = grade.parse().map_err(|_| format!("line {number}: the grade {grade:?} is no whole number"))?;
        judged.entry(query.to_owned()).or_default().insert(document.to_owned(), f64::from(grade.max(0)));
    }
    if judged.is_empty() { Err("it holds no judgements".to_owned()) } else { Ok(judged) }
}

/// The ids of the documents nearest to a query, best first.
fn ranked<'a>(query: &str, vector: &[f64], documents: &'a Vectors, ranks: usize) -> Vec<&'a str> {
    let cosine = |document: &[f64]| vector.iter().zip(document).map(|(a, b)| a * b).sum::<f64>();
    let scores = documents.components.chunks_exact(documents.dim).map(cosine);
    let scored = documents.ids.iter().map(String::as_str).zip(scores).filter(|(id, _)| *id != query);
    let mut scored: Vec<(&str, f64)> = scored.collect();
    scored.sort_unstable_by(better);
    scored.into_iter().take(ranks).map(|(id, _)| id).collect()
}

/// The order of trec_eval: falling scores, and of equal ones the later id first.
fn better((id, score): &(&str, f64), (other, other_score): &(&str, f64)) -> Ordering {
    other_score.total_cmp(score).then_with(|| other.cmp(id))
}

/// Normalised discounted cumulative gain over the first `k` ranks.
fn ndcg(ranked: &[&str], grades: &Grades, k: usize) -> f64 {
    let mut ideal: Vec<f64> = grades.values().copied().collect();
    ideal.sort_unstable_by(|a, b| b.total_cmp(a));
    let best = dcg(ideal.into_iter().take(k));
    let gains = ranked.iter().map(|id| grades.get(*id).copied().unwrap_or(0.0));
    if best > 0.0 { dcg(gains.take(k)) / best } else { 0.0 }
}

/// Discounted cumulative gain: each rank's gain by log2(rank + 1), ranks from 1.
fn dcg(gains: impl Iterator<Item = f64>) -> f64 {
    gains.enumerate().map(|(at, gain)| gain / (at as f64 + 2.0).log2()).sum()
}

/// The part of the relevant documents that stand on the first `k` ranks.
fn recall(ranked: &[&str], grades: &Grades, k: usize) -> f64 {
    let relevant = |id: &str| grades.get(id).is_some_and(|grade| *grade > 0.0);
    let all = grades.keys().filter(|id| relevant(id)).count();
    let found = ranked.iter().take(k).filter(|id| relevant(id)).count();
    if all > 0 { found as f64 / all as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grades(judged: &[(&str, f64)]) -> Grades {
        judged.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect()
    }

    fn vectors(rows: &[(&str, [f32; 2])]) -> Vectors {
        let ids: Vec<String> = rows.iter().map(|(id, _)| (*id).to_owned()).collect();
        let components = rows.iter().flat_map(|(_, vector)| unit(vector).collect::<Vec<_>>()).collect();
        let rows = ids.iter().cloned().enumerate().map(|(row, id)| (id, row)).collect();
        Vectors { name: "test".into(), dim: 2, ids, components, rows, pace: String::new() }
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    /// By hand, with 1/log2(2) = 1, 1/log2(3) = 0.630929753571457, 1/log2(4) = 0.5 and 1/log2(5) = 0.430676558073393.
    #[test]
    fn ndcg_of_binary_and_of_graded_judgements() {
        let binary = grades(&[("a", 1.0), ("b", 1.0), ("n", 0.0)]);
        assert_near(ndcg(&["a", "b", "c"], &binary, 10), 1.0);
        // (1/2 + 0.430676…) / (1 + 0.630929…)
        assert_near(ndcg(&["c", "n", "a", "b"], &binary, 10), 0.930_676_558_073_393 / 1.630_929_753_571_457);
        let graded = grades(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]);
        // (2 + 3 * 0.630929…) / (3 + 2 * 0.630929… + 1/2): grades are gains as they are, not 2^grade - 1.
        assert_near(ndcg(&["b", "a", "x"], &graded, 10), 3.892_789_260_714_371 / 4.761_859_507_142_914);
    }

    /// What is not retrieved still counts in the ideal, cut at k; what stands below k does not count at all.
    #[test]
    fn ndcg_is_cut_on_both_sides() {
        let judged = grades(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
        assert_near(ndcg(&["x", "a", "b"], &judged, 2), 0.630_929_753_571_457 / 1.630_929_753_571_457);
        assert_near(ndcg(&["a"], &judged, 10), 1.0 / 2.130_929_753_571_457);
        assert_near(ndcg(&["a"], &grades(&[("a", 0.0)]), 10), 0.0);
    }

    #[test]
    fn recall_is_of_the_relevant_ones() {
        let judged = grades(&[("a", 1.0), ("b", 2.0), ("c", 1.0), ("n", 0.0)]);
        assert_near(recall(&["n", "b", "x", "a"], &judged, 3), 1.0 / 3.0);
        assert_near(recall(&["n", "b", "x", "a"], &judged, 100), 2.0 / 3.0);
        assert_near(recall(&["n"], &grades(&[("n", 0.0)]), 100), 0.0);
    }

    /// By cosine, not by product: length is no merit. Ties as trec_eval breaks them, and never the query itself.
    #[test]
    fn documents_stand_in_the_order_of_their_cosine() {
        let documents = vectors(&[
            ("far", [-1.0, 0.0]),
            ("long", [9.0, 9.0]),
            ("tie 1", [2.0, 0.0]),
            ("nil", [0.0, 0.0]),
            ("tie 2", [1.0, 0.0]),
            ("query", [1.0, 0.0]),
        ]);
        assert_eq!(ranked("query", &[1.0, 0.0], &documents, 4), ["tie 2", "tie 1", "long", "nil"]);
    }

    #[test]
    fn judgements_are_read_as_beir_writes_them() {
        let judged = judgements("query-id\tcorpus-id\tscore\n1\t31715818\t1\n1\t7\t-1\n\n3\t14717500\t2\n").unwrap();
        assert_eq!(judged["1"], grades(&[("31715818", 1.0), ("7", 0.0)]));
        assert_eq!(judged["3"], grades(&[("14717500", 2.0)]));
        let refused = |text: &str| judgements(text).unwrap_err();
        assert_eq!(refused("query-id\tcorpus-id\tscore\n"), "it holds no judgements");
        assert_eq!(refused("q\td\ts\n1 0 31715818 1\n"), "line 2 has 1 columns, not a query, a document and a grade");
        assert_eq!(refused("q\td\ts\n1\t7\thigh\n"), "line 2: the grade \"high\" is no whole number");
    }
}

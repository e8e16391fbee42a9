//! Papers found by their words, and by words and vectors together; indexes of words that are stale, damaged or foreign.

use std::fs;

use serde_json::{Value, json};

use crate::env::{TestEnv, Told, papers};

const MERGE: &str = "
[merge.all]
from = \"yearly\"
across = [\"year\"]
dir = \"embeddings\"
words = true
";

/// Two years of papers, merged, whose words are indexed; three of them tell of neutrinos.
fn project() -> TestEnv {
    let env = TestEnv::empty();
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    for year in [2010, 2011] {
        let mut papers = papers(year, 30);
        papers[4]["abstract"] = json!("A neutrino burst of the supernova.");
        if year == 2011 {
            papers[9]["abstract"] = json!("Neutrinos and more neutrinos: the neutrino sky.");
        }
        env.write_year(year, &papers);
    }
    env
}

fn found(env: &TestEnv, arguments: &[&str]) -> Vec<String> {
    let told = search(env, &[arguments, &["--format", "bibcodes"]].concat());
    assert_eq!(told.code, Some(0), "{}", told.err);
    told.out.lines().map(str::to_owned).collect()
}

fn search(env: &TestEnv, arguments: &[&str]) -> Told {
    env.run(&[&["search"], arguments].concat())
}

#[test]
fn words_find_the_papers_that_hold_them() {
    let env = project();
    let told = env.applied(&[]);
    assert!(told.out.contains("  words      minilm: 60 texts, indexed in "), "{}", told.out);
    assert_eq!(env.plan(&[]).code, Some(0));
    // The word is stemmed, and who has it more often comes first.
    let all = found(&env, &["NEUTRINOS", "--mode", "bm25"]);
    assert_eq!(all, ["2011Test..00009A", "2010Test..00004A", "2011Test..00004A"]);
    assert_eq!(found(&env, &["neutrino", "--mode", "bm25", "--years", "2010"]), ["2010Test..00004A"]);
    assert_eq!(found(&env, &["neutrino", "--mode", "bm25", "-k", "1"]), ["2011Test..00009A"]);
    let none = search(&env, &["quarks", "--mode", "bm25"]);
    assert!(none.out.is_empty() && none.err.contains("holds any of these words"), "{}{}", none.out, none.err);
    // Nothing is a query language.
    let all = found(&env, &["title:(neutrino AND quark)^9999 \"", "--mode", "bm25"]);
    assert_eq!(all, ["2011Test..00009A", "2010Test..00004A", "2011Test..00004A"]);
    let json = search(&env, &["neutrino sky", "--mode", "hybrid", "-k", "4", "--format", "json"]);
    let answers: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((answers.len(), answers[0]["rank"].as_u64()), (4, Some(1)), "{}{}", json.out, json.err);
    let scores: Vec<f64> = answers.iter().map(|answer| answer["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] <= 2.0 / 61.0, "{scores:?}");
    assert!(answers.iter().any(|answer| answer["bibcode"] == "2011Test..00009A"), "{}", json.out);
}

#[test]
fn an_index_of_words_follows_its_dataset() {
    let env = project();
    env.applied(&[]);
    // Another set.
    env.write_year(2010, &papers(2010, 10));
    env.edit("words = true", "words = false");
    env.edit("words = false", "words = true");
    env.applied(&[]);
    assert_eq!(found(&env, &["neutrino", "--mode", "bm25"]), ["2011Test..00009A", "2011Test..00004A"]);
    // Damage: every file of it, cut.
    for entry in fs::read_dir(env.path("embeddings/words_minilm")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let told = search(&env, &["neutrino", "--mode", "bm25"]);
        assert!(
            told.code == Some(4) && told.err.contains("it is not as it was written"),
            "{}: {}{}",
            path.display(),
            told.out,
            told.err
        );
        let plan = env.plan(&[]);
        assert!(plan.code == Some(2) && plan.out.contains("is missing or damaged"), "{}", plan.out);
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(found(&env, &["neutrino", "--mode", "bm25"]).len(), 2);
    // Foreign: the description of another set.
    let (path, before) = (env.path("embeddings/words_minilm.json"), env.path("before.json"));
    fs::copy(&path, &before).unwrap();
    env.write_year(2010, &papers(2010, 11));
    env.applied(&[]);
    fs::copy(&before, &path).unwrap();
    let told = search(&env, &["neutrino", "--mode", "hybrid"]);
    assert!(told.code == Some(1) && told.err.contains("for another set"), "{}", told.err);
    env.applied(&[]);
    assert_eq!(found(&env, &["neutrino", "--mode", "bm25"]).len(), 2);
    // No longer wanted.
    env.edit("words = true", "words = false");
    let plan = env.plan(&[]);
    assert!(plan.out.contains("the index of words of minilm is to be removed"), "{}", plan.out);
    env.applied(&[]);
    assert!(!env.path("embeddings/words_minilm").exists());
    let told = search(&env, &["neutrino", "--mode", "bm25"]);
    assert!(told.code == Some(1) && told.err.contains("words = true"), "{}", told.err);
}

/// A dataset that is not published yet has nothing to index, and that is no failure.
#[test]
fn what_is_not_published_waits() {
    let env = project();
    let told = env.applied(&["--years", "2010"]);
    assert!(!told.err.contains("was not made"), "{}", told.err);
    assert_eq!(env.apply(&[]).code, Some(0));
    assert_eq!(found(&env, &["neutrino", "--mode", "bm25"]).len(), 3);
}

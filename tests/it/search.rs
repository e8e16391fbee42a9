//! Finding papers: by a text, as its paper was embedded, and by another paper; filtered, across years, merges and views.

use std::collections::BTreeMap;

use sciembed::dataset::Dataset;
use serde_json::{Value, json};

use crate::env::{TestEnv, papers};

const MERGE: &str = "
[merge.all]
from = \"yearly\"
across = [\"year\"]
dir = \"embeddings\"
";

/// Two years of papers, merged, with a field to filter by.
fn published(papers_a_year: usize) -> TestEnv {
    let env = TestEnv::empty();
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    env.edit(
        "fields = [\"title\", \"abstract\"]\n\n[prepare",
        "fields = [\"title\", \"abstract\", \"doctype\"]\n\n[prepare",
    );
    for year in [2010, 2011] {
        let mut papers = papers(year, papers_a_year);
        for (n, paper) in papers.iter_mut().enumerate() {
            paper["doctype"] = json!(if n % 3 == 0 { "article" } else { "eprint" });
            paper["author"] = json!(["Doe, J.", "Roe, R."]);
        }
        env.write_year(year, &papers);
    }
    env.applied(&[]);
    env
}

fn answers(env: &TestEnv, arguments: &[&str]) -> Vec<Value> {
    let told = env.run(&[arguments, &["--format", "json"]].concat());
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bibcodes(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["bibcode"].as_str().unwrap()).collect()
}

/// The bibcodes of the vectors nearest to one, by their inner products in double precision.
fn nearest(env: &TestEnv, query: &[f32], may: impl Fn(&str) -> bool) -> Vec<String> {
    let dataset = Dataset::open(&env.path("embeddings"), "minilm").unwrap();
    let product = |vector: &[f32]| vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let all = dataset.bibcodes().map(Result::unwrap).filter(|(_, bibcode)| may(bibcode));
    let mut scored: Vec<(f64, String)> =
        all.map(|(_, bibcode)| (product(&dataset.get(bibcode).unwrap().unwrap().vector), bibcode.to_owned())).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, bibcode)| bibcode).collect()
}

/// A text finds the paper that has it, and then those whose vectors are nearest; each is told with its record.
#[test]
fn a_text_finds_its_paper_and_what_is_near() {
    let env = published(40);
    let rows = env.peek("prepare.texts[2011]", "texts");
    let (bibcode, text) = (rows[7]["bibcode"].as_str().unwrap(), rows[7]["text"].as_str().unwrap());
    let found = answers(&env, &["search", text, "-k", "6"]);
    let vector = Dataset::open(&env.path("embeddings"), "minilm").unwrap().get(bibcode).unwrap().unwrap().vector;
    assert_eq!(bibcodes(&found), nearest(&env, &vector, |_| true)[..6]);
    assert_eq!(
        (&found[0]["bibcode"], &found[0]["rank"], &found[0]["dataset"]),
        (&json!(bibcode), &json!(1), &json!("minilm"))
    );
    assert_eq!((&found[0]["row"], found[0]["title"].is_string()), (&json!(47), true));

    let similar = answers(&env, &["similar", bibcode, "-k", "5"]);
    assert_eq!(bibcodes(&similar), bibcodes(&found)[1..], "the paper itself is not similar to itself");
    let table = env.run(&["similar", bibcode, "-k", "1"]);
    assert!(table.out.starts_with("  1  0.") && table.out.contains(bibcodes(&similar)[0]), "{}", table.out);
    let list = env.run_with(
        &["search", "--format", "bibcodes", "-k", "2"],
        &format!("{}\n\nother\n", text.replace('\n', " ")),
        &[],
    );
    assert_eq!(list.out.lines().count(), 4, "two questions: {}{}", list.out, list.err);
}

/// Years go by bibcodes, conditions by what load selected; both at once leave what meets both.
#[test]
fn what_may_be_found_is_filtered() {
    let env = published(20);
    let bibcode = "2010Test..00003A";
    let vector = Dataset::open(&env.path("embeddings"), "minilm").unwrap().get(bibcode).unwrap().unwrap().vector;
    let doctypes: BTreeMap<String, String> = ["load.records[2010]", "load.records[2011]"]
        .iter()
        .flat_map(|step| env.peek(step, "records"))
        .map(|row| (row["bibcode"].as_str().unwrap().to_owned(), row["doctype"][0].as_str().unwrap().to_owned()))
        .collect();
    for (arguments, may) in [
        (vec!["--years", "2011"], Box::new(|bibcode: &str| bibcode.starts_with("2011")) as Box<dyn Fn(&str) -> bool>),
        (vec!["--where", "doctype = 'article'"], Box::new(|bibcode: &str| doctypes[bibcode] == "article")),
        (
            vec!["--years", "2010:2010", "--where", "doctype != 'article'"],
            Box::new(|bibcode: &str| bibcode.starts_with("2010") && doctypes[bibcode] == "eprint"),
        ),
    ] {
        let found = answers(&env, &[&["similar", bibcode, "-k", "50"], &arguments[..]].concat());
        let expected: Vec<String> = nearest(&env, &vector, &may).into_iter().filter(|it| it != bibcode).collect();
        assert_eq!(bibcodes(&found), expected, "{arguments:?}");
    }
    let none = env.run(&["similar", bibcode, "--years", "1999"]);
    assert!(
        none.code == Some(0) && none.out.is_empty() && none.err.contains("none is of these years"),
        "{}{}",
        none.out,
        none.err
    );
    let unknown = env.run(&["search", "x", "--where", "bibstem = 'ApJ'"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.err.contains("filter by bibstem: the records of minilm have title, abstract, doctype"),
        "{}",
        unknown.err
    );
    let empty = env.run(&["search", " "]);
    assert!(empty.code == Some(1) && empty.err.contains("the question is empty"), "{}", empty.err);
    let mistake = env.run(&["search", "x", "--where", "doctype in"]);
    assert!(mistake.code == Some(1) && mistake.err.contains("belongs after this"), "{}", mistake.err);
}

/// Of a paper that a later year supersedes only the later row is found, in a copy as in a view.
#[test]
fn superseded_rows_are_not_found() {
    let env = published(10);
    let mut later = papers(2011, 10);
    later.extend(papers(2010, 10).into_iter().map(|mut paper| {
        paper["title"] = json!(["Another title"]);
        paper
    }));
    env.write_year(2011, &later);
    for view in ["", "view = true\n"] {
        env.edit("across = [\"year\"]\n", &format!("across = [\"year\"]\n{view}"));
        env.applied(&[]);
        let found = answers(&env, &["search", "Another title", "-k", "100"]);
        let mut distinct = bibcodes(&found);
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!((distinct.len(), found.len()), (20, 20), "{view}");
        let titles =
            |hit: &Value| (hit["bibcode"].as_str().unwrap().starts_with("2010"), hit["title"] == "Another title");
        assert!(found.iter().map(titles).all(|(is_of_2010, is_new)| is_of_2010 == is_new), "{view}: {found:?}");
    }
}

/// While a merge is behind its years it answers for them as they were: old and new rows never answer together.
#[test]
fn a_merge_answers_for_its_years() {
    let env = published(10);
    let mut later = papers(2010, 10);
    later.iter_mut().for_each(|paper| paper["title"] = json!(["Another title"]));
    env.write_year(2010, &later);
    env.applied(&["--target", "persist.yearly"]);
    let told = env.run(&["search", "Another title", "-k", "100", "--format", "json"]);
    assert!(told.err.contains("minilm_2010 was published again after it was merged"), "{}", told.err);
    assert!(told.out.lines().count() == 20 && !told.out.contains("Another title\",\"year"), "{}", told.out);
    assert!(told.out.lines().all(|line| line.contains("\"dataset\":\"minilm\"")), "{}", told.out);
    env.applied(&[]);
    let now = answers(&env, &["search", "Another title", "-k", "100"]);
    assert_eq!(now.iter().filter(|hit| hit["title"] == "Another title").count(), 10);
}

/// How questions are embedded is in no key, and what a dataset tells of it follows the workflow all the same.
#[test]
fn a_changed_prompt_for_questions_is_published() {
    let env = published(5);
    let told = |env: &TestEnv| -> Value {
        let run = std::fs::read(env.path("embeddings/run_minilm.json")).unwrap();
        serde_json::from_slice::<Value>(&run).unwrap()["embedding"]["node"]["query_prompt"].clone()
    };
    assert_eq!(told(&env), Value::Null);
    env.edit("model = \"fake://16\"", "model = \"fake://16\"\nquery_prompt = \"query: \"");
    assert_eq!(env.plan(&[]).code, Some(2));
    let applied = env.applied(&[]);
    assert!(!applied.out.contains("embedded"), "no vector is computed again: {}", applied.out);
    assert_eq!(told(&env), "query: ");
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// Two embedders' scores cannot be compared, and a model that is another one now cannot be asked.
#[test]
fn only_the_same_embedder_answers() {
    let env = published(5);
    let two = "model = \"fake://16\"\n\n[embed.other]\nfrom = \"texts\"\nmodel = \"fake://8\"\n\n[persist.others]\n\
               from = \"other\"\ndir = \"embeddings\"\nlabel = \"other\"\n";
    env.edit("model = \"fake://16\"\n", two);
    env.applied(&[]);
    let told = env.run(&["search", "x"]);
    assert!(told.code == Some(1) && told.err.contains("their vectors are of different embedders"), "{}", told.err);
    assert!(told.err.contains("--dataset"), "{}", told.err);
    assert_eq!(answers(&env, &["search", "x", "--dataset", "other_2010", "-k", "3"]).len(), 3);
    let another = env.run(&["search", "x", "--dataset", "minilm", "--model", "fake://8"]);
    assert!(another.code == Some(1) && another.err.contains("dim is 8, and was 16"), "{}", another.err);
}

/// Each element type is searched as it is published.
#[test]
fn each_element_type_is_searched() {
    for (dtype, same) in [("bf16", 6), ("i8", 6), ("binary", 0)] {
        let env = published(30);
        let found = |env: &TestEnv| {
            let found = answers(env, &["similar", "2010Test..00003A", "-k", "10"]);
            bibcodes(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let before = found(&env);
        env.edit("dtype = \"f16\"", &format!("dtype = \"{dtype}\""));
        env.applied(&[]);
        let now = found(&env);
        let common = now.iter().filter(|bibcode| before.contains(bibcode)).count();
        assert!(now.len() == 10 && common >= same, "{dtype}: {common} of 10 are the same");
    }
}

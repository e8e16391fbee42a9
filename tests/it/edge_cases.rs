//! Real ADS documents: each is published or set aside for a true reason, which is worked out here from the raw JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::env::{TestEnv, file_name, files, say};

/// A line's file, by its place among the files, and its number.
type Place = (u64, u64);

/// What the raw JSON says of each line: bibcodes by place, and why a line cannot be used.
#[derive(Default)]
struct Expected {
    bibcodes: BTreeMap<Place, String>,
    not_loaded: BTreeMap<Place, &'static str>,
    no_text: BTreeMap<Place, &'static str>,
}

impl Expected {
    fn of(files: &[String]) -> Self {
        let mut expected = Self::default();
        let mut last: BTreeMap<String, Place> = BTreeMap::new();
        for (file, text) in (0..).zip(files) {
            for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
                let (place, document) = ((file, number), serde_json::from_str::<Value>(line).unwrap());
                let Some(bibcode) = document["bibcode"].as_str() else {
                    expected.not_loaded.insert(place, "no_bibcode");
                    continue;
                };
                if let Some(earlier) = last.insert(bibcode.to_owned(), place) {
                    expected.not_loaded.insert(earlier, "superseded");
                }
                expected.bibcodes.insert(place, bibcode.to_owned());
                if !["title", "abstract"].iter().any(|field| has_text(&document[field])) {
                    expected.no_text.insert(place, "no_text");
                }
            }
        }
        let Self { bibcodes, not_loaded, no_text } = &mut expected;
        no_text.retain(|place, _| !not_loaded.contains_key(place));
        bibcodes.retain(|place, _| !not_loaded.contains_key(place) && !no_text.contains_key(place));
        expected
    }
}

fn has_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(values) => values.iter().any(has_text),
        _ => false,
    }
}

/// The places and reasons of a step's rejects.
fn rejects(env: &TestEnv, step: &str) -> BTreeMap<Place, String> {
    let rows = env.peek(step, "rejects").into_iter();
    rows.map(|row| {
        let number = |name: &str| row[name].as_u64().unwrap();
        ((number("source"), number("line")), row["reason"].as_str().unwrap().to_owned())
    })
    .collect()
}

fn as_strings(expected: &BTreeMap<Place, &str>) -> BTreeMap<Place, String> {
    expected.iter().map(|(place, reason)| (*place, (*reason).to_owned())).collect()
}

/// Rows in and out of the step with this output.
fn rows(env: &TestEnv, output: &str) -> (u64, u64) {
    let record = env.records().into_iter().find(|record| record.outputs.contains_key(output)).unwrap();
    (record.counts.get("rows_in").copied().unwrap_or(0), record.counts["rows"])
}

/// Applies over these files and checks that every line is accounted for in load, prepare and persist.
fn account_for(texts: &[String]) {
    let env = TestEnv::over("data/*.jsonl");
    for (number, text) in texts.iter().enumerate() {
        env.write(&format!("data/{number}.jsonl"), text);
    }
    env.applied(&[]);
    let expected = Expected::of(texts);
    assert_eq!(rejects(&env, "load.records"), as_strings(&expected.not_loaded));
    assert_eq!(rejects(&env, "prepare.texts"), as_strings(&expected.no_text));

    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty()).count() as u64;
    let loaded = lines - expected.not_loaded.len() as u64;
    let published = loaded - expected.no_text.len() as u64;
    assert_eq!(rows(&env, "records"), (lines, loaded));
    assert_eq!(rows(&env, "texts"), (loaded, published));
    assert_eq!(rows(&env, "bibcodes_minilm.txt").1, published);

    for row in env.peek("prepare.texts", "texts") {
        let text = row["text"].as_str().unwrap();
        assert!(!text.contains("['") && !text.contains("']"), "a list shows its brackets: {text}");
    }
    assert_found(&env, &expected);
}

/// Every published bibcode stands in the list of bibcodes, in the order of the lines, and is found by its own name.
fn assert_found(env: &TestEnv, expected: &Expected) {
    let wanted: Vec<&str> = expected.bibcodes.values().map(String::as_str).collect();
    let listed = fs::read_to_string(env.path("embeddings/bibcodes_minilm.txt")).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), wanted);
    assert!(wanted.iter().any(|bibcode| bibcode.contains('&')) && wanted.iter().any(|bibcode| bibcode.ends_with('.')));
    let told = env.run_with(&["get"], &listed, &[]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let bibcode = |line: &str| serde_json::from_str::<Value>(line).unwrap()["bibcode"].as_str().unwrap().to_owned();
    assert_eq!(told.out.lines().map(bibcode).collect::<Vec<_>>(), wanted);
}

/// The documents that come with the project: half of them have neither title nor abstract.
#[test]
fn documents_of_twenty_two_doctypes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ads_edge_cases/solr_docs_95.jsonl.gz");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(fs::File::open(path).unwrap()), &mut text).unwrap();
    account_for(std::slice::from_ref(&text));
    // A corrected line, a document that lost its name, and one that comes again in another file.
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut nameless = first.clone();
    nameless["bibcode"] = Value::Null;
    account_for(&[format!("{text}{nameless}\n{first}\n"), format!("\n{first}\n")]);
}

/// The larger collection, which may be used in tests and not be handed on, so it is not everywhere.
#[test]
fn documents_beside_the_checkout() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ads_edge_cases");
    if !folder.is_dir() {
        say("SKIPPED: edge_cases::documents_beside_the_checkout: ../shared/data/ads_edge_cases is not there");
        return;
    }
    let is_data = |path: &std::path::PathBuf| file_name(path).ends_with(".jsonl");
    let texts: Vec<String> =
        files(&folder).into_iter().filter(is_data).map(|path| fs::read_to_string(path).unwrap()).collect();
    account_for(&texts);
}

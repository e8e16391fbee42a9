//! Real ADS documents: each is published or set aside for a true reason, which is worked out here from the raw JSON; and
//! what each step of cleaning makes of them stands in a snapshot, to be read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sciembed::clean::{Step, clean};
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
    fn of(files: &[String], cleaned: bool) -> Self {
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
                if !["title", "abstract"].iter().any(|field| has_text(&document[field], cleaned)) {
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

/// Whether a field says something. The one stand-in of these documents counts only where nothing is cleaned.
fn has_text(value: &Value, cleaned: bool) -> bool {
    match value {
        Value::String(text) => !(text.trim().is_empty() || (cleaned && text == "Not Available <P />")),
        Value::Array(values) => values.iter().any(|value| has_text(value, cleaned)),
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

/// Applies over these files, with values as they are and cleaned, and checks that every line is accounted for.
fn account_for(texts: &[String]) {
    account_for_each(texts, false);
    account_for_each(texts, true);
}

/// Every step of cleaning, as a manifest names them.
const CLEAN: &str = r#"clean = ["html", "entities", "latex", "whitespace", "unicode-nfc", "placeholder"]"#;

/// Applies over these files and checks that every line is accounted for in load, prepare and persist.
fn account_for_each(texts: &[String], cleaned: bool) {
    let env = TestEnv::over("data/*.jsonl");
    if cleaned {
        env.edit("prefix = \"\"", CLEAN);
    }
    for (number, text) in texts.iter().enumerate() {
        env.write(&format!("data/{number}.jsonl"), text);
    }
    env.applied(&[]);
    let expected = Expected::of(texts, cleaned);
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
        let markup = ["<P />", "<SUB>", "</SUP>", "<BR", "<A ", "mml:", "&lt;", "&amp;", "\\ast", "  "];
        assert!(!cleaned || !markup.iter().any(|markup| text.contains(markup)), "{text}");
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

/// The documents that come with the project, a line each.
fn documents() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ads_edge_cases/solr_docs_95.jsonl.gz");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(fs::File::open(path).unwrap()), &mut text).unwrap();
    text
}

/// Half of them have neither title nor abstract.
#[test]
fn documents_of_twenty_two_doctypes() {
    let text = documents();
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

/// What each step changes in the documents that come with the project, after those before it.
#[test]
fn each_step_of_cleaning() {
    let mut values: Vec<(String, String)> = documents().lines().flat_map(titles_and_abstracts).collect();
    let mut told = String::new();
    for step in Step::ALL {
        writeln!(told, "# {step}\n").unwrap();
        for (place, value) in &mut values {
            let after = clean(&[step], Cow::Borrowed(value)).into_owned();
            for (before, after) in changes(value, &after) {
                writeln!(told, "{place}\n- {before}\n+ {after}").unwrap();
            }
            *value = after;
        }
        told.push('\n');
    }
    insta::assert_snapshot!("cleaning", told);
}

/// The titles and abstracts of a document, each with its place.
fn titles_and_abstracts(line: &str) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(line).unwrap();
    let name = document["bibcode"].as_str().unwrap_or("no bibcode").to_owned();
    let values = |field: &str| match &document[field] {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    };
    let of = |field: &'static str| {
        let texts = values(field).into_iter().filter_map(|value| value.as_str().map(str::to_owned));
        texts.map(|text| (format!("{name} {field}"), text)).collect::<Vec<_>>()
    };
    [of("title"), of("abstract")].concat()
}

/// The stretches of two texts that differ, with a word on each side; white space in them is shown.
fn changes(before: &str, after: &str) -> Vec<(String, String)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.split(' ').collect(), after.split(' ').collect());
    // The longest common subsequence of words, from each place on.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut changes) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        let (from, to) = (i, j);
        while (i < old.len() || j < new.len()) && !(i < old.len() && j < new.len() && old[i] == new[j]) {
            if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) { i += 1 } else { j += 1 }
        }
        if (from, to) != (i, j) {
            changes.push((around(&old, from, i), around(&new, to, j)));
        }
        i += 1;
        j += 1;
    }
    changes
}

fn around(words: &[&str], from: usize, to: usize) -> String {
    let words = words[from.saturating_sub(1)..(to + 1).min(words.len())].join(" ");
    words.replace('\n', "\\n").replace('\t', "\\t")
}

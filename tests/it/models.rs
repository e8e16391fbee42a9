//! `sciembed model` over eight small models, one for each architecture and pooling: their reference vectors were
//! computed with transformers, and stand in `expected.json` beside each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sciembed::digest::Digest;
use sciembed::embedder::{Environment, resolve};
use sciembed::manifest::config::{EmbedConfig, Precision};
use sciembed::model::{Graph, Library, Runner};
use serde_json::{Value, json};

use crate::env::{TestEnv, files, say};

/// The small models.
pub const FIXTURES: [&str; 8] = [
    "bert-cls-dense",
    "bert-max-nonorm",
    "bert-mean",
    "distilbert-cls",
    "modernbert-mean",
    "mpnet-mean",
    "roberta-mean",
    "xlmr-prompts",
];

/// Where a small model is.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

/// ONNX Runtime, or a loud word that the test is skipped.
pub fn onnxruntime() -> Option<PathBuf> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/libonnxruntime.so");
    if library.exists() {
        return Some(library);
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    say(format!("\n*** SKIPPED: {test} needs lib/libonnxruntime.so; run ./setup.sh, which brings it ***\n"));
    None
}

/// A text of `expected.json`, with what it must become.
pub struct Expected {
    pub prompt: Option<String>,
    pub text: String,
    pub ids: Vec<i64>,
    /// Tokens before any were left out.
    pub whole: u64,
    pub embedding: Vec<f64>,
}

/// What a small model must give.
pub fn expected(name: &str) -> Vec<Expected> {
    let rows: Value = serde_json::from_slice(&fs::read(fixture(name).join("expected.json")).unwrap()).unwrap();
    let row = |row: &Value| Expected {
        prompt: row["prompt"].as_str().map(str::to_owned),
        text: row["text"].as_str().unwrap().to_owned(),
        ids: serde_json::from_value(row["token_ids"].clone()).unwrap(),
        whole: row["tokens_before_truncation"].as_u64().unwrap(),
        embedding: numbers(&row["embedding"]),
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    serde_json::from_value(list.clone()).unwrap()
}

/// The rows of `expected.json` by prompt, as a run of the program takes them.
fn by_prompt(name: &str) -> BTreeMap<Option<String>, Vec<Expected>> {
    let mut groups: BTreeMap<Option<String>, Vec<Expected>> = BTreeMap::new();
    for row in expected(name) {
        groups.entry(row.prompt.clone()).or_default().push(row);
    }
    groups
}

/// What `sciembed model embed` answers to these texts.
fn embed(env: &TestEnv, model: &Path, options: &[&str], texts: &[&str]) -> Vec<Value> {
    let input: String = texts.iter().map(|text| format!("{}\n", json!({ "text": text }))).collect();
    let library = onnxruntime().unwrap();
    let arguments = [&["model", "embed", model.to_str().unwrap()], options].concat();
    let told = env.run_with(&arguments, &input, &[("SCIEMBED_ONNXRUNTIME", &library)]);
    assert_eq!(told.code, Some(0), "{}: {}", model.display(), told.err);
    let answers: Vec<Value> = told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), texts.len());
    answers
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

/// The same tokens, the same count of those left out, and the same vectors, for every prompt.
#[test]
fn vectors_are_those_of_transformers() {
    if onnxruntime().is_none() {
        return;
    }
    let env = TestEnv::empty();
    for name in FIXTURES {
        for (prompt, rows) in by_prompt(name) {
            let options: Vec<&str> = prompt.iter().flat_map(|prompt| ["--prompt", prompt]).collect();
            let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
            for (answer, row) in embed(&env, &fixture(name), &options, &texts).iter().zip(&rows) {
                let text = format!("{name}, {prompt:?}, {:.40}", row.text);
                assert_eq!(answer["token_ids"], json!(row.ids), "{text}");
                let counts = ["tokens", "tokens_dropped"].map(|field| answer[field].as_u64().unwrap());
                assert_eq!(counts, [row.ids.len() as u64, row.whole - row.ids.len() as u64], "{text}");
                let found = numbers(&answer["embedding"]);
                assert_eq!(found.len(), row.embedding.len(), "{text}");
                let error = found.iter().zip(&row.embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(error < 1e-5, "{text}: off by {error:e}");
            }
        }
    }
}

/// How near int8 must come. Weights of no training have no outliers to round away, but nothing to spare either.
const INT8_COSINE: f64 = 0.97;

#[test]
fn int8_is_near() {
    if onnxruntime().is_none() {
        return;
    }
    let env = TestEnv::empty();
    for name in FIXTURES {
        let rows: Vec<Expected> = expected(name).into_iter().filter(|row| row.prompt.is_none()).collect();
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        for (answer, row) in embed(&env, &fixture(name), &["--precision", "int8"], &texts).iter().zip(&rows) {
            let found = cosine(&numbers(&answer["embedding"]), &row.embedding);
            assert!(found >= INT8_COSINE, "{name}, {:.40}: cosine {found:.5}", row.text);
        }
    }
}

/// The digest of the graph that is planned for each model. One that changes makes every vector of such a model stale:
/// whoever changes one raises `REVISION` only if vectors change, and says "your caches will rebuild" in any case.
#[test]
fn graphs_are_pinned() {
    let graphs = FIXTURES.iter().flat_map(|name| {
        [Precision::F32, Precision::Int8].map(|precision| {
            let config = EmbedConfig { precision, ..EmbedConfig::of(fixture(name).to_str().unwrap()) };
            let nothing = Environment::default();
            let resolved =
                resolve(&config, &mut Library::of_folders(Path::new("")), &nothing, &mut |path| Digest::of_file(path))
                    .unwrap();
            let Runner::Onnx(onnx) = resolved.runner else { panic!("it is a folder") };
            let Graph::Own(own) = &onnx.package.graph else { panic!("it has weights") };
            format!("{name:<15} {precision:<4} {:.16}\n", own.planned.digest().to_string())
        })
    });
    insta::assert_snapshot!(graphs.collect::<String>());
}

/// A converted model is the same bytes whoever makes it, and where.
#[test]
fn converting_twice_gives_equal_bytes() {
    let env = TestEnv::empty();
    let convert = |name: &str, out: &str| {
        let told = env.run(&["model", "convert", fixture(name).to_str().unwrap(), "--out", out]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        let read = |path: PathBuf| (path.file_name().unwrap().to_owned(), fs::read(path).unwrap());
        files(&env.path(out)).into_iter().map(read).collect::<Vec<_>>()
    };
    for name in FIXTURES {
        let [first, second] = ["first", "second"].map(|out| convert(name, &format!("{name}-{out}")));
        assert!(first == second && first.len() == 4, "{name}");
    }
    let refused = |arguments: &[&str], words: &str| {
        let told = env.run(&[&["model", "convert", fixture("bert-mean").to_str().unwrap()], arguments].concat());
        assert!(told.code == Some(1) && told.err.contains(words), "{}", told.err);
    };
    let model = fixture("bert-mean");
    let half = ["model", "convert", model.to_str().unwrap(), "--precision", "f16", "--out", "half"];
    let told = env.run(&half);
    assert_eq!(told.code, Some(0), "made for a GPU, it is written without one: {}", told.err);
    let bytes = |out: &str| fs::metadata(env.path(out).join("model.onnx_data")).unwrap().len();
    assert!(bytes("half") < bytes("bert-mean-first"), "{} and {}", bytes("half"), bytes("bert-mean-first"));
    refused(&["--out", "bert-mean-first"], "bert-mean-first exists already");
    refused(&["--out", "int8", "--precision", "int8"], "kernels of sciembed, which other programs do not have");
}

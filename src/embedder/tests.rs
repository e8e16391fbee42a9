//! The promises of the trait, kept by both embedders. The real model is what `./setup.sh` puts into `models/`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::convert::Operators;
use crate::digest::Digest;
use crate::encoding::Dtype;
use crate::manifest::config::{Device, EmbedConfig, GraphChoice, Long, OnnxConfig, Precision};
use crate::model::{Library, ModelPackage, Onnx};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MODEL: &str = "models/all-MiniLM-L6-v2";

pub(super) fn config(model: &str) -> EmbedConfig {
    let onnx = OnnxConfig { device: Device::Cpu, ..OnnxConfig::default() };
    EmbedConfig { store_dtype: Dtype::F32, onnx, ..EmbedConfig::of(model) }
}

fn environment() -> Environment {
    // One folder for all tests of a process: a model is converted once, and what is there is checked.
    static GRAPHS: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    let onnxruntime = vec![Path::new(ROOT).join("lib/libonnxruntime.so")];
    Environment { onnxruntime, cores: 2, graphs: GRAPHS.path().into(), ..Environment::default() }
}

/// Resolves `config` with the real model, or says loudly that the test is skipped.
fn resolved(config: &EmbedConfig) -> Option<ResolvedModel> {
    for needed in [format!("{MODEL}/model.onnx"), "lib/libonnxruntime.so".to_owned()] {
        if !Path::new(ROOT).join(&needed).exists() {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("\n*** SKIPPED: {test} needs {needed}; run ./setup.sh, which brings it ***\n");
            return None;
        }
    }
    Some(resolve(config, &mut Library::of_folders(Path::new(ROOT)), &environment(), &mut Digest::of_file).unwrap())
}

pub(super) fn real_model(graph: GraphChoice) -> Option<(Environment, Onnx)> {
    match resolved(&EmbedConfig { graph: Some(graph), ..config(MODEL) })?.runner {
        Runner::Onnx(onnx) => Some((environment(), *onnx)),
        Runner::Api(_) | Runner::Fake(_) => unreachable!("the reference is a path"),
    }
}

pub(super) fn own_model(precision: Precision) -> Option<(Environment, Onnx)> {
    match resolved(&EmbedConfig { precision, ..config(MODEL) })?.runner {
        Runner::Onnx(onnx) => Some((environment(), *onnx)),
        Runner::Api(_) | Runner::Fake(_) => unreachable!("the reference is a path"),
    }
}

fn started(config: &EmbedConfig) -> Option<Box<dyn Embedder>> {
    Some(resolved(config)?.start(&environment()).unwrap())
}

fn fake(reference: &str) -> Box<dyn Embedder> {
    let resolved =
        resolve(&config(reference), &mut Library::of_folders(Path::new(ROOT)), &environment(), &mut Digest::of_file);
    resolved.unwrap().start(&environment()).unwrap()
}

/// What was embedded, if that is told.
pub(super) fn embedding_of(told: Told) -> Option<(usize, Embedding)> {
    if let Told::Embedded(row, embedding) = told { Some((row, embedding)) } else { None }
}

/// All embeddings in the order of the texts; each row is delivered exactly once.
fn embed_all(embedder: &mut dyn Embedder, texts: &[&str]) -> Vec<Embedding> {
    let mut rows = vec![None; texts.len()];
    let mut sink = |told: Told| {
        let (row, embedding) = embedding_of(told).expect("nothing else is told");
        assert!(rows[row].replace(embedding).is_none(), "row {row} came twice");
        ControlFlow::Continue(())
    };
    embedder.embed(texts, &mut sink).unwrap();
    rows.into_iter().map(|row| row.expect("every row comes")).collect()
}

fn bits(embeddings: &[Embedding]) -> Vec<Vec<u32>> {
    embeddings.iter().map(|embedding| embedding.vector.iter().map(|value| value.to_bits()).collect()).collect()
}

/// Texts of 0 to about 300 words, many of equal length in tokens.
fn mixed_texts() -> Vec<String> {
    const SENTENCES: [&str; 4] = [
        "We present deep spectroscopy of a lensed galaxy at redshift 2.3.",
        "The rotation curve stays flat far beyond the optical disk, which asks for dark matter.",
        "Pulsar timing residuals limit the stochastic background of gravitational waves.",
        "A magnetised accretion flow launches jets whose power grows with the spin of the black hole.",
    ];
    let text =
        |n: usize| SENTENCES.iter().cycle().skip(n % 4).take((n * n) % 23).copied().collect::<Vec<_>>().join(" ");
    (0..24).map(text).collect()
}

fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// A vector may depend on its text alone: not on neighbours, sessions, threads or batches.
#[test]
fn vectors_are_bit_identical_whatever_runs_beside_them() {
    let shapes = [
        (1, 1, 1),
        (1, 1, 512),
        (1, 2, 4096),
        (2, 1, 1),
        (2, 1, 512),
        (2, 1, 4096),
        (8, 1, 512),
        (8, 2, 4096),
        (1, 2, 512),
        (1, 2, 1),
    ];
    for (graph, precision, shapes) in [
        (GraphChoice::Own, Precision::F32, &shapes[..]),
        (GraphChoice::Own, Precision::Int8, &shapes[..3]),
        (GraphChoice::Bundled, Precision::F32, &shapes[..3]),
    ] {
        bit_identical(&EmbedConfig { graph: Some(graph), precision, ..config(MODEL) }, shapes);
    }
    bit_identical(&EmbedConfig { long: Long::Mean, max_length: Some(64), ..config(MODEL) }, &shapes[..5]);
}

fn bit_identical(config: &EmbedConfig, shapes: &[(usize, usize, usize)]) {
    let texts = mixed_texts();
    let texts = as_strs(&texts);
    let mut expected: Option<Vec<Vec<u32>>> = None;
    for &(sessions, threads, max_batch_tokens) in shapes {
        let mut config = config.clone();
        config.onnx.sessions = Some(sessions);
        config.onnx.threads = Some(threads);
        config.onnx.max_batch_tokens = Some(max_batch_tokens);
        let Some(mut embedder) = started(&config) else { return };
        let found = bits(&embed_all(&mut *embedder, &texts));
        let expected = expected.get_or_insert_with(|| found.clone());
        for (row, (found, expected)) in found.iter().zip(&*expected).enumerate() {
            assert!(found == expected, "row {row} differs with {sessions} x {threads}, {max_batch_tokens} tokens");
        }
    }
}

/// The title and abstract of the example papers, by bibcode, as the reference embeddings were made from them.
fn example_texts() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for year in ["2010", "2011", "2012"] {
        let path = Path::new(ROOT).join(format!("examples/data/ads_metadata_by_year_full/{year}.json.gz"));
        let mut lines = String::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut lines).unwrap();
        for line in lines.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let field = |value: &Value| value.as_str().unwrap().to_owned();
            let text = format!("{}\n\n{}", field(&record["title"][0]), field(&record["abstract"]));
            texts.insert(field(&record["bibcode"]), text);
        }
    }
    texts
}

/// The oracle is sentence-transformers in fp32. The graph of f32 weights is the same to the last digits; int8 is as near
/// as was measured to cost nothing in retrieval; the folder's own graph has weights of 8 bits.
#[test]
fn vectors_agree_with_sentence_transformers() {
    for (graph, precision, least, mean) in [
        (GraphChoice::Own, Precision::F32, 0.999_999, 0.999_999),
        (GraphChoice::Own, Precision::Int8, 0.985, 0.993),
        (GraphChoice::Bundled, Precision::F32, 0.99, 0.999),
    ] {
        let config = EmbedConfig { graph: Some(graph), precision, ..config(MODEL) };
        let Some(mut embedder) = started(&config) else { return };
        let cosines = golden_cosines(&mut *embedder);
        let found = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let worst = cosines.iter().copied().fold(1.0, f64::min);
        assert!(worst >= least && found >= mean, "{graph} {precision}: cosine: min {worst:.6}, mean {found:.6}");
    }
}

/// Graphs for GPUs, run on the CPU: a trained model has outliers that those of tests lack.
#[test]
fn f16_for_gpus_agrees_with_sentence_transformers() {
    for operators in [Operators::Standard, Operators::Plain] {
        let Some(mut resolved) = resolved(&config(MODEL)) else { return };
        let Runner::Onnx(onnx) = &mut resolved.runner else { unreachable!("the reference is a path") };
        let half = EmbedConfig { precision: Precision::F16, ..config(MODEL) };
        onnx.package =
            ModelPackage::open(&Path::new(ROOT).join(MODEL), &half, operators, &mut Digest::of_file).unwrap();
        let cosines = golden_cosines(&mut *resolved.start(&environment()).unwrap());
        let worst = cosines.iter().copied().fold(1.0, f64::min);
        assert!((0.99999..0.999_999_99).contains(&worst), "{operators:?}: cosine: min {worst:.8}");
    }
}

/// The batches that a GPU gets, run on the CPU: large ones of equal length, whose rows come back in order and in the same bits.
#[test]
fn batches_for_a_gpu_give_the_same_bits() {
    let Some(mut embedder) = started(&config(MODEL)) else { return };
    let short = (0..1000).map(|n| [n % 10, n / 10 % 10, n / 100].map(|word| WORDS[word]).join(" "));
    let long = (0..40).map(|n| format!("{} {} ", WORDS[n % 10], WORDS[n / 10]).repeat(12 + n % 2));
    let texts: Vec<String> = short.chain(long).chain([String::new()]).collect();
    let mut large = config(MODEL);
    large.onnx.max_batch_tokens = Some(16_384);
    let mut large = started(&large).unwrap();
    let (expected, found) = (embed_all(&mut *embedder, &as_strs(&texts)), embed_all(&mut *large, &as_strs(&texts)));
    let lengths: Vec<usize> = found.iter().map(|row| row.tokens as usize).collect();
    let batches = batch::batches(&lengths, batch::Limits { tokens: 16_384, rows: usize::MAX });
    assert!(batches.len() < 8 && batches.iter().any(|batch| batch.len() == 1000), "{lengths:?}");
    assert_eq!(bits(&found), bits(&expected));
}

/// The cosine of each of the 60 golden records with its reference; tokens are counted on the way.
fn golden_cosines(embedder: &mut dyn Embedder) -> Vec<f64> {
    let golden = std::fs::read(Path::new(ROOT).join("tests/fixtures/golden_minilm_60.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let rows = golden["rows"].as_array().unwrap();
    let texts = example_texts();
    let texts: Vec<&str> = rows.iter().map(|row| texts[row["bibcode"].as_str().unwrap()].as_str()).collect();
    let embedded = embed_all(embedder, &texts);
    let cosine = |(row, embedding): (&Value, &Embedding)| {
        // The reference counts the whole text; the model sees 256 tokens of it, and the rest is counted as dropped.
        let whole = row["tokens"].as_u64().unwrap();
        let counted = (u64::from(embedding.tokens), u64::from(embedding.tokens_dropped));
        assert_eq!(counted, (whole.min(256), whole.saturating_sub(256)), "{}", row["bibcode"]);
        let reference: Vec<f64> = row["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        cosine(&reference, &embedding.vector)
    };
    rows.iter().zip(&embedded).map(cosine).collect()
}

fn cosine(a: &[f64], b: &[f32]) -> f64 {
    let b: Vec<f64> = b.iter().map(|&value| f64::from(value)).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(a, &b) / (product(a, a) * product(&b, &b)).sqrt()
}

#[test]
fn tokens_and_dropped_tokens_are_counted_exactly() {
    let mut short = config(MODEL);
    short.max_length = Some(8);
    let Some(mut embedder) = started(&short) else { return };
    let counts = |embedding: &Embedding| (embedding.tokens, embedding.tokens_dropped);
    let rows = embed_all(&mut *embedder, &["", "star", "star star star star star star", &"star ".repeat(600)]);
    assert_eq!(rows.iter().map(counts).collect::<Vec<_>>(), [(2, 0), (3, 0), (8, 0), (8, 594)]);
    assert_eq!(bits(&rows[2..3]), bits(&rows[3..4]), "what was dropped must not be seen");
    for row in &rows {
        let norm: f32 = row.vector.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-5);
    }

    // The file's own truncation (128) and padding (128) are gone: the limit is sentence_bert_config's 256.
    let Some(mut embedder) = started(&config(MODEL)) else { return };
    let rows = embed_all(&mut *embedder, &["star", &"star ".repeat(200), &"star ".repeat(300)]);
    assert_eq!(rows.iter().map(counts).collect::<Vec<_>>(), [(3, 0), (202, 0), (256, 46)]);
}

/// Words of one token each.
const WORDS: [&str; 10] = ["star", "dark", "matter", "galaxy", "red", "light", "field", "mass", "disk", "jet"];

/// The vectors of windows are those of their texts alone, and each has the prompt before it.
#[test]
fn a_long_text_is_the_mean_of_its_windows() {
    for prompt in ["", "query "] {
        let prompt_tokens = prompt.split_whitespace().count();
        let long = EmbedConfig {
            long: Long::Mean,
            overlap: Some(1),
            max_length: Some(7 + prompt_tokens),
            prompt: Some(prompt.into()),
            ..config(MODEL)
        };
        let Some(mut embedder) = started(&long) else { return };
        let parts = [&WORDS[..5], &WORDS[4..9], &WORDS[8..]].map(|words| words.join(" "));
        let rows = embed_all(&mut *embedder, &as_strs(&[&[WORDS.join(" ")][..], &parts].concat()));
        let weights = rows[1..].iter().map(|part| part.tokens).collect::<Vec<_>>();
        assert_eq!(weights, [7, 7, 4].map(|tokens| tokens + prompt_tokens as u32));
        assert_eq!((rows[0].tokens, rows[0].tokens_dropped), (weights.iter().sum(), 0));
        let mut mean = vec![0.0; 384];
        for (part, weight) in rows[1..].iter().zip(weights) {
            mean.iter_mut().zip(&part.vector).for_each(|(sum, &value)| *sum += f64::from(weight) * f64::from(value));
        }
        assert!(cosine(&mean, &rows[0].vector) > 0.999_999_999);
        let norm: f32 = rows[0].vector.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_long_text_may_be_cut_at_a_word() {
    let text = "dark energy spectroscopically";
    let cut = |long, max_length| {
        let config = EmbedConfig { long, max_length: Some(max_length), ..config(MODEL) };
        let tokenizer = resolved(&config)?.tokenizer().unwrap().unwrap();
        let tokens = tokenizer.encode(text).unwrap();
        let reading = tokenizer.read_aloud(text).unwrap();
        assert_eq!((tokens.len(), reading.len()), (1, 1));
        assert_eq!(tokens[0].ids.len(), reading[0].tokens.len());
        Some((&text[reading[0].bytes.clone()], tokens[0].dropped, reading[0].tokens.join(" ")))
    };
    if cut(Long::Word, 8).is_none() {
        return;
    }
    let whole = "[CLS] dark energy spec ##tro ##scopic ##ally [SEP]";
    assert_eq!(cut(Long::Word, 8).unwrap(), (text, 0, whole.into()));
    assert_eq!(cut(Long::Truncate, 7).unwrap(), ("dark energy spectroscopic", 1, whole.replace(" ##ally", "")));
    assert_eq!(cut(Long::Word, 7).unwrap(), ("dark energy", 4, "[CLS] dark energy [SEP]".into()));
    // A word that is longer than all that fits is cut inside.
    let config = EmbedConfig { long: Long::Word, max_length: Some(3), ..config(MODEL) };
    let tokenizer = resolved(&config).unwrap().tokenizer().unwrap().unwrap();
    assert_eq!(tokenizer.encode("spectroscopically").unwrap()[0].dropped, 3);
    let windows = EmbedConfig { long: Long::Mean, max_length: Some(7), overlap: Some(1), ..config };
    let windows = resolved(&windows).unwrap().tokenizer().unwrap().unwrap().read_aloud(text).unwrap();
    let shown: Vec<&str> = windows.iter().map(|window| &text[window.bytes.clone()]).collect();
    assert_eq!(shown, ["dark energy spectroscopic", "scopically"]);
}

/// With a prompt that leaves nothing of a text to be read all vectors would be one.
#[test]
fn a_prompt_leaves_room_for_the_text() {
    let prompted = |words: usize| {
        let prompt = Some("star ".repeat(words));
        resolved(&EmbedConfig { prompt, max_length: Some(16), ..config(MODEL) })
    };
    let Some(model) = prompted(13) else { return };
    assert_eq!(model.tokenizer().unwrap().unwrap().text_room(), 1);
    for words in [14, 15] {
        let error = prompted(words).unwrap().tokenizer().err().unwrap();
        assert!(matches!(error, EmbedderError::Prompt { .. }), "{error}");
    }
}

#[test]
fn a_broken_call_stops_and_the_next_one_is_whole() {
    let texts = mixed_texts();
    let texts = as_strs(&texts);
    for embedder in [Some(fake("fake://12")), started(&config(MODEL))] {
        let Some(mut embedder) = embedder else { continue };
        let mut seen = 0;
        let mut sink = |_: Told| {
            seen += 1;
            if seen < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        embedder.embed(&texts, &mut sink).unwrap();
        assert_eq!(seen, 3);
        assert_eq!(embed_all(&mut *embedder, &texts).len(), texts.len());
        embedder.embed(&[], &mut |_| panic!("there is no row")).unwrap();
    }
}

#[test]
fn the_description_says_what_ran() {
    let Some(resolved) = resolved(&config(MODEL)) else { return };
    let embedder = resolved.start(&environment()).unwrap();
    let description = embedder.description();
    assert_eq!((description.key, description.dim), (resolved.key, 384));
    assert_eq!((description.numerics.as_str(), description.bit_stable), ("cpu-f32", true));
    assert!(description.runtime.starts_with("onnxruntime 1."), "{}", description.runtime);
    assert!(description.cpu_class.starts_with(std::env::consts::ARCH));

    let mut auto = config(MODEL);
    auto.onnx.device = Device::Auto;
    let cpu_only = Environment::default();
    let auto = resolve(&auto, &mut Library::of_folders(Path::new(ROOT)), &cpu_only, &mut Digest::of_file).unwrap();
    assert_eq!(auto.key, resolved.key, "auto is settled before the key is made");
    let missing = auto.start(&cpu_only).err().unwrap();
    assert!(matches!(missing, EmbedderError::NoRuntime { .. }), "{missing}");
}

/// Copies the model's folder, with one file replaced.
fn altered_model(file: &str, bytes: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    let original = Path::new(ROOT).join(MODEL);
    for name in
        ["model.safetensors", "model.onnx", "tokenizer.json", "modules.json", "config.json", "1_Pooling/config.json"]
    {
        std::fs::copy(original.join(name), copy.path().join(name)).unwrap();
    }
    std::fs::write(copy.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 256}"#).unwrap();
    std::fs::write(copy.path().join(file), bytes).unwrap();
    copy
}

#[test]
fn a_package_that_changed_or_cannot_run_is_refused() {
    if resolved(&config(MODEL)).is_none() {
        return;
    }
    let resolve_in = |folder: &Path| {
        resolve(
            &config(folder.to_str().unwrap()),
            &mut Library::of_folders(Path::new("/")),
            &environment(),
            &mut Digest::of_file,
        )
        .unwrap()
    };
    let complaint = |resolved: &ResolvedModel| resolved.start(&environment()).err().unwrap();

    let changing = altered_model("README.md", b"no part of the package");
    let before = resolve_in(changing.path());
    std::fs::write(changing.path().join("README.md"), "still none").unwrap();
    assert_eq!(resolve_in(changing.path()).key, before.key);
    std::fs::write(changing.path().join("tokenizer.json"), "{}").unwrap();
    assert!(matches!(complaint(&before), EmbedderError::Changed { .. }));
    assert!(matches!(complaint(&resolve_in(changing.path())), EmbedderError::BadTokenizer { .. }));

    let broken = altered_model("model.onnx", b"no graph");
    std::fs::remove_file(broken.path().join("model.safetensors")).unwrap();
    let error = complaint(&resolve_in(broken.path()));
    assert!(matches!(error, EmbedderError::Session { .. }), "{error}");

    let narrow = altered_model("config.json", br#"{"max_position_embeddings": 512, "hidden_size": 128}"#);
    std::fs::write(narrow.path().join("1_Pooling/config.json"), r#"{"pooling_mode_cls_token": true}"#).unwrap();
    let mut embedder = resolve_in(narrow.path()).start(&environment()).unwrap();
    let error = embedder.embed(&["star"], &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.contains("[1, 3, 384]") && error.contains("[1, 3, 128]"), "{error}");
}

#[test]
fn the_fake_is_deterministic_and_truncates_like_a_model() {
    let texts = ["", "dark matter", "dark energy", "dark matter"];
    let rows = embed_all(&mut *fake("fake://16?delay_us=10"), &texts);
    assert_eq!(bits(&rows), bits(&embed_all(&mut *fake("fake://16"), &texts)));
    assert_eq!(bits(&rows[1..2]), bits(&rows[3..4]));
    assert_ne!(bits(&rows[1..2]), bits(&rows[2..3]));
    assert_eq!((rows[0].tokens, rows[1].tokens, rows[1].vector.len()), (2, 4, 16));

    let mut short = config("fake://16");
    short.max_length = Some(3);
    let short =
        resolve(&short, &mut Library::of_folders(Path::new(ROOT)), &environment(), &mut Digest::of_file).unwrap();
    let row = &embed_all(&mut *short.start(&environment()).unwrap(), &["dark matter"])[0];
    assert_eq!((row.tokens, row.tokens_dropped), (3, 1));
    assert_eq!(row.vector, embed_all(&mut *fake("fake://16"), &["dark"])[0].vector);
}

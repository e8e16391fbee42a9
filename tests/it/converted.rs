//! Vectors of converted models, against an oracle that computes them by plain loops: other sizes, forms and settings
//! than the models of `models.rs` have.

use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use safetensors::Dtype;
use sciembed::convert::Operators;
use sciembed::digest::Digest;
use sciembed::embedder::{Embedding, Environment, Told, resolve};
use sciembed::manifest::config::{Device, EmbedConfig, OnnxConfig, Pooling, Precision};
use sciembed::model::{Library, ModelPackage, Runner};

use crate::env::times;
use crate::made_model::Made;
use crate::models::{FIXTURES, expected, fixture, onnxruntime};
use crate::oracle::{Oracle, Overrides, Tokens};

/// How far a component may be off where the program computes in f32.
const TOLERANCE: f64 = 1e-5;

/// Operators and numbers of a graph that is for GPUs; ONNX Runtime runs it on a CPU too.
type Form = (Operators, Precision);

/// The vectors that a model gives, in the order of the texts; in the form that it has on a CPU, unless another is named.
fn embeddings(config: &EmbedConfig, form: Option<Form>, texts: &[&str]) -> Option<Vec<Embedding>> {
    let graphs = tempfile::tempdir().unwrap();
    let env = Environment {
        onnxruntime: vec![onnxruntime()?],
        cores: 1,
        graphs: graphs.path().into(),
        ..Environment::default()
    };
    let config = EmbedConfig { onnx: OnnxConfig { device: Device::Cpu, ..config.onnx.clone() }, ..config.clone() };
    let mut resolved =
        resolve(&config, &mut Library::of_folders(Path::new("/")), &env, &mut |path| Digest::of_file(path)).unwrap();
    if let (Some((operators, precision)), Runner::Onnx(onnx)) = (form, &mut resolved.runner) {
        let (folder, config) = (onnx.package.folder.clone(), EmbedConfig { precision, ..config });
        onnx.package = ModelPackage::open(&folder, &config, operators, &mut |path| Digest::of_file(path)).unwrap();
    }
    let mut rows = vec![None; texts.len()];
    let mut take = |told: Told| {
        let Told::Embedded(row, embedding) = told else { panic!("{told:?}") };
        rows[row] = Some(embedding);
        ControlFlow::Continue(())
    };
    resolved.start(&env).unwrap().embed(texts, &mut take).unwrap();
    Some(rows.into_iter().map(Option::unwrap).collect())
}

fn worst(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
    off.fold(0.0, |worst, off| if off.is_nan() { f64::INFINITY } else { worst.max(off) })
}

/// How far a vector points away: 1 less the cosine.
fn turned(found: &[f32], expected: &[f64]) -> f64 {
    let found: Vec<f64> = found.iter().copied().map(f64::from).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    1.0 - product(&found, expected) / (product(&found, &found) * product(expected, expected)).sqrt()
}

/// How far a model's vectors are off at most, by `measure`; nothing where there is no ONNX Runtime.
fn off(made: &Made, overrides: &Overrides, form: Option<Form>, measure: fn(&[f32], &[f64]) -> f64) -> Option<f64> {
    let folder = tempfile::tempdir().unwrap();
    made.write(folder.path());
    let pooling = overrides.pooling.map(|asked| Pooling::ALL.into_iter().find(|(name, _)| *name == asked).unwrap().1);
    let config = EmbedConfig {
        prompt: made.prompt.map(|_| "query".to_owned()),
        pooling,
        normalize: overrides.normalize,
        dim: overrides.dim,
        ..EmbedConfig::of(folder.path().to_str().unwrap())
    };
    let texts = made.texts();
    let found = embeddings(&config, form, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
    let oracle = Oracle::open(folder.path());
    let prompt = made.prompt.map_or("", |(text, _)| text);
    let off = texts.iter().zip(&found).map(|(text, found)| {
        let tokens = made.tokens(prompt, text);
        let whole = prompt.split_whitespace().chain(text.split_whitespace()).count() + 2;
        assert_eq!(
            (found.tokens as usize, found.tokens_dropped as usize),
            (tokens.ids.len(), whole - tokens.ids.len())
        );
        measure(&found.vector, &oracle.vector(&tokens, overrides))
    });
    Some(off.fold(0.0, f64::max))
}

fn agrees(made: &Made) {
    agrees_with(made, &Overrides::default());
}

fn agrees_with(made: &Made, overrides: &Overrides) {
    if let Some(off) = off(made, overrides, None, worst) {
        assert!(off < TOLERANCE, "off by {off:e}: {made:?}, {overrides:?}");
    }
}

/// Every architecture, and what of it a graph for GPUs has in a form of its own.
fn for_gpus() -> Vec<Made> {
    let kinds = BERT_KIN.into_iter().chain(["modernbert"]);
    let mut made: Vec<Made> =
        kinds.map(|kind| Made { kind, hidden: 48, heads: 4, layers: 3, max_length: 40, ..Made::default() }).collect();
    for function in ["gelu_new", "relu", "silu"] {
        made.push(Made { function, types: 2, ..Made::default() });
        made.push(Made { kind: "modernbert", function, biases: true, local_attention: 4, ..Made::default() });
    }
    made.push(Made { prompt: Some(("w7 w8 w9 ", false)), ..Made::default() });
    made.push(Made { dense: vec![(17, "Tanh", true)], ..Made::default() });
    made.push(Made { kind: "mpnet", max_length: 300, ..Made::default() });
    made
}

#[test]
fn graphs_for_gpus_are_the_same_model() {
    for made in for_gpus() {
        for operators in [Operators::Standard, Operators::Plain] {
            let Some(off) = off(&made, &Overrides::default(), Some((operators, Precision::F32)), worst) else { return };
            assert!(off < TOLERANCE, "{operators:?}: off by {off:e}: {made:?}");
        }
    }
}

/// Near enough for any retrieval, and not the same: what runs is in f16.
#[test]
fn f16_is_near() {
    for made in for_gpus() {
        for operators in [Operators::Standard, Operators::Plain] {
            let form = Some((operators, Precision::F16));
            let Some(off) = off(&made, &Overrides::default(), form, turned) else { return };
            assert!((1e-9..1e-4).contains(&off), "{operators:?}: turned by {off:e}: {made:?}");
        }
    }
}

/// The oracle itself is held against transformers.
#[test]
fn the_oracle_agrees_with_transformers() {
    for name in FIXTURES {
        let oracle = Oracle::open(&fixture(name));
        for row in expected(name) {
            let ids: Vec<usize> = row.ids.iter().map(|&id| usize::try_from(id).unwrap()).collect();
            let tokens = Tokens { types: vec![0; ids.len()], ids, prompt: 0 };
            let vector = oracle.vector(&tokens, &Overrides::default());
            let off = vector.iter().zip(&row.embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 3e-6, "{name}, {:.40}: off by {off:e}", row.text);
        }
    }
}

const BERT_KIN: [&str; 5] = ["bert", "roberta", "xlm-roberta", "mpnet", "distilbert"];

#[test]
fn other_sizes() {
    for kind in BERT_KIN {
        for (hidden, heads, layers, intermediate) in [(24, 3, 1, 37), (60, 5, 3, 90), (20, 1, 3, 7)] {
            agrees(&Made { kind, hidden, heads, layers, intermediate, ..Made::default() });
        }
    }
    for (hidden, heads, layers, intermediate) in [(24, 3, 1, 37), (60, 5, 3, 90), (20, 1, 4, 7)] {
        agrees(&Made { kind: "modernbert", hidden, heads, layers, intermediate, ..Made::default() });
    }
}

#[test]
fn activations() {
    for function in ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "silu"] {
        for kind in ["bert", "distilbert", "modernbert"] {
            agrees(&Made { kind, function, ..Made::default() });
        }
    }
}

#[test]
fn segments() {
    for types in [1, 2, 4] {
        agrees(&Made { types, ..Made::default() });
        agrees(&Made { kind: "roberta", types, ..Made::default() });
    }
}

/// MPNet's far buckets, and windows of ModernBERT that a text is longer than.
#[test]
fn long_texts() {
    for kind in ["mpnet", "modernbert", "roberta"] {
        agrees(&Made { kind, max_length: 300, local_attention: 64, ..Made::default() });
    }
}

#[test]
fn modernbert_in_every_form() {
    for old_config in [false, true] {
        for biases in [false, true] {
            for (layers, local_attention, full_every) in [(1, 4, 1), (4, 6, 3), (3, 7, 2), (3, 2, 5)] {
                let made = Made { kind: "modernbert", heads: 2, ..Made::default() };
                agrees(&Made { old_config, biases, layers, local_attention, full_every, ..made });
            }
        }
    }
}

#[test]
fn weights_in_every_form() {
    for element in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        for (kind, prefix) in
            [("bert", "bert."), ("roberta", "roberta."), ("mpnet", "mpnet."), ("modernbert", "model.")]
        {
            for shards in [1, 3] {
                agrees(&Made { kind, prefix, element, shards, old_names: shards == 3, ..Made::default() });
            }
        }
    }
    agrees(&Made { kind: "distilbert", prefix: "distilbert.", old_names: true, ..Made::default() });
    agrees(&Made { kind: "xlm-roberta", prefix: "roberta.", old_names: true, ..Made::default() });
}

const POOLINGS: [&str; 6] = ["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"];

#[test]
fn poolings() {
    for pooling in POOLINGS {
        for normalize in [false, true] {
            agrees(&Made { pooling, normalize, new_pooling: normalize, ..Made::default() });
        }
        for pooled in [false, true] {
            let prompt = Some(("w7 w8 w9 ", pooled));
            agrees(&Made { pooling, prompt, normalize: false, ..Made::default() });
        }
    }
    for (name, _) in Pooling::ALL {
        let overrides = Overrides { pooling: Some(name), normalize: Some(false), ..Overrides::default() };
        agrees_with(&Made { kind: "modernbert", ..Made::default() }, &overrides);
    }
}

#[test]
fn dense_layers_and_truncation() {
    for function in ["Tanh", "Identity", "ReLU", "GELU", "SiLU", "Sigmoid"] {
        for bias in [false, true] {
            agrees(&Made { dense: vec![(17, function, bias)], normalize: bias, ..Made::default() });
        }
    }
    let two = Made { dense: vec![(50, "Tanh", true), (9, "Identity", false)], ..Made::default() };
    agrees(&two);
    for normalize in [None, Some(false), Some(true)] {
        for dim in [None, Some(1), Some(5)] {
            let overrides = Overrides { normalize, dim, ..Overrides::default() };
            agrees_with(&two, &overrides);
            agrees_with(&Made { kind: "distilbert", normalize: false, ..Made::default() }, &overrides);
        }
    }
}

/// A vector may depend on its text alone: not on neighbours, sessions or batches, in any precision.
#[test]
fn vectors_are_bit_identical_whatever_runs_beside_them() {
    for name in FIXTURES {
        let mut texts: Vec<String> = expected(name).into_iter().map(|row| row.text).collect();
        // Short ones, several of a length, so that rows share a run; and one that is alone in any.
        texts.extend((0..24).map(|n| "a pulsar in a cluster ".repeat(1 + n % 3)));
        texts.push(String::new());
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for precision in [Precision::F32, Precision::Int8] {
            let mut first: Option<Vec<Vec<u32>>> = None;
            for (sessions, threads, max_batch_tokens) in [(1, 1, 1), (1, 1, 512), (2, 1, 96), (3, 2, 4096)] {
                let speed = [sessions, threads, max_batch_tokens].map(Some);
                let [sessions, threads, max_batch_tokens] = speed;
                let onnx = OnnxConfig { device: Device::Cpu, provider: None, sessions, threads, max_batch_tokens };
                let config = EmbedConfig { precision, onnx, ..EmbedConfig::of(fixture(name).to_str().unwrap()) };
                let Some(found) = embeddings(&config, None, &texts) else { return };
                let bits = |row: &Embedding| row.vector.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                let found: Vec<Vec<u32>> = found.iter().map(bits).collect();
                let first = first.get_or_insert_with(|| found.clone());
                let differing = found.iter().zip(&*first).position(|(found, first)| found != first);
                assert_eq!(differing, None, "{name}, {precision}, {speed:?}");
            }
        }
    }
}

/// Any of them.
fn made() -> impl Strategy<Value = Made> {
    let kind = prop::sample::select(vec!["bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "modernbert"]);
    let sizes = (1usize..6, 1usize..9, 1usize..4, 1usize..70, 10usize..200, 4usize..90);
    let forms = (prop::sample::select(POOLINGS.to_vec()), any::<bool>(), any::<bool>(), 1usize..30, 1usize..4);
    let texts = (kind, sizes, forms, any::<u64>());
    texts.prop_map(|(kind, (heads, half, layers, intermediate, vocab, max_length), forms, seed)| {
        let (pooling, normalize, old_config, local_attention, full_every) = forms;
        // A head that is turned has an even width.
        let hidden = heads * if kind == "modernbert" { 2 * half } else { half + 3 };
        let sizes = Made { kind, hidden, heads, layers, intermediate, vocab, max_length, seed, ..Made::default() };
        Made { pooling, normalize, old_config, biases: old_config, local_attention, full_every, ..sizes }
    })
}

/// How many models of any size are made, unless `SCIEMBED_MODELS` says another number.
const MODELS: usize = 16;

fn few() -> ProptestConfig {
    let cases = u32::try_from(times("SCIEMBED_MODELS", MODELS)).unwrap();
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn any_size(made in made()) {
        // Where a normalisation divides by next to nothing, f32 has nothing left: no trained model is that narrow.
        prop_assume!(made.hidden >= 8);
        agrees(&made);
    }
}

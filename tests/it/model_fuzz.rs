//! Random bytes and random changes to good files, given to what reads model folders: an error or a plan comes out, never
//! a panic, and no memory is taken for what a file merely claims.
//!
//! A few hundred of each at every run of the tests; `just fuzz` asks for more.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use sciembed::convert::Weights;
use sciembed::digest::Digest;
use sciembed::embedder::{Environment, TextTokenizer, resolve};
use sciembed::manifest::config::{EmbedConfig, Long, Pooling};
use sciembed::model::{Library, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::env::times;
use crate::made_model::Made;

/// Cases of each test, unless `SCIEMBED_FUZZ` says another number.
const CASES: usize = 300;

/// Memory that this whole program may have taken at its height: the tests beside this one run ONNX Runtime.
const MOST_KILOBYTES: u64 = 2 << 20;

fn cases() -> ProptestConfig {
    let cases = u32::try_from(times("SCIEMBED_FUZZ", CASES)).unwrap();
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() }
}

/// One small model for each architecture.
static MODELS: LazyLock<Vec<TempDir>> = LazyLock::new(|| {
    let models = ["bert", "roberta", "mpnet", "distilbert", "modernbert"].map(|kind| {
        let folder = tempfile::tempdir().unwrap();
        let dense = vec![(5, "Tanh", true)];
        Made { kind, hidden: 8, heads: 2, layers: 3, vocab: 12, dense, ..Made::default() }.write(folder.path());
        folder
    });
    models.into_iter().collect()
});

const SETTINGS: [&str; 6] = [
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
];

/// Of a model that sees eight tokens, two or three of which are its prompt's.
fn settings(long: Long) -> Settings {
    Settings {
        pooling: Pooling::Mean,
        include_prompt: true,
        pooled: 8,
        stages: Vec::new(),
        max_length: 8,
        long,
        overlap: 2,
        dim: 8,
        lowercase: false,
        prompt: "w5 ".to_owned(),
        prompts: BTreeMap::new(),
    }
}

/// Plans the model, with one file of other bytes in place of its own.
fn plan(model: &Path, file: &str, bytes: &[u8]) -> bool {
    let copy = tempfile::tempdir().unwrap();
    for folder in ["1_Pooling", "2_Dense"] {
        fs::create_dir(copy.path().join(folder)).unwrap();
    }
    let weights = ["tokenizer.json", "model.safetensors", "2_Dense/model.safetensors"];
    for other in SETTINGS.into_iter().chain(weights).filter(|other| *other != file) {
        symlink(model.join(other), copy.path().join(other)).unwrap();
    }
    fs::write(copy.path().join(file), bytes).unwrap();
    let config = EmbedConfig::of(copy.path().to_str().unwrap());
    let mut library = Library::of_folders(Path::new("/"));
    let planned = resolve(&config, &mut library, &Environment::default(), &mut |_| Ok(Digest::of(b"")));
    // Every message can be worded.
    planned.inspect_err(|error| assert!(!error.to_string().is_empty())).is_ok()
}

fn peak_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn assert_memory_stays_bounded() {
    let peak = peak_kilobytes();
    assert!(peak < MOST_KILOBYTES, "{peak} kB were taken");
}

/// What a lie looks like.
fn lie() -> impl Strategy<Value = Value> {
    let sizes = prop_oneof![
        Just(json!(0)),
        Just(json!(1)),
        Just(json!(-1)),
        Just(json!(999_999_999)),
        Just(json!(u64::MAX)),
        Just(json!(1e300)),
        Just(json!(0.5)),
        (0u32..200).prop_map(|n| json!(n)),
        any::<i64>().prop_map(|n| json!(n)),
    ];
    prop_oneof![
        6 => sizes,
        1 => prop::sample::select(vec![json!(null), json!(true), json!(false), json!([]), json!({}), json!([[{}]])]),
        1 => "[a-z_.-]{0,12}".prop_map(|text| json!(text)),
        1 => prop::sample::select(vec!["bert", "roberta", "mpnet", "distilbert", "modernbert", "gelu", "../x", "/x"])
            .prop_map(|text| json!(text)),
    ]
}

/// Puts the lie somewhere into the value, by a number that chooses the way.
fn tell(value: &mut Value, way: u64, lie: Value) {
    let (step, rest) = (way % 13, way / 13);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let at = (rest as usize) % fields.len();
            let name = fields.keys().nth(at).unwrap().clone();
            if step == 0 {
                drop(fields.remove(&name));
            } else {
                tell(fields.get_mut(&name).unwrap(), rest / 64, lie);
            }
        }
        Value::Array(items) if !items.is_empty() && step > 1 => {
            let at = (rest as usize) % items.len();
            tell(&mut items[at], rest / 64, lie);
        }
        _ => *value = lie,
    }
}

/// Other bytes for some of a file's, or an end that comes early.
fn spoil(bytes: &mut Vec<u8>, changes: &[(usize, u8)], end: Option<usize>) {
    for &(at, byte) in changes {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    if let Some(end) = end {
        bytes.truncate(end % (bytes.len() + 1));
    }
}

/// The header's length, the header as JSON, and what follows.
fn taken_apart(path: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let length = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..length]).unwrap(), bytes[length..].to_vec())
}

fn put_together(header: &Value, data: &[u8]) -> Vec<u8> {
    let text = header.to_string();
    [&(text.len() as u64).to_le_bytes(), text.as_bytes(), data].concat()
}

#[test]
fn the_models_themselves_are_planned() {
    for model in MODELS.iter() {
        let config = fs::read(model.path().join("config.json")).unwrap();
        assert!(plan(model.path(), "config.json", &config));
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn settings_that_lie(
        model in 0usize..5,
        file in 0usize..6,
        lies in prop::collection::vec((any::<u64>(), lie()), 1..4),
    ) {
        let (model, file) = (MODELS[model].path(), SETTINGS[file]);
        let mut value: Value = serde_json::from_slice(&fs::read(model.join(file)).unwrap()).unwrap();
        for (way, lie) in lies {
            tell(&mut value, way, lie);
        }
        plan(model, file, value.to_string().as_bytes());
        assert_memory_stays_bounded();
    }

    #[test]
    fn settings_that_are_damaged(
        model in 0usize..5,
        file in 0usize..6,
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        end in prop::option::weighted(0.3, any::<usize>()),
    ) {
        let (model, file) = (MODELS[model].path(), SETTINGS[file]);
        let mut bytes = fs::read(model.join(file)).unwrap();
        spoil(&mut bytes, &changes, end);
        plan(model, file, &bytes);
    }

    #[test]
    fn headers_that_lie(model in 0usize..5, lies in prop::collection::vec((any::<u64>(), lie()), 1..4)) {
        let model = MODELS[model].path();
        let (mut header, data) = taken_apart(&model.join("model.safetensors"));
        for (way, lie) in lies {
            tell(&mut header, way, lie);
        }
        plan(model, "model.safetensors", &put_together(&header, &data));
        assert_memory_stays_bounded();
    }

    #[test]
    fn weights_that_are_damaged(
        model in 0usize..5,
        changes in prop::collection::vec((0usize..4_000, any::<u8>()), 0..6),
        end in prop::option::weighted(0.3, any::<usize>()),
    ) {
        let model = MODELS[model].path();
        let mut bytes = fs::read(model.join("model.safetensors")).unwrap();
        spoil(&mut bytes, &changes, end);
        plan(model, "model.safetensors", &bytes);
        assert_memory_stays_bounded();
    }

    #[test]
    fn any_bytes_as_weights(length in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..200), framed: bool) {
        let folder = tempfile::tempdir().unwrap();
        let length = if framed { bytes.len() as u64 } else { length };
        let bytes = [&length.to_le_bytes()[..], &bytes].concat();
        for name in ["model.safetensors", "model.safetensors.index.json"] {
            fs::write(folder.path().join(name), &bytes).unwrap();
            prop_assert!(Weights::open(folder.path()).is_err());
            fs::remove_file(folder.path().join(name)).unwrap();
        }
    }

    #[test]
    fn lists_of_shards_that_lie(way: u64, lie in lie()) {
        let folder = tempfile::tempdir().unwrap();
        let mut index = json!({ "weight_map": { "a": "one.safetensors", "b": "two.safetensors" } });
        tell(&mut index, way, lie);
        fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        prop_assert!(Weights::open(folder.path()).is_err());
    }

    #[test]
    fn tokenizers_that_lie(
        model in 0usize..5,
        lies in prop::collection::vec((any::<u64>(), lie()), 1..3),
        text in ".{0,20}",
        long in prop::sample::select(vec![Long::Truncate, Long::Word, Long::Mean]),
    ) {
        let path = MODELS[model].path().join("tokenizer.json");
        let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for (way, lie) in lies {
            tell(&mut value, way, lie);
        }
        if let Ok(tokenizer) = TextTokenizer::from_bytes(value.to_string().as_bytes(), &settings(long)) {
            drop(tokenizer.encode(&text));
            drop(tokenizer.read_aloud(&text));
        }
    }
}

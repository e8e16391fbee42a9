//! Model folders, good and bad: what is read from them, and that each complaint names the file and the field.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use miette::Diagnostic;

use super::*;
use crate::convert::{Operators, Stage};
use crate::digest::Digest;
use crate::encoding::Dtype;
use crate::manifest::config::{Device, EmbedConfig, Gpus, Long, OnnxConfig, Pooling, Precision, Provider};

const MODULES: &str = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

fn config() -> EmbedConfig {
    let onnx = OnnxConfig { device: Device::Cpu, ..OnnxConfig::default() };
    EmbedConfig { onnx, ..EmbedConfig::of("model") }
}

/// A folder whose graph and tokenizer are stand-ins: nothing here runs them.
fn good_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| write(folder.path(), name, text);
    write("model.onnx", "graph");
    write("tokenizer.json", "{}");
    write("modules.json", MODULES);
    write("1_Pooling/config.json", r#"{"word_embedding_dimension": 48, "pooling_mode_mean_tokens": true}"#);
    write("sentence_bert_config.json", r#"{"max_seq_length": 64, "do_lower_case": false}"#);
    write("config.json", r#"{"hidden_size": 48, "max_position_embeddings": 512}"#);
    write("config_sentence_transformers.json", r#"{"prompts": {}, "default_prompt_name": null}"#);
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn open(folder: &Path, config: &EmbedConfig) -> Result<ModelPackage, ModelError> {
    ModelPackage::open(folder, config, Operators::Kernels, &mut Digest::of_file)
}

fn resolved(folder: &Path, config: &EmbedConfig) -> Result<ResolvedModel, ModelError> {
    let env = Environment::default();
    resolve(
        &EmbedConfig { model: folder.to_str().unwrap().into(), ..config.clone() },
        &mut Library::of_folders(folder),
        &env,
        &mut Digest::of_file,
    )
}

/// Opens a good folder with one file changed (or removed, when `text` is empty); gives the complaint with its help.
fn complaint(name: &str, text: &str) -> String {
    let folder = good_folder();
    match text {
        "" => fs::remove_file(folder.path().join(name)).unwrap(),
        _ => write(folder.path(), name, text),
    }
    let error = open(folder.path(), &config()).unwrap_err();
    assert!(error.code().is_some());
    format!("{error} / {}", error.help().map(|help| help.to_string()).unwrap_or_default())
}

#[track_caller]
fn complains(name: &str, text: &str, parts: &[&str]) {
    let complaint = complaint(name, text);
    assert!(parts.iter().all(|part| complaint.contains(part)), "{complaint}");
}

#[test]
fn a_good_folder_gives_its_settings() {
    let package = open(good_folder().path(), &config()).unwrap();
    let expected = Settings {
        pooling: Pooling::Mean,
        include_prompt: true,
        pooled: 48,
        stages: vec![Stage::Normalize],
        max_length: 64,
        long: Long::Truncate,
        overlap: 16,
        dim: 48,
        lowercase: false,
        prompt: String::new(),
        prompts: BTreeMap::new(),
    };
    assert_eq!(package.settings, expected);
    let names: Vec<String> = package.files.keys().map(Role::ingredient).collect();
    let settings = [
        "1_Pooling/config.json",
        "config.json",
        "config_sentence_transformers.json",
        "modules.json",
        "sentence_bert_config.json",
    ];
    let settings = settings.map(|name| format!("model.settings.{name}"));
    assert_eq!(names, [&["model.graph".to_owned(), "model.tokenizer".to_owned()][..], &settings].concat());
}

#[test]
fn the_manifest_overrides_the_folder() {
    let folder = good_folder();
    let overrides =
        EmbedConfig { pooling: Some(Pooling::Cls), normalize: Some(false), max_length: Some(32), ..config() };
    let settings = open(folder.path(), &overrides).unwrap().settings;
    assert_eq!((settings.pooling, settings.normalize(), settings.max_length), (Pooling::Cls, false, 32));
    let error = open(folder.path(), &EmbedConfig { max_length: Some(513), ..config() }).unwrap_err().to_string();
    assert!(error.contains("max_length is 513") && error.contains("512 tokens (max_position_embeddings)"), "{error}");
}

#[test]
fn the_maximal_length_falls_back_to_tokenizer_and_positions() {
    let folder = good_folder();
    let length = || open(folder.path(), &config()).map(|package| package.settings.max_length);
    fs::remove_file(folder.path().join("sentence_bert_config.json")).unwrap();
    assert_eq!(length().unwrap(), 512);
    write(folder.path(), "tokenizer_config.json", r#"{"model_max_length": 128}"#);
    assert_eq!(length().unwrap(), 128);
    write(folder.path(), "config.json", r#"{"hidden_size": 48}"#);
    write(folder.path(), "tokenizer_config.json", r#"{"model_max_length": 1000000000000000019884624838656}"#);
    let error = length().unwrap_err();
    assert!(error.to_string().contains("max_length") && error.help().unwrap().to_string().contains("manifest"));
}

#[test]
fn nothing_is_guessed_without_modules() {
    let folder = good_folder();
    fs::remove_file(folder.path().join("modules.json")).unwrap();
    let open = |config: EmbedConfig| open(folder.path(), &config);
    assert!(open(config()).unwrap_err().to_string().contains("settle pooling"));
    let pooled = EmbedConfig { pooling: Some(Pooling::Mean), ..config() };
    assert!(open(pooled.clone()).unwrap_err().to_string().contains("settle normalize"));
    let stated = EmbedConfig { normalize: Some(true), ..pooled };
    assert_eq!(open(stated).unwrap().settings.dim, 48);
}

#[test]
fn missing_files_are_named_with_where_they_were_looked_for() {
    complains("model.onnx", "", &["a graph, or weights", "model.safetensors, model.onnx, onnx/model.onnx", "put"]);
    complains("tokenizer.json", "", &["the tokenizer", "looked for tokenizer.json"]);
    complains("1_Pooling/config.json", "", &["the pooling settings", "1_Pooling/config.json"]);
    let error = open(Path::new("/nonexistent/model"), &config()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/model"), "{error}");
}

#[test]
fn a_graph_may_lie_in_the_onnx_folder_with_its_weights_beside() {
    let folder = good_folder();
    fs::create_dir(folder.path().join("onnx")).unwrap();
    fs::rename(folder.path().join("model.onnx"), folder.path().join("onnx/model.onnx")).unwrap();
    write(folder.path(), "onnx/model.onnx_data", "weights");
    write(folder.path(), "onnx/model_quantized.onnx", "another graph");
    let package = open(folder.path(), &config()).unwrap();
    assert!(package.files[&Role::Graph].path.ends_with("onnx/model.onnx"));
    let data = &package.files[&Role::GraphData("model.onnx_data".into())];
    assert_eq!(data.digest, Digest::of(b"weights"));
}

#[test]
fn unsupported_modules_are_refused_by_name() {
    for (from, to, part) in [
        ("models.Normalize", "models.CNN", "models.CNN"),
        ("sentence_transformers.models.Pooling", "custom_st.Pooling", "custom_st.Pooling"),
        ("models.Normalize", "models.Transformer", "in the order"),
    ] {
        complains("modules.json", &MODULES.replace(from, to), &["modules.json", "type", part]);
    }
    for outside in ["../1_Pooling", "/etc", "1_Pooling/../../x"] {
        complains("modules.json", &MODULES.replace("1_Pooling", outside), &["modules.json", outside, "outside"]);
    }
    complains("modules.json", "{}", &["modules.json", "list of modules"]);
    let later = MODULES.replace("models.Pooling", "sentence_transformer.modules.Pooling");
    let folder = good_folder();
    write(folder.path(), "modules.json", &later);
    assert!(open(folder.path(), &config()).is_ok(), "later releases moved the modules");
}

#[test]
fn unsupported_pooling_is_refused_by_name() {
    let file = "1_Pooling/config.json";
    complains(file, r#"{"pooling_mode_median_tokens": true}"#, &[file, "median"]);
    let two = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#;
    complains(file, two, &[file, "pooling_mode_cls_token", "pooling_mode_mean_tokens"]);
    complains(file, r#"{"pooling_mode_mean_tokens": "yes"}"#, &[file, "pooling_mode_mean_tokens = \"yes\""]);
    complains(file, r#"{"pooling_mode_mean_tokens": true, "word_embedding_dimension": 49}"#, &["49", "48"]);
}

#[test]
fn bad_fields_name_file_field_and_value() {
    let file = "sentence_bert_config.json";
    complains(file, r#"{"max_seq_length": "256"}"#, &[file, "max_seq_length = \"256\""]);
    complains(file, r#"{"max_seq_length": 0}"#, &[file, "max_seq_length = 0"]);
    complains(file, "{", &[file, "JSON object"]);
    complains("config.json", r#"{"hidden_size": -1}"#, &["config.json", "hidden_size = -1"]);
    let prompt = r#"{"default_prompt_name": "passage"}"#;
    let file = "config_sentence_transformers.json";
    complains(file, prompt, &[file, "default_prompt_name", "\"passage\"", "prompts"]);
}

#[test]
fn do_lower_case_is_honoured_and_keyed() {
    let folder = good_folder();
    let before = resolved(folder.path(), &config()).unwrap();
    write(folder.path(), "sentence_bert_config.json", r#"{"max_seq_length": 64, "do_lower_case": true}"#);
    let after = resolved(folder.path(), &config()).unwrap();
    assert_eq!(after.ingredients["lowercase"], "true");
    assert_ne!(before.key, after.key);
}

/// What changes a vector changes the key, and nothing else does.
#[test]
fn the_key_holds_what_decides_a_vector() {
    let folder = good_folder();
    let key = |config: &EmbedConfig| resolved(folder.path(), config).unwrap().key;
    let before = key(&config());

    let onnx = OnnxConfig {
        device: Device::Auto,
        sessions: Some(3),
        threads: Some(2),
        max_batch_tokens: Some(9),
        ..OnnxConfig::default()
    };
    assert_eq!(key(&EmbedConfig { onnx, store_dtype: Dtype::F32, ..config() }), before);
    write(folder.path(), "README.md", "new");
    write(folder.path(), "model.safetensors", "other weights");
    assert_eq!(key(&config()), before);
    let moved = good_folder();
    assert_eq!(resolved(moved.path(), &config()).unwrap().key, before, "a path is in no key");

    assert_ne!(key(&EmbedConfig { max_length: Some(32), ..config() }), before);
    assert_ne!(key(&EmbedConfig { pooling: Some(Pooling::Max), ..config() }), before);
    write(folder.path(), "model.onnx", "another graph");
    assert_ne!(key(&config()), before);
}

#[test]
fn senseless_overrides_are_refused() {
    let folder = good_folder();
    let refused = |config: EmbedConfig| resolved(folder.path(), &config).unwrap_err().to_string();
    assert!(refused(EmbedConfig { max_length: Some(2), ..config() }).contains("max_length = 2"));
    let onnx = |onnx: OnnxConfig| refused(EmbedConfig { onnx, ..config() });
    assert!(onnx(OnnxConfig { sessions: Some(0), ..config().onnx }).contains("onnx.sessions = 0"));
    assert!(onnx(OnnxConfig { device: Device::Cuda(Gpus::FIRST), ..config().onnx }).contains("cuda"));
    let provider = OnnxConfig { provider: Some(Provider::Tensorrt), ..config().onnx };
    for device in [Device::Cpu, Device::Auto] {
        let message = onnx(OnnxConfig { device, ..provider.clone() });
        assert!(message.contains("onnx.provider = tensorrt") && message.contains("device = \"cuda\""), "{message}");
    }
    let half = |onnx: OnnxConfig| refused(EmbedConfig { precision: Precision::F16, onnx, ..config() });
    for (device, said) in [(Device::Cpu, "device = \"cpu\":"), (Device::Auto, "device = \"auto\" takes the CPU here:")]
    {
        let message = half(OnnxConfig { device, ..config().onnx });
        assert!(message.contains("precision = f16") && message.contains(said) && message.contains("int8"), "{message}");
    }

    let env = Environment::default();
    let fake = EmbedConfig { model: "fake://4".into(), normalize: Some(false), ..config() };
    let error =
        resolve(&fake, &mut Library::of_folders(folder.path()), &env, &mut Digest::of_file).unwrap_err().to_string();
    assert!(error.contains("normalize = false"), "{error}");
}

/// What is new in keys shows only where it is asked for.
#[test]
fn how_long_texts_are_read_is_in_the_key_unless_they_are_cut() {
    let folder = good_folder();
    let ingredients = |long, overlap| {
        let package = open(folder.path(), &EmbedConfig { long, overlap, ..config() }).unwrap();
        super::key::of_package(&package, Processor::Cpu)
    };
    let cut = ingredients(Long::Truncate, None);
    assert!(!cut.contains_key("long") && !cut.contains_key("overlap"));
    assert_eq!(ingredients(Long::Word, None)["long"], "word");
    let mean = ingredients(Long::Mean, Some(8));
    assert_eq!((mean["long"].as_str(), mean["overlap"].as_str()), ("mean", "8"));
    assert_eq!(ingredients(Long::Mean, None)["overlap"], "16", "a quarter of 64");
    let error = open(folder.path(), &EmbedConfig { long: Long::Mean, overlap: Some(33), ..config() }).unwrap_err();
    assert!(error.to_string().contains("at most 32, half of the 64"), "{error}");
}

#[test]
fn the_delay_of_the_fake_is_not_in_its_key() {
    let env = Environment::default();
    let key = |model: &str| {
        let config = EmbedConfig { model: model.into(), ..config() };
        resolve(&config, &mut Library::of_folders(Path::new("/")), &env, &mut Digest::of_file).unwrap().key
    };
    assert_eq!(key("fake://16"), key("fake://16?delay_us=5"));
    assert_ne!(key("fake://16"), key("fake://17"));
}

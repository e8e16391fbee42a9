//! What the program says of model folders that lie, are damaged or lack something, word for word. None may panic, end
//! with another code than 1, or take memory for what a file merely claims.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Map, Value, json};

use crate::env::{TestEnv, damage, files};
use crate::models::{fixture, onnxruntime};

/// More than the program needs for a model of half a megabyte, and far less than what the faults claim.
const MEGABYTES: usize = 256;

/// A fault by its name: what is done to the model's folder.
type Fault = (&'static str, fn(&Path));

/// A small model's folder of a test's own, `model` in the project.
pub fn copy(name: &str) -> (TestEnv, PathBuf) {
    let env = TestEnv::empty();
    let (from, to) = (fixture(name), env.path("model"));
    for path in glob::glob(from.join("**/*.*").to_str().unwrap()).unwrap().flatten() {
        let copy = to.join(path.strip_prefix(&from).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&path, &copy).unwrap();
    }
    (env, to)
}

/// What is said of each fault of a model, when it is run with these arguments.
fn said(model: &str, faults: &[Fault], arguments: &[&str]) -> String {
    let said = faults.iter().map(|(name, fault)| {
        let (env, folder) = copy(model);
        fault(&folder);
        format!("## {name}\n{}\n", complaint(&env, name, arguments))
    });
    said.collect()
}

fn complaint(env: &TestEnv, fault: &str, arguments: &[&str]) -> String {
    // Where a test needs ONNX Runtime, it has asked for it.
    let library = onnxruntime().unwrap_or_default();
    let told = env.run_within(MEGABYTES, arguments, "{\"text\": \"star\"}\n", &[("SCIEMBED_ONNXRUNTIME", &library)]);
    assert_eq!(told.code, Some(1), "{fault}: {}{}", told.out, told.err);
    assert!(!told.err.contains("panicked"), "{fault}: {}", told.err);
    told.err.trim_end().to_owned()
}

const INSPECT: &[&str] = &["model", "inspect", "model", "--device", "cpu"];
const EMBED: &[&str] = &["model", "embed", "model", "--device", "cpu"];

fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(value.as_object_mut().unwrap());
    fs::write(path, value.to_string()).unwrap();
}

fn config(folder: &Path, field: &str, value: Value) {
    edit(&folder.join("config.json"), |config| drop(config.insert(field.to_owned(), value)));
}

fn truncate(folder: &Path, bytes: u64) {
    fs::File::options().write(true).open(folder.join("model.safetensors")).unwrap().set_len(bytes).unwrap();
}

/// Replaces the header's text, and says its length anew.
fn header(folder: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let old = length_of(&bytes);
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + old]).unwrap();
    change(header.as_object_mut().unwrap());
    let mut text = header.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let length = (text.len() as u64).to_le_bytes();
    fs::write(&path, [&length[..], &text, &bytes[8 + old..]].concat()).unwrap();
}

/// The length of the header that a file begins with.
fn length_of(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// Makes an index of this weight map beside the weights, which are called `one.safetensors` then.
fn index(folder: &Path, map: Value) {
    fs::rename(folder.join("model.safetensors"), folder.join("one.safetensors")).unwrap();
    fs::write(folder.join("model.safetensors.index.json"), json!({ "weight_map": map }).to_string()).unwrap();
}

const NORM: &str = "embeddings.LayerNorm.bias";
const UP: &str = "encoder.layer.1.intermediate.dense.weight";

#[test]
fn safetensors() {
    let faults: &[Fault] = &[
        ("cut short in its header", |folder| truncate(folder, 100)),
        ("cut short in its data", |folder| truncate(folder, 400_000)),
        ("empty", |folder| truncate(folder, 0)),
        ("four bytes", |folder| truncate(folder, 4)),
        ("a header of ten gigabytes", |folder| {
            damage(&folder.join("model.safetensors"), &10_000_000_000u64.to_le_bytes());
        }),
        ("a header that is no JSON", |folder| {
            damage(&folder.join("model.safetensors"), &[40, 0, 0, 0, 0, 0, 0, 0, b'?'])
        }),
        ("offsets that overlap", |folder| {
            header(folder, |tensors| tensors[UP]["data_offsets"] = json!([0, 18_432]));
        }),
        ("a shape that overflows", |folder| {
            header(folder, |tensors| tensors[NORM]["shape"] = json!([u64::MAX, u64::MAX]));
        }),
        ("a tensor missing", |folder| {
            header(folder, |tensors| {
                let tensor = tensors.remove(NORM).unwrap();
                tensors.insert("embeddings.LayerNorm.other".to_owned(), tensor);
            });
        }),
        ("another shape", |folder| header(folder, |tensors| tensors[UP]["shape"] = json!([48, 96]))),
        ("integers", |folder| header(folder, |tensors| tensors[NORM]["dtype"] = json!("I32"))),
    ];
    insta::assert_snapshot!(said("bert-mean", faults, INSPECT));
}

#[test]
fn lists_of_shards() {
    let faults: &[Fault] = &[
        ("a shard that is not there", |folder| index(folder, json!({ NORM: "two.safetensors" }))),
        ("a shard elsewhere", |folder| index(folder, json!({ NORM: "../outside" }))),
        ("a path", |folder| index(folder, json!({ NORM: "/etc/passwd" }))),
        ("no shard at all", |folder| index(folder, json!({}))),
        ("a list that is none", |folder| index(folder, json!(7))),
        ("a tensor twice", |folder| {
            fs::copy(folder.join("model.safetensors"), folder.join("two.safetensors")).unwrap();
            index(folder, json!({ NORM: "one.safetensors", UP: "two.safetensors" }));
        }),
        ("a folder for a shard", |folder| {
            fs::create_dir(folder.join("two.safetensors")).unwrap();
            index(folder, json!({ NORM: "two.safetensors" }));
        }),
    ];
    insta::assert_snapshot!(said("bert-mean", faults, INSPECT));
}

/// What the header says may be right, and the values no numbers.
#[test]
fn weights_that_are_no_numbers() {
    let faults: &[Fault] = &[("not a number", |folder| {
        let path = folder.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let at = 8 + length_of(&bytes) + 400;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(path, bytes).unwrap();
    })];
    let convert = ["model", "convert", "model", "--out", "out", "--device", "cpu"];
    insta::assert_snapshot!(said("bert-mean", faults, &convert));
}

#[test]
fn config_that_lies() {
    let faults: &[Fault] = &[
        ("hidden_size", |folder| config(folder, "hidden_size", json!(64))),
        ("hidden_size, where the pooling says nothing", |folder| {
            config(folder, "hidden_size", json!(64));
            edit(&folder.join("1_Pooling/config.json"), |pooling| drop(pooling.remove("word_embedding_dimension")));
        }),
        ("vocab_size", |folder| config(folder, "vocab_size", json!(1300))),
        ("intermediate_size", |folder| config(folder, "intermediate_size", json!(97))),
        ("type_vocab_size", |folder| config(folder, "type_vocab_size", json!(3))),
        ("one layer too many", |folder| config(folder, "num_hidden_layers", json!(3))),
        ("a million layers", |folder| config(folder, "num_hidden_layers", json!(1_000_000))),
        ("10^18 layers", |folder| config(folder, "num_hidden_layers", json!(1_000_000_000_000_000_000u64))),
        ("1e18 layers", |folder| config(folder, "num_hidden_layers", json!(1e18))),
        ("heads that do not divide", |folder| config(folder, "num_attention_heads", json!(5))),
        ("no heads", |folder| config(folder, "num_attention_heads", json!(0))),
        ("more positions", |folder| config(folder, "max_position_embeddings", json!(4096))),
        ("fewer positions than a text may have", |folder| config(folder, "max_position_embeddings", json!(32))),
        ("a text in a number's place", |folder| config(folder, "layer_norm_eps", json!("tiny"))),
        ("a size missing", |folder| config(folder, "hidden_size", json!(null))),
        ("an unknown architecture", |folder| config(folder, "model_type", json!("deberta-v2"))),
        ("no architecture", |folder| config(folder, "model_type", json!(null))),
        ("an unknown activation", |folder| config(folder, "hidden_act", json!("quick_gelu"))),
        ("relative positions", |folder| config(folder, "position_embedding_type", json!("relative_key"))),
        ("a decoder", |folder| config(folder, "is_decoder", json!(true))),
        ("a list", |folder| fs::write(folder.join("config.json"), "[]").unwrap()),
        ("empty", |folder| fs::write(folder.join("config.json"), "").unwrap()),
        ("not there", |folder| fs::remove_file(folder.join("config.json")).unwrap()),
    ];
    insta::assert_snapshot!(said("bert-mean", faults, INSPECT));
}

#[test]
fn config_of_other_architectures_that_lies() {
    let mpnet: &[Fault] = &[
        ("mpnet: 900 million positions", |folder| config(folder, "max_position_embeddings", json!(900_000_000))),
        ("mpnet: other buckets", |folder| config(folder, "relative_attention_num_buckets", json!(64))),
    ];
    let modernbert: &[Fault] = &[
        ("modernbert: 900 million layers", |folder| config(folder, "num_hidden_layers", json!(900_000_000))),
        ("modernbert: fewer layer types", |folder| config(folder, "layer_types", json!(["full_attention"]))),
        ("modernbert: unknown layer types", |folder| config(folder, "layer_types", json!(["a", "b", "c", "d"]))),
        ("modernbert: stretched rotations", |folder| {
            edit(&folder.join("config.json"), |config| {
                config["rope_parameters"]["full_attention"]["rope_type"] = json!("yarn");
            });
        }),
        ("modernbert: heads of three components", |folder| config(folder, "num_attention_heads", json!(16))),
        ("modernbert: stretched rotations, as transformers 4 says it", |folder| {
            edit(&folder.join("config.json"), |config| {
                config.remove("rope_parameters");
                config.insert("rope_scaling".into(), json!({ "type": "yarn", "factor": 4.0 }));
            });
        }),
        ("modernbert: biases that are not there", |folder| config(folder, "attention_bias", json!(true))),
    ];
    let told = said("mpnet-mean", mpnet, INSPECT) + &said("modernbert-mean", modernbert, INSPECT);
    insta::assert_snapshot!(told);
}

#[test]
fn modules() {
    fn module(folder: &Path, at: usize, field: &str, value: &str) {
        let path = folder.join("modules.json");
        let mut modules: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        modules[at][field] = json!(value);
        fs::write(path, modules.to_string()).unwrap();
    }
    let faults: &[Fault] = &[
        ("a path outside", |folder| module(folder, 1, "path", "../1_Pooling")),
        ("an absolute path", |folder| module(folder, 0, "path", "/tmp")),
        ("an unknown module", |folder| module(folder, 2, "type", "sentence_transformers.models.LSTM")),
        ("two poolings", |folder| module(folder, 2, "type", "sentence_transformers.models.Pooling")),
        ("no JSON", |folder| fs::write(folder.join("modules.json"), "{").unwrap()),
        ("a dense layer of other inputs", |folder| {
            edit(&folder.join("2_Dense/config.json"), |dense| drop(dense.insert("in_features".into(), json!(50))));
        }),
        ("a dense layer of other outputs", |folder| {
            edit(&folder.join("2_Dense/config.json"), |dense| drop(dense.insert("out_features".into(), json!(25))));
        }),
        ("a dense layer of an unknown activation", |folder| {
            let activation = json!("torch.nn.modules.activation.Mish");
            edit(&folder.join("2_Dense/config.json"), |dense| {
                drop(dense.insert("activation_function".into(), activation))
            });
        }),
        ("a dense layer without weights", |folder| fs::remove_file(folder.join("2_Dense/model.safetensors")).unwrap()),
        ("a dense layer without settings", |folder| fs::remove_file(folder.join("2_Dense/config.json")).unwrap()),
        ("two ways of pooling", |folder| {
            let path = folder.join("1_Pooling/config.json");
            edit(&path, |pooling| drop(pooling.insert("pooling_mode_max_tokens".into(), json!(true))));
        }),
        ("no pooling settings", |folder| fs::remove_file(folder.join("1_Pooling/config.json")).unwrap()),
    ];
    insta::assert_snapshot!(said("bert-cls-dense", faults, INSPECT));
}

#[test]
fn files_that_are_not_there() {
    let nothing: &[Fault] = &[
        ("an empty folder", |folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        }),
        ("no folder", |folder| fs::remove_dir_all(folder).unwrap()),
        ("a tokenizer missing", |folder| fs::remove_file(folder.join("tokenizer.json")).unwrap()),
        ("weights of another kind", |folder| {
            fs::rename(folder.join("model.safetensors"), folder.join("pytorch_model.bin")).unwrap();
        }),
    ];
    let weightless: &[Fault] = &[("its own graph without weights", |folder| {
        fs::rename(folder.join("model.safetensors"), folder.join("model.onnx")).unwrap();
    })];
    let whole: &[Fault] = &[("a bundled graph in int8", |_| {})];
    let own = [INSPECT, &["--graph", "own"]].concat();
    let bundled = [INSPECT, &["--graph", "bundled", "--precision", "int8"]].concat();
    let told = said("bert-mean", nothing, INSPECT) + &said("bert-mean", weightless, &own);
    insta::assert_snapshot!(told + &said("bert-mean", whole, &bundled));
}

#[test]
fn prompts() {
    let whole: &[Fault] = &[("misspelt", |_| {})];
    let unknown: &[Fault] = &[("a default that there is not", |folder| {
        let path = folder.join("config_sentence_transformers.json");
        edit(&path, |settings| drop(settings.insert("default_prompt_name".into(), json!("qeury"))));
    })];
    let misspelt = [INSPECT, &["--prompt", "qeury"]].concat();
    insta::assert_snapshot!(said("xlmr-prompts", whole, &misspelt) + &said("xlmr-prompts", unknown, INSPECT));
}

#[test]
fn what_shows_when_it_starts() {
    if onnxruntime().is_none() {
        return;
    }
    let faults: &[Fault] = &[
        ("a tokenizer of a larger vocabulary", |folder| {
            edit(&folder.join("tokenizer.json"), |tokenizer| tokenizer["model"]["vocab"]["supernova"] = json!(1200));
        }),
        ("a tokenizer that is none", |folder| fs::write(folder.join("tokenizer.json"), "{\"model\": 7}").unwrap()),
        ("a tokenizer of no bytes", |folder| fs::write(folder.join("tokenizer.json"), "").unwrap()),
        ("a bundled graph that is none", |folder| {
            fs::rename(folder.join("model.safetensors"), folder.join("model.onnx")).unwrap();
        }),
    ];
    let whole: &[Fault] = &[("a prompt that fills the maximal length", |_| {})];
    let prompt = [EMBED, &["--max-length", "5", "--prompt", "one two three four: "]].concat();
    insta::assert_snapshot!(said("bert-mean", faults, EMBED) + &said("bert-mean", whole, &prompt));
}

fn embed(env: &TestEnv, input: &str) -> crate::env::Told {
    env.run_with(EMBED, input, &[("SCIEMBED_ONNXRUNTIME", &onnxruntime().unwrap())])
}

/// Such a file makes the tokenizers crate panic; that is caught, though the panic tells of itself.
#[test]
fn a_tokenizer_that_contradicts_itself() {
    if onnxruntime().is_none() {
        return;
    }
    let (env, folder) = copy("bert-mean");
    edit(&folder.join("tokenizer.json"), |tokenizer| {
        let single = json!([{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }]);
        tokenizer["post_processor"] =
            json!({ "type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {} });
    });
    let told = embed(&env, "{\"text\": \"star\"}\n");
    assert_eq!(told.code, Some(1), "{}", told.err);
    let said = ["failed to read the tokenizer model/tokenizer.json", "it contradicts itself: "];
    assert!(said.iter().all(|said| told.err.contains(said)), "{}", told.err);
}

/// What came before a line that cannot be read is answered all the same.
#[test]
fn lines_that_are_no_question() {
    if onnxruntime().is_none() {
        return;
    }
    let (env, _) = copy("bert-mean");
    let good = "{\"text\": \"star\"}\n".repeat(600);
    let mut told_of = String::new();
    for bad in ["star", "{\"text\": 7}", "{\"title\": \"star\"}", "", "[1"] {
        let told = embed(&env, &format!("{good}{bad}\n{good}"));
        assert_eq!((told.code, told.out.lines().count()), (Some(1), 600), "{bad}: {}", told.err);
        told_of += &format!("## {bad}\n{}\n", told.err.trim_end());
    }
    insta::assert_snapshot!(told_of);
    let told = embed(&env, "");
    assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (Some(0), "", ""));
}

/// Every file below a folder, with its bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = glob::glob(folder.join("**/*").to_str().unwrap()).unwrap().flatten();
    paths.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A graph that was damaged where it is kept is made again: whatever part of it, and however.
#[test]
fn a_damaged_graph_is_made_again() {
    if onnxruntime().is_none() {
        return;
    }
    let (env, _) = copy("bert-mean");
    let input = "{\"text\": \"star\"}\n";
    let graphs = env.path("../.cache/sciembed/graphs");
    let told = embed(&env, input);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let (answer, whole) = (told.out, tree(&graphs));
    assert_eq!(whole.len(), 4, "{:?}", whole.keys());
    for path in whole.keys() {
        let spoil: [&dyn Fn(); 3] = [
            &|| damage(path, b"?"),
            &|| fs::File::options().write(true).open(path).unwrap().set_len(1).unwrap(),
            &|| fs::remove_file(path).unwrap(),
        ];
        for spoil in spoil {
            spoil();
            let told = embed(&env, input);
            assert_eq!((told.code, &told.out), (Some(0), &answer), "{}: {}", path.display(), told.err);
            assert!(tree(&graphs) == whole, "{}", path.display());
        }
    }
    // A killed conversion's leavings are swept away by the next one.
    let [folder] = &files(&graphs)[..] else { panic!("there is one graph") };
    fs::remove_dir_all(folder).unwrap();
    fs::write(graphs.join("x"), "whatever lies beside is left alone").unwrap();
    assert_eq!(embed(&env, input).out, answer);
    assert_eq!(tree(&graphs).len(), 5);
}

/// Several that convert the same model at once: all answer, and one whole graph is left.
#[test]
fn conversions_at_once() {
    if onnxruntime().is_none() {
        return;
    }
    let (env, _) = copy("bert-mean");
    let runs = || {
        thread::scope(|scope| {
            let run = || scope.spawn(|| embed(&env, "{\"text\": \"star\"}\n"));
            let runs = [run(), run(), run(), run()];
            runs.map(|run| run.join().unwrap())
        })
    };
    let answers = runs().map(|told| {
        assert_eq!(told.code, Some(0), "{}", told.err);
        told.out
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]) && answers[0].lines().count() == 1);
    let graphs = env.path("../.cache/sciembed/graphs");
    let whole = tree(&graphs);
    assert_eq!((files(&graphs).len(), whole.len()), (1, 4), "{:?}", whole.keys());
    // The same over a damaged one.
    damage(whole.keys().next_back().unwrap(), b"?");
    for told in runs() {
        assert_eq!((told.code, &told.out), (Some(0), &answers[0]), "{}", told.err);
    }
    assert!(tree(&graphs) == whole);
}

//! The first minutes: a workflow proposed from the data, a folder embedded in one command, a look at the machine, drawings, help.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::env::{TestEnv, json_lines, papers};

/// Two years of papers in a folder, and no workflow.
fn dumps() -> TestEnv {
    let env = TestEnv::of(12);
    fs::remove_file(env.path("workflow.toml")).unwrap();
    env
}

#[test]
fn a_workflow_is_proposed_that_runs() {
    let env = dumps();
    let told = env.run(&["init", "--input", "data", "--model", "fake://8", "--to", "workflows/ads.toml"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(told.err.contains("2 files data/{year}.json.gz, 2010 to 2011"), "{}", told.err);
    assert!(told.err.contains("the key is bibcode") && told.err.contains("abstract (100 %)"), "{}", told.err);
    let written = fs::read_to_string(env.path("workflows/ads.toml")).unwrap();
    for line in ["year = \"2010..=2011\"", "input = \"../data/{year}.json.gz\"", "fields = [\"title\", \"abstract\"]"] {
        assert!(written.contains(line), "{line} in {written}");
    }
    assert_eq!(env.run(&["check", "workflows/ads.toml"]).code, Some(0));
    let applied = env.run(&["apply", "workflows/ads.toml"]);
    assert!(applied.out.contains("24 vectors from 2"), "{}{}", applied.out, applied.err);
    let again = env.run(&["init", "--input", "data", "--to", "workflows/ads.toml"]);
    assert!(again.code == Some(1) && again.err.contains("never replaced"), "{}", again.err);
    let one = env.run(&["init", "--input", "data", "--years", "2011", "--model", "fake://8", "--to", "one.toml"]);
    assert_eq!(one.code, Some(0), "{}", one.err);
    assert!(fs::read_to_string(env.path("one.toml")).unwrap().contains("year = [2011]"));
}

/// What stands in other fields, or nowhere, is said.
#[test]
fn data_of_other_shapes_are_looked_at() {
    let env = dumps();
    env.write("papers.jsonl", json_lines(&[json!({ "id": "a", "summary": "x" }), json!({ "id": "b", "summary": "" })]));
    let told = env.run(&["init", "--input", "papers.jsonl", "--model", "fake://8"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(told.err.contains("the key is id, and the fields are summary (50 %)"), "{}", told.err);
    let written = fs::read_to_string(env.path("workflow.toml")).unwrap();
    assert!(written.contains("key = \"id\"") && !written.contains("[matrix]"), "{written}");
    let nowhere = env.run(&["init", "--input", "nowhere", "--to", "w.toml"]);
    assert!(nowhere.code == Some(1) && nowhere.err.contains("look into nowhere"), "{}", nowhere.err);
    let years = env.run(&["init", "--input", "data", "--years", "1999", "--to", "w.toml"]);
    assert!(years.code == Some(1) && years.err.contains("there are 2010:2011"), "{}", years.err);
}

/// Tables are looked at as load reads them; one without a key says which columns it has.
#[test]
fn tables_are_looked_at() {
    let env = TestEnv::empty();
    fs::create_dir(env.path("tables")).unwrap();
    env.write("tables/2010.csv", "bibcode,title,abstract\n2010A,One,\n2010B,Two,\"More, of it\"\n");
    env.write("tables/2011.csv", "bibcode,title,abstract\n2011A,Three,Much\n");
    let told = env.run(&["init", "--input", "tables", "--model", "fake://8", "--to", "csv.toml"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(told.err.contains("of the first record of tables/2011.csv the key is bibcode"), "{}", told.err);
    let applied = env.run(&["apply", "csv.toml"]);
    assert!(applied.out.contains("3 vectors from 2"), "{}{}", applied.out, applied.err);
    env.write("keyless.csv", "name,title\nx,One\n");
    let told = env.run(&["init", "--input", "keyless.csv", "--to", "keyless.toml"]);
    assert!(
        told.code == Some(1) && told.err.contains("it is a table with columns name, title: none is `bibcode`"),
        "{}",
        told.err
    );
}

/// What a folder's name holds is its name, whatever globs and templates make of it.
#[test]
fn folders_of_any_name_are_taken_as_they_are() {
    for name in ["d{year}", "in{b}c [1]*?", "open{"] {
        let env = dumps();
        fs::rename(env.path("data"), env.path(name)).unwrap();
        fs::create_dir(env.path("data")).unwrap();
        fs::create_dir(env.path("d2010")).unwrap();
        env.write("d2010/2010.json.gz", "no dump");
        let told = env.run(&["ingest", "--input", name, "--model", "fake://8", "--out", "out"]);
        assert!(told.code == Some(0) && told.out.contains("24 vectors from 2"), "{name}: {}{}", told.out, told.err);
    }
}

#[test]
fn a_folder_is_embedded_in_one_command() {
    let env = dumps();
    let options =
        ["ingest", "--input", "data", "--years", "2010:2011", "--fields", "title,abstract", "--model", "fake://8"];
    let arguments = [&options[..], &["--prefix", "read: ", "--batch", "256", "--out", "out"]].concat();
    let emitted = env.run(&[&arguments[..], &["--emit"]].concat());
    assert!(
        emitted.out.contains("prefix = \"read: \"") && emitted.out.contains("max_batch_tokens = 256"),
        "{}",
        emitted.out
    );
    assert!(!env.path("out").exists());
    let told = env.run(&arguments);
    assert!(told.code == Some(0) && told.out.contains("24 vectors from 2"), "{}{}", told.out, told.err);
    let again = env.run(&arguments);
    assert!(again.out.starts_with("nothing to do"), "{}", again.out);
    assert_eq!(env.run(&["get", "--dir", "out", "2010Test..00003A"]).code, Some(0));
    // The same by a file, in any of three languages; what is given beside it comes first.
    let emit = |name: &str, text: &str| {
        env.write(name, text);
        env.run(&["ingest", "--config", name, "--out", "out", "--emit"]).out
    };
    let yaml = emit(
        "i.yaml",
        "input: data\nyears: '2010:2011'\nfields: [title, abstract]\nmodel: fake://8\nprefix: 'read: '\nbatch: 256\nout: elsewhere\n",
    );
    assert_eq!(yaml, emitted.out);
    assert_eq!(emit("i.toml", "input = 'data'\nmodel = 'fake://8'\nprefix = 'read: '\nbatch = 256\n"), yaml);
    assert_eq!(emit("i.json", r#"{"input": "data", "model": "fake://8", "prefix": "read: ", "batch": 256}"#), yaml);
    env.write("bad.yaml", "modle: fake://8\n");
    let bad = env.run(&["ingest", "--config", "bad.yaml"]);
    assert!(bad.code == Some(1) && bad.err.contains("modle"), "{}", bad.err);
    // An edited workflow is the user's own.
    let path = env.path("out/ingest.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("read: ", "look: ")).unwrap();
    let refused = env.run(&arguments);
    assert!(refused.code == Some(1) && refused.err.contains("it was edited"), "{}", refused.err);
}

#[test]
fn the_doctor_looks_and_has_remedies() {
    let env = TestEnv::of(3);
    let told = env.run(&["doctor", "workflow.toml", "--json"]);
    let findings: Vec<Value> = serde_json::from_str(&String::from_utf8_lossy(&told.bytes)).unwrap();
    let of =
        |what: &str| findings.iter().find(|it| it["what"] == what).unwrap_or_else(|| panic!("{what}: {}", told.out));
    for what in ["program", "processor", "memory", "runtime", "models", "space", "disk", "clock", "store"] {
        let finding = of(what);
        assert!(finding["state"] == "good" || finding["remedy"].is_string(), "{finding}");
    }
    assert!(of("store")["told"].as_str().unwrap().contains("an apply makes it"));
    env.applied(&[]);
    let told = env.run(&["doctor", "workflow.toml"]);
    assert!(told.out.contains(" records\n"), "{}", told.out);
    env.edit("model = \"fake://16\"", "model = \"openai://m\"\n[embed.minilm.api]\napi_key_env = \"NO_SUCH_KEY\"");
    let told = env.run(&["doctor", "workflow.toml"]);
    assert!(told.code == Some(1) && told.out.contains("NO_SUCH_KEY is not set"), "{}", told.out);
    let told = env.run_with(&["doctor", "workflow.toml"], "", &[("NO_SUCH_KEY", Path::new("secret"))]);
    assert!(told.out.contains("NO_SUCH_KEY is set") && !told.out.contains("secret"), "{}", told.out);
    let told = env.run(&["doctor", "--onnxruntime", "nowhere.so"]);
    assert!(told.code == Some(1) && told.out.contains("bad   runtime"), "{}", told.out);
}

#[test]
fn a_workflow_is_drawn() {
    let env = TestEnv::of(3);
    let draw = |format: &str| env.run(&["graph", "workflow.toml", "--format", format]);
    let before = draw("text");
    assert_eq!(before.code, Some(0), "{}", before.err);
    assert!(before.out.contains("load.records") && before.out.contains("2 stale"), "{}", before.out);
    env.applied(&[]);
    env.write_year(2011, &papers(2011, 4));
    insta::assert_snapshot!("graph_text", draw("text").out);
    insta::assert_snapshot!("graph_dot", draw("dot").out);
    insta::assert_snapshot!("graph_mermaid", draw("mermaid").out);
    let svg = draw("svg").out;
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert_eq!((svg.matches("<rect").count(), svg.matches("<path").count()), (4, 3));
    // A year without a file is blocked, and drawn.
    fs::remove_file(env.path("data/2011.json.gz")).unwrap();
    assert!(draw("text").out.contains("blocked"), "{}", draw("text").out);
}

#[test]
fn help_completions_and_man_pages() {
    let env = TestEnv::empty();
    let told = env.run(&["help", "sciembed::dataset::none"]);
    assert!(told.code == Some(0) && told.out.starts_with("sciembed::dataset::none\n\n"), "{}", told.out);
    assert_eq!(env.run(&["help", "dataset::none"]).out, told.out);
    let near = env.run(&["help", "sciembed::dataset::non"]);
    assert!(near.code == Some(1) && near.err.contains("near it: sciembed::dataset::none"), "{}", near.err);
    assert!(env.run(&["help", "apply"]).out.contains("--accept-failures"));
    assert!(env.run(&["help", "model", "embed"]).out.contains("--prompt"));
    assert!(env.run(&["help"]).out.contains("Usage: sciembed"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(env.run(&["completions", shell]).out.contains("similar"), "{shell}");
    }
    let told = env.run(&["man", "--to", "pages"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(fs::read_to_string(env.path("pages/sciembed-apply.1")).unwrap().contains("accept\\-failures"));
}

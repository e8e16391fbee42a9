//! Equal inputs give equal bytes in every keyed file, however, where and in which order they are worked through.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sciembed::digest::Digest;
use serde_json::{Value, json};

use crate::env::{TestEnv, gzip, json_lines, paper, papers};

/// Two years with what makes order matter: repeated texts, also across years, rejects and duplicates.
fn project() -> TestEnv {
    let env = TestEnv::empty();
    let same = json!({ "bibcode": "2010Same..00001A", "title": "The same in both years" });
    let bad = json!({ "bibcode": 7 });
    let mut older = papers(2010, 2_500);
    older.extend([same.clone(), bad, paper(2010, 3), json!({ "bibcode": "2010None..00001A" })]);
    let mut newer = papers(2011, 700);
    newer.extend([same, paper(2010, 4)]);
    env.write_year(2010, &older);
    env.write_year(2011, &newer);
    env
}

fn keyed_after(applies: &[&[&str]]) -> BTreeMap<String, Digest> {
    let env = project();
    for arguments in applies {
        env.applied(arguments);
    }
    env.keyed()
}

/// One job or eight, another folder, the years in another order: the same bytes.
#[test]
fn jobs_folders_and_order_change_no_byte() {
    let lone = keyed_after(&[&["-j", "1"]]);
    // Per year: two tables of load, two of prepare, one of embed, four files of the set, the same four published.
    assert_eq!(lone.len(), 2 * (2 + 2 + 1 + 4 + 4));
    assert_eq!(keyed_after(&[&["-j", "8"]]), lone);
    assert_eq!(keyed_after(&[&["--years", "2011"], &["--years", "2010"]]), lone);
    assert_eq!(keyed_after(&[&["--target", "prepare.texts"], &["--target", "embed.minilm[2011]"], &[]]), lone);
}

/// What a load step makes of these files on so many threads.
fn loaded_on(threads: &str, files: &[(String, Vec<u8>)]) -> BTreeMap<String, Digest> {
    let env = TestEnv::over("data/*");
    files.iter().for_each(|(name, bytes)| env.write(&format!("data/{name}"), bytes));
    let told = env.run_with(
        &["apply", "workflow.toml", "--target", "load.records"],
        "",
        &[("RAYON_NUM_THREADS", Path::new(threads))],
    );
    assert_eq!(told.code, Some(0), "{}", told.err);
    env.keyed()
}

/// Papers as lines or as an array, plain or gzipped; some are refused, and some come again in the next file.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let shape = (1usize..6_000, 0usize..400, any::<bool>(), any::<bool>());
    shape.prop_map(|(count, abstract_words, is_array, is_gzip)| {
        let mut papers = papers(2010, count);
        for (n, paper) in papers.iter_mut().enumerate() {
            paper["abstract"] = json!("word ".repeat(abstract_words));
            match n % 101 {
                50 => paper["title"] = json!({ "en": "no text" }),
                51 => paper["bibcode"] = Value::Null,
                _ => {}
            }
        }
        let text = if is_array { json!(papers).to_string().into_bytes() } else { json_lines(&papers) };
        if is_gzip { gzip(&text) } else { text }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    /// One thread, two or five: the same records and the same rejects, to the byte.
    #[test]
    fn threads_change_no_byte_of_what_is_loaded(files in proptest::collection::vec(any_file(), 2..5)) {
        let files: Vec<(String, Vec<u8>)> =
            files.into_iter().enumerate().map(|(n, bytes)| (format!("{n}.json"), bytes)).collect();
        let lone = loaded_on("1", &files);
        prop_assert_eq!(lone.len(), 2, "records and rejects");
        prop_assert_eq!(&loaded_on("2", &files), &lone);
        prop_assert_eq!(&loaded_on("5", &files), &lone);
    }
}

/// Where a source file stands, and what it is called, is not in what is made of it.
#[test]
fn names_of_sources_change_no_byte() {
    let env = project();
    env.applied(&[]);
    let moved = project();
    fs::rename(moved.path("data"), moved.path("archive")).unwrap();
    moved.edit("data/{year}", "archive/{year}");
    moved.applied(&[]);
    assert_eq!(moved.keyed(), env.keyed());
}

/// A key stands for one content: two stores that hold the same key hold the same bytes under it. A dataset's manifest
/// names the model's folder, so another name makes another set; the vectors are the same ones.
#[test]
fn one_key_is_one_content() {
    let Some((model, runtime)) = minilm() else { return };
    let keyed = |name: &str| {
        let env = TestEnv::of(2);
        std::os::unix::fs::symlink(&model, env.path(name)).unwrap();
        env.edit("fake://16", name);
        let told = env.run_with(&["apply", "workflow.toml"], "", &[("SCIEMBED_ONNXRUNTIME", runtime.as_path())]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        env.keyed()
    };
    let (one, other) = (keyed("minilm"), keyed("a-copy-of-minilm"));
    let of_both: Vec<&String> = one.keys().filter(|file| file.contains('/') && other.contains_key(*file)).collect();
    for file in &of_both {
        assert_eq!(one[*file], other[*file], "{file}");
    }
    assert_eq!(of_both.iter().filter(|file| file.ends_with("/vectors")).count(), 2);
    assert_eq!(one["bibcodes_minilm_2010.txt"], other["bibcodes_minilm_2010.txt"]);
}

/// The first lines of the sample years, as a year of their own.
fn sample_records() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/ads_metadata_by_year_full");
    let of_year = |year: u16| {
        let file = fs::File::open(folder.join(format!("{year}.json.gz"))).unwrap();
        let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(file)).unwrap();
        let lines: Vec<Value> = text.lines().take(8).map(|line| serde_json::from_str(line).unwrap()).collect();
        lines
    };
    (2010..=2012).flat_map(of_year).collect()
}

/// The model and the runtime that `setup.sh` links into the checkout.
fn minilm() -> Option<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (model, runtime) = (root.join("models/all-MiniLM-L6-v2"), root.join("lib/libonnxruntime.so"));
    let found = model.is_dir() && runtime.is_file();
    if !found {
        eprintln!("SKIPPED: models/all-MiniLM-L6-v2 or lib/libonnxruntime.so is not there; ./setup.sh fetches them");
    }
    found.then_some((model, runtime))
}

/// The real model: how it is run changes the speed alone.
#[test]
fn sessions_threads_and_batches_change_no_byte_of_a_real_model() {
    let Some((model, runtime)) = minilm() else { return };
    let keyed = |onnx: &str| {
        let env = TestEnv::empty();
        env.edit("[2010, 2011]", "[2010]");
        env.edit("model = \"fake://16\"", &format!("model = {model:?}\n[embed.minilm.onnx]\ndevice = \"cpu\"\n{onnx}"));
        let lines: Vec<u8> = sample_records().iter().flat_map(|record| format!("{record}\n").into_bytes()).collect();
        env.write("data/2010.json.gz", gzip(&lines));
        let variables = [("SCIEMBED_ONNXRUNTIME", runtime.as_path())];
        let told = env.run_with(&["apply", "workflow.toml"], "", &variables);
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert_eq!(told.embedded_and_reused(), (24, 0));
        env.keyed()
    };
    let usual = keyed("");
    for onnx in [
        "sessions = 1\nthreads = 1",
        "sessions = 8\nthreads = 1",
        "sessions = 1\nthreads = 2",
        "sessions = 2\nthreads = 2\nmax_batch_tokens = 1",
        "max_batch_tokens = 4096",
    ] {
        assert_eq!(keyed(onnx), usual, "{onnx}");
    }
}

//! What is published in each element type, whole or shortened: by persist, by a merge and by a view, read back and verified.

use std::collections::BTreeMap;

use sciembed::dataset::Dataset;
use sciembed::encoding::{SetDtype, decode, encode, shortened};

use crate::env::TestEnv;

const MERGES: &str = "
[merge.all]
from = \"yearly\"
across = [\"year\"]
dir = \"embeddings\"

[merge.seen]
from = \"yearly\"
across = [\"year\"]
dir = \"embeddings\"
label = \"seen\"
view = true
";

/// Two years of papers, kept in full and published so, also merged.
fn published(persist: &str) -> TestEnv {
    let env = TestEnv::of(20);
    env.edit("model = \"fake://16\"", "model = \"fake://16\"\nstore_dtype = \"f32\"");
    env.edit("dtype = \"f16\"\n", &format!("{persist}\n{MERGES}"));
    env
}

/// The vectors as they are stored.
fn stored(env: &TestEnv) -> BTreeMap<String, Vec<f32>> {
    let years = ["embed.minilm[2010]", "embed.minilm[2011]"];
    let rows = years.iter().flat_map(|step| env.peek(step, "vectors"));
    let components = |row: &serde_json::Value| {
        row["embedding"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap() as f32).collect()
    };
    rows.map(|row| (row["bibcode"].as_str().unwrap().to_owned(), components(&row))).collect()
}

#[test]
fn each_element_type_is_published_merged_and_verified() {
    for (dtype, dim) in SetDtype::ALL.into_iter().flat_map(|dtype| [(dtype, 16), (dtype, 11)]) {
        let persist = if dim == 16 { String::new() } else { format!("\ndim = {dim}") };
        let env = published(&format!("dtype = \"{dtype}\"{persist}"));
        let told = env.applied(&[]);
        let stored = stored(&env);
        for name in ["minilm", "seen"] {
            let dataset = Dataset::open(&env.path("embeddings"), name).unwrap();
            assert_eq!((dataset.description().dtype, dataset.description().dim), (dtype, dim), "{}", told.out);
            for (bibcode, whole) in &stored {
                let whole = if dim == 16 { whole.clone() } else { shortened(whole, dim) };
                let mut bytes = Vec::new();
                let scale = encode(&whole, dtype, &mut bytes);
                assert_eq!(
                    dataset.get(bibcode).unwrap().unwrap().vector,
                    decode(&bytes, scale, dtype, dim),
                    "{dtype} {name}"
                );
            }
        }
        let verified = env.run(&["verify", "workflow.toml"]);
        assert_eq!(verified.code, Some(0), "{dtype} {dim}: {}{}", verified.out, verified.err);
    }
}

/// The plan of a set says why it is stale; more components than there are is a fault with its remedy.
#[test]
fn a_changed_form_is_told() {
    let env = published("dtype = \"i8\"");
    env.applied(&[]);
    env.edit("dtype = \"i8\"", "dtype = \"binary\"\ndim = 8");
    let plan = env.plan(&[]);
    assert!(plan.out.contains("dtype i8 -> binary"), "{}", plan.out);
    env.edit("dim = 8", "dim = 17");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}", told.out);
    assert!(told.err.contains("publish 17 components of each vector: the embedder gives 16"), "{}", told.err);
}

/// Digits that were not kept are not invented.
#[test]
fn only_f32_is_wider_than_f16() {
    for (dtype, code) in [("f32", 1), ("bf16", 0), ("i8", 0), ("binary", 0)] {
        let env = TestEnv::of(3);
        env.edit("dtype = \"f16\"", &format!("dtype = \"{dtype}\""));
        let told = env.run(&["check", "workflow.toml"]);
        assert_eq!(told.code, Some(code), "{dtype}: {}", told.err);
    }
}

//! What stands in a published directory, whose it is, and that no reader ever sees half of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sciembed::dataset::Dataset;
use sciembed::digest::{Digest, EmbedderKey, RowKey};
use serde_json::{Value, json};

use crate::env::{TestEnv, file_name, files, papers, say, times, titled};

fn applied() -> TestEnv {
    let env = TestEnv::of(5);
    env.applied(&[]);
    env
}

/// The visible names in the published directory.
fn shown(env: &TestEnv) -> Vec<String> {
    let names = files(&env.path("embeddings")).into_iter().map(|path| file_name(&path));
    names.filter(|name| !name.starts_with('.')).collect()
}

fn manifest(env: &TestEnv, name: &str) -> Value {
    let path = env.path(format!("embeddings/manifest_{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Five files a dataset, each a link into the one set that the dataset's link shows.
#[test]
fn names_and_links() {
    let env = applied();
    let of_year = |year: u16| {
        [
            format!("bibcodes_minilm_{year}.txt"),
            format!("embeddings_minilm_{year}.f16"),
            format!("keys_minilm_{year}.fst"),
            format!("manifest_minilm_{year}.json"),
            format!("run_minilm_{year}.json"),
        ]
    };
    let mut expected: Vec<String> = [of_year(2010), of_year(2011)].concat();
    expected.push("catalog.duckdb".to_owned());
    expected.sort();
    assert_eq!(shown(&env), expected);
    for file in of_year(2010) {
        let target = fs::read_link(env.path("embeddings").join(&file)).unwrap();
        assert_eq!(target, Path::new(".sciembed/links/minilm_2010").join(&file));
    }
    let link = fs::read_link(env.path("embeddings/.sciembed/links/minilm_2010")).unwrap();
    assert_eq!(link, Path::new("../sets").join(manifest(&env, "minilm_2010")["set"].as_str().unwrap()));
}

/// The manifest's digests are those of the files and of the store's blobs; a dataset that is moved away stays whole.
#[test]
fn the_manifest_tells_the_digests_of_the_files() {
    let env = applied();
    let manifest = manifest(&env, "minilm_2010");
    let listed = manifest["files"].as_object().unwrap();
    assert_eq!(listed.len(), 3, "all but the manifest itself and the provenance");
    for (file, facts) in listed {
        let digest: Digest = facts["blake3"].as_str().unwrap().parse().unwrap();
        let path = env.path("embeddings").join(file);
        assert_eq!(Digest::of_file(&path).unwrap(), digest, "{file}");
        assert_eq!(Digest::of_file(&env.blob(&digest)).unwrap(), digest, "{file}");
        assert_eq!(fs::metadata(&path).unwrap().len(), facts["bytes"].as_u64().unwrap());
    }
    assert_eq!((&manifest["rows"], &manifest["dim"], &manifest["dtype"]), (&json!(5), &json!(16), &json!("f16")));
    let provenance = fs::read_to_string(env.path("embeddings/run_minilm_2010.json")).unwrap();
    assert!(serde_json::from_str::<Value>(&provenance).unwrap()["owner"]["workflow"] == "tests");
}

/// Line n of the bibcodes is row n of the vectors, whatever was set aside on the way.
#[test]
fn rows_line_up_with_bibcodes() {
    let env = TestEnv::of(1);
    let mut year = papers(2010, 300);
    year[17] = json!({ "bibcode": "no text" });
    year.insert(40, json!({ "no": "bibcode" }));
    year.push(year[3].clone());
    env.write_year(2010, &year);
    env.applied(&[]);
    let dataset = Dataset::open(&env.path("embeddings"), "minilm_2010").unwrap();
    let embedder: EmbedderKey = manifest(&env, "minilm_2010")["embedder"].as_str().unwrap().parse().unwrap();
    let texts = env.peek("prepare.texts[2010]", "texts");
    let bibcodes = fs::read_to_string(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap();
    assert_eq!((bibcodes.lines().count(), dataset.description().rows), (299, 299));
    for (number, (bibcode, text)) in bibcodes.lines().zip(&texts).enumerate() {
        let row = dataset.get(bibcode).unwrap().unwrap();
        assert_eq!((row.row, row.bibcode.as_str(), &text["bibcode"]), (number, bibcode, &json!(bibcode)));
        assert_eq!(row.row_key, RowKey::of(&embedder, text["text"].as_str().unwrap()));
    }
}

/// Another dtype or label names the files anew; files of the old dtype go, and a dataset of the old label stays.
#[test]
fn another_dtype_and_another_label() {
    let env = TestEnv::of(5);
    env.edit("model = \"fake://16\"", "model = \"fake://16\"\nstore_dtype = \"f32\"");
    env.applied(&[]);
    env.edit("label = \"minilm\"\ndtype = \"f16\"", "label = \"minilm\"\ndtype = \"f32\"");
    assert_eq!(env.applied(&[]).started(), ["persist.yearly[2010]", "persist.yearly[2011]"]);
    assert!(shown(&env).contains(&"embeddings_minilm_2010.f32".to_owned()));
    assert!(!shown(&env).contains(&"embeddings_minilm_2010.f16".to_owned()));
    env.edit("label = \"minilm\"", "label = \"other\"");
    env.applied(&["--years", "2010"]);
    assert!(shown(&env).contains(&"embeddings_other_2010.f32".to_owned()));
    for dataset in ["minilm_2010", "other_2010"] {
        assert_eq!(env.run(&["get", "--dataset", dataset, "2010Test..00001A"]).code, Some(0), "{dataset}");
    }
}

/// Whoever is killed between showing a set and tidying leaves the names of the one before: the next plan says so.
#[test]
fn a_name_that_leads_nowhere_goes() {
    let env = applied();
    let left = "embeddings/embeddings_minilm_2010.f32";
    symlink(".sciembed/links/minilm_2010/embeddings_minilm_2010.f32", env.path(left)).unwrap();
    let told = env.plan(&[]);
    let reason = "publish only: embeddings_minilm_2010.f32 of an earlier set is shown still";
    assert!(told.code == Some(2) && told.out.contains(reason), "{}", told.out);
    env.applied(&[]);
    assert!(env.path(left).symlink_metadata().is_err());
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// A file that people put there is theirs: it is refused and kept.
#[test]
fn a_file_in_the_way_is_kept() {
    let env = TestEnv::of(2);
    fs::create_dir(env.path("embeddings")).unwrap();
    env.write("embeddings/bibcodes_minilm_2010.txt", "mine");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}", told.err);
    assert!(told.err.contains("embeddings/bibcodes_minilm_2010.txt"), "{}", told.err);
    assert_eq!(fs::read(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap(), b"mine");
    assert!(!env.path("embeddings/embeddings_minilm_2010.f16").exists(), "nothing of the set is shown");
    assert!(env.path("embeddings/embeddings_minilm_2011.f16").exists(), "the other year is published");
    fs::remove_file(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap();
    assert_eq!(env.applied(&[]).started(), ["persist.yearly[2010]"]);
}

/// A name that another workflow owns is refused, and what it shows stays, unless it is to be taken over.
#[test]
fn a_name_of_another_workflow() {
    let env = applied();
    let before = env.keyed();
    let workflow = fs::read_to_string(env.path("workflow.toml")).unwrap();
    let workflow = workflow.replace("name = \"tests\"", "name = \"rival\"").replace("prefix = \"\"", "prefix = \"x\"");
    env.write("rival.toml", workflow);
    let told = env.run(&["apply", "rival.toml"]);
    assert_eq!(told.code, Some(1), "{}", told.out);
    insta::assert_snapshot!(told.err.trim(), @r#"
        × failed to plan persist.yearly[2010]
          ╰─▶ sciembed::publish::owned

                × publish minilm_2010 in $ENV/project/embeddings: it belongs to persist.yearly[2010] of workflow tests
                help: choose another `label` or `dir`, or give `--take-over` if this workflow is to own it from now on


        the same keeps persist.yearly[2011] from being planned
        "#);
    assert!(before.iter().all(|file| env.keyed().get(file.0) == Some(file.1)));
    assert_eq!(env.plan(&[]).code, Some(0));
    assert_eq!(env.run(&["apply", "rival.toml", "--take-over"]).code, Some(0));
    assert_ne!(manifest(&env, "minilm_2010")["set"], json!(null));
    assert_eq!(env.run(&["plan", "rival.toml"]).code, Some(0));
    assert_eq!(env.apply(&[]).code, Some(1), "now it is the rival's");
}

/// Versions of the content that are published while somebody reads, one after the other, unless
/// `SCIEMBED_PUBLICATIONS` says another number.
const VERSIONS: usize = 30;
/// How often the reader opens the dataset at least, unless `SCIEMBED_OPENS` says another number.
const OPENS: usize = 30;
const PAPERS: usize = 40;

fn text(version: usize, paper: usize) -> String {
    format!("Version {version} of paper {paper}")
}

/// Whoever reads while others publish never fails and never sees two sets mixed: every row of an open dataset is of
/// one version, with the vector of its own text.
#[test]
fn a_reader_beside_many_publications() {
    let (versions, opens) = (times("SCIEMBED_PUBLICATIONS", VERSIONS), times("SCIEMBED_OPENS", OPENS));
    let env = TestEnv::of(0);
    env.edit("[2010, 2011]", "[2010]");
    let publish = |version: usize| {
        let papers: Vec<Value> = (0..PAPERS).map(|n| titled(&format!("paper {n}"), text(version, n))).collect();
        env.write_year(2010, &papers);
        env.applied(&[]);
    };
    publish(0);
    let embedder: EmbedderKey = manifest(&env, "minilm_2010")["embedder"].as_str().unwrap().parse().unwrap();
    let keys: Vec<Vec<RowKey>> = (0..versions)
        .map(|version| (0..PAPERS).map(|paper| RowKey::of(&embedder, &text(version, paper))).collect())
        .collect();
    let (done, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let dir = env.path("embeddings");
    let read = || {
        let mut vectors: BTreeMap<RowKey, Vec<f32>> = BTreeMap::new();
        let mut seen = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let dataset = Dataset::open(&dir, "minilm_2010").unwrap();
            let row = |paper: usize| dataset.get(&format!("paper {paper}")).unwrap().unwrap();
            let version = keys.iter().position(|keys| keys[0] == row(0).row_key).expect("it is of some version");
            for (paper, key) in keys[version].iter().enumerate() {
                let row = row(paper);
                assert_eq!(row.row_key, *key, "paper {paper} is of another version than {version}");
                assert_eq!(vectors.entry(*key).or_insert_with(|| row.vector.clone()), &row.vector);
            }
            opened.fetch_add(1, Ordering::Relaxed);
            if seen.last() != Some(&version) {
                seen.push(version);
            }
        }
        (seen, vectors)
    };
    let (seen, vectors) = std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        for version in 1..versions {
            publish(version);
            // So that the reader opens it evenly over all versions; one that failed opens nothing any more.
            while opened.load(Ordering::Relaxed) < opens * version / (versions - 1) && !reader.is_finished() {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen.is_sorted(), "an older set came back: {seen:?}");
    assert!(seen.len() > versions / 3, "the reader saw few of the versions: {seen:?}");
    // The same text always has the same vector, and different texts have different ones.
    let distinct: std::collections::BTreeSet<Vec<u32>> =
        vectors.values().map(|vector| vector.iter().map(|number| number.to_bits()).collect()).collect();
    assert_eq!(distinct.len(), vectors.len());
    let opened = opened.into_inner();
    assert!(opened >= opens);
    say(format!("{opened} opens with {PAPERS} lookups each beside {versions} publications: {} sets seen", seen.len()));
    let sets = files(&env.path("embeddings/.sciembed/sets"));
    assert!(sets.len() <= 2, "sets that nobody shows are tidied away: {}", sets.len());
}

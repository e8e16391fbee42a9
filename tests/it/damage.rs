//! Damage to the store: a flipped bit ends in a clear error or is mended, and never in a published vector.

use std::collections::BTreeMap;
use std::fs;

use sciembed::dataset::{Dataset, Row};
use sciembed::digest::Digest;

use crate::env::{TestEnv, damage, file_name, files, papers};

/// Flips one bit of a file, whatever its mode.
fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    replace(path, &bytes);
}

/// Puts a file with these bytes in another one's place.
fn replace(path: &std::path::Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The published files, by name.
fn published(env: &TestEnv) -> BTreeMap<String, Digest> {
    env.keyed().into_iter().filter(|(name, _)| !name.contains('/')).collect()
}

/// Every table is checked by content before it is read: a damaged one ends the step with the exit code for damage, is
/// put out of use, and the next apply makes it again.
#[test]
fn a_damaged_table_is_never_read() {
    for (table, change, to) in [
        ("records", "prefix = \"\"", "prefix = \"x\""),
        ("texts", "fake://16", "fake://8"),
        ("vectors", "label = \"minilm\"", "label = \"other\""),
    ] {
        let env = TestEnv::of(5);
        env.applied(&[]);
        for record in env.records() {
            if let Some(output) = record.outputs.get(table) {
                let name = output.digest.to_string();
                flip(&env.path(format!("store/blobs/{}/{}", &name[..2], &name[2..])), 700);
            }
        }
        env.edit(change, to);
        let told = env.apply(&[]);
        assert_eq!(told.code, Some(4), "{table}: {}{}", told.out, told.err);
        assert!(told.err.contains("its bytes are not those that its name says"), "{table}: {}", told.err);
        env.applied(&[]);

        let undisturbed = TestEnv::of(5);
        undisturbed.edit(change, to);
        undisturbed.applied(&[]);
        let (mended, wanted) = (published(&env), published(&undisturbed));
        wanted.iter().for_each(|(name, digest)| assert_eq!(mended.get(name), Some(digest), "{table}: {name}"));
    }
}

/// What is published is checked on its way: a damaged blob of the set is made again from the tables, in the same run.
#[test]
fn a_damaged_set_is_built_again() {
    let env = TestEnv::of(5);
    env.applied(&[]);
    let before = env.keyed();
    let record =
        env.records().into_iter().find(|record| record.outputs.contains_key("bibcodes_minilm_2010.txt")).unwrap();
    let name = record.outputs["embeddings_minilm_2010.f16"].digest.to_string();
    flip(&env.path(format!("store/blobs/{}/{}", &name[..2], &name[2..])), 300);
    fs::remove_dir_all(env.path("embeddings")).unwrap();
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(told.err.contains("a blob of the store was damaged and is made again"), "{}", told.err);
    assert_eq!(env.keyed(), before);
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// Whoever copies with a tool that takes a name for a folder.
#[test]
fn a_directory_in_a_published_files_place_makes_room() {
    let env = TestEnv::of(5);
    env.applied(&[]);
    let before = env.keyed();
    for file in ["run_minilm_2010.json", "keys_minilm_2011.fst"] {
        let path = fs::canonicalize(env.path("embeddings").join(file)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    }
    env.applied(&[]);
    assert_eq!(env.keyed(), before);
    assert_eq!(env.run(&["verify", "workflow.toml"]).code, Some(0));
}

/// A published file is the store's under a second name: whoever writes into it damages both, and both are made again from the
/// tables, without a vector computed anew.
#[test]
fn damage_through_a_published_name_is_mended_in_the_store_too() {
    let env = TestEnv::of(5);
    env.applied(&[]);
    let before = env.keyed();
    let path = fs::canonicalize(env.path("embeddings/embeddings_minilm_2010.f16")).unwrap();
    let bytes: Vec<u8> = fs::read(&path).unwrap().iter().map(|byte| !byte).collect();
    damage(&path, &bytes);
    assert_eq!(env.run(&["verify", "workflow.toml"]).code, Some(4));
    let told = env.applied(&[]);
    assert!(told.err.contains("a blob of the store was damaged and is made again"), "{}", told.err);
    assert_eq!((told.started(), told.embedded_and_reused()), (vec!["persist.yearly[2010]".to_owned()], (0, 0)));
    assert_eq!(env.keyed(), before);
    assert_eq!(env.run(&["verify", "workflow.toml"]).code, Some(0));
}

/// Whatever bit of a published file changes, a reader gets the row that was published, or an error that says so.
#[test]
fn a_published_row_is_right_or_an_error() {
    for (dtype, dataset) in [("f16", "minilm_2010"), ("i8", "minilm_2010"), ("f16", "minilm")] {
        let env = TestEnv::of(5);
        env.edit("dtype = \"f16\"", &format!("dtype = \"{dtype}\""));
        if dataset == "minilm" {
            let view = "[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\nview = true\n\n";
            env.edit("[persist.yearly]", &format!("{view}[persist.yearly]"));
            // Two of the first year stand in the second one too, and count there.
            let moved = papers(2010, 2).into_iter().map(|mut paper| {
                paper["title"] = "Another title".into();
                paper
            });
            env.write_year(2011, &papers(2011, 5).into_iter().chain(moved).collect::<Vec<_>>());
        }
        env.applied(&[]);
        let open = || Dataset::open(&env.path("embeddings"), dataset);
        let sound: Vec<Row> = {
            let whole = open().unwrap();
            let bibcodes: Vec<String> = whole.bibcodes().map(|row| row.unwrap().1.to_owned()).collect();
            bibcodes.iter().map(|bibcode| whole.get(bibcode).unwrap().unwrap()).collect()
        };
        let (mut right, mut refused) = (0, 0);
        let set = fs::canonicalize(env.path("embeddings/.sciembed/links").join(dataset)).unwrap();
        for path in files(&set).into_iter().chain(files(&set.join("parts"))) {
            if !path.is_file() || file_name(&path).starts_with("run_") {
                continue;
            }
            let whole = fs::read(&path).unwrap();
            for (at, bit) in (0..whole.len()).map(|at| (at, at % 8)) {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                replace(&path, &changed);
                let Ok(dataset) = open() else {
                    refused += 1;
                    continue;
                };
                let unknown = dataset.get("2010Test..99999A");
                assert!(unknown.is_err() || unknown.is_ok_and(|row| row.is_none()), "{} byte {at}", path.display());
                for row in &sound {
                    match dataset.get(&row.bibcode) {
                        Ok(found) => assert_eq!(found.as_ref(), Some(row), "{} byte {at}", path.display()),
                        Err(error) => assert!(error.is_damage(), "{} byte {at}: {error}", path.display()),
                    }
                    match dataset.bibcode(row.row) {
                        Ok(found) => assert_eq!(found, Some(&*row.bibcode), "{} byte {at}", path.display()),
                        Err(_) => refused += 1,
                    }
                    right += 1;
                }
            }
            replace(&path, &whole);
        }
        assert!(right > 100 && refused > 100, "{right} {refused}");
    }
}

//! Years become one dataset: what is rebuilt, what wins, what blocks, and who answers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use sciembed::dataset::Dataset;
use serde_json::Value;

use crate::env::{TestEnv, damage, file_name, files, paper, papers, say};

const MERGE: &str = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";

/// Two years of a few papers, merged.
fn project() -> TestEnv {
    let env = TestEnv::of(3);
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    env
}

fn lines(env: &TestEnv, file: &str) -> Vec<String> {
    let text = fs::read_to_string(env.path("embeddings").join(file)).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn all_years_are_one_dataset_and_one_changed_year_rebuilds_it_alone() {
    let env = project();
    let told = env.applied(&[]);
    assert!(told.out.contains("merged     1 dataset: 6 vectors from 2, 0 superseded, # bytes each"), "{}", told.out);
    let years = [lines(&env, "bibcodes_minilm_2010.txt"), lines(&env, "bibcodes_minilm_2011.txt")].concat();
    assert_eq!(lines(&env, "bibcodes_minilm.txt"), years);
    let mut newer = papers(2011, 3);
    newer.push(paper(2011, 77));
    env.write_year(2011, &newer);
    let plan = env.plan(&[]).out;
    assert!(plan.contains("merge.all             pending  on persist.yearly[2011]"), "{plan}");
    let told = env.applied(&[]);
    let ran = ["embed.minilm[2011]", "load.records[2011]", "merge.all", "persist.yearly[2011]", "prepare.texts[2011]"];
    assert_eq!(told.started(), ran);
    assert!(told.err.contains("merge.all: starts (set minilm_2011 "), "{}", told.err);
    assert_eq!(lines(&env, "bibcodes_minilm.txt").len(), 7);
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// A new year in front leaves the others what they were, and the reason names it alone.
#[test]
fn a_new_year_runs_alone_with_the_merge() {
    let env = project();
    env.applied(&[]);
    env.write_year(2009, &papers(2009, 2));
    env.edit("year = [2010, 2011]", "year = [2009, 2010, 2011]");
    let told = env.applied(&[]);
    assert_eq!(told.started().len(), 5, "{}", told.err);
    assert!(told.err.contains("merge.all: starts (set minilm_2009 (none) -> "), "{}", told.err);
    assert_eq!(lines(&env, "bibcodes_minilm.txt")[..2], lines(&env, "bibcodes_minilm_2009.txt"));
}

#[test]
fn the_later_year_wins_and_the_loser_can_be_looked_at() {
    let env = project();
    let mut older = papers(2010, 2);
    older.push(paper(2011, 1));
    env.write_year(2010, &older);
    let told = env.applied(&[]);
    assert!(told.out.contains("5 vectors from 2, 1 superseded"), "{}", told.out);
    assert!(
        told.out.contains("left out   1 in merge.all; list them: sciembed peek workflow.toml 'merge.all' superseded")
    );
    let bibcode = paper(2011, 1)["bibcode"].clone();
    let [loser] = &env.peek("merge.all", "superseded")[..] else { panic!("one row lost") };
    assert_eq!((&loser["bibcode"], &loser["row"]), (&bibcode, &Value::from(2)));
    assert_eq!((&loser["dataset"], &loser["winner"]), (&Value::from("minilm_2010"), &Value::from("minilm_2011")));
    assert!(!env.path("embeddings/superseded").exists());
}

/// Of those that hold a paper, the merge of the others answers, but only while it is of what is shown now.
#[test]
fn a_merge_answers_for_what_was_merged() {
    let env = project();
    env.applied(&[]);
    let bibcode = paper(2011, 1)["bibcode"].as_str().unwrap().to_owned();
    let told = env.run(&["get", &bibcode]);
    let row: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&row["dataset"], &row["row"]), (&Value::from("minilm"), &Value::from(4)));
    let mut older = papers(2010, 3);
    older.push(paper(2010, 78));
    env.write_year(2010, &older);
    env.applied(&["--target", "persist.yearly"]);
    assert_eq!(env.run(&["get", &bibcode]).code, Some(0));
    let stale = env.run(&["get", paper(2010, 1)["bibcode"].as_str().unwrap()]);
    assert_eq!(stale.code, Some(1));
    assert!(stale.err.contains("is in several datasets: minilm, minilm_2010"), "{}", stale.err);
}

/// `--years` never shrinks a merge, and never runs what was not asked for.
#[test]
fn a_merge_waits_for_the_years_that_were_not_asked_for() {
    let env = project();
    let told = env.applied(&["--years", "2011"]);
    assert!(!told.err.contains("2010") && !told.err.contains("merge.all: starts"), "{}", told.err);
    let blocked = "blocked    merge.all by persist.yearly[2010]: no record for the workflow as it stands";
    assert!(told.out.contains(blocked), "{}", told.out);
    let plan = env.plan(&["--years", "2011"]);
    insta::assert_snapshot!(plan.out, @"
        load.records[2011]    fresh    3 rows
        prepare.texts[2011]   fresh    3 rows
        embed.minilm[2011]    fresh    3 rows
        persist.yearly[2011]  fresh    3 rows
        merge.all             blocked  by persist.yearly[2010]: no record for the workflow as it stands
        nothing to do: 4 steps are fresh, 1 blocked
        ");
    assert_eq!(plan.code, Some(0));
    let told = env.applied(&["--years", "2011"]);
    assert!(told.out.contains("nothing to do: 4 steps are fresh, 1 blocked"), "{}", told.out);

    // Once the other year stands, the merge runs with this one alone.
    let told = env.applied(&["--years", "2010"]);
    assert!(told.err.contains("merge.all: starts"), "{}", told.err);
    assert_eq!(lines(&env, "bibcodes_minilm.txt").len(), 6);

    // An unselected year that was edited blocks it again, and so does one whose file is gone.
    env.write_year(2010, &papers(2010, 5));
    let plan = env.plan(&["--years", "2011", "--json"]).out;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((&plan["blocked"], &plan["steps"][4]["blocked_by"][0]), (&1.into(), &"persist.yearly[2010]".into()));
    fs::remove_file(env.path("data/2010.json.gz")).unwrap();
    assert_eq!(env.plan(&["--years", "2011"]).code, Some(0));
    assert_eq!(env.plan(&[]).code, Some(1));
}

/// A name that somebody else took is in the way of the steps that publish it, not of a run over another year.
#[test]
fn a_name_taken_in_an_unselected_year() {
    let env = project();
    env.applied(&[]);
    let workflow = fs::read_to_string(env.path("workflow.toml")).unwrap();
    env.write(
        "rival.toml",
        workflow.replace("name = \"tests\"", "name = \"rival\"").replace("prefix = \"\"", "prefix = \"x\""),
    );
    let taken = env.run(&["apply", "rival.toml", "--years", "2010", "--target", "persist.yearly", "--take-over"]);
    assert_eq!(taken.code, Some(0), "{}", taken.err);
    assert_eq!(env.plan(&[]).code, Some(1));
    let told = env.plan(&["--years", "2011", "--target", "merge.all"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
}

/// A model for each year, and a merge across them would make nonsense.
#[test]
fn vectors_of_two_embedders_are_not_mixed() {
    let env = project();
    env.edit("fake://16", "fake://{year}");
    env.edit("across = [\"year\"]", "across = [\"year\"]\nlabel = \"minilm\"");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}", told.err);
    insta::assert_snapshot!(told.err.rsplit_once("merge.all failed:\n").unwrap().1.trim(), @r"
    sciembed::node::mixed

      × failed to merge minilm_2011 with minilm_2010: embedder.dim is 2011 in minilm_2011 and 2010 in minilm_2010
      help: vectors of different embedders cannot be compared: take that axis out of `across`, or make these settings equal
    ");
}

/// Two years of a few papers, one of them in both, merged into a copy and into a view.
fn with_view() -> TestEnv {
    let env = project();
    let mut older = papers(2010, 2);
    older.insert(1, paper(2011, 1));
    env.write_year(2010, &older);
    env.edit(
        MERGE,
        &format!("{MERGE}{}", MERGE.replace("merge.all", "merge.view") + "label = \"view\"\nview = true\n"),
    );
    env
}

/// The published file of a view that holds a year's vectors.
fn held(env: &TestEnv, year: u16) -> PathBuf {
    env.path(format!("embeddings/.sciembed/links/view/parts/embeddings_minilm_{year}.f16"))
}

fn open(env: &TestEnv, name: &str) -> Dataset {
    Dataset::open(&env.path("embeddings"), name).unwrap()
}

/// Asserts that the view answers as the copy does, whatever row it says.
fn assert_view_is_copy(env: &TestEnv) {
    let (view, copy) = (open(env, "view"), open(env, "minilm"));
    assert!(view.description().view && !copy.description().view);
    assert_eq!(view.description().rows, copy.description().rows);
    let listed = lines(env, "bibcodes_view.txt");
    for bibcode in lines(env, "bibcodes_minilm.txt") {
        let (of_view, of_copy) = (view.get(&bibcode).unwrap().unwrap(), copy.get(&bibcode).unwrap().unwrap());
        assert_eq!(of_view.vector, of_copy.vector, "{bibcode}");
        assert_eq!((of_view.row_key, of_view.metadata_digest), (of_copy.row_key, of_copy.metadata_digest));
        assert_eq!(listed[of_view.row], bibcode);
    }
    assert!(view.get("unknown").unwrap().is_none());
}

#[test]
fn a_view_answers_as_a_copy_does_and_holds_what_is_published() {
    let env = with_view();
    let told = env.applied(&[]);
    assert!(told.out.contains("merged     2 datasets: 10 vectors from 4, 2 superseded"), "{}", told.out);
    assert_view_is_copy(&env);
    assert_eq!(env.peek("merge.view", "superseded"), env.peek("merge.all", "superseded"));
    let years = [lines(&env, "bibcodes_minilm_2010.txt"), lines(&env, "bibcodes_minilm_2011.txt")].concat();
    assert_eq!(lines(&env, "bibcodes_view.txt"), years, "superseded rows keep their places");
    assert_eq!(open(&env, "view").get(&years[1]).unwrap().unwrap().row, 4, "the later year's row counts");

    // The vectors are the years' own files, which are the store's; nothing of the view's is shown for them.
    for year in [2010, 2011] {
        let own = fs::metadata(env.path(format!("embeddings/embeddings_minilm_{year}.f16"))).unwrap();
        assert_eq!(fs::metadata(held(&env, year)).unwrap().ino(), own.ino());
        assert_eq!(own.nlink(), 3);
    }
    let shown: Vec<String> = files(&env.path("embeddings")).iter().map(|path| file_name(path)).collect();
    let of_view = shown.iter().filter(|name| name.contains("view")).collect::<Vec<_>>();
    assert_eq!(of_view, ["bibcodes_view.txt", "keys_view.fst", "manifest_view.json", "run_view.json"]);
    let told = env.run(&["get", "--dataset", "view", &years[1]]);
    assert_eq!(serde_json::from_str::<Value>(&told.out).unwrap()["row"], Value::from(4), "{}", told.err);
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// A view stays whole while its years go on, and follows them when it is applied.
#[test]
fn a_view_outlives_the_years_that_it_was_made_of() {
    let env = with_view();
    env.applied(&[]);
    let before = open(&env, "view").description().set;
    // Published twice, so that the set which the view was made of is tidied away.
    for papers_now in [4, 5] {
        env.write_year(2011, &papers(2011, papers_now));
        env.applied(&["--target", "persist.yearly"]);
        let view = open(&env, "view");
        assert_eq!(view.description().set, before);
        assert_eq!(view.get("2011Test..00002A").unwrap().unwrap().row, 5);
        assert!(view.get("2011Test..00003A").unwrap().is_none());
    }
    assert_eq!(fs::metadata(held(&env, 2011)).unwrap().nlink(), 2, "the store's and the view's");
    let told = env.applied(&[]);
    assert_eq!(told.started(), ["merge.all", "merge.view"]);
    assert_view_is_copy(&env);
    assert!(open(&env, "view").get("2011Test..00004A").unwrap().is_some());
    assert_eq!(fs::metadata(held(&env, 2011)).unwrap().nlink(), 3);
}

/// Damage to vectors that a view holds is damage to it, to the year whose file it is, and to the store's; all are mended.
#[test]
fn damage_to_what_a_view_holds_is_mended() {
    let env = with_view();
    env.applied(&[]);
    let before = env.keyed();
    damage(&held(&env, 2011), b"damage");
    let plan = env.plan(&[]);
    assert_eq!(plan.code, Some(2));
    assert!(plan.out.contains("publish only: published embeddings_minilm_2011.f16 was changed"), "{}", plan.out);
    let told = env.applied(&[]);
    assert_eq!(told.started(), ["merge.view", "persist.yearly[2011]"]);
    let reason = "merge.view: starts (publish only: published parts/embeddings_minilm_2011.f16 was changed";
    assert!(told.err.contains(reason), "{}", told.err);
    assert_eq!(fs::metadata(held(&env, 2011)).unwrap().nlink(), 3);
    assert_eq!(env.keyed(), before);
    assert_view_is_copy(&env);
    fs::remove_file(held(&env, 2010)).unwrap();
    assert_eq!(env.applied(&[]).started(), ["merge.view"]);
    assert_eq!(fs::metadata(held(&env, 2010)).unwrap().nlink(), 3);
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// In another directory the view holds the same files, by the store's names for them.
#[test]
fn a_view_elsewhere_holds_the_same_files() {
    let env = with_view();
    env.edit("dir = \"embeddings\"\nlabel = \"view\"", "dir = \"elsewhere\"\nlabel = \"view\"");
    env.applied(&[]);
    let part = env.path("elsewhere/.sciembed/links/view/parts/embeddings_minilm_2010.f16");
    assert_eq!(fs::metadata(part).unwrap().nlink(), 3);
    let view = Dataset::open(&env.path("elsewhere"), "view").unwrap();
    assert_eq!(view.get("2010Test..00000A").unwrap().unwrap().row, 0);
}

/// From a store on another disk everything is copied once; a view takes what its years have there.
#[test]
fn a_store_on_another_disk_is_copied_from() {
    let env = with_view();
    let Ok(disk) = tempfile::tempdir_in("/dev/shm") else { return say("no other disk here: not tried") };
    if fs::metadata(disk.path()).unwrap().dev() == fs::metadata(env.path("")).unwrap().dev() {
        return say("the temporary folder is on that disk too: not tried");
    }
    env.edit("store = \"store\"", &format!("store = \"{}\"", disk.path().join("store").display()));
    env.applied(&[]);
    let own = fs::metadata(env.path("embeddings/embeddings_minilm_2010.f16")).unwrap();
    assert_eq!((own.ino(), own.nlink()), (fs::metadata(held(&env, 2010)).unwrap().ino(), 2));
    assert_eq!(fs::metadata(env.path("embeddings/embeddings_minilm.f16")).unwrap().nlink(), 1);
    assert_view_is_copy(&env);
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// A flipped bit in vectors that are merged ends the step before anything is recorded, whether they are copied or held.
#[test]
fn damaged_vectors_are_not_merged() {
    for step in ["merge.all", "merge.view"] {
        let env = with_view();
        env.applied(&["--target", "persist.yearly"]);
        let is_2011 = |name: &str| name == "embeddings_minilm_2011.f16";
        let output = env
            .records()
            .into_iter()
            .find_map(|record| record.outputs.into_iter().find_map(|(name, output)| is_2011(&name).then_some(output)));
        let blob = env.blob(&output.unwrap().digest);
        let mut bytes = fs::read(&blob).unwrap();
        bytes[1500] ^= 1;
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, bytes).unwrap();
        let records = env.records().len();
        let told = env.apply(&["--target", step]);
        assert_eq!(told.code, Some(4), "{step}: {}{}", told.out, told.err);
        assert!(told.err.contains("its bytes are not those that its name says"), "{step}: {}", told.err);
        assert_eq!(env.records().len(), records, "{step}");
        env.applied(&[]);
        assert_view_is_copy(&env);
    }
}

//! Years become one dataset: what is rebuilt, what wins, what blocks, and who answers.

use std::fs;

use serde_json::Value;

use crate::env::{TestEnv, paper, papers};

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
        told.out.contains("superseded 1 in merge.all; list them: sciembed peek workflow.toml 'merge.all' superseded")
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

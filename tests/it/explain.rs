//! Tracing a published row back to its line: every hand-over, and what breaks the chain.

use std::fs;

use serde_json::{Value, json};

use crate::env::{TestEnv, damage, json_lines, paper, papers};

const MERGE: &str = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";

/// Two years and their merge; the first paper of 2011 stands in 2010 too, below one that has no text.
fn project() -> TestEnv {
    let env = TestEnv::of(3);
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    env.write_year(2010, &[&papers(2010, 1)[..], &[json!({ "bibcode": "no text" }), paper(2011, 0)]].concat());
    env.applied(&[]);
    env
}

fn bibcode(year: u16, n: usize) -> String {
    paper(year, n)["bibcode"].as_str().unwrap().to_owned()
}

fn explained(env: &TestEnv, arguments: &[&str]) -> Value {
    let told = env.run(&[&["explain", "--json"], arguments].concat());
    assert_eq!(told.code, Some(0), "{}", told.err);
    serde_json::from_str(&told.out).unwrap()
}

/// Of every paper: its own text, its own fields and its own line, through a merge that copies and one that does not.
#[test]
fn every_paper_to_its_line() {
    let env = project();
    every_paper(&env);
    env.edit("across = [\"year\"]\n", "across = [\"year\"]\nview = true\n");
    env.applied(&[]);
    every_paper(&env);
}

fn every_paper(env: &TestEnv) {
    for year in [2010, 2011] {
        for n in 0..3 {
            let paper = paper(year, n);
            let bibcode = bibcode(year, n);
            let trace = match env.run(&["explain", "--json", &bibcode]) {
                told if year == 2010 && n > 0 => {
                    assert_eq!(told.code, Some(1), "{}", told.out);
                    continue;
                }
                told => serde_json::from_str::<Value>(&told.out).unwrap(),
            };
            assert_eq!(trace["source"]["file"], format!("data/{year}.json.gz"));
            assert_eq!(trace["source"]["line"], n as u64 + 1);
            assert_eq!(trace["record"]["fields"][0], json!(["title", paper["title"]]));
            assert!(trace["text"]["text"].as_str().unwrap().starts_with(paper["title"][0].as_str().unwrap()));
            let datasets: Vec<&Value> =
                trace["datasets"].as_array().unwrap().iter().map(|row| &row["dataset"]).collect();
            assert_eq!(datasets, [&json!("minilm"), &json!(format!("minilm_{year}"))]);
        }
    }
    // The year that lost has the same paper on another line, below one that was set aside.
    let trace = explained(env, &["--dataset", "minilm_2010", &bibcode(2011, 0)]);
    assert_eq!(trace["source"]["line"], 3);
    assert_eq!((&trace["vector"]["row"], &trace["record"]["row"]), (&json!(1), &json!(2)));
}

/// Lines up to the key of who made something, and digests as `#`: they are other tests' matter.
fn without_digests(text: &str) -> String {
    let is_digest = |word: &str| word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lines = text.lines().filter_map(|line| line.split(", key ").next());
    let steady = |word: &str| if is_digest(word.trim_end_matches(',')) { "#".to_owned() } else { word.to_owned() };
    lines.map(|line| line.split(' ').map(steady).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn in_words() {
    let env = project();
    let told = env.run(&["explain", &bibcode(2011, 1)]);
    insta::assert_snapshot!(without_digests(&told.out), @"
    2011Test..00001A
      dataset   row 2 of minilm, set #
                made by merge.all
      dataset   row 1 of minilm_2011, set #
                made by persist.yearly[2011]
      vector    row 1 of table # row key #
                12 tokens read, 0 dropped
                made by embed.minilm[2011]
      text      row 1 of table #
                Paper 1 of 2011 What paper 1 of 2011 found.
                made by prepare.texts[2011]
      record    row 1 of table # digest #
                title: Paper 1 of 2011
                abstract: What paper 1 of 2011 found.
                made by load.records[2011]
      source    line 2 of data/2011.json.gz
                155 bytes, BLAKE3 #
    ");
}

#[test]
fn an_unknown_paper() {
    let env = project();
    let told = env.run(&["explain", &format!("{}x", bibcode(2010, 0))]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    assert!(told.err.contains("is unknown; near it: "), "{}", told.err);
    let told = env.run(&["explain", "no text"]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    let aside = "no text is not in minilm_2010: prepare set line 2 of data/2010.json.gz aside as no_text: no text in title, abstract\n";
    assert_eq!(told.err, aside);
}

/// What a load left out is listed nowhere: its counts are told, and how to ask the files.
#[test]
fn a_paper_that_may_not_have_been_selected() {
    let env = project();
    let told = env.run(&["explain", "2010Test..00009A"]);
    assert!(!told.err.contains("peek"), "a load that takes all says nothing: {}", told.err);
    env.edit(
        "fields = [\"title\", \"abstract\"]\n\n[prepare",
        "fields = [\"title\", \"abstract\"]\nlimit = 2\n\n[prepare",
    );
    env.applied(&[]);
    let left_out = bibcode(2011, 2);
    let told = env.run(&["explain", "--dataset", "minilm_2011", &left_out]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    let line = format!(
        "load.records[2011] left out 1 beyond `limit`; whether {left_out} is one: \
         sciembed peek WORKFLOW 'load.records[2011]' --record '{left_out}'\n"
    );
    assert!(told.err.ends_with(&line), "{}", told.err);
    let peeked = env.run(&["peek", "workflow.toml", "load.records[2011]", "--record", &left_out]);
    assert!(peeked.out.starts_with(&format!("{left_out}: left out of load.records[2011], beyond `limit`\n")));
}

#[test]
fn a_paper_that_is_gone() {
    let env = project();
    env.write_year(2010, &[paper(2011, 0)]);
    env.applied(&[]);
    let told = env.run(&["explain", &bibcode(2010, 0)]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    assert!(
        told.err.contains(&format!("{} was removed from persist.yearly[2010] in run $RUN", bibcode(2010, 0))),
        "{}",
        told.err
    );
}

#[test]
fn a_workflow_without_a_node() {
    let told = project().run(&["explain", "workflow.toml"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("failed to explain workflow.toml: no node of it was named"), "{}", told.err);
    assert!(told.err.contains("its nodes are load.records, prepare.texts, embed.minilm,"), "{}", told.err);
}

/// A text that is not the one whose vector is published ends the chain.
#[test]
fn a_damaged_table_is_told() {
    let env = project();
    let trace = explained(&env, &[&bibcode(2011, 1)]);
    for (what, table) in [("records", &trace["record"]["table"]), ("texts", &trace["text"]["table"])] {
        let blob = env.blob(&table.as_str().unwrap().parse().unwrap());
        let sound = fs::read(&blob).unwrap();
        damage(&blob, &vec![0; sound.len()]);
        let told = env.run(&["explain", &bibcode(2011, 1)]);
        assert_eq!(told.code, Some(4), "{what}: {}{}", told.out, told.err);
        damage(&blob, &sound);
    }
}

/// Two years of the same lines, one of them compressed, have one table of records: each is told by its own file.
#[test]
fn years_of_one_content() {
    let env = TestEnv::of(3);
    env.edit("data/{year}.json.gz", "data/{year}.*");
    std::fs::remove_file(env.path("data/2010.json.gz")).unwrap();
    env.write("data/2010.json", json_lines(&papers(2011, 3)));
    env.applied(&[]);
    for (year, file) in [(2010, "data/2010.json"), (2011, "data/2011.json.gz")] {
        let trace = explained(&env, &["--dataset", &format!("minilm_{year}"), &bibcode(2011, 1)]);
        assert_eq!((&trace["source"]["file"], &trace["source"]["line"]), (&json!(file), &json!(2)));
        assert_eq!(trace["record"]["made_by"]["step"], format!("load.records[{year}]"));
    }
}

/// A provenance file that says nothing is damage to what is published: the plan says so, and apply mends it.
#[test]
fn a_provenance_file_that_says_nothing() {
    let env = project();
    let file = env.path("embeddings/run_minilm_2011.json").canonicalize().unwrap();
    damage(&file, &vec![b' '; fs::metadata(&file).unwrap().len() as usize]);
    let told = env.run(&["explain", "--dataset", "minilm_2011", &bibcode(2011, 1)]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(told.err, @"
    sciembed::lineage::no_provenance

      × failed to read embeddings/run_minilm_2011.json: it does not tell who published the dataset
      help: apply the workflow that publishes this dataset: it writes the file anew
    ");
    assert_eq!(env.plan(&[]).code, Some(2));
    env.applied(&[]);
    explained(&env, &["--dataset", "minilm_2011", &bibcode(2011, 1)]);
}

#[test]
fn a_project_that_was_moved_and_a_store_that_was_moved() {
    let mut env = project();
    env.rename("moved");
    let trace = explained(&env, &[&bibcode(2011, 1)]);
    fs::rename(env.path("store"), env.path("elsewhere")).unwrap();
    let told = env.run(&["explain", &bibcode(2011, 1)]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(told.err, @"
    sciembed::lineage::store_missing

      × failed to trace minilm: there is no store at embeddings/../store
      help: it was moved or removed: name the place where it is now with `--store`
    ");
    assert_eq!(explained(&env, &["--store", "elsewhere", &bibcode(2011, 1)]), trace);
}

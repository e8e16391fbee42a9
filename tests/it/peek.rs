//! One record followed through the steps, before and after an apply, and records that are piped in.

use serde_json::{Value, json};

use crate::env::{TestEnv, gzip, json_lines};

/// A reject, a record that is not selected, two of one bibcode, and one without a text.
const LINES: &str = r#"no record at all
{"bibcode": "2009Test..00000A", "title": "Old", "year": 2009}
{"bibcode": "2010Test..00001A", "title": ["Dark <i>energy</i>"], "abstract": "First.", "year": 2010}
{"bibcode": "2010Test..00002A", "title": [], "abstract": null, "year": 2010}
{"bibcode": "2010Test..00001A", "title": ["Dark energy", "Energie"], "abstract": "Second.", "year": 2010}
"#;

fn env() -> TestEnv {
    let env = TestEnv::over("data/papers.json");
    let fields = "fields = [\"title\", \"abstract\"]\n\n[prepare";
    env.edit(fields, "fields = [\"title\", \"abstract\"]\nwhere = \"year >= 2010\"\n\n[prepare");
    env.edit("prefix = \"\"", "truncate = 20");
    env.write("data/papers.json", LINES);
    env
}

fn told(env: &TestEnv, arguments: &[&str]) -> String {
    let told = env.run(&[&["peek", "workflow.toml"], arguments].concat());
    assert_eq!(told.err, "", "{}", told.out);
    told.out
}

#[test]
fn the_first_record_is_followed_before_anything_is_applied() {
    let env = env();
    insta::assert_snapshot!(told(&env, &["persist.yearly"]), @r##"
    2010Test..00001A: the first record that load.records takes, after 1 invalid json, 1 not selected

    line 3 of data/papers.json, 100 bytes
      {"bibcode": "2010Test..00001A", "title": ["Dark <i>energy</i>"], "abstract": "First.", "year": 2010}

    record
      title     "Dark <i>energy</i>"
      abstract  "First."

    text of prepare.texts, 20 characters, cut by `truncate`
      Dark <i>energy</i>


    nothing of this was applied yet, so nothing is counted
    "##);
    assert!(!env.path("store").exists(), "looking writes nothing");
}

#[test]
fn a_named_record_is_the_one_that_counts_and_rejects_say_why() {
    let env = env();
    insta::assert_snapshot!(told(&env, &["prepare.texts", "--record", "2010Test..00001A"]), @r##"
    2010Test..00001A: taken by load.records

    line 5 of data/papers.json, 105 bytes
      {"bibcode": "2010Test..00001A", "title": ["Dark energy", "Energie"], "abstract": "Second.", "year": 2010}
      line 3 of data/papers.json has this bibcode too, and does not count: superseded

    record
      title     "Dark energy", "Energie"
      abstract  "Second."

    text of prepare.texts, 20 characters, cut by `truncate`
      Dark energy; Energie

    nothing of this was applied yet, so nothing is counted
    "##);
    env.applied(&[]);
    insta::assert_snapshot!(told(&env, &["prepare.texts", "--record", "2010Test..00002A"]), @r##"
    2010Test..00002A: taken by load.records

    line 4 of data/papers.json, 76 bytes
      {"bibcode": "2010Test..00002A", "title": [], "abstract": null, "year": 2010}

    record
      title     (an empty list)
      abstract  (missing or null)

    text of prepare.texts: none, so it is rejected as no_text

    load.records, as applied last: 2 of 5 kept, 1 not selected, 1 rejected as invalid_json, 1 rejected as superseded
      list them: sciembed peek workflow.toml 'load.records' rejects
    prepare.texts, as applied last: 1 of 2 kept, 1 cut by `truncate`, 1 rejected as no_text
      list them: sciembed peek workflow.toml 'prepare.texts' rejects
    "##);
    let told = told(&env, &["load.records", "--record", "2009Test..00000A"]);
    assert!(told.starts_with("2009Test..00000A: left out of load.records by `where` or `sample`\n"), "{told}");
    let nobody = env.run(&["peek", "workflow.toml", "load.records", "--record", "2010Test..0000"]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.out);
    assert!(nobody.out.starts_with("no record of load.records has the bibcode 2010Test..0000\n"), "{}", nobody.out);
}

#[test]
fn random_records_are_those_that_are_taken() {
    let env = TestEnv::over("data/papers.json");
    env.write("data/papers.json", json_lines(&crate::env::papers(2010, 30)));
    let drawn = || {
        let told = told(&env, &["embed.minilm", "--random", "--json"]);
        let stages: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(stages["record"]["fate"], json!("taken"));
        assert!(stages["text"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        stages["record"]["bibcode"].as_str().unwrap().to_owned()
    };
    let drawn: std::collections::BTreeSet<String> = (0..12).map(|_| drawn()).collect();
    assert!(drawn.len() > 2, "one of thirty in twelve draws: {drawn:?}");
}

#[test]
fn what_is_no_single_record_is_refused() {
    let env = TestEnv::of(3);
    for (arguments, words) in [
        (&["load.records"][..], "it stands for several steps"),
        (&["load.records[2010]", "-n", "3"], "required arguments were not provided"),
        (&["load.records[2010]", "rejects", "--random"], "cannot be used with"),
        (&["load.records[2010]", "records"], "it has no record for the workflow as it stands"),
    ] {
        let told = env.run(&[&["peek", "workflow.toml"], arguments].concat());
        assert!(told.code == Some(1) && told.err.contains(words), "{arguments:?}: {}", told.err);
    }
}

#[test]
fn records_are_piped_into_plan_and_apply() {
    let env = TestEnv::over("-");
    let file = TestEnv::over("data/papers.json.gz");
    let lines = |year, count| String::from_utf8(json_lines(&crate::env::papers(year, count))).unwrap();
    let papers = lines(2010, 5);
    file.write("data/papers.json.gz", gzip(papers.as_bytes()));
    file.applied(&[]);
    let piped = |command: &str, input: &str| env.run_with(&[command, "workflow.toml"], input, &[]);
    assert_eq!(piped("plan", &papers).code, Some(2));
    let applied = piped("apply", &papers);
    assert!(applied.code == Some(0) && applied.out.contains("loaded     5 rows in, 5 kept"), "{}", applied.err);
    assert_eq!(env.peek("load.records", "records").len(), 5, "what does not read it knows the last");
    let outputs = |env: &TestEnv, name: &str| env.records().iter().find_map(|r| r.outputs.get(name).copied());
    assert_eq!(outputs(&env, "records"), outputs(&file, "records"));

    assert_eq!(piped("plan", &papers).code, Some(0), "the same records again are nothing to do");
    assert!(piped("apply", &papers).out.contains("nothing to do"));
    let more = papers + &lines(2011, 1);
    assert!(piped("apply", &more).out.contains("embedded   1 new, 5 reused"));
    assert!(told(&env, &["load.records"]).contains("\nline 1 of -, "));
}

#[test]
fn nothing_piped_in_is_an_error() {
    let env = TestEnv::over("-");
    let empty = env.apply(&[]);
    assert!(empty.code == Some(3) && empty.err.contains("it holds no records"), "{}", empty.err);
    let table = env.run(&["peek", "workflow.toml", "load.records", "records"]);
    assert!(
        table.code == Some(1) && table.err.contains("apply the workflow first, with the records piped"),
        "{}",
        table.err
    );
    let status = env.run(&["status", "workflow.toml"]);
    assert!(
        status.out.contains("faulty      load.records: failed to plan load.records: read standard input"),
        "{}",
        status.out
    );
}

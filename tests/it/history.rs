//! What is told of rows and runs: new, reused and removed in plan and apply alike; log, status, and a step's inputs.

use std::fs;

use serde_json::{Value, json};

use crate::env::{TestEnv, file_name, files, paper, papers, titled};

/// One year, embedded once.
fn project(count: usize) -> TestEnv {
    let env = TestEnv::of(count);
    env.edit("[2010, 2011]", "[2010]");
    env.applied(&[]);
    env
}

/// One paper is gone, one changed its text, one its bibcode, one came: the plan says so as soon as the texts are recorded,
/// and apply reports it in the same words.
#[test]
fn rows_are_told_alike_before_and_after() {
    let env = project(10);
    let mut year = papers(2010, 10);
    year.remove(9);
    year[0]["title"] = json!(["Erratum"]);
    year[1]["bibcode"] = json!("2010Renamed..0001A");
    year.push(paper(2010, 77));
    env.write_year(2010, &year);

    let plan = env.plan(&[]);
    assert!(plan.out.contains("0 to about "), "nothing is recorded yet: {}", plan.out);
    let prepared = env.applied(&["--target", "prepare.texts"]);
    assert_eq!(prepared.started(), ["load.records[2010]", "prepare.texts[2010]"]);
    let words = "2 new, 8 reused, 2 removed";
    let plan = env.plan(&[]);
    assert!(plan.out.contains(words), "{}", plan.out);
    let told = env.applied(&[]);
    assert!(told.out.contains(words), "{}", told.out);
    assert!(told.out.contains("removed    2 from persist.yearly[2010]; list them: sciembed log workflow.toml --run"));

    let run = env.run(&["log", "workflow.toml", "-n", "1", "--json"]);
    let run: Value = serde_json::from_slice(&run.bytes).unwrap();
    assert_eq!((run["state"].as_str(), run["counts"]["removed"].as_u64()), (Some("done"), Some(2)));
    let log = env.run(&["log", "workflow.toml", "--run", run["run"].as_str().unwrap()]);
    for bibcode in ["2010Test..00009A", "2010Test..00001A"] {
        let line = format!("persist.yearly[2010]: {bibcode} is no longer there");
        assert!(log.out.contains(&line), "{}{}", log.out, log.err);
    }
}

/// Should all segments be lost, finished tables still hold what was paid for.
#[test]
fn vectors_are_taken_from_finished_tables_too() {
    let env = project(10);
    let whole = env.keyed();
    env.segments().iter().for_each(|segment| fs::remove_file(segment).unwrap());
    env.write_year(2010, &papers(2010, 12));
    assert_eq!(env.applied(&[]).embedded_and_reused(), (2, 10));
    env.write_year(2010, &papers(2010, 10));
    env.applied(&[]);
    whole.iter().for_each(|(name, digest)| assert_eq!(env.keyed().get(name), Some(digest), "{name}"));
}

/// A night's few papers, or none, tell less of the time that a year takes than the year did.
#[test]
fn a_few_new_papers_do_not_become_the_pace() {
    let env = project(200);
    let pace = || {
        let records = env.records().into_iter().filter(|record| record.outputs.contains_key("vectors"));
        let last = records.max_by_key(|record| record.counts["rows"]).unwrap();
        (last.provenance.counts["embedded"], last.provenance.pace.unwrap())
    };
    let (embedded, year) = pace();
    assert_eq!((embedded, year.rows), (200, 200));
    assert!(year.seconds > 0.0);
    env.write_year(2010, &papers(2010, 203));
    env.applied(&[]);
    assert_eq!(pace(), (3, year));
    // The same texts under another bibcode: nothing is computed.
    let mut renamed = papers(2010, 203);
    renamed.push(paper(2010, 0));
    renamed[203]["bibcode"] = json!("2010Renamed..0001A");
    env.write_year(2010, &renamed);
    env.applied(&[]);
    assert_eq!(pace(), (0, year));
}

/// However many nights a year grew: few segments, and one table to look in.
#[test]
fn a_year_of_nights_leaves_few_files() {
    let env = project(1);
    for night in 2..40 {
        env.write_year(2010, &papers(2010, night));
        assert_eq!(env.applied(&[]).embedded_and_reused(), (1, night - 1));
    }
    assert_eq!(env.vector_files("rows").len(), 1);
    assert!(env.segments().len() < 16, "{} segments", env.segments().len());
    assert_eq!(env.sealed_rows(), 39);
}

#[test]
fn status_and_log_tell_how_it_stands() {
    let env = TestEnv::of(3);
    let status = env.run(&["status", "workflow.toml"]);
    assert_eq!(status.code, Some(0), "{}", status.err);
    assert!(status.out.contains("published   0 of 2 datasets"), "{}", status.out);
    env.applied(&["--years", "2010"]);
    env.write_year(2011, &[titled("not a year", "of papers")]);
    env.write("data/2011.json.gz", b"no json at all\n");
    assert_eq!(env.apply(&[]).code, Some(3));
    let status = env.run(&["status", "workflow.toml"]);
    assert!(status.out.contains("published   1 of 2 datasets"), "{}", status.out);
    assert!(status.out.contains("stale       load.records[2011]"), "{}", status.out);
    let log = env.run(&["log", "workflow.toml"]);
    let lines: Vec<&str> = log.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", log.out);
    assert!(lines[0].contains("incomplete") && lines[1].contains("done"), "newest first: {}", log.out);
    let unknown = env.run(&["log", "workflow.toml", "--run", "x"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("failed to find run x"), "{}", unknown.err);
}

/// One year's file is missing: the others are shown all the same, and what keeps that year from being planned.
#[test]
fn status_of_a_year_without_its_file() {
    let env = TestEnv::of(3);
    env.applied(&[]);
    fs::remove_file(env.path("data/2010.json.gz")).unwrap();
    let status = env.run(&["status", "workflow.toml"]);
    assert_eq!(status.code, Some(1), "{}{}", status.out, status.err);
    assert!(status.out.contains("published   1 of 2 datasets"), "{}", status.out);
    assert!(
        status.out.contains("\nfaulty      load.records[2010]: failed to plan load.records[2010]"),
        "{}",
        status.out
    );
    assert!(status.out.contains("\nblocked     persist.yearly[2010]: by load.records[2010]"), "{}", status.out);
    assert!(!status.out.contains("[2011]"), "{}", status.out);
    env.edit("[2010, 2011]", "[2011]");
    let status = env.run(&["status", "workflow.toml"]);
    assert_eq!(status.code, Some(0), "{}{}", status.out, status.err);
    let former = "\n1 dataset is published that no step of this workflow publishes any more: minilm_2010; `apply --prune` removes it\n";
    assert!(status.out.ends_with(former), "{}", status.out);
    // An apply says it too: a search of the directory finds what it was not asked about.
    env.write_year(2011, &papers(2011, 4));
    let told = env.applied(&[]);
    assert!(told.out.contains(former), "{}", told.out);
    assert!(env.plan(&[]).out.ends_with(former));
}

/// What no step publishes any more goes where that is asked for, with what was derived of it; what others publish stays.
#[test]
fn former_datasets_are_pruned() {
    let env = TestEnv::of(3);
    env.edit("dtype = \"f16\"\n", "dtype = \"f16\"\nwords = true\nindex = { signs = {} }\n");
    env.applied(&[]);
    env.write(
        "other.toml",
        fs::read_to_string(env.path("workflow.toml"))
            .unwrap()
            .replace("minilm", "other")
            .replace("\"tests\"", "\"others\""),
    );
    assert_eq!(env.run(&["apply", "other.toml"]).code, Some(0));
    let mixed = env.run(&["search", "paper", "-k", "1"]);
    assert!(mixed.err.contains("minilm and other answer together; --dataset NAME"), "{}", mixed.err);
    env.edit("[2010, 2011]", "[2011]");
    let (names, shown) =
        (|| files(&env.path("embeddings")).iter().map(|path| file_name(path)).collect::<Vec<_>>(), "minilm_2010");
    assert!(names().iter().any(|name| name.contains(shown)));
    let told = env.applied(&["--prune"]);
    assert!(
        told.out.contains("  removed    minilm_2010: no step of this workflow publishes it any more\n"),
        "{}",
        told.out
    );
    assert!(!names().iter().any(|name| name.contains(shown)), "{:?}", names());
    assert!(
        names().iter().any(|name| name.contains("other_2010"))
            && names().iter().any(|name| name.contains("minilm_2011"))
    );
    assert_eq!(files(&env.path("embeddings/.sciembed/sets")).len(), 3);
    assert_eq!(
        env.run(&["catalog", "SELECT dataset FROM datasets ORDER BY 1", "--format", "csv"]).out,
        "dataset\nminilm_2011\nother_2010\nother_2011\n"
    );
    let again = env.applied(&["--prune"]);
    assert!(!again.out.contains("removed    minilm"), "{}", again.out);
    assert_eq!((env.plan(&[]).code, env.run(&["verify", "workflow.toml"]).code), (Some(0), Some(0)));
}

/// What is not made yet is not known, and everything else of a pending step is what it was.
#[test]
fn a_pending_steps_inputs_are_not_shown_as_removed() {
    let env = project(3);
    env.edit("prefix = \"\"", "prefix = \"A paper: \"");
    for step in ["embed.minilm", "persist.yearly"] {
        let told = env.run(&["explain", "workflow.toml", step]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert!(!told.out.contains("\n  - ") && !told.out.contains("\n  + "), "{}", told.out);
        assert!(told.out.contains("  now: no key\n"), "{}", told.out);
    }
    let told = env.run(&["explain", "workflow.toml", "embed.minilm"]);
    let unknown = "    input 0 texts: not known until prepare.texts[2010] has run (then ";
    assert!(told.out.contains(unknown), "{}", told.out);
    let json = env.run(&["explain", "workflow.toml", "embed.minilm", "--json"]);
    let json: Value = serde_json::from_slice(&json.bytes).unwrap();
    assert_eq!(json["differing"], json!([]));
}

/// Half a day of runs begins alike.
#[test]
fn a_run_is_named_without_doubt() {
    let env = project(2);
    env.write_year(2010, &papers(2010, 3));
    env.applied(&[]);
    let several = env.run(&["log", "workflow.toml", "--run", "2"]);
    assert_eq!(several.code, Some(1), "{}", several.out);
    assert!(several.err.contains("failed to tell which run is meant by 2: 2 begin so"), "{}", several.err);
    let latest = env.run(&["log", "workflow.toml", "--run", "latest"]);
    assert!(latest.out.contains("embedded 1"), "{}{}", latest.out, latest.err);
}

/// Old and new side by side, against what was applied last and against an earlier run.
#[test]
fn a_steps_inputs_are_shown_beside_what_they_were() {
    let env = project(3);
    let same = env.run(&["explain", "workflow.toml", "prepare.texts"]);
    assert_eq!(same.code, Some(0), "{}", same.err);
    assert!(same.out.contains("    config prefix: \"\"") && !same.out.contains("\n  + "), "{}", same.out);
    let first = env.run(&["log", "workflow.toml", "--json"]);
    let first: Value = serde_json::from_slice(&first.bytes).unwrap();
    env.edit("prefix = \"\"", "prefix = \"A paper: \"");
    let changed = env.run(&["explain", "workflow.toml", "texts"]);
    for line in ["  - config prefix: \"\"\n", "  + config prefix: \"A paper: \"\n"] {
        assert!(changed.out.contains(line), "{}", changed.out);
    }
    env.applied(&[]);
    let run = first["run"].as_str().unwrap();
    let against = env.run(&["explain", "workflow.toml", "prepare.texts[2010]", "--against", run, "--json"]);
    let against: Value = serde_json::from_slice(&against.bytes).unwrap();
    assert_eq!(against["differing"][0], json!({ "what": "config prefix", "then": "\"\"", "now": "\"A paper: \"" }));
}

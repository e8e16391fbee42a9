//! What `plan` prints, word for word, and that `apply` then does that and nothing else.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::env::{TestEnv, damage, papers};

/// A project that was applied.
fn applied() -> TestEnv {
    let env = TestEnv::of(3);
    env.applied(&[]);
    env
}

fn assert_nothing_to_do(env: &TestEnv, arguments: &[&str]) {
    let plan = env.plan(arguments);
    assert_eq!((plan.code, plan.out.lines().last()), (Some(0), Some("nothing to do: all 8 steps are fresh")));
    let apply = env.applied(arguments);
    assert_eq!(apply.out, "nothing to do: all 8 steps are fresh\n");
    assert!(apply.started().is_empty());
}

/// At first everything is to do, then nothing; 2 says something, 0 nothing.
#[test]
fn at_first_everything_then_nothing() {
    let env = TestEnv::of(3);
    let plan = env.plan(&[]);
    assert_eq!(plan.code, Some(2));
    insta::assert_snapshot!(plan.out, @"
        load.records[2010]    stale    never applied
        load.records[2011]    stale    never applied
        prepare.texts[2010]   pending  on load.records[2010]
        prepare.texts[2011]   pending  on load.records[2011]
        embed.minilm[2010]    pending  on prepare.texts[2010]
        embed.minilm[2011]    pending  on prepare.texts[2011]
        persist.yearly[2010]  pending  on embed.minilm[2010]
        persist.yearly[2011]  pending  on embed.minilm[2011]
        persist.yearly takes about 122 bytes a vector, all files counted
        8 steps: 0 fresh, 2 stale, 6 pending
        ");
    assert!(!env.path("store").exists(), "a plan writes nothing");
    let apply = env.applied(&[]);
    assert_eq!(apply.started().len(), 8);
    insta::assert_snapshot!(apply.out, @"
    done in # s
      loaded     6 rows in, 6 kept, 0 rejected
      prepared   6 texts, 0 truncated, 0 rejected
      embedded   6 new, 0 reused, 0 removed, # papers/s
      published  2 datasets: 6 vectors, # bytes each, all files counted
      catalog    embeddings/catalog.duckdb: 2 datasets, 6 rows of papers, # KB
      report     store/reports/$RUN.html
    ");
    let plan = env.plan(&[]);
    assert_eq!(plan.code, Some(0));
    insta::assert_snapshot!(plan.out, @"
        load.records[2010]    fresh    3 rows
        load.records[2011]    fresh    3 rows
        prepare.texts[2010]   fresh    3 rows
        prepare.texts[2011]   fresh    3 rows
        embed.minilm[2010]    fresh    3 rows
        embed.minilm[2011]    fresh    3 rows
        persist.yearly[2010]  fresh    3 rows
        persist.yearly[2011]  fresh    3 rows
        nothing to do: all 8 steps are fresh
        ");
    assert_nothing_to_do(&env, &[]);
}

/// A changed prefix is told with old and new; what follows is pending, and then runs, while load does not.
#[test]
fn a_changed_prefix() {
    let env = applied();
    env.edit("prefix = \"\"", "prefix = \"You are an astrophysicist. \"");
    let plan = env.plan(&[]);
    assert_eq!(plan.code, Some(2));
    insta::assert_snapshot!(plan.out, @r#"
        load.records[2010]    fresh    3 rows
        load.records[2011]    fresh    3 rows
        prepare.texts[2010]   stale    prepare.texts.prefix "" -> "You are an astrophysicist. " (3 rows when last applied)
        prepare.texts[2011]   stale    prepare.texts.prefix "" -> "You are an astrophysicist. " (3 rows when last applied)
        embed.minilm[2010]    pending  on prepare.texts[2010] (0 to 3 new, as load.records[2010] has 3 rows; at most about # s at the # rows/s of the last time)
        embed.minilm[2011]    pending  on prepare.texts[2011] (0 to 3 new, as load.records[2011] has 3 rows; at most about # s at the # rows/s of the last time)
        persist.yearly[2010]  pending  on embed.minilm[2010] (3 rows when last applied)
        persist.yearly[2011]  pending  on embed.minilm[2011] (3 rows when last applied)
        persist.yearly takes about 122 bytes a vector, all files counted
        8 steps: 2 fresh, 2 stale, 4 pending
        "#);
    let apply = env.applied(&[]);
    assert_eq!(
        apply.started(),
        [
            "embed.minilm[2010]",
            "embed.minilm[2011]",
            "persist.yearly[2010]",
            "persist.yearly[2011]",
            "prepare.texts[2010]",
            "prepare.texts[2011]"
        ]
    );
    let text = &env.peek("prepare.texts[2010]", "texts")[0]["text"];
    assert!(text.as_str().unwrap().starts_with("You are an astrophysicist. Paper 0"), "{text}");
    assert_nothing_to_do(&env, &[]);
}

/// A value given with `--set` and then no longer is told as such: the workflow's text did not change.
#[test]
fn an_override_that_is_gone() {
    let env = TestEnv::of(3);
    let set = ["--set", "prepare.texts.prefix=Abstract: "];
    env.applied(&set);
    assert_nothing_to_do(&env, &set);
    insta::assert_snapshot!(env.plan(&[]).out, @r#"
        load.records[2010]    fresh    3 rows
        load.records[2011]    fresh    3 rows
        prepare.texts[2010]   stale    prepare.texts.prefix "Abstract: " (by --set) -> "" (3 rows when last applied)
        prepare.texts[2011]   stale    prepare.texts.prefix "Abstract: " (by --set) -> "" (3 rows when last applied)
        embed.minilm[2010]    pending  on prepare.texts[2010] (0 to 3 new, as load.records[2010] has 3 rows; at most about # s at the # rows/s of the last time)
        embed.minilm[2011]    pending  on prepare.texts[2011] (0 to 3 new, as load.records[2011] has 3 rows; at most about # s at the # rows/s of the last time)
        persist.yearly[2010]  pending  on embed.minilm[2010] (3 rows when last applied)
        persist.yearly[2011]  pending  on embed.minilm[2011] (3 rows when last applied)
        persist.yearly takes about 122 bytes a vector, all files counted
        8 steps: 2 fresh, 2 stale, 4 pending
        "#);
}

/// An edit that is taken back computes nothing: the records of before still stand; only publishing is left.
#[test]
fn an_edit_taken_back() {
    let env = applied();
    let before = env.keyed();
    env.edit("prefix = \"\"", "prefix = \"x\"");
    env.edit("prefix = \"x\"", "prefix = \"\"");
    assert_nothing_to_do(&env, &[]);
    env.edit("prefix = \"\"", "prefix = \"x\"");
    env.applied(&[]);
    env.edit("prefix = \"x\"", "prefix = \"\"");
    let plan = env.plan(&["--years", "2010"]);
    assert!(plan.out.contains("stale    publish only: set "), "{}", plan.out);
    let apply = env.applied(&[]);
    assert_eq!(apply.started(), ["persist.yearly[2010]", "persist.yearly[2011]"]);
    assert_eq!(apply.embedded_and_reused(), (0, 0));
    assert!(before.iter().all(|file| env.keyed().get(file.0) == Some(file.1)));
    assert_nothing_to_do(&env, &[]);
}

/// How the model runs changes no vector, so it makes nothing stale.
#[test]
fn threads_sessions_and_batches_change_nothing() {
    let env = applied();
    for option in ["threads=4", "sessions=2", "max_batch_tokens=64"] {
        assert_nothing_to_do(&env, &["--set", &format!("embed.minilm.onnx.{option}")]);
    }
    assert_nothing_to_do(&env, &["--set", "embed.minilm.model=fake://16?delay_us=50"]);
    assert_eq!(env.plan(&["--set", "embed.minilm.model=fake://8"]).code, Some(2));
}

/// Times and places are no content.
#[test]
fn a_touched_source_and_a_renamed_project_change_nothing() {
    let mut env = applied();
    let source = File::options().write(true).open(env.path("data/2010.json.gz")).unwrap();
    source.set_modified(SystemTime::now() + Duration::from_secs(100)).unwrap();
    assert_nothing_to_do(&env, &[]);
    env.rename("renamed [draft]");
    assert_nothing_to_do(&env, &[]);
}

/// One edited title makes its own year stale, and no other.
#[test]
fn one_edited_title() {
    let env = applied();
    let mut papers = papers(2011, 3);
    papers[1]["title"] = json!(["Another title"]);
    env.write_year(2011, &papers);
    let plan = env.plan(&[]);
    let told: Vec<&str> = plan.out.lines().filter(|line| !line.contains(" fresh ")).collect();
    assert!(told[0].starts_with("load.records[2011]    stale    source data/2011.json.gz "), "{}", plan.out);
    insta::assert_snapshot!(told[1..].join("\n"), @"
        prepare.texts[2011]   pending  on load.records[2011] (3 rows when last applied)
        embed.minilm[2011]    pending  on prepare.texts[2011] (0 to about 4 new, by the size of the files of load.records[2011]; at most about # s at the # rows/s of the last time)
        persist.yearly[2011]  pending  on embed.minilm[2011] (3 rows when last applied)
        persist.yearly takes about 122 bytes a vector, all files counted
        8 steps: 4 fresh, 1 stale, 3 pending
        ");
    let apply = env.applied(&[]);
    let year = ["embed.minilm[2011]", "load.records[2011]", "persist.yearly[2011]", "prepare.texts[2011]"];
    assert_eq!(apply.started(), year);
    assert_eq!(apply.embedded_and_reused(), (1, 2));
    assert_nothing_to_do(&env, &[]);
}

/// A field that is not selected may change: load reads the file again, finds the same records, and that ends it.
#[test]
fn an_edit_outside_the_selected_fields_is_cut_off_after_load() {
    let env = applied();
    let published = env.keyed();
    let mut papers = papers(2010, 3);
    papers[0]["citation_count"] = json!(1000);
    env.write_year(2010, &papers);
    let plan = env.plan(&["--years", "2010"]);
    let reasons: Vec<&str> = plan.out.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(reasons[..4], ["stale", "pending", "pending", "pending"]);
    assert_eq!(env.applied(&[]).started(), ["load.records[2010]"]);
    let after = env.keyed();
    assert!(published.iter().all(|(file, digest)| after.get(file) == Some(digest)));
    assert_nothing_to_do(&env, &[]);
}

/// Whatever happens to what is published, publishing mends it, from a store that is left as it was.
#[test]
fn damage_to_what_is_published_is_published_again() {
    let env = applied();
    let whole = env.keyed();
    let vectors = env.path("embeddings/embeddings_minilm_2010.f16");
    let shown = |plan: &str| plan.lines().find(|line| line.contains(" stale ")).unwrap_or_default().to_owned();
    let mended = |told: &str| {
        let plan = env.plan(&[]);
        assert_eq!(plan.code, Some(2), "{told}");
        assert_eq!(shown(&plan.out), format!("persist.yearly[2010]  stale    publish only: {told} (3 rows)"));
        let apply = env.applied(&[]);
        assert_eq!(apply.started(), ["persist.yearly[2010]"], "{told}");
        assert_eq!(env.keyed(), whole, "{told}");
        assert_nothing_to_do(&env, &[]);
    };

    fs::remove_file(&vectors).unwrap();
    mended("published embeddings_minilm_2010.f16 is missing");
    fs::remove_file(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap();
    mended("published bibcodes_minilm_2010.txt is missing");
    fs::remove_file(env.path("embeddings/run_minilm_2010.json")).unwrap();
    mended("published run_minilm_2010.json is missing");

    // Through the link, with other bytes of the same size: size and name alone would not tell.
    let bytes: Vec<u8> = fs::read(&vectors).unwrap().iter().map(|byte| !byte).collect();
    damage(&fs::canonicalize(&vectors).unwrap(), &bytes);
    mended("published embeddings_minilm_2010.f16 was changed");

    // A copy in the link's place would not follow the next set.
    let bytes = fs::read(&vectors).unwrap();
    fs::remove_file(&vectors).unwrap();
    fs::write(&vectors, bytes).unwrap();
    mended("published embeddings_minilm_2010.f16 was changed");

    fs::remove_file(env.path("embeddings/.sciembed/links/minilm_2010")).unwrap();
    mended("nothing is published yet");
    fs::remove_dir_all(fs::canonicalize(env.path("embeddings/.sciembed/links/minilm_2010")).unwrap()).unwrap();
    mended("published bibcodes_minilm_2010.txt is missing");
    fs::remove_dir_all(env.path("embeddings")).unwrap();
    assert_eq!(env.applied(&[]).started(), ["persist.yearly[2010]", "persist.yearly[2011]"]);
    assert_eq!(env.keyed(), whole);
}

/// `--years` and `--target` limit what is planned and what runs.
#[test]
fn a_part_of_the_workflow() {
    let env = TestEnv::of(3);
    insta::assert_snapshot!(env.plan(&["--years", "2011"]).out, @"
        load.records[2011]    stale    never applied
        prepare.texts[2011]   pending  on load.records[2011]
        embed.minilm[2011]    pending  on prepare.texts[2011]
        persist.yearly[2011]  pending  on embed.minilm[2011]
        persist.yearly takes about 122 bytes a vector, all files counted
        4 steps: 0 fresh, 1 stale, 3 pending
        ");
    let apply = env.applied(&["--years", "2011"]);
    assert!(apply.started().iter().all(|step| step.ends_with("[2011]")) && apply.started().len() == 4);
    assert!(!env.path("embeddings/bibcodes_minilm_2010.txt").exists());
    insta::assert_snapshot!(env.plan(&["--target", "prepare.texts"]).out, @"
        load.records[2010]   stale    never applied
        load.records[2011]   fresh    3 rows
        prepare.texts[2010]  pending  on load.records[2010]
        prepare.texts[2011]  fresh    3 rows
        4 steps: 2 fresh, 1 stale, 1 pending
        ");
    assert_eq!(env.applied(&["--target", "prepare.texts"]).started(), ["load.records[2010]", "prepare.texts[2010]"]);
    let one = ["--target", "embed.minilm[2010]"];
    assert_eq!(env.applied(&one).started(), ["embed.minilm[2010]"]);
    assert_eq!(env.plan(&["--years", "2012"]).code, Some(1));
    assert_eq!(env.plan(&["--target", "embed.minilmm"]).code, Some(1));
}

/// What the store lost is made again, and what it makes is the same as before.
#[test]
fn a_lost_blob_and_a_lost_record() {
    let env = applied();
    let whole = env.keyed();
    let records = env.records();
    let texts = records.iter().find_map(|record| record.outputs.get("texts")).unwrap();
    fs::remove_file(env.blob(&texts.digest)).unwrap();
    let plan = env.plan(&[]);
    let of_year = |year: &str| plan.out.lines().find(|line| line.starts_with(&format!("prepare.texts[{year}]")));
    let line = ["2010", "2011"].into_iter().filter_map(of_year).find(|line| line.contains(" stale ")).unwrap();
    assert!(line.ends_with("stale    texts is missing or damaged in the store"), "{line}");
    assert_eq!(env.applied(&[]).started().len(), 1);
    assert_eq!(env.keyed(), whole);

    let loaded = records.iter().find(|record| record.outputs.contains_key("records")).unwrap();
    fs::remove_file(env.path(format!("store/records/{}.json", loaded.key))).unwrap();
    let plan = env.plan(&[]);
    assert!(plan.out.contains("stale    its record is gone from the store"), "{}", plan.out);
    assert_eq!(env.applied(&[]).started().len(), 1);
    assert_eq!(env.keyed(), whole);
    assert_nothing_to_do(&env, &[]);
}

/// The JSON says what the lines say.
#[test]
fn json_agrees_with_the_lines() {
    let env = applied();
    env.edit("prefix = \"\"", "prefix = \"x\"");
    let (lines, json) = (env.plan(&[]), env.plan(&["--json"]));
    assert_eq!((lines.code, json.code), (Some(2), Some(2)));
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["workflow"], "tests");
    assert_eq!((&json["fresh"], &json["stale"], &json["pending"]), (&json!(2), &json!(2), &json!(4)));
    let steps = json["steps"].as_array().unwrap();
    for (line, step) in lines.out.lines().zip(steps) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words[0], words[1]), (step["step"].as_str().unwrap(), step["state"].as_str().unwrap()));
        let told = step["reason_text"].as_str().or(step["pending_on"][0].as_str()).unwrap_or_default();
        assert!(line.contains(told), "{line}: {told}");
    }
    assert_eq!(lines.out.lines().count(), steps.len() + 2);
    assert_eq!((&steps[6]["bytes_each"], &steps[4]["bytes_each"]), (&json!(122), &Value::Null));
    insta::assert_snapshot!(steps[2]["reason"].to_string(), @r#"{"changed":[{"new":"\"x\"","old":"\"\"","old_was_override":false,"what":"prefix"}]}"#);
}

/// An error is 1, for a plan as for an apply, and nothing is made.
#[test]
fn errors_exit_with_1() {
    let env = TestEnv::empty();
    assert_eq!(env.run(&["plan", "nowhere.toml"]).code, Some(1));
    assert_eq!(env.run(&["plan"]).code, Some(1));
    assert_eq!(env.plan(&[]).code, Some(1), "its files are missing");
    assert_eq!(env.apply(&[]).code, Some(1));
    env.edit("from = \"texts\"", "from = \"text\"");
    assert_eq!(env.plan(&[]).code, Some(1));
    assert!(!env.path("store").exists());
}

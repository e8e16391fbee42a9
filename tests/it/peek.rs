//! One record followed through the steps, before and after an apply, and records that are piped in.

use serde_json::{Value, json};

use crate::env::{TestEnv, gzip, json_lines};
use crate::models::{fixture, onnxruntime};

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

    text of prepare.texts, 20 characters, cut to 20 at most by `truncate`
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

    text of prepare.texts, 20 characters, cut to 20 at most by `truncate`
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
    prepare.texts, as applied last: 1 of 2 kept, 1 cut short, 1 rejected as no_text
      list them: sciembed peek workflow.toml 'prepare.texts' rejects
    "##);
    let told = told(&env, &["load.records", "--record", "2009Test..00000A"]);
    assert!(told.starts_with("2009Test..00000A: left out of load.records by `where`\n"), "{told}");
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

/// The limit counts the records that are taken, also where one is named that stands far behind it.
#[test]
fn records_beyond_the_limit_are_told_and_never_drawn() {
    let env = env();
    env.edit("where = \"year >= 2010\"", "where = \"year >= 2010\"\nlimit = 2");
    for _ in 0..8 {
        let told = told(&env, &["load.records", "--random"]);
        assert!(told.starts_with("2010Test..00001A: drawn") || told.starts_with("2010Test..00002A: drawn"), "{told}");
        assert!(told.contains("\nline 3 of ") || told.contains("\nline 4 of "), "{told}");
    }
    let named = told(&env, &["load.records", "--record", "2010Test..00001A"]);
    assert!(named.starts_with("2010Test..00001A: taken by load.records\n\nline 3 of "), "{named}");
    assert!(
        named.contains("line 5 of data/papers.json has this bibcode too, and does not count: beyond_limit"),
        "{named}"
    );

    env.edit("limit = 2", "limit = 1");
    let beyond = told(&env, &["prepare.texts", "--record", "2010Test..00002A"]);
    assert!(beyond.starts_with("2010Test..00002A: left out of load.records, beyond `limit`\n"), "{beyond}");
    assert!(!beyond.contains("text of prepare.texts"), "{beyond}");
    env.applied(&["--target", "load.records"]);
    assert_eq!(env.peek("load.records", "records").len(), 1, "an apply agrees");
}

/// Of a record that `sample` leaves out `where` is not asked.
#[test]
fn what_leaves_a_record_out_is_named() {
    let env = env();
    env.edit("where = \"year >= 2010\"", "sample = 1e-9\nwhere = \"year >= 2010\"");
    let told = told(&env, &["load.records", "--record", "2009Test..00000A"]);
    assert!(told.starts_with("2009Test..00000A: left out of load.records by `sample`\n"), "{told}");
}

/// A cut is told by the key that made it: a field's own limit, `truncate`, or both.
#[test]
fn what_cuts_a_text_is_named() {
    let env = env();
    let headline = |layout: &str| {
        let workflow = std::fs::read_to_string(env.path("workflow.toml")).unwrap();
        let (head, rest) = workflow.split_once("[prepare.texts]\n").unwrap();
        let (_, tail) = rest.split_once("\n\n").unwrap();
        env.write("cut.toml", format!("{head}[prepare.texts]\nfrom = \"records\"\n{layout}\n\n{tail}"));
        let told = env.run(&["peek", "cut.toml", "prepare.texts"]).out;
        told.lines().find_map(|line| line.strip_prefix("text of prepare.texts, ")).unwrap_or(&told).to_owned()
    };
    let title = "template = \"{title:4} {abstract:80}\"";
    assert_eq!(headline(title), "11 characters, `title` cut to 4 at most by `{title:4}`");
    let both = "template = \"{title:4} {abstract:5|<|>}\"\ntruncate = 9";
    assert_eq!(
        headline(both),
        "9 characters, `title` cut to 4 at most by `{title:4}`, `abstract` cut to 5 at most by `{abstract:5}`, \
         cut to 9 at most by `truncate`"
    );
    assert_eq!(
        headline("template = \"{title} {abstract}\"\ntruncate = 9"),
        "9 characters, cut to 9 at most by `truncate`"
    );
    assert_eq!(headline("template = \"{title:80}\"\ntruncate = 80"), "18 characters");
}

/// Texts that are read whole, in several windows: how many there were is told, and no tokens that were dropped.
#[test]
fn long_texts_in_windows_are_counted() {
    let Some(runtime) = onnxruntime() else { return };
    let env = TestEnv::over("data/papers.json");
    let model = fixture("bert-mean");
    env.edit("fake://16\"", &format!("{}\"\nmax_length = 16\noverlap = 4\nlong = \"mean\"", model.display()));
    let long = crate::env::titled("2010Test..00009A", "galaxy ".repeat(40));
    env.write("data/papers.json", json_lines(&[crate::env::titled("2010Test..00001A", "Stars"), long]));
    let apply = ["apply", "workflow.toml", "--target", "embed.minilm"];
    let applied = env.run_with(&apply, "", &[("SCIEMBED_ONNXRUNTIME", &runtime)]);
    assert!(applied.out.contains("; 1 read in several windows"), "{}{}", applied.out, applied.err);
    let told = told(&env, &["embed.minilm"]);
    assert!(told.contains("embed.minilm, as applied last: 2 texts, 1 of them in several windows, "), "{told}");
    assert!(told.contains(" tokens, all of them read") && !told.contains("longer than"), "{told}");
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
    let last = told(&env, &["load.records"]);
    assert!(last.contains("\nline 1 of -, ") && last.starts_with("2010Test..00000A: "), "nothing piped: {last}");
    let other = env.run_with(&["peek", "workflow.toml", "load.records"], &lines(2012, 1), &[]);
    assert!(other.out.starts_with("2012Test..00000A: ") && other.out.contains("\nline 1 of -, "), "{}", other.out);
}

/// A look at a record that is piped in needs no apply before, and leaves nothing behind; compressed or not.
#[test]
fn a_record_that_is_piped_in_is_followed_and_not_kept() {
    let env = TestEnv::over("-");
    let told = env.run_with(&["peek", "workflow.toml", "prepare.texts", "--record", "2010Test..00002A"], LINES, &[]);
    assert!(told.code == Some(0) && told.out.starts_with("2010Test..00002A: taken by load.records\n"), "{}", told.err);
    assert!(told.out.contains("\nline 4 of -, "), "{}", told.out);
    assert!(!env.path("store").exists(), "looking writes nothing");
    let nothing = env.run(&["peek", "workflow.toml", "prepare.texts"]);
    let fault = "failed to read standard input, which `input = \"-\"` stands for: no records came from it";
    assert!(nothing.code == Some(1) && nothing.err.contains(fault), "{}", nothing.err);
}

#[test]
fn nothing_piped_in_is_an_error() {
    let env = TestEnv::over("-");
    let empty = env.apply(&[]);
    let fault = "failed to read standard input, which `input = \"-\"` stands for: it holds no records";
    assert!(empty.code == Some(3) && empty.err.contains(fault), "{}", empty.err);
    assert!(empty.err.contains("pipe them in, as in `zcat"), "{}", empty.err);
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

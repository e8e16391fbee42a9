//! Which records a load takes: `where`, `sample` and `limit`, alone and together.

use serde_json::{Value, json};

use crate::env::{TestEnv, Told, json_lines};

/// Twenty records: of every four one is an e-print, years from 2000 to 2019, as strings like in dumps of ADS.
fn lines() -> Vec<Value> {
    let line = |n: usize| {
        json!({
            "bibcode": bibcode(n),
            "title": [format!("Paper {n}")],
            "doctype": if n.is_multiple_of(4) { "eprint" } else { "article" },
            "year": (2000 + n).to_string(),
            "authors": [{ "name": format!("Author {n}") }, { "name": "Everybody" }],
            "citation_count": if n == 7 { Value::Null } else { json!(n) },
        })
    };
    (0..20).map(line).collect()
}

fn bibcode(n: usize) -> String {
    format!("{}Test..{n:05}A", 2000 + n)
}

/// A project over the twenty records, with these lines in its load.
fn env(selection: &str) -> TestEnv {
    let env = TestEnv::over("data/papers.json");
    let fields = "fields = [\"title\", \"abstract\"]\n\n[prepare";
    env.edit(fields, &format!("fields = [\"title\"]\n{selection}\n\n[prepare"));
    env.edit("fields = [\"title\", \"abstract\"]", "fields = [\"title\"]");
    env.write("data/papers.json", json_lines(&lines()));
    env
}

/// The numbers of the papers that were loaded, in order.
fn loaded(env: &TestEnv) -> Vec<usize> {
    let records = env.peek("load.records", "records");
    records.iter().map(|record| record["bibcode"].as_str().unwrap()[10..15].parse().unwrap()).collect()
}

/// What the summary says of the load.
fn summary(told: &Told) -> String {
    let line = told.out.lines().find(|line| line.trim_start().starts_with("loaded "));
    line.unwrap_or_default().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// Applies the load with this selection: the papers taken and the summary's line.
fn selected(selection: &str) -> (Vec<usize>, String) {
    let env = env(selection);
    let told = env.applied(&["--target", "load.records"]);
    let record = env.records().remove(0);
    let count = |name: &str| record.counts.get(name).copied().unwrap_or(0);
    let left_out = count("rejected") + count("not_selected") + count("beyond_limit");
    assert_eq!(count("rows_in"), count("rows") + left_out, "{:?}", record.counts);
    (loaded(&env), summary(&told))
}

#[test]
fn a_condition_takes_the_records_for_which_it_holds() {
    let (papers, told) = selected("where = \"doctype in ('eprint') and year >= 2010\"");
    assert_eq!(papers, [12, 16]);
    assert_eq!(told, "20 rows in, 2 kept, 0 rejected, 18 not selected");
    for (condition, papers) in [
        ("year < 2003", vec![0, 1, 2]),
        ("title contains 'Paper 1' and citation_count is not null and not doctype = 'article'", vec![12, 16]),
        ("citation_count is null", vec![7]),
        ("citation_count <= 1 or authors.name = 'Author 19'", vec![0, 1, 19]),
        ("authors.0.name starts with 'Author 3'", vec![3]),
        ("authors.0.name = 'Everybody' or doctype is null", vec![]),
    ] {
        assert_eq!(selected(&format!("where = \"{condition}\"")).0, papers, "{condition}");
    }
}

/// Those that are drawn are those that the library draws, in whatever company.
#[test]
fn a_sample_is_drawn_by_bibcode() {
    let drawn = |fraction: f64| -> Vec<usize> {
        (0..20).filter(|n| sciembed::condition::in_sample(&bibcode(*n), fraction)).collect()
    };
    let half = drawn(0.5);
    assert!((3..18).contains(&half.len()), "{half:?}");
    let (papers, told) = selected("sample = 0.5");
    assert_eq!(papers, half);
    assert_eq!(told, format!("20 rows in, {} kept, 0 rejected, {} not selected", half.len(), 20 - half.len()));
    let (papers, told) = selected("sample = 1");
    assert_eq!((papers.len(), told.as_str()), (20, "20 rows in, 20 kept, 0 rejected"));
    let (papers, _) = selected("sample = 0.25");
    assert_eq!(papers, drawn(0.25));
    assert!(papers.iter().all(|paper| half.contains(paper)));
}

#[test]
fn a_limit_takes_the_first_records() {
    let (papers, told) = selected("limit = 3");
    assert_eq!((papers, told.as_str()), (vec![0, 1, 2], "20 rows in, 3 kept, 0 rejected, 17 beyond the limit"));
    let (papers, told) = selected("limit = 20");
    assert_eq!((papers.len(), told.as_str()), (20, "20 rows in, 20 kept, 0 rejected"));
}

/// A limit counts what passes the condition and the sample, and what it counts may be superseded afterwards.
#[test]
fn together_they_narrow_in_order() {
    let drawn: Vec<usize> = (5..20).filter(|n| sciembed::condition::in_sample(&bibcode(*n), 0.5)).collect();
    let (papers, told) = selected("where = \"year >= 2005\"\nsample = 0.5\nlimit = 2");
    assert_eq!(papers, drawn[..2]);
    let (out, beyond) = (20 - drawn.len(), drawn.len() - 2);
    assert_eq!(told, format!("20 rows in, 2 kept, 0 rejected, {out} not selected, {beyond} beyond the limit"));

    let env = env("where = \"year >= 2018\"\nlimit = 3");
    let mut twice = lines();
    twice.push(twice[18].clone());
    twice.push(twice[19].clone());
    env.write("data/papers.json", json_lines(&twice));
    let told = env.applied(&["--target", "load.records"]);
    assert_eq!(loaded(&env), [19, 18], "the last of two lines counts, as far as the limit lets it in");
    assert_eq!(summary(&told), "22 rows in, 2 kept, 1 rejected, 18 not selected, 1 beyond the limit");
}

/// The limit is over the files of a step together, in their order; each value of the matrix has its own.
#[test]
fn a_limit_counts_over_files_and_for_each_year() {
    let env = env("limit = 12");
    env.edit("data/papers.json", "data/*.json");
    env.write("data/a.json", json_lines(&lines()[10..]));
    env.write("data/papers.json", json_lines(&lines()[..10]));
    env.applied(&["--target", "load.records"]);
    assert_eq!(loaded(&env), (10..20).chain(0..2).collect::<Vec<_>>());

    let env = TestEnv::of(5);
    env.edit(
        "fields = [\"title\", \"abstract\"]\n\n[prepare",
        "fields = [\"title\", \"abstract\"]\nlimit = 2\n\n[prepare",
    );
    let told = env.applied(&["--target", "load.records"]);
    assert_eq!(summary(&told), "10 rows in, 4 kept, 0 rejected, 6 beyond the limit");
}

/// A line that cannot be used is a reject as ever, whether or not it would have been taken.
#[test]
fn rejects_are_told_as_ever() {
    let env = env("where = \"year >= 2018 and note != 'x'\"\nlimit = 1");
    let mut text = json_lines(&lines()[..19]);
    text.extend_from_slice(b"nonsense\n{\"bibcode\": \"odd\", \"note\": \"\\ud800\"}\n");
    text.extend_from_slice(b"{\"bibcode\": \"taken\", \"year\": 2018, \"note\": [\"y\"]}\n");
    text.extend_from_slice(b"{\"bibcode\": \"late\", \"year\": 2018, \"note\": [\"y\"]}\n");
    env.write("data/papers.json", text);
    let told = env.applied(&["--target", "load.records"]);
    assert_eq!(summary(&told), "23 rows in, 1 kept, 2 rejected, 19 not selected, 1 beyond the limit");
    let rejects = env.peek("load.records", "rejects");
    let places: Vec<(u64, &str)> =
        rejects.iter().map(|row| (row["line"].as_u64().unwrap(), row["reason"].as_str().unwrap())).collect();
    assert_eq!(places, [(20, "invalid_json"), (21, "invalid_json")]);
}

/// A misspelt field would empty a year without a word, so its step ends where nothing is taken for it.
#[test]
fn a_field_that_no_record_has_ends_the_step() {
    let env = env("where = \"doctpye = 'article' and year >= 2000\"");
    let told = env.apply(&["--target", "load.records"]);
    assert_eq!(told.code, Some(3), "{}", told.out);
    let fault = "take any of 20 records of data/papers.json: none has anything in `doctpye`, which `where` asks for";
    assert!(told.err.contains(fault), "{}", told.err);
    assert!(told.err.contains("did you mean `doctype`? Where years may have none, put"), "{}", told.err);
    assert_eq!(env.records().len(), 0, "nothing stands for it");

    env.edit("doctpye", "abstract");
    let told = env.apply(&["--target", "load.records"]);
    let there = "the first record has `authors`, `bibcode`, `citation_count`, `doctype`, `title`, `year`.";
    assert!(told.code == Some(3) && told.err.contains(there), "{}", told.err);
}

/// Where the years may be empty, or something is taken all the same, it is a note.
#[test]
fn a_field_that_no_record_has_is_noted() {
    let taken = env("where = \"doctpye = 'article' or year >= 2010\"");
    let told = taken.applied(&["--target", "load.records"]);
    assert!(told.err.contains("no record has a field `doctpye`"), "{}", told.err);
    assert!(!told.err.contains("`year`"), "{}", told.err);
    assert_eq!(summary(&told), "20 rows in, 10 kept, 0 rejected, 10 not selected");

    let empty = env("where = \"doctpye = 'article'\"\nmissing = \"skip\"");
    let told = empty.applied(&["--target", "load.records"]);
    assert!(told.err.contains("no record has a field `doctpye`"), "{}", told.err);
    assert_eq!(summary(&told), "20 rows in, 0 kept, 0 rejected, 20 not selected");
}

/// A selection that is empty for good reasons is none the less told.
#[test]
fn an_empty_selection_is_noted() {
    for (selection, note) in [
        ("where = \"year >= 2050\"", "no record meets `where`, and 20 were read"),
        ("sample = 1e-9", "`sample` draws none of 20 records"),
        // What is not drawn is not looked at, so whether the field is there is not known.
        ("sample = 1e-9\nwhere = \"doctpye = 'article'\"", "`sample` draws none of 20 records"),
    ] {
        let told = env(selection).applied(&["--target", "load.records"]);
        assert!(told.out.contains(&format!("note       load.records: {note}")), "{selection}: {}", told.out);
    }
}

/// A changed selection is a reason to load again; how it is written is none; what is taken keeps its vectors.
#[test]
fn a_changed_selection_is_told() {
    let env = env("where = \"year >= 2010\"");
    assert_eq!(env.applied(&[]).embedded_and_reused(), (10, 0));
    let set = |condition: &str| format!("load.records.where='{condition}'");
    assert_eq!(env.plan(&["--set", &set("(year>=2010)")]).code, Some(0));
    let told = env.plan(&["--set", &set("year >= 2008")]);
    assert_eq!(told.code, Some(2));
    assert!(told.out.contains(r#"load.records.where "year >= 2010" -> "year >= 2008""#), "{}", told.out);
    assert_eq!(env.applied(&["--set", &set("year >= 2008")]).embedded_and_reused(), (2, 10));
}

/// A condition that cannot be read is shown at the very word, before anything is read.
#[test]
fn a_condition_that_cannot_be_read() {
    let env = env("where = \"doctype in ('article','eprint') and year >= recent\"\nlimit = 0\nsample = 2");
    let told = env.run(&["check", "workflow.toml"]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(told.err, @r#"
    sciembed::manifest::condition

      × `load.records.where` is no condition
        ╭─[workflow.toml:9:54]
      8 │ fields = ["title"]
      9 │ where = "doctype in ('article','eprint') and year >= recent"
        ·                                                      ───┬──
        ·                                                         ╰── a name, and no value
     10 │ limit = 0
        ╰────
      help: a text stands in quotes: 'recent'

    sciembed::manifest::invalid_value

      × `load.records.limit` must be a whole number, 1 or more
        ╭─[workflow.toml:10:9]
      9 │ where = "doctype in ('article','eprint') and year >= recent"
     10 │ limit = 0
        ·         ┬
        ·         ╰── this is 0
     11 │ sample = 2
        ╰────

    sciembed::manifest::invalid_value

      × `load.records.sample` must be a number above 0, and 1 at most
        ╭─[workflow.toml:11:10]
     10 │ limit = 0
     11 │ sample = 2
        ·          ┬
        ·          ╰── this is 2
     12 │ 
        ╰────

    3 faults in the workflow
    "#);
}

//! Papers whose bibcode changed: an e-print of one year that became a journal paper of the next.

use std::collections::BTreeMap;

use sciembed::digest::Digest;
use serde_json::{Value, json};

use crate::env::{TestEnv, paper, papers};

const MERGE: &str = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";

const EPRINT: &str = "2010arXiv1001.0001A";
const JOURNAL: &str = "2011ApJ...900....1A";

/// A paper under one of its bibcodes, with the text that all of them have.
fn renamed(bibcode: &str, identifier: Value) -> Value {
    json!({ "bibcode": bibcode, "title": ["One text"], "abstract": "Whatever it is called.", "identifier": identifier })
}

/// 2010 has the e-print as its second paper, 2011 the paper that it became, which lists it.
fn project() -> TestEnv {
    let env = TestEnv::of(2);
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    let mut older = papers(2010, 2);
    older.insert(1, renamed(EPRINT, json!(["arXiv:1001.0001", EPRINT])));
    env.write_year(2010, &older);
    env.applied(&["--target", "persist.yearly"]);
    let mut newer = papers(2011, 2);
    newer.push(renamed(JOURNAL, json!(["arXiv:1001.0001", EPRINT, JOURNAL, "10.1/x", null])));
    env.write_year(2011, &newer);
    env
}

fn with_aliases() -> TestEnv {
    let env = project();
    env.edit(
        "[\"title\", \"abstract\"]\n\n[prepare",
        "[\"title\", \"abstract\"]\naliases = \"identifier\"\n\n[prepare",
    );
    env
}

fn answer(env: &TestEnv, arguments: &[&str]) -> Value {
    let told = env.run(&[&["get"], arguments].concat());
    assert_eq!(told.code, Some(0), "{}", told.err);
    serde_json::from_str(&told.out).unwrap()
}

fn counts(env: &TestEnv, of: &str) -> BTreeMap<String, u64> {
    let records = env.records();
    let mut record =
        records.iter().filter(|record| record.outputs.contains_key(of) && record.counts.contains_key("aliases"));
    record.next_back().unwrap().counts.clone()
}

/// Its vector is reused, the merge keeps the paper alone and lists the e-print, and the old bibcode still answers.
#[test]
fn an_eprint_becomes_a_paper() {
    let env = with_aliases();
    let told = env.applied(&[]);
    // The paper's own text was embedded under its old bibcode.
    assert_eq!(told.embedded_and_reused(), (0, 3), "{}", told.out);
    assert_eq!(counts(&env, "superseded")["rejected.alias"], 1);
    let merged = "1 dataset: 5 vectors from 2, 0 superseded, 1 left out as aliases of another paper";
    assert!(told.out.contains(merged), "{}", told.out);
    assert!(told.out.contains("left out   1 in merge.all;"), "{}", told.out);
    assert!(told.err.contains("merge.all: 5 rows, 1 left out"), "{}", told.err);
    let [dropped] = &env.peek("merge.all", "superseded")[..] else { panic!("one row was dropped") };
    let expected = json!({
        "bibcode": EPRINT, "dataset": "minilm_2010", "row": 1, "winner": "minilm_2011", "alias_of": JOURNAL,
    });
    assert_eq!(dropped, &expected);
    let listed = std::fs::read_to_string(env.path("embeddings/bibcodes_minilm.txt")).unwrap();
    assert_eq!(listed.lines().count(), 5);
    assert!(!listed.contains(EPRINT) && listed.contains(JOURNAL), "{listed}");

    let (old, now) = (answer(&env, &[EPRINT]), answer(&env, &[JOURNAL]));
    assert_eq!((&old["bibcode"], &old["dataset"], &old["asked"]), (&json!(JOURNAL), &json!("minilm"), &json!(EPRINT)));
    assert_eq!((&old["row"], &old["embedding"], &now["asked"]), (&now["row"], &now["embedding"], &Value::Null));
    let of_year = answer(&env, &["--dataset", "minilm_2010", EPRINT]);
    assert_eq!((&of_year["bibcode"], &of_year["embedding"]), (&json!(EPRINT), &now["embedding"]));
    let bare = env.run(&["get", "--format", "f32le", EPRINT]);
    assert_eq!((bare.code, bare.err), (Some(0), format!("{EPRINT} stands under {JOURNAL} now\n")));
    let slip = env.run(&["get", &EPRINT.replace('A', "B")]);
    assert_eq!(slip.err, format!("2010arXiv1001.0001B is unknown; near it: {EPRINT}\n"));
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// Without a merge the year that has the e-print answers for it, as it did before anybody listed it.
#[test]
fn who_has_the_bibcode_itself_comes_first() {
    let env = with_aliases();
    env.applied(&["--target", "persist.yearly"]);
    let row = answer(&env, &[EPRINT]);
    assert_eq!((&row["bibcode"], &row["dataset"]), (&json!(EPRINT), &json!("minilm_2010")));
    let row = answer(&env, &["--dataset", "minilm_2011", EPRINT]);
    assert_eq!((&row["bibcode"], &row["asked"]), (&json!(JOURNAL), &json!(EPRINT)));
}

/// By any of its names a paper is traced to the line under which it counts, and the other rows to theirs.
#[test]
fn a_paper_is_traced_by_any_of_its_names() {
    let env = with_aliases();
    env.edit(
        MERGE,
        &format!("{MERGE}{}", MERGE.replace("merge.all", "merge.view") + "label = \"view\"\nview = true\n"),
    );
    env.applied(&[]);
    let traced = |dataset: &str, name: &str| {
        let told = env.run(&["explain", "--json", "--dataset", dataset, name]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        serde_json::from_str::<Value>(&told.out).unwrap()
    };
    for dataset in ["minilm", "view"] {
        let (mut old, now) = (traced(dataset, EPRINT), traced(dataset, JOURNAL));
        assert_eq!((&old["bibcode"], &old["asked"]), (&json!(JOURNAL), &json!(EPRINT)));
        assert_eq!(now["record"]["aliases"], json!([EPRINT]));
        assert_eq!(now["record"]["fields"].as_array().unwrap().len(), 2);
        assert_eq!((&now["source"]["file"], &now["source"]["line"]), (&json!("data/2011.json.gz"), &json!(3)));
        old.as_object_mut().unwrap().remove("asked");
        assert_eq!(old, now);
        for (year, n, line) in [(2010, 0, 1), (2010, 1, 3), (2011, 0, 1), (2011, 1, 2)] {
            let trace = traced(dataset, paper(year, n)["bibcode"].as_str().unwrap());
            assert_eq!(trace["source"]["file"], format!("data/{year}.json.gz"));
            assert_eq!(trace["source"]["line"], line);
        }
    }
    assert_eq!(traced("minilm_2010", EPRINT)["source"]["line"], 2);
    let told = env.run(&["explain", "--dataset", "minilm", EPRINT]);
    assert!(told.out.starts_with(&format!("{JOURNAL}, of which {EPRINT} is an alias\n")), "{}", told.out);
    let table = "SELECT count(*) AS n FROM papers WHERE dataset = 'DATASET'";
    for (dataset, papers) in [("minilm", 5), ("view", 5), ("minilm_2010", 3)] {
        let told = env.run(&["catalog", "--format", "json", &table.replace("DATASET", dataset)]);
        assert!(told.out.contains(&papers.to_string()), "{dataset}: {}{}", told.out, told.err);
    }
    let rejects = "SELECT bibcode, reason, detail FROM rejects WHERE dataset = 'view'";
    let told = env.run(&["catalog", "--format", "json", rejects]).out;
    assert!(told.contains("alias") && told.contains(&format!("{JOURNAL} of minilm_2011 is the same paper")), "{told}");
}

/// Rows that gave way are found under the paper that they are an alias of, in a copy and in a view.
#[test]
fn what_gave_way_is_no_damage() {
    let env = with_aliases();
    env.edit(
        MERGE,
        &format!("{MERGE}{}", MERGE.replace("merge.all", "merge.view") + "label = \"view\"\nview = true\n"),
    );
    // Of one year: a paper and its e-print. Of two years: two papers that list each other.
    let [one, two, three] = ["2010ApJ...700....1B", "2010arXiv1002.0002B", "2010ApJ...800....1C"];
    let mut older = papers(2010, 2);
    older.push(renamed(EPRINT, json!([EPRINT])));
    older.push(renamed(two, json!([])));
    older.push(renamed(one, json!([two])));
    older.push(renamed(three, json!([JOURNAL])));
    env.write_year(2010, &older);
    let mut newer = papers(2011, 2);
    newer.push(renamed(JOURNAL, json!([EPRINT, three])));
    env.write_year(2011, &newer);
    env.applied(&[]);
    assert_eq!(counts(&env, "superseded")["rejected.alias"], 3);
    let told = env.run(&["verify", "workflow.toml"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    // 6 and 3 rows of the years, and twice the 6 that stay.
    assert!(told.out.contains("21 published rows"), "{}", told.out);

    env.edit("aliases = \"identifier\"\n", "");
    env.applied(&[]);
    let told = env.run(&["verify", "workflow.toml"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert!(told.out.contains("27 published rows"), "{}", told.out);
}

/// Two papers of a year list one bibcode, and the later one is published anew without it: the other's claim stands.
#[test]
fn a_claim_outlives_its_rival() {
    let env = with_aliases();
    let rival = "2010ApJ...901....2A";
    let older = [renamed(EPRINT, json!([])), renamed(JOURNAL, json!([EPRINT])), renamed(rival, json!([EPRINT]))];
    env.write_year(2010, &older);
    env.write_year(2011, &[renamed(rival, json!([]))]);
    env.applied(&[]);
    let listed = std::fs::read_to_string(env.path("embeddings/bibcodes_minilm.txt")).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), [JOURNAL, rival]);
    assert_eq!(answer(&env, &[EPRINT])["bibcode"], JOURNAL);
    let told = env.run(&["verify", "workflow.toml"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
}

/// What gave way to an alias, or to a later year, was not shown: that a view changes does not remove it.
#[test]
fn what_a_view_did_not_show_is_not_removed() {
    let env = with_aliases();
    env.edit("across = [\"year\"]\n", "across = [\"year\"]\nview = true\n");
    let newer = |papers: usize| {
        let mut newer = self::papers(2011, papers);
        newer.push(renamed(JOURNAL, json!([EPRINT, JOURNAL])));
        newer.push(paper(2010, 0));
        env.write_year(2011, &newer);
        env.applied(&[]).out
    };
    newer(3);
    let grown = newer(4);
    assert!(!grown.contains("removed    "), "{grown}");
    let shrunk = newer(2);
    assert!(shrunk.contains("removed    2 from persist.yearly[2011]"), "{shrunk}");
    assert!(shrunk.contains("removed    2 from merge.all"), "{shrunk}");
}

/// Naming the field changes the records, and what is made of their aliases; texts and vectors stay what they were.
#[test]
fn only_what_has_aliases_changes() {
    let env = project();
    env.applied(&[]);
    let before = published(&env);
    let steps = env.applied(&[]).started();
    assert!(steps.is_empty(), "{steps:?}");
    env.edit(
        "[\"title\", \"abstract\"]\n\n[prepare",
        "[\"title\", \"abstract\"]\naliases = \"identifier\"\n\n[prepare",
    );
    let told = env.applied(&[]);
    assert_eq!(told.embedded_and_reused(), (0, 0), "{}", told.out);
    assert!(!told.err.contains("embed.minilm"), "{}", told.err);
    assert!(
        told.err.contains("load.records[2010]: starts (load.records.aliases (none) -> \"identifier\")"),
        "{}",
        told.err
    );
    // 2010 lists no other bibcode: its index has the old form, and its files differ by their set's digest alone.
    let after = published(&env);
    assert_eq!(before["bibcodes_minilm_2010.txt"], after["bibcodes_minilm_2010.txt"]);
    let index = |year: u16| std::fs::read(env.path(format!("embeddings/keys_minilm_{year}.fst"))).unwrap();
    assert!(index(2010).ends_with(b"SCIEKEYS") && index(2011).ends_with(b"SCIEKEY2"));
    let manifest = |year: u16| {
        let bytes = std::fs::read(env.path(format!("embeddings/manifest_minilm_{year}.json"))).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    assert_eq!((&manifest(2010)["aliases"], &manifest(2011)["aliases"]), (&Value::Null, &json!(1)));
    assert_eq!(env.peek("load.records[2011]", "records")[2]["_aliases"], json!([EPRINT]));
    // And back: everything is in the store still.
    env.edit("aliases = \"identifier\"\n", "");
    env.applied(&[]);
    assert_eq!(published(&env), before);
}

fn published(env: &TestEnv) -> BTreeMap<String, Digest> {
    env.keyed().into_iter().filter(|(name, _)| !name.contains('/')).collect()
}

/// Papers without the field, or with something else in it, are loaded all the same, and it is said if there are no aliases.
#[test]
fn a_field_without_aliases() {
    let env = TestEnv::of(2);
    env.edit(
        "[\"title\", \"abstract\"]\n\n[prepare",
        "[\"title\", \"abstract\"]\naliases = \"citation_count\"\n\n[prepare",
    );
    let told = env.applied(&[]);
    assert!(told.err.contains("no record has another bibcode in `citation_count`"), "{}", told.err);
    assert_eq!(counts(&env, "records")["aliases"], 0);
    env.edit("aliases = \"citation_count\"", "aliases = \"bibcode\"");
    let told = env.run(&["check", "workflow.toml"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("`bibcode` is the key of a record, and cannot list its aliases"), "{}", told.err);
}

//! Texts that cannot be embedded: the others have their vectors, and nothing is published without anybody knowing.

use std::path::Path;

use serde_json::Value;

use crate::env::{TestEnv, Told, damage, papers, titled};

/// One year, five of whose texts contain `paper 1`; no others do.
const YEAR: &str = "[2010]";
const PAPERS: usize = 13;
const FAILING: &str = "paper 1";
const FAILING_PAPERS: usize = 4;

fn project() -> TestEnv {
    let env = TestEnv::of(PAPERS);
    env.edit("[2010, 2011]", YEAR);
    env
}

fn apply(env: &TestEnv, arguments: &[&str], variables: &[(&str, &str)]) -> Told {
    let variables: Vec<(&str, &Path)> = variables.iter().map(|(name, value)| (*name, Path::new(*value))).collect();
    env.run_with(&[&["apply", "workflow.toml"], arguments].concat(), "", &variables)
}

/// Split down to the texts that fail, which are listed; all others are kept, and the next apply computes the rest alone.
#[test]
fn what_fails_leaves_the_step_incomplete_and_is_tried_again() {
    let env = project();
    let told = apply(&env, &[], &[("SCIEMBED_FAKE_FAIL", FAILING)]);
    assert_eq!(told.code, Some(5), "{}{}", told.out, told.err);
    assert!(told.err.contains("embed 4 of 13 rows, 2010Test..00001A among them"), "{}", told.err);
    assert!(told.err.contains("--accept-failures"), "{}", told.err);
    assert!(told.out.contains("kept       about 9 of 13 vectors of embed.minilm[2010]"), "{}", told.out);
    assert_eq!(env.sealed_rows(), PAPERS - FAILING_PAPERS);
    assert!(!env.path("embeddings").join("manifest_minilm_2010.json").exists());

    let plan = env.plan(&[]);
    assert_eq!(plan.code, Some(2));
    assert!(plan.out.contains("4 new, 9 reused, 0 removed"), "{}", plan.out);
    let log = env.run(&["log", "workflow.toml", "--run", "2"]);
    assert!(log.out.contains("embed.minilm[2010]: 2010Test..00012A failed: embed 1 rows"), "{}{}", log.out, log.err);

    let again = env.applied(&[]);
    assert_eq!(again.embedded_and_reused(), (FAILING_PAPERS, PAPERS - FAILING_PAPERS));
    let undisturbed = project();
    undisturbed.applied(&[]);
    assert_eq!(env.keyed(), undisturbed.keyed());
}

/// A fault that passes by itself costs one more try and nothing else.
#[test]
fn a_passing_fault_passes() {
    let env = project();
    let once = env.path("once");
    let told =
        apply(&env, &[], &[("SCIEMBED_FAKE_FAIL", FAILING), ("SCIEMBED_FAKE_FAIL_ONCE", &once.to_string_lossy())]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert!(told.err.contains("are tried again"), "{}", told.err);
    assert_eq!(told.embedded_and_reused(), (PAPERS, 0));
}

/// No vector with a component that is no number is ever stored.
#[test]
fn a_vector_of_no_numbers_is_a_failure() {
    let env = project();
    let told = apply(&env, &[], &[("SCIEMBED_FAKE_NAN", FAILING)]);
    assert_eq!(told.code, Some(5), "{}{}", told.out, told.err);
    assert!(told.err.contains("a component of its vector is NaN"), "{}", told.err);
    assert_eq!(env.sealed_rows(), PAPERS - FAILING_PAPERS);
}

/// An embedder that fails at everything is at fault itself: it is not asked once for each text.
#[test]
fn an_embedder_that_does_nothing_ends_the_step() {
    let env = TestEnv::of(100);
    env.edit("[2010, 2011]", YEAR);
    let told = apply(&env, &[], &[("SCIEMBED_FAKE_FAIL", "Paper")]);
    assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
    assert!(told.err.contains("the test embedder refuses"), "{}", told.err);
}

/// With --accept-failures they are left out and listed in the manifest; without it they are tried again, and the set that
/// lacked them is replaced.
#[test]
fn failures_are_accepted_only_while_that_is_said() {
    let env = project();
    let fail = [("SCIEMBED_FAKE_FAIL", FAILING)];
    let told = apply(&env, &["--accept-failures"], &fail);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert!(told.out.contains("4 failed and left out"), "{}", told.out);
    let manifest = || -> Value {
        serde_json::from_slice(&std::fs::read(env.path("embeddings/manifest_minilm_2010.json")).unwrap()).unwrap()
    };
    let listed: Vec<String> =
        manifest()["failed"].as_array().unwrap().iter().map(|row| row["bibcode"].as_str().unwrap().into()).collect();
    assert_eq!(listed, ["2010Test..00001A", "2010Test..00010A", "2010Test..00011A", "2010Test..00012A"]);
    assert_eq!(manifest()["rows"], 9);
    assert_eq!(env.plan(&["--accept-failures"]).code, Some(0));
    what_is_left_out_is_no_damage(&env);
    let plan = env.plan(&[]);
    assert!(plan.out.contains("4 rows failed and were left out: they are tried again"), "{}", plan.out);

    // Still failing: what is published stays.
    assert_eq!(apply(&env, &[], &fail).code, Some(5));
    assert_eq!(manifest()["rows"], 9);
    assert_eq!(env.applied(&[]).embedded_and_reused(), (FAILING_PAPERS, PAPERS - FAILING_PAPERS));
    assert_eq!((manifest()["rows"].clone(), manifest().get("failed")), (13.into(), None));
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// Papers before, between and behind those left out are found sound, traced back, and told why they are not there.
fn what_is_left_out_is_no_damage(env: &TestEnv) {
    let before = env.keyed();
    for arguments in [&["verify", "workflow.toml"][..], &["verify", "workflow.toml", "--repair"]] {
        let told = env.run(arguments);
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        assert!(told.out.contains("9 published rows"), "{}", told.out);
    }
    // The list of a published set alone is damaged: making it again leaves out what was left out.
    let list = std::fs::canonicalize(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap();
    damage(&list, b"x");
    let told = env.run(&["verify", "workflow.toml", "--repair"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert_eq!(env.keyed(), before);
    for n in [0, 2, 9] {
        let told = env.run(&["explain", &format!("2010Test..{n:05}A"), "--json"]);
        assert_eq!(told.code, Some(0), "{n}: {}", told.err);
        let trace: Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!((&trace["text"]["row"], &trace["source"]["line"]), (&n.into(), &(n + 1).into()));
    }
    let told = env.run(&["explain", "2010Test..00010A"]);
    assert_eq!(told.code, Some(1));
    let aside =
        "2010Test..00010A is not in minilm_2010: embed set line 11 of data/2010.json.gz aside as failed: embed 1 rows";
    assert!(told.err.starts_with(aside), "{}", told.err);
    let rejects = "SELECT bibcode, line, reason FROM rejects WHERE kind = 'embed' ORDER BY line LIMIT 2";
    let told = env.run(&["catalog", "--format", "csv", rejects]);
    assert_eq!(
        told.out, "bibcode,line,reason\n2010Test..00001A,2,failed\n2010Test..00010A,11,failed\n",
        "{}",
        told.err
    );
    assert_eq!(env.peek("embed.minilm[2010]", "failed").len(), 4);
    let told = env.run(&["status", "workflow.toml"]);
    assert!(told.out.contains("left out    embed.minilm[2010]: 4 rows failed; an apply without"), "{}", told.out);
}

/// A year that begins with `failing` papers whose texts contain `Bad`, and goes on with as many sound ones.
fn begins_with_failing(failing: usize) -> Vec<Value> {
    let title = |n: usize| if n < failing { format!("Bad {n}") } else { format!("Sound {n}") };
    (0..2 * failing).map(|n| titled(&format!("2010Test..{n:05}A"), title(n))).collect()
}

/// More failing texts than raise a doubt in the embedder, before any other and with no other left to compute: what stands
/// and what waits shows that it can.
#[test]
fn many_failing_texts_are_no_fault_of_the_embedder() {
    let env = TestEnv::empty();
    env.edit("[2010, 2011]", YEAR);
    let fail = [("SCIEMBED_FAKE_FAIL", "Bad")];
    let mut year = begins_with_failing(20);
    env.write_year(2010, &year);
    for _ in 0..2 {
        let told = apply(&env, &[], &fail);
        assert_eq!(told.code, Some(5), "{}{}", told.out, told.err);
        assert_eq!(env.sealed_rows(), 20);
    }
    assert_eq!(apply(&env, &["--accept-failures"], &fail).code, Some(0));
    year.extend(papers(2010, 41).split_off(40));
    env.write_year(2010, &year);
    let told = apply(&env, &["--accept-failures"], &fail);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert_eq!(told.embedded_and_reused(), (1, 20));
    assert!(told.out.contains("20 failed and left out"), "{}", told.out);
}

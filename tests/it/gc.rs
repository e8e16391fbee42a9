//! What nothing leads to goes, and nothing else: what is published stays whole and can be traced, and no vector's only copy
//! goes unasked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::env::{TestEnv, Told, any_below, files, paper, papers, times};

const MERGE: &str = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";
const PAPERS: usize = 5;

/// Two years and their merge, applied; then one paper of 2011 was corrected and it was applied again.
fn corrected() -> TestEnv {
    let env = TestEnv::of(PAPERS);
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    env.applied(&[]);
    let mut corrected = papers(2011, PAPERS);
    corrected[2]["title"] = json!(["Erratum"]);
    env.write_year(2011, &corrected);
    env.applied(&[]);
    env
}

fn gc(env: &TestEnv, arguments: &[&str]) -> Told {
    let told = env.run(&[&["gc", "workflow.toml"], arguments].concat());
    assert_eq!(told.code, Some(0), "{}", told.err);
    told
}

fn plan(env: &TestEnv, arguments: &[&str]) -> Value {
    serde_json::from_slice(&gc(env, &[&["--keep", "0s", "--json"], arguments].concat()).bytes).unwrap()
}

/// Every file below a folder.
fn everything(folder: &Path) -> BTreeSet<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { everything(&path) } else { BTreeSet::from([path]) };
    files(folder).into_iter().flat_map(below).collect()
}

fn assert_traced(env: &TestEnv) {
    for year in [2010, 2011] {
        for n in 0..PAPERS {
            let bibcode = paper(year, n)["bibcode"].as_str().unwrap().to_owned();
            let told = env.run(&["explain", &bibcode]);
            assert_eq!(told.code, Some(0), "{}", told.err);
            assert!(told.out.contains(&format!("of data/{year}.json.gz")), "{}", told.out);
        }
    }
}

#[test]
fn superseded_years_go_and_what_is_published_stays() {
    let env = corrected();
    let (before, keyed) = (everything(&env.path("store")), env.keyed());
    let recorded = env.records().len();
    assert!(gc(&env, &[]).out.ends_with("nothing to delete\n"), "all of it is younger than two weeks");
    let dry = gc(&env, &["--keep", "0s"]).out;
    assert!(dry.ends_with("nothing was deleted: --delete does it\n"), "{dry}");
    assert!(dry.contains("  superseded records                     5 files "), "{dry}");
    assert_eq!(everything(&env.path("store")), before);

    let told = gc(&env, &["--keep", "0s", "--delete"]).out;
    assert!(told.ends_with("\ndeleted\n"), "{told}");
    assert_eq!(env.records().len(), recorded - 5);
    let after = env.keyed();
    assert!(after.iter().all(|(name, digest)| keyed.get(name) == Some(digest)), "what stays is what it was");
    assert_eq!(env.plan(&[]).code, Some(0));
    assert_traced(&env);
    assert!(gc(&env, &["--keep", "0s", "--delete"]).out.ends_with("nothing to delete\n"), "once is enough");
}

/// An old set that is still shown, since the new one was never published, keeps all that it was made of.
#[test]
fn what_is_shown_can_be_traced_though_a_later_year_did_not_come_through() {
    let env = corrected();
    env.edit("prefix = \"\"", "prefix = \"x\"");
    env.applied(&["--target", "embed.minilm"]);
    gc(&env, &["--keep", "0s", "--delete"]);
    assert_traced(&env);
    let told = env.applied(&[]);
    assert_eq!(told.embedded_and_reused().0, 0, "{}", told.out);
}

#[test]
fn only_copies_stay_unless_they_are_dropped() {
    let env = corrected();
    // The corrected paper's first vector stands in a segment with others, which are live.
    let told = gc(&env, &["--keep", "0s", "--delete"]).out;
    let line = told.lines().find(|line| line.contains("that no live table holds")).unwrap_or_default().to_owned();
    assert!(line.starts_with("  1 row of 16, embedder 0a275bdf "), "{told}");
    assert!(line.contains(" to compute again, at ") && line.contains("they stay: --drop-vectors"), "{line}");
    let told = gc(&env, &["--keep", "0s", "--delete", "--drop-vectors"]).out;
    assert!(told.contains("; all stay, young or beside live ones"), "{told}");
    env.write_year(2011, &papers(2011, PAPERS));
    assert_eq!(env.applied(&[]).embedded_and_reused(), (0, PAPERS), "the first text was never forgotten");

    env.edit("prefix = \"\"", "prefix = \"x\"");
    env.applied(&[]);
    let sealed = env.sealed_rows();
    gc(&env, &["--keep", "0s", "--delete"]);
    assert_eq!(env.sealed_rows(), sealed);
    let dropped = plan(&env, &["--drop-vectors"]);
    let copies = &dropped["only_copies"][0];
    assert_eq!((&copies["rows"], &copies["kept"]), (&json!(2 * PAPERS + 1), &json!(0)), "{dropped}");
    assert!(copies["seconds"].as_f64().unwrap() > 0.0 && copies["bytes"].as_u64().unwrap() > 0, "{dropped}");
    assert_eq!(env.sealed_rows(), sealed, "a dry one drops nothing");
    gc(&env, &["--keep", "0s", "--delete", "--drop-vectors"]);
    assert_eq!(env.sealed_rows(), 2 * PAPERS);
    assert_traced(&env);
    env.edit("prefix = \"x\"", "prefix = \"\"");
    assert_eq!(env.applied(&[]).embedded_and_reused(), (2 * PAPERS, 0));
}

/// A table whose rows are in no segment is their only copy.
#[test]
fn a_table_that_no_segment_backs_stays() {
    let env = corrected();
    env.segments().iter().for_each(|path| fs::remove_file(path).unwrap());
    env.edit("prefix = \"\"", "prefix = \"x\"");
    env.applied(&[]);
    let tables = |env: &TestEnv| env.records().iter().filter(|record| record.outputs.contains_key("vectors")).count();
    let before = tables(&env);
    let told = gc(&env, &["--keep", "0s", "--delete"]).out;
    assert!(told.contains(&format!("  {} rows of ", 2 * PAPERS + 1)), "{told}");
    assert_eq!(tables(&env), before);
    gc(&env, &["--keep", "0s", "--delete", "--drop-vectors"]);
    assert_eq!(tables(&env), 2);
}

#[test]
fn what_cannot_be_read_stops_it() {
    let env = corrected();
    for folder in ["store/records", "store/refs/tests"] {
        let path = files(&env.path(folder))[0].clone();
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let at = usize::try_from(any_below(whole.len() as u64)).unwrap();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        let before = everything(&env.path("store"));
        for arguments in [&["--keep", "0s"][..], &["--keep", "0s", "--delete"]] {
            let told = env.run(&[&["gc", "workflow.toml"], arguments].concat());
            assert_eq!(told.code, Some(4), "{}", told.out);
            assert!(told.err.contains(&*path.file_name().unwrap().to_string_lossy()), "{}", told.err);
            assert!(told.err.contains("sciembed verify WORKFLOW --repair"), "{}", told.err);
        }
        assert_eq!(everything(&env.path("store")), before);
        fs::write(&path, whole).unwrap();
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        sleep(Duration::from_millis(2));
    }
}

/// Nothing is deleted while somebody computes, however old it says it is.
#[test]
fn a_live_run_is_left_alone() {
    let env = TestEnv::of(1_000);
    let run = env.start(&["apply", "workflow.toml", "--set", "embed.minilm.model=fake://16?delay_us=1000"]);
    wait_until("embedding has begun", || !files(&env.path("store/vectors")).is_empty());
    let told = env.run(&["gc", "workflow.toml", "--keep", "0s", "--delete", "--drop-vectors"]);
    assert_eq!(told.code, Some(1), "{}", told.out);
    assert!(told.err.contains(&format!("lives (process {} on ", run.id())), "{}", told.err);
    assert!(told.err.contains("failed to delete in $ENV/project/store: run $RUN lives"), "{}", told.err);
    let told = env.wait(run);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert_eq!(env.plan(&[]).code, Some(0));
    assert_eq!(files(&env.path("store/locks")), Vec::<PathBuf>::new());
}

/// A run that starts while gc is at work waits until it has ended.
#[test]
fn a_run_waits_for_gc() {
    let env = corrected();
    let store = sciembed::store::Store::open(&env.path("store")).unwrap();
    let held = store.lock_gc("here").unwrap();
    env.edit("prefix = \"\"", "prefix = \"x\"");
    let run = env.start(&["apply", "workflow.toml"]);
    wait_until("the run shows itself", || !store.live_runs().unwrap().is_empty());
    sleep(Duration::from_millis(700));
    assert_eq!(files(&env.path("store/runs")).len(), 2, "it has not begun");
    drop(held);
    let told = env.wait(run);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert!(told.err.contains(": waits until gc (process "), "{}", told.err);
}

/// What the dead left goes too: unfinished files and locks.
#[test]
fn what_the_dead_left_goes() {
    let env = corrected();
    let host = sciembed::store::durable::host();
    env.write(&format!("store/tmp/{host}~4194305~0~0"), "half a blob");
    let dead = json!({ "host": host, "boot": "before", "pid": 4_194_305, "run": "dead" });
    env.write("store/locks/0000", dead.to_string());
    let told = gc(&env, &["--keep", "0s", "--delete"]).out;
    let line = |what: &str| told.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
    assert!(line("unfinished files of the dead").ends_with("1 file     11 bytes"), "{told}");
    assert!(line("locks of the dead").contains(" 1 file "), "{told}");
    assert!(files(&env.path("store/tmp")).is_empty() && files(&env.path("store/locks")).is_empty());
}

/// What TensorRT compiled for an embedder stays as long as something that it made; what is called otherwise is not ours.
#[test]
fn engines_go_with_their_embedder() {
    let env = corrected();
    let records = env.records();
    let used = records.iter().find_map(|record| record.facts.get("embedder")).unwrap();
    let unused = used.chars().rev().collect::<String>();
    for folder in [used, &unused, "notes"] {
        fs::create_dir_all(env.path(format!("store/engines/{folder}/0"))).unwrap();
        env.write(&format!("store/engines/{folder}/0/model.engine"), "compiled");
    }
    let told = gc(&env, &["--keep", "0s", "--delete"]).out;
    let line = told.lines().find(|line| line.contains("compiled models that nothing uses")).unwrap_or_default();
    assert!(line.contains(" 1 file "), "{told}");
    let left: BTreeSet<PathBuf> = files(&env.path("store/engines")).into_iter().collect();
    assert_eq!(left, [used, "notes"].map(|folder| env.path("store/engines").join(folder)).into());
    let told = env.run(&["verify", "workflow.toml"]);
    assert!(told.code == Some(0) && !told.out.contains("engines"), "{}", told.out);
}

#[test]
fn a_store_must_be_named() {
    let env = corrected();
    assert_eq!(env.run(&["gc"]).code, Some(1));
    assert_eq!(env.run(&["gc", "--store", "store"]).code, Some(0));
    let told = env.run(&["gc", "--store", "data"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("failed to find a store at data"), "{}", told.err);
    let told = env.run(&["gc", "--store", "store", "--keep", "14"]);
    assert!(told.err.contains("an age is a number and its unit, as in 12h or 14d"), "{}", told.err);
}

/// How many places a gc is killed at, unless `SCIEMBED_KILLS` says another number.
const KILLS: usize = 6;

/// Killed between any two deletions, it leaves garbage at most, which the next one finds.
#[test]
fn killed_anywhere_it_leaves_a_whole_store() {
    let order = |env: &TestEnv| -> Vec<PathBuf> {
        let plan = plan(env, &["--drop-vectors"]);
        plan["files"].as_array().unwrap().iter().map(|file| PathBuf::from(file["path"].as_str().unwrap())).collect()
    };
    let project = || {
        let env = corrected();
        env.edit("prefix = \"\"", "prefix = \"x\"");
        env.applied(&[]);
        env
    };
    let env = project();
    let doomed = order(&env);
    assert!(doomed.len() > 30, "{doomed:?}");
    for kill in 0..times("SCIEMBED_KILLS", KILLS) {
        let env = project();
        let doomed = order(&env);
        let at = if kill == 0 { 3 } else { usize::try_from(any_below(doomed.len() as u64)).unwrap() };
        doomed[..at].iter().for_each(|path| fs::remove_file(path).unwrap());
        let told = env.run(&["verify", "workflow.toml"]);
        assert_eq!(told.code, Some(0), "killed after {at}: {}{}", told.out, told.err);
        assert_traced(&env);
        gc(&env, &["--keep", "0s", "--delete", "--drop-vectors"]);
        assert!(doomed.iter().all(|path| !path.exists()), "killed after {at}");
        assert_eq!(env.plan(&[]).code, Some(0), "killed after {at}");
    }
}

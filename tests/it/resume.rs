//! An interrupted run loses nothing that was sealed, and what it ends up publishing is what an undisturbed one does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sciembed::store::durable;
use serde_json::{Value, json};

use crate::env::{TestEnv, file_name, files, papers};

/// More than two segments of 4,096 rows.
const ROWS: usize = 12_000;
/// Rows whose text another row has as well.
const REPEATED: usize = 100;
const DISTINCT: usize = ROWS - REPEATED;

/// One year of `ROWS` papers; the last ones repeat the texts of the first.
fn project() -> TestEnv {
    let env = TestEnv::empty();
    env.edit("[2010, 2011]", "[2010]");
    let mut papers: Vec<Value> = papers(2010, ROWS);
    for n in 0..REPEATED {
        papers[DISTINCT + n]["title"] = papers[n]["title"].clone();
        papers[DISTINCT + n]["abstract"] = papers[n]["abstract"].clone();
    }
    env.write_year(2010, &papers);
    env
}

/// Starts an apply whose embedder takes its time.
fn start_slowly(env: &TestEnv) -> Child {
    env.start(&["apply", "workflow.toml", "--set", "embed.minilm.model=fake://16?delay_us=100"])
}

/// Waits until something holds.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Applies again after a run that had sealed `sealed` rows, and checks what that run left to do, and what comes of it.
fn assert_resumed(env: &TestEnv, sealed: usize) {
    let apply = env.applied(&[]);
    assert_eq!(apply.embedded_and_reused(), (DISTINCT - sealed, REPEATED + sealed), "{}", apply.out);
    assert_eq!(env.sealed_rows(), DISTINCT, "no vector was computed twice");
    assert_eq!(files(&env.path("store/tmp")), Vec::<PathBuf>::new(), "unfinished files are left");
    assert_eq!(files(&env.path("store/locks")), Vec::<PathBuf>::new(), "locks are left");
    let undisturbed = project();
    undisturbed.applied(&[]);
    assert_eq!(env.keyed(), undisturbed.keyed());
}

/// kill -9 in the middle of embedding: only what was not sealed is embedded again, and the same bytes are published.
#[test]
fn killed_in_the_middle_of_embedding() {
    let env = project();
    let mut child = start_slowly(&env);
    wait_until("a segment is sealed", || !env.segments().is_empty());
    child.kill().unwrap();
    let pid = child.id();
    assert_eq!(env.wait(child).code, None);
    let sealed = env.sealed_rows();
    assert!((1..DISTINCT).contains(&sealed), "{sealed} rows were sealed: it was not killed in the middle");
    assert!(!env.path("embeddings").exists());
    // What it may have been writing at that moment.
    fs::write(env.path("store/tmp").join(format!("{}~{pid}~0~0", durable::host())), "half a blob").unwrap();
    assert_resumed(&env, sealed);
}

/// Long before anything is sealed, status tells which step is at work.
#[test]
fn a_step_at_work_is_shown() {
    let env = project();
    let set = ["workflow.toml", "--set", "embed.minilm.model=fake://16?delay_us=5000"];
    let mut child = env.start(&[&["apply"], &set[..]].concat());
    wait_until("embedding has begun", || !files(&env.path("store/vectors")).is_empty());
    let status = env.run(&[&["status"], &set[..]].concat());
    child.kill().unwrap();
    assert_eq!(env.wait(child).code, None);
    assert!(status.out.contains("\nrunning     embed.minilm[2010]: in run $RUN"), "{}{}", status.out, status.err);
    let status = env.run(&[&["status"], &set[..]].concat());
    assert!(status.out.contains("\nstale       embed.minilm[2010]: never applied"), "{}", status.out);
    let last = "  killed with --set embed.minilm.model=fake://16?delay_us=5000, began";
    assert!(status.out.contains(last), "{}", status.out);
    let log = env.run(&["log", "workflow.toml"]);
    assert!(log.out.contains("  killed: 2 steps done\n"), "{}", log.out);
}

/// SIGINT and SIGTERM alike: what is finished is sealed, exit 130, and the next apply goes on from there.
#[test]
fn interrupted_in_order() {
    for kind in [Signal::INT, Signal::TERM] {
        let env = project();
        let child = start_slowly(&env);
        wait_until("embedding has begun", || !files(&env.path("store/vectors")).is_empty());
        sleep(Duration::from_millis(200));
        signal(&child, kind);
        let told = env.wait(child);
        assert_eq!(told.code, Some(130), "{}{}", told.out, told.err);
        assert!(told.err.contains("interrupted: sealing what is finished; once more to stop at once"), "{}", told.err);
        assert!(told.out.starts_with("interrupted after # s: apply again to go on from here\n"), "{}", told.out);
        let sealed = env.sealed_rows();
        assert!((1..DISTINCT).contains(&sealed), "{sealed} rows were sealed");
        let plan = env.plan(&[]);
        assert!(plan.out.contains("embed.minilm[2010]    stale    never applied"), "{}", plan.out);
        assert_resumed(&env, sealed);
    }
}

/// A segment that was cut short or changed on disk is passed over and told of; its rows are embedded again.
#[test]
fn a_damaged_segment_is_passed_over() {
    let env = project();
    let whole = {
        env.applied(&[]);
        env.keyed()
    };
    let segments = env.segments();
    let rows = |path| sciembed::store::segment::Segment::open(path).unwrap().header().rows;
    let lost = rows(&segments[0]) + rows(&segments[1]);
    let bytes = fs::read(&segments[0]).unwrap();
    fs::remove_file(&segments[0]).unwrap();
    fs::write(&segments[0], &bytes[..bytes.len() - 7]).unwrap();
    let mut bytes = fs::read(&segments[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&segments[1]).unwrap();
    fs::write(&segments[1], &bytes).unwrap();

    // The finished table has these vectors too: without it they must be computed.
    env.vector_files("rows").iter().for_each(|path| fs::remove_file(path).unwrap());
    let records = env.records();
    let embedded = records.iter().find(|record| record.outputs.contains_key("vectors")).unwrap();
    fs::remove_file(env.path(format!("store/records/{}.json", embedded.key))).unwrap();
    let apply = env.applied(&[]);
    assert_eq!(apply.embedded_and_reused(), (lost, ROWS - lost), "{}", apply.err);
    for segment in &segments[..2] {
        assert!(apply.err.contains("passed over vectors") && apply.err.contains(&file_name(segment)), "{}", apply.err);
    }
    assert_eq!(env.keyed(), whole);
}

/// Another corrected paper in a nearly finished year strands nothing: only its own text is new.
#[test]
fn a_changed_source_keeps_what_was_sealed() {
    let env = project();
    env.applied(&[]);
    let mut papers: Vec<Value> = papers(2010, ROWS);
    papers[7]["title"] = json!(["Erratum"]);
    env.write_year(2010, &papers);
    // The repeated texts are new now too, for each of those papers has its own again.
    assert_eq!(env.applied(&[]).embedded_and_reused(), (1 + REPEATED, ROWS - 1 - REPEATED));
}

/// Who asks a second time does not want to wait: neither for the vector that is being computed, nor for the seal.
#[test]
fn interrupted_twice() {
    let env = project();
    let a_minute_each = "embed.minilm.model=fake://16?delay_us=60000000";
    let mut child = env.start(&["apply", "workflow.toml", "--set", a_minute_each]);
    wait_until("embedding has begun", || !files(&env.path("store/vectors")).is_empty());
    signal(&child, Signal::INT);
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().contains("once more to stop at once")));
    // Two within a tenth of a second are one: whoever interrupts a group may reach a process twice.
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::INT);
    let ended = env.wait(child);
    assert_eq!(ended.code, Some(130));
    assert_eq!(ended.out, "", "it waited for the end of the run");
    assert_resumed(&env, 0);
}

//! Two runs over one store at the same time: both end well, and save each other's work.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::env::{TestEnv, Told, file_name, files, papers};

/// Rows per year; the delay makes each year's embedding outlast the other run's start.
const ROWS: usize = 1_000;

fn project() -> TestEnv {
    let env = TestEnv::empty();
    for year in [2010, 2011] {
        env.write_year(year, &papers(year, ROWS));
    }
    env
}

/// Every vector is computed by one of them alone, and what is published is what a lone run publishes. With one year
/// both want the same step: with two, they may by chance each take another.
#[test]
fn two_runs_started_together() {
    let project = || {
        let env = project();
        env.edit("[2010, 2011]", "[2010]");
        env
    };
    let env = project();
    let apply = ["apply", "workflow.toml", "--set", "embed.minilm.model=fake://16?delay_us=500"];
    let children = [env.start(&apply), env.start(&apply)];
    let told = children.map(|child| env.wait(child));
    let mut embedded = 0;
    for told in &told {
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        embedded += told.embedded_and_reused().0;
    }
    assert_eq!(embedded, ROWS, "{}\n{}", told[0].err, told[1].err);
    assert_eq!(env.sealed_rows(), ROWS);
    let lone = project();
    lone.applied(&[]);
    assert_eq!(env.keyed(), lone.keyed());
    assert_eq!(env.plan(&["--set", "embed.minilm.model=fake://16"]).code, Some(0));
}

/// Two runs that own different years do not wait for each other, and publish both side by side.
#[test]
fn two_runs_over_different_years() {
    let env = project();
    let of = |year| env.start(&["apply", "workflow.toml", "--years", year]);
    let children = [of("2010"), of("2011")];
    for told in children.map(|child| env.wait(child)) {
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        assert_eq!(told.embedded_and_reused(), (ROWS, 0));
    }
    let lone = project();
    lone.applied(&[]);
    assert_eq!(env.keyed(), lone.keyed());
}

/// Starts an apply, waits until it is `ready`, and interrupts it once.
fn interrupted(env: &TestEnv, signal: Signal, ready: impl Fn() -> bool) -> Told {
    let child = env.start(&["apply", "workflow.toml"]);
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not wait");
        std::thread::sleep(Duration::from_millis(50));
    }
    // It is about to wait.
    std::thread::sleep(Duration::from_secs(1));
    kill_process(Pid::from_child(&child), signal).unwrap();
    env.wait(child)
}

/// Whoever waits for gc, or for somebody who publishes in the same directory, says so and ends at the first signal.
#[test]
fn whoever_waits_can_be_interrupted() {
    let env = project();
    env.applied(&["--years", "2010"]);
    let gc = r#"{"host":"elsewhere","boot":"","pid":1,"run":"gc"}"#;
    env.write("store/locks/gc", gc);
    let lives = || files(&env.path("store/locks")).iter().any(|path| file_name(path).starts_with("run-"));
    for signal in [Signal::INT, Signal::TERM] {
        let told = interrupted(&env, signal, lives);
        assert_eq!(told.code, Some(130), "{}{}", told.out, told.err);
        assert!(told.err.contains("waits until gc (process 1 on elsewhere) has deleted"), "{}", told.err);
        assert!(told.out.starts_with("interrupted after"), "{}", told.out);
        assert!(!lives());
    }
    fs::remove_file(env.path("store/locks/gc")).unwrap();

    let lock = File::options().write(true).open(env.path("embeddings/.sciembed/lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let waits = || {
        let journals = files(&env.path("store/runs"));
        journals.iter().any(|path| fs::read_to_string(path).unwrap().contains("waits for its turn to publish"))
    };
    let told = interrupted(&env, Signal::INT, waits);
    assert_eq!(told.code, Some(130), "{}{}", told.out, told.err);
    assert!(told.err.contains("waits for its turn to publish in"), "{}", told.err);
    drop(lock);
    assert_eq!(env.applied(&[]).started(), ["persist.yearly[2011]"]);
}

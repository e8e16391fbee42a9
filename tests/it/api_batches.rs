//! Embedding by batches: handed over once, whatever a server does to them, and collected by whichever run comes next.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::api::{DIM, KEY, applied, apply, assert_complete, most_answers, project};
use crate::api_server::{ApiServer, BatchScript, Fault, Script};
use crate::env::any_below;

fn batches(script: BatchScript) -> ApiServer {
    ApiServer::start(Script { batch: script, dim: DIM, ..Script::default() })
}

/// A batch is handed over, waited for and collected, whatever its server does to it.
#[test]
fn batches_are_handed_over_and_collected() {
    let rows = 60;
    for script in [
        BatchScript { polls_until_done: 2, ..BatchScript::default() },
        BatchScript { expires_half_done: true, ..BatchScript::default() },
        BatchScript { line_errors: 3, ..BatchScript::default() },
        BatchScript { create_fails_after_creating: true, ..BatchScript::default() },
        BatchScript { first: vec![Some(Fault::Status(500)), None, Some(Fault::Disconnect)], ..BatchScript::default() },
    ] {
        let case = format!("{script:?}");
        let server = batches(script);
        let env = project(&server, rows, "mode = \"batch\"\nmax_inputs = 4\ntimeout_seconds = 2");
        let told = apply(&env, &[]);
        assert_eq!(told.code, Some(0), "{case}: {}{}", told.out, told.err);
        assert_complete(&env, rows);
        let seen = server.seen();
        assert_eq!((most_answers(&server), seen.bad_requests, seen.requests), (1, 0, 0), "{case}");
        assert!(seen.batches <= 2, "{case}: {} batches", seen.batches);
    }
}

/// With --no-wait a run leaves its batches, and later ones find them; a run that dies does the same.
#[test]
fn batches_are_collected_by_a_later_run() {
    let rows = 60;
    let server = batches(BatchScript { polls_until_done: 3, ..BatchScript::default() });
    let env = project(&server, rows, "mode = \"batch\"\nmax_inputs = 4\nmax_tokens = 100000");
    let told = apply(&env, &["--no-wait"]);
    assert_eq!(told.code, Some(6), "{}{}", told.out, told.err);
    assert!(told.out.contains("handed over after ") && !told.out.contains("failed"), "{}", told.out);
    assert!(told.err.contains("wait for 60 texts in 1 batch at ") && told.err.contains("apply again"), "{}", told.err);
    // What is there is counted once, and told.
    let plan = env.plan(&[]);
    let there = "removed; 60 texts in 1 batch are there already, and counted as spent; $";
    assert!(plan.out.contains(there), "{}", plan.out);
    let status = env.run(&["status", "workflow.toml"]);
    assert!(status.out.contains("all runs together; 60 texts in 1 batch are there"), "{}", status.out);
    // Nothing of it is paid twice by asking otherwise, or is left behind in silence.
    env.edit("mode = \"batch\"", "mode = \"live\"");
    let live = apply(&env, &[]);
    assert!(live.code == Some(3) && live.err.contains("60 texts in 1 batch are there, and paid for"), "{}", live.err);
    env.edit("mode = \"live\"", "mode = \"batch\"");
    assert_eq!(server.seen().requests, 0);
    let mut child = env.start_with(&["apply", "workflow.toml"], &[("TEST_KEY", Path::new(KEY))]);
    sleep(Duration::from_millis(any_below(400)));
    child.kill().unwrap();
    let _ = env.wait(child).code;
    applied(&env, &[]);
    assert_complete(&env, rows);
    assert_eq!((server.seen().batches, most_answers(&server)), (1, 1));
    let spent: u64 = server.seen().batch_tokens;
    let ledger = sciembed::api::spent(&env.path("store/spending/tests/minilm/ledger.jsonl")).unwrap();
    assert_eq!(ledger.tokens, spent);
}

/// A batch that its server refuses ends the step with the server's words.
#[test]
fn a_batch_that_fails_is_told() {
    let server = batches(BatchScript { fails_validation: true, ..BatchScript::default() });
    let env = project(&server, 10, "mode = \"batch\"");
    let told = apply(&env, &[]);
    assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
    assert!(told.err.contains("it failed: "), "{}", told.err);
}

/// Of more texts than a budget allows, those are handed over that it does.
#[test]
fn a_batch_is_as_large_as_its_budget() {
    let server = batches(BatchScript::default());
    let env = project(&server, 60, "mode = \"batch\"\nmax_inputs = 4\nmax_tokens = 800");
    let told = apply(&env, &[]);
    assert!(told.code == Some(3) && told.err.contains("max_tokens"), "{}{}", told.out, told.err);
    let spent = server.seen().batch_tokens;
    assert!((600..=800).contains(&spent), "{spent} of 800 tokens");
    assert!(env.sealed_rows() > 30, "{} rows", env.sealed_rows());
    env.edit("max_tokens = 800", "max_tokens = 80000");
    applied(&env, &[]);
    assert_complete(&env, 60);
    assert_eq!(most_answers(&server), 1);
}

/// Batches of a workflow as it was before are told.
#[test]
fn batches_that_are_left_behind_are_told() {
    let server = batches(BatchScript { polls_until_done: 3, ..BatchScript::default() });
    let env = project(&server, 10, "mode = \"batch\"");
    assert_eq!(apply(&env, &["--no-wait"]).code, Some(6));
    env.edit("identity = \"test\"", "identity = \"another\"");
    let told = applied(&env, &[]);
    assert!(told.err.contains("10 texts in 1 batch of another embedder key are at "), "{}", told.err);
}

/// A server that knows no batches says so.
#[test]
fn a_server_without_batches_is_told() {
    let server = batches(BatchScript { first: vec![Some(Fault::Status(404))], ..BatchScript::default() });
    let env = project(&server, 10, "mode = \"batch\"");
    let told = apply(&env, &[]);
    assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
    assert!(told.err.contains("answers 404"), "{}", told.err);
}

//! Embedding through an API that misbehaves: every row arrives, nothing is paid twice, no limit is exceeded, no key is told.
//!
//! The server is a real one on loopback, and counts what it answered and billed; the program is run as a person would.
//! `just api-campaign` runs the same with more rows and kills.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use half::f16;
use sciembed::dataset::Dataset;

use crate::api_server::{ApiServer, Fault, RetryAfter, Script, count_tokens, vector};
use crate::env::{TestEnv, Told, any_below, files, papers, say, times};

pub const DIM: usize = 8;
pub const KEY: &str = "sk-the-secret-of-this-test";
const OTHER_KEY: &str = "sk-another-secret-of-this-test";

/// One year of so many papers, embedded by this server; `api` are more lines of the `api` table.
pub fn project(server: &ApiServer, papers: usize, api: &str) -> TestEnv {
    project_with(server, papers, "", api)
}

/// The same, with more lines of the embed node.
pub fn project_with(server: &ApiServer, papers: usize, embed: &str, api: &str) -> TestEnv {
    let env = TestEnv::empty();
    env.edit("[2010, 2011]", "[2010]");
    let base_url = server.base_url();
    let table = format!(
        "model = \"openai://text-embedding-3-small\"\ndim = {DIM}\n{embed}\n[embed.minilm.api]\nbase_url = \"{base_url}\"\n\
         identity = \"test\"\napi_key_env = \"TEST_KEY\"\n{api}\n"
    );
    env.edit("model = \"fake://16\"\n", &table);
    env.write_year(2010, &self::papers(2010, papers));
    env
}

pub fn apply(env: &TestEnv, arguments: &[&str]) -> Told {
    let variables = [("TEST_KEY", Path::new(KEY)), ("OTHER_KEY", Path::new(OTHER_KEY))];
    env.run_with(&[&["apply", "workflow.toml"], arguments].concat(), "", &variables)
}

pub fn applied(env: &TestEnv, arguments: &[&str]) -> Told {
    let told = apply(env, arguments);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    told
}

/// Every paper is published with the vector of its own text.
pub fn assert_complete(env: &TestEnv, papers: usize) {
    let texts: BTreeMap<String, String> = env
        .peek("prepare.texts[2010]", "texts")
        .into_iter()
        .map(|row| (row["bibcode"].as_str().unwrap().to_owned(), row["text"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(texts.len(), papers);
    let dataset = Dataset::open(&env.path("embeddings"), "minilm_2010").unwrap();
    assert_eq!(dataset.description().rows, papers);
    for (bibcode, text) in texts {
        let row = dataset.get(&bibcode).unwrap().unwrap();
        let expected: Vec<f32> = vector(&text, DIM).into_iter().map(|it| f16::from_f32(it).to_f32()).collect();
        assert_eq!(row.vector, expected, "{bibcode}");
    }
}

/// No input has got more right answers than this.
pub fn most_answers(server: &ApiServer) -> u32 {
    server.seen().answers.into_values().max().unwrap_or(0)
}

/// What may pass, each a few times.
fn passing_faults() -> Vec<(u32, Fault)> {
    let patience = |retry_after| (3, Fault::TooMany { retry_after });
    vec![
        patience(None),
        patience(Some(RetryAfter::Seconds(0))),
        patience(Some(RetryAfter::Date(0))),
        patience(Some(RetryAfter::Millis(20))),
        (3, Fault::Status(500)),
        (3, Fault::Status(503)),
        (3, Fault::Slow(Duration::from_millis(100))),
        (3, Fault::CutMidBody),
        (2, Fault::TruncatedJson),
        (2, Fault::WrongCount),
        (2, Fault::DuplicateIndex),
        (8, Fault::ShuffledIndices),
        (2, Fault::Nan),
        (2, Fault::ZeroVector),
        (2, Fault::HtmlPage(502)),
        (2, Fault::Disconnect),
    ]
}

/// Whatever may pass, mixed: every row arrives with its own vector, and no right answer is asked for twice.
#[test]
fn every_row_arrives_once_whatever_goes_wrong() {
    let rows = times("SCIEMBED_API_ROWS", 1_500);
    let script = Script { faults: passing_faults(), good_weight: 60, seed: 7, dim: DIM, ..Script::default() };
    let server = ApiServer::start(script);
    let env = project(&server, rows, "max_inputs = 16\ntries = 12");
    let told = applied(&env, &[]);
    assert_complete(&env, rows);
    assert_eq!(told.embedded_and_reused(), (rows, 0));
    let seen = server.seen();
    assert_eq!((most_answers(&server), seen.bad_requests), (1, 0));
    assert!(seen.by_status.len() >= 5, "{:?}", seen.by_status);
    assert!(told.out.contains("  asked      "), "{}", told.out);
    say(format!("{rows} rows in {} requests, {} of them answered well", seen.requests, seen.answered));
    let requests = seen.requests;
    applied(&env, &[]);
    assert_eq!(server.seen().requests, requests, "nothing is asked for twice");
}

/// A kill at any moment costs a window at most, and in the end everything is there.
#[test]
fn a_kill_costs_a_window_at_most() {
    const WINDOW: usize = 64;
    let kills = times("SCIEMBED_API_KILLS", 3);
    let rows = 300 * kills;
    let server = ApiServer::start(Script { latency: Duration::from_millis(60), dim: DIM, ..Script::default() });
    let env = project(&server, rows, &format!("max_inputs = 8\nwindow = {WINDOW}"));
    let mut in_time = 0;
    for _ in 0..kills {
        let mut child = env.start_with(&["apply", "workflow.toml"], &[("TEST_KEY", Path::new(KEY))]);
        sleep(Duration::from_millis(150 + any_below(500)));
        child.kill().unwrap();
        in_time += usize::from(env.wait(child).code.is_none());
    }
    applied(&env, &[]);
    assert_complete(&env, rows);
    let answers: usize = server.seen().answers.values().map(|count| *count as usize).sum();
    assert!(answers <= rows + in_time * WINDOW, "{answers} answers to {rows} rows after {in_time} kills");
    say(format!("{in_time} of {kills} kills in time cost {} of {rows} rows", answers - rows));
}

/// Ctrl-C waits for what is under way, since it is paid for.
#[test]
fn an_interruption_costs_nothing() {
    let rows = 400;
    let server = ApiServer::start(Script { latency: Duration::from_millis(50), dim: DIM, ..Script::default() });
    let env = project(&server, rows, "max_inputs = 8");
    let child = env.start_with(&["apply", "workflow.toml"], &[("TEST_KEY", Path::new(KEY))]);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while server.seen().answered < 4 && std::time::Instant::now() < until {
        sleep(Duration::from_millis(5));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let told = env.wait(child);
    assert_eq!(told.code, Some(130), "{}{}", told.out, told.err);
    applied(&env, &[]);
    assert_complete(&env, rows);
    assert_eq!(most_answers(&server), 1);
}

/// The faults of a random mix, budgets of any size: what the server billed never exceeds the limit, over all runs, and
/// raising it goes on where it stopped.
#[test]
fn a_budget_is_never_exceeded() {
    let rows = 200;
    let all: u64 = {
        papers(2010, rows)
            .iter()
            .map(|paper| {
                count_tokens(&format!(
                    "{}\n\n{}",
                    paper["title"][0].as_str().unwrap(),
                    paper["abstract"].as_str().unwrap()
                ))
            })
            .sum()
    };
    for seed in 0..times("SCIEMBED_API_BUDGETS", 3) as u64 {
        // What comes too late was billed all the same, and nobody knows.
        let late = [(2, Fault::Slow(Duration::from_millis(1500))), (1, Fault::Hang)];
        let faults = passing_faults().into_iter().chain(late).collect();
        let server = ApiServer::start(Script { faults, good_weight: 60, seed, dim: DIM, ..Script::default() });
        let mut limit = all / 4 + any_below(all / 4);
        let env = project(&server, rows, &format!("max_inputs = 8\nmax_tokens = {limit}\ntimeout_seconds = 1"));
        let told = apply(&env, &[]);
        assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
        assert!(told.err.contains("are spent") && told.err.contains("max_tokens"), "{}", told.err);
        assert!(server.seen().billed_tokens <= limit, "{} of {limit}", server.seen().billed_tokens);
        let again = apply(&env, &[]);
        assert_eq!(again.code, Some(3), "the limit counts all runs: {}", again.out);
        assert!(server.seen().billed_tokens <= limit);
        assert!(env.sealed_rows() > 0, "what was answered is kept");
        env.edit(&format!("max_tokens = {limit}"), &format!("max_tokens = {}", all * 10));
        limit = all * 10;
        applied(&env, &[]);
        assert!(server.seen().billed_tokens <= limit);
        assert_complete(&env, rows);
    }
}

/// A server that bills more tokens than the tokenizer counts is found out by the first request, and no limit is exceeded,
/// then or by a later run.
#[test]
fn a_server_that_bills_more_exceeds_no_budget() {
    let server = ApiServer::start(Script { billed_for_one: 7, dim: DIM, ..Script::default() });
    let env = project(&server, 200, "max_inputs = 8\nmax_tokens = 5000");
    for _ in 0..3 {
        let told = apply(&env, &[]);
        assert!(told.code == Some(3) && told.err.contains("max_tokens"), "{}{}", told.out, told.err);
        let billed = server.seen().billed_tokens;
        assert!((3_000..=5_000).contains(&billed), "{billed} of 5000 tokens");
    }
    let status = env.run(&["status", "workflow.toml"]);
    let billed = server.seen().billed_tokens;
    assert!(status.out.contains(&format!("spent       embed.minilm: {billed} tokens, $")), "{}", status.out);
}

/// A plan tells tokens and dollars by the texts; dollars limit as tokens do.
#[test]
fn a_plan_tells_what_it_will_cost() {
    let server = ApiServer::start(Script { dim: DIM, ..Script::default() });
    let env = project(&server, 50, "max_cost_usd = 0.00001\nprices = \"prices.toml\"\nmax_inputs = 4");
    env.write(
        "prices.toml",
        "date = \"2026-01-02\"\n[models.\"text-embedding-3-small\"]\nusd_per_million_tokens = 0.5\n",
    );
    let plan = env.plan(&[]);
    assert_eq!(plan.code, Some(2), "{}{}", plan.out, plan.err);
    assert!(plan.err.contains("note: the environment variable TEST_KEY is not set"), "{}", plan.err);
    let told = apply(&env, &[]);
    assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
    assert!(told.err.contains("$0.000010") && told.err.contains("max_cost_usd"), "{}", told.err);
    let plan = env.plan(&[]);
    assert!(plan.out.contains("tokens by ") && plan.out.contains("at the prices of 2026-01-02"), "{}", plan.out);
    assert!(plan.out.contains("of $0.000010 spent: it will stop before it is done"), "{}", plan.out);
    env.edit("prices = \"prices.toml\"", "");
    env.edit("text-embedding-3-small", "unheard-of");
    let plan = env.plan(&[]);
    assert!(plan.code == Some(1) && plan.err.contains("the price of unheard-of is not known"), "{}", plan.err);
}

/// Two keys share the work; one that is refused is set aside, and told by the name of its variable.
#[test]
fn keys_share_the_load_and_a_revoked_one_is_set_aside() {
    let rows = 400;
    let script = Script {
        keys: Some(vec![KEY.into(), OTHER_KEY.into()]),
        revoked: BTreeMap::from([(OTHER_KEY.to_owned(), 5)]),
        latency: Duration::from_millis(10),
        dim: DIM,
        ..Script::default()
    };
    let server = ApiServer::start(script);
    let env = project(&server, rows, "max_inputs = 8");
    env.edit("api_key_env = \"TEST_KEY\"", "api_key_env = [\"TEST_KEY\", \"OTHER_KEY\"]");
    let told = applied(&env, &[]);
    assert!(told.err.contains("refuses the key of OTHER_KEY"), "{}", told.err);
    assert_complete(&env, rows);
    let seen = server.seen();
    assert!(seen.by_key[KEY] > 5 && seen.by_key[OTHER_KEY] > 5, "{:?}", seen.by_key);
    assert_eq!(most_answers(&server), 1);
}

/// What will not pass ends the step at once, with its own words and remedy, and nothing is published.
#[test]
fn what_will_not_pass_ends_at_once() {
    let first = |fault: Fault| Script { first: vec![None, Some(fault)], dim: DIM, ..Script::default() };
    let cases: Vec<(&str, Script, &str)> = vec![
        (
            "a key that is refused",
            Script { keys: Some(vec!["sk-x".into()]), ..Script::default() },
            "refuses the key of TEST_KEY",
        ),
        ("another model", Script { model: "another".into(), ..Script::default() }, "answers 404"),
        ("another dim", first(Fault::WrongDim), "the number of a vector's components is 9, and 8 was expected"),
        ("another model's name", first(Fault::WrongModel), "the model's name is"),
        ("a redirect with the key", first(Fault::Redirect(format!("/login?key={KEY}"))), "redirects to another path"),
        ("a redirect", first(Fault::Redirect("https://elsewhere.example/v1".into())), "redirects to elsewhere.example"),
    ];
    for (case, script, expected) in cases {
        let server = ApiServer::start(script);
        let env = project(&server, 20, "max_inputs = 4\nconcurrency = 1");
        let told = apply(&env, &[]);
        assert_eq!(told.code, Some(3), "{case}: {}{}", told.out, told.err);
        assert!(told.err.contains(expected) && !told.err.contains(KEY), "{case}: {}", told.err);
        assert!(server.seen().requests <= 4, "{case}: {} requests", server.seen().requests);
        assert!(!env.path("embeddings/manifest_minilm_2010.json").exists(), "{case}");
    }
    let server = ApiServer::start(Script::default());
    let env = project(&server, 5, "");
    let told = env.run(&["apply", "workflow.toml"]);
    assert!(told.code == Some(3) && told.err.contains("the environment variable TEST_KEY is not set"), "{}", told.err);
    assert_eq!(server.seen().requests, 0);
}

/// What is wrong with all answers is found out by one, and paid once; another name of the model is noticed by a later run too.
#[test]
fn a_wrong_model_costs_one_request() {
    let wrong = |fault: Fault| Script { faults: vec![(1, fault)], good_weight: 0, dim: DIM, ..Script::default() };
    let server = ApiServer::start(wrong(Fault::WrongDim));
    let env = project(&server, 200, "max_inputs = 4");
    assert_eq!(apply(&env, &[]).code, Some(3));
    assert_eq!(server.seen().requests, 1);

    let [right, renamed] = [Script { dim: DIM, ..Script::default() }, wrong(Fault::WrongModel)].map(ApiServer::start);
    let env = project(&right, 20, "");
    applied(&env, &[]);
    env.edit(&right.base_url(), &renamed.base_url());
    env.write_year(2010, &papers(2010, 30));
    let told = apply(&env, &[]);
    assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
    assert!(told.err.contains("is another-model, and text-embedding-3-small was expected"), "{}", told.err);
    assert!(told.err.contains("declare another `identity`"), "{}", told.err);
}

/// A server that answers nothing ends the step once the tries are over.
#[test]
fn a_server_that_is_away_ends_the_step() {
    let server =
        ApiServer::start(Script { faults: vec![(1, Fault::Status(500))], good_weight: 0, ..Script::default() });
    let env = project(&server, 20, "tries = 3");
    let told = apply(&env, &[]);
    assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
    assert!(told.err.contains("answers 500") && told.err.contains("3 tries in a row"), "{}", told.err);
    let base_url = server.base_url();
    drop(server);
    let told = apply(&env, &[]);
    assert!(told.code == Some(3) && told.err.contains("no connection"), "{base_url}: {}", told.err);
}

/// The server refuses a text and does not say which: it is found, listed, and the others are kept.
#[test]
fn a_text_that_is_refused_is_found_and_listed() {
    let server = ApiServer::start(Script { poison: Some("Paper 13 ".into()), dim: DIM, ..Script::default() });
    let env = project(&server, 40, "");
    let told = apply(&env, &[]);
    assert_eq!(told.code, Some(5), "{}{}", told.out, told.err);
    assert!(
        told.err.contains("embed 1 of 40 rows, 2010Test..00013A among them: the server answers 400"),
        "{}",
        told.err
    );
    assert_eq!(env.sealed_rows(), 39);
    applied(&env, &["--accept-failures"]);
}

/// Where only texts are left that are refused, something harmless tells that the server is not to blame.
#[test]
fn texts_that_are_refused_can_be_accepted() {
    let server = ApiServer::start(Script { poison: Some("Paper 1".into()), dim: DIM, ..Script::default() });
    let env = project(&server, 40, "");
    for _ in 0..2 {
        let told = apply(&env, &[]);
        assert_eq!(told.code, Some(5), "{}{}", told.out, told.err);
        assert!(told.err.contains("embed 11 of 40 rows"), "{}", told.err);
    }
    applied(&env, &["--accept-failures"]);
    let seen = server.seen();
    assert!(seen.answers.iter().all(|(text, count)| *count == 1 || text == "dark energy"), "{:?}", seen.answers);
}

/// Who asks for patience for ever can be interrupted.
#[test]
fn endless_patience_can_be_interrupted() {
    let patience = Fault::TooMany { retry_after: Some(RetryAfter::Millis(0)) };
    let server = ApiServer::start(Script { faults: vec![(1, patience)], good_weight: 0, ..Script::default() });
    let env = project(&server, 20, "max_inputs = 1");
    let child = env.start_with(&["apply", "workflow.toml"], &[("TEST_KEY", Path::new(KEY))]);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while server.seen().requests < 8 && std::time::Instant::now() < until {
        sleep(Duration::from_millis(5));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(env.wait(child).code, Some(130));
    assert!(server.seen().requests < 200, "{} requests", server.seen().requests);
}

/// A limit of the server is kept by waiting, not by being refused.
#[test]
fn a_limit_that_is_told_is_kept() {
    let rows = 120;
    let script =
        Script { requests_per_minute: Some(6_000), latency: Duration::from_millis(5), dim: DIM, ..Script::default() };
    let server = ApiServer::start(script);
    let env = project(&server, rows, "max_inputs = 1");
    applied(&env, &[]);
    assert_complete(&env, rows);
    let refused = server.seen().by_status.get(&429).copied().unwrap_or(0);
    assert!(refused <= 4, "{refused} refused");
}

/// Servers that do not know base64, or answer numbers all the same; that leave out what was used.
#[test]
fn servers_differ() {
    for script in [
        Script { supports_base64: false, dim: DIM, ..Script::default() },
        Script { ignores_base64: true, dim: DIM, ..Script::default() },
        Script { omits_usage: true, dim: DIM, ..Script::default() },
    ] {
        let server = ApiServer::start(script);
        let env = project(&server, 30, "extra = { input_type = \"passage\" }");
        applied(&env, &[]);
        assert_complete(&env, 30);
        assert_eq!(server.seen().bodies[0]["input_type"], "passage");
    }
}

/// Texts are cut by tokens and the loss is told, or read in windows; a prompt is counted.
#[test]
fn long_texts_are_cut_by_tokens() {
    let server = ApiServer::start(Script { max_input_tokens: 10, dim: DIM, ..Script::default() });
    let env = project_with(&server, 20, "max_length = 10\nprompt = \"passage: \"", "");
    let told = applied(&env, &[]);
    assert!(told.out.contains("20 longer than the model reads"), "{}", told.out);
    let seen = server.seen();
    assert_eq!(seen.bad_requests, 0);
    assert!(seen.answers.keys().all(|text| text.starts_with("passage: Paper ") && count_tokens(text) <= 10));

    env.edit("max_length = 10", "max_length = 10\nlong = \"mean\"\noverlap = 2");
    let told = applied(&env, &[]);
    assert!(told.out.contains("20 read in several windows"), "{}", told.out);
    let seen = server.seen();
    assert_eq!(seen.bad_requests, 0);
    assert!(seen.answers.len() > 40, "each text has several windows: {}", seen.answers.len());
}

/// Whatever a run writes or says, it never holds a key.
#[test]
fn no_key_is_written_anywhere() {
    let faults = vec![(1, Fault::Status(500)), (1, Fault::HtmlPage(502)), (1, Fault::TruncatedJson)];
    let script = Script {
        keys: Some(vec![KEY.into(), OTHER_KEY.into()]),
        revoked: BTreeMap::from([(OTHER_KEY.to_owned(), 2)]),
        faults,
        good_weight: 5,
        dim: DIM,
        ..Script::default()
    };
    let server = ApiServer::start(script);
    let env = project(&server, 60, "max_inputs = 4\nmax_tokens = 100000");
    env.edit("api_key_env = \"TEST_KEY\"", "api_key_env = [\"TEST_KEY\", \"OTHER_KEY\"]");
    let mut said = Vec::new();
    said.push(applied(&env, &[]));
    drop(server);
    env.edit("prefix = \"\"", "prefix = \"x\"");
    env.edit("max_inputs = 4", "max_inputs = 4\ntries = 2");
    said.push(apply(&env, &[]));
    said.push(env.plan(&[]));
    said.push(env.run(&["log", "workflow.toml", "--run", "latest"]));
    assert_eq!(said[1].code, Some(3));
    for told in &said {
        assert!(!told.out.contains("secret-of") && !told.err.contains("secret-of"), "{}{}", told.out, told.err);
    }
    let mut looked_at = 0;
    let mut folders = vec![env.path("")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                looked_at += 1;
                let holds = |key: &str| bytes.windows(key.len()).any(|window| window == key.as_bytes());
                assert!(!holds("secret-of"), "{}", path.display());
            }
        }
    }
    assert!(looked_at > 10, "{looked_at} files");
    assert!(!files(&env.path("store/spending/tests/minilm")).is_empty());
}

/// Two servers' models of one name are two, unless they are declared to be one.
#[test]
fn a_server_is_told_by_its_identity() {
    let [one, two] = [(); 2].map(|()| ApiServer::start(Script { dim: DIM, ..Script::default() }));
    let env = project(&one, 10, "");
    applied(&env, &[]);
    env.edit(&one.base_url(), &two.base_url());
    let told = applied(&env, &[]);
    assert!(told.out.contains("nothing to do"), "{}", told.out);
    env.edit("identity = \"test\"", "identity = \"another\"");
    let plan = env.plan(&[]);
    assert!(plan.out.contains("embed.minilm.api test -> another"), "{}", plan.out);
    applied(&env, &[]);
    assert_eq!((two.seen().answers.len(), most_answers(&two)), (10, 1));
}

/// How near a run comes to what a server allows: by its limit of tokens, and by its latency and the concurrency. It tells,
/// and asserts only that no limit was run into time and again.
#[test]
#[ignore = "takes minutes: `just api-campaign`"]
fn its_rate_against_what_a_server_allows() {
    let latency = Duration::from_millis(50);
    let of = |script: Script, rows: usize, api: &str| {
        let server = ApiServer::start(Script { latency, dim: DIM, ..script });
        let env = project(&server, rows, api);
        applied(&env, &[]);
        assert_complete(&env, rows);
        let seen = server.seen();
        let (first, last) = (seen.billed[0].0, seen.billed[seen.billed.len() - 1].0);
        (seen, (last - first).as_secs_f64())
    };
    let (per_minute, rows) = (120_000, times("SCIEMBED_API_ROWS", 20_000).min(20_000));
    let (seen, seconds) = of(Script { tokens_per_minute: Some(per_minute), ..Script::default() }, rows, "");
    let allowed = per_minute as f64 * (1.0 + seconds / 60.0);
    let refused = seen.by_status.get(&429).copied().unwrap_or(0);
    let part = seen.billed_tokens as f64 / allowed * 100.0;
    say(format!(
        "{per_minute} tokens a minute: {part:.1} % of what is allowed in {seconds:.1} s, {refused} of {} refused",
        seen.requests
    ));
    assert!(refused * 10 <= seen.requests);
    let (seen, seconds) = of(Script::default(), rows, "max_inputs = 4\nconcurrency = 16");
    let part = seen.requests as f64 * latency.as_secs_f64() / 16.0 / seconds * 100.0;
    say(format!(
        "{latency:?} and 16 requests at once: {part:.1} % of what is allowed, {} requests in {seconds:.1} s",
        seen.requests
    ));
}

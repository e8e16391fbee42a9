//! A run as others see it: metrics, logs, the report and the screen that follows its journal; a plan that is applied as it was read.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::env::{TestEnv, papers};

/// The value of a metric, summed over its labels.
fn metric(text: &str, name: &str) -> f64 {
    let of = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
    text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The counters end where the summary does, and Prometheus' own tool finds nothing wrong, where it is installed.
#[test]
fn counters_equal_the_summary() {
    let env = TestEnv::of(40);
    let mut older = papers(2010, 40);
    older[3] = serde_json::json!({ "bibcode": "no text" });
    env.write_year(2010, &older);
    let told = env.applied(&["--metrics-file", "run.prom"]);
    let text = fs::read_to_string(env.path("run.prom")).unwrap();
    let (embedded, reused) = told.embedded_and_reused();
    assert_eq!((embedded, reused), (79, 0), "{}", told.out);
    let of = |name: &str| metric(&text, name);
    assert_eq!(of("processed_records_total{kind=\"embed\",node=\"minilm\"}"), 79.0, "{text}");
    assert_eq!(of("sciembed_rejected_records_total"), 1.0, "{text}");
    assert!(of("tokens_total") > 79.0 && of("seconds_per_batch_count") >= 2.0, "{text}");
    assert_eq!(
        (of("sciembed_steps_total"), of("sciembed_steps_running"), of("sciembed_steps_waiting")),
        (8.0, 0.0, 0.0)
    );
    if let Ok(mut promtool) = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
    {
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let checked = promtool.wait_with_output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

/// While it runs, it answers at its address.
#[test]
fn a_run_answers_prometheus() {
    let env = TestEnv::of(60);
    env.edit("fake://16", "fake://16?delay_us=20000");
    let mut child = env.start(&["apply", "workflow.toml", "--metrics-addr", "127.0.0.1:0"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("metrics at ") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it told no address");
    }
    let address = line.trim().trim_start_matches("metrics at http://").trim_end_matches("/metrics").to_owned();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    std::thread::sleep(Duration::from_millis(300));
    let answer = ask("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(metric(&answer, "sciembed_run_info") == 1.0 && metric(&answer, "sciembed_memory_bytes") > 1e6, "{answer}");
    assert!(ask("/other").starts_with("HTTP/1.1 404"));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let told = env.apply(&["--metrics-addr", &taken]);
    assert!(told.code == Some(1) && told.err.contains("choose another address"), "{}", told.err);
}

/// The log is silent unless asked, and each line of it is JSON where that is asked.
#[test]
fn a_log_is_told_when_asked() {
    let env = TestEnv::of(5);
    let quiet = env.applied(&[]);
    assert!(!quiet.err.contains("step finished"), "{}", quiet.err);
    env.write_year(2011, &papers(2011, 6));
    let told = env.apply(&["--log-level", "sciembed=debug", "--log-format", "json"]);
    let lines: Vec<Value> = told.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    assert_eq!(
        (of("run started").len(), of("step finished").len(), of("run finished").len()),
        (1, 4, 1),
        "{}",
        told.err
    );
    let batch = of("batch embedded")[0];
    let spans: Vec<&Value> = batch["spans"].as_array().unwrap().iter().map(|span| &span["name"]).collect();
    assert_eq!(spans, ["run", "step", "batch"], "{batch}");
    let (step, rows) = (&batch["spans"][1]["step"], &batch["spans"][2]["rows"]);
    assert!(step == "embed.minilm[2011]" && rows == 1, "{batch}");
    let bad = env.plan(&["--log-level", "sciembed=loud"]);
    assert!(bad.code == Some(1) && bad.err.contains("log filter"), "{}", bad.err);
}

/// Every apply that did something leaves a page; its numbers are the journal's.
#[test]
fn a_report_has_the_numbers_of_the_journal() {
    let env = TestEnv::of(30);
    let mut older = papers(2010, 30);
    older[3] = serde_json::json!({ "bibcode": "no text" });
    older[4]["title"] = serde_json::json!(["</script><b>&"]);
    env.write_year(2010, &older);
    let told = env.applied(&[]);
    assert!(told.out.contains("  report     store/reports/"), "{}", told.out);
    let pages: Vec<_> = fs::read_dir(env.path("store/reports")).unwrap().flatten().collect();
    assert_eq!(pages.len(), 1);
    let page = fs::read_to_string(pages[0].path()).unwrap();
    let data =
        page.split_once("<script type=\"application/json\" id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let report: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&report["reuse"]["embedded"], &report["outcome"]), (&59.into(), &"done".into()));
    assert_eq!(report["rejects"][0]["rows"], 1);
    let journal = env.run(&["log", "workflow.toml", "--run", "latest", "--json"]);
    let finished: Vec<Value> = String::from_utf8_lossy(&journal.bytes)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|entry: &Value| entry["event"] == "step_finished")
        .collect();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!((steps.len(), finished.len()), (8, 8));
    for step in steps {
        let name = |it: &Value| {
            format!(
                "{}.{}[{}]",
                it["step"]["kind"].as_str().unwrap(),
                it["step"]["node"].as_str().unwrap(),
                it["step"]["cells"]["year"].as_str().unwrap()
            )
        };
        let entry = finished.iter().find(|entry| name(entry) == step["id"].as_str().unwrap()).unwrap();
        assert_eq!((&step["rows"], &step["state"]), (&entry["counts"]["rows"], &"ran".into()));
    }
    let tokens = &report["tokens"];
    let texts: u64 = tokens["counts"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(texts, 59);
    assert!(report["map"]["points"].as_array().is_some_and(|points| points.len() > 10), "{}", report["map"]);
    // Of any run, made again; and nothing to do leaves none.
    env.applied(&[]);
    assert_eq!(fs::read_dir(env.path("store/reports")).unwrap().count(), 1);
    let made = env.run(&["report", "workflow.toml", "--to", "page.html"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert!(fs::read_to_string(env.path("page.html")).unwrap() == page);
    assert_eq!(env.run(&["verify", "workflow.toml"]).code, Some(0));
}

/// One frame of the screen, of a run that ended and of one that failed.
#[test]
fn the_screen_tells_of_a_run() {
    let env = TestEnv::of(30);
    env.applied(&[]);
    let frame = env.run(&["watch", "workflow.toml"]);
    assert_eq!(frame.code, Some(0), "{}", frame.err);
    for told in ["tests  ", "done", "embed.minilm", "persist.yearly", "60", "journal"] {
        assert!(frame.out.contains(told), "{told} in {}", frame.out);
    }
    env.write("data/2010.json.gz", "no gzip, no records");
    let failed = env.apply(&[]);
    assert_ne!(failed.code, Some(0));
    let frame = env.run(&["watch", "workflow.toml", "--once"]);
    assert!(frame.out.contains("failed"), "{}", frame.out);
}

/// A saved plan is applied as it was read, or not at all.
#[test]
fn a_saved_plan_is_applied_or_refused() {
    let env = TestEnv::of(5);
    let planned = env.plan(&["--years", "2010", "--out", "plan.json"]);
    assert_eq!(planned.code, Some(2), "{}", planned.err);
    let applied = env.run(&["apply", "plan.json"]);
    assert_eq!(applied.code, Some(0), "{}", applied.err);
    assert_eq!(applied.started().len(), 4, "the year that was selected: {}", applied.err);
    // What it was saved for is done.
    let again = env.run(&["apply", "plan.json"]);
    assert!(again.code == Some(1) && again.err.contains("was stale, and is fresh"), "{}", again.err);
    // Its inputs change.
    assert_eq!(env.plan(&["--set", "prepare.texts.prefix=\"a\"", "--out", "plan.json"]).code, Some(2));
    env.write_year(2011, &papers(2011, 6));
    let moved = env.run(&["apply", "plan.json"]);
    assert!(
        moved.code == Some(1) && moved.err.contains("load.records[2011] is stale for other inputs"),
        "{}",
        moved.err
    );
    assert!(moved.started().is_empty());
    assert_eq!(env.plan(&["--set", "prepare.texts.prefix=\"a\"", "--out", "plan.json"]).code, Some(2));
    let beside = env.run(&["apply", "plan.json", "--years", "2010"]);
    assert!(beside.code == Some(1) && beside.err.contains("part of a plan"), "{}", beside.err);
    let applied = env.run(&["apply", "plan.json"]);
    assert_eq!(applied.code, Some(0), "{}", applied.err);
    assert_eq!(env.plan(&["--set", "prepare.texts.prefix=\"a\""]).code, Some(0), "with its overrides");
    env.write("plan.json", "{ \"sciembed_plan\": 1 }");
    let bad = env.run(&["apply", "plan.json"]);
    assert!(bad.code == Some(1) && bad.err.contains("read the plan plan.json"), "{}", bad.err);
    // A node that was pending has no key by which its change would be told.
    let env = TestEnv::of(5);
    assert_eq!(env.plan(&["--out", "plan.json"]).code, Some(2));
    env.edit("label = \"minilm\"", "label = \"other\"");
    let moved = env.run(&["apply", "plan.json"]);
    assert!(moved.code == Some(1) && moved.err.contains("the workflow itself was changed"), "{}", moved.err);
    let over = env.plan(&["--out", "workflow.toml"]);
    assert!(over.code == Some(1) && over.err.contains("is no saved plan"), "{}", over.err);
}

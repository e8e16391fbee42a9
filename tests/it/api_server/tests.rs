//! Whether the server does what its script says, asked by a plain HTTP client.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde_json::{Value, json};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::limits::written;
use super::{ApiServer, BatchScript, Fault, RetryAfter, Script, Seen, count_tokens, tokens, vector};

/// What came of a request: its status, headers and body.
struct Came {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Came {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn agent() -> Agent {
    let timeout = Some(Duration::from_millis(500));
    Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_recv_response(timeout).build().into()
}

fn came(response: Result<Response<Body>, ureq::Error>) -> Result<Came, String> {
    let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
    let mut bytes = Vec::new();
    let mut reader = body.into_with_config().limit(2 << 20).reader();
    reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Came { status: head.status.as_u16(), headers: head.headers, body: bytes })
}

fn post(server: &ApiServer, path: &str, key: &str, body: &Value) -> Result<Came, String> {
    let request = agent().post(format!("{}{path}", server.base_url())).header("Content-Type", "application/json");
    came(request.header("Authorization", format!("Bearer {key}")).send(body.to_string()))
}

fn get(server: &ApiServer, path: &str) -> Came {
    came(agent().get(format!("{}{path}", server.base_url())).call()).unwrap()
}

fn asked(input: impl Into<Value>) -> Value {
    json!({ "model": "text-embedding-3-small", "input": input.into() })
}

fn embed(server: &ApiServer, input: impl Into<Value>) -> Result<Came, String> {
    post(server, "/embeddings", "key", &asked(input))
}

fn floats(embedding: &Value) -> Vec<f32> {
    embedding.as_array().unwrap().iter().map(|component| component.as_f64().unwrap() as f32).collect()
}

/// What a server with one fault answers to two texts, and what it saw.
fn first(fault: Fault) -> (Result<Came, String>, Seen) {
    let server = ApiServer::start(Script { first: vec![Some(fault)], ..Script::default() });
    let came = embed(&server, vec!["one", "two"]);
    (came, server.seen())
}

#[test]
fn vectors_are_right_in_every_form() {
    let server = ApiServer::start(Script::default());
    let came = embed(&server, vec!["one", "two"]).unwrap().json();
    assert_eq!(floats(&came["data"][1]["embedding"]), vector("two", 8));
    assert_eq!((&came["usage"]["total_tokens"], &came["model"]), (&json!(2), &json!("text-embedding-3-small")));
    let length: f32 = vector("two", 8).iter().map(|component| component * component).sum();
    assert!((length - 1.0).abs() < 1e-6);

    let text = "Galaxies, and their haloes";
    let forms = [json!(text), json!([text]), json!(tokens(text)), json!([tokens(text)])];
    for form in forms {
        let mut body = asked(form);
        (body["dimensions"], body["encoding_format"]) = (3.into(), "base64".into());
        let came = post(&server, "/embeddings", "key", &body).unwrap().json();
        let bytes = STANDARD.decode(came["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let components = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        assert_eq!(components.collect::<Vec<_>>(), vector(text, 3));
        assert_eq!(came["usage"]["prompt_tokens"], count_tokens(text));
    }
    let seen = server.seen();
    assert_eq!((seen.requests, seen.answered, seen.billed.len()), (5, 5, 5));
    assert_eq!(seen.billed_tokens, 2 + 4 * count_tokens(text));
    assert_eq!(seen.answers, BTreeMap::from([("one", 1), ("two", 1), (text, 4)].map(|(text, n)| (text.to_owned(), n))));
    assert_eq!(seen.bodies[0]["input"], json!(["one", "two"]));
    assert_eq!(seen.by_status, BTreeMap::from([(200, 5)]));
}

#[test]
fn what_needs_no_processing_is_not_billed() {
    let cases = [
        (Fault::TooMany { retry_after: None }, Some(429)),
        (Fault::Status(503), Some(503)),
        (Fault::HtmlPage(502), Some(502)),
        (Fault::Redirect("http://127.0.0.1:9/v1".to_owned()), Some(307)),
        (Fault::Hang, None),
        (Fault::Disconnect, None),
    ];
    for (fault, status) in cases {
        let (came, seen) = first(fault.clone());
        assert_eq!(came.as_ref().ok().map(|came| came.status), status, "{fault:?}");
        assert_eq!((seen.requests, seen.billed_tokens, seen.answered), (1, 0, 0), "{fault:?}");
        assert_eq!(seen.by_status.keys().next().copied(), status, "{fault:?}");
        match (fault, came) {
            (Fault::Status(_), Ok(came)) => assert_eq!(came.json()["error"]["type"], "server_error"),
            (Fault::HtmlPage(_), Ok(came)) => assert!(came.body.starts_with(b"<html>")),
            (Fault::Redirect(to), Ok(came)) => assert_eq!(came.header("location"), to),
            (Fault::Hang, Err(error)) => assert!(error.contains("timeout"), "{error}"),
            (Fault::Disconnect, Err(error)) => assert!(!error.contains("timeout"), "{error}"),
            _ => {}
        }
    }
}

#[test]
fn what_was_processed_is_billed_even_if_its_answer_is_no_good() {
    for fault in [Fault::CutMidBody, Fault::HugeBody] {
        let (came, seen) = first(fault.clone());
        assert!(came.is_err(), "{fault:?}");
        assert_eq!((seen.billed_tokens, seen.answered), (2, 0), "{fault:?}");
    }
    let (came, seen) = first(Fault::TruncatedJson);
    assert!(serde_json::from_slice::<Value>(&came.unwrap().body).is_err());
    assert_eq!((seen.billed_tokens, seen.answered), (2, 0));
    let (came, seen) = first(Fault::HtmlPage(200));
    assert!(came.unwrap().body.starts_with(b"<html>"));
    assert_eq!((seen.billed_tokens, seen.answered), (2, 0));
}

#[test]
fn wrong_content_is_wrong_in_one_way_each() {
    let right = [vector("one", 8), vector("two", 8)];
    let item =
        |index: usize, embedding: Value| json!({ "object": "embedding", "index": index, "embedding": embedding });
    let (one, two) = (item(0, json!(right[0])), item(1, json!(right[1])));
    let mut nan = two.clone();
    nan["embedding"][0] = Value::Null;
    let cases = [
        (Fault::WrongCount, vec![one.clone()], 0),
        (Fault::ShuffledIndices, vec![two.clone(), one.clone()], 1),
        (Fault::DuplicateIndex, vec![one.clone(), item(0, json!(right[1]))], 0),
        (Fault::Nan, vec![one.clone(), nan], 0),
        (Fault::ZeroVector, vec![one.clone(), item(1, json!(vec![0.0; 8]))], 0),
        (Fault::WrongDim, vec![item(0, json!(vector("one", 9))), item(1, json!(vector("two", 9)))], 0),
        (Fault::WrongModel, vec![one.clone(), two.clone()], 0),
    ];
    for (fault, data, answered) in cases {
        let (came, seen) = first(fault.clone());
        let came = came.unwrap().json();
        // Read back like the answer: serde_json reads some numbers to the last bit of an f64 but one.
        let data: Value = serde_json::from_str(&json!(data).to_string()).unwrap();
        assert_eq!(came["data"], data, "{fault:?}");
        assert_eq!(came["model"] == "text-embedding-3-small", fault != Fault::WrongModel);
        assert_eq!((seen.billed_tokens, seen.answered), (2, answered), "{fault:?}");
        assert_eq!(seen.answers.len() as u64, 2 * answered, "{fault:?}");
    }
}

#[test]
fn a_slow_answer_is_late_and_billed_to_who_does_not_wait() {
    let (came, seen) = first(Fault::Slow(Duration::from_secs(2)));
    assert!(came.is_err());
    assert_eq!((seen.billed_tokens, seen.answered), (2, 0));
    let start = Instant::now();
    let (came, seen) = first(Fault::Slow(Duration::from_millis(100)));
    assert!(came.is_ok() && start.elapsed() >= Duration::from_millis(100));
    assert_eq!((seen.billed_tokens, seen.answered), (2, 1));
}

#[test]
fn a_refusal_tells_when_to_come_back() {
    let too_many = |retry_after| first(Fault::TooMany { retry_after: Some(retry_after) }).0.unwrap();
    assert_eq!(too_many(RetryAfter::Seconds(7)).header("retry-after"), "7");
    let millis = too_many(RetryAfter::Millis(20));
    assert_eq!((millis.header("retry-after-ms"), millis.header("retry-after")), ("20", ""));
    let dated = too_many(RetryAfter::Date(5));
    let [date, after] = ["date", "retry-after"].map(|name| DateTime::parse_from_rfc2822(dated.header(name)).unwrap());
    assert_eq!((after - date).num_seconds(), 5);
    let ahead = date.timestamp().unsigned_abs() - super::batches::seconds();
    assert!((3590..=3600).contains(&ahead), "{ahead}");
}

#[test]
fn limits_by_the_minute_refuse_and_tell() {
    let script = Script { requests_per_minute: Some(600), tokens_per_minute: Some(3), ..Script::default() };
    let server = ApiServer::start(script);
    let came = embed(&server, vec!["one", "two"]).unwrap();
    assert_eq!(came.header("x-ratelimit-limit-tokens"), "3");
    assert_eq!(came.header("x-ratelimit-remaining-tokens"), "1");
    assert_eq!(came.header("x-ratelimit-reset-requests"), "100ms");
    assert_eq!(came.header("x-ratelimit-reset-tokens"), "40s");
    let came = embed(&server, vec!["one", "two"]).unwrap();
    assert_eq!((came.status, came.header("retry-after")), (429, "20"));
    assert!((19_000..=20_000).contains(&came.header("retry-after-ms").parse().unwrap()));
    assert_eq!(came.header("x-ratelimit-limit-requests"), "600");
    assert_eq!(embed(&server, "one").unwrap().status, 200, "what is left is left");
    assert_eq!(server.seen().by_status, BTreeMap::from([(200, 2), (429, 1)]));

    let server = ApiServer::start(Script { tokens_per_minute: Some(600), ..Script::default() });
    assert_eq!(embed(&server, "one ".repeat(599)).unwrap().status, 200);
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(embed(&server, "one two").unwrap().status, 200, "ten tokens come each second");
    let forms = [(0, "0s"), (20, "20ms"), (1500, "1.5s"), (360_000, "6m0s"), (3_600_000, "1h0m0s")];
    assert!(forms.iter().all(|(millis, form)| written(Duration::from_millis(*millis)) == *form));
}

#[test]
fn beyond_a_limit_or_out_of_form_is_a_bad_request() {
    let script = Script { max_inputs: 3, max_input_tokens: 4, max_request_tokens: 5, ..Script::default() };
    let server = ApiServer::start(script);
    let mut unknown = asked("one");
    unknown["model"] = "gpt".into();
    let mut shapeless = asked("one");
    shapeless["dimensions"] = 0.into();
    let bad = [
        asked(vec!["a", "b", "c", "d"]),
        asked("one two three four five"),
        asked(vec!["one two three", "one two three"]),
        asked(""),
        asked(json!([])),
        asked(7),
        json!({ "input": "one" }),
        shapeless,
        unknown,
    ];
    for body in &bad {
        let came = post(&server, "/embeddings", "key", body).unwrap();
        assert_eq!(came.status, if body["model"] == "gpt" { 404 } else { 400 }, "{body}");
        assert!(came.json()["error"]["message"].is_string());
    }
    let seen = server.seen();
    assert_eq!((seen.bad_requests, seen.requests, seen.billed_tokens), (bad.len() as u64, bad.len() as u64, 0));
    assert_eq!(embed(&server, vec!["one two three four", "five"]).unwrap().status, 200, "at the limits");
}

#[test]
fn servers_differ_in_what_they_know() {
    let with_base64 = |script| {
        let server = ApiServer::start(script);
        let mut body = asked("one");
        body["encoding_format"] = "base64".into();
        (post(&server, "/embeddings", "key", &body).unwrap(), server.seen())
    };
    let (came, seen) = with_base64(Script { supports_base64: false, ..Script::default() });
    assert_eq!((came.status, &came.json()["error"]["param"]), (400, &json!("encoding_format")));
    assert_eq!(seen.bad_requests, 0);
    let (came, _) = with_base64(Script { ignores_base64: true, omits_usage: true, ..Script::default() });
    assert_eq!(floats(&came.json()["data"][0]["embedding"]), vector("one", 8));
    assert!(came.json().get("usage").is_none());

    let server = ApiServer::start(Script { poison: Some("drug".to_owned()), ..Script::default() });
    let came = embed(&server, vec!["one", "a drug"]).unwrap();
    assert!(came.status == 400 && !String::from_utf8_lossy(&came.body).contains("drug"));
    assert_eq!((server.seen().poisoned, server.seen().bad_requests), (1, 0));
}

#[test]
fn keys_are_checked_and_revoked() {
    let keys = Some(vec!["good".to_owned(), "short".to_owned()]);
    let revoked = BTreeMap::from([("short".to_owned(), 1)]);
    let server = ApiServer::start(Script { keys, revoked, ..Script::default() });
    let status = |key: &str| post(&server, "/embeddings", key, &asked("one")).unwrap().status;
    assert_eq!(["bad", "good", "short", "short", "good"].map(status), [401, 200, 200, 401, 200]);
    let by_key = [("bad", 1), ("good", 2), ("short", 2)].map(|(key, n)| (key.to_owned(), n));
    assert_eq!(server.seen().by_key, BTreeMap::from(by_key));
    assert_eq!(get(&server, "/batches").status, 401);
}

#[test]
fn outcomes_repeat_with_the_seed() {
    let faults = vec![(1, Fault::Nan), (2, Fault::Hang)];
    let script = Script { faults, seed: 3, first: vec![None, Some(Fault::Disconnect)], ..Script::default() };
    let drawn = |script: &Script| (0..4000).map(|number| script.outcome(number)).collect::<Vec<_>>();
    let outcomes = drawn(&script);
    assert_eq!(outcomes, drawn(&script));
    assert_eq!(outcomes[..2], [None, Some(Fault::Disconnect)]);
    assert_ne!(outcomes, drawn(&Script { seed: 4, ..script }));
    for (outcome, expected) in [(None, 1000), (Some(Fault::Nan), 1000), (Some(Fault::Hang), 2000)] {
        let count = outcomes.iter().filter(|drawn| **drawn == outcome).count();
        assert!(count.abs_diff(expected) < 150, "{outcome:?}: {count}");
    }
}

#[test]
fn requests_at_once_are_counted() {
    let server = ApiServer::start(Script { latency: Duration::from_millis(200), ..Script::default() });
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| embed(&server, "one").unwrap());
        }
    });
    assert_eq!((server.seen().max_concurrent, server.seen().answers["one"]), (3, 3));
}

/// Uploads these texts, a line each; gives the file's id.
fn upload(server: &ApiServer, texts: &[&str]) -> String {
    let line = |(at, text): (usize, &&str)| json!({ "custom_id": format!("row-{at}"), "method": "POST", "url": "/v1/embeddings", "body": asked(*text) });
    let lines: String = texts.iter().enumerate().map(line).map(|line| format!("{line}\n")).collect();
    let form = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\
         Content-Type: application/jsonl\r\n\r\n{lines}\r\n--edge--\r\n"
    );
    let request = agent().post(format!("{}/files", server.base_url()));
    let came = came(request.header("Content-Type", "multipart/form-data; boundary=edge").send(form)).unwrap();
    assert_eq!(came.json()["filename"], "in.jsonl");
    came.json()["id"].as_str().unwrap().to_owned()
}

fn create(server: &ApiServer, file: &str) -> Result<Came, String> {
    let body = json!({
        "input_file_id": file, "endpoint": "/v1/embeddings", "completion_window": "24h", "metadata": { "key": "a" },
    });
    post(server, "/batches", "key", &body)
}

/// The lines of a batch's file, as pairs of their own id and the rest.
fn lines(server: &ApiServer, file: &Value) -> Vec<(String, Value)> {
    let content = get(server, &format!("/files/{}/content", file.as_str().unwrap())).body;
    let lines = String::from_utf8(content).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["custom_id"].as_str().unwrap().to_owned(), line)).collect()
}

/// Runs these texts as a batch to its end.
fn batch(server: &ApiServer, texts: &[&str]) -> Value {
    let id = create(server, &upload(server, texts)).unwrap().json()["id"].as_str().unwrap().to_owned();
    get(server, &format!("/batches/{id}")).json()
}

fn scripted(batch: BatchScript) -> ApiServer {
    ApiServer::start(Script { batch, ..Script::default() })
}

#[test]
fn a_batch_is_done_after_its_polls_and_out_of_order() {
    let server = scripted(BatchScript { polls_until_done: 2, ..BatchScript::default() });
    let file = upload(&server, &["one", "two", "three"]);
    assert_eq!(get(&server, &format!("/files/{file}")).json()["purpose"], "batch");
    let created = create(&server, &file).unwrap().json();
    assert_eq!((&created["status"], &created["metadata"]["key"]), (&json!("validating"), &json!("a")));
    let polls: Vec<Value> = (0..4).map(|_| get(&server, "/batches/batch_0001").json()).collect();
    let statuses: Vec<_> = polls.iter().map(|poll| poll["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["in_progress", "finalizing", "completed", "completed"]);
    let answered = lines(&server, &polls[2]["output_file_id"]);
    assert_eq!(answered.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["row-2", "row-1", "row-0"]);
    let body = &answered[0].1["response"]["body"];
    assert_eq!(floats(&body["data"][0]["embedding"]), vector("three", 8));
    let seen = server.seen();
    assert_eq!((seen.files, seen.batches, seen.polls, seen.batch_tokens, seen.billed_tokens), (1, 1, 4, 3, 0));
    assert_eq!(seen.answers.values().copied().collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn batches_expire_fail_and_have_wrong_lines() {
    let texts = ["one", "two", "three", "four"];
    let server = scripted(BatchScript { expires_half_done: true, ..BatchScript::default() });
    let expired = batch(&server, &texts);
    assert_eq!(expired["status"], "expired");
    assert_eq!(expired["request_counts"], json!({ "total": 4, "completed": 2, "failed": 2 }));
    assert_eq!(lines(&server, &expired["output_file_id"]).len(), 2);
    let late = lines(&server, &expired["error_file_id"]);
    assert!(late.iter().all(|(_, line)| line["error"]["code"] == "batch_expired" && line["response"].is_null()));
    assert_eq!(batch(&server, &texts[2..])["status"], "completed");
    assert_eq!(server.seen().answers.values().copied().collect::<Vec<_>>(), [1, 1, 1, 1]);

    let server = scripted(BatchScript { fails_validation: true, ..BatchScript::default() });
    let failed = batch(&server, &texts);
    assert!(failed["status"] == "failed" && failed["errors"]["data"][0]["message"].is_string());
    assert_eq!(server.seen().batch_tokens, 0);

    let server = scripted(BatchScript { line_errors: 1, ..BatchScript::default() });
    let broken = batch(&server, &texts);
    let errors = lines(&server, &broken["error_file_id"]);
    assert_eq!((errors.len(), &errors[0].1["response"]["status_code"]), (1, &json!(500)));
    assert_eq!(batch(&server, &texts[..1])["error_file_id"], Value::Null);
    let empty = batch(&server, &["", "one"]);
    assert_eq!(lines(&server, &empty["error_file_id"])[0].1["response"]["status_code"], 400);
    assert_eq!(server.seen().bad_requests, 1);
    assert_eq!(batch(&server, &[])["errors"]["data"][0]["code"], "empty_file");
}

#[test]
fn batches_are_listed_cancelled_and_found_after_a_cut() {
    let first = vec![Some(Fault::Status(503))];
    let server = scripted(BatchScript { create_fails_after_creating: true, first, ..BatchScript::default() });
    assert_eq!(get(&server, "/batches").status, 503);
    let file = upload(&server, &["one"]);
    assert!(create(&server, &file).is_err());
    for _ in 0..2 {
        assert_eq!(create(&server, &file).unwrap().status, 200);
    }
    assert_eq!(server.seen().batches, 3);
    let page = |query: &str| {
        let list = get(&server, &format!("/batches?{query}")).json();
        let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|batch| batch["id"].to_string()).collect();
        (ids.join(" "), list["has_more"].as_bool().unwrap())
    };
    assert_eq!(page("limit=2"), (r#""batch_0003" "batch_0002""#.to_owned(), true));
    assert_eq!(page("limit=2&after=batch_0002"), (r#""batch_0001""#.to_owned(), false));

    let cancelled = post(&server, "/batches/batch_0003/cancel", "key", &json!({})).unwrap().json();
    assert_eq!(cancelled["status"], "cancelling");
    assert_eq!(get(&server, "/batches/batch_0003").json()["status"], "cancelled");
    assert_eq!(post(&server, "/batches/batch_0003/cancel", "key", &json!({})).unwrap().status, 409);
    assert_eq!((get(&server, "/batches/other").status, server.seen().batch_tokens), (404, 0));
    let wrong = post(&server, "/batches", "key", &json!({ "input_file_id": file, "endpoint": "/v1/other" }));
    assert_eq!((wrong.unwrap().status, server.seen().bad_requests), (400, 1));
}

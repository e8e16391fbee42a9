//! Files and batches: what is uploaded, created, asked for again and again, and done out of order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{ConnectInfo, Multipart, Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::asked::Refusal;
use super::wire::Cut;
use super::{Now, Shared, answer, bearer};

/// Lines, and inputs in all of them, that a batch may have.
const MAX_LINES: usize = 50_000;

/// All there are; they are never deleted.
#[derive(Default)]
pub struct Batches {
    files: BTreeMap<String, File>,
    /// In the order in which they were created.
    batches: Vec<Batch>,
    /// Requests about files and batches so far.
    requests: usize,
}

struct File {
    about: Value,
    bytes: Vec<u8>,
}

struct Batch {
    /// As it is answered.
    about: Value,
    lines: Vec<Value>,
    polls: u32,
    /// Whether the lines shall be done now.
    due: bool,
}

type Answered = Result<Json<Value>, Refusal>;

pub fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/files", post(upload))
        .route("/v1/files/{id}", get(file))
        .route("/v1/files/{id}/content", get(content))
        .route("/v1/batches", post(create).get(list))
        .route("/v1/batches/{id}", get(poll))
        .route("/v1/batches/{id}/cancel", post(cancel))
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared.clone())
}

/// Keys, and the faults of the script's batches.
async fn gate(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let number = {
        let mut now = shared.now();
        now.batches.requests += 1;
        now.batches.requests - 1
    };
    // Revocation counts requests to embed alone.
    if let Err(refusal) = shared.check_key(bearer(&headers), 0) {
        return refusal.into_response();
    }
    if let Some(Some(fault)) = shared.script.batch.first.get(number)
        && let Some(response) = answer::unprocessed(fault, &cut).await
    {
        return response;
    }
    next.run(request).await
}

async fn upload(State(shared): State<Arc<Shared>>, mut form: Multipart) -> Answered {
    let (mut purpose, mut file) = (String::new(), None);
    while let Some(field) = form.next_field().await.map_err(|error| Refusal::bad("file", error.to_string()))? {
        let (name, file_name) = (field.name().map(str::to_owned), field.file_name().map(str::to_owned));
        let bytes = field.bytes().await.map_err(|error| Refusal::bad("file", error.to_string()))?;
        match (name.as_deref(), file_name) {
            (Some("purpose"), _) => purpose = String::from_utf8_lossy(&bytes).into_owned(),
            (Some("file"), Some(file_name)) => file = Some((file_name, bytes.to_vec())),
            _ => {}
        }
    }
    if purpose != "batch" {
        return Err(Refusal::bad("purpose", format!("'{purpose}' is not one of ['batch'] - 'purpose'")));
    }
    let (name, bytes) = file.ok_or_else(|| Refusal::bad("file", "'file' is a required property, with a file name"))?;
    let mut now = shared.now();
    now.seen.files += 1;
    let id = now.batches.store(&name, "batch", bytes);
    Ok(Json(now.batches.files[&id].about.clone()))
}

async fn file(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    let now = shared.now();
    now.batches.files.get(&id).map(|file| Json(file.about.clone())).ok_or_else(|| unknown("File", &id))
}

async fn content(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Vec<u8>, Refusal> {
    let now = shared.now();
    now.batches.files.get(&id).map(|file| file.bytes.clone()).ok_or_else(|| unknown("File", &id))
}

async fn create(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Json(asked): Json<Value>,
) -> Answered {
    let mut now = shared.now();
    let about = now.create(&asked).inspect_err(|_| now.seen.bad_requests += 1)?;
    if shared.script.batch.create_fails_after_creating && now.batches.batches.len() == 1 {
        cut.cut();
    }
    Ok(Json(about))
}

async fn list(State(shared): State<Arc<Shared>>, Query(asked): Query<BTreeMap<String, String>>) -> Answered {
    let now = shared.now();
    let limit = asked.get("limit").map_or(Ok(20), |limit| limit.parse::<usize>());
    let limit = limit.ok().filter(|limit| (1..=100).contains(limit));
    let limit = limit.ok_or_else(|| Refusal::bad("limit", "limit is a number from 1 to 100"))?;
    let newest_first: Vec<_> = now.batches.batches.iter().rev().map(|batch| batch.about.clone()).collect();
    let start = match asked.get("after") {
        None => 0,
        Some(after) => {
            let at = newest_first.iter().position(|about| about["id"] == **after);
            at.ok_or_else(|| unknown("Batch", after))? + 1
        }
    };
    let shown: Vec<_> = newest_first[start..].iter().take(limit).collect();
    let has_more = start + shown.len() < newest_first.len();
    let id = |about: Option<&&Value>| about.map(|about| about["id"].clone());
    let ends = (id(shown.first()), id(shown.last()));
    Ok(Json(json!({ "object": "list", "data": shown, "first_id": ends.0, "last_id": ends.1, "has_more": has_more })))
}

async fn poll(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    let at = {
        let mut now = shared.now();
        now.seen.polls += 1;
        let at = now.batches.find(&id)?;
        now.batches.batches[at].poll(shared.script.batch.polls_until_done);
        at
    };
    // The lock is not held while all lines are done, or requests to embed would wait.
    shared.finish(at);
    Ok(Json(shared.now().batches.batches[at].about.clone()))
}

/// Stops a batch with no line done.
async fn cancel(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answered {
    let mut now = shared.now();
    let at = now.batches.find(&id)?;
    let about = &mut now.batches.batches[at].about;
    if !matches!(about["status"].as_str(), Some("validating" | "in_progress" | "finalizing")) {
        let message = format!("Cannot cancel a batch with status {}.", about["status"]);
        return Err(Refusal { status: 409, code: None, param: None, message });
    }
    about["status"] = "cancelling".into();
    Ok(Json(about.clone()))
}

impl Batches {
    fn store(&mut self, name: &str, purpose: &str, bytes: Vec<u8>) -> String {
        let id = format!("file-{:04}", self.files.len() + 1);
        let about = json!({
            "id": id, "object": "file", "bytes": bytes.len(), "created_at": seconds(), "filename": name,
            "purpose": purpose, "status": "processed",
        });
        self.files.insert(id.clone(), File { about, bytes });
        id
    }

    fn find(&self, id: &str) -> Result<usize, Refusal> {
        self.batches.iter().position(|batch| batch.about["id"] == *id).ok_or_else(|| unknown("Batch", id))
    }
}

impl Batch {
    /// Goes on by one poll.
    fn poll(&mut self, until_done: u32) {
        self.polls += 1;
        match self.about["status"].as_str() {
            Some("cancelling") => self.about["status"] = "cancelled".into(),
            Some("validating" | "in_progress" | "finalizing") => {
                self.due = self.polls == until_done + 1;
                let is_last = self.polls >= until_done && self.polls > 1;
                self.about["status"] = if is_last { "finalizing" } else { "in_progress" }.into();
            }
            _ => {}
        }
    }
}

impl Now {
    /// A new batch, whose lines are not looked at yet.
    fn create(&mut self, asked: &Value) -> Result<Value, Refusal> {
        if asked["endpoint"] != "/v1/embeddings" {
            return Err(Refusal::bad("endpoint", format!("{} is no endpoint for batches here", asked["endpoint"])));
        }
        if asked["completion_window"] != "24h" {
            return Err(Refusal::bad("completion_window", "completion_window is '24h'"));
        }
        check_metadata(&asked["metadata"])?;
        let input = asked["input_file_id"].as_str().unwrap_or_default();
        let file = self.batches.files.get(input).ok_or_else(|| unknown("File", input))?;
        let lines = file.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap_or_default()).collect();
        let about = json!({
            "id": format!("batch_{:04}", self.batches.batches.len() + 1), "object": "batch",
            "endpoint": "/v1/embeddings", "errors": null, "input_file_id": input, "completion_window": "24h",
            "status": "validating", "output_file_id": null, "error_file_id": null, "created_at": seconds(),
            "expires_at": seconds() + 24 * 3600, "completed_at": null, "failed_at": null, "expired_at": null,
            "request_counts": { "total": 0, "completed": 0, "failed": 0 }, "metadata": asked["metadata"],
        });
        self.seen.batches += 1;
        self.batches.batches.push(Batch { about: about.clone(), lines, polls: 0, due: false });
        Ok(about)
    }
}

impl Shared {
    /// Does all lines of a batch that is due.
    fn finish(&self, at: usize) {
        let lines = {
            let mut now = self.now();
            let batch = &mut now.batches.batches[at];
            if !std::mem::take(&mut batch.due) {
                return;
            }
            batch.lines.clone()
        };
        let faults = if self.script.batch.fails_validation { vec![told_to_fail()] } else { line_faults(&lines) };
        if !faults.is_empty() {
            let about = &mut self.now().batches.batches[at].about;
            about["errors"] = json!({ "object": "list", "data": faults });
            about["status"] = "failed".into();
            about["failed_at"] = seconds().into();
            return;
        }
        let expires = at == 0 && self.script.batch.expires_half_done;
        let in_time = if expires { lines.len() / 2 } else { lines.len() };
        let wrong = if at == 0 { self.script.batch.line_errors } else { 0 };
        let (mut right, mut errors) = (Vec::new(), Vec::new());
        for (number, line) in lines.iter().enumerate() {
            let answered = match number {
                late if late >= in_time => Err(expired()),
                number if number < wrong => Err(response(500, &told_to_break().body())),
                _ => self.line(&line["body"]),
            };
            match answered {
                Ok(answered) => right.push(output(number, line, answered)),
                Err(answered) => errors.push(output(number, line, answered)),
            }
        }
        self.now().close(at, if expires { "expired" } else { "completed" }, &right, &errors);
    }

    /// The answer to one line: right, or an error.
    fn line(&self, body: &Value) -> Result<Value, Value> {
        let asked = self.read(body).map_err(|refusal| response(refusal.status, &refusal.body()))?;
        let answered = answer::embeddings(&asked, &self.script, None);
        let mut now = self.now();
        now.seen.batch_tokens += asked.tokens;
        now.seen.answer(&asked.texts);
        Ok(response(200, &answered))
    }
}

impl Now {
    /// Writes the files of a batch, lines last to first: the API keeps no order either.
    fn close(&mut self, at: usize, status: &str, right: &[Value], errors: &[Value]) {
        let written = |lines: &[Value]| lines.iter().rev().map(|line| format!("{line}\n")).collect::<String>();
        for (lines, name, key) in [(right, "output.jsonl", "output_file_id"), (errors, "errors.jsonl", "error_file_id")]
        {
            if !lines.is_empty() {
                let id = self.batches.store(name, "batch_output", written(lines).into_bytes());
                self.batches.batches[at].about[key] = id.into();
            }
        }
        let about = &mut self.batches.batches[at].about;
        let total = right.len() + errors.len();
        about["status"] = status.into();
        about[format!("{status}_at")] = seconds().into();
        about["request_counts"] = json!({ "total": total, "completed": right.len(), "failed": errors.len() });
    }
}

/// A line of a file of answers; `answered` has `response` and `error`.
fn output(number: usize, line: &Value, mut answered: Value) -> Value {
    answered["id"] = format!("batch_req_{number:05}").into();
    answered["custom_id"] = line["custom_id"].clone();
    answered
}

fn response(status: u16, body: &Value) -> Value {
    json!({ "response": { "status_code": status, "request_id": "req_0001", "body": body }, "error": null })
}

fn expired() -> Value {
    let message = "This request could not be executed before the completion window expired.";
    json!({ "response": null, "error": { "code": "batch_expired", "message": message } })
}

fn told_to_break() -> Refusal {
    let message = "The server had an error while processing your request.".to_owned();
    Refusal { status: 500, code: None, param: None, message }
}

fn told_to_fail() -> Value {
    json!({ "code": "invalid_json_line", "message": "This line is not parseable as valid JSON.", "param": null, "line": 1 })
}

/// What is wrong with lines, as the API words it.
fn line_faults(lines: &[Value]) -> Vec<Value> {
    let fault = |code: &str, message: &str, line: Option<usize>| json!({ "code": code, "message": message, "param": null, "line": line });
    let inputs = |line: &Value| match &line["body"]["input"] {
        Value::Array(items) if !items.first().is_some_and(Value::is_number) => items.len(),
        _ => 1,
    };
    if lines.is_empty() {
        return vec![fault("empty_file", "The input file is empty.", None)];
    }
    if lines.len() > MAX_LINES || lines.iter().map(inputs).sum::<usize>() > MAX_LINES {
        return vec![fault("too_many_tasks", "The batch has more than 50000 requests or inputs.", None)];
    }
    let (mut faults, mut ids) = (Vec::new(), BTreeSet::new());
    for (at, line) in lines.iter().enumerate() {
        if line["method"] != "POST" || line["url"] != "/v1/embeddings" || !line["body"].is_object() {
            faults.push(fault("invalid_request", "This line is no request of the batch's endpoint.", Some(at + 1)));
        }
        if !line["custom_id"].as_str().is_some_and(|id| ids.insert(id)) {
            faults.push(fault(
                "duplicate_custom_id",
                "The custom_id of this line is missing or not its own.",
                Some(at + 1),
            ));
        }
    }
    faults
}

/// At most 16 pairs of texts, keys to 64 characters and values to 512.
fn check_metadata(metadata: &Value) -> Result<(), Refusal> {
    let fits = |(key, value): (&String, &Value)| {
        key.chars().count() <= 64 && value.as_str().is_some_and(|value| value.chars().count() <= 512)
    };
    match metadata {
        Value::Null => Ok(()),
        Value::Object(pairs) if pairs.len() <= 16 && pairs.iter().all(fits) => Ok(()),
        _ => Err(Refusal::bad("metadata", "metadata has at most 16 pairs of texts, of 64 and 512 characters")),
    }
}

fn unknown(what: &str, id: &str) -> Refusal {
    Refusal { status: 404, code: None, param: Some("id"), message: format!("No such {what} object: {id}") }
}

/// Since 1970.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

//! A server on this machine that takes what Qdrant and Weaviate take over REST, as their references describe it, and refuses the
//! rest: a point of another length, an id that is no UUID, a field of another type, a key that is not its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// The key that it asks for.
pub const KEY: &str = "the key of the server";

/// The running server; it stops when this is dropped.
pub struct VectorServer {
    address: SocketAddr,
    state: Arc<Mutex<Now>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What it holds, and what it is to do.
#[derive(Default)]
pub struct Now {
    /// Length of the vectors of each collection.
    dims: BTreeMap<String, usize>,
    /// Types of the properties of each Weaviate class.
    types: BTreeMap<String, BTreeMap<String, String>>,
    /// Points by collection and id: vector and properties.
    pub points: BTreeMap<(String, String), (Vec<f64>, Value)>,
    /// Points that were sent.
    pub sent: usize,
    /// Requests so far.
    pub requests: usize,
    /// Requests, by their numbers from 1, that fail with a status.
    pub faults: BTreeMap<usize, u16>,
    /// From this request on all fail.
    pub down_from: Option<usize>,
    /// Whether all is answered as a proxy's login page is.
    pub is_friendly: bool,
}

impl VectorServer {
    /// Starts on a free port.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(Now::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let routes = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&state));
        let serve = move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, routes) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        };
        Self { address, state, stop: Some(stop), thread: Some(thread::spawn(serve)) }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds.
    pub fn now(&self) -> MutexGuard<'_, Now> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VectorServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

type Answer = (StatusCode, String);

async fn answer(
    State(state): State<Arc<Mutex<Now>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut now = state.lock().unwrap_or_else(PoisonError::into_inner);
    now.requests += 1;
    let number = now.requests;
    let fault = now.faults.get(&number).copied().or_else(|| (now.down_from? <= number).then_some(503));
    if let Some(status) = fault {
        return refuse(status, "it is told to");
    }
    if now.is_friendly {
        return (StatusCode::OK, "<html>please log in</html>".to_owned());
    }
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    if header("api-key") != KEY && header("authorization") != format!("Bearer {KEY}") {
        return refuse(401, "the key is not its own");
    }
    let body: Value = match (body.is_empty(), serde_json::from_slice(&body)) {
        (true, _) => Value::Null,
        (false, Ok(body)) => body,
        (false, Err(error)) => return refuse(400, &error.to_string()),
    };
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    match (method.as_str(), &path[..]) {
        (_, ["collections", rest @ ..]) => now.qdrant(&method, rest, &body),
        (_, ["v1", rest @ ..]) => now.weaviate(&method, rest, &body),
        _ => refuse(404, "no such path"),
    }
}

fn refuse(status: u16, why: &str) -> Answer {
    (StatusCode::from_u16(status).unwrap(), json!({ "status": { "error": why } }).to_string())
}

fn done(mut result: Value) -> Answer {
    // As Qdrant has it; Weaviate's lists have no room for it.
    if result.get("result").is_some() {
        result["status"] = json!("ok");
    }
    (StatusCode::OK, result.to_string())
}

fn is_uuid(id: &str) -> bool {
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

fn numbers(vector: &Value) -> Vec<f64> {
    vector.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

impl Now {
    fn qdrant(&mut self, method: &Method, path: &[&str], body: &Value) -> Answer {
        match (method.as_str(), path) {
            ("GET", [name]) => match self.dims.get(*name) {
                Some(dim) => done(
                    json!({ "result": { "config": { "params": { "vectors": { "size": dim, "distance": "Cosine" } } } } }),
                ),
                None => refuse(404, "Not found: Collection doesn't exist!"),
            },
            ("PUT", [name]) => match body.pointer("/vectors/size").and_then(Value::as_u64) {
                Some(dim) if body["vectors"]["distance"] == "Cosine" => {
                    self.dims.insert((*name).to_owned(), dim as usize);
                    done(json!({ "result": true }))
                }
                _ => refuse(400, "Format error in JSON body"),
            },
            ("PUT", [name, "points"]) => {
                let Some(dim) = self.dims.get(*name).copied() else { return refuse(404, "no collection") };
                let points = body["points"].as_array().cloned().unwrap_or_default();
                for point in &points {
                    let (id, vector) = (point["id"].as_str().unwrap_or_default(), numbers(&point["vector"]));
                    if !is_uuid(id) || vector.len() != dim {
                        return refuse(400, "Wrong input: a point");
                    }
                }
                self.sent += points.len();
                for point in points {
                    let id = point["id"].as_str().unwrap().to_owned();
                    self.points.insert(((*name).to_owned(), id), (numbers(&point["vector"]), point["payload"].clone()));
                }
                done(json!({ "result": { "status": "completed" } }))
            }
            ("POST", [name, "points", "delete"]) => {
                let filter = |kind: &str, key: &str| {
                    let condition = &body["filter"][kind][0];
                    (condition["key"] == key).then(|| condition["match"]["value"].clone())
                };
                let (Some(dataset), Some(set)) = (filter("must", "dataset"), filter("must_not", "set")) else {
                    return refuse(400, "a filter that it does not know");
                };
                self.points.retain(|(of, _), (_, it)| of != name || it["dataset"] != dataset || it["set"] == set);
                done(json!({ "result": { "status": "completed" } }))
            }
            _ => refuse(404, "no such path"),
        }
    }

    fn weaviate(&mut self, method: &Method, path: &[&str], body: &Value) -> Answer {
        match (method.as_str(), path) {
            ("GET", ["schema", name]) => match self.types.get(*name) {
                Some(_) => done(json!({ "class": name })),
                None => refuse(404, ""),
            },
            ("POST", ["schema"]) => {
                let properties = body["properties"].as_array().cloned().unwrap_or_default();
                let of = |it: &Value| {
                    (it["name"].as_str().unwrap().to_owned(), it["dataType"][0].as_str().unwrap().to_owned())
                };
                self.types.insert(body["class"].as_str().unwrap().to_owned(), properties.iter().map(of).collect());
                done(body.clone())
            }
            ("POST", ["batch", "objects"]) => {
                let objects = body["objects"].as_array().cloned().unwrap_or_default();
                let told = objects.iter().map(|object| self.object(object));
                let told: Vec<Value> = told.collect();
                done(json!(told))
            }
            ("DELETE", ["batch", "objects"]) => {
                let operands = &body["match"]["where"]["operands"];
                if operands[0]["operator"] != "Equal" || operands[1]["operator"] != "NotEqual" {
                    return refuse(422, "a filter that it does not know");
                }
                let (dataset, set) = (&operands[0]["valueText"], &operands[1]["valueText"]);
                let name = body["match"]["class"].as_str().unwrap();
                let is_other = |of: &str, it: &Value| of == name && it["dataset"] == *dataset && it["set"] != *set;
                let matching: Vec<(String, String)> = self
                    .points
                    .iter()
                    .filter(|((of, _), (_, it))| is_other(of, it))
                    .map(|(key, _)| key.clone())
                    .collect();
                // As the real one, which removes so many at most.
                let removed: Vec<_> = matching.iter().take(2).collect();
                removed.iter().for_each(|key| drop(self.points.remove(*key)));
                done(json!({ "results": { "matches": matching.len(), "successful": removed.len(), "failed": 0 } }))
            }
            _ => refuse(404, "no such path"),
        }
    }

    fn object(&mut self, object: &Value) -> Value {
        let name = object["class"].as_str().unwrap_or_default().to_owned();
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        let Some(types) = self.types.get(&name).filter(|_| is_uuid(&id)) else {
            return json!({ "result": { "errors": { "error": [{ "message": "no such class, or a bad id" }] } } });
        };
        for (property, value) in object["properties"].as_object().into_iter().flatten() {
            let fits = match types.get(property).map(String::as_str) {
                Some("text") => value.is_string(),
                Some("text[]") => value.is_array(),
                _ => false,
            };
            if !fits {
                let message = format!("invalid property {property}");
                return json!({ "result": { "errors": { "error": [{ "message": message }] } } });
            }
        }
        self.sent += 1;
        self.points.insert((name, id), (numbers(&object["vector"]), object["properties"].clone()));
        json!({ "result": { "status": "SUCCESS" } })
    }
}

//! A server on this machine that speaks the API of OpenAI for embeddings and batches, and misbehaves by a script. It
//! counts what a real one would bill, and which inputs it answered, so that a test can ask whether each was paid once.
//!
//! A request to embed is seen in this order: its key (401), its form and limits (400), the limits by the minute (429),
//! then the outcome that the script has for the number of those that came so far.

mod answer;
mod asked;
mod batches;
mod limits;
mod script;
mod seen;
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub use answer::vector;
use asked::{Asked, Refusal};
pub use asked::{count_tokens, tokens};
use limits::Limits;
pub use script::{BatchScript, Fault, RetryAfter, Script};
pub use seen::Seen;
use wire::{Cut, Listener};

/// The running server; it stops when this is dropped.
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the handlers share.
struct Shared {
    script: Script,
    state: Mutex<Now>,
}

/// What changes from request to request.
struct Now {
    seen: Seen,
    limits: Limits,
    /// Requests that came as far as an outcome.
    outcomes: usize,
    /// Requests at this moment.
    running: u64,
    batches: batches::Batches,
}

impl ApiServer {
    /// Starts on a free port.
    pub fn start(script: Script) -> Self {
        let state = Now {
            seen: Seen::default(),
            limits: Limits::new(&script),
            outcomes: 0,
            running: 0,
            batches: batches::Batches::default(),
        };
        let shared = Arc::new(Shared { script, state: Mutex::new(state) });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let routes = routes(&shared).into_make_service_with_connect_info::<Cut>();
        let serve = move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = Listener(TcpListener::from_std(listener).unwrap());
                tokio::select! {
                    served = axum::serve(listener, routes) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        };
        Self { address, shared, stop: Some(stop), thread: Some(thread::spawn(serve)) }
    }

    /// The endpoint, as a person would write it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.now().seen.clone()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embed))
        .with_state(shared.clone())
        .merge(batches::routes(shared))
        .layer(DefaultBodyLimit::disable())
}

impl Shared {
    /// A handler that panicked has said so already; the test shall see the rest.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this key may, after so many requests with it.
    fn check_key(&self, key: &str, requests: u64) -> Result<(), Refusal> {
        let known = self.script.keys.as_ref().is_none_or(|keys| keys.iter().any(|known| known == key));
        let revoked = self.script.revoked.get(key).is_some_and(|allowed| requests > *allowed);
        if known && !revoked {
            return Ok(());
        }
        let message = "Incorrect API key provided.".to_owned();
        Err(Refusal { status: 401, code: Some("invalid_api_key"), param: None, message })
    }

    /// What was asked, if it may be.
    fn read(&self, body: &Value) -> Result<Asked, Refusal> {
        let asked = Asked::read(body, &self.script).inspect_err(|refusal| {
            // A server that knows no base64 is not the client's fault.
            let negotiates = refusal.param == Some("encoding_format") && !self.script.supports_base64;
            self.now().seen.bad_requests += u64::from(!negotiates);
        })?;
        let poison = self.script.poison.as_deref();
        if poison.is_some_and(|poison| asked.texts.iter().any(|text| text.contains(poison))) {
            self.now().seen.poisoned += 1;
            return Err(Refusal::bad("input", "The request could not be processed."));
        }
        Ok(asked)
    }
}

/// Counts a request as running, for as long as it is not answered or given up.
struct Running<'a>(&'a Shared);

impl<'a> Running<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut now = shared.now();
        now.running += 1;
        now.seen.max_concurrent = now.seen.max_concurrent.max(now.running);
        Self(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.now().running -= 1;
    }
}

/// The bearer token, or nothing.
fn bearer(headers: &HeaderMap) -> &str {
    let sent = headers.get(header::AUTHORIZATION).and_then(|sent| sent.to_str().ok());
    sent.and_then(|sent| sent.strip_prefix("Bearer ")).unwrap_or_default()
}

async fn embed(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let _running = Running::new(&shared);
    let response = outcome(&shared, &cut, bearer(&headers), &body).await.unwrap_or_else(Refusal::into_response);
    if !cut.is_cut() {
        *shared.now().seen.by_status.entry(response.status().as_u16()).or_default() += 1;
    }
    response
}

async fn outcome(shared: &Shared, cut: &Cut, key: &str, body: &[u8]) -> Result<Response, Refusal> {
    let read = serde_json::from_slice(body);
    let body: Value = read.as_ref().cloned().unwrap_or_default();
    let requests = {
        let mut now = shared.now();
        now.seen.request(key, &body);
        now.seen.by_key[key]
    };
    shared.check_key(key, requests)?;
    let asked = shared.read(&body)?;
    let (taken, told) = shared.now().limits.take(asked.tokens);
    if let Err(wait) = taken {
        return Ok(limited(wait, told));
    }
    let number = {
        let mut now = shared.now();
        now.outcomes += 1;
        now.outcomes - 1
    };
    let fault = shared.script.outcome(number);
    let fault = fault.as_ref();
    if let Some(fault) = fault
        && let Some(response) = answer::unprocessed(fault, cut).await
    {
        return Ok(response);
    }
    let mut response = process(shared, &asked, fault).await;
    response.headers_mut().extend(told);
    Ok(response)
}

/// Bills and answers. Who hangs up before the answer has paid for it.
async fn process(shared: &Shared, asked: &Asked, fault: Option<&Fault>) -> Response {
    shared.now().seen.bill(asked.tokens * shared.script.billed_for_one);
    let slow = if let Some(Fault::Slow(slow)) = fault { *slow } else { Default::default() };
    tokio::time::sleep(shared.script.latency + slow).await;
    let body = answer::embeddings(asked, &shared.script, fault);
    if answer::is_right(fault) {
        let mut now = shared.now();
        now.seen.answered += 1;
        now.seen.answer(&asked.texts);
    }
    answer::processed(fault, &body)
}

/// The answer to what is beyond the limits by the minute.
fn limited(wait: std::time::Duration, told: HeaderMap) -> Response {
    let message = format!("Rate limit reached. Please try again in {}.", limits::written(wait));
    let refusal = Refusal { status: 429, code: Some("rate_limit_exceeded"), param: None, message };
    let mut response = refusal.into_response();
    let (seconds, millis) = (wait.as_secs_f64().ceil() as u64, (wait.as_secs_f64() * 1000.0).ceil() as u64);
    response.headers_mut().extend(told);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response.headers_mut().insert("retry-after-ms", HeaderValue::from(millis));
    response
}

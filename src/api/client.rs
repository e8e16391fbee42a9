//! One try: a request to the server, and what became of it.
//!
//! async-openai makes requests and reads answers; what goes over the wire is done here, in the service beneath it, since
//! only that sees a status and headers. It is asked once a try, with no retries of its own, follows no redirect, and reads no more
//! of an answer than an answer can have. What async-openai's errors hold of bodies is dropped: it may be long, and hold
//! keys.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::Client as OpenAi;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use async_openai::traits::RequestOptionsBuilder;
use async_openai::types::InputSource;
use async_openai::types::files::{CreateFileRequest, FileInput, FilePurpose};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::limits::Limits;
use super::secret::{Secret, told};
use super::{ApiError, Settings, host};

/// Bytes of a component, written out in JSON, at most; and of what surrounds a vector.
const COMPONENT_BYTES: usize = 32;
const SURROUNDING_BYTES: usize = 4096;
/// Bytes that are read of an answer that is none.
const REFUSAL_BYTES: usize = 1 << 16;
/// Bytes of an answer that are kept, to say what it was if it cannot be read.
const SHOWN_BYTES: usize = 2048;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);

/// Why a try gave nothing.
#[derive(Debug)]
pub enum Failure {
    /// The server wants to be asked later; nothing was billed.
    Patience {
        /// In words.
        why: String,
    },
    /// It may pass: the same request may be answered.
    Passing {
        /// In words.
        why: String,
        /// Whether the server may have worked on it, and billed it.
        may_be_billed: bool,
        /// Whether it took too long.
        slow: bool,
    },
    /// It was answered, and billed, with what is no answer.
    Wrong {
        /// In words.
        why: String,
    },
    /// Something in this request is refused; nothing was billed.
    Refused {
        /// The status.
        status: u16,
        /// What the server says.
        told: String,
    },
    /// This key is refused; nothing was billed.
    Key {
        /// What the server says.
        why: String,
    },
    /// No other try will succeed; nothing was billed.
    Final(ApiError),
}

/// Asks one server.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    keys: Vec<Secret>,
}

/// The name under which a batch is marked.
const MARK: &str = "sciembed";
/// Bytes of a list of batches, at most.
const LISTING_BYTES: usize = 16 << 20;

/// Something that has an id.
#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

/// How a batch is, of what a server says of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling` or `cancelled`.
    pub status: String,
    /// The file of answers.
    #[serde(default)]
    pub output_file_id: Option<String>,
    /// The file of what failed.
    #[serde(default)]
    pub error_file_id: Option<String>,
    #[serde(default)]
    errors: Option<Value>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

impl Batch {
    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "expired" | "cancelled")
    }

    /// Why it failed, where the server says so.
    pub fn fault(&self) -> Option<String> {
        self.errors.as_ref()?["data"][0]["message"].as_str().map(str::to_owned)
    }
}

#[derive(Debug, Deserialize)]
struct BatchList {
    data: Vec<Batch>,
}

/// What a try was told beside its answer.
#[derive(Clone, Debug, Default)]
struct Heard {
    status: Option<StatusCode>,
    headers: HeaderMap,
    /// The body of what is no answer.
    refusal: String,
    /// What kept an answer from coming, and whether the request had been sent by then.
    broken: Option<(String, bool, bool)>,
}

impl Client {
    /// Starts an HTTP client, which asks through `proxy` if there is one.
    ///
    /// # Errors
    /// A system without certificates.
    pub fn start(settings: &Settings, keys: &[Secret], proxy: Option<&str>) -> Result<Self, ApiError> {
        // Who installed one before installed the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |error: reqwest::Error| ApiError::Client { reason: chain(&error) };
        // What is not said here reqwest would read from the environment.
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(proxy) = proxy {
            builder = builder.proxy(reqwest::Proxy::https(proxy).map_err(failed)?);
        }
        let http = builder
            .user_agent(concat!("sciembed/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT.min(settings.timeout))
            .timeout(settings.timeout)
            .build()
            .map_err(failed)?;
        Ok(Self { http, base_url: settings.base_url.clone(), keys: keys.to_vec() })
    }

    /// Asks for the vectors of `texts` with the key of this number.
    pub async fn embed(&self, key: usize, body: &Value, bytes: usize) -> (Result<Answer, Failure>, Limits) {
        let heard = Arc::default();
        let client = self.client(key, bytes, &heard);
        let answer: Result<Answer, _> = client.embeddings().create_byot(body).await;
        self.judge(answer, &heard)
    }

    /// Uploads the lines of a batch; gives the file's id.
    pub async fn upload(&self, key: usize, lines: Vec<u8>) -> Result<String, Failure> {
        let heard = Arc::default();
        let file = CreateFileRequest {
            file: FileInput { source: InputSource::VecU8 { filename: "requests.jsonl".to_owned(), vec: lines } },
            purpose: FilePurpose::Batch,
            expires_after: None,
        };
        let uploaded: Result<Named, _> = self.client(key, REFUSAL_BYTES, &heard).files().create_byot(file).await;
        self.judge(uploaded, &heard).0.map(|file| file.id)
    }

    /// Creates a batch of an uploaded file, marked by `mark`.
    pub async fn create_batch(&self, key: usize, file: &str, mark: &str) -> Result<Batch, Failure> {
        let heard = Arc::default();
        let request = json!({
            "input_file_id": file,
            "endpoint": "/v1/embeddings",
            "completion_window": "24h",
            "metadata": { MARK: mark },
        });
        let created = self.client(key, REFUSAL_BYTES, &heard).batches().create_byot(request).await;
        self.judge(created, &heard).0.and_then(sound)
    }

    /// How a batch is.
    pub async fn batch(&self, key: usize, id: &str) -> Result<Batch, Failure> {
        let heard = Arc::default();
        let batch = self.client(key, REFUSAL_BYTES, &heard).batches().retrieve_byot(id).await;
        self.judge(batch, &heard).0.and_then(sound)
    }

    /// The batch that is marked so, among the last hundred.
    pub async fn marked_batch(&self, key: usize, mark: &str) -> Result<Option<Batch>, Failure> {
        let heard = Arc::default();
        let client = self.client(key, LISTING_BYTES, &heard);
        let query = [("limit", "100")];
        let batches = client.batches();
        let list: Result<BatchList, _> = match batches.query(&query) {
            Ok(batches) => batches.list_byot().await,
            Err(error) => Err(error),
        };
        let list = self.judge(list, &heard).0?;
        let is_it = |batch: &Batch| batch.metadata.as_ref().and_then(|all| all.get(MARK)).is_some_and(|it| it == mark);
        Ok(list.data.into_iter().find(is_it))
    }

    /// The content of a file, of so many bytes at most.
    pub async fn content(&self, key: usize, file: &str, most_bytes: usize) -> Result<Vec<u8>, Failure> {
        let heard = Arc::default();
        let content = self.client(key, most_bytes, &heard).files().content(file).await;
        self.judge(content, &heard).0.map(|bytes| bytes.to_vec())
    }

    fn client(&self, key: usize, most_bytes: usize, heard: &Arc<Mutex<Heard>>) -> OpenAi<OpenAIConfig> {
        // All of them set: what is not is read from OPENAI_*.
        let key = self.keys.get(key).map_or("", Secret::expose);
        let config =
            OpenAIConfig::new().with_api_base(&self.base_url).with_api_key(key).with_org_id("").with_project_id("");
        let wire = Wire { http: self.http.clone(), has_key: !key.is_empty(), most_bytes, heard: Arc::clone(heard) };
        OpenAi::build(self.http.clone(), config).with_http_service(wire)
    }

    /// What an outcome means.
    fn judge<T>(&self, outcome: Result<T, OpenAIError>, heard: &Mutex<Heard>) -> (Result<T, Failure>, Limits) {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let limits = Limits::of(&heard.headers);
        let result = match (outcome, heard.status) {
            (_, None) => Err(self.broken(&heard)),
            (_, Some(status)) if !status.is_success() => Err(self.refused(status, &heard)),
            (_, Some(_)) if heard.broken.is_some() => Err(self.broken(&heard)),
            (Ok(answer), Some(_)) => Ok(answer),
            (Err(_), Some(_)) if is_html(&heard.headers) => {
                Err(Failure::Wrong { why: "it answers a web page".to_owned() })
            }
            (Err(_), Some(_)) => {
                let error = serde_json::from_str::<Value>(&heard.refusal).ok().filter(|body| !body["error"].is_null());
                let said =
                    error.map_or_else(String::new, |_| format!(": {}", told(&error_of(&heard.refusal).1, &self.keys)));
                Err(Failure::Wrong { why: format!("it answers what cannot be read{said}") })
            }
        };
        (result, limits)
    }

    /// What a server says, without keys, in one line of some length.
    pub fn told(&self, message: &str) -> String {
        told(message, &self.keys)
    }

    fn broken(&self, heard: &Heard) -> Failure {
        let (why, was_sent, slow) = heard.broken.clone().unwrap_or(("nothing was sent".to_owned(), false, false));
        Failure::Passing { why: told(&why, &self.keys), may_be_billed: was_sent, slow }
    }

    fn refused(&self, status: StatusCode, heard: &Heard) -> Failure {
        let (code, message) = error_of(&heard.refusal);
        let told = told(&message, &self.keys);
        let why = if told.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {told}") };
        match status.as_u16() {
            // OpenAI says so where an account has no credit: that does not pass.
            429 if code == "insufficient_quota" => Failure::Key { why },
            429 => Failure::Patience { why },
            503 => Failure::Passing { why, may_be_billed: false, slow: true },
            401 | 403 => Failure::Key { why },
            300..=399 => {
                let to = heard.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
                // Behind a host, and before it, a server may repeat the key.
                let to = reqwest::Url::parse(to).ok().and_then(|to| to.host_str().map(str::to_owned));
                let to = self.told(&to.unwrap_or_else(|| "another path".to_owned()));
                Failure::Final(ApiError::Redirect { host: host(&self.base_url).to_owned(), to })
            }
            408 | 425 | 500..=599 => Failure::Passing { why, may_be_billed: true, slow: false },
            status => Failure::Refused { status, told },
        }
    }
}

/// A batch whose id is one: it becomes part of addresses, notes and messages.
fn sound(batch: Batch) -> Result<Batch, Failure> {
    let is_id =
        |id: &str| id.len() <= 200 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let ids = [Some(&batch.id), batch.output_file_id.as_ref(), batch.error_file_id.as_ref()];
    let are_ids = ids.into_iter().flatten().all(|id| is_id(id));
    match are_ids {
        true => Ok(batch),
        false => Err(Failure::Wrong { why: "it answers a batch whose id is none".to_owned() }),
    }
}

/// The body of a request for vectors.
pub fn body(settings: &Settings, texts: &[&str], base64: bool) -> Value {
    let mut body: Map<String, Value> = settings.extra.clone();
    body.insert("model".to_owned(), json!(settings.model));
    body.insert("input".to_owned(), json!(texts));
    body.insert("encoding_format".to_owned(), json!(if base64 { "base64" } else { "float" }));
    if settings.dimensions {
        body.insert("dimensions".to_owned(), json!(settings.dim));
    }
    Value::Object(body)
}

/// The most bytes that an answer of so many vectors can have.
pub fn most_bytes(vectors: usize, dim: usize) -> usize {
    vectors.saturating_mul(dim.saturating_mul(COMPONENT_BYTES).saturating_add(SURROUNDING_BYTES)).max(REFUSAL_BYTES)
}

/// The code and the message of an error's body, as OpenAI writes it or as others do; nothing of a web page.
fn error_of(body: &str) -> (String, String) {
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        let is_page = body.trim_start().starts_with('<');
        return (String::new(), if is_page { "a web page".to_owned() } else { body.to_owned() });
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = if body["error"].is_object() { &body["error"] } else { &body };
    let message = ["message", "detail", "error"].into_iter().find_map(|name| text(&error[name]));
    (
        text(&error["code"]).or_else(|| text(&error["type"])).unwrap_or_default(),
        message.unwrap_or_else(|| body.to_string()),
    )
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("html"))
}

/// An error with what caused it, without the address, which the caller knows.
fn chain(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let last = causes.last().map(ToString::to_string);
    match (error.is_timeout(), error.is_connect(), last) {
        (true, ..) => "no answer came in time".to_owned(),
        (_, true, Some(cause)) => format!("no connection: {cause}"),
        (_, _, Some(cause)) => format!("the connection broke: {cause}"),
        (_, _, None) => "the connection broke".to_owned(),
    }
}

/// The service beneath async-openai: sends a request, notes what comes, and hands a whole answer on.
#[derive(Clone)]
struct Wire {
    http: reqwest::Client,
    has_key: bool,
    most_bytes: usize,
    heard: Arc<Mutex<Heard>>,
}

impl tower::Service<HttpRequestFactory> for Wire {
    type Response = Response;
    type Error = OpenAIError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, OpenAIError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move { wire.send(request).await })
    }
}

impl Wire {
    async fn send(self, request: HttpRequestFactory) -> Result<Response, OpenAIError> {
        let mut request = request.build().await?;
        if !self.has_key {
            request.headers_mut().remove(reqwest::header::AUTHORIZATION);
        }
        let response = match self.http.execute(request).await {
            Ok(response) => response,
            Err(error) => return Err(self.broke(&error, !error.is_connect())),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        self.note(|heard| (heard.status, heard.headers) = (Some(status), headers));
        let most = if status.is_success() { self.most_bytes } else { REFUSAL_BYTES };
        let body = self.read(response, most, status.is_success()).await?;
        if !status.is_success() {
            self.note(|heard| heard.refusal = String::from_utf8_lossy(&body).into_owned());
            return Err(OpenAIError::InvalidArgument(String::new()));
        }
        let head = &body[..body.len().min(SHOWN_BYTES)];
        self.note(|heard| heard.refusal = String::from_utf8_lossy(head).into_owned());
        Ok(ureq::http::Response::new(body).into())
    }

    /// Reads a body, to its end where it is an answer's; one that does not end is no answer.
    async fn read(&self, mut response: Response, most: usize, is_answer: bool) -> Result<Vec<u8>, OpenAIError> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= most => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                // Of a refusal what came tells enough.
                _ if !is_answer => return Ok(body),
                Ok(Some(_)) => {
                    let why = "it answers more bytes than the vectors can have".to_owned();
                    self.note(|heard| heard.broken = Some((why, true, false)));
                    return Err(OpenAIError::InvalidArgument(String::new()));
                }
                Err(error) => return Err(self.broke(&error, true)),
            }
        }
    }

    fn broke(&self, error: &reqwest::Error, was_sent: bool) -> OpenAIError {
        let broken = (chain(error), was_sent, error.is_timeout());
        self.note(|heard| heard.broken = Some(broken));
        OpenAIError::InvalidArgument(String::new())
    }

    fn note(&self, what: impl FnOnce(&mut Heard)) {
        what(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

//! The spans of a run sent to an OpenTelemetry collector, by OTLP over HTTP. Part of the feature `otlp` alone.
//!
//! A trace is a command; of an apply it has the run, its steps in it, and their batches in those. Spans leave from a thread
//! of their own, so that a collector which is slow, or away, slows nothing down; what did not arrive is told at the end.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;
use ureq::Agent;

use super::DoorError;
use super::print::remark;
use crate::store::durable;

/// Where a collector takes spans, below its address.
const PATH: &str = "/v1/traces";
/// How long the collector may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read: the protocol's are a few bytes.
const ANSWER_BYTES: u64 = 1 << 20;

/// Where spans go.
#[derive(clap::Args)]
pub struct OtlpArguments {
    /// Send spans of runs, steps and batches to the OpenTelemetry collector at URL, as in http://localhost:4318
    #[arg(
        long = "otlp",
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        global = true,
        hide_env_values = true
    )]
    endpoint: Option<String>,
}

/// Spans on their way.
pub struct Spans {
    provider: SdkTracerProvider,
    endpoint: String,
    lost: Arc<Mutex<Lost>>,
}

/// What did not arrive.
#[derive(Debug, Default)]
struct Lost {
    /// Requests.
    requests: u64,
    /// Why the last one did not.
    reason: String,
}

impl OtlpArguments {
    /// Begins to send, if that is asked for: gives the layer that takes the spans of this program.
    ///
    /// # Errors
    /// [`DoorError::Otlp`] if the address cannot be one.
    pub fn start<S>(&self) -> Result<Option<(impl Layer<S> + use<S>, Spans)>, DoorError>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let Some(endpoint) = self.endpoint.clone().filter(|endpoint| !endpoint.trim().is_empty()) else {
            return Ok(None);
        };
        let lost = Arc::new(Mutex::new(Lost::default()));
        let agent = Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector { agent, lost: Arc::clone(&lost) })
            .with_endpoint(traces_at(&endpoint))
            .build()
            .map_err(|error| DoorError::Otlp { endpoint: told(&endpoint), reason: error.to_string() })?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("sciembed"));
        let layer = layer.with_filter(Targets::new().with_target("sciembed", LevelFilter::DEBUG));
        Ok(Some((layer, Spans { provider, endpoint: told(&endpoint), lost })))
    }
}

/// An address that names the path already stays as it is.
fn traces_at(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.ends_with(PATH) { endpoint.to_owned() } else { format!("{endpoint}{PATH}") }
}

/// An address without the user and password that may stand in it.
fn told(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_at(endpoint.find("://").map_or(0, |at| at + 3));
    format!("{scheme}{}", rest.rsplit_once('@').map_or(rest, |(_, place)| place))
}

/// Who sends: what the usual variables say stands above what is said here.
fn resource() -> Resource {
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    let own = (!named).then(|| KeyValue::new("service.name", "sciembed"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder()
        .with_attributes(own.into_iter().chain([version, KeyValue::new("host.name", durable::host())]))
        .build()
}

impl Spans {
    /// Sends what is left, and tells what did not arrive.
    pub fn end(self) {
        // Why it failed was noted by the client.
        let ended = self.provider.shutdown();
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        match (ended, lost.requests) {
            (Ok(()), 0) => {}
            (Err(error), 0) => remark(format!("spans for {} did not all arrive: {error}", self.endpoint)),
            (_, requests) => remark(format!(
                "{requests} requests with spans did not arrive at {}: {}; the run itself lacks nothing",
                self.endpoint, lost.reason
            )),
        }
    }
}

/// Asks a collector to take spans.
#[derive(Debug)]
struct Collector {
    agent: Agent,
    lost: Arc<Mutex<Lost>>,
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.ask(request);
        let reason = match &answer {
            Ok(answer) if answer.status().is_success() => return Ok(answer.clone()),
            Ok(answer) => format!("it answered {}", answer.status()),
            Err(error) => error.to_string(),
        };
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        *lost = Lost { requests: lost.requests + 1, reason };
        Ok(answer?)
    }
}

impl Collector {
    fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(head, &body[..]))?;
        let (head, body) = answer.into_parts();
        let mut read = Vec::new();
        body.into_reader().take(ANSWER_BYTES).read_to_end(&mut read)?;
        Ok(Response::from_parts(head, read.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_with_its_path_or_without() {
        for endpoint in ["http://here:4318", "http://here:4318/", "http://here:4318/v1/traces"] {
            assert_eq!(traces_at(endpoint), "http://here:4318/v1/traces");
        }
    }

    #[test]
    fn no_password_is_told() {
        assert_eq!(told("https://me:secret@here/otlp"), "https://here/otlp");
        assert_eq!(told("http://here:4318"), "http://here:4318");
    }
}

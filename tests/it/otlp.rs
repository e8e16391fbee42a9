//! Spans sent to an OpenTelemetry collector: those of a real apply, read from the bytes of the protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::env::TestEnv;

/// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "7")]
    start_ns: u64,
    #[prost(fixed64, tag = "8")]
    end_ns: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

/// The values of attributes, as text.
fn values(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let shown = |value: &AnyValue| value.text.clone().or_else(|| value.number.map(|number| number.to_string()));
    attributes.iter().filter_map(|one| Some((one.key.as_str(), shown(one.value.as_ref()?)?))).collect()
}

/// A collector on a free port, for as long as the tests run: its address, and what it took.
fn collector() -> (String, Arc<Mutex<Vec<Request>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let into = Arc::clone(&taken);
    let take = async move |body: Bytes| into.lock().unwrap().push(Request::decode(body).unwrap());
    let routes = Router::new().route("/v1/traces", post(take));
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { axum::serve(TcpListener::from_std(listener).unwrap(), routes).await.unwrap() });
    });
    (url, taken)
}

#[test]
fn a_run_is_one_trace_of_its_steps_and_batches() {
    let env = TestEnv::of(30);
    let (url, taken) = collector();
    let told = env.applied(&["--otlp", &url]);
    let taken = taken.lock().unwrap();
    let resources: Vec<&ResourceSpans> = taken.iter().flat_map(|request| &request.resources).collect();
    assert_eq!(values(&resources[0].resource.as_ref().unwrap().attributes)["service.name"], "sciembed");
    let spans: Vec<&Span> = resources.iter().flat_map(|of| &of.scopes).flat_map(|scope| &scope.spans).collect();
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.id.as_slice(), *span)).collect();
    let named = |name: &str| spans.iter().copied().filter(|span| span.name == name).collect::<Vec<&Span>>();

    let [run] = named("run")[..] else { panic!("{spans:?}") };
    assert_eq!((values(&run.attributes)["workflow"].as_str(), run.parent.len()), ("tests", 0));
    let steps = named("step");
    let mut ran: Vec<String> = steps.iter().map(|step| values(&step.attributes)["step"].clone()).collect();
    let mut started = told.started();
    ran.sort();
    started.sort();
    assert_eq!(ran, started);
    assert!(steps.iter().all(|step| step.parent == run.id && step.trace == run.trace));
    let batches = named("batch");
    assert!(batches.iter().all(|batch| values(&by_id[&batch.parent[..]].attributes)["step"].starts_with("embed.")));
    let rows: usize = batches.iter().map(|batch| values(&batch.attributes)["rows"].parse::<usize>().unwrap()).sum();
    assert_eq!(rows, told.embedded_and_reused().0);
    for span in &spans {
        let around = by_id.get(&span.parent[..]).copied().unwrap_or(span);
        assert!(around.start_ns <= span.start_ns && span.end_ns >= span.start_ns, "{span:?}");
    }
}

#[test]
fn a_collector_that_is_away_costs_the_run_nothing() {
    let env = TestEnv::of(3);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let told = env.applied(&["--otlp", &url]);
    let line = format!("requests with spans did not arrive at {url}: ");
    assert!(told.err.contains(&line) && told.err.contains("the run itself lacks nothing"), "{}", told.err);
    let told = env.plan(&["--otlp", "collector"]);
    assert!(told.code == Some(1) && told.err.contains("sciembed::cli::otlp"), "{}", told.err);
}

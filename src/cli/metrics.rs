//! A run's metrics for others: at an address that Prometheus asks, and in a file that node_exporter picks up.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tiny_http::{Header, Request, Response, Server};

use super::DoorError;
use super::print::remark;
use crate::event::Event;
use crate::metrics::Metrics;

/// How often the file is written while a run goes on.
const FILE_EVERY: Duration = Duration::from_secs(15);
/// The form of the answer.
const CONTENT_TYPE: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8";

/// Where metrics go.
#[derive(clap::Args, Default)]
pub struct MetricsArguments {
    /// Tell Prometheus at http://ADDRESS/metrics how the run is going, as in 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    metrics_addr: Option<SocketAddr>,
    /// Write the same into a file, every 15 seconds and at the end, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
}

/// The metrics of this run, and who is told.
pub struct Told {
    metrics: Option<Arc<Mutex<Metrics>>>,
    file: Option<PathBuf>,
    written: Instant,
}

impl MetricsArguments {
    /// Begins to tell.
    ///
    /// # Errors
    /// [`DoorError::Metrics`] if the address is taken.
    pub fn start(&self) -> Result<Told, DoorError> {
        let wanted = self.metrics_addr.is_some() || self.metrics_file.is_some();
        let metrics = wanted.then(|| Metrics::new().ok()).flatten().map(|metrics| Arc::new(Mutex::new(metrics)));
        if let (Some(address), Some(metrics)) = (self.metrics_addr, &metrics) {
            let failed = |reason: String| DoorError::Metrics { address, reason };
            let server = Server::http(address).map_err(|error| failed(error.to_string()))?;
            remark(format!("metrics at http://{}/metrics", server.server_addr()));
            let metrics = Arc::clone(metrics);
            // It ends with the process: a scrape that comes late finds nobody, as it should.
            thread::spawn(move || server.incoming_requests().for_each(|request| answer(&metrics, request)));
        }
        Ok(Told { metrics, file: self.metrics_file.clone(), written: Instant::now() })
    }
}

/// Answers a request; who has gone away misses nothing.
fn answer(metrics: &Mutex<Metrics>, request: Request) {
    let _ = match request.url() {
        "/metrics" | "/" => {
            let text = metrics.lock().unwrap_or_else(PoisonError::into_inner).text().unwrap_or_default();
            let response = Response::from_string(text);
            let kind: Result<Header, ()> = CONTENT_TYPE.parse();
            request.respond(kind.into_iter().fold(response, Response::with_header))
        }
        _ => request.respond(Response::from_string("metrics are at /metrics\n").with_status_code(404)),
    };
}

impl Told {
    /// Takes an event in.
    pub fn add(&mut self, event: &Event) {
        let Some(metrics) = &self.metrics else { return };
        metrics.lock().unwrap_or_else(PoisonError::into_inner).add(event);
        if self.written.elapsed() >= FILE_EVERY {
            self.write();
        }
    }

    /// Writes the file, if there is one. That it cannot be written takes nothing from the run, so it is told and no more.
    pub fn write(&mut self) {
        self.written = Instant::now();
        let (Some(file), Some(metrics)) = (&self.file, &self.metrics) else { return };
        let text = metrics.lock().unwrap_or_else(PoisonError::into_inner).text().unwrap_or_default();
        if let Err(error) = replace(file, &text) {
            remark(format!("the metrics were not written to {}: {error}", file.display()));
        }
    }
}

/// Whoever reads the file finds it whole.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let beside = file.with_extension("prom.partial");
    fs::write(&beside, text)?;
    fs::rename(&beside, file)
}

//! A run's metrics for others: at an address that Prometheus asks, and in a file that node_exporter picks up.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::DoorError;
use super::print::remark;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::store::durable;

/// How often the file is written while a run goes on.
const FILE_EVERY: Duration = Duration::from_secs(15);
/// Clients that are answered at once; Prometheus is one.
const MOST_CLIENTS: usize = 32;
/// Longest head of a request.
const HEAD_BYTES: usize = 8192;
/// How long a client may take to ask, and to read.
const PATIENCE: Duration = Duration::from_secs(5);
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
            let listener = TcpListener::bind(address).map_err(|error| failed(error.to_string()))?;
            let bound = listener.local_addr().map_err(|error| failed(error.to_string()))?;
            remark(format!("metrics at http://{bound}/metrics"));
            let metrics = Arc::clone(metrics);
            // It ends with the process: a scrape that comes late finds nobody, as it should.
            thread::spawn(move || serve(&listener, &metrics));
        }
        Ok(Told { metrics, file: self.metrics_file.clone(), written: Instant::now() })
    }
}

/// Listens; each client is answered by a thread of its own, so that one that reads nothing keeps no other waiting.
fn serve(listener: &TcpListener, metrics: &Arc<Mutex<Metrics>>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.fetch_add(1, Ordering::Relaxed) >= MOST_CLIENTS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (metrics, open) = (Arc::clone(metrics), Arc::clone(&open));
        thread::spawn(move || {
            // Who has gone away misses nothing.
            let _ = answer(stream, &metrics);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Answers one request, and hangs up. Of a request its first line counts; a body is not read.
fn answer(mut stream: TcpStream, metrics: &Mutex<Metrics>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES {
        let mut piece = [0; 1024];
        match stream.read(&mut piece)? {
            0 => break,
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    let line = String::from_utf8_lossy(&head);
    let mut words = line.lines().next().unwrap_or_default().split(' ');
    let (status, text) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics" | "/")) => {
            ("200 OK", metrics.lock().unwrap_or_else(PoisonError::into_inner).text().unwrap_or_default())
        }
        (Some("GET"), Some(_)) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "metrics are asked for by GET\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{CONTENT_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
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
    // Where a link leads is where it is to be; a pipe or a device takes what it is given.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if fs::metadata(&file).is_ok_and(|it| !it.is_file() && !it.is_dir()) {
        return fs::write(&file, text);
    }
    let beside = file.with_file_name(format!(".{}", durable::unique_name()));
    fs::write(&beside, text)?;
    fs::rename(&beside, &file).inspect_err(|_| drop(fs::remove_file(&beside)))
}

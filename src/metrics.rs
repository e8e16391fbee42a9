//! What a run has done so far, as counters in the form that Prometheus reads: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! | metric | what |
//! |---|---|
//! | `processed_records_total` | rows that steps have put out: of embed steps as they come, of others when they end |
//! | `tokens_total` | tokens that models have read |
//! | `seconds_per_batch` | how long an embedder took for a batch of texts |
//! | `sciembed_reused_records_total`, `sciembed_rejected_records_total` | rows that stood already, and that were set aside |
//! | `sciembed_requests_total`, `sciembed_failed_requests_total`, `sciembed_cost_usd_total` | what APIs were asked and paid |
//! | `sciembed_steps_total` | steps that ended, by how |
//! | `sciembed_steps_running`, `sciembed_steps_waiting` | steps at work, and steps that an apply will get to |
//! | `sciembed_progress_ratio` | how far a step is |
//! | `sciembed_run_info`, `sciembed_run_started_seconds`, `sciembed_memory_bytes` | the run, and what this process holds in memory |
//!
//! A listener to events, as the summary is, so the counters end where the summary does. Metrics carry the node, not each year's
//! step: what Prometheus keeps must not grow with the matrix.

use std::collections::BTreeMap;
use std::fs;

use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::event::{Detail, Event, Unit};
use crate::graph::StepId;

/// Seconds of a batch that are told apart: an embedder takes from milliseconds on a GPU to a minute behind an API.
const BATCH_SECONDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The counters of a run.
pub struct Metrics {
    registry: Registry,
    processed: IntCounterVec,
    tokens: IntCounterVec,
    batches: HistogramVec,
    reused: IntCounterVec,
    rejected: IntCounterVec,
    requests: IntCounterVec,
    failed_requests: IntCounterVec,
    cost: CounterVec,
    steps: IntCounterVec,
    running: IntGauge,
    waiting: IntGauge,
    progress: GaugeVec,
    info: IntGaugeVec,
    started: Gauge,
    memory: IntGauge,
    /// Rows of embed steps that were counted as they came.
    counted: BTreeMap<StepId, u64>,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// Never in fact: names are constants, and each is registered once.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["kind", "node"])?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let processed = counter("processed_records_total", "Rows that steps have put out")?;
        let tokens = counter("tokens_total", "Tokens that models have read")?;
        let reused = counter("sciembed_reused_records_total", "Rows whose vectors stood already")?;
        let rejected = counter("sciembed_rejected_records_total", "Rows that were set aside")?;
        let requests = counter("sciembed_requests_total", "Requests to embeddings APIs")?;
        let failed_requests = counter("sciembed_failed_requests_total", "Requests that brought no right answer")?;
        let running = gauge("sciembed_steps_running", "Steps at work")?;
        let waiting = gauge("sciembed_steps_waiting", "Steps that this apply may get to")?;
        let memory = gauge("sciembed_memory_bytes", "Memory that this process holds")?;
        let batches = HistogramVec::new(
            HistogramOpts::new("seconds_per_batch", "Seconds that an embedder took for a batch of texts")
                .buckets(BATCH_SECONDS.to_vec()),
            &["kind", "node"],
        )?;
        let cost =
            CounterVec::new(Opts::new("sciembed_cost_usd_total", "Dollars that APIs were paid"), &["kind", "node"])?;
        let steps =
            IntCounterVec::new(Opts::new("sciembed_steps_total", "Steps that ended, by how"), &["kind", "outcome"])?;
        let progress =
            GaugeVec::new(Opts::new("sciembed_progress_ratio", "How far a running step is, 0 to 1"), &["step"])?;
        let info = IntGaugeVec::new(Opts::new("sciembed_run_info", "The run"), &["run", "workflow", "version"])?;
        let started = Gauge::new("sciembed_run_started_seconds", "When the run began, seconds since 1970-01-01 UTC")?;
        registry.register(Box::new(batches.clone()))?;
        registry.register(Box::new(cost.clone()))?;
        registry.register(Box::new(steps.clone()))?;
        registry.register(Box::new(progress.clone()))?;
        registry.register(Box::new(info.clone()))?;
        registry.register(Box::new(started.clone()))?;
        Ok(Self {
            registry,
            processed,
            tokens,
            batches,
            reused,
            rejected,
            requests,
            failed_requests,
            cost,
            steps,
            running,
            waiting,
            progress,
            info,
            started,
            memory,
            counted: BTreeMap::new(),
        })
    }

    /// Takes an event in.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run, workflow, version, at, steps, .. } => {
                self.waiting.set(i64::try_from(*steps).unwrap_or(i64::MAX));
                self.info.with_label_values(&[run.as_str(), workflow, version]).set(1);
                self.started.set(*at as f64);
            }
            Event::StepStarted { .. } => {
                self.running.inc();
                self.waiting.dec();
            }
            Event::StepProgress { step, done, total, unit } => self.progressed(step, *done, *total, *unit),
            Event::StepDetail { step, detail } => self.detail(step, detail),
            Event::StepFinished { step, counts, run_counts, .. } => {
                self.ended(step, "done");
                let count = |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or(0);
                let rows = count(counts, "rows");
                let counted = self.counted.remove(step).unwrap_or(0);
                of(&self.processed, step).inc_by(rows.saturating_sub(counted));
                of(&self.rejected, step).inc_by(count(counts, "rejected"));
                of(&self.reused, step).inc_by(count(run_counts, "reused"));
            }
            Event::StepFailed { step, .. } => self.ended(step, "failed"),
            Event::StepNote { .. } | Event::RunInterrupted | Event::RunFinished { .. } => {}
        }
    }

    fn ended(&self, step: &StepId, how: &str) {
        self.running.dec();
        self.steps.with_label_values(&[step.kind.section(), how]).inc();
        // What is over is not shown any more.
        let _ = self.progress.remove_label_values(&[step.to_string().as_str()]);
    }

    fn progressed(&mut self, step: &StepId, done: u64, total: Option<u64>, unit: Unit) {
        if let Some(total) = total.filter(|total| *total > 0) {
            self.progress.with_label_values(&[step.to_string().as_str()]).set(done as f64 / total as f64);
        }
        if unit == Unit::Rows && step.kind == crate::graph::NodeKind::Embed {
            let counted = self.counted.entry(step.clone()).or_default();
            of(&self.processed, step).inc_by(done.saturating_sub(*counted));
            *counted = done.max(*counted);
        }
    }

    fn detail(&self, step: &StepId, detail: &Detail) {
        match detail {
            Detail::Batch { tokens, seconds, .. } => {
                of(&self.tokens, step).inc_by(*tokens);
                self.batches.with_label_values(&labels(step)).observe(*seconds);
            }
            Detail::Asked { requests, failed, micro_usd, .. } => {
                of(&self.requests, step).inc_by(*requests);
                of(&self.failed_requests, step).inc_by(*failed);
                self.cost.with_label_values(&labels(step)).inc_by(*micro_usd as f64 / 1e6);
            }
            // Counted when batch or step have ended, as the summary does.
            Detail::Read { .. } | Detail::Reused { .. } | Detail::Rejected { .. } => {}
            Detail::Sealed { .. } | Detail::Failed { .. } | Detail::Removed { .. } => {}
        }
    }

    /// All of it as text.
    ///
    /// # Errors
    /// Never in fact: memory takes what is written.
    pub fn text(&self) -> prometheus::Result<String> {
        self.memory.set(i64::try_from(memory()).unwrap_or(i64::MAX));
        let mut bytes = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn labels(step: &StepId) -> [&str; 2] {
    [step.kind.section(), &step.node]
}

fn of(counters: &IntCounterVec, step: &StepId) -> prometheus::IntCounter {
    counters.with_label_values(&labels(step))
}

/// Bytes of memory that this process holds, files that it maps included; 0 where the system does not tell.
fn memory() -> u64 {
    let told = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = told.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::NodeKind;

    fn step(kind: NodeKind) -> StepId {
        StepId { kind, node: "n".to_owned(), cells: BTreeMap::from([("year".to_owned(), "2010".to_owned())]) }
    }

    /// Rows that were told as they came are not counted again when their step ends, and each line has its type and help.
    #[test]
    fn rows_are_counted_once() {
        let mut metrics = Metrics::new().unwrap();
        let embed = step(NodeKind::Embed);
        for done in [3, 7, 7] {
            metrics.add(&Event::StepProgress { step: embed.clone(), done, total: Some(10), unit: Unit::Rows });
        }
        let detail = Detail::Batch { rows: 7, tokens: 70, seconds: 0.2 };
        metrics.add(&Event::StepDetail { step: embed.clone(), detail });
        let told = metrics.text().unwrap();
        assert!(told.contains("processed_records_total{kind=\"embed\",node=\"n\"} 7\n"), "{told}");
        assert!(told.contains("sciembed_progress_ratio{step=\"embed.n[2010]\"} 0.7\n"), "{told}");
        metrics.add(&Event::StepFinished {
            step: embed,
            key: None,
            fingerprint: None,
            counts: BTreeMap::from([("rows".to_owned(), 10), ("rejected".to_owned(), 1)]),
            run_counts: BTreeMap::from([("reused".to_owned(), 4)]),
            pace: None,
            seconds: 1.0,
        });
        let told = metrics.text().unwrap();
        for line in [
            "processed_records_total{kind=\"embed\",node=\"n\"} 10",
            "sciembed_reused_records_total{kind=\"embed\",node=\"n\"} 4",
            "sciembed_rejected_records_total{kind=\"embed\",node=\"n\"} 1",
            "tokens_total{kind=\"embed\",node=\"n\"} 70",
            "seconds_per_batch_count{kind=\"embed\",node=\"n\"} 1",
            "sciembed_steps_total{kind=\"embed\",outcome=\"done\"} 1",
            "# TYPE seconds_per_batch histogram",
        ] {
            assert!(told.lines().any(|it| it == line), "{line} in {told}");
        }
        assert!(!told.contains("sciembed_progress_ratio{"), "{told}");
    }
}

//! Progress while a run goes on: a live bar per running step on a terminal, plain lines otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::print::remark;
use crate::event::{Event, Unit};
use crate::graph::{NodeKind, StepId};

/// Time between plain lines of one step: often enough to see life, seldom enough for a log.
const PLAIN_EVERY: Duration = Duration::from_secs(15);
/// Time before a rate is told: the first moments say nothing.
const RATE_AFTER: Duration = Duration::from_secs(1);

/// Shows a run's events as they come.
pub struct Progress {
    bars: Option<MultiProgress>,
    running: BTreeMap<StepId, Running>,
}

struct Running {
    bar: Option<ProgressBar>,
    told: Instant,
    /// The first progress heard, and when: what was reused came at once, and the rate starts after it.
    first: Option<(u64, Instant)>,
}

impl Progress {
    /// Bars if `terminal`, lines otherwise.
    pub fn new(terminal: bool) -> Self {
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { bars, running: BTreeMap::new() }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step, reason } => {
                self.line(&format!("{step}: starts ({})", reason.describe(step)));
                let bar = self.bars.as_ref().map(|bars| bars.add(new_bar(step)));
                self.running.insert(step.clone(), Running { bar, told: Instant::now(), first: None });
            }
            Event::StepProgress { step, done, total, unit } => self.progress(step, *done, *total, *unit),
            Event::StepNote { step, note } => self.line(&format!("{step}: {note}")),
            Event::StepFinished { step, counts, run_counts, seconds, .. } => {
                self.clear(step);
                self.line(&format!("{step}: {} ({seconds:.1} s)", told_counts(step.kind, counts, run_counts)));
            }
            Event::StepFailed { step, .. } => {
                self.clear(step);
                // Why is told at the end, where it is not lost among other lines.
                self.line(&format!("{step}: failed"));
            }
            Event::RunInterrupted => self.line("interrupted: sealing what is finished; once more to stop at once"),
            Event::StepDetail { .. } | Event::RunStarted { .. } | Event::RunFinished { .. } => {}
        }
    }

    /// Takes all bars away.
    pub fn end(&mut self) {
        let steps: Vec<StepId> = self.running.keys().cloned().collect();
        steps.iter().for_each(|step| self.clear(step));
    }

    fn line(&self, text: &str) {
        match &self.bars {
            // Printing past the bars would tear them.
            Some(bars) => bars.suspend(|| remark(text)),
            None => remark(text),
        }
    }

    fn clear(&mut self, step: &StepId) {
        if let Some(Running { bar: Some(bar), .. }) = self.running.remove(step) {
            bar.finish_and_clear();
        }
    }

    fn progress(&mut self, step: &StepId, done: u64, total: Option<u64>, unit: Unit) {
        let Some(running) = self.running.get_mut(step) else { return };
        let (from, since) = *running.first.get_or_insert((done, Instant::now()));
        if let Some(bar) = &running.bar {
            if bar.length() != total {
                bar.set_style(style(unit));
                bar.set_length(total.unwrap_or(done));
                bar.set_position(done);
                bar.reset_eta();
            }
            bar.set_position(done);
        } else if running.told.elapsed() >= PLAIN_EVERY {
            running.told = Instant::now();
            let rate = (done - from) as f64 / since.elapsed().as_secs_f64().max(1e-3);
            let line = plain(step, done, total, unit, rate);
            self.line(&line);
        }
    }
}

fn told_counts(kind: NodeKind, counts: &BTreeMap<String, u64>, run_counts: &BTreeMap<String, u64>) -> String {
    let mut told = format!("{} rows", counts.get("rows").copied().unwrap_or(0));
    let set_aside = counts.iter().filter(|(name, _)| matches!(name.as_str(), "rejected" | "truncated"));
    for (name, count) in run_counts.iter().chain(set_aside).filter(|(_, count)| **count > 0) {
        let name = match (kind, name.as_str()) {
            // A merge refuses nothing: another row stands for what it leaves out.
            (NodeKind::Merge, "rejected") => "left out",
            // What `truncate` of a prepare node cuts is another thing.
            (NodeKind::Embed, "truncated") => "longer than the model reads",
            (_, name) => name,
        };
        told.push_str(&format!(", {count} {name}"));
    }
    told
}

fn plain(step: &StepId, done: u64, total: Option<u64>, unit: Unit, rate: f64) -> String {
    let (unit, scale) = match unit {
        Unit::Bytes => ("MB", 1e6),
        Unit::Rows => ("rows", 1.0),
    };
    let scaled = |value: u64| (value as f64 / scale).round();
    let of = total.map_or(String::new(), |total| format!(" of {}", scaled(total)));
    format!("{step}: {}{of} {unit}, {:.0} {unit}/s", scaled(done), rate / scale)
}

fn new_bar(step: &StepId) -> ProgressBar {
    let bar = ProgressBar::no_length().with_prefix(step.to_string());
    bar.set_style(ProgressStyle::with_template("{prefix:24!} starting").expect("the template is a constant"));
    bar
}

/// Fits any width: the bar takes what the rest leaves.
fn style(unit: Unit) -> ProgressStyle {
    let template = match unit {
        Unit::Bytes => "{prefix:24!} {wide_bar} {percent:>3} % of {total_bytes}{rate}",
        Unit::Rows => "{prefix:24!} {wide_bar} {pos} of {len}{rate}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    style.with_key("rate", move |state: &ProgressState, out: &mut dyn fmt::Write| {
        // Nobody can do anything about a terminal that takes no text.
        let _ = out.write_str(&rate(state, unit));
    })
}

/// Rate and time left, once there is something to tell them from.
fn rate(state: &ProgressState, unit: Unit) -> String {
    let per_second = state.per_sec();
    if state.elapsed() < RATE_AFTER || per_second <= 0.0 {
        return String::new();
    }
    let left = HumanDuration(Duration::from_secs(state.eta().as_secs()));
    match unit {
        Unit::Bytes => format!("  {:.0} MB/s  {left:#} left", per_second / 1e6),
        Unit::Rows if per_second < 10.0 => format!("  {per_second:.1}/s  {left:#} left"),
        Unit::Rows => format!("  {per_second:.0}/s  {left:#} left"),
    }
}

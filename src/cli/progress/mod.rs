//! Progress while a run goes on: a live bar per running step on a terminal, plain lines otherwise.

mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use self::words::{Beside, plain, rate, told_counts};
use super::print::remark;
use crate::event::{Event, Unit};
use crate::graph::StepId;

/// Time between plain lines of one step: often enough to see life, seldom enough for a log.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

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
    beside: Beside,
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
                self.running.insert(
                    step.clone(),
                    Running { bar, told: Instant::now(), first: None, beside: Beside::default() },
                );
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
            Event::StepDetail { step, detail } => {
                if let Some(running) = self.running.get_mut(step) {
                    running.beside.add(detail);
                }
            }
            Event::RunStarted { .. } | Event::RunFinished { .. } => {}
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
            let position = format!("{done} of {}", total.unwrap_or(done));
            bar.set_message(running.beside.fitting(columns(), prefix(), &position));
        } else if running.told.elapsed() >= PLAIN_EVERY {
            running.told = Instant::now();
            let rate = (done - from) as f64 / since.elapsed().as_secs_f64().max(1e-3);
            let line = plain(step, done, total, unit, rate, &running.beside);
            self.line(&line);
        }
    }
}

fn new_bar(step: &StepId) -> ProgressBar {
    let bar = ProgressBar::no_length().with_prefix(step.to_string());
    let template = format!("{{prefix:{}!}} starting", prefix());
    bar.set_style(ProgressStyle::with_template(&template).expect("the template is sound"));
    bar
}

fn columns() -> usize {
    Term::stderr().size().1.into()
}

/// Columns of a step's name: fewer where the terminal has few.
fn prefix() -> usize {
    if columns() < 100 { 20 } else { 24 }
}

/// Fits any width: the bar takes what the rest leaves.
fn style(unit: Unit) -> ProgressStyle {
    let far = match unit {
        Unit::Bytes => "{percent:>3} % of {total_bytes}",
        Unit::Rows => "{pos} of {len}",
    };
    let template = format!("{{prefix:{}!}} {{wide_bar}} {far}{{msg}}{{rate}}", prefix());
    let style = ProgressStyle::with_template(&template).expect("the template is sound");
    style.with_key("rate", move |state: &ProgressState, out: &mut dyn fmt::Write| {
        // Nobody can do anything about a terminal that takes no text.
        let _ = out.write_str(&rate(state, unit));
    })
}

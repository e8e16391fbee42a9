//! What is shown of a run, added up from its journal.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::log::{at, worded};
use crate::event::{Detail, Event};
use crate::graph::{NodeKind, StepId};
use crate::history::PastRun;

/// Seconds of the past that a rate is taken from.
const RATE_SECONDS: f64 = 60.0;
/// Lines of the journal that are kept for the screen.
const LINES: usize = 200;

/// A run at this moment.
pub struct State {
    /// Its workflow and id.
    pub title: String,
    /// What it is doing, in words.
    pub state: String,
    /// Seconds since it began, or that it took.
    pub seconds: f64,
    /// Its nodes, in the order of the kinds.
    pub nodes: Vec<Node>,
    /// The steps that failed, and why.
    pub failed: Vec<(String, String)>,
    /// Its last lines, the newest last.
    pub lines: Vec<String>,
}

/// All steps of a node.
#[derive(Default)]
pub struct Node {
    /// `embed.minilm`.
    pub name: String,
    /// Steps at work, done and failed.
    pub running: usize,
    pub done: usize,
    pub failed: usize,
    /// Rows put out, or of embed steps that have their vectors.
    pub rows: u64,
    /// Rows of those steps in all, as far as they are known.
    pub total: u64,
    /// Rows a second in the last minute, or over all where it has ended.
    pub rate: Option<f64>,
}

/// How far a step is.
#[derive(Default)]
struct Step {
    running: bool,
    done: bool,
    failed: bool,
    /// When it began, in seconds since 1970.
    began: f64,
    rows: u64,
    total: u64,
    /// Vectors and times of what was sealed.
    sealed: Vec<(f64, u64)>,
    seconds: f64,
}

impl State {
    /// Of a run.
    pub fn of(run: &PastRun) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |it| it.as_secs_f64());
        let mut steps: BTreeMap<&StepId, Step> = BTreeMap::new();
        let (mut failed, mut told) = (Vec::new(), Vec::new());
        for entry in &run.entries {
            let time = entry.time_ms as f64 / 1000.0;
            match &entry.event {
                Event::StepStarted { step, .. } => {
                    steps.insert(step, Step { running: true, began: time, ..Step::default() });
                }
                Event::StepDetail { step, detail: Detail::Sealed { vectors, done, total } } => {
                    let step = steps.entry(step).or_default();
                    (step.rows, step.total) = (*done, *total);
                    step.sealed.push((time, *vectors));
                }
                Event::StepFinished { step, counts, seconds, .. } => {
                    let rows = counts.get("rows").copied().unwrap_or(0);
                    let sealed = std::mem::take(&mut steps.entry(step).or_default().sealed);
                    let done = Step { done: true, rows, total: rows, seconds: *seconds, sealed, ..Step::default() };
                    steps.insert(step, done);
                }
                Event::StepFailed { step, error } => {
                    let told = steps.entry(step).or_default();
                    (told.running, told.failed) = (false, true);
                    failed.push((step.to_string(), error.clone()));
                }
                _ => {}
            }
            let clock = at(entry.time_ms);
            let clock = clock.get(11..19).unwrap_or_default().to_owned();
            told.extend(worded(&entry.event).into_iter().map(|line| format!("{clock}  {line}")));
        }
        // What had begun when a run ended, or was killed, is at work no more.
        if run.holder.is_none() {
            steps.values_mut().for_each(|step| step.running = false);
        }
        let lines = told.split_off(told.len().saturating_sub(LINES));
        let seconds = run.seconds.unwrap_or((now - run.started as f64).max(0.0));
        let (title, state) = (format!("{}  {}", run.workflow, run.id), state(run));
        Self { title, state, seconds, nodes: nodes(&steps, now), failed, lines }
    }
}

fn state(run: &PastRun) -> String {
    match (run.outcome, &run.holder) {
        (Some(outcome), _) => format!("{outcome:?}").to_lowercase(),
        (None, Some(holder)) => format!("runs, process {} on {}", holder.pid, holder.host),
        (None, None) => "ended without a word: it was killed".to_owned(),
    }
}

fn nodes(steps: &BTreeMap<&StepId, Step>, now: f64) -> Vec<Node> {
    let mut nodes: BTreeMap<(NodeKind, &str), Node> = BTreeMap::new();
    let mut paces: BTreeMap<(NodeKind, &str), (f64, f64)> = BTreeMap::new();
    for (id, step) in steps {
        let key = (id.kind, id.node.as_str());
        let node = nodes.entry(key).or_default();
        node.name = format!("{}.{}", id.kind, id.node);
        node.running += usize::from(step.running);
        node.done += usize::from(step.done);
        node.failed += usize::from(step.failed);
        node.rows += step.rows;
        node.total += step.total;
        let (rows, seconds) = paces.entry(key).or_default();
        if step.running {
            let recent = step.sealed.iter().filter(|(time, _)| now - time <= RATE_SECONDS);
            *rows += recent.map(|(_, vectors)| *vectors as f64).sum::<f64>();
            // A young step has not had a whole minute, and what was not sealed yet is not counted.
            let last = step.sealed.last().map_or(now, |(time, _)| *time);
            *seconds = seconds.max((last - step.began.max(now - RATE_SECONDS)).max(1.0));
        } else if step.done {
            *rows += step.rows as f64;
            *seconds += step.seconds;
        }
    }
    for (key, (rows, seconds)) in paces {
        if let Some(node) = nodes.get_mut(&key) {
            node.rate = (rows > 0.0 && seconds > 0.0).then(|| rows / seconds);
        }
    }
    nodes.into_values().collect()
}

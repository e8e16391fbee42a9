//! What each step did, and when, by the times of its journal's lines.

use std::collections::BTreeMap;

use sciembed_report::{Kind, Progress, State, Step};

use crate::event::{Detail, Event};
use crate::graph::{Graph, NodeKind, StepId};
use crate::history::{Entry, PastRun};

/// All steps of the workflow, in the graph's order.
pub fn of(run: &PastRun, graph: &Graph) -> Vec<Step> {
    let mut seen: BTreeMap<&StepId, Step> = BTreeMap::new();
    for entry in &run.entries {
        take_in(&mut seen, entry, seconds(run, entry));
    }
    let ended = run.outcome.is_some();
    let step = |step: &crate::graph::Step| {
        let mut told = seen.remove(&step.id).unwrap_or_default();
        told.id = step.id.to_string();
        told.kind = kind(step.id.kind);
        told.node = format!("{}.{}", step.id.kind, step.id.node);
        told.upstreams.clone_from(&step.upstreams);
        // A step that began and has no end was under way when the run ended, or was killed.
        if told.begin.is_some() && told.end.is_none() && told.state == State::Fresh {
            told.state = State::Interrupted;
        }
        told
    };
    let mut steps: Vec<Step> = graph.steps.iter().map(step).collect();
    mark_unreached(&mut steps, ended);
    steps
}

/// A step below one that did not end well did not begin.
fn mark_unreached(steps: &mut [Step], ended: bool) {
    for at in 0..steps.len() {
        let is_lost = |up: &usize| !matches!(steps[*up].state, State::Ran | State::Fresh);
        if steps[at].state == State::Fresh && (steps[at].upstreams.iter().any(is_lost) || !ended) {
            steps[at].state = State::NotReached;
        }
    }
}

fn take_in<'a>(seen: &mut BTreeMap<&'a StepId, Step>, entry: &'a Entry, at: f64) {
    match &entry.event {
        Event::StepStarted { step, reason } => {
            let told = seen.entry(step).or_default();
            told.begin.get_or_insert(at);
            told.reason = reason.describe(step);
        }
        Event::StepFinished { step, counts, run_counts, seconds, .. } => {
            let told = seen.entry(step).or_default();
            told.end = Some(at);
            told.begin.get_or_insert(at - seconds);
            told.state = State::Ran;
            told.rows_in = counts.get("rows_in").copied();
            told.rows = counts.get("rows").copied();
            told.counts = counts.iter().chain(run_counts).map(|(name, count)| (name.clone(), *count)).collect();
        }
        Event::StepFailed { step, error } => {
            let told = seen.entry(step).or_default();
            told.end = Some(at);
            told.state = State::Failed;
            told.error = Some(error.clone());
        }
        _ => {}
    }
}

/// Rows that were embedded since the run began, whenever some were sealed or a step ended.
pub fn throughput(run: &PastRun) -> Vec<Progress> {
    let mut sealed: BTreeMap<&StepId, u64> = BTreeMap::new();
    let mut told = vec![Progress::default()];
    for entry in &run.entries {
        match &entry.event {
            Event::StepDetail { step, detail: Detail::Sealed { vectors, .. } } => {
                *sealed.entry(step).or_default() += vectors;
            }
            // What it embedded, exactly: a text that several rows have is sealed once.
            Event::StepFinished { step, run_counts, .. } if step.kind == NodeKind::Embed => {
                let embedded = run_counts.get("embedded").copied().unwrap_or(0);
                let known = sealed.entry(step).or_default();
                *known = embedded.max(*known);
            }
            _ => continue,
        }
        told.push(Progress { seconds: seconds(run, entry), rows: sealed.values().sum() });
    }
    if told.len() > 1 { told } else { Vec::new() }
}

/// Seconds from the begin of a run to an entry.
fn seconds(run: &PastRun, entry: &Entry) -> f64 {
    let begun = run.entries.first().map_or(run.started * 1000, |first| first.time_ms);
    entry.time_ms.saturating_sub(begun) as f64 / 1000.0
}

fn kind(kind: NodeKind) -> Kind {
    match kind {
        NodeKind::Load => Kind::Load,
        NodeKind::Prepare => Kind::Prepare,
        NodeKind::Embed => Kind::Embed,
        NodeKind::Persist => Kind::Persist,
        NodeKind::Merge => Kind::Merge,
    }
}

//! `sciembed log`: the runs of a store, newest first, and what happened in one of them.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::json;

use super::print::say;
use super::store::StoreArguments;
use super::{DoorError, Failure};
use crate::error::Exit;
use crate::event::{Detail, Event, Outcome};
use crate::graph::NodeKind;
use crate::history::{Entry, PastRun, runs};

/// Show the runs of a store, newest first; with --run, all that happened in one of them.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Show what happened in this run: its id, or the beginning of it
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Show this many runs at most
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    number: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.store.workflow()?;
    let store = arguments.store.open(workflow.as_ref())?;
    let mut runs = runs(&store)?;
    runs.retain(|run| workflow.as_ref().is_none_or(|workflow| workflow.graph.name == run.workflow));
    match &arguments.run {
        Some(id) => {
            let run = find(&runs, id)?;
            run.entries.iter().try_for_each(|entry| say_entry(entry, arguments.json))?;
        }
        None => runs.iter().rev().take(arguments.number).try_for_each(|run| say_run(run, arguments.json))?,
    }
    Ok(Exit::Done)
}

/// The newest run whose id begins so.
///
/// # Errors
/// [`DoorError::NoRun`].
pub fn find<'a>(runs: &'a [PastRun], id: &str) -> Result<&'a PastRun, DoorError> {
    let known = || runs.iter().rev().take(3).map(|run| run.id.clone()).collect::<Vec<_>>().join(", ");
    let found = runs.iter().rev().find(|run| run.id.starts_with(id));
    found.ok_or_else(|| DoorError::NoRun { run: id.to_owned(), known: known() })
}

fn say_run(run: &PastRun, as_json: bool) -> Result<(), DoorError> {
    let state = state(run);
    let counts = counts(run);
    if as_json {
        return say(json!({
            "run": run.id,
            "workflow": run.workflow,
            "started": run.started,
            "seconds": run.seconds,
            "state": state,
            "counts": counts,
        }));
    }
    let told: Vec<String> =
        counts.iter().filter(|(_, count)| **count > 0).map(|(name, n)| format!("{n} {name}")).collect();
    let seconds = run.seconds.map_or(String::new(), |seconds| format!(" in {seconds:.1} s"));
    say(format!("{}  {}  {}  {state}{seconds}: {}", run.id, at(run.started * 1000), run.workflow, told.join(", ")))
}

/// How a run ended, or who is at it.
pub fn state(run: &PastRun) -> String {
    match (&run.outcome, &run.holder) {
        (Some(Outcome::NothingToDo), _) => "nothing to do".to_owned(),
        (Some(Outcome::Done), _) => "done".to_owned(),
        (Some(Outcome::Failed), _) => "incomplete".to_owned(),
        (Some(Outcome::Interrupted), _) => "interrupted".to_owned(),
        (None, Some(holder)) => format!("running (process {} on {})", holder.pid, holder.host),
        (None, None) => "killed".to_owned(),
    }
}

/// Steps, and rows of embed steps.
fn counts(run: &PastRun) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for entry in &run.entries {
        match &entry.event {
            Event::StepFinished { step, run_counts, .. } => {
                *counts.entry("steps done").or_default() += 1;
                let row = |name| run_counts.get(name).copied().filter(|_| step.kind == NodeKind::Embed).unwrap_or(0);
                *counts.entry("new").or_default() += row("embedded");
                *counts.entry("reused").or_default() += row("reused");
                *counts.entry("removed").or_default() += row("removed");
            }
            Event::StepFailed { .. } => *counts.entry("steps failed").or_default() += 1,
            _ => {}
        }
    }
    counts
}

fn say_entry(entry: &Entry, as_json: bool) -> Result<(), DoorError> {
    if as_json {
        return say(serde_json::to_string(entry).expect("an entry is plain data"));
    }
    let time = at(entry.time_ms);
    worded(&entry.event).into_iter().try_for_each(|line| say(format!("{time}  {line}")))
}

fn worded(event: &Event) -> Vec<String> {
    vec![match event {
        Event::RunStarted { run, workflow, overrides, version, .. } => {
            let with =
                if overrides.is_empty() { String::new() } else { format!(" with --set {}", overrides.join(" --set ")) };
            format!("run {run} of {workflow} begins, sciembed {version}{with}")
        }
        Event::StepStarted { step, reason } => format!("{step}: starts ({})", reason.describe(step)),
        Event::StepProgress { .. } => return Vec::new(),
        Event::StepNote { step, note } => format!("{step}: {note}"),
        Event::StepDetail { step, detail } => return detailed(&step.to_string(), detail),
        Event::StepFinished { step, counts, run_counts, seconds, .. } => {
            let counts = counts.iter().chain(run_counts).map(|(name, count)| format!("{name} {count}"));
            format!("{step}: done in {seconds:.1} s; {}", counts.collect::<Vec<_>>().join(", "))
        }
        Event::StepFailed { step, error } => format!("{step}: failed to {error}"),
        Event::RunInterrupted => "interrupted".to_owned(),
        Event::RunFinished { outcome, seconds, .. } => format!("ends after {seconds:.1} s: {outcome:?}").to_lowercase(),
    }]
}

fn detailed(step: &str, detail: &Detail) -> Vec<String> {
    match detail {
        Detail::Sealed { vectors, done, total } => {
            vec![format!("{step}: sealed {vectors} vectors, {done} of {total} rows have theirs")]
        }
        Detail::Failed { rows } => {
            rows.iter().map(|row| format!("{step}: {} failed: {}", row.bibcode, row.reason)).collect()
        }
        Detail::Removed { rows } => {
            let now = |now: &Option<String>| now.as_ref().map_or(String::new(), |now| format!(", and is {now} now"));
            rows.iter().map(|row| format!("{step}: {} is no longer there{}", row.bibcode, now(&row.now))).collect()
        }
    }
}

/// A time of day for people.
pub fn at(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(DateTime::from_timestamp_millis);
    time.filter(|_| milliseconds > 0).map_or("-".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

//! `sciembed log`: the runs of a store, newest first, and what happened in one of them.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::json;

use super::print::{say, show};
use super::store::StoreArguments;
use super::summary::asked_words;
use super::{DoorError, Failure};
use crate::error::Exit;
use crate::event::{Detail, Event, Outcome};
use crate::graph::{NodeKind, StepId};
use crate::history::{Entry, PastRun, runs};

/// Show the runs of a store, newest first; with --run, all that happened in one of them.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Show what happened in this run: its id, the beginning of it, or `latest`
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

/// The one run whose id begins so, or the newest, which is called `latest`.
///
/// # Errors
/// [`DoorError::NoRun`]; [`DoorError::SeveralRuns`].
pub fn find<'a>(runs: &'a [PastRun], id: &str) -> Result<&'a PastRun, DoorError> {
    let newest = |runs: &[&PastRun]| runs.iter().take(3).map(|run| run.id.clone()).collect::<Vec<_>>().join(", ");
    let all: Vec<&PastRun> = runs.iter().rev().collect();
    if let Some(latest) = all.first().filter(|_| id == "latest") {
        return Ok(latest);
    }
    let found: Vec<&PastRun> = all.iter().copied().filter(|run| run.id.starts_with(id)).collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(DoorError::NoRun { run: id.to_owned(), known: newest(&all) }),
        _ => Err(DoorError::SeveralRuns { run: id.to_owned(), count: found.len(), newest: newest(&found) }),
    }
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
    let seconds = run.seconds.map_or(String::new(), |seconds| format!(" in {seconds:.1} s"));
    show(format!("{}  {}  {}  {state}{seconds}: {}", run.id, at(run.started * 1000), run.workflow, told(&counts)))
}

fn told(counts: &BTreeMap<&str, u64>) -> String {
    let counted = counts.iter().filter(|(_, count)| **count > 0);
    let told: Vec<String> = counted.map(|(name, n)| format!("{n} {}", numbered(name, *n))).collect();
    if told.is_empty() { "no step done".to_owned() } else { told.join(", ") }
}

/// What is counted, of one or of many.
fn numbered(name: &str, count: u64) -> String {
    if count == 1 { name.replacen("steps", "step", 1) } else { name.to_owned() }
}

/// The overrides that a run was given, as they were written.
pub fn with_overrides(run: &PastRun) -> String {
    let given = run.entries.iter().find_map(|entry| match &entry.event {
        Event::RunStarted { overrides, .. } => Some(worded_overrides(overrides)),
        _ => None,
    });
    given.unwrap_or_default()
}

fn worded_overrides(overrides: &[String]) -> String {
    if overrides.is_empty() { String::new() } else { format!(" with --set {}", overrides.join(" --set ")) }
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

/// Steps, and rows of embed steps: of those that were not done what they had sealed, which the next run finds.
fn counts(run: &PastRun) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    let mut sealed: BTreeMap<&StepId, u64> = BTreeMap::new();
    for entry in &run.entries {
        match &entry.event {
            Event::StepFinished { step, run_counts, .. } => {
                sealed.remove(step);
                *counts.entry("steps done").or_default() += 1;
                let row = |name| run_counts.get(name).copied().filter(|_| step.kind == NodeKind::Embed).unwrap_or(0);
                *counts.entry("new").or_default() += row("embedded");
                *counts.entry("reused").or_default() += row("reused");
                *counts.entry("removed").or_default() += row("removed");
            }
            Event::StepDetail { step, detail: Detail::Sealed { vectors, .. } } => {
                *sealed.entry(step).or_default() += vectors;
            }
            Event::StepFailed { .. } => *counts.entry("steps failed").or_default() += 1,
            _ => {}
        }
    }
    counts.insert("sealed in steps not done", sealed.into_values().sum());
    counts
}

fn say_entry(entry: &Entry, as_json: bool) -> Result<(), DoorError> {
    if as_json {
        return say(serde_json::to_string(entry).expect("an entry is plain data"));
    }
    let time = at(entry.time_ms);
    worded(&entry.event).into_iter().try_for_each(|line| show(format!("{time}  {line}")))
}

/// What is said of an event.
pub fn worded(event: &Event) -> Vec<String> {
    vec![match event {
        Event::RunStarted { run, workflow, overrides, version, .. } => {
            format!("run {run} of {workflow} begins, sciembed {version}{}", worded_overrides(overrides))
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
        // No journal keeps them.
        Detail::Batch { .. } | Detail::Read { .. } | Detail::Reused { .. } | Detail::Rejected { .. } => Vec::new(),
        Detail::Asked { requests, failed, tokens, micro_usd } => {
            vec![format!("{step}: asked {}", asked_words([*requests, *failed, *tokens, *micro_usd]))]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn past(lines: &[&str]) -> PastRun {
        let entries = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        PastRun {
            id: String::new(),
            workflow: String::new(),
            started: 0,
            outcome: None,
            seconds: None,
            holder: None,
            entries,
        }
    }

    /// What a killed run had sealed is not lost, and the log says so; of a step that was done it is among the new ones.
    #[test]
    fn what_was_sealed_is_counted() {
        let step = |year: u16| format!(r#""step":{{"kind":"embed","node":"minilm","cells":{{"year":"{year}"}}}}"#);
        let sealed = |year, vectors: u16| {
            format!(
                r#"{{"event":"step_detail",{},"detail":{{"kind":"sealed","vectors":{vectors},"done":0,"total":9}}}}"#,
                step(year)
            )
        };
        let done = format!(
            r#"{{"event":"step_finished",{},"counts":{{}},"run_counts":{{"embedded":9}},"seconds":1.0}}"#,
            step(2010)
        );
        let run = past(&[&sealed(2010, 4), &sealed(2010, 5), &done, &sealed(2011, 600), &sealed(2011, 83)]);
        assert_eq!(told(&counts(&run)), "9 new, 683 sealed in steps not done, 1 step done");
        assert_eq!(told(&counts(&past(&[]))), "no step done");
    }
}

//! `sciembed status`: who is at work and how far, what is published, and what an apply would go on with.

use serde_json::{Value, json};

use super::environment::Machine;
use super::log::{at, state};
use super::plan::{counted, totals, words};
use super::print::{duration, say};
use super::workflow::{SelectionArguments, WorkflowArguments};
use super::{DoorError, Failure};
use crate::error::Exit;
use crate::event::{Detail, Event};
use crate::graph::{NodeKind, StepId};
use crate::history::{PastRun, runs};
use crate::plan::{Plan, PlannedStep, State};
use crate::record::RecordState;
use crate::store::Store;
use crate::table::FAILED;

/// Show what of a workflow is published, stale or partly done, and who is at work on it.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    machine: Machine,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.workflow.read()?;
    let scope = arguments.selection.select(&workflow.graph)?;
    let mut observer = workflow.observer(&arguments.machine)?;
    // It tells what is; whether rows that were left out should be tried again is for plan to say.
    observer.accept_failures = true;
    let plan = counted(&mut observer, &scope)?;
    let mut runs = runs(&observer.store)?;
    runs.retain(|run| run.workflow == workflow.graph.name);
    if arguments.json {
        say(format!("{:#}", as_json(&plan, &runs)))?
    } else {
        print(&plan, &runs)?;
        left_out(&plan, &observer.store)?
    }
    Ok(Exit::Done)
}

fn print(plan: &Plan, runs: &[PastRun]) -> Result<(), DoorError> {
    for run in runs.iter().filter(|run| run.holder.is_some()) {
        say(format!("{}  {}, since {}", run.id, state(run), at(run.started * 1000)))?;
        under_way(run).iter().try_for_each(|step| say(format!("  {}", step.told())))?;
    }
    if let Some(last) = runs.iter().rev().find(|run| run.holder.is_none()) {
        say(format!("last run {}  {}, began {}", last.id, state(last), at(last.started * 1000)))?;
    }
    let publishes = |step: &&PlannedStep| matches!(step.step.kind, NodeKind::Persist | NodeKind::Merge);
    let published: Vec<&PlannedStep> =
        plan.steps.iter().filter(publishes).filter(|step| step.state == State::Fresh).collect();
    say(format!(
        "published   {} of {} datasets are as the workflow says",
        published.len(),
        plan.steps.iter().filter(publishes).count()
    ))?;
    for step in plan.steps.iter().filter(|step| step.state != State::Fresh) {
        let (state, detail) = words(step);
        say(format!("{state:10}  {}: {detail}", step.step))?;
    }
    say(totals(plan))
}

/// What is published without some papers is as it was accepted, and not whole.
fn left_out(plan: &Plan, store: &Store) -> Result<(), DoorError> {
    for step in plan.steps.iter().filter(|step| step.step.kind == NodeKind::Embed) {
        let record = step.key.and_then(|key| store.record(&key).ok().flatten());
        if let Some(RecordState::Whole(record)) = record.filter(|_| step.state == State::Fresh)
            && let Some(failed) = record.outputs.get(FAILED)
        {
            let (step, rows) = (&step.step, failed.rows);
            say(format!(
                "left out    {step}: {rows} rows failed; an apply without --accept-failures tries them again"
            ))?;
        }
    }
    Ok(())
}

/// An embed step of a living run, as far as it has sealed.
struct UnderWay<'a> {
    step: &'a StepId,
    done: u64,
    total: u64,
    /// Rows a second between the first seal and the last.
    rate: Option<f64>,
}

impl UnderWay<'_> {
    fn told(&self) -> String {
        let Self { step, done, total, rate } = self;
        let left = rate.map_or(String::new(), |rate| {
            format!(", {rate:.1} rows/s, about {} left", duration((total - done) as f64 / rate))
        });
        format!("{step}: {done} of {total} rows have their vectors{left}")
    }
}

fn under_way(run: &PastRun) -> Vec<UnderWay<'_>> {
    let mut steps: Vec<(UnderWay, u64, u64)> = Vec::new();
    for entry in &run.entries {
        match &entry.event {
            Event::StepDetail { step, detail: Detail::Sealed { vectors, done, total } } => {
                match steps.iter_mut().find(|(known, ..)| known.step == step) {
                    Some((known, first_ms, sealed)) => {
                        *sealed += vectors;
                        (known.done, known.total) = (*done, *total);
                        let seconds = entry.time_ms.saturating_sub(*first_ms) as f64 / 1e3;
                        known.rate = (seconds > 0.0).then_some(*sealed as f64 / seconds);
                    }
                    None => steps.push((UnderWay { step, done: *done, total: *total, rate: None }, entry.time_ms, 0)),
                }
            }
            Event::StepFinished { step, .. } | Event::StepFailed { step, .. } => {
                steps.retain(|(known, ..)| known.step != step);
            }
            _ => {}
        }
    }
    steps.into_iter().map(|(step, ..)| step).collect()
}

fn as_json(plan: &Plan, runs: &[PastRun]) -> Value {
    let running: Vec<Value> = runs
        .iter()
        .filter_map(|run| {
            let holder = run.holder.as_ref()?;
            let steps: Vec<Value> = under_way(run)
                .iter()
                .map(|step| json!({ "step": step.step.to_string(), "done": step.done, "total": step.total, "rate": step.rate }))
                .collect();
            Some(json!({ "run": run.id, "started": run.started, "pid": holder.pid, "host": holder.host, "embedding": steps }))
        })
        .collect();
    json!({ "running": running, "plan": super::plan::as_json(plan) })
}

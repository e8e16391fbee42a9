//! `sciembed status`: who is at work and how far, what is published, and what an apply would go on with.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::apply::directories;
use super::environment::Machine;
use super::log::{at, state, with_overrides};
use super::plan::{count_and_remember, totals, words};
use super::print::{duration, say, show};
use super::workflow::{SelectionArguments, WorkflowArguments};
use super::{DoorError, Failure, derived, former};
use crate::cost::{HandedOver, Spent};
use crate::embedder::EmbedderError;
use crate::error::Exit;
use crate::event::{Detail, Event};
use crate::graph::{NodeKind, StepId};
use crate::history::{PastRun, runs};
use crate::node::with_causes;
use crate::observe::ObserveError;
use crate::plan::{Plan, PlannedStep, State, plan};
use crate::record::RecordState;
use crate::run::RunError;
use crate::store::{Holder, Store};
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
    let (mut observed, faults) = observer.observe_what_can_be(&scope);
    // A damaged store is no fault of a step.
    if faults.iter().any(|fault| fault.step().is_none()) {
        return Err(RunError::Observe { errors: faults }.into());
    }
    count_and_remember(&mut observer, &scope, &mut observed)?;
    let plan = plan(&workflow.graph, &scope, &observed);
    let mut runs = runs(&observer.store)?;
    runs.retain(|run| run.workflow == workflow.graph.name);
    let at_work = at_work(&plan, &observer.store);
    let faults: Vec<Fault> = faults.iter().filter_map(Fault::of).collect();
    let mut spending = observer.spending().map_err(EmbedderError::from)?;
    spending.retain(|_, (spent, handed_over)| spent.tokens > 0 || handed_over.batches > 0);
    let wanted = derived::wanted(&observer, &scope);
    let due = derived::due(&wanted);
    if arguments.json {
        let mut json = as_json(&plan, &runs, &at_work, &faults);
        json["derived"] = due.iter().map(|(wanted, why)| json!(derived::told(wanted, why))).collect();
        json["spending"] = spending.iter().map(|(node, spending)| spending_json(node, spending)).collect();
        say(format!("{json:#}"))?;
    } else {
        print(&plan, &runs, &at_work, &faults, due.len())?;
        due.iter().try_for_each(|(wanted, why)| show(derived::told(wanted, why)))?;
        for (node, spending) in &spending {
            show(format!("spent       embed.{node}: {}", spending_words(spending)))?;
        }
        left_out(&plan, &observer.store)?;
        former::tell(&former::former(observer.graph, &directories(&observer, observer.graph.steps.iter())))?;
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::Error })
}

/// What an API was paid for a node, all runs together, and what is there in batches.
fn spending_words((spent, handed_over): &(Spent, HandedOver)) -> String {
    let cost = if spent.micro_usd > 0 { format!(", {}", spent.cost()) } else { String::new() };
    let there = if handed_over.batches > 0 { format!("; {handed_over} are there") } else { String::new() };
    format!("{} tokens{cost}, all runs together{there}", spent.tokens)
}

fn spending_json(node: &str, (spent, handed_over): &(Spent, HandedOver)) -> Value {
    json!({ "node": node, "tokens": spent.tokens, "cost_usd": spent.cost().get(), "handed_over": handed_over })
}

/// A step that cannot be planned, and why.
struct Fault<'a> {
    step: &'a StepId,
    error: String,
}

impl<'a> Fault<'a> {
    fn of(error: &'a ObserveError) -> Option<Self> {
        Some(Self { step: error.step()?, error: with_causes(error) })
    }
}

/// The runs that hold the locks of steps: what is being computed right now, whether or not any of it is sealed.
fn at_work<'a>(plan: &'a Plan, store: &Store) -> BTreeMap<&'a StepId, Holder> {
    let stale = plan.steps.iter().filter(|step| step.state != State::Fresh);
    stale.filter_map(|step| Some((&step.step, store.lock_holder(&step.key?)?))).collect()
}

fn print(
    plan: &Plan,
    runs: &[PastRun],
    at_work: &BTreeMap<&StepId, Holder>,
    faults: &[Fault],
    due: usize,
) -> Result<(), DoorError> {
    for run in runs.iter().filter(|run| run.holder.is_some()) {
        show(format!("{}  {}, since {}", run.id, state(run), at(run.started * 1000)))?;
        under_way(run).iter().try_for_each(|step| show(format!("  {}", step.told())))?;
    }
    if let Some(last) = runs.iter().rev().find(|run| run.holder.is_none()) {
        show(format!(
            "last run {}  {}{}, began {}",
            last.id,
            state(last),
            with_overrides(last),
            at(last.started * 1000)
        ))?;
    }
    let publishes = |step: &&PlannedStep| matches!(step.step.kind, NodeKind::Persist | NodeKind::Merge);
    let published: Vec<&PlannedStep> =
        plan.steps.iter().filter(publishes).filter(|step| step.state == State::Fresh).collect();
    show(format!(
        "published   {} of {} datasets are as the workflow says",
        published.len(),
        plan.steps.iter().filter(publishes).count()
    ))?;
    for step in plan.steps.iter().filter(|step| step.state != State::Fresh) {
        let fault = faults.iter().find(|fault| *fault.step == step.step);
        let (state, detail) = match (fault, at_work.get(&step.step)) {
            (Some(fault), _) => ("faulty", format!("failed to {}", fault.error)),
            (None, Some(holder)) => ("running", format!("in run {}", holder.run)),
            (None, None) => words(step),
        };
        show(format!("{state:10}  {}: {detail}", step.step))?;
    }
    show(totals(plan, due))
}

/// What is published without some papers is as it was accepted, and not whole.
fn left_out(plan: &Plan, store: &Store) -> Result<(), DoorError> {
    for step in plan.steps.iter().filter(|step| step.step.kind == NodeKind::Embed) {
        let record = step.key.and_then(|key| store.record(&key).ok().flatten());
        if let Some(RecordState::Whole(record)) = record.filter(|_| step.state == State::Fresh)
            && let Some(failed) = record.outputs.get(FAILED)
        {
            let (step, rows) = (&step.step, failed.rows);
            show(format!(
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

fn as_json(plan: &Plan, runs: &[PastRun], at_work: &BTreeMap<&StepId, Holder>, faults: &[Fault]) -> Value {
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
    let at_work: Vec<Value> =
        at_work.iter().map(|(step, holder)| json!({ "step": step.to_string(), "run": holder.run })).collect();
    let faults: Vec<Value> =
        faults.iter().map(|fault| json!({ "step": fault.step.to_string(), "error": fault.error })).collect();
    json!({ "running": running, "at_work": at_work, "faults": faults, "plan": super::plan::as_json(plan) })
}

//! `sciembed plan`: a line per step, fresh, stale with its reason, pending or blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use console::style;
use serde_json::{Value, json};

use super::apply::directories;
use super::environment::Machine;
use super::print::{duration, remark, say, show, width};
use super::saved::Saved;
use super::workflow::{SelectionArguments, WorkflowArguments};
use super::{DoorError, Failure, derived, former, standard_input};
use crate::error::Exit;
use crate::graph::{Scope, StepId};
use crate::manifest::config::Dollars;
use crate::observe::Observer;
use crate::plan::{Basis, Bill, Observed, Plan, PlannedStep, Rows, State, Work, WorkRows, plan};
use crate::record::RowChanges;
use crate::run::RunError;

/// Bytes that a published vector should take at most, with all that belongs to it.
const ROOMY: u64 = 1024;
/// Columns of the longest state, `blocked` or `pending`.
const STATE_WIDTH: usize = 7;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    machine: Machine,
    /// Plan as if names that belong to another workflow or step were taken over
    #[arg(long)]
    take_over: bool,
    /// Plan as if papers whose texts could not be embedded may be left out
    #[arg(long)]
    accept_failures: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Save the plan as well, for `sciembed apply FILE`, which refuses it if anything has changed since
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.workflow.read()?;
    let scope = arguments.selection.select(&workflow.graph)?;
    let mut observer = workflow.observer(&arguments.machine)?;
    observer.take_over = arguments.take_over;
    standard_input::read(&mut observer, &scope, standard_input::Use::Plan)?;
    observer.accept_failures = arguments.accept_failures;
    let plan = counted(&mut observer, &scope)?;
    tell_notes(&observer, &plan);
    if let Some(path) = &arguments.out {
        let options = (arguments.take_over, arguments.accept_failures);
        Saved::new(&arguments.workflow, &arguments.selection, options, (&workflow.graph, &plan)).write(path)?;
    }
    let wanted = derived::wanted(&observer, &scope);
    let due = derived::due(&wanted);
    if arguments.json {
        let mut json = as_json(&plan);
        json["derived"] = due.iter().map(|(wanted, why)| json!(derived::told(wanted, why))).collect();
        say(format!("{json:#}"))?;
    } else {
        print(&plan, due.len())?;
        due.iter().try_for_each(|(wanted, why)| show(derived::told(wanted, why)))?;
        derived::later(&wanted).iter().try_for_each(|wanted| show(derived::told(wanted, "once it is published")))?;
        former::tell(&former::former(&workflow.graph, &directories(&observer, workflow.graph.steps.iter())))?;
    }
    Ok(if plan.is_fresh() && due.is_empty() { Exit::Done } else { Exit::Stale })
}

/// What will matter when a step runs, such as a key that is not set: each thing once, beside the plan.
fn tell_notes(observer: &Observer, plan: &Plan) {
    let stale: BTreeSet<&StepId> =
        plan.steps.iter().filter(|step| step.state != State::Fresh).map(|step| &step.step).collect();
    let notes = observer.notes().filter(|(step, _)| stale.contains(step));
    let notes: BTreeSet<&String> = notes.flat_map(|(_, notes)| notes).collect();
    notes.into_iter().for_each(|note| remark(format!("note: {note}")));
}

/// Plans these steps, with the rows of embed steps counted where that can be.
///
/// # Errors
/// What keeps steps from being planned.
pub fn counted(observer: &mut Observer, scope: &Scope) -> Result<Plan, Failure> {
    let mut observed = observer.observe(scope).map_err(|errors| RunError::Observe { errors })?;
    count_and_remember(observer, scope, &mut observed)?;
    Ok(plan(observer.graph, scope, &observed))
}

/// Counts the rows of embed steps where that can be, and keeps the digests that were taken.
///
/// # Errors
/// What keeps them from being counted.
pub fn count_and_remember(observer: &mut Observer, scope: &Scope, observed: &mut Observed) -> Result<(), Failure> {
    let counted = observer.count_rows(scope, observed);
    counted.map_err(|error| RunError::Observe { errors: vec![error] })?;
    observer.remember();
    Ok(())
}

fn print(plan: &Plan, due: usize) -> Result<(), DoorError> {
    let names = plan.steps.iter().map(|step| step.step.to_string().chars().count()).max().unwrap_or(0);
    // Long names leave no room beside them.
    let is_narrow = width().is_some_and(|columns| names + STATE_WIDTH + 4 > columns / 2);
    for step in &plan.steps {
        let (state, detail) = words(step);
        let state = format!("{state:STATE_WIDTH$}");
        let state = match step.state {
            State::Fresh => style(state).green(),
            State::Stale(_) => style(state).yellow(),
            State::Pending(_) | State::Blocked(_) => style(state).dim(),
        };
        let name = step.step.to_string();
        if is_narrow {
            show(format!("{state}  {name}"))?;
            show(format!("{:STATE_WIDTH$}  {detail}", ""))?;
        } else {
            show(format!("{name:names$}  {state}  {detail}"))?;
        }
    }
    for (node, bytes) in sizes(plan) {
        let above = if bytes > ROOMY {
            format!(", which is above {ROOMY}: `dtype = \"i8\"`, or fewer components by `dim`, takes less")
        } else {
            String::new()
        };
        show(format!("{node} takes about {bytes} bytes a vector, all files counted{above}"))?;
    }
    show(totals(plan, due))
}

/// Bytes a vector of each node that is to publish some.
fn sizes(plan: &Plan) -> BTreeMap<String, u64> {
    let due = plan.steps.iter().filter(|step| matches!(step.state, State::Stale(_) | State::Pending(_)));
    due.filter_map(|step| Some((format!("{}.{}", step.step.kind, step.step.node), step.bytes_each?))).collect()
}

/// The last line: how many steps there are of each state. So many indexes and exports are to be made beside them.
pub fn totals(plan: &Plan, due: usize) -> String {
    let [fresh, stale, pending, blocked] = counts(plan);
    match (stale + pending, blocked) {
        (0, 0) if due > 0 => format!("all {fresh} steps are fresh"),
        (0, 0) => format!("nothing to do: all {fresh} steps are fresh"),
        (0, _) => format!("nothing to do: {fresh} steps are fresh, {blocked} blocked"),
        (_, 0) => format!("{} steps: {fresh} fresh, {stale} stale, {pending} pending", plan.steps.len()),
        _ => {
            format!("{} steps: {fresh} fresh, {stale} stale, {pending} pending, {blocked} blocked", plan.steps.len())
        }
    }
}

fn counts(plan: &Plan) -> [usize; 4] {
    let mut counts = [0; 4];
    for step in &plan.steps {
        counts[match step.state {
            State::Fresh => 0,
            State::Stale(_) => 1,
            State::Pending(_) => 2,
            State::Blocked(_) => 3,
        }] += 1;
    }
    counts
}

/// The state of a step in a word, and what is to be said of it.
pub fn words(step: &PlannedStep) -> (&'static str, String) {
    let rows = match step.rows {
        Rows::Exact(rows) => format!("{rows} rows"),
        Rows::LastApplied(rows) => format!("{rows} rows when last applied"),
        Rows::Unknown => String::new(),
    };
    let rows = step.work.as_ref().map_or(rows, work_words);
    let aside = if rows.is_empty() { String::new() } else { format!(" ({rows})") };
    match &step.state {
        State::Fresh => ("fresh", rows),
        State::Stale(reason) => ("stale", format!("{}{aside}", reason.describe(&step.step))),
        State::Pending(upstreams) => ("pending", format!("on {}{aside}", listed(upstreams))),
        State::Blocked(missing) => ("blocked", format!("by {}", lacking(missing))),
    }
}

/// What an embed step has to compute: exact, or a range with what it rests on; nothing where nothing tells.
pub fn work_words(work: &Work) -> String {
    let (told, new) = match &work.rows {
        WorkRows::Exact(RowChanges { new, reused, removed }) => {
            (format!("{new} new, {reused} reused, {removed} removed"), *new)
        }
        WorkRows::AtMost { rows, of, basis: Basis::Recorded } => {
            (format!("0 to {rows} new, as {of} has {rows} rows"), *rows)
        }
        WorkRows::AtMost { rows, of, basis: Basis::FileSizes } => {
            (format!("0 to about {rows} new, by the size of the files of {of}"), *rows)
        }
        WorkRows::Unknown => return String::new(),
    };
    let bill = work.bill.as_ref().filter(|_| new > 0).map_or_else(String::new, |bill| {
        let about = if matches!(work.rows, WorkRows::Exact(_)) { "about" } else { "at most about" };
        format!("; {}", bill_words(bill, about))
    });
    let told = told + &bill;
    match work.rate.filter(|_| new > 0) {
        Some(rate) => {
            let most = if matches!(work.rows, WorkRows::Exact(_)) { "about" } else { "at most about" };
            format!("{told}; {most} {} at the {rate:.1} rows/s of the last time", duration(new as f64 / rate))
        }
        None => told,
    }
}

/// What an API will take, and whether it may.
fn bill_words(bill: &Bill, about: &str) -> String {
    let dollars = |amount: f64| Dollars::new(amount).unwrap_or_default();
    let mut told = Vec::new();
    if bill.tokens > 0 || bill.handed_over.batches == 0 {
        let mut estimate = format!("{about} {} tokens by {} of the texts", bill.tokens, bill.sampled);
        if let (Some(cost), Some(date)) = (bill.cost_usd, &bill.prices_of) {
            estimate.push_str(&format!(", {} at the prices of {date}", dollars(cost)));
        }
        told.push(estimate);
    }
    if bill.handed_over.batches > 0 {
        told.push(format!("{} are there already, and counted as spent", bill.handed_over));
    }
    match bill.max_cost_usd {
        Some(most) => told.push(format!("{} of {} spent", dollars(bill.spent_usd), dollars(most))),
        None if bill.spent_usd > 0.0 => told.push(format!("{} spent so far", dollars(bill.spent_usd))),
        None => {}
    }
    match bill.max_tokens {
        Some(most) => told.push(format!("{} of {most} tokens spent", bill.spent_tokens)),
        None if bill.spent_tokens > 0 => told.push(format!("{} tokens spent so far", bill.spent_tokens)),
        None => {}
    }
    let end = if bill.exceeds() { ": it will stop before it is done" } else { "" };
    told.join("; ") + end
}

/// A few steps by name, many by number.
pub fn listed(steps: &[StepId]) -> String {
    match steps {
        [] => "none".to_owned(),
        [first, .., last] if steps.len() > 4 => format!("{} steps from {first} to {last}", steps.len()),
        _ => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// What blocks a step.
pub fn lacking(missing: &[StepId]) -> String {
    format!("{}: no record for the workflow as it stands", listed(missing))
}

/// The plan as JSON.
pub fn as_json(plan: &Plan) -> Value {
    let steps: Vec<Value> = plan.steps.iter().map(step_json).collect();
    let [fresh, stale, pending, blocked] = counts(plan);
    json!({
        "workflow": plan.workflow,
        "fresh": fresh,
        "stale": stale,
        "pending": pending,
        "blocked": blocked,
        "steps": steps,
    })
}

fn step_json(step: &PlannedStep) -> Value {
    let (reason, told) = match &step.state {
        State::Stale(reason) => (Some(reason), Some(reason.describe(&step.step))),
        State::Fresh | State::Pending(_) | State::Blocked(_) => (None, None),
    };
    let names = |steps: &[StepId]| steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (upstreams, missing) = match &step.state {
        State::Pending(upstreams) => (names(upstreams), Vec::new()),
        State::Blocked(missing) => (Vec::new(), names(missing)),
        State::Fresh | State::Stale(_) => (Vec::new(), Vec::new()),
    };
    json!({
        "step": step.step.to_string(),
        "kind": step.step.kind,
        "node": step.step.node,
        "cells": step.step.cells,
        "state": words(step).0,
        "reason": reason,
        "reason_text": told,
        "pending_on": upstreams,
        "blocked_by": missing,
        "key": step.key,
        "rows": step.rows,
        "work": step.work,
        "bytes_each": step.bytes_each,
    })
}

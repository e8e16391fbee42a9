//! `sciembed explain WORKFLOW NODE`: everything that a step's key is made of, beside what it was when it was applied.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::environment::Machine;
use super::log;
use super::plan::{listed, words};
use super::print::{say, show};
use super::workflow::WorkflowArguments;
use super::{DoorError, Failure};
use crate::digest::NodeKey;
use crate::error::Exit;
use crate::fingerprint::Fingerprint;
use crate::history::{PastRun, runs};
use crate::plan::{PlannedStep, State, UNKNOWN, plan};
use crate::run::RunError;

/// A step's inputs on one side, and where they are from.
struct Side {
    from: String,
    key: Option<NodeKey>,
    inputs: Option<Fingerprint>,
}

impl Side {
    fn of(from: String, known: Option<(NodeKey, &Fingerprint)>) -> Self {
        Self { from, key: known.map(|(key, _)| key), inputs: known.map(|(_, inputs)| inputs.clone()) }
    }
}

/// Shows the inputs of the steps of a node, or of one step.
///
/// # Errors
/// A workflow, node or run that is not there; whatever planning gives.
pub fn explain(
    arguments: &WorkflowArguments,
    machine: &Machine,
    node: &str,
    against: Option<&str>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let workflow = arguments.read()?;
    let scope = workflow.graph.select(None, &[node.to_owned()])?;
    let mut observer = workflow.observer(machine)?;
    let observed = observer.observe(&scope).map_err(|errors| RunError::Observe { errors })?;
    observer.remember();
    let past = match against {
        Some(_) => runs(&observer.store)?,
        None => Vec::new(),
    };
    let past = against.map(|id| log::find(&past, id)).transpose()?;
    let plan = plan(&workflow.graph, &scope, &observed);
    let asked = |step: &&PlannedStep| {
        let (id, name) = (step.step.to_string(), &step.step.node);
        id == node || name == node || format!("{}.{name}", step.step.kind) == node || id.ends_with(&format!(".{node}"))
    };
    let steps: Vec<&PlannedStep> = plan.steps.iter().filter(asked).collect();
    for step in steps {
        let inputs = observed.foreseen(&workflow.graph, step.index);
        let now = Side { from: "now".to_owned(), key: observed.key(step.index), inputs };
        let then = match past {
            Some(run) => applied_by(run, step),
            None => {
                let last = observed.references.get(&step.index);
                let from = last.map_or("never applied".to_owned(), |last| format!("last applied in run {}", last.run));
                Side::of(from, last.map(|last| (last.key, &last.fingerprint)))
            }
        };
        if as_json { say(format!("{:#}", json_of(step, &now, &then)))? } else { print(step, &now, &then)? }
    }
    Ok(Exit::Done)
}

fn applied_by(run: &PastRun, step: &PlannedStep) -> Side {
    let known = run.fingerprint(&step.step);
    let told = if known.is_some() { "run" } else { "not applied by run" };
    Side::of(format!("{told} {}", run.id), known)
}

/// A name, and its values then and now; none where it is not there.
type Line = (String, Option<String>, Option<String>);

fn lines(now: &Side, then: &Side) -> Vec<Line> {
    let told = |side: &Side| side.inputs.as_ref().map(told).unwrap_or_default();
    let (now, then) = (told(now), told(then));
    let names: BTreeSet<&String> = now.iter().chain(&then).map(|(name, _)| name).collect();
    let of = |side: &[(String, String)], name: &String| {
        side.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    names.into_iter().map(|name| (name.clone(), of(&then, name), of(&now, name))).collect()
}

/// Configuration, inputs with their digests, and names that are in no key.
fn told(inputs: &Fingerprint) -> Vec<(String, String)> {
    let mut told = vec![(format!("revision of {} steps", inputs.kind), inputs.revision.to_string())];
    told.extend(inputs.config.iter().map(|(name, value)| (format!("config {name}"), value.clone())));
    let numbered = inputs.inputs.iter().enumerate();
    told.extend(numbered.map(|(at, (role, digest))| (format!("input {at} {role}"), digest.to_string())));
    told.extend(inputs.names.iter().map(|(name, value)| (format!("name {name} (in no key)"), value.clone())));
    told
}

fn print(step: &PlannedStep, now: &Side, then: &Side) -> Result<(), DoorError> {
    let (state, detail) = words(step);
    show(format!("{}  {state}  {detail}", step.step))?;
    let key = |side: &Side| side.key.map_or("no key".to_owned(), |key| format!("key {key}"));
    show(format!("  now: {}", key(now)))?;
    show(format!("  {}: {}", then.from, key(then)))?;
    for (name, then, now) in lines(now, then) {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        if is_unknown(&now) {
            let before = then.map_or(String::new(), |then| format!(" (then {then})"));
            show(format!("    {name}: not known until {}{before}", awaited(step)))?;
        } else if then == now {
            show(format!("    {name}: {}", shown(&now)))?;
        } else {
            show(format!("  - {name}: {}\n  + {name}: {}", shown(&then), shown(&now)))?;
        }
    }
    Ok(())
}

/// Whether a value is that of an input which is not made yet.
fn is_unknown(value: &Option<String>) -> bool {
    value.as_ref().is_some_and(|value| *value == UNKNOWN.to_string())
}

/// What a step waits for.
fn awaited(step: &PlannedStep) -> String {
    match &step.state {
        State::Pending(steps) | State::Blocked(steps) if steps.len() == 1 => format!("{} has run", listed(steps)),
        State::Pending(steps) | State::Blocked(steps) => format!("{} have run", listed(steps)),
        State::Fresh | State::Stale(_) => "what is above it has run".to_owned(),
    }
}

fn json_of(step: &PlannedStep, now: &Side, then: &Side) -> Value {
    let side = |side: &Side| json!({ "from": side.from, "key": side.key, "fingerprint": side.inputs.as_ref().filter(|_| side.key.is_some()) });
    let differing: Vec<Value> = lines(now, then)
        .into_iter()
        .filter(|(_, then, now)| then != now && !is_unknown(now))
        .map(|(name, then, now)| json!({ "what": name, "then": then, "now": now }))
        .collect();
    json!({ "step": step.step.to_string(), "state": words(step).0, "now": side(now), "then": side(then), "differing": differing })
}

//! `sciembed explain WORKFLOW NODE`: everything that a step's key is made of, beside what it was when it was applied.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::environment::Machine;
use super::log;
use super::plan::words;
use super::print::say;
use super::workflow::WorkflowArguments;
use super::{DoorError, Failure};
use crate::digest::NodeKey;
use crate::error::Exit;
use crate::fingerprint::Fingerprint;
use crate::history::{PastRun, runs};
use crate::plan::{PlannedStep, plan};
use crate::run::RunError;

/// A step's inputs on one side, and where they are from.
struct Side<'a> {
    from: String,
    known: Option<(NodeKey, &'a Fingerprint)>,
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
        let known = observed.key(step.index).zip(observed.fingerprint(step.index));
        let now = Side { from: "now".to_owned(), known };
        let then = match past {
            Some(run) => applied_by(run, step),
            None => {
                let last = observed.references.get(&step.index);
                let from = last.map_or("never applied".to_owned(), |last| format!("last applied in run {}", last.run));
                Side { from, known: last.map(|last| (last.key, &last.fingerprint)) }
            }
        };
        if as_json { say(format!("{:#}", json_of(step, &now, &then)))? } else { print(step, &now, &then)? }
    }
    Ok(Exit::Done)
}

fn applied_by<'a>(run: &'a PastRun, step: &PlannedStep) -> Side<'a> {
    let known = run.fingerprint(&step.step);
    let told = if known.is_some() { "run" } else { "not applied by run" };
    Side { from: format!("{told} {}", run.id), known }
}

/// A name, and its values then and now; none where it is not there.
type Line = (String, Option<String>, Option<String>);

fn lines(now: &Side, then: &Side) -> Vec<Line> {
    let (now, then) = (now.known.map(|(_, inputs)| told(inputs)), then.known.map(|(_, inputs)| told(inputs)));
    let (now, then) = (now.unwrap_or_default(), then.unwrap_or_default());
    let names: BTreeSet<&String> = now.iter().chain(&then).map(|(name, _)| name).collect();
    let of = |side: &[(String, String)], name: &String| {
        side.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    names.into_iter().map(|name| (name.clone(), of(&then, name), of(&now, name))).collect()
}

/// Configuration, inputs with their digests, and names that are in no key.
fn told(inputs: &Fingerprint) -> Vec<(String, String)> {
    let mut told = vec![("revision".to_owned(), inputs.revision.to_string())];
    told.extend(inputs.config.iter().map(|(name, value)| (format!("config {name}"), value.clone())));
    let numbered = inputs.inputs.iter().enumerate();
    told.extend(numbered.map(|(at, (role, digest))| (format!("input {at} {role}"), digest.to_string())));
    told.extend(inputs.names.iter().map(|(name, value)| (format!("name {name} (in no key)"), value.clone())));
    told
}

fn print(step: &PlannedStep, now: &Side, then: &Side) -> Result<(), DoorError> {
    let (state, detail) = words(step);
    say(format!("{}  {state}  {detail}", step.step))?;
    let key = |side: &Side| side.known.map_or("no key".to_owned(), |(key, _)| format!("key {key}"));
    say(format!("  now: {}", key(now)))?;
    say(format!("  {}: {}", then.from, key(then)))?;
    for (name, then, now) in lines(now, then) {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        if then == now {
            say(format!("    {name}: {}", shown(&now)))?;
        } else {
            say(format!("  - {name}: {}\n  + {name}: {}", shown(&then), shown(&now)))?;
        }
    }
    Ok(())
}

fn json_of(step: &PlannedStep, now: &Side, then: &Side) -> Value {
    let side = |side: &Side| json!({ "from": side.from, "key": side.known.map(|(key, _)| key), "fingerprint": side.known.map(|(_, inputs)| inputs) });
    let differing: Vec<Value> = lines(now, then)
        .into_iter()
        .filter(|(_, then, now)| then != now)
        .map(|(name, then, now)| json!({ "what": name, "then": then, "now": now }))
        .collect();
    json!({ "step": step.step.to_string(), "state": words(step).0, "now": side(now), "then": side(then), "differing": differing })
}

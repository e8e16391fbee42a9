//! `sciembed check`: every fault of a workflow at once, without looking at data, models or the store.

use std::collections::BTreeSet;

use super::Failure;
use super::print::show;
use super::workflow::WorkflowArguments;
use crate::error::Exit;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let graph = arguments.workflow.read()?.graph;
    let nodes: BTreeSet<_> = graph.steps.iter().map(|step| (step.id.kind, &step.id.node)).collect();
    let path = arguments.workflow.path.display();
    let (nodes, steps) = (nodes.len(), graph.steps.len());
    show(format!("{path} is in order: workflow {}, {nodes} nodes, {steps} steps", graph.name))?;
    Ok(Exit::Done)
}

//! `sciembed peek`: one record on its way through the steps, or the rows of a step's table.

mod table;
mod words;

use tempfile::NamedTempFile;

use super::environment::Machine;
use super::print::say;
use super::workflow::WorkflowArguments;
use super::{DoorError, Failure, standard_input};
use crate::error::Exit;
use crate::graph::{Graph, Scope, StepIndex};
use crate::stages::{Pick, follow};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sciembed peek WORKFLOW 'embed.minilm[2010]' --random\n  \
    sciembed peek WORKFLOW 'load.records[2010]' rejects -n 5\n  \
    zcat 2010.json.gz | sciembed peek WORKFLOW embed.minilm\n\n\
    Where the load has `input = \"-\"`, the record is one of those that are piped in, which are not kept; if none are, \
    one of those that the last apply read.")]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
    /// The step, as plan names it: load.records[2010]. The record is followed as far as this one
    step: String,
    /// Print rows of this table of the step instead: records, rejects, texts, vectors, failed or superseded
    table: Option<String>,
    /// Follow this record [default: the first one that is taken]
    #[arg(long, value_name = "BIBCODE", conflicts_with = "table")]
    record: Option<String>,
    /// Follow a record drawn at random
    #[arg(long, conflicts_with_all = ["table", "record"])]
    random: bool,
    /// Print everything as JSON, nothing shortened
    #[arg(long, conflicts_with = "table")]
    json: bool,
    /// Print at most this many rows of the table
    #[arg(long, short = 'n', value_name = "N", requires = "table")]
    limit: Option<usize>,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.workflow.read()?;
    let (scope, step) = only_step(&workflow.graph, &arguments.step)?;
    let mut observer = workflow.observer(&arguments.machine)?;
    if let Some(table) = &arguments.table {
        return table::print(&mut observer, &scope, step, table, arguments.limit);
    }
    let pick = match &arguments.record {
        Some(bibcode) => Pick::Named(bibcode.trim()),
        None if arguments.random => Pick::Random,
        None => Pick::First,
    };
    let piped = standard_input::kept(&observer, &scope)?;
    let Some(stages) = follow(&mut observer, step, pick, piped.as_ref().map(NamedTempFile::path))? else {
        let reason = "what it stands for is no single record";
        let help = "name a load, prepare, embed or persist step, or a table behind the step, as in `superseded`";
        return Err(refused(&workflow.graph, step, reason, help.to_owned()).into());
    };
    if arguments.json {
        say(serde_json::to_string_pretty(&stages).expect("stages are plain data"))?;
    } else {
        words::tell(&stages, pick, &arguments.workflow.path.display().to_string())?;
    }
    Ok(if stages.record.is_some() { Exit::Done } else { Exit::Error })
}

/// The step that is named, with all that it needs.
fn only_step(graph: &Graph, named: &str) -> Result<(Scope, StepIndex), Failure> {
    let scope = graph.select(None, &[named.to_owned()])?;
    let same_node = |a: StepIndex, b: StepIndex| graph.steps[a].id.node == graph.steps[b].id.node;
    // It is the last of the selection, unless the name stands for several.
    let Some(last) = scope.steps().last().copied() else { unreachable!("a selection holds what was named") };
    match scope.steps().iter().filter(|other| same_node(**other, last)).count() {
        1 => Ok((scope, last)),
        _ => {
            let (reason, help) =
                ("it stands for several steps", format!("name one of them, as in {}", graph.steps[last].id));
            Err(DoorError::Peek { step: named.to_owned(), reason: reason.to_owned(), help }.into())
        }
    }
}

fn refused(graph: &Graph, step: StepIndex, reason: &str, help: String) -> DoorError {
    DoorError::Peek { step: graph.steps[step].id.to_string(), reason: reason.to_owned(), help }
}

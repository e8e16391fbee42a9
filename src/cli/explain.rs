//! `sciembed explain`: where a published row came from, down to the line of a source file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::DateTime;

use super::datasets::{DatasetArguments, look_up, tell_unknown};
use super::environment::Machine;
use super::print::{printable, remark, say, show};
use super::workflow::WorkflowArguments;
use super::{DoorError, Failure, inputs};
use crate::dataset::Dataset;
use crate::error::Exit;
use crate::event::{Detail, Event};
use crate::graph::StepId;
use crate::history::{PastRun, runs};
use crate::lineage::{Lineage, LineageError, MadeBy, Selecting, SetAside, Trace, published_by, store_of};
use crate::store::Store;

/// Characters of a field or text that fit on its line.
const SHOWN_CHARACTERS: usize = 100;

#[derive(clap::Args)]
pub struct Arguments {
    /// A paper; or, with a node or step behind it, a workflow file
    #[arg(value_name = "BIBCODE|WORKFLOW")]
    what: String,
    /// The node or step of that workflow whose inputs are to be shown, as in embed.minilm or embed.minilm[2017]
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// Show them beside what this run applied, instead of what was applied last
    #[arg(long, value_name = "RUN", requires = "node")]
    against: Option<String>,
    /// Override a value of the workflow, as in --set embed.minilm.model=../models/other
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "node")]
    overrides: Vec<String>,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    datasets: DatasetArguments,
    /// The store that it was built in [default: what the dataset's provenance file says]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print everything as JSON, texts in full
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(node) = &arguments.node {
        let workflow = WorkflowArguments::new(PathBuf::from(&arguments.what), arguments.overrides.clone());
        let against = arguments.against.as_deref();
        return inputs::explain(&workflow, &arguments.machine, node, against, arguments.json);
    }
    if Path::new(&arguments.what).extension().is_some_and(|extension| extension == "toml") {
        return Err(no_node(&arguments.what)?.into());
    }
    let datasets = arguments.datasets.open()?;
    let bibcode = arguments.what.trim();
    let Some((dataset, _)) = look_up(&datasets, bibcode)? else {
        if !tell_set_aside(arguments, &datasets, bibcode)? {
            if !tell_removed(arguments, &datasets, bibcode)? {
                tell_unknown(&datasets, bibcode);
            }
            tell_selecting(arguments, &datasets, bibcode)?;
        }
        return Ok(Exit::Error);
    };
    let lineage = lineage(arguments, dataset)?;
    let trace = lineage.trace(dataset, bibcode)?.expect("it was just looked up in this very set");
    if arguments.json {
        say(serde_json::to_string_pretty(&trace).expect("a trace is plain data"))?;
    } else {
        show(worded(&trace))?;
    }
    Ok(Exit::Done)
}

/// No bibcode ends like a workflow's file.
fn no_node(workflow: &str) -> Result<DoorError, Failure> {
    let read = WorkflowArguments::new(PathBuf::from(workflow), Vec::new()).read()?;
    let mut nodes: Vec<String> =
        read.graph.steps.iter().map(|step| format!("{}.{}", step.id.kind, step.id.node)).collect();
    nodes.dedup();
    let example = nodes.first().cloned().unwrap_or_default();
    Ok(DoorError::NoNode { workflow: workflow.to_owned(), example, nodes: nodes.join(", ") })
}

fn lineage(arguments: &Arguments, dataset: &Dataset) -> Result<Lineage, LineageError> {
    let (dir, description) = (&arguments.datasets.dir, dataset.description());
    let store = store_of(dir, &description.dataset, &description.set, arguments.store.as_deref())?;
    Lineage::open(store, &published_by(dir, &description.dataset)?.owner.workflow)
}

/// Says of a paper that no dataset holds where it was set aside, if it was.
fn tell_set_aside(arguments: &Arguments, datasets: &[Dataset], bibcode: &str) -> Result<bool, LineageError> {
    let mut told = false;
    for dataset in datasets {
        let description = dataset.description();
        for SetAside { kind, reason, detail, file, line } in
            lineage(arguments, dataset)?.set_aside(&description.set, bibcode)?
        {
            let name = &description.dataset;
            remark(format!("{bibcode} is not in {name}: {kind} set line {line} of {file} aside as {reason}: {detail}"));
            told = true;
        }
    }
    Ok(told)
}

/// Says which loads left records out: the paper may be one of them, which only the files can tell.
fn tell_selecting(arguments: &Arguments, datasets: &[Dataset], bibcode: &str) -> Result<(), LineageError> {
    let mut loads = BTreeSet::new();
    for dataset in datasets {
        loads.extend(lineage(arguments, dataset)?.selecting(&dataset.description().set)?);
    }
    for Selecting { step, not_selected, beyond_limit } in loads {
        let counts = [(not_selected, "by `where` or `sample`"), (beyond_limit, "beyond `limit`")];
        let left_out = counts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
        let left_out = left_out.collect::<Vec<_>>().join(" and ");
        remark(format!(
            "{step} left out {left_out}; whether {bibcode} is one: sciembed peek WORKFLOW '{step}' --record '{bibcode}'"
        ));
    }
    Ok(())
}

/// Says of a paper that no dataset holds which run was the last to remove it from one, if any did.
fn tell_removed(arguments: &Arguments, datasets: &[Dataset], bibcode: &str) -> Result<bool, Failure> {
    let mut roots = BTreeSet::new();
    for dataset in datasets {
        roots.insert(lineage(arguments, dataset)?.store().root().to_owned());
    }
    let mut told = false;
    for root in roots {
        let removals = removals(&runs(&Store::open(&root)?)?, bibcode);
        for (step, (run, now)) in &removals {
            let now = now.as_ref().map_or(String::new(), |now| format!(", which holds it as {now} now"));
            remark(format!("{bibcode} was removed from {step} in run {run}{now}"));
        }
        told |= !removals.is_empty();
    }
    Ok(told)
}

/// For each step the last run that removed a paper, and the bibcode that it has since, where it has one.
fn removals(runs: &[PastRun], bibcode: &str) -> BTreeMap<StepId, (String, Option<String>)> {
    let mut removals = BTreeMap::new();
    for run in runs {
        for entry in &run.entries {
            if let Event::StepDetail { step, detail: Detail::Removed { rows } } = &entry.event
                && let Some(row) = rows.iter().find(|row| row.bibcode == bibcode)
            {
                removals.insert(step.clone(), (run.id.clone(), row.now.clone()));
            }
        }
    }
    removals
}

/// One block for each hand-over, the published row first.
fn worded(trace: &Trace) -> String {
    let alias = trace.asked.as_ref().map_or(String::new(), |asked| format!(", of which {asked} is an alias"));
    let mut lines = vec![format!("{}{alias}", trace.bibcode)];
    let mut tell = |what: &str, text: String| lines.push(format!("  {what:8}  {text}"));
    for dataset in &trace.datasets {
        tell("dataset", format!("row {} of {}, set {}", dataset.row, dataset.dataset, dataset.set.short()));
        tell("", made(&dataset.made_by));
    }
    let vector = &trace.vector;
    tell("vector", format!("row {} of table {}, row key {}", vector.row, vector.table.short(), vector.row_key));
    tell("", format!("{} tokens read, {} dropped", vector.tokens, vector.tokens_dropped));
    tell("", made(&vector.made_by));
    let text = &trace.text;
    tell(
        "text",
        format!("row {} of table {}{}", text.row, text.table.short(), if text.truncated { ", truncated" } else { "" }),
    );
    tell("", shortened(&text.text));
    tell("", made(&text.made_by));
    let record = &trace.record;
    tell("record", format!("row {} of table {}, digest {}", record.row, record.table.short(), record.metadata_digest));
    for (name, values) in &record.fields {
        let values = values.as_ref().map_or("(missing)".to_owned(), |values| shortened(&values.join("; ")));
        tell("", format!("{name}: {values}"));
    }
    tell("", made(&record.made_by));
    let source = &trace.source;
    tell("source", format!("line {} of {}", source.line, source.file));
    tell("", format!("{} bytes, BLAKE3 {}", source.bytes, source.digest));
    lines.join("\n")
}

fn made(by: &MadeBy) -> String {
    let step = by.step.as_deref().unwrap_or("a step whose result the workflow no longer uses");
    let at = i64::try_from(by.started).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let at = at.map_or(String::new(), |at| format!(" at {}", at.format("%Y-%m-%d %H:%M:%S UTC")));
    format!("made by {step}, key {}, in run {} on {}{at}", by.key.short(), by.run, by.host)
}

fn shortened(text: &str) -> String {
    let flat = printable(text).split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{} … ({} characters in all)", &flat[..end], text.chars().count()),
        None => flat,
    }
}

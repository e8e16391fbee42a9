//! How a run went, as one page: from its journal, its graph, the store's tables and what was published.
//!
//! ```text
//! journal -> steps.rs: what each step did, and when ------------+
//! vectors tables -> tokens.rs: how long the texts are ----------+-> the crate `report` -> one HTML file
//! published vectors, and titles -> map.rs: a sample on a plane -+
//! ```
//!
//! Numbers are the journal's, as the summary's are. Reads only; a report can be made again of any run that a journal tells of,
//! and of tables and datasets it says what stands now.

mod map;
mod steps;
mod tokens;

use std::path::{Path, PathBuf};

pub use sciembed_report::Report;
use sciembed_report::{Cost, Fact, IndexLine, Note, Outcome, Reject, Reuse};

use crate::ann;
use crate::event::{Detail, Event};
use crate::graph::{Graph, NodeKind, StepIndex};
use crate::history::PastRun;
use crate::lineage::Lineage;
use crate::record::{Pace, Record};
use crate::store::Store;

/// A dataset of the workflow.
pub struct Dataset {
    /// The step that publishes it.
    pub step: StepIndex,
    /// The directory that shows it.
    pub dir: PathBuf,
    /// Its name.
    pub name: String,
}

/// The report of a run of this workflow. What cannot be read is left out: a page that lacks its map is worth having.
pub fn of(run: &PastRun, graph: &Graph, store: &Store, datasets: &[Dataset]) -> Report {
    let mut report = Report {
        title: run.workflow.clone(),
        run: run.id.clone(),
        started: run.started,
        seconds: run.seconds.unwrap_or_default(),
        outcome: outcome(run),
        steps: steps::of(run, graph),
        throughput: steps::throughput(run),
        ..Report::default()
    };
    run.entries.iter().for_each(|entry| add(&mut report, &entry.event));
    let lineage = Lineage::open(store.clone(), &run.workflow).ok();
    if let Some(lineage) = &lineage {
        let embedded = embedded(run, lineage);
        report.facts.extend(facts(&embedded));
        report.tokens = tokens::histogram(store, &embedded, limit(graph));
        report.map = last(graph, datasets).and_then(|it| map::of(&it.dir, &it.name, lineage));
    }
    report.indexes = datasets.iter().filter_map(|it| index(&it.dir, &it.name)).collect();
    report
}

fn outcome(run: &PastRun) -> Outcome {
    match run.outcome {
        Some(crate::event::Outcome::Failed) => Outcome::Failed,
        Some(crate::event::Outcome::Done | crate::event::Outcome::NothingToDo) => Outcome::Done,
        Some(crate::event::Outcome::Interrupted) | None => Outcome::Interrupted,
    }
}

/// Adds up what an event counts.
fn add(report: &mut Report, event: &Event) {
    match event {
        Event::RunStarted { version, overrides, .. } => {
            report.version.clone_from(version);
            report.overrides.clone_from(overrides);
        }
        Event::StepNote { step, note } => {
            report.notes.push(Note { step: step.to_string(), note: note.clone() });
        }
        Event::StepDetail { detail: Detail::Asked { requests, failed, tokens, micro_usd }, .. } => {
            let cost = report.cost.get_or_insert_with(Cost::default);
            cost.requests += requests;
            cost.failed += failed;
            cost.tokens += tokens;
            cost.micro_usd += micro_usd;
        }
        Event::StepFinished { step, counts, run_counts, pace, .. } => {
            let count = |name: &str| run_counts.get(name).copied().unwrap_or(0);
            if step.kind == NodeKind::Embed {
                let Reuse { embedded, reused, .. } = &mut report.reuse;
                *embedded += count("embedded");
                *reused += count("reused");
            }
            if matches!(step.kind, NodeKind::Persist | NodeKind::Merge) {
                report.reuse.removed += count("removed");
            }
            let reasons = counts.iter().filter_map(|(name, rows)| Some((name.strip_prefix("rejected.")?, *rows)));
            report.rejects.extend(reasons.map(|(reason, rows)| Reject {
                step: step.to_string(),
                reason: reason.to_owned(),
                rows,
            }));
            if let Some(Pace { rows, seconds }) = pace {
                let sum = report.pace.get_or_insert_with(sciembed_report::Pace::default);
                sum.rows += rows;
                sum.seconds += seconds;
            }
        }
        _ => {}
    }
}

/// The records of the embed steps that a run finished.
fn embedded<'a>(run: &PastRun, lineage: &'a Lineage) -> Vec<&'a Record> {
    let keys = run.entries.iter().filter_map(|entry| match &entry.event {
        Event::StepFinished { step, key: Some(key), .. } if step.kind == NodeKind::Embed => Some(key),
        _ => None,
    });
    keys.filter_map(|key| lineage.record(key)).collect()
}

/// The machine and what ran there, as the last embed step says.
fn facts(embedded: &[&Record]) -> Vec<Fact> {
    let Some(record) = embedded.last() else { return Vec::new() };
    let machine = record.provenance.machine.iter().map(|(name, value)| (name.clone(), value.clone()));
    let host = ("host".to_owned(), record.provenance.host.clone());
    std::iter::once(host).chain(machine).map(|(name, value)| Fact { name, value }).collect()
}

/// The most tokens that any model of the workflow reads, where it says so.
fn limit(graph: &Graph) -> Option<u64> {
    let limits = graph.steps.iter().filter_map(|step| match &step.config {
        crate::graph::Config::Embed(embed) => Some(embed.max_length? as u64),
        _ => None,
    });
    limits.max()
}

/// The dataset furthest downstream.
fn last<'a>(graph: &Graph, datasets: &'a [Dataset]) -> Option<&'a Dataset> {
    datasets.iter().max_by_key(|it| (graph.steps[it.step].id.kind, it.step))
}

fn index(dir: &Path, dataset: &str) -> Option<IndexLine> {
    let index = ann::described(dir, dataset)?;
    let bytes_each = index.bytes as f64 / index.rows.max(1) as f64;
    let ann::Described { dataset, factory, rows, recall_at_10, seconds, .. } = index;
    Some(IndexLine { dataset, factory, rows: rows as u64, bytes_each, recall_at_10: Some(recall_at_10), seconds })
}

//! The small tables: datasets, nodes and runs.

use std::collections::BTreeMap;

use duckdb::{Connection, params};
use serde::Deserialize;

use super::{FillError, Shelf, Shown};
use crate::event::{Event, Outcome};
use crate::graph::{is_part_file, manifest_file};
use crate::lineage::{Lineage, Origin};
use crate::record::Record;
use crate::store::{Store, StoreError};

/// Fills them.
pub fn fill(connection: &Connection, shelf: &Shelf) -> Result<(), FillError> {
    for shown in &shelf.datasets {
        dataset(connection, shelf.lineage(shown), shown)?;
    }
    for ((_, workflow), lineage) in &shelf.lineages {
        nodes(connection, lineage, workflow)?;
    }
    let stores: BTreeMap<_, &Store> =
        shelf.lineages.iter().map(|((root, _), lineage)| (root, lineage.store())).collect();
    stores.into_values().try_for_each(|store| runs(connection, store))
}

/// What the manifest of a set says of it, as the catalog shows it.
#[derive(Deserialize)]
struct Description {
    label: String,
    cells: serde_json::Value,
    model: Option<String>,
    embedder: Option<String>,
    dim: u32,
    dtype: String,
    rows: u64,
    bit_stable: bool,
}

fn dataset(connection: &Connection, lineage: &Lineage, shown: &Shown) -> Result<(), FillError> {
    let set = lineage.set(&shown.set)?;
    let says = description(lineage.store(), set.record, &shown.name)?;
    let parts = match &set.origin {
        Origin::Merged(parts) => Some(parts.iter().map(|part| part.dataset.as_str()).collect::<Vec<_>>().join("\n")),
        Origin::Embedded(_) => None,
    };
    let files = set.record.files();
    let bytes: u64 = files.iter().filter(|(file, _)| !is_part_file(file)).map(|(_, output)| output.bytes).sum();
    let by = &shown.by;
    connection
        .prepare_cached(
            "INSERT INTO datasets VALUES \
             (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, string_split(?, chr(10)), ?, ?, make_timestamp(?), ?, ?)",
        )?
        .execute(params![
            shown.name,
            shown.set.to_string(),
            says.label,
            says.cells.to_string(),
            says.model,
            says.embedder,
            says.dim,
            says.dtype,
            says.rows,
            bytes,
            says.bit_stable,
            parts,
            by.owner.workflow,
            by.owner.step,
            microseconds(by.published.at),
            by.published.run,
            by.published.host,
        ])?;
    Ok(())
}

fn description(store: &Store, record: &Record, name: &str) -> Result<Description, StoreError> {
    let manifest = &record.outputs[&manifest_file(name)];
    let bytes = store.map_blob(&manifest.digest)?;
    serde_json::from_slice(&bytes).map_err(|error| StoreError::damaged(&store.blob_path(&manifest.digest), error))
}

/// The steps of a workflow, each with the record that it last used, if that is still there.
fn nodes(connection: &Connection, lineage: &Lineage, workflow: &str) -> Result<(), FillError> {
    let mut insert =
        connection.prepare_cached("INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, make_timestamp(?), ?, ?, ?)")?;
    for (step, key) in lineage.steps() {
        let record = lineage.record(key);
        let count = |name: &str| record.and_then(|record| record.counts.get(name).copied());
        let made = record.map(|record| &record.provenance);
        insert.execute(params![
            workflow,
            step.to_string(),
            step.kind.to_string(),
            key.to_string(),
            count("rows_in"),
            count("rows"),
            count("rejected"),
            made.map(|made| made.seconds),
            made.map(|made| microseconds(made.started)),
            made.map(|made| &made.run),
            made.map(|made| &made.host),
            made.map(|made| &made.version),
        ])?;
    }
    Ok(())
}

/// What a journal tells of its run.
#[derive(Default)]
struct Run {
    workflow: Option<String>,
    version: Option<String>,
    started: Option<i64>,
    finished: Option<i64>,
    seconds: Option<f64>,
    outcome: Option<&'static str>,
    steps_finished: u64,
    steps_failed: u64,
}

impl Run {
    fn add(&mut self, event: Event) {
        match event {
            Event::RunStarted { workflow, version, at, .. } => {
                (self.workflow, self.version, self.started) = (Some(workflow), Some(version), Some(microseconds(at)));
            }
            Event::StepFinished { .. } => self.steps_finished += 1,
            Event::StepDetail { .. } => {}
            Event::StepFailed { .. } => self.steps_failed += 1,
            Event::RunFinished { outcome, seconds, at } => {
                (self.finished, self.seconds) = (Some(microseconds(at)), Some(seconds));
                self.outcome = Some(match outcome {
                    Outcome::NothingToDo => "nothing_to_do",
                    Outcome::Done => "done",
                    Outcome::Failed => "failed",
                    Outcome::Interrupted => "interrupted",
                });
            }
            Event::StepStarted { .. } | Event::StepProgress { .. } | Event::StepNote { .. } | Event::RunInterrupted => {
            }
        }
    }
}

fn runs(connection: &Connection, store: &Store) -> Result<(), FillError> {
    let mut insert = connection
        .prepare_cached("INSERT INTO runs VALUES (?, ?, ?, make_timestamp(?), make_timestamp(?), ?, ?, ?, ?)")?;
    for (id, journal) in store.journals()? {
        let mut run = Run::default();
        // A line that does not read is the last one of a run that was killed.
        journal.lines().filter_map(|line| serde_json::from_str(line).ok()).for_each(|event| run.add(event));
        insert.execute(params![
            id,
            run.workflow,
            run.version,
            run.started,
            run.finished,
            run.seconds,
            run.outcome,
            run.steps_finished,
            run.steps_failed,
        ])?;
    }
    Ok(())
}

fn microseconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(0) * 1_000_000
}

//! A plan that was saved, to be applied as it was read: `plan --out plan.json`, then `apply plan.json`.
//!
//! It names the workflow and the options that it was made with, and the state and key of every step. Before it is applied the
//! workflow is planned again: where anything differs, nothing runs, and the differences are told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::words;
use super::print::remark;
use super::workflow::{SelectionArguments, WorkflowArguments};
use super::{DoorError, Failure};
use crate::digest::{Digest, NodeKey};
use crate::error::Exit;
use crate::graph::Graph;
use crate::plan::{Plan, PlannedStep};

/// Raised when files change.
const VERSION: u32 = 1;
/// Differences that are told one by one.
const TOLD: usize = 20;

/// What such a file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    sciembed_plan: u32,
    /// The workflow's file, as it was named, from the folder of the plan's file.
    workflow: PathBuf,
    /// Digest of the workflow as resolved: a node that is pending has no key yet, by which a change of it would be told.
    resolved: Digest,
    overrides: Vec<String>,
    selection: SelectionArguments,
    /// Whether names of others are taken over.
    pub take_over: bool,
    /// Whether papers whose texts could not be embedded may be left out.
    pub accept_failures: bool,
    steps: BTreeMap<String, SavedStep>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedStep {
    state: String,
    key: Option<NodeKey>,
    /// Why, for people.
    detail: String,
}

impl SavedStep {
    fn of(step: &PlannedStep) -> Self {
        let (state, detail) = words(step);
        Self { state: state.to_owned(), key: step.key, detail }
    }
}

impl Saved {
    /// What is to be saved of a plan.
    pub fn new(
        workflow: &WorkflowArguments,
        selection: &SelectionArguments,
        (take_over, accept_failures): (bool, bool),
        (graph, plan): (&Graph, &Plan),
    ) -> Self {
        let steps = plan.steps.iter().map(|step| (step.step.to_string(), SavedStep::of(step))).collect();
        Self {
            sciembed_plan: VERSION,
            workflow: fs::canonicalize(&workflow.path).unwrap_or_else(|_| workflow.path.clone()),
            resolved: digest(graph),
            overrides: workflow.overrides().to_vec(),
            selection: selection.clone(),
            take_over,
            accept_failures,
            steps,
        }
    }

    /// Writes it; the workflow is named from the file's folder, so that both may be moved together.
    ///
    /// # Errors
    /// [`DoorError::SavedPlan`].
    pub fn write(mut self, path: &Path) -> Result<(), DoorError> {
        let failed = |reason: String| DoorError::SavedPlan { what: "write", path: path.to_owned(), reason };
        let folder = fs::canonicalize(folder_of(path)).map_err(|error| failed(error.to_string()))?;
        if let Some(relative) = relative(&self.workflow, &folder) {
            self.workflow = relative;
        }
        if path.exists() && !matches!(Self::read(path), Ok(Some(_))) {
            return Err(failed("it is there already, and is no saved plan".to_owned()));
        }
        let text = serde_json::to_string_pretty(&self).map_err(|error| failed(error.to_string()))?;
        fs::write(path, text + "\n").map_err(|error| failed(error.to_string()))
    }

    /// The plan in a file; none if the file is no such thing, but perhaps a workflow.
    ///
    /// # Errors
    /// [`DoorError::SavedPlan`] if it is one that cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, DoorError> {
        let failed = |reason: String| DoorError::SavedPlan { what: "read", path: path.to_owned(), reason };
        let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
        // No workflow begins so.
        if !text.trim_start().starts_with('{') {
            return Ok(None);
        }
        let mut saved: Self = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        if saved.sciembed_plan != VERSION {
            return Err(failed(format!("it is of version {}, and this program reads {VERSION}", saved.sciembed_plan)));
        }
        saved.workflow = folder_of(path).join(&saved.workflow);
        Ok(Some(saved))
    }

    /// The workflow that was planned, as it was named then.
    pub fn workflow(&self) -> WorkflowArguments {
        WorkflowArguments::new(self.workflow.clone(), self.overrides.clone())
    }

    /// The steps that were selected.
    pub fn selection(&self) -> &SelectionArguments {
        &self.selection
    }

    /// What is said of options that would change what was planned.
    pub fn refuse_options(&self, path: &Path) -> DoorError {
        let reason = "--set, --years and --target are part of a plan: it is applied as it was saved".to_owned();
        DoorError::SavedPlan { what: "apply", path: path.to_owned(), reason }
    }

    /// Refuses to go on where a plan of now differs, and says how.
    ///
    /// # Errors
    /// [`Failure::Told`].
    pub fn refuse_if_moved(&self, graph: &Graph, now: &Plan) -> Result<(), Failure> {
        let now: BTreeMap<String, SavedStep> =
            now.steps.iter().map(|step| (step.step.to_string(), SavedStep::of(step))).collect();
        let mut moved: Vec<String> =
            self.steps.iter().filter_map(|(step, was)| difference(step, was, now.get(step))).collect();
        moved.extend(now.keys().filter(|step| !self.steps.contains_key(*step)).map(|step| format!("{step} is new")));
        if self.resolved != digest(graph) {
            moved.insert(0, "the workflow itself was changed".to_owned());
        }
        if moved.is_empty() {
            return Ok(());
        }
        remark("the plan is not applied: the world has moved since it was saved");
        moved.iter().take(TOLD).for_each(|line| remark(format!("  {line}")));
        if moved.len() > TOLD {
            remark(format!("  and {} more", moved.len() - TOLD));
        }
        remark("  -> save a new one with `sciembed plan WORKFLOW --out FILE`, and read it");
        Err(Failure::Told(Exit::Error))
    }
}

/// Of all that the workflow says, in the words of this version of the program.
fn digest(graph: &Graph) -> Digest {
    Digest::of(format!("{} {graph:?}", env!("CARGO_PKG_VERSION")).as_bytes())
}

fn difference(step: &str, was: &SavedStep, is: Option<&SavedStep>) -> Option<String> {
    let Some(is) = is else { return Some(format!("{step} is gone")) };
    if was.state != is.state {
        return Some(format!("{step} was {}, and is {}: {}", was.state, is.state, is.detail));
    }
    (was.key != is.key).then(|| format!("{step} is {} for other inputs: {}", is.state, is.detail))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The way from a folder to a file, both absolute.
fn relative(file: &Path, folder: &Path) -> Option<PathBuf> {
    let common = folder.ancestors().find(|folder| file.starts_with(folder))?;
    let up = folder.strip_prefix(common).ok()?.components().map(|_| "..");
    Some(up.collect::<PathBuf>().join(file.strip_prefix(common).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_workflow_goes_up_and_down() {
        let way = |file: &str, folder: &str| relative(Path::new(file), Path::new(folder)).unwrap();
        assert_eq!(way("/a/b/w.toml", "/a/c/d"), Path::new("../../b/w.toml"));
        assert_eq!(way("/a/w.toml", "/a"), Path::new("w.toml"));
    }
}

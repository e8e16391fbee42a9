//! Arguments that every command over a workflow shares, and reading the workflow they name.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::environment::Machine;
use super::print::remark;
use super::{DoorError, Failure, hub};
use crate::graph::{Config, Graph, Scope, Selection, resolve};
use crate::manifest::Source;
use crate::model::Library;
use crate::observe::Observer;
use crate::store::Store;

/// Largest workflow read: one of a thousand nodes has a tenth of it, so anything larger is another kind of file.
const MAX_WORKFLOW_BYTES: u64 = 1 << 20;

/// A workflow, as the command line names and changes it.
#[derive(clap::Args)]
pub struct WorkflowArguments {
    /// The workflow's TOML file
    #[arg(value_name = "WORKFLOW")]
    pub path: PathBuf,
    /// Override a value, as in --set embed.minilm.model=../models/other
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Which steps a command is about: all, unless some are named.
#[derive(clap::Args, Clone, Debug, Default, Serialize, Deserialize)]
pub struct SelectionArguments {
    /// Only these years and what they need, as in 2019 or 2015:2020
    #[arg(long, value_name = "YEARS")]
    years: Option<String>,
    /// Only this node or step and what it needs, as in embed.minilm or embed.minilm[2017]
    #[arg(long = "target", value_name = "NODE")]
    targets: Vec<String>,
}

/// A workflow that was read and resolved.
pub struct Workflow {
    /// What it means.
    pub graph: Graph,
    /// The folder that its paths are relative to.
    pub base: PathBuf,
}

impl WorkflowArguments {
    /// The workflow at `path`, changed by `overrides`.
    pub fn new(path: PathBuf, overrides: Vec<String>) -> Self {
        Self { path, overrides }
    }

    /// The overrides.
    pub fn overrides(&self) -> &[String] {
        &self.overrides
    }

    /// Reads and resolves the workflow.
    ///
    /// # Errors
    /// A file that cannot be read, or every fault in it.
    pub fn read(&self) -> Result<Workflow, Failure> {
        let text = read_text(&self.path)?;
        let source = Source { name: self.path.display().to_string(), text };
        let graph = resolve(&source, &self.overrides)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base = fs::canonicalize(folder).map_err(|error| refused(&self.path, error))?;
        Ok(Workflow { graph, base })
    }
}

impl SelectionArguments {
    /// Whether no steps are named, and so all are meant.
    pub fn is_all(&self) -> bool {
        self.years.is_none() && self.targets.is_empty()
    }

    /// The steps that are meant, with everything they need.
    ///
    /// # Errors
    /// If they name a year or a step that is not there.
    pub fn select(&self, graph: &Graph) -> Result<Scope, Failure> {
        let years: Option<Selection> = self.years.as_deref().map(str::parse).transpose()?;
        let scope = graph.select(years.as_ref(), &self.targets)?;
        let lacking = years.map(|years| graph.lacking(&years)).unwrap_or_default();
        if !lacking.is_empty() {
            let lacking: Vec<String> = lacking.iter().map(u64::to_string).collect();
            remark(format!("the workflow has no year {}: its matrix does not name it", lacking.join(", ")));
        }
        Ok(scope)
    }
}

impl Workflow {
    /// An observer of this workflow on this machine.
    ///
    /// # Errors
    /// If the store is of a newer version or cannot be read.
    pub fn observer(&self, machine: &Machine) -> Result<Observer<'_>, Failure> {
        let store = Store::open(&self.base.join(&self.graph.store))?;
        let models = self.graph.steps.iter().filter_map(|step| match &step.config {
            Config::Embed(embed) => Some(embed.model.as_str()),
            _ => None,
        });
        let library = library(&self.base, models)?;
        Ok(Observer::new(&self.graph, library, store, machine.environment()))
    }
}

/// What answers for `models`, which are named by something in `base`.
///
/// # Errors
/// A token or a lock file that cannot be used.
pub fn library<'a>(base: &Path, mut models: impl Iterator<Item = &'a str>) -> Result<Library, Failure> {
    let settings = hub::settings(models.any(|model| model.starts_with("hf://")))?;
    Ok(Library::open(base, settings, hub::listener())?)
}

fn read_text(path: &Path) -> Result<String, DoorError> {
    let meta = fs::metadata(path).map_err(|error| refused(path, error))?;
    if !meta.is_file() {
        return Err(refused(path, "it is no regular file"));
    }
    if meta.len() > MAX_WORKFLOW_BYTES {
        let reason = format!("it has {} bytes, and a workflow has at most {MAX_WORKFLOW_BYTES}", meta.len());
        return Err(refused(path, reason));
    }
    let bytes = fs::read(path).map_err(|error| refused(path, error))?;
    String::from_utf8(bytes)
        .map_err(|error| refused(path, format!("byte {} is not UTF-8", error.utf8_error().valid_up_to())))
}

fn refused(path: &Path, reason: impl ToString) -> DoorError {
    DoorError::Workflow { path: path.display().to_string(), reason: reason.to_string() }
}

//! Naming a store, for commands about a whole one: by a workflow that uses it, or by its folder.

use std::path::PathBuf;

use super::workflow::{Workflow, WorkflowArguments};
use super::{DoorError, Failure};
use crate::store::Store;

/// Which store a command is about.
#[derive(clap::Args)]
#[group(skip)]
pub struct StoreArguments {
    /// The workflow's TOML file, whose store is meant
    #[arg(value_name = "WORKFLOW", required_unless_present = "store", conflicts_with = "store")]
    path: Option<PathBuf>,
    /// The store itself instead, whichever workflows use it
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Override a value of the workflow, as in --set embed.minilm.model=../models/other
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "store")]
    overrides: Vec<String>,
}

impl StoreArguments {
    /// The workflow, if one was named.
    ///
    /// # Errors
    /// A file that cannot be read, or every fault in it.
    pub fn workflow(&self) -> Result<Option<Workflow>, Failure> {
        let arguments = |path: &PathBuf| WorkflowArguments::new(path.clone(), self.overrides.clone());
        self.path.as_ref().map(|path| arguments(path).read()).transpose()
    }

    /// The folder of the store.
    pub fn root(&self, workflow: Option<&Workflow>) -> PathBuf {
        let named = self.store.clone().unwrap_or_default();
        workflow.map_or(named, |workflow| workflow.base.join(&workflow.graph.store))
    }

    /// Opens the store, which must be there.
    ///
    /// # Errors
    /// A folder that holds no store, or one of a newer version.
    pub fn open(&self, workflow: Option<&Workflow>) -> Result<Store, Failure> {
        let root = self.root(workflow);
        if !["VERSION", "records", "blobs"].iter().any(|part| root.join(part).exists()) {
            return Err(DoorError::NoStore { path: root.display().to_string() }.into());
        }
        Ok(Store::open(&root)?)
    }
}

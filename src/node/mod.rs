//! One file per node kind: what a step does once its inputs stand in the store.
//!
//! A node reads blobs and writes blobs; it writes no record, holds no lock and knows no other step. It tells progress
//! and asks whether it should stop through its [`Context`]. Rows in = rows out + rejects, always.

mod claims;
mod compute;
pub mod embed;
mod error;
mod gather;
mod left_out;
pub mod load;
pub mod merge;
pub mod persist;
pub mod prepare;
mod rejects;
mod removed;
mod set;
mod superseded;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub use error::{NodeError, with_causes};
pub use removed::Previous;

use crate::event::{Detail, Unit};
use crate::record::{Output, Pace};
use crate::store::Store;

/// What a node may use of the world around it.
pub struct Context<'a> {
    /// The store.
    pub store: &'a Store,
    /// The manifest's folder, which paths are relative to.
    pub base: &'a Path,
    /// Set when the node should stop as soon as it has put its work in order.
    pub cancel: &'a AtomicBool,
    /// Told how much is done, of how much, of what.
    pub progress: &'a (dyn Fn(u64, Option<u64>, Unit) + Sync),
    /// Told what the user should know.
    pub note: &'a (dyn Fn(String) + Sync),
    /// Told what is to be found again in the journal.
    pub detail: &'a (dyn Fn(Detail) + Sync),
}

impl Context<'_> {
    /// Ends the node if the run was interrupted.
    ///
    /// # Errors
    /// [`NodeError::Interrupted`].
    pub fn check_cancel(&self) -> Result<(), NodeError> {
        if self.cancel.load(Ordering::Relaxed) { Err(NodeError::Interrupted) } else { Ok(()) }
    }
}

/// What a node made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Made {
    /// Its outputs.
    pub outputs: BTreeMap<String, Output>,
    /// Counts that follow from its inputs alone: `rows_in`, `rows`, `rejected.<reason>`, `truncated`, …
    pub counts: BTreeMap<String, u64>,
    /// Counts of this very run: `embedded`, `reused`.
    pub run_counts: BTreeMap<String, u64>,
    /// Of an embed step: what its embedder computed in this run.
    pub pace: Option<Pace>,
    /// Facts that later nodes state: the model, its dim.
    pub facts: BTreeMap<String, String>,
    /// What it ran on.
    pub machine: BTreeMap<String, String>,
    /// Whether these bytes would come out again on another machine, or on another of this run's parts.
    pub not_bit_stable: bool,
}

impl Made {
    fn count(&mut self, name: &str, value: u64) {
        self.counts.insert(name.to_owned(), value);
    }

    fn fact(&mut self, name: &str, value: impl ToString) {
        self.facts.insert(name.to_owned(), value.to_string());
    }
}

//! What happened in earlier runs, read from their journals.
//!
//! Reads only. A run that has no end in its journal lives or was killed: the store's run locks tell which.

use serde::{Deserialize, Serialize};

use crate::digest::NodeKey;
use crate::event::{Event, Outcome};
use crate::fingerprint::Fingerprint;
use crate::graph::StepId;
use crate::store::{Holder, Store, StoreError};

/// A line of a journal: an event and when it happened. Journals of older versions do not tell the time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// When, milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub time_ms: u64,
}

/// What a run's journal tells.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// The run.
    pub id: String,
    /// Its workflow.
    pub workflow: String,
    /// Start, seconds since 1970-01-01 UTC.
    pub started: u64,
    /// How it ended; none if it lives or was killed.
    pub outcome: Option<Outcome>,
    /// How long it took, or none as above.
    pub seconds: Option<f64>,
    /// Who runs it, if it lives.
    pub holder: Option<Holder>,
    /// Everything that was written down, in order.
    pub entries: Vec<Entry>,
}

impl PastRun {
    /// The inputs of a step as this run applied them, with their key.
    pub fn fingerprint(&self, of: &StepId) -> Option<(NodeKey, &Fingerprint)> {
        self.entries.iter().rev().find_map(|entry| match &entry.event {
            Event::StepFinished { step, key: Some(key), fingerprint: Some(fingerprint), .. } if step == of => {
                Some((*key, &**fingerprint))
            }
            _ => None,
        })
    }
}

/// The runs of a store, oldest first.
///
/// # Errors
/// [`StoreError::Read`].
pub fn runs(store: &Store) -> Result<Vec<PastRun>, StoreError> {
    let living = store.live_runs()?;
    Ok(store.journals()?.into_iter().map(|(id, journal)| past_run(id, entries(&journal), &living)).collect())
}

/// One run of a store, as it stands now.
///
/// # Errors
/// [`StoreError::Read`].
pub fn run(store: &Store, id: &str) -> Result<PastRun, StoreError> {
    Ok(past_run(id.to_owned(), entries(&store.journal_of(id)?), &store.live_runs()?))
}

/// What does not read is the torn end of a run that was killed.
fn entries(journal: &str) -> Vec<Entry> {
    journal.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn past_run(id: String, entries: Vec<Entry>, living: &[Holder]) -> PastRun {
    let holder = living.iter().find(|holder| holder.run == id).cloned();
    let mut run = PastRun { id, workflow: String::new(), started: 0, outcome: None, seconds: None, holder, entries };
    for entry in &run.entries {
        match &entry.event {
            Event::RunStarted { workflow, at, .. } => (run.workflow, run.started) = (workflow.clone(), *at),
            Event::RunFinished { outcome, seconds, .. } => {
                (run.outcome, run.seconds) = (Some(*outcome), Some(*seconds));
            }
            _ => {}
        }
    }
    run
}

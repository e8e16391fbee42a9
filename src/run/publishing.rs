//! Showing a step's set in its directory.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::job::recorded;
use crate::digest::NodeKey;
use crate::fingerprint::StaleReason;
use crate::graph::{Config, StepIndex};
use crate::manifest::config::EmbedConfig;
use crate::node::{Context, NodeError};
use crate::observe::Observer;
use crate::plan::{Observed, PlannedStep};
use crate::published::{EmbeddedBy, Owner, Publication, PublishError};
use crate::record::{Record, Reference};
use crate::store::{durable, pretty_json};

/// How a set is shown.
pub(super) struct Publishing {
    dir: PathBuf,
    pub name: String,
    owner: Owner,
    take_over: bool,
    /// The embed node that its vectors come from.
    embed: Option<EmbedConfig>,
    /// How what it was made of came about, for the provenance file.
    origin: (&'static str, Value),
    /// The record, if the set stands already and only its directory does not show it.
    pub built: Option<Record>,
}

impl Publishing {
    /// How the set of this step is shown; none for kinds that publish nothing.
    pub fn of(
        observer: &Observer,
        observed: &Observed,
        step: &PlannedStep,
        reason: &StaleReason,
        key: NodeKey,
    ) -> Option<Self> {
        let (graph, index) = (observer.graph, step.index);
        let dataset = graph.steps[index].dataset()?;
        let upstreams = &graph.steps[index].upstreams;
        let origin = match &graph.steps[index].config {
            Config::Merge(_) => {
                let part = |&from: &StepIndex| json!({ "step": graph.steps[from].id.to_string(), "set": recorded(observed, from).key });
                ("merged", upstreams.iter().map(part).collect())
            }
            _ => ("embedded", json!(recorded(observed, upstreams[0]).provenance)),
        };
        let publish_only = matches!(reason, StaleReason::NotPublished { .. });
        Some(Self {
            dir: observer.directory(&dataset),
            owner: observer.owner(&step.step),
            take_over: observer.take_over,
            embed: graph.embed_node(index).cloned(),
            origin,
            built: observed.record(index).filter(|record| publish_only && record.key == key).cloned(),
            name: dataset.name,
        })
    }

    /// Shows the set, once nobody else publishes there.
    pub fn publish(
        &self,
        context: &Context,
        record: &Record,
        reference: &Reference,
        run: &str,
        at: u64,
    ) -> Result<(), NodeError> {
        let Self { dir, name, owner, take_over, embed, origin: (made_of, origin), built } = self;
        // What keeps the directory from being made will be told when the set is published in it.
        let store = fs::create_dir_all(dir).and_then(|()| relative(dir, context.store.root())).ok();
        let base = relative(dir, context.base).ok();
        let embedding = base.zip(embed.clone()).map(|(base, node)| EmbeddedBy { base, node });
        let provenance = json!({
            "dataset": name,
            "set": record.key,
            "owner": owner,
            "store": store,
            "published": { "at": at, "run": run, "host": durable::host() },
            "embedding": embedding,
            "built": record.provenance,
            *made_of: origin,
            "overrides": reference.overrides,
        });
        let publication = Publication {
            dir,
            name,
            set: record.key,
            outputs: &record.files(),
            is_verified: built.is_none(),
            provenance: &pretty_json(&provenance),
            owner,
            take_over: *take_over,
        };
        let told = Cell::new(false);
        let go_on = || {
            if !told.replace(true) {
                (context.note)(format!("waits for its turn to publish in {}", dir.display()));
            }
            context.check_cancel().is_ok()
        };
        match publication.publish(context.store, &go_on) {
            Err(PublishError::Interrupted) => Err(NodeError::Interrupted),
            published => Ok(published?),
        }
    }
}

/// The way from one existing path to another: relative, so that a store and what it published can be moved together.
fn relative(from: &Path, to: &Path) -> io::Result<PathBuf> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}

//! One step on its thread: reads its inputs from the store, runs its node, writes record, publication and reference.
//!
//! Everything a job needs is copied out of the dispatcher's state before it starts; it answers by messages alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::publishing::Publishing;
use super::{Options, now_seconds};
use crate::digest::{EmbedderKey, NodeKey};
use crate::embedder::Embedder;
use crate::event::Event;
use crate::fingerprint::{Fingerprint, StaleReason};
use crate::graph::{
    Config, Graph, StepId, StepIndex, bibcodes_file, embeddings_file, keys_file, manifest_file, short_name,
};
use crate::manifest::config::{EmbedConfig, MergeConfig, PersistConfig};
use crate::model::{Environment, ResolvedModel, Runner};
use crate::node::embed::EmbedPlan;
use crate::node::merge::{MergeInputs, Part};
use crate::node::persist::SetInputs;
use crate::node::{Context, Made, NodeError, Previous, embed, load, merge, persist, prepare};
use crate::observe::Observer;
use crate::plan::{Observed, PlannedStep, load_above};
use crate::pool::Panicked;
use crate::published::PublishError;
use crate::record::{Output, Pace, Provenance, Record, Reference, SourceFile};
use crate::store::{Store, durable};
use crate::table::FAILED;

/// Progress is told at most this often: eyes see no more, and the channel stays empty.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What a step's thread tells the dispatcher.
pub enum Message {
    /// Something for the listeners.
    Told(Event),
    /// The step ended.
    Ended {
        /// Which step.
        index: StepIndex,
        /// What it landed.
        result: Result<Box<Landed>, NodeError>,
        /// The embedder, handed back for the next step.
        embedder: Option<(EmbedderKey, Box<dyn Embedder>)>,
    },
}

/// What a step left in the store.
pub struct Landed {
    /// Its record.
    pub record: Record,
    /// Its reference.
    pub reference: Reference,
    /// Counts of this run.
    pub run_counts: BTreeMap<String, u64>,
    /// What an embedder computed in this run.
    pub pace: Option<Pace>,
    /// How long it took.
    pub seconds: f64,
}

/// One step, ready to run.
pub struct Job {
    index: StepIndex,
    id: StepId,
    key: NodeKey,
    workflow: String,
    store: Store,
    base: PathBuf,
    environment: Environment,
    options: Options,
    reference: Reference,
    work: Work,
    /// What is published; none for kinds that publish nothing.
    publishing: Option<Publishing>,
    embedder: Option<(EmbedderKey, Box<dyn Embedder>)>,
}

/// What is to be done, with the inputs it consumes.
enum Work {
    Load {
        config: crate::manifest::config::LoadConfig,
        sources: Vec<SourceFile>,
    },
    Prepare {
        config: crate::manifest::config::PrepareConfig,
        records: Output,
    },
    Embed {
        config: EmbedConfig,
        texts: Output,
        model: Box<ResolvedModel>,
        previous: Option<Output>,
        /// What is known of the embedder's pace.
        pace: Option<Pace>,
    },
    Persist {
        config: PersistConfig,
        vectors: Output,
        records: Output,
        embed_record: Box<Record>,
        previous: Option<Previous>,
    },
    Merge {
        config: MergeConfig,
        parts: Vec<Part>,
        previous: Option<Previous>,
    },
}

impl Work {
    /// The tables of the store that this work reads, save those that it checks itself while it reads them.
    fn consumed(&self) -> Vec<Output> {
        match self {
            Self::Load { .. } => Vec::new(),
            Self::Prepare { records, .. } => vec![*records],
            Self::Embed { texts, .. } => vec![*texts],
            Self::Persist { vectors, records, .. } => vec![*vectors, *records],
            Self::Merge { config, parts, .. } => {
                let read =
                    |part: &Part| [part.manifest, part.keys].into_iter().chain(config.view.then_some(part.bibcodes));
                parts.iter().flat_map(read).collect()
            }
        }
    }
}

/// What is told of a run alone.
#[derive(Default)]
struct OfRun {
    counts: BTreeMap<String, u64>,
    pace: Option<Pace>,
}

/// The reference that a step's record gets.
pub fn reference(graph: &Graph, index: StepIndex, fingerprint: Fingerprint, run: &str) -> Reference {
    Reference {
        version: 1,
        step: graph.steps[index].id.clone(),
        key: fingerprint.key(),
        fingerprint,
        overrides: graph.overrides.clone(),
        run: run.to_owned(),
    }
}

impl Job {
    /// Copies out of the dispatcher's state what a stale step needs.
    pub fn new(
        observer: &Observer,
        observed: &Observed,
        step: &PlannedStep,
        reason: &StaleReason,
        options: &Options,
        embedder: Option<(EmbedderKey, Box<dyn Embedder>)>,
    ) -> Self {
        let graph = observer.graph;
        let fingerprint = observed.fingerprint(step.index).expect("a stale step knows what it consumes");
        let reference = reference(graph, step.index, fingerprint.clone(), &options.run);
        Self {
            index: step.index,
            id: step.step.clone(),
            key: reference.key,
            workflow: graph.name.clone(),
            store: observer.store.clone(),
            base: observer.base.clone(),
            environment: observer.environment.clone(),
            options: options.clone(),
            work: work(observer, observed, step),
            publishing: Publishing::of(observer, observed, step, reason, reference.key),
            reference,
            embedder,
        }
    }

    /// Runs on a thread of its own and answers through `sender`. Its span is part of the one that this is called in.
    pub fn spawn(mut self, sender: Sender<Message>, cancel: Arc<AtomicBool>) {
        let span = tracing::info_span!("step", step = %self.id);
        std::thread::spawn(move || {
            let _entered = span.entered();
            let run = std::panic::AssertUnwindSafe(|| self.run(&sender, &cancel));
            let result = std::panic::catch_unwind(run).unwrap_or(Err(NodeError::Panicked(Panicked)));
            let ended =
                Message::Ended { index: self.index, result: result.map(Box::new), embedder: self.embedder.take() };
            // Nobody listens any more: the run ended without this step.
            let _ = sender.blocking_send(ended);
        });
    }

    fn run(&mut self, sender: &Sender<Message>, cancel: &AtomicBool) -> Result<Landed, NodeError> {
        let (started, at) = (Instant::now(), now_seconds());
        let last = Mutex::new(None::<Instant>);
        let step = self.id.clone();
        let progress = |done, total, unit| {
            if is_due(&last, Some(done) == total) {
                let step = step.clone();
                let _ = sender.blocking_send(Message::Told(Event::StepProgress { step, done, total, unit }));
            }
        };
        let note = |note| {
            let _ = sender.blocking_send(Message::Told(Event::StepNote { step: step.clone(), note }));
        };
        let detail = |detail| {
            let _ = sender.blocking_send(Message::Told(Event::StepDetail { step: step.clone(), detail }));
        };
        let (store, base) = (self.store.clone(), self.base.clone());
        let context = Context { store: &store, base: &base, cancel, progress: &progress, note: &note, detail: &detail };
        let (mut record, OfRun { counts: run_counts, pace }) = self.make(&context, started, at)?;
        if let Err(error) = self.publish(&context, &record, at) {
            record = self.make_again(&context, error, started, at)?;
            self.publish(&context, &record, at)?;
        }
        self.store.write_reference(&self.workflow, &self.reference)?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Landed { record, reference: self.reference.clone(), run_counts, pace, seconds })
    }

    /// A blob turned out not to have the bytes that its name says: it is put out of use, and the set is built again from
    /// the tables that it came from.
    fn make_again(
        &mut self,
        context: &Context,
        error: NodeError,
        started: Instant,
        at: u64,
    ) -> Result<Record, NodeError> {
        let NodeError::Publish(PublishError::Damaged { digest, .. }) = &error else { return Err(error) };
        (context.note)(format!("a blob of the store was damaged and is made again: failed to {error}"));
        self.store.discard_blob(digest);
        if let Some(publishing) = &mut self.publishing {
            publishing.built = None;
        }
        Ok(self.make(context, started, at)?.0)
    }

    /// Makes the outputs and records them, or takes the record that stands already.
    fn make(&mut self, context: &Context, started: Instant, at: u64) -> Result<(Record, OfRun), NodeError> {
        if let Some(record) = self.publishing.as_ref().and_then(|publishing| publishing.built.as_ref()) {
            return Ok((record.clone(), OfRun::default()));
        }
        let sources = match &self.work {
            Work::Load { sources, .. } => sources.clone(),
            _ => Vec::new(),
        };
        // A flipped bit in a table must end here, not in a published vector.
        self.work.consumed().iter().try_for_each(|output| self.store.verify_blob(output))?;
        let made = self.make_outputs(context)?;
        let record = record(self.key, &made, sources, self.provenance(&made, started, at));
        Ok((self.store.write_record(record)?, OfRun { counts: made.run_counts, pace: made.pace }))
    }

    fn make_outputs(&mut self, context: &Context) -> Result<Made, NodeError> {
        match &self.work {
            Work::Load { config, sources } => load::run(context, config, sources),
            Work::Prepare { config, records } => prepare::run(context, config, records),
            Work::Embed { config, texts, model, previous, pace: _ } => {
                let plan = EmbedPlan {
                    key: model.key,
                    ingredients: &model.ingredients,
                    dim: model.dim,
                    dtype: config.store_dtype,
                    model: short_name(&config.model),
                    bit_stable: model.bit_stable,
                    previous: previous.as_ref(),
                    accept_failures: self.options.accept_failures,
                    run: &self.options.run,
                };
                let (slot, environment) = (&mut self.embedder, &self.environment);
                let made = embed::run(context, &plan, texts, || {
                    if slot.as_ref().is_none_or(|(key, _)| *key != model.key) {
                        *slot = None;
                        *slot = Some((model.key, model.start(environment)?));
                        model.notes.iter().for_each(|note| (context.note)(note.clone()));
                    }
                    Ok(slot.as_mut().expect("it was just filled").1.as_mut())
                });
                // It keeps its node's budget, and lets go of the ledger.
                if matches!(model.runner, Runner::Api(_)) {
                    *slot = None;
                }
                made
            }
            Work::Persist { config, vectors, records, embed_record, previous } => {
                let inputs = SetInputs {
                    set: self.key,
                    name: self.dataset_name(),
                    cells: &self.id.cells,
                    vectors,
                    records,
                    facts: &embed_record.facts,
                    bit_stable: embed_record.bit_stable,
                    failed: embed_record.outputs.get(FAILED),
                    previous: previous.as_ref(),
                };
                persist::run(context, config, &inputs)
            }
            Work::Merge { config, parts, previous } => {
                let (name, cells, previous) = (self.dataset_name(), &self.id.cells, previous.as_ref());
                let MergeConfig { label, view, .. } = config;
                merge::run(context, &MergeInputs { set: self.key, name, label, cells, parts, view: *view, previous })
            }
        }
    }

    /// Shows the set in its directory, if this step publishes one.
    fn publish(&self, context: &Context, record: &Record, at: u64) -> Result<(), NodeError> {
        let publish =
            |publishing: &Publishing| publishing.publish(context, record, &self.reference, &self.options.run, at);
        self.publishing.as_ref().map_or(Ok(()), publish)
    }

    fn dataset_name(&self) -> &str {
        self.publishing.as_ref().map_or("", |publishing| &publishing.name)
    }

    fn provenance(&self, made: &Made, started: Instant, at: u64) -> Provenance {
        let last = if let Work::Embed { pace, .. } = &self.work { *pace } else { None };
        Provenance {
            run: self.options.run.clone(),
            host: durable::host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: at,
            seconds: started.elapsed().as_secs_f64(),
            pace: made.pace.map(|pace| pace.after(last)),
            counts: made.run_counts.clone(),
            machine: made.machine.clone(),
        }
    }
}

fn is_due(last: &Mutex<Option<Instant>>, is_end: bool) -> bool {
    let Ok(mut last) = last.lock() else { return false };
    let due = is_end || last.is_none_or(|at| at.elapsed() >= TELL_EVERY);
    if due {
        *last = Some(Instant::now());
    }
    due
}

fn record(key: NodeKey, made: &Made, sources: Vec<SourceFile>, provenance: Provenance) -> Record {
    Record {
        version: 1,
        key,
        outputs: made.outputs.clone(),
        counts: made.counts.clone(),
        sources,
        facts: made.facts.clone(),
        bit_stable: !made.not_bit_stable,
        provenance,
    }
}

fn work(observer: &Observer, observed: &Observed, step: &PlannedStep) -> Work {
    let (graph, index) = (observer.graph, step.index);
    let upstreams = &graph.steps[index].upstreams;
    let consumed =
        |from: StepIndex, name: &str| observed.output(from, name).expect("a stale step's inputs are recorded");
    // Under the name that the dataset has now: one that was renamed is another dataset.
    let previous = || {
        let name = graph.steps[index].dataset()?.name;
        let output = |file: String| observed.last_output(index, &file);
        Some(Previous { bibcodes: output(bibcodes_file(&name))?, keys: output(keys_file(&name))? })
    };
    match &graph.steps[index].config {
        Config::Load(config) => {
            Work::Load { config: config.clone(), sources: observed.sources.get(&index).cloned().unwrap_or_default() }
        }
        Config::Prepare(config) => Work::Prepare { config: config.clone(), records: consumed(upstreams[0], "records") },
        Config::Embed(config) => {
            let model = observer.models.get(&index).expect("observing resolved every embed step's model");
            let model = Box::new(model.clone());
            let previous = observed.last_output(index, "vectors");
            let same = |record: &&Record| record.facts.get("embedder") == Some(&model.key.to_string());
            let pace = observed.last_record(index).filter(same).and_then(Record::pace);
            Work::Embed { config: config.clone(), texts: consumed(upstreams[0], "texts"), model, previous, pace }
        }
        Config::Persist(config) => {
            let load = load_above(graph, index).expect("every dataset's rows come from a load step");
            Work::Persist {
                config: config.clone(),
                vectors: consumed(upstreams[0], "vectors"),
                records: consumed(load, "records"),
                embed_record: Box::new(recorded(observed, upstreams[0]).clone()),
                previous: previous(),
            }
        }
        Config::Merge(config) => {
            let part = |&from: &StepIndex| {
                let dataset = graph.steps[from].dataset().expect("what is merged was published");
                Part {
                    manifest: consumed(from, &manifest_file(&dataset.name)),
                    embeddings: consumed(from, &embeddings_file(&dataset.name, dataset.dtype)),
                    bibcodes: consumed(from, &bibcodes_file(&dataset.name)),
                    keys: consumed(from, &keys_file(&dataset.name)),
                }
            };
            let parts = upstreams.iter().map(part).collect();
            Work::Merge { config: config.clone(), parts, previous: previous() }
        }
    }
}

pub(super) fn recorded(observed: &Observed, index: StepIndex) -> &Record {
    observed.record(index).expect("a stale step's inputs are recorded")
}

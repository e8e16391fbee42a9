//! All the I/O that a plan needs: digests of sources and models, records, references, and what directories show.
//!
//! Walks the steps upstreams first, because a key is known only once the records above it are. Writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, StringArray};
use arrow::error::ArrowError;

use crate::api::{ApiError, BATCHES, Settings, handed_over, spent};
use crate::cost::{HandedOver, Spent};
use crate::fingerprint::PublishFault;
use crate::graph::{Config, Graph, PublishedAs, Scope, StepId, StepIndex};
use crate::manifest::config::{LoadConfig, Missing};
use crate::model::{Environment, Library, ModelError, ResolvedModel, Runner, resolve};
use crate::plan::{Observed, Tariff};
use crate::published::{self, Owner, PublishError};
use crate::record::{Output, Record, RecordState, SourceFile};
use crate::reuse::{ReuseError, Shape, changes};
use crate::source::files::STANDARD_INPUT;
use crate::source::{SourceError, files};
use crate::store::{DigestCache, Store, StoreError};

/// What can keep a plan from being made, with the step it belongs to.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ObserveError {
    /// An input file.
    #[error("plan {step}")]
    Source {
        /// The step.
        step: StepId,
        /// What is wrong.
        #[source]
        #[diagnostic_source]
        source: SourceError,
    },
    /// A model.
    #[error("plan {step}")]
    Model {
        /// The step.
        step: StepId,
        /// What is wrong.
        #[source]
        #[diagnostic_source]
        source: ModelError,
    },
    /// A dataset's name.
    #[error("plan {step}")]
    Published {
        /// The step.
        step: StepId,
        /// What is wrong.
        #[source]
        #[diagnostic_source]
        source: PublishError,
    },
    /// The vectors that stand.
    #[error("plan {step}")]
    Reuse {
        /// The step.
        step: StepId,
        /// What is wrong.
        #[source]
        #[diagnostic_source]
        source: ReuseError,
    },
    /// What an API will take.
    #[error("plan {step}")]
    Tariff {
        /// The step.
        step: StepId,
        /// What is wrong.
        #[source]
        #[diagnostic_source]
        source: TariffError,
    },
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// What keeps an API's bill from being estimated.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TariffError {
    /// The ledger.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] ApiError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The texts.
    #[error("read the texts")]
    #[diagnostic(code(sciembed::observe::texts), help("the store is damaged: `sciembed verify` says where"))]
    Texts {
        /// Why.
        source: ArrowError,
    },
}

/// Texts that are counted for an estimate: enough for a mean that is some percent off.
const SAMPLED_TEXTS: usize = 500;

impl ObserveError {
    /// The step that cannot be planned, where it is one.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::Source { step, .. }
            | Self::Model { step, .. }
            | Self::Published { step, .. }
            | Self::Reuse { step, .. }
            | Self::Tariff { step, .. } => Some(step),
            Self::Store(_) => None,
        }
    }
}

/// Looks at the world on behalf of a plan.
pub struct Observer<'a> {
    /// The workflow.
    pub graph: &'a Graph,
    /// The manifest's folder, which paths are relative to.
    pub base: PathBuf,
    /// The store.
    pub store: Store,
    /// What is known of this machine.
    pub environment: Environment,
    /// Where models come from.
    pub library: Library,
    /// Digests of files remembered between runs.
    pub digests: DigestCache,
    /// The resolved models, so that a run can start what the plan looked at.
    pub models: BTreeMap<StepIndex, ResolvedModel>,
    /// What came over standard input, for load nodes that read it; it stands in the store where a run is to load it.
    pub standard_input: Option<SourceFile>,
    /// Whether names that another workflow or step publishes may be taken.
    pub take_over: bool,
    /// Whether records that lack rows which could not be embedded count as fresh.
    pub accept_failures: bool,
    /// Whether batches that an API works on are left to a later run.
    pub no_wait: bool,
}

impl<'a> Observer<'a> {
    /// An observer of `graph`, whose paths are relative to those of `library`.
    ///
    /// Graphs that are made of models' weights are kept in the store, and what TensorRT compiles of them.
    pub fn new(graph: &'a Graph, library: Library, store: Store, mut environment: Environment) -> Self {
        let base = library.base().to_owned();
        environment.graphs = store.root().join("graphs");
        environment.spending = store.root().join("spending").join(&graph.name);
        environment.engines = store.root().join("engines");
        let digests = store.digest_cache();
        Self {
            graph,
            base,
            store,
            environment,
            library,
            digests,
            models: BTreeMap::new(),
            standard_input: None,
            take_over: false,
            accept_failures: false,
            no_wait: false,
        }
    }

    /// Observes everything that planning these steps needs. All faults are reported, not just the first.
    ///
    /// A step that is only looked at may lack its input file or model: what needs it is then blocked, and no error.
    ///
    /// # Errors
    /// One error per step that cannot be planned.
    pub fn observe(&mut self, scope: &Scope) -> Result<Observed, Vec<ObserveError>> {
        let (observed, errors) = self.observe_what_can_be(scope);
        if errors.is_empty() { Ok(observed) } else { Err(errors) }
    }

    /// The same, but what can be observed is also given where some steps cannot: those are marked as faulty.
    pub fn observe_what_can_be(&mut self, scope: &Scope) -> (Observed, Vec<ObserveError>) {
        let mut observed = Observed::default();
        observed.accept_failures = self.accept_failures;
        let mut errors = Vec::new();
        for &index in scope.steps() {
            let seen = if scope.runs(index) {
                self.observe_running_step(&mut observed, index)
            } else {
                self.look_at_step(&mut observed, index)
            };
            if let Err(error) = seen {
                observed.faulty.insert(index);
                errors.push(error);
            }
        }
        (observed, errors)
    }

    /// Observes a step that may run, and so publish.
    #[expect(clippy::result_large_err, reason = "once per step and only when planning fails")]
    fn observe_running_step(&mut self, observed: &mut Observed, index: StepIndex) -> Result<(), ObserveError> {
        self.check_owner(index)?;
        self.observe_step(observed, index)
    }

    /// Observes a step that may not run. Where this workflow never applied it, its files are not read: they may be many,
    /// and a record of theirs would be another workflow's luck.
    #[expect(clippy::result_large_err, reason = "once per step and only when planning fails")]
    fn look_at_step(&mut self, observed: &mut Observed, index: StepIndex) -> Result<(), ObserveError> {
        let step = &self.graph.steps[index].id;
        if self.store.reference(&self.graph.name, step)?.is_none() {
            return Ok(());
        }
        match self.observe_step(observed, index) {
            Err(ObserveError::Source { .. } | ObserveError::Model { .. }) => Ok(()),
            other => other,
        }
    }

    #[expect(clippy::result_large_err, reason = "once per step and only when planning fails")]
    fn observe_step(&mut self, observed: &mut Observed, index: StepIndex) -> Result<(), ObserveError> {
        let step = &self.graph.steps[index];
        match &step.config {
            Config::Load(config) => {
                let sources = match config.input.as_str() {
                    STANDARD_INPUT => self.standard_input(&step.id)?,
                    _ => self.sources(config),
                };
                let sources = sources.map_err(|source| ObserveError::Source { step: step.id.clone(), source })?;
                observed.sources.insert(index, sources);
            }
            Config::Embed(config) => {
                let digest_of = &mut |path: &Path| self.digests.digest(path);
                let mut model = resolve(config, &mut self.library, &self.environment, digest_of)
                    .map_err(|source| ObserveError::Model { step: step.id.clone(), source })?;
                if let Runner::Api(settings) = &mut model.runner {
                    let of_node = self.environment.spending.join(&step.id.node);
                    settings.batches = Some(of_node.join(format!("{BATCHES}{}", model.key)));
                    settings.ledger = Some(of_node.join("ledger.jsonl"));
                    settings.no_wait = self.no_wait;
                }
                observed.embedders.insert(index, model.ingredients.clone());
                self.models.insert(index, model);
            }
            Config::Prepare(_) | Config::Persist(_) | Config::Merge(_) => {}
        }
        if let Some(reference) = self.store.reference(&self.graph.name, &step.id)? {
            observed.references.insert(index, reference);
        }
        self.look_up(observed, index)
    }

    /// Looks for the record of a step, if its key is known, and at what its directory shows.
    ///
    /// # Errors
    /// [`ObserveError::Store`].
    #[expect(clippy::result_large_err, reason = "once per step and only when planning fails")]
    pub fn look_up(&mut self, observed: &mut Observed, index: StepIndex) -> Result<(), ObserveError> {
        // The last applied record tells how many rows to expect of a step that has no key yet.
        if let Some(last) = observed.references.get(&index).map(|reference| reference.key)
            && !observed.records.contains_key(&last)
            && let Some(state) = self.store.record(&last)?
        {
            observed.records.insert(last, state);
        }
        observed.settle(self.graph, index);
        let Some(key) = observed.key(index) else { return Ok(()) };
        if let Some(state) = self.store.record(&key)? {
            observed.records.insert(key, state);
        }
        observed.published.remove(&index);
        if let (Some(dataset), Some(RecordState::Whole(record))) =
            (self.graph.steps[index].dataset(), observed.records.get(&key))
        {
            let dir = self.directory(&dataset);
            let files = record.files();
            let fault = published::fault(&dir, &dataset.name, &key, &files, &mut self.digests);
            let fault = fault.or_else(|| published::name_left(&dir, &dataset.name, &files));
            if let Some(fault) = fault.or_else(|| self.asked_otherwise(index, &dir, &dataset.name)) {
                observed.published.insert(index, (key, fault));
            }
        }
        Ok(())
    }

    /// How questions are embedded is in no key: what a dataset tells of it is reconciled like what it shows.
    fn asked_otherwise(&self, index: StepIndex, dir: &Path, dataset: &str) -> Option<PublishFault> {
        let (now, told) = (self.graph.embed_node(index)?, published::provenance(dir, dataset)?.embedding);
        let is_told = told.is_some_and(|by| by.node.query_prompt == now.query_prompt);
        (!is_told).then(|| PublishFault::FileDiffers { file: published::run_file(dataset) })
    }

    /// Counts the rows of embed steps that have no record against the vectors that stand, where their texts are recorded: it
    /// reads these texts.
    ///
    /// # Errors
    /// [`ObserveError::Reuse`].
    #[expect(clippy::result_large_err, reason = "once per step and only when planning fails")]
    pub fn count_rows(&self, scope: &Scope, observed: &mut Observed) -> Result<(), ObserveError> {
        for index in scope.running() {
            let step = &self.graph.steps[index];
            let (Config::Embed(config), Some(model)) = (&step.config, self.models.get(&index)) else { continue };
            let texts = observed.output(step.upstreams[0], "texts");
            let Some(texts) = texts.filter(|_| observed.record(index).is_none()) else { continue };
            let previous = observed.last_output(index, "vectors");
            let shape = Shape { embedder: model.key, dim: model.dim, dtype: config.store_dtype };
            let changes = changes(&self.store, shape, &texts, previous.as_ref(), &|| true);
            let changes = changes.map_err(|source| ObserveError::Reuse { step: step.id.clone(), source })?;
            observed.changes.insert(index, changes);
            if let Runner::Api(settings) = &model.runner {
                let tariff = self.tariff(settings, &texts);
                observed
                    .tariffs
                    .insert(index, tariff.map_err(|source| ObserveError::Tariff { step: step.id.clone(), source })?);
            }
        }
        Ok(())
    }

    /// What an API takes for a text of this table, by some of them from all over.
    fn tariff(&self, settings: &Settings, texts: &Output) -> Result<Tariff, TariffError> {
        let step = usize::try_from(texts.rows).unwrap_or(usize::MAX).div_ceil(SAMPLED_TEXTS).max(1);
        let (mut row, mut tokens, mut sampled) = (0, 0, 0);
        for batch in self.store.read_parquet_columns(&texts.digest, &["text"])? {
            let batch = batch.map_err(|source| TariffError::Texts { source })?;
            let column: &StringArray = batch["text"].as_string();
            for text in column.iter().flatten() {
                if row % step == 0 {
                    tokens += settings.cutting.cut(text).pieces.iter().map(|piece| piece.tokens).sum::<u64>();
                    sampled += 1;
                }
                row += 1;
            }
        }
        Ok(Tariff {
            tokens_per_text: tokens as f64 / sampled.max(1) as f64,
            sampled,
            price: settings.price.clone(),
            spent: settings.ledger.as_deref().map(spent).transpose()?.unwrap_or_default(),
            max_cost: settings.max_cost,
            max_tokens: settings.max_tokens,
            handed_over: settings.batches.as_deref().map(handed_over).transpose()?.unwrap_or_default(),
        })
    }

    /// What each embed step's model notes, such as a key that is not set.
    pub fn notes(&self) -> impl Iterator<Item = (&StepId, &[String])> {
        self.models.iter().map(|(index, model)| (&self.graph.steps[*index].id, model.notes.as_slice()))
    }

    /// What each embed node spent at an API, all runs together, and what is there in batches.
    ///
    /// # Errors
    /// A ledger or a note that cannot be read.
    pub fn spending(&self) -> Result<BTreeMap<&str, (Spent, HandedOver)>, ApiError> {
        let mut nodes = BTreeMap::new();
        for (index, model) in &self.models {
            let Runner::Api(settings) = &model.runner else { continue };
            let (Some(ledger), Some(batches)) = (&settings.ledger, &settings.batches) else { continue };
            let spending = (spent(ledger)?, handed_over(batches)?);
            nodes.insert(self.graph.steps[*index].id.node.as_str(), spending);
        }
        Ok(nodes)
    }

    /// Keeps the digests that were taken, for the next time.
    pub fn remember(&mut self) {
        // A cache that cannot be written costs time, not truth: a plan over a read-only store still stands.
        let _ = self.store.save_digest_cache(&mut self.digests);
    }

    /// The directory that shows a dataset.
    pub fn directory(&self, dataset: &PublishedAs) -> PathBuf {
        self.base.join(dataset.dir)
    }

    /// Refuses a name that another workflow or step publishes, before anything is paid for. Asked only of steps that may
    /// run: the others publish nothing.
    #[expect(clippy::result_large_err, reason = "once per step and only when planning fails")]
    fn check_owner(&self, index: StepIndex) -> Result<(), ObserveError> {
        let step = &self.graph.steps[index];
        let Some(dataset) = step.dataset().filter(|_| !self.take_over) else { return Ok(()) };
        published::refuse_owned(&self.directory(&dataset), &dataset.name, &self.owner(&step.id))
            .map_err(|source| ObserveError::Published { step: step.id.clone(), source })
    }

    /// As whom a step publishes.
    pub fn owner(&self, step: &StepId) -> Owner {
        Owner { workflow: self.graph.name.clone(), step: step.to_string() }
    }

    /// What came over standard input, or else what the step was last applied to: only a run, and a plan of one, read it.
    #[expect(clippy::result_large_err, reason = "once per step and only when planning fails")]
    fn standard_input(&self, step: &StepId) -> Result<Result<Vec<SourceFile>, SourceError>, ObserveError> {
        if let Some(read) = &self.standard_input {
            return Ok(Ok(vec![read.clone()]));
        }
        Ok(self.last_record(step)?.map(|record| record.sources).ok_or(SourceError::NoStandardInput))
    }

    /// The record that a step last used, if it stands whole.
    ///
    /// # Errors
    /// Whatever reading the store gives.
    pub fn last_record(&self, step: &StepId) -> Result<Option<Record>, StoreError> {
        let reference = self.store.reference(&self.graph.name, step)?;
        let state = reference.map(|reference| self.store.record(&reference.key)).transpose()?.flatten();
        Ok(match state {
            Some(RecordState::Whole(record)) => Some(*record),
            Some(RecordState::Damaged { .. }) | None => None,
        })
    }

    fn sources(&mut self, config: &LoadConfig) -> Result<Vec<SourceFile>, SourceError> {
        let found = files::find(&self.base, &config.input)?;
        if found.is_empty() && config.missing == Missing::Error {
            return Err(SourceError::Missing { path: self.base.join(&config.input) });
        }
        found.into_iter().map(|source| self.digested(source)).collect()
    }

    fn digested(&mut self, source: files::SourcePath) -> Result<SourceFile, SourceError> {
        let failed = |error| SourceError::Read { path: source.path.clone(), bytes: 0, source: error };
        let bytes = std::fs::metadata(&source.path).map_err(failed)?.len();
        let digest = self.digests.digest(&source.path).map_err(failed)?;
        Ok(SourceFile { name: source.name.clone(), digest, bytes })
    }
}

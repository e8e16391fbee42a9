//! The dispatcher: sole owner of a run's state.
//!
//! ```text
//!            plan                     start            threads, one per running step
//!   observed ----> fresh/stale/pending ----> Job::run ----> records, references, published sets
//!      ^                                        |
//!      +------------- record lands <--- messages (bounded channel) ----> events for doors and the journal
//! ```
//!
//! Each time a record lands what is below it is planned again: pending steps turn fresh or stale, and nothing outside the
//! first plan's closure ever runs. Steps are independent threads; the dispatcher alone decides, and never blocks on them.

mod clock;
mod job;
mod publishing;
mod trace;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub use clock::{now_seconds, run_id};

use crate::digest::EmbedderKey;
use crate::embedder::Embedder;
use crate::event::{Event, Outcome};
use crate::graph::{NodeKind, Scope, StepId, StepIndex};
use crate::history::Entry;
use crate::hub::HubError;
use crate::node::{NodeError, with_causes};
use crate::observe::{ObserveError, Observer};
use crate::plan::{Observed, Plan, PlannedStep, State, plan};
use crate::record::RecordState;
use crate::store::{BeatingLock, HEARTBEAT, Journal, Lock, LockOutcome, Store, StoreError};
use job::{Job, Landed, Message};

/// Messages under way from steps to the dispatcher. Progress is throttled at its source, so this only has to cover
/// the moment in which the dispatcher writes a reference.
const MESSAGES: usize = 256;
/// How often a step that somebody else computes is looked at.
const WAIT: Duration = Duration::from_millis(500);

/// How a run is to go about it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's id; see [`run_id`].
    pub run: String,
    /// Steps other than embed that run side by side.
    pub jobs: usize,
    /// Whether papers whose texts cannot be embedded are left out, instead of ending their step.
    pub accept_failures: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// In one word.
    pub outcome: Outcome,
    /// Steps that failed, and why.
    pub failed: Vec<(StepId, NodeError)>,
    /// Steps that did not run because a step above them failed.
    pub skipped: Vec<StepId>,
    /// The last plan.
    pub plan: Plan,
}

/// What ends a run as a whole.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunError {
    /// Some steps cannot be planned.
    #[error("plan the workflow")]
    #[diagnostic(code(sciembed::run::observe), help("mend what each step names, then plan again"))]
    Observe {
        /// One error per step.
        #[related]
        errors: Vec<ObserveError>,
    },
    /// The lock file, which pins the models.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] HubError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// Applies the steps of `scope` that may run: plans, runs what is stale, plans again.
///
/// `interrupted` becomes ready when the run should end in order. Events go to `listen`, in order, and to the journal.
///
/// # Errors
/// [`RunError`] if it cannot be planned or the store fails; a failing step is in the [`Report`] instead.
pub async fn apply(
    observer: Observer<'_>,
    scope: &Scope,
    options: &Options,
    listen: &mut dyn FnMut(&Event),
    interrupted: impl Future<Output = ()>,
) -> Result<Report, RunError> {
    let mut observer = observer;
    observer.accept_failures |= options.accept_failures;
    tokio::pin!(interrupted);
    let held = match hold(&observer, scope, options, listen, interrupted.as_mut()).await {
        ControlFlow::Continue(held) => held,
        ControlFlow::Break(()) => {
            listen(&Event::RunInterrupted);
            let plan = Plan { workflow: observer.graph.name.clone(), steps: Vec::new() };
            let (failed, skipped) = (Vec::new(), Vec::new());
            return Ok(Report { outcome: Outcome::Interrupted, failed, skipped, plan });
        }
    };
    let observed = observer.observe(scope).map_err(|errors| RunError::Observe { errors })?;
    // Before anything is paid for: what is computed must mean the same next year.
    observer.library.keep()?;
    let plan = plan(observer.graph, scope, &observed);
    let idle = plan.is_fresh();
    // Nothing to do writes nothing but references: a journal of nothing would only hide the others.
    let journal = if idle { None } else { Some(open(&observer.store, options)?) };
    let _held = match held {
        None if !idle => Some(observer.store.lock_run(&options.run)?),
        held => held,
    };
    let (sender, messages) = mpsc::channel(MESSAGES);
    let span = tracing::info_span!("run", run = options.run, workflow = plan.workflow);
    let mut dispatcher = Dispatcher {
        observer,
        observed,
        plan,
        scope,
        options,
        started: Instant::now(),
        listen,
        journal,
        sender,
        running: BTreeMap::new(),
        waiting: BTreeSet::new(),
        failed: Vec::new(),
        landed: BTreeSet::new(),
        embedder: None,
        cancel: Arc::new(AtomicBool::new(false)),
        span,
    };
    dispatcher.begin()?;
    if !idle {
        dispatcher.drive(messages, interrupted).await?;
    }
    dispatcher.settle_references()?;
    dispatcher.end(idle)
}

/// Takes the run's lock, so that gc deletes nothing that this run looks at, and then waits while gc is at work, unless it
/// is interrupted. None where the lock cannot be made: a store that is not there yet holds nothing to delete, and in one
/// that nobody may write to a run that has something to do will fail by itself.
async fn hold(
    observer: &Observer<'_>,
    scope: &Scope,
    options: &Options,
    listen: &mut dyn FnMut(&Event),
    mut interrupted: Pin<&mut impl Future<Output = ()>>,
) -> ControlFlow<(), Option<BeatingLock>> {
    let Ok(held) = observer.store.lock_run(&options.run) else { return ControlFlow::Continue(None) };
    // What the dead left behind.
    let _ = observer.store.sweep_locks();
    observer.store.sweep_temporaries();
    let mut told = false;
    while let Some(holder) = observer.store.gc_holder() {
        if let Some(&first) = scope.steps().first().filter(|_| !told) {
            let note = format!("waits until gc (process {} on {}) has deleted what it may", holder.pid, holder.host);
            listen(&Event::StepNote { step: observer.graph.steps[first].id.clone(), note });
            told = true;
        }
        tokio::select! {
            () = tokio::time::sleep(WAIT) => {}
            () = interrupted.as_mut() => return ControlFlow::Break(()),
        }
    }
    ControlFlow::Continue(Some(held))
}

fn open(store: &Store, options: &Options) -> Result<Journal, StoreError> {
    let store = Store::create(store.root())?;
    store.journal(&options.run)
}

struct Dispatcher<'a> {
    observer: Observer<'a>,
    observed: Observed,
    /// What follows from it, renewed wherever it changes.
    plan: Plan,
    scope: &'a Scope,
    options: &'a Options,
    started: Instant,
    listen: &'a mut dyn FnMut(&Event),
    journal: Option<Journal>,
    sender: mpsc::Sender<Message>,
    running: BTreeMap<StepIndex, Lock>,
    /// Steps that somebody else computes, already told of.
    waiting: BTreeSet<StepIndex>,
    failed: Vec<(StepIndex, NodeError)>,
    landed: BTreeSet<StepIndex>,
    /// The embedder of the last embed step, kept warm for the next one of the same key.
    embedder: Option<(EmbedderKey, Box<dyn Embedder>)>,
    cancel: Arc<AtomicBool>,
    /// What the spans of its steps are part of.
    span: tracing::Span,
}

impl Dispatcher<'_> {
    fn begin(&mut self) -> Result<(), RunError> {
        let is_due = |step: &&PlannedStep| matches!(step.state, State::Stale(_) | State::Pending(_));
        let steps = self.plan.steps.iter().filter(is_due).count() as u64;
        self.tell(Event::RunStarted {
            run: self.options.run.clone(),
            workflow: self.observer.graph.name.clone(),
            overrides: self.observer.graph.overrides.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            steps,
            at: now_seconds(),
        })
    }

    async fn drive(
        &mut self,
        mut messages: mpsc::Receiver<Message>,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), RunError> {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        self.advance()?;
        loop {
            if self.running.is_empty() && (self.waiting.is_empty() || self.is_cancelled()) {
                return Ok(());
            }
            tokio::select! {
                Some(message) = messages.recv() => {
                    if self.hear(message)? {
                        self.advance()?;
                    }
                }
                () = interrupted.as_mut(), if !self.is_cancelled() => {
                    self.cancel.store(true, Ordering::Relaxed);
                    self.tell(Event::RunInterrupted)?;
                }
                () = tokio::time::sleep(WAIT), if !self.waiting.is_empty() => self.look_again()?,
                _ = heartbeat.tick() => self.running.values().for_each(Lock::beat),
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Starts what can start.
    fn advance(&mut self) -> Result<(), RunError> {
        while !self.is_cancelled() && self.start_ready()? {}
        Ok(())
    }

    /// Starts what is ready, the furthest downstream first, so that years flow through one by one. Says whether the plan
    /// has changed by it: a step may turn out to be done.
    fn start_ready(&mut self) -> Result<bool, RunError> {
        let mut changed = false;
        let ready = self.plan.stale().filter(|step| !self.is_taken(step.index));
        let mut ready: Vec<_> = ready.map(|step| (Reverse(step.step.kind), step.index)).collect();
        ready.sort_unstable();
        for (Reverse(kind), index) in ready {
            if self.has_slot(kind) {
                changed |= self.start(index)?;
            }
        }
        Ok(changed)
    }

    /// Whether a step is running or has run: one that is stale again right after must not run for ever.
    fn is_taken(&self, index: StepIndex) -> bool {
        self.running.contains_key(&index)
            || self.landed.contains(&index)
            || self.failed.iter().any(|(failed, _)| *failed == index)
    }

    /// Embed steps run one at a time, since one uses every core; the others share the jobs.
    fn has_slot(&self, kind: NodeKind) -> bool {
        let is_embed = |index: &StepIndex| self.observer.graph.steps[*index].id.kind == NodeKind::Embed;
        let embedding = self.running.keys().filter(|index| is_embed(index)).count();
        if kind == NodeKind::Embed { embedding == 0 } else { self.running.len() - embedding < self.options.jobs }
    }

    /// Starts a stale step, unless somebody else is at work on it. Says whether it turned out to be done instead.
    fn start(&mut self, index: StepIndex) -> Result<bool, RunError> {
        let Some(PlannedStep { key: Some(key), step: id, .. }) = self.plan.step(index).cloned() else {
            return Ok(false);
        };
        match self.observer.store.lock(&key, &self.options.run)? {
            LockOutcome::Busy(holder) => {
                // Two years of one content are one key: the other one's lock is this run's own.
                if self.waiting.insert(index) && holder.run != self.options.run {
                    let note = format!("waits for run {} (process {} on {})", holder.run, holder.pid, holder.host);
                    self.tell(Event::StepNote { step: id, note })?;
                }
                Ok(false)
            }
            LockOutcome::Held(lock) => {
                self.waiting.remove(&index);
                // Whoever held it before has done it, perhaps.
                self.look_up(index)?;
                self.plan.renew(self.observer.graph, self.scope, &self.observed, &BTreeSet::from([index]));
                if self.plan.step(index).is_some_and(|step| step.state == State::Fresh) {
                    return self.renew(index).map(|()| true);
                }
                self.launch(index, lock).map(|()| false)
            }
        }
    }

    fn launch(&mut self, index: StepIndex, lock: Lock) -> Result<(), RunError> {
        let Some(step) = self.plan.step(index) else { return Ok(()) };
        let State::Stale(reason) = &step.state else { return Ok(()) };
        let (id, reason) = (step.step.clone(), reason.clone());
        let embedder = if id.kind == NodeKind::Embed { self.embedder.take() } else { None };
        let job = Job::new(&self.observer, &self.observed, step, &reason, self.options, embedder);
        self.running.insert(index, lock);
        self.tell(Event::StepStarted { step: id, reason })?;
        self.span.in_scope(|| job.spawn(self.sender.clone(), Arc::clone(&self.cancel)));
        Ok(())
    }

    /// Takes a message in; says whether the plan may have changed.
    fn hear(&mut self, message: Message) -> Result<bool, RunError> {
        match message {
            Message::Told(event) => self.tell(event).map(|()| false),
            Message::Ended { index, result, embedder } => {
                self.running.remove(&index);
                if let Some(embedder) = embedder {
                    self.embedder = Some(embedder);
                }
                match result {
                    Ok(landed) => self.land(index, *landed)?,
                    Err(NodeError::Interrupted) => {}
                    Err(error) => self.fail(index, error)?,
                }
                Ok(true)
            }
        }
    }

    fn land(&mut self, index: StepIndex, landed: Landed) -> Result<(), RunError> {
        let step = self.observer.graph.steps[index].id.clone();
        let Landed { record, reference, run_counts, pace, seconds } = landed;
        self.landed.insert(index);
        let (counts, key) = (record.counts.clone(), Some(record.key));
        let fingerprint = Some(Box::new(reference.fingerprint.clone()));
        self.observed.records.insert(record.key, RecordState::Whole(Box::new(record)));
        self.observed.references.insert(index, reference);
        // It was published just now: reading it all again to see that would stall the run.
        self.observed.published.remove(&index);
        self.renew(index)?;
        self.tell(Event::StepFinished { step, key, fingerprint, counts, run_counts, pace, seconds })
    }

    fn fail(&mut self, index: StepIndex, error: NodeError) -> Result<(), RunError> {
        let step = self.observer.graph.steps[index].id.clone();
        self.tell(Event::StepFailed { step, error: with_causes(&error) })?;
        self.failed.push((index, error));
        Ok(())
    }

    /// Plans a step whose record changed again, and everything below it: their keys may just have become known.
    fn renew(&mut self, landed: StepIndex) -> Result<(), RunError> {
        let mut changed = BTreeSet::from([landed]);
        for &index in self.scope.steps() {
            if self.observer.graph.steps[index].upstreams.iter().any(|up| changed.contains(up)) {
                changed.insert(index);
                self.look_up(index)?;
            }
        }
        self.plan.renew(self.observer.graph, self.scope, &self.observed, &changed);
        Ok(())
    }

    fn look_up(&mut self, index: StepIndex) -> Result<(), RunError> {
        let looked = self.observer.look_up(&mut self.observed, index);
        looked.map_err(|error| RunError::Observe { errors: vec![error] })
    }

    /// Looks whether those who hold the locks that this run waits for are done, or gone.
    fn look_again(&mut self) -> Result<(), RunError> {
        for index in self.waiting.clone() {
            self.look_up(index)?;
            self.renew(index)?;
        }
        self.waiting.retain(|&index| self.observed.record(index).is_none());
        self.advance()
    }

    /// Fresh steps whose reference names another record: an edit was taken back, or another workflow made it.
    fn settle_references(&mut self) -> Result<(), RunError> {
        for step in self.plan.steps.iter().filter(|step| step.state == State::Fresh) {
            let Some(fingerprint) = self.observed.fingerprint(step.index) else { continue };
            let standing = self.observed.references.get(&step.index);
            if standing.is_none_or(|reference| reference.fingerprint != *fingerprint) {
                let fingerprint = fingerprint.clone();
                let reference = job::reference(self.observer.graph, step.index, fingerprint, &self.options.run);
                self.observer.store.write_reference(&self.observer.graph.name, &reference)?;
            }
        }
        Ok(())
    }

    fn end(mut self, idle: bool) -> Result<Report, RunError> {
        let outcome = match () {
            () if self.is_cancelled() => Outcome::Interrupted,
            () if !self.failed.is_empty() => Outcome::Failed,
            () if idle => Outcome::NothingToDo,
            () => Outcome::Done,
        };
        self.observer.remember();
        let seconds = self.started.elapsed().as_secs_f64();
        self.tell(Event::RunFinished { outcome, seconds, at: now_seconds() })?;
        let graph = self.observer.graph;
        let failed: Vec<_> =
            self.failed.into_iter().map(|(index, error)| (graph.steps[index].id.clone(), error)).collect();
        let pending = self.plan.steps.iter().filter(|step| matches!(step.state, State::Pending(_)));
        let skipped = pending.map(|step| step.step.clone()).collect();
        Ok(Report { outcome, failed, skipped, plan: self.plan })
    }

    fn tell(&mut self, event: Event) -> Result<(), RunError> {
        self.span.in_scope(|| trace::trace(&event));
        (self.listen)(&event);
        if let Some(journal) = self.journal.as_mut().filter(|_| event.is_kept()) {
            journal.append(&Entry { event, time_ms: clock::now_milliseconds() })?;
        }
        Ok(())
    }
}

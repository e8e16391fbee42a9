//! The loop that asks: which request is sent next, with which key, and when.
//!
//! ```text
//! texts -> cut on the CPU pool, ahead -> bounded channel -> packed -> waiting --send--> under way --+
//!                                                             ^                                     |
//!                                                             +--- again, or in halves, or later ---+--> delivered
//! ```
//!
//! However a call ends, what is under way is waited for first and delivered: it may have been paid for. Read next: `call.rs`,
//! the state of a call; `outcome.rs`, what became of a try.

use std::mem;
use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, channel};

use super::budget::Budget;
use super::call::{Call, Deliver, Delivery, Outcome, TICK};
use super::client::{Client, body, most_bytes};
use super::note::{handed_over, left_behind, model_told};
use super::pace::{Pace, When};
use super::secret::Secret;
use super::tokens::Pieces;
use super::{ApiError, Settings};
use crate::cost::Spent;
use crate::manifest::config::Mode;

/// Texts that are cut in one go: some milliseconds of work.
const BLOCK: usize = 256;
/// Blocks that are cut ahead.
const BLOCKS_AHEAD: usize = 4;
/// How long a server is waited for that asks for patience and answers nothing.
pub(super) const PATIENCE: Duration = Duration::from_mins(15);
/// A pause that is told, so that nobody thinks that a run hangs.
const TOLD_PAUSE: Duration = Duration::from_secs(10);

/// What was asked and spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub requests: u64,
    /// Those of them that brought no right answer.
    pub failed: u64,
    /// What they cost.
    pub spent: Spent,
}

/// Asks one server, and remembers between calls how it is.
pub struct Asker {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) budget: Budget,
    pub(super) keys: Vec<Key>,
    pub(super) base64: bool,
    pub(super) max_inputs: usize,
    /// The model's name as the server says it.
    pub(super) model: Option<String>,
    pub(super) answered: u64,
    pub(super) last_answer: Instant,
    pub(super) refused_alone: u32,
    has_told_left: bool,
    pub(super) tally: Tally,
}

/// One key, or none where the server takes none.
pub(super) struct Key {
    pub(super) variable: Option<String>,
    pub(super) pace: Pace,
    pub(super) is_refused: bool,
    /// Times that it was asked for patience, since it was last answered.
    pub(super) asked_for_patience: u32,
}

/// What there is to do next.
enum Next {
    /// Send what waits first, with this key.
    Send(usize),
    /// Wait for an answer, or until then.
    Wait(Option<Instant>),
    /// Nothing.
    Done,
}

impl Asker {
    /// Makes ready to ask, and opens the budget.
    ///
    /// # Errors
    /// A ledger or an HTTP client that cannot be opened.
    pub fn start(settings: Settings, secrets: &[Secret], proxy: Option<&str>) -> Result<Self, ApiError> {
        let client = Client::start(&settings, secrets, proxy)?;
        let budget = Budget::open(&settings)?;
        let variables = secrets.iter().map(|secret| Some(secret.variable().to_owned()));
        let variables: Vec<_> = if secrets.is_empty() { vec![None] } else { variables.collect() };
        let most = settings.concurrency;
        let key = |variable| Key { variable, pace: Pace::new(most), is_refused: false, asked_for_patience: 0 };
        Ok(Self {
            client,
            budget,
            keys: variables.into_iter().map(key).collect(),
            base64: settings.base64,
            max_inputs: settings.max_inputs,
            model: settings.batches.as_deref().and_then(model_told),
            answered: 0,
            last_answer: Instant::now(),
            refused_alone: 0,
            has_told_left: false,
            tally: Tally::default(),
            settings,
        })
    }

    /// What was asked and spent so far.
    pub fn tally(&self) -> Tally {
        Tally { spent: self.budget.settled_here(), ..self.tally }
    }

    /// Asks for the vectors of `texts` and hands them over as they come, in any order, on the calling thread.
    ///
    /// # Errors
    /// What ends the call; what was handed over before stays valid.
    pub fn embed(&mut self, texts: &[&str], deliver: Deliver) -> Result<(), ApiError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ApiError::Client { reason: error.to_string() })?;
        self.last_answer = Instant::now();
        std::thread::scope(|scope| {
            let (tell, told) = sync_channel(0);
            let (answer, answers) = sync_channel(0);
            // Who takes what is handed over may block, and must not do so where the loop runs.
            let mut hand_over = move |delivery| {
                let is_told = tell.send(delivery).is_ok();
                if is_told { answers.recv().unwrap_or(ControlFlow::Break(())) } else { ControlFlow::Break(()) }
            };
            let asking = scope.spawn(move || self.ask(&runtime, texts, &mut hand_over));
            for delivery in told {
                let sent = answer.send(deliver(delivery));
                debug_assert!(sent.is_ok(), "the loop waits for each answer");
            }
            asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ask(&mut self, runtime: &Runtime, texts: &[&str], deliver: Deliver) -> Result<(), ApiError> {
        self.look_at_batches(deliver)?;
        if self.settings.mode == Mode::Batch {
            return runtime.block_on(self.embed_in_batches(texts, deliver));
        }
        let (sender, receiver) = channel(BLOCKS_AHEAD);
        let cutting = self.settings.cutting.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for (block, texts) in texts.chunks(BLOCK).enumerate() {
                    let cut = |(at, text): (usize, &&str)| (block * BLOCK + at, cutting.cut(text));
                    if sender.blocking_send(texts.par_iter().enumerate().map(cut).collect()).is_err() {
                        return;
                    }
                }
            });
            // The receiver goes with the call: a thread that still cuts ends then.
            runtime.block_on(self.run(receiver, deliver))
        })
    }

    /// Texts that are at the server in batches are paid for: they are collected before any is asked for one by one.
    fn look_at_batches(&mut self, deliver: Deliver) -> Result<(), ApiError> {
        let Some(folder) = self.settings.batches.clone() else { return Ok(()) };
        let host = self.settings.host().to_owned();
        let texts = handed_over(&folder)?;
        if self.settings.mode == Mode::Live && texts.batches > 0 {
            return Err(ApiError::BatchesOpen { host, texts, folder });
        }
        if !mem::replace(&mut self.has_told_left, true) {
            for (folder, texts) in left_behind(&folder)? {
                let folder = folder.display();
                let note = format!("{texts} of another embedder key are at {host}, and nobody collects them: {folder}");
                // That it should end shows at the next delivery.
                let _ = deliver(Delivery::Note(note));
            }
        }
        Ok(())
    }

    async fn run(&mut self, texts: Receiver<Vec<(usize, Pieces)>>, deliver: Deliver<'_>) -> Result<(), ApiError> {
        let settings = self.settings.clone();
        let mut call = Call::new(&settings, self.max_inputs, texts, deliver);
        loop {
            let now = Instant::now();
            call.wake(now);
            match self.next(&mut call, now) {
                Next::Send(key) => self.send_first(&mut call, key, now),
                Next::Wait(until) => {
                    if let Some(outcome) = call.wait(until, now).await {
                        self.hear(&mut call, outcome);
                    }
                }
                Next::Done => return call.end.unwrap_or(Ok(())),
            }
        }
    }

    /// Decides what to do.
    fn next(&mut self, call: &mut Call, now: Instant) -> Next {
        if call.end.is_some() {
            return if call.has_left() { Next::Done } else { Next::Wait(None) };
        }
        let Some((parts, tokens)) = call.waiting.front().map(|request| (request.parts.len(), request.tokens())) else {
            return if call.is_over() { Next::Done } else { Next::Wait(call.later.iter().map(|(at, _)| *at).min()) };
        };
        // The first goes alone: what is wrong with all answers is found out by one, and paid once.
        let must_wait = self.answered == 0 && !call.under_way.is_empty();
        if must_wait || !call.has_room(parts) {
            return Next::Wait(None);
        }
        match self.key_for(tokens, now) {
            Ok(key) => Next::Send(key),
            // A text alone is asked for all the same: the server will say what it thinks of it.
            Err(When::Never) if parts == 1 => match self.keys.iter().position(|key| !key.is_refused) {
                Some(key) if call.under_way.is_empty() => Next::Send(key),
                _ => Next::Wait(None),
            },
            Err(When::Never) => {
                call.halve_first();
                Next::Wait(Some(now))
            }
            Err(When::At(at)) => {
                self.tell_pause(call, at.saturating_duration_since(now));
                Next::Wait(Some(at))
            }
            Err(_) => Next::Wait(None),
        }
    }

    /// Says that it waits, once; a wait that is too long ends the call.
    fn tell_pause(&self, call: &mut Call, wait: Duration) {
        let host = self.settings.host().to_owned();
        if wait > PATIENCE && call.under_way.is_empty() {
            call.finish(Err(ApiError::Wait { host, wait }));
        } else if wait > TOLD_PAUSE && !mem::replace(&mut call.has_told_pause, true) {
            call.note(format!("{host} lets nothing through for {} s", wait.as_secs()));
        }
    }

    /// The key that may send so many tokens now and has the least under way, or when one may.
    fn key_for(&self, tokens: u64, now: Instant) -> Result<usize, When> {
        let all: usize = self.keys.iter().map(|key| key.pace.under_way()).sum();
        let whens = self.keys.iter().enumerate().filter(|(_, key)| !key.is_refused);
        let whens: Vec<(usize, When)> = whens.map(|(at, key)| (at, key.pace.when(now, tokens))).collect();
        let ready = whens.iter().filter(|(_, when)| *when == When::Now).map(|(at, _)| *at);
        match ready.min_by_key(|&at| self.keys[at].pace.under_way()) {
            Some(key) if all < self.settings.concurrency => return Ok(key),
            Some(_) => return Err(When::AfterAnAnswer),
            None => {}
        }
        let earliest =
            whens.iter().filter_map(|(_, when)| if let When::At(at) = when { Some(*at) } else { None }).min();
        match earliest {
            Some(at) => Err(When::At(at)),
            None if whens.iter().all(|(_, when)| *when == When::Never) => Err(When::Never),
            None => Err(When::AfterAnAnswer),
        }
    }

    fn send_first(&mut self, call: &mut Call, key: usize, now: Instant) {
        let Some(mut request) = call.waiting.pop_front() else { return };
        let reservation = match self.budget.reserve(request.most()) {
            Ok(reservation) => reservation,
            // Answers under way may cost less than what is reserved for them.
            Err(ApiError::Budget { .. }) if !call.under_way.is_empty() => {
                call.later.push((now + TICK, request));
                return;
            }
            Err(error) => return call.finish(Err(error)),
        };
        request.answered_before.get_or_insert(self.answered);
        let texts: Vec<&str> = request.parts.iter().map(|part| part.piece.text.as_str()).collect();
        let body = body(&self.settings, &texts, self.base64);
        let bytes = most_bytes(texts.len(), self.settings.dim);
        self.keys[key].pace.sent(now, request.tokens());
        self.tally.requests += 1;
        call.held += request.parts.len();
        let (client, base64) = (self.client.clone(), self.base64);
        call.under_way.push(Box::pin(async move {
            let (result, limits) = client.embed(key, &body, bytes).await;
            Outcome { request, key, base64, sent: now, reservation, result, limits }
        }));
    }
}

//! The loop that owns a call: which requests wait, which are under way, and what became of them.
//!
//! ```text
//! texts -> cut on the CPU pool, ahead -> bounded channel -> packed -> waiting --send--> under way --+
//!                                                             ^                                     |
//!                                                             +--- again, or in halves, or later ---+--> delivered
//! ```
//!
//! What fails and may pass is tried again; what a server refuses is asked for in halves until the text that is to blame
//! stands alone. A server that answers nothing at all ends the call. However a call ends, what is under way is waited for
//! first and delivered: it may have been paid for.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rayon::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, channel};

use super::answer::{Answer, Flaw};
use super::budget::{Billed, Budget, Reservation};
use super::client::{Client, Failure, body, most_bytes};
use super::limits::Limits;
use super::pace::{Pace, When};
use super::request::{Packer, Part, Request};
use super::secret::Secret;
use super::tokens::Pieces;
use super::{ApiError, Settings};
use crate::cost::Spent;
use crate::manifest::config::Mode;

/// Texts that are cut in one go: some milliseconds of work.
const BLOCK: usize = 256;
/// Blocks that are cut ahead.
const BLOCKS_AHEAD: usize = 4;
/// How often it is asked whether to go on while nothing is answered.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// How long answers under way are waited for once a call is to end.
const FAREWELL: Duration = Duration::from_secs(20);
/// The first pause after a failed try, doubled with each, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a server is waited for that asks for patience and answers nothing.
const PATIENCE: Duration = Duration::from_mins(15);
/// How often a server may ask to be asked again at once, and is.
const EAGER: u32 = 3;
/// A pause that is told, so that nobody thinks that a run hangs.
const TOLD_PAUSE: Duration = Duration::from_secs(10);
/// The place of no text.
const NO_ROW: usize = usize::MAX;
/// What is asked for, to see whether a server answers at all.
const CANARY: &str = "dark energy";
/// Texts refused one by one, before any was answered, until the request itself is doubted.
const DOUBTED_AFTER: u32 = 4;
/// Wrong answers to a request until its texts are doubted: each was paid for.
const WRONG_ANSWERS: u32 = 3;

/// What a call hands over.
#[derive(Debug)]
pub enum Delivery {
    /// The vector of a text.
    Vector {
        /// The text's place in the call.
        row: usize,
        /// Its components.
        vector: Vec<f32>,
        /// Tokens that were asked for, as counted here.
        tokens: u64,
        /// Tokens of the text that were cut.
        dropped: u64,
    },
    /// A text that the server gives no vector for.
    Unfit {
        /// The text's place in the call.
        row: usize,
        /// What it says.
        why: String,
    },
    /// What the user should know.
    Note(String),
    /// Nothing: whether to go on.
    Waiting,
}

/// Who takes what is handed over; `Break` ends the call.
pub type Deliver<'a> = &'a mut dyn FnMut(Delivery) -> ControlFlow<()>;

/// What was asked and spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub requests: u64,
    /// Those of them that had to be repeated.
    pub repeated: u64,
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
    max_inputs: usize,
    /// The model's name as the server says it.
    model: Option<String>,
    answered: u64,
    last_answer: Instant,
    refused_alone: u32,
    pub(super) tally: Tally,
}

/// One key, or none where the server takes none.
pub(super) struct Key {
    pub(super) variable: Option<String>,
    pace: Pace,
    is_refused: bool,
    /// Times that it was asked for patience, since it was last answered.
    asked_for_patience: u32,
}

type UnderWay = FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>;

/// How a try ended.
struct Outcome {
    request: Request,
    key: usize,
    /// Whether it asked for base64.
    base64: bool,
    sent: Instant,
    reservation: Reservation,
    result: Result<Answer, Failure>,
    limits: Limits,
}

/// A text of which pieces are still awaited.
struct Gathering {
    vectors: BTreeMap<usize, (Vec<f32>, u64)>,
    pieces: usize,
    dropped: u64,
}

/// The state of one call.
struct Call<'a, 'd> {
    deliver: Deliver<'d>,
    texts: Receiver<Vec<(usize, Pieces)>>,
    /// Whether all texts have come.
    is_read: bool,
    packer: Packer,
    waiting: VecDeque<Request>,
    later: Vec<(Instant, Request)>,
    under_way: UnderWay,
    /// Pieces that are under way, or answered and not delivered.
    held: usize,
    gathering: BTreeMap<usize, Gathering>,
    /// Why nothing more is sent.
    end: Option<Result<(), ApiError>>,
    ended: Instant,
    /// When it is asked next whether to go on.
    tick: Instant,
    has_told_pause: bool,
    settings: &'a Settings,
}

/// What there is to do next.
enum Next {
    /// Send this with this key.
    Send(Request, usize),
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
            model: None,
            answered: 0,
            last_answer: Instant::now(),
            refused_alone: 0,
            tally: Tally::default(),
            settings,
        })
    }

    /// What was asked and spent so far.
    pub fn tally(&self) -> Tally {
        Tally { spent: self.budget.settled(), ..self.tally }
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

    async fn run(&mut self, texts: Receiver<Vec<(usize, Pieces)>>, deliver: Deliver<'_>) -> Result<(), ApiError> {
        let settings = self.settings.clone();
        let mut call = Call {
            deliver,
            texts,
            is_read: false,
            packer: Packer::new(self.max_inputs, settings.max_request_tokens),
            waiting: VecDeque::new(),
            later: Vec::new(),
            under_way: FuturesUnordered::new(),
            held: 0,
            gathering: BTreeMap::new(),
            end: None,
            ended: Instant::now(),
            tick: Instant::now() + TICK,
            has_told_pause: false,
            settings: &settings,
        };
        loop {
            let now = Instant::now();
            call.wake(now);
            match self.next(&mut call, now) {
                Next::Send(request, key) => self.send(&mut call, request, key, now),
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
            let is_over = call.under_way.is_empty() || call.ended.elapsed() > FAREWELL;
            return if is_over { Next::Done } else { Next::Wait(None) };
        }
        let Some(request) = call.waiting.pop_front() else {
            return if call.is_over() { Next::Done } else { Next::Wait(call.later.iter().map(|(at, _)| *at).min()) };
        };
        if !call.has_room(request.parts.len()) {
            call.waiting.push_front(request);
            return Next::Wait(None);
        }
        match self.key_for(request.tokens(), now) {
            Ok(key) => Next::Send(request, key),
            // A text alone is asked for all the same: the server will say what it thinks of it.
            Err(When::Never) if request.parts.len() == 1 => match self.keys.iter().position(|key| !key.is_refused) {
                Some(key) if call.under_way.is_empty() => Next::Send(request, key),
                _ => {
                    call.waiting.push_front(request);
                    Next::Wait(None)
                }
            },
            Err(When::Never) => {
                call.halve_or(request, "");
                Next::Wait(Some(now))
            }
            Err(When::At(at)) => {
                call.waiting.push_front(request);
                self.tell_pause(call, at.saturating_duration_since(now));
                Next::Wait(Some(at))
            }
            Err(_) => {
                call.waiting.push_front(request);
                Next::Wait(None)
            }
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

    fn send(&mut self, call: &mut Call, mut request: Request, key: usize, now: Instant) {
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

    /// Takes in how a try ended.
    fn hear(&mut self, call: &mut Call, outcome: Outcome) {
        let Outcome { request, key, base64, sent, reservation, result, limits } = outcome;
        let now = Instant::now();
        call.held -= request.parts.len();
        self.keys[key].pace.ended(now, request.tokens(), &limits);
        let billed = match &result {
            Ok(answer) => answer.tokens().map_or(Billed::Unknown, Billed::Tokens),
            Err(Failure::Passing { may_be_billed: true, .. } | Failure::Wrong { .. }) => Billed::Unknown,
            Err(_) => Billed::Nothing,
        };
        if let Err(error) = self.budget.settle(reservation, billed) {
            call.finish(Err(error));
        }
        match result {
            Ok(answer) => self.take(call, request, key, answer, now),
            Err(failure) => {
                self.tally.repeated += 1;
                match failure {
                    // It was under way when another one found out.
                    Failure::Refused { told, .. } if base64 && !self.base64 && is_of_encoding(&told) => {
                        call.waiting.push_front(request);
                    }
                    failure => self.fail(call, request, key, failure, limits.retry_after, sent, now),
                }
            }
        }
    }

    fn take(&mut self, call: &mut Call, request: Request, key: usize, answer: Answer, now: Instant) {
        if let Err(error) = self.same_model(&answer) {
            return call.finish(Err(error));
        }
        let Settings { dim, unit_length, .. } = self.settings;
        let vectors = match self.same_dim(answer.vectors(request.parts.len(), dim, unit_length)) {
            Ok(vectors) => vectors,
            Err(error) => return call.finish(Err(error)),
        };
        match vectors {
            Ok(vectors) => {
                self.answered += 1;
                self.last_answer = now;
                self.keys[key].asked_for_patience = 0;
                self.keys[key].pace.answered();
                for (part, vector) in request.parts.into_iter().zip(vectors) {
                    match vector {
                        Ok(vector) => call.gather(part, vector),
                        Err(why) => {
                            let again = Request { parts: vec![part], wrong: request.wrong, ..Request::default() };
                            self.doubt(call, again, why, now);
                        }
                    }
                }
            }
            Err(flaw) => self.doubt(call, request, &flaw.to_string(), now),
        }
    }

    /// Refuses an answer of another model than those before.
    pub(super) fn same_model(&mut self, answer: &Answer) -> Result<(), ApiError> {
        let said = answer.model().map(|model| self.client.told(model));
        if let (Some(was), Some(is)) = (&self.model, &said)
            && was != is
        {
            return Err(self.changed("the model's name", was, is));
        }
        self.model = self.model.take().or(said);
        Ok(())
    }

    /// Vectors of another length than declared end the call; other flaws are of this answer.
    pub(super) fn same_dim<T>(&self, vectors: Result<T, Flaw>) -> Result<Result<T, Flaw>, ApiError> {
        match vectors {
            Err(Flaw::Dim { found }) => {
                Err(self.changed("the number of a vector's components", &self.settings.dim, &found))
            }
            vectors => Ok(vectors),
        }
    }

    fn changed(&self, what: &'static str, was: &dyn ToString, now: &dyn ToString) -> ApiError {
        ApiError::Changed { host: self.settings.host().to_owned(), what, was: was.to_string(), now: now.to_string() }
    }

    #[expect(clippy::too_many_arguments, reason = "an outcome, taken apart")]
    fn fail(
        &mut self,
        call: &mut Call,
        request: Request,
        key: usize,
        failure: Failure,
        wait: Option<Duration>,
        sent: Instant,
        now: Instant,
    ) {
        match failure {
            Failure::Patience { why } => self.be_patient(call, request, key, &why, wait, sent, now),
            Failure::Passing { .. } if wait.is_some_and(|wait| wait > PATIENCE) => {
                let (host, wait) = (self.settings.host().to_owned(), wait.unwrap_or_default());
                call.finish(Err(ApiError::Wait { host, wait }));
            }
            Failure::Passing { why, slow, .. } => {
                if slow || wait.is_some() {
                    self.keys[key].pace.slow_down(now, sent, wait);
                }
                self.again(call, request, &why, now);
            }
            Failure::Wrong { why } => self.doubt(call, request, &why, now),
            Failure::Key { why } => self.set_aside(call, request, key, why),
            Failure::Refused { status, told } => self.refused(call, request, status, &told),
            Failure::Final(error) => call.finish(Err(error)),
        }
    }

    /// The server asks for patience: the key waits, as long as it says or longer each time.
    #[expect(clippy::too_many_arguments, reason = "an outcome, taken apart")]
    fn be_patient(
        &mut self,
        call: &mut Call,
        request: Request,
        key: usize,
        why: &str,
        wait: Option<Duration>,
        sent: Instant,
        now: Instant,
    ) {
        let host = self.settings.host().to_owned();
        if let Some(wait) = wait.filter(|wait| *wait > PATIENCE) {
            return call.finish(Err(ApiError::Wait { host, wait }));
        }
        if now.duration_since(self.last_answer) > PATIENCE {
            return call.finish(Err(ApiError::Unreachable {
                host,
                why: why.to_owned(),
                tries: self.tally.repeated as u32,
            }));
        }
        let state = &mut self.keys[key];
        // Those that were under way together are refused together, and count once.
        if state.asked_for_patience == 0 || !state.pace.is_old_news(sent) {
            state.asked_for_patience += 1;
        }
        // A server that says "at once" time and again means something else.
        let own =
            if state.asked_for_patience > EAGER { pause(state.asked_for_patience - EAGER) } else { Duration::ZERO };
        let pause = wait.map_or_else(|| pause(state.asked_for_patience), |wait| wait.max(own));
        state.pace.slow_down(now, sent, Some(pause));
        if pause >= Duration::from_secs(5) {
            call.note(format!("{host} asks for patience ({why}): waits {} s", pause.as_secs()));
        }
        call.waiting.push_front(request);
    }

    /// Tries again later what gave no answer, or looks for the text that is to blame.
    fn again(&mut self, call: &mut Call, mut request: Request, why: &str, now: Instant) {
        request.failed += 1;
        if request.failed < self.settings.tries {
            call.later.push((now + pause(request.failed), request));
        } else if self.answered > request.answered_before.unwrap_or(u64::MAX) {
            call.halve_or(request, why);
        } else if !request.is_doubted {
            request.failed -= 1;
            self.try_another(call, request, now);
        } else {
            let (host, tries) = (self.settings.host().to_owned(), request.failed);
            call.finish(Err(ApiError::Unreachable { host, why: why.to_owned(), tries }));
        }
    }

    /// Asks again for what was answered wrongly, a few times, since each was paid for.
    fn doubt(&mut self, call: &mut Call, mut request: Request, why: &str, now: Instant) {
        request.wrong += 1;
        if request.wrong < WRONG_ANSWERS {
            call.later.push((now + pause(request.wrong), request));
        } else if self.answered > 0 {
            call.halve_or(request, why);
        } else if !request.is_doubted {
            request.wrong -= 1;
            self.try_another(call, request, now);
        } else {
            let (host, detail) = (self.settings.host().to_owned(), why.to_owned());
            call.finish(Err(ApiError::BadAnswer { host, detail }));
        }
    }

    /// Asks for something harmless before a request that is doubted: where only texts are left that are refused, nothing else
    /// would tell whether they are to blame or the server is.
    fn try_another(&mut self, call: &mut Call, mut request: Request, now: Instant) {
        request.is_doubted = true;
        call.later.push((now + pause(request.failed), request));
        let piece = self.settings.cutting.cut(CANARY).pieces.into_iter().next();
        let part = piece.map(|piece| Part { row: NO_ROW, nth: 0, piece });
        call.waiting.push_front(Request { parts: part.into_iter().collect(), is_doubted: true, ..Request::default() });
    }

    /// A key that is refused is not used again.
    fn set_aside(&mut self, call: &mut Call, request: Request, key: usize, why: String) {
        call.waiting.push_front(request);
        if mem::replace(&mut self.keys[key].is_refused, true) {
            return;
        }
        let host = self.settings.host().to_owned();
        let names = |keys: &[Key]| keys.iter().filter_map(|key| key.variable.clone()).collect::<Vec<_>>().join(", ");
        if self.keys.iter().all(|key| key.is_refused) {
            let keys = if self.keys[0].variable.is_none() {
                "requests without a key".to_owned()
            } else {
                format!("the key of {}", names(&self.keys))
            };
            return call.finish(Err(ApiError::KeysRefused { host, keys, why }));
        }
        call.note(format!(
            "{host} refuses the key of {}, and is asked with the others: {why}",
            names(&self.keys[key..=key])
        ));
    }

    /// The server refuses a request: its form, its size, or one of its texts.
    fn refused(&mut self, call: &mut Call, request: Request, status: u16, told: &str) {
        if self.base64 && status != 404 && is_of_encoding(told) {
            self.base64 = false;
            call.note(format!("{} does not know base64, and is asked for numbers", self.settings.host()));
            return call.waiting.push_front(request);
        }
        let is_alone = request.parts.len() == 1;
        self.refused_alone += u32::from(is_alone);
        let may_be_of_text = matches!(status, 400 | 413 | 422);
        let is_doubtful = self.answered == 0 && self.refused_alone >= DOUBTED_AFTER;
        if may_be_of_text && is_doubtful && !request.is_doubted {
            return self.try_another(call, request, Instant::now());
        }
        if !may_be_of_text || is_doubtful {
            let (host, model) = (self.settings.host().to_owned(), self.settings.model.clone());
            return call.finish(Err(ApiError::Refused { host, model, status, told: told.to_owned() }));
        }
        if status == 413 && !is_alone {
            self.max_inputs = (request.parts.len() / 2).clamp(1, self.max_inputs);
            call.packer.set_max_inputs(self.max_inputs);
        }
        call.halve_or(request, &format!("the server answers {status}: {told}"));
    }
}

impl Call<'_, '_> {
    /// Requests whose time has come wait in front: they are the oldest.
    fn wake(&mut self, now: Instant) {
        let (due, later) = mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, Request)> = due;
        due.into_iter().rev().for_each(|(_, request)| self.waiting.push_front(request));
    }

    fn is_over(&self) -> bool {
        self.is_read && self.later.is_empty() && self.under_way.is_empty()
    }

    /// Whether so many more pieces may be under way; half of the window is for what waits to be sealed.
    fn has_room(&self, parts: usize) -> bool {
        let gathered: usize = self.gathering.values().map(|text| text.vectors.len()).sum();
        self.held == 0 || self.held + gathered + parts <= self.settings.window / 2
    }

    /// Waits for whatever comes first: an answer, texts, or the time.
    async fn wait(&mut self, until: Option<Instant>, now: Instant) -> Option<Outcome> {
        if now >= self.tick {
            self.tick = now + TICK;
            self.hand_over(Delivery::Waiting);
        }
        let until = until.unwrap_or(self.tick).min(self.tick);
        let wants_texts = !self.is_read && self.end.is_none() && self.waiting.len() < self.settings.concurrency;
        tokio::select! {
            Some(outcome) = self.under_way.next() => return Some(outcome),
            texts = self.texts.recv(), if wants_texts => self.read(texts),
            () = tokio::time::sleep_until(until.into()) => {}
        }
        None
    }

    /// Packs texts that were cut.
    fn read(&mut self, texts: Option<Vec<(usize, Pieces)>>) {
        let Some(texts) = texts else {
            self.is_read = true;
            self.waiting.extend(self.packer.take());
            return;
        };
        for (row, Pieces { pieces, dropped }) in texts {
            let gathering = Gathering { vectors: BTreeMap::new(), pieces: pieces.len(), dropped };
            self.gathering.insert(row, gathering);
            for (nth, piece) in pieces.into_iter().enumerate() {
                let full = self.packer.push(Part { row, nth, piece });
                self.waiting.extend(full);
            }
        }
    }

    /// Puts a piece's vector to its text's others, and hands the text's vector over once all are there.
    fn gather(&mut self, part: Part, vector: Vec<f32>) {
        let Part { row, nth, piece } = part;
        // A text that was given up may still have pieces under way.
        let Some(gathering) = self.gathering.get_mut(&row) else { return };
        gathering.vectors.insert(nth, (vector, piece.tokens));
        if gathering.vectors.len() < gathering.pieces {
            return;
        }
        let Some(Gathering { vectors, dropped, .. }) = self.gathering.remove(&row) else { return };
        let tokens = vectors.values().map(|(_, tokens)| tokens).sum();
        let vector = mean(vectors.into_values(), self.settings);
        self.hand_over(Delivery::Vector { row, vector, tokens, dropped });
    }

    /// Asks in halves, or gives a text up that stands alone.
    fn halve_or(&mut self, request: Request, why: &str) {
        if let [Part { row, .. }] = request.parts[..] {
            if self.gathering.remove(&row).is_some() {
                self.hand_over(Delivery::Unfit { row, why: why.to_owned() });
            }
            return;
        }
        let [first, second] = request.halves();
        self.waiting.push_front(second);
        self.waiting.push_front(first);
    }

    fn note(&mut self, note: String) {
        self.hand_over(Delivery::Note(note));
    }

    fn hand_over(&mut self, delivery: Delivery) {
        if (self.deliver)(delivery).is_break() && self.end.is_none() {
            self.finish(Ok(()));
            let requests = self.under_way.len();
            if requests > 0 {
                let seconds = FAREWELL.as_secs();
                // What is told now changes nothing any more.
                let _ = (self.deliver)(Delivery::Note(format!(
                    "waits up to {seconds} s for {requests} requests that are paid for"
                )));
            }
        }
    }

    /// Sends nothing more; the first reason counts.
    fn finish(&mut self, end: Result<(), ApiError>) {
        if self.end.is_none() {
            (self.end, self.ended) = (Some(end), Instant::now());
        }
    }
}

/// Whether a refusal is of the form that vectors were asked for in.
pub(super) fn is_of_encoding(told: &str) -> bool {
    told.contains("encoding_format") || told.contains("base64")
}

/// The mean of the pieces' vectors, weighted by their tokens; of one piece, its vector.
pub(super) fn mean(mut vectors: impl ExactSizeIterator<Item = (Vec<f32>, u64)>, settings: &Settings) -> Vec<f32> {
    let is_one = vectors.len() == 1;
    let Some((mut sum, weight)) = vectors.next() else { return Vec::new() };
    if !is_one {
        sum.iter_mut().for_each(|component| *component *= weight as f32);
        let mut total = weight as f32;
        for (vector, weight) in vectors {
            total += weight as f32;
            sum.iter_mut().zip(vector).for_each(|(sum, component)| *sum += component * weight as f32);
        }
        sum.iter_mut().for_each(|component| *component /= total);
    }
    if settings.normalize || (settings.unit_length && !is_one) {
        let length = sum.iter().map(|component| component * component).sum::<f32>().sqrt();
        sum.iter_mut().for_each(|component| *component /= length.max(f32::MIN_POSITIVE));
    }
    sum
}

/// How long to wait after so many failures: doubled with each, and a random part of it, so that not all come back at once.
pub(super) fn pause(failures: u32) -> Duration {
    let longest = (FIRST_PAUSE * 2u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

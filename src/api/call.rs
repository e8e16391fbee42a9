//! The state of one call: which requests wait, which are under way, and which texts still lack pieces.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::Receiver;

use super::answer::Answer;
use super::budget::Reservation;
use super::client::Failure;
use super::limits::Limits;
use super::request::{Packer, Part, Request};
use super::tokens::Pieces;
use super::{ApiError, Settings};

/// How often it is asked whether to go on while nothing is answered.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// How long answers under way are waited for once a call is to end.
const FAREWELL: Duration = Duration::from_secs(20);

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

type UnderWay = FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>;

/// How a try ended.
pub(super) struct Outcome {
    pub(super) request: Request,
    pub(super) key: usize,
    /// Whether it asked for base64.
    pub(super) base64: bool,
    pub(super) sent: Instant,
    pub(super) reservation: Reservation,
    pub(super) result: Result<Answer, Failure>,
    pub(super) limits: Limits,
}

/// A text of which pieces are still awaited.
struct Gathering {
    vectors: BTreeMap<usize, (Vec<f32>, u64)>,
    pieces: usize,
    dropped: u64,
}

/// The state of one call.
pub(super) struct Call<'a, 'd> {
    deliver: Deliver<'d>,
    texts: Receiver<Vec<(usize, Pieces)>>,
    /// Whether all texts have come.
    is_read: bool,
    pub(super) packer: Packer,
    pub(super) waiting: VecDeque<Request>,
    pub(super) later: Vec<(Instant, Request)>,
    pub(super) under_way: UnderWay,
    /// Pieces that are under way, or answered and not delivered.
    pub(super) held: usize,
    gathering: BTreeMap<usize, Gathering>,
    /// Vectors of texts that still lack pieces.
    gathered: usize,
    /// Why nothing more is sent.
    pub(super) end: Option<Result<(), ApiError>>,
    ended: Instant,
    /// When it is asked next whether to go on.
    tick: Instant,
    pub(super) has_told_pause: bool,
    settings: &'a Settings,
}

impl<'a, 'd> Call<'a, 'd> {
    /// A call for the texts that come, cut, by this channel.
    pub fn new(
        settings: &'a Settings,
        max_inputs: usize,
        texts: Receiver<Vec<(usize, Pieces)>>,
        deliver: Deliver<'d>,
    ) -> Self {
        Self {
            deliver,
            texts,
            is_read: false,
            packer: Packer::new(max_inputs, settings.max_request_tokens),
            waiting: VecDeque::new(),
            later: Vec::new(),
            under_way: FuturesUnordered::new(),
            held: 0,
            gathering: BTreeMap::new(),
            gathered: 0,
            end: None,
            ended: Instant::now(),
            tick: Instant::now() + TICK,
            has_told_pause: false,
            settings,
        }
    }

    /// Requests whose time has come wait in front: they are the oldest.
    pub fn wake(&mut self, now: Instant) {
        let (due, later) = mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, Request)> = due;
        due.into_iter().rev().for_each(|(_, request)| self.waiting.push_front(request));
    }

    /// Whether it has ended, and everything that was under way came home or had its time.
    pub fn has_left(&self) -> bool {
        self.under_way.is_empty() || self.ended.elapsed() > FAREWELL
    }

    pub fn is_over(&self) -> bool {
        self.is_read && self.later.is_empty() && self.under_way.is_empty()
    }

    /// Whether so many more pieces may be under way; half of the window is for what waits to be sealed.
    pub fn has_room(&self, parts: usize) -> bool {
        self.held == 0 || self.held + self.gathered + parts <= self.settings.window / 2
    }

    /// Waits for whatever comes first: an answer, texts, or the time.
    pub async fn wait(&mut self, until: Option<Instant>, now: Instant) -> Option<Outcome> {
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
    pub fn gather(&mut self, part: Part, vector: Vec<f32>) {
        let Part { row, nth, piece } = part;
        // A text that was given up may still have pieces under way.
        let Some(gathering) = self.gathering.get_mut(&row) else { return };
        let is_new = gathering.vectors.insert(nth, (vector, piece.tokens)).is_none();
        self.gathered += usize::from(is_new);
        if gathering.vectors.len() < gathering.pieces {
            return;
        }
        let Some(Gathering { vectors, dropped, .. }) = self.forget(row) else { return };
        let tokens = vectors.values().map(|(_, tokens)| tokens).sum();
        let vector = mean(vectors.into_values(), self.settings);
        self.hand_over(Delivery::Vector { row, vector, tokens, dropped });
    }

    fn forget(&mut self, row: usize) -> Option<Gathering> {
        let text = self.gathering.remove(&row)?;
        self.gathered -= text.vectors.len();
        Some(text)
    }

    /// Asks in halves for what waits first.
    pub fn halve_first(&mut self) {
        if let Some(request) = self.waiting.pop_front() {
            self.halve_or(request, "");
        }
    }

    /// Asks in halves, or gives a text up that stands alone.
    pub fn halve_or(&mut self, request: Request, why: &str) {
        if let [Part { row, .. }] = request.parts[..] {
            if self.forget(row).is_some() {
                self.hand_over(Delivery::Unfit { row, why: why.to_owned() });
            }
            return;
        }
        let [first, second] = request.halves();
        self.waiting.push_front(second);
        self.waiting.push_front(first);
    }

    pub fn note(&mut self, note: String) {
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
    pub fn finish(&mut self, end: Result<(), ApiError>) {
        if self.end.is_none() {
            (self.end, self.ended) = (Some(end), Instant::now());
        }
    }
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

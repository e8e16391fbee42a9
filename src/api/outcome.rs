//! What became of a try: what is right is delivered, what may pass is tried again, what a server refuses is asked for in
//! halves until the text that is to blame stands alone.
//!
//! A server that answers nothing at all ends the call, and so does one that answers something else than before.

use std::mem;
use std::time::{Duration, Instant};

use super::answer::{Answer, Flaw};
use super::budget::Billed;
use super::call::{Call, Outcome};
use super::client::Failure;
use super::dispatch::{Asker, Key, PATIENCE};
use super::note::remember_model;
use super::request::{Part, Request};
use super::{ApiError, Settings};

/// The first pause after a failed try, doubled with each, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a server may ask to be asked again at once, and is.
const EAGER: u32 = 3;
/// The place of no text.
const NO_ROW: usize = usize::MAX;
/// What is asked for, to see whether a server answers at all.
const CANARY: &str = "dark energy";
/// Texts refused one by one, before any was answered, until the request itself is doubted.
const DOUBTED_AFTER: u32 = 4;
/// Wrong answers to a request of several texts until they are doubted: each was paid for.
const WRONG_ANSWERS: u32 = 3;

impl Asker {
    /// Takes in how a try ended.
    pub(super) fn hear(&mut self, call: &mut Call, outcome: Outcome) {
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
                self.tally.failed += 1;
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
        if let (None, Some(said), Some(folder)) = (&self.model, &said, &self.settings.batches) {
            remember_model(folder, said)?;
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
                tries: self.tally.failed as u32,
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
        // A text alone costs little, and is given up for good: it is asked for as often as one that is not answered.
        let most = if request.parts.len() == 1 { WRONG_ANSWERS.max(self.settings.tries) } else { WRONG_ANSWERS };
        if request.wrong < most {
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

/// Whether a refusal is of the form that vectors were asked for in.
pub(super) fn is_of_encoding(told: &str) -> bool {
    told.contains("encoding_format") || told.contains("base64")
}

/// How long to wait after so many failures: doubled with each, and a random part of it, so that not all come back at once.
pub(super) fn pause(failures: u32) -> Duration {
    let longest = (FIRST_PAUSE * 2u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

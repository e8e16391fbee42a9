//! Handing requests over in files that are answered within a day, at a lower price.
//!
//! ```text
//! texts -> requests -> note on disk -> file uploaded -> batch created -> polled -> answers and errors downloaded
//!                        ^    its id ----^     its id ----^                             |
//!                        +--- a later run finds it there, and goes on ------------------+--> delivered
//! ```
//!
//! A note is written before anything is sent, and again with each id before anything waits on it (`note.rs`), so that a
//! run that dies anywhere hands nothing over twice: a batch whose id was lost is found by the mark that it was created with.
//! All batches are of the first key's account.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use serde_json::Value;

use super::answer::Answer;
use super::budget::Billed;
use super::call::{Deliver, Delivery, TICK, mean};
use super::client::{Batch, Failure, body, most_bytes};
use super::dispatch::Asker;
use super::note::{Note, read_notes, sweep};
use super::outcome::{is_of_encoding, pause};
use super::request::{Packer, Part, Request};
use super::tokens::Piece;
use super::{ApiError, Settings};
use crate::cost::HandedOver;
use crate::digest::Digest;

/// The only key that batches are asked with.
const KEY: usize = 0;
/// Texts in a batch: OpenAI allows 50,000, and an answer of that many is a gigabyte.
const BATCH_INPUTS: usize = 10_000;
/// Bytes of a batch's file, below OpenAI's 200 MB.
const BATCH_BYTES: usize = 100 << 20;
/// Between two looks at a batch: the first time, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(500);
const RAREST_LOOK: Duration = Duration::from_mins(1);
/// A batch whose creation was not answered shows in the list after so long, at most, or after as long as an answer may take;
/// until then it is looked for so often.
const SHOWN_AFTER: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How often texts that failed are handed over again.
const ROUNDS: u32 = 3;

/// Why a batch is not pursued.
enum Stop {
    /// The call is to end.
    Ended,
    /// The server does not know it any more.
    Gone,
    Failed(ApiError),
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// The requests of a file that is being made.
struct File {
    packer: Packer,
    requests: Vec<Request>,
    parts: usize,
    bytes: usize,
}

impl File {
    fn new(packer: Packer) -> Self {
        Self { packer, requests: Vec::new(), parts: 0, bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.parts >= BATCH_INPUTS || self.bytes >= BATCH_BYTES
    }

    /// Adds a text; one that failed before goes alone, so that it takes no others with it.
    fn add(&mut self, row: usize, pieces: Vec<Piece>, alone: bool) {
        if alone {
            self.requests.extend(self.packer.take());
        }
        for (nth, piece) in pieces.into_iter().enumerate() {
            (self.parts, self.bytes) = (self.parts + 1, self.bytes + piece.text.len());
            self.requests.extend(self.packer.push(Part { row, nth, piece }));
        }
        if alone {
            self.requests.extend(self.packer.take());
        }
    }

    fn requests(mut self) -> Vec<Request> {
        self.requests.extend(self.packer.take());
        self.requests
    }
}

/// What is known of the texts of a call.
struct Texts<'t> {
    texts: &'t [&'t str],
    rows: BTreeMap<Digest, usize>,
    /// The tokens of each text's pieces, and those that were cut.
    cuts: Vec<(Vec<u64>, u64)>,
    done: Vec<bool>,
    /// Why a text was not answered, when it was last handed over.
    why: BTreeMap<usize, String>,
}

impl<'t> Texts<'t> {
    fn of(texts: &'t [&'t str], settings: &Settings) -> Self {
        let digests = texts.iter().map(|text| Digest::of(text.as_bytes()));
        let cut = |text: &&str| {
            let cut = settings.cutting.cut(text);
            (cut.pieces.iter().map(|piece| piece.tokens).collect(), cut.dropped)
        };
        Self {
            rows: digests.zip(0..).collect(),
            cuts: texts.par_iter().map(cut).collect(),
            done: vec![false; texts.len()],
            why: BTreeMap::new(),
            texts,
        }
    }

    /// The row of a text, if it is still to be answered.
    fn open(&self, text: &Digest) -> Option<usize> {
        self.rows.get(text).copied().filter(|&row| !self.done[row])
    }

    fn are_open_in(&self, note: &Note) -> bool {
        note.asked().any(|text| self.open(text).is_some())
    }
}

impl Asker {
    /// Hands over what is not handed over yet, and collects what is answered.
    pub(super) async fn embed_in_batches(&mut self, texts: &[&str], deliver: Deliver<'_>) -> Result<(), ApiError> {
        let folder = self.settings.batches.clone().unwrap_or_default();
        fs::create_dir_all(&folder).map_err(|source| ApiError::Ledger { file: folder.clone(), source })?;
        sweep(&folder)?;
        let mut texts = Texts::of(texts, &self.settings);
        match self.rounds(&folder, &mut texts, deliver).await {
            Ok(()) | Err(Stop::Ended) => Ok(()),
            Err(Stop::Gone) => unreachable!("what is gone is handed over again"),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    async fn rounds(&mut self, folder: &Path, texts: &mut Texts<'_>, deliver: Deliver<'_>) -> Result<(), Stop> {
        for round in 0..=ROUNDS {
            let notes: Vec<Note> = read_notes(folder)?.into_iter().filter(|note| texts.are_open_in(note)).collect();
            let covered: HashSet<&Digest> = notes.iter().flat_map(Note::asked).collect();
            let rest = texts.rows.iter().filter(|(text, row)| !texts.done[**row] && !covered.contains(text));
            let mut rest: Vec<usize> = rest.map(|(_, row)| *row).collect();
            rest.sort_unstable();
            if notes.is_empty() && rest.is_empty() {
                return Ok(());
            }
            if round == ROUNDS {
                return give_up(texts, &rest, deliver);
            }
            let (handed, stopped) = self.hand_over(folder, texts, rest, deliver).await?;
            let mut waiting = Vec::new();
            for note in notes.into_iter().chain(handed) {
                if let Some(note) = self.pursue(folder, note, texts, deliver).await? {
                    waiting.push(note);
                }
            }
            if !waiting.is_empty() {
                let texts = waiting.iter().map(|note| note.asked().count()).sum();
                let (host, batches) = (self.settings.host().to_owned(), waiting.len());
                return Err(ApiError::HandedOver { host, texts: HandedOver { batches, texts } }.into());
            }
            stopped.map_or(Ok(()), |error| Err(Stop::Failed(error)))?;
        }
        Ok(())
    }

    /// Makes batches of these rows, as many as the budget allows, and says what stopped it there.
    async fn hand_over(
        &mut self,
        folder: &Path,
        texts: &Texts<'_>,
        rows: Vec<usize>,
        deliver: Deliver<'_>,
    ) -> Result<(Vec<Note>, Option<ApiError>), Stop> {
        let mut notes = Vec::new();
        for rows in rows.chunks(BATCH_INPUTS) {
            let room = self.budget.room().unwrap_or(u64::MAX);
            for (requests, lines) in self.files(texts, rows, room) {
                let most = requests.iter().map(Request::most).sum();
                let reservation = match self.budget.reserve(most) {
                    Ok(reservation) => reservation,
                    Err(error @ ApiError::Budget { .. }) => return Ok((notes, Some(error))),
                    Err(error) => return Err(error.into()),
                };
                let name = |part: &Part| Some((Digest::of(texts.texts[part.row].as_bytes()), part.nth));
                let requests = requests.iter().map(|request| request.parts.iter().map(name).collect()).collect();
                let (mark, id) = (mark_of(&lines[0]), reservation.id.clone());
                self.budget.leave_open(reservation);
                let mut note = Note {
                    version: 1,
                    mark,
                    requests,
                    reservation: id,
                    file: None,
                    creating: None,
                    batch: None,
                    is_collected: false,
                };
                note.write(folder)?;
                self.create(folder, &mut note, Some(lines), texts, deliver).await?;
                notes.push(note);
            }
        }
        Ok((notes, None))
    }

    /// The requests for these rows, each text whole in one file, and the lines of each file; one of them ends where so many
    /// tokens are reached, so that what may still be spent is.
    fn files(&self, texts: &Texts, rows: &[usize], room: u64) -> Vec<(Vec<Request>, Vec<String>)> {
        let (mut files, mut file) = (Vec::new(), File::new(self.packer()));
        let mut tokens = 0;
        for &row in rows {
            let pieces = self.settings.cutting.cut(texts.texts[row]).pieces;
            let of_row: u64 = pieces.iter().map(|piece| piece.most).sum();
            if (tokens <= room && tokens + of_row > room) || file.is_full() {
                files.extend(self.end(&mut file));
            }
            tokens += of_row;
            file.add(row, pieces, texts.why.contains_key(&row));
        }
        files.extend(self.end(&mut file));
        files
    }

    /// Ends a file, and begins the next: its requests and their lines, if there are any.
    fn end(&self, file: &mut File) -> Option<(Vec<Request>, Vec<String>)> {
        let requests = std::mem::replace(file, File::new(self.packer())).requests();
        let mark = format!("{:016x}", fastrand::u64(..));
        let lines = requests.iter().enumerate().map(|(n, request)| self.line(&mark, n, request)).collect();
        (!requests.is_empty()).then_some((requests, lines))
    }

    fn packer(&self) -> Packer {
        Packer::new(self.settings.max_inputs, self.settings.max_request_tokens)
    }

    fn line(&self, mark: &str, n: usize, request: &Request) -> String {
        let texts: Vec<&str> = request.parts.iter().map(|part| part.piece.text.as_str()).collect();
        let body = body(&self.settings, &texts, self.base64);
        let line = serde_json::json!({ "custom_id": format!("{mark}-{n}"), "method": "POST", "url": "/v1/embeddings", "body": body });
        format!("{line}\n")
    }

    /// Uploads a note's file and creates its batch, as far as that is not done.
    async fn create(
        &mut self,
        folder: &Path,
        note: &mut Note,
        lines: Option<Vec<String>>,
        texts: &Texts<'_>,
        deliver: Deliver<'_>,
    ) -> Result<(), Stop> {
        let client = self.client.clone();
        if note.file.is_none() {
            // Of a note that a dead run left the lines are made anew.
            let Some(lines) = lines.or_else(|| self.lines_of(note, texts)) else { return Err(Stop::Gone) };
            let lines = lines.concat().into_bytes();
            note.file = Some(self.persevere(false, deliver, || client.upload(KEY, lines.clone())).await?);
            note.write(folder)?;
        }
        let file = note.file.clone().unwrap_or_default();
        for failures in 0.. {
            // A try whose answer was lost may have created it, or may be about to.
            if let Some(since) = note.creating
                && let Some(batch) = self.find_marked(&note.mark, since, deliver).await?
            {
                note.batch = Some(batch.id);
                break;
            }
            note.creating = Some(seconds());
            note.write(folder)?;
            self.tally.requests += 1;
            match watch(client.create_batch(KEY, &file, &note.mark), deliver).await? {
                Ok(batch) => {
                    note.batch = Some(batch.id);
                    break;
                }
                Err(failure) => {
                    // What was refused created nothing.
                    let may_be =
                        matches!(failure, Failure::Passing { may_be_billed: true, .. } | Failure::Wrong { .. });
                    note.creating = may_be.then(seconds);
                    self.bear(failure, failures, false, deliver).await?;
                }
            }
        }
        note.write(folder)?;
        let (count, host) = (note.asked().count(), self.settings.host());
        let id = note.batch.as_deref().unwrap_or_default();
        say(deliver, Delivery::Note(format!("handed {count} texts over to {host}, as batch {id}")))
    }

    /// Looks for a batch that may have been created at that time, until it would have shown.
    async fn find_marked(&mut self, mark: &str, since: u64, deliver: Deliver<'_>) -> Result<Option<Batch>, Stop> {
        let client = self.client.clone();
        loop {
            let found = self.persevere(false, deliver, || client.marked_batch(KEY, mark)).await?;
            if found.is_some() || seconds() > since + SHOWN_AFTER.min(self.settings.timeout).as_secs() {
                return Ok(found);
            }
            rest(LOOK_AGAIN, deliver).await?;
        }
    }

    /// The lines of a note whose texts are all of this call.
    fn lines_of(&self, note: &Note, texts: &Texts) -> Option<Vec<String>> {
        let line = |(n, request): (usize, &Vec<Option<(Digest, usize)>>)| {
            let part = |asked: &Option<(Digest, usize)>| {
                let (text, nth) = asked.as_ref()?;
                let row = *texts.rows.get(text)?;
                let piece = self.settings.cutting.cut(texts.texts[row]).pieces.into_iter().nth(*nth)?;
                Some(Part { row, nth: *nth, piece })
            };
            let parts = request.iter().map(part).collect::<Option<_>>()?;
            Some(self.line(&note.mark, n, &Request { parts, ..Request::default() }))
        };
        note.requests.iter().enumerate().map(line).collect()
    }

    /// Waits for a batch and collects it; gives the note back if it is not to be waited for.
    async fn pursue(
        &mut self,
        folder: &Path,
        mut note: Note,
        texts: &mut Texts<'_>,
        deliver: Deliver<'_>,
    ) -> Result<Option<Note>, Stop> {
        match self.pursue_known(folder, &mut note, texts, deliver).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(note)),
            // Its texts are handed over again; what it may have cost stays counted.
            Err(Stop::Gone) => note.forget(folder).map(|()| None).map_err(Stop::Failed),
            Err(stop) => Err(stop),
        }
    }

    async fn pursue_known(
        &mut self,
        folder: &Path,
        note: &mut Note,
        texts: &mut Texts<'_>,
        deliver: Deliver<'_>,
    ) -> Result<bool, Stop> {
        if note.batch.is_none() {
            self.create(folder, note, None, texts, deliver).await?;
        }
        let (client, id) = (self.client.clone(), note.batch.clone().unwrap_or_default());
        let mut look = FIRST_LOOK;
        let batch = loop {
            let batch = self.persevere(true, deliver, || client.batch(KEY, &id)).await?;
            if batch.is_over() {
                break batch;
            }
            if self.settings.no_wait {
                return Ok(false);
            }
            rest(look, deliver).await?;
            look = (look * 2).min(RAREST_LOOK);
        };
        if matches!(batch.status.as_str(), "failed" | "cancelled") && batch.output_file_id.is_none() {
            note.forget(folder)?;
            self.settle(note, Billed::Nothing)?;
            let why = batch.fault().map_or_else(|| format!("it is {}", batch.status), |why| self.client.told(&why));
            return Err(ApiError::BatchFailed { host: self.settings.host().to_owned(), batch: id, why }.into());
        }
        self.collect(folder, note, &batch, texts, deliver).await.map(|()| true)
    }

    /// Downloads what a batch answered, delivers it, and notes what it cost.
    async fn collect(
        &mut self,
        folder: &Path,
        note: &mut Note,
        batch: &Batch,
        texts: &mut Texts<'_>,
        deliver: Deliver<'_>,
    ) -> Result<(), Stop> {
        let client = self.client.clone();
        let most = most_bytes(note.requests.iter().map(Vec::len).sum(), self.settings.dim) * 2;
        let mut answers = BTreeMap::new();
        let (mut billed, mut is_known) = (0u64, true);
        for file in [&batch.output_file_id, &batch.error_file_id].into_iter().flatten() {
            let content = self.persevere(true, deliver, || client.content(KEY, file, most)).await?;
            for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let Some((n, outcome)) = read_line(line, &note.mark) else { continue };
                let outcome = outcome.map_err(|why| self.client.told(&why));
                // A line of errors beside an answer says nothing of it.
                if matches!((answers.get(&n), &outcome), (Some(Ok(_)), Err(_))) {
                    continue;
                }
                if let Ok(answer) = &outcome {
                    billed = answer.tokens().unwrap_or(0).saturating_add(billed);
                    is_known &= answer.tokens().is_some();
                }
                answers.insert(n, outcome);
            }
        }
        let mut gathered: BTreeMap<usize, BTreeMap<usize, (Vec<f32>, u64)>> = BTreeMap::new();
        for (n, request) in note.requests.iter_mut().enumerate() {
            match self.vectors_of(answers.remove(&n), request.len())? {
                Ok(vectors) => {
                    for (asked, vector) in request.iter().zip(vectors) {
                        let Some((text, nth)) = asked else { continue };
                        let Some(row) = texts.open(text) else { continue };
                        let tokens = texts.cuts[row].0.get(*nth).copied().unwrap_or(0);
                        match vector {
                            Ok(vector) => drop(gathered.entry(row).or_default().insert(*nth, (vector, tokens))),
                            Err(why) => drop(texts.why.insert(row, why.to_owned())),
                        }
                    }
                }
                Err(why) => {
                    if is_of_encoding(&why) {
                        self.base64 = false;
                    }
                    let open = |asked: &Option<(Digest, usize)>| texts.open(&asked.as_ref()?.0);
                    let open: Vec<usize> = request.iter().filter_map(open).collect();
                    texts.why.extend(open.into_iter().map(|row| (row, why.clone())));
                    request.fill(None);
                }
            }
        }
        let whole = |(row, pieces): (usize, BTreeMap<usize, _>)| {
            (pieces.len() == texts.cuts[row].0.len()).then_some((row, pieces))
        };
        let whole: Vec<_> = gathered.into_iter().filter_map(whole).collect();
        // What is not whole is handed over again, and not looked for here.
        let is_whole = |row: usize| whole.binary_search_by_key(&row, |(row, _)| *row).is_ok();
        for asked in note.requests.iter_mut().flatten() {
            if asked.as_ref().and_then(|(text, _)| texts.open(text)).is_some_and(|row| !is_whole(row)) {
                *asked = None;
            }
        }
        if !note.is_collected {
            self.settle(note, if is_known { Billed::Tokens(billed) } else { Billed::Unknown })?;
            note.is_collected = true;
        }
        note.write(folder)?;
        for (row, pieces) in whole {
            texts.done[row] = true;
            let tokens = pieces.values().map(|(_, tokens)| tokens).sum();
            let (vector, dropped) = (mean(pieces.into_values(), &self.settings), texts.cuts[row].1);
            say(deliver, Delivery::Vector { row, vector, tokens, dropped })?;
        }
        Ok(())
    }

    /// The vectors of one answer, or why there are none.
    #[expect(clippy::type_complexity, reason = "a request's fate, then each text's")]
    fn vectors_of(
        &mut self,
        answer: Option<Result<Answer, String>>,
        count: usize,
    ) -> Result<Result<Vec<Result<Vec<f32>, &'static str>>, String>, ApiError> {
        let answer = match answer {
            None => return Ok(Err("its batch ended without an answer to it".to_owned())),
            Some(Err(why)) => return Ok(Err(why)),
            Some(Ok(answer)) => answer,
        };
        self.same_model(&answer)?;
        let vectors = answer.vectors(count, self.settings.dim, self.settings.unit_length);
        self.same_dim(vectors).map(|vectors| vectors.map_err(|flaw| flaw.to_string()))
    }

    fn settle(&mut self, note: &Note, billed: Billed) -> Result<(), ApiError> {
        match self.budget.reopen(&note.reservation) {
            Some(reservation) => self.budget.settle(reservation, billed),
            None => Ok(()),
        }
    }

    /// Tries until it is answered, or will not be.
    async fn persevere<T, F: Future<Output = Result<T, Failure>>>(
        &mut self,
        may_be_gone: bool,
        deliver: Deliver<'_>,
        attempt: impl Fn() -> F,
    ) -> Result<T, Stop> {
        for failures in 0.. {
            self.tally.requests += 1;
            match watch(attempt(), deliver).await? {
                Ok(value) => return Ok(value),
                Err(failure) => self.bear(failure, failures, may_be_gone, deliver).await?,
            }
        }
        unreachable!("tries end before numbers do")
    }

    /// Waits after a failure that may pass.
    async fn bear(
        &mut self,
        failure: Failure,
        failures: u32,
        may_be_gone: bool,
        deliver: Deliver<'_>,
    ) -> Result<(), Stop> {
        self.tally.failed += 1;
        let host = self.settings.host().to_owned();
        let why = match failure {
            Failure::Passing { why, .. } | Failure::Patience { why } | Failure::Wrong { why } => why,
            // Perhaps it passes; a server without batches says so at once, when something is uploaded.
            Failure::Refused { status: 404, told } if may_be_gone => {
                if failures + 1 >= self.settings.tries {
                    return Err(Stop::Gone);
                }
                format!("it answers 404: {told}")
            }
            Failure::Refused { status, told } => {
                let model = self.settings.model.clone();
                return Err(ApiError::Refused { host, model, status, told }.into());
            }
            Failure::Key { why } => {
                let keys = self.keys[KEY]
                    .variable
                    .as_ref()
                    .map_or("requests without a key".to_owned(), |it| format!("the key of {it}"));
                return Err(ApiError::KeysRefused { host, keys, why }.into());
            }
            Failure::Final(error) => return Err(error.into()),
        };
        if failures + 1 >= self.settings.tries {
            return Err(ApiError::Unreachable { host, why, tries: failures + 1 }.into());
        }
        rest(pause(failures + 1), deliver).await
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Tells of the texts that no batch answered.
fn give_up(texts: &Texts, rows: &[usize], deliver: Deliver<'_>) -> Result<(), Stop> {
    for row in rows {
        let why = texts.why.get(row).cloned().unwrap_or_else(|| "no batch answered it".to_owned());
        say(deliver, Delivery::Unfit { row: *row, why })?;
    }
    Ok(())
}

/// One line of a file of answers or errors: which request it is of, and its answer or why there is none.
fn read_line(line: &[u8], mark: &str) -> Option<(usize, Result<Answer, String>)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let n = line["custom_id"].as_str()?.strip_prefix(mark)?.strip_prefix('-')?.parse().ok()?;
    let response = &line["response"];
    if response["status_code"].as_u64() == Some(200) {
        let answer = serde_json::from_value(response["body"].clone());
        return Some((n, answer.map_err(|_| "its batch answered what cannot be read".to_owned())));
    }
    let message =
        [&line["error"]["message"], &response["body"]["error"]["message"]].into_iter().find_map(Value::as_str);
    Some((n, Err(message.unwrap_or("its batch failed on it").to_owned())))
}

/// The mark in a line.
fn mark_of(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    line["custom_id"].as_str().and_then(|id| id.split('-').next()).unwrap_or_default().to_owned()
}

fn say(deliver: Deliver<'_>, delivery: Delivery) -> Result<(), Stop> {
    if deliver(delivery).is_break() { Err(Stop::Ended) } else { Ok(()) }
}

/// Waits for something, and asks all the while whether to go on.
async fn watch<T>(what: impl Future<Output = T>, deliver: Deliver<'_>) -> Result<T, Stop> {
    let mut what = pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return Ok(done),
            () = tokio::time::sleep(TICK) => say(deliver, Delivery::Waiting)?,
        }
    }
}

async fn rest(pause: Duration, deliver: Deliver<'_>) -> Result<(), Stop> {
    watch(tokio::time::sleep(pause), deliver).await
}

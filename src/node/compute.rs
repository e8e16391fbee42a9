//! Computing the vectors that stand nowhere yet: window by window, sealed as they come.
//!
//! A window that fails is tried once more, and then split in halves until the texts that fail stand alone: they are
//! listed, and all others have their vectors. So one text that a model cannot digest costs some twenty runs, and not the
//! year. Only what may lie in a text is treated so; an embedder that fails at what it did before is at fault itself, and
//! ends the step.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, StringArray};
use tracing::field::Empty;

use super::embed::EmbedPlan;
use super::{Context, NodeError, with_causes};
use crate::api::Tally;
use crate::digest::{Digest, RowKey};
use crate::embedder::{Description, Embedder, EmbedderError, Embedding, Portions, Told};
use crate::event::{Detail, Unit};
use crate::record::{Output, Pace};
use crate::store::segment::{SegmentHeader, SegmentRow, SegmentWriter};

/// Time between seals at most: what a kill can cost.
const SEAL_AFTER: Duration = Duration::from_secs(15);
/// Texts that fail one after the other until the embedder itself is doubted.
const DOUBTED_AFTER: usize = 8;
/// Texts that a doubted embedder is tried at, where it digested none before: as many as raised the doubt.
const TRIALS: usize = DOUBTED_AFTER;
/// How often it is told what the model has read.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Before a window is tried again: what passes by itself, such as memory that another program took, needs a moment.
const BREATH: Duration = Duration::from_millis(200);

/// The texts that could not be embedded, and why.
pub type Failed = BTreeMap<RowKey, String>;

/// What came of computing.
#[derive(Default)]
pub struct Computed {
    /// The texts that have no vector.
    pub failed: Failed,
    /// The others, and how long the embedder took.
    pub pace: Pace,
    /// What an API was asked and paid.
    pub asked: Option<Tally>,
}

/// Embeds the texts whose keys are missing, each distinct text once, and seals their vectors as segments.
///
/// # Errors
/// An embedder that is at fault itself, and whatever the store gives. What was finished is sealed all the same.
pub fn compute(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    keys: &[RowKey],
    missing: HashSet<RowKey>,
    embedder: &mut dyn Embedder,
) -> Result<Computed, NodeError> {
    let computed = compute_missing(context, plan, texts, keys, missing, embedder);
    // However it ended: what was asked was paid.
    let Some(Tally { requests, failed, spent }) = embedder.tally() else { return computed };
    (context.detail)(Detail::Asked { requests, failed, tokens: spent.tokens, micro_usd: spent.micro_usd });
    computed
}

fn compute_missing(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    keys: &[RowKey],
    mut missing: HashSet<RowKey>,
    embedder: &mut dyn Embedder,
) -> Result<Computed, NodeError> {
    let mut work = Work::start(context, plan, texts, missing.len() as u64, embedder)?;
    (context.detail)(Detail::Reused { rows: work.done });
    work.standing = keys.iter().position(|key| !missing.contains(key)).map(|row| (texts.digest, row));
    let mut window: Vec<(RowKey, String)> = Vec::new();
    let (mut keys, mut bytes) = (keys.iter(), 0);
    for batch in context.store.read_parquet_columns(&texts.digest, &["text"])? {
        let batch = batch.map_err(NodeError::arrow("texts"))?;
        let texts: &StringArray = batch["text"].as_string();
        for (text, key) in texts.iter().flatten().zip(keys.by_ref()) {
            if missing.remove(key) {
                bytes += text.len();
                window.push((*key, text.to_owned()));
            }
            if window.len() >= work.portions.rows || bytes >= work.portions.bytes {
                work.embed(embedder, &window)?;
                window.clear();
                bytes = 0;
            }
        }
    }
    work.embed(embedder, &window)?;
    work.seal()?;
    Ok(Computed { failed: work.failed, pace: work.pace, asked: embedder.tally() })
}

/// The state of computing: what is finished but not sealed, and since when.
struct Work<'a> {
    context: &'a Context<'a>,
    segments: SegmentWriter,
    sealed: Instant,
    done: u64,
    total: u64,
    failed: Failed,
    pace: Pace,
    /// Texts that failed since the last one that did not.
    failures_in_a_row: usize,
    /// A text that the embedder did digest.
    good: Option<String>,
    /// The texts table, and a row of it whose vector stood before: the embedder of this key digested it once.
    standing: Option<(Digest, usize)>,
    portions: Portions,
    /// Vectors and tokens since the last batch was told.
    batch: (u64, u64),
    /// Tokens of all batches, when this one began, and when that was last told.
    read: u64,
    begun: Instant,
    told: Instant,
}

/// How a call of the embedder ended that did not give every row.
enum Ended {
    /// Something that may lie in one of its texts.
    OfTexts(EmbedderError),
    /// Anything else.
    Fatal(NodeError),
}

impl<'a> Work<'a> {
    fn start(
        context: &'a Context,
        plan: &EmbedPlan,
        texts: &Output,
        missing: u64,
        embedder: &dyn Embedder,
    ) -> Result<Self, NodeError> {
        let Description { runtime, cpu_class, portions, .. } = embedder.description().clone();
        let (embedder, dim, dtype) = (plan.key, plan.dim, plan.dtype);
        let header = SegmentHeader { embedder, dim, dtype, rows: 0, runtime, cpu: cpu_class };
        Ok(Self {
            context,
            segments: context.store.segment_writer(header)?,
            sealed: Instant::now(),
            done: texts.rows - missing,
            total: texts.rows,
            failed: Failed::new(),
            pace: Pace::default(),
            failures_in_a_row: 0,
            good: None,
            standing: None,
            portions,
            batch: (0, 0),
            read: 0,
            begun: Instant::now(),
            told: Instant::now(),
        })
    }

    /// Embeds one window. Whatever ends it, what was finished is sealed first.
    fn embed(&mut self, embedder: &mut dyn Embedder, window: &[(RowKey, String)]) -> Result<(), NodeError> {
        let embedded = self.embed_or_split(embedder, &window.iter().collect::<Vec<_>>());
        if embedded.is_err() {
            self.seal()?;
        }
        embedded
    }

    fn embed_or_split(&mut self, embedder: &mut dyn Embedder, window: &[&(RowKey, String)]) -> Result<(), NodeError> {
        let (left, error) = self.run(embedder, window)?;
        let Some(error) = error else { return Ok(()) };
        (self.context.note)(format!("{} of {} texts failed and are tried again: {error}", left.len(), window.len()));
        std::thread::sleep(BREATH);
        // Halves wait on a stack, the first one on top: texts are done in their order.
        let mut waiting = vec![left];
        while let Some(part) = waiting.pop() {
            let (left, error) = self.run(embedder, &part)?;
            match (error, &left[..]) {
                (None, _) => {}
                (Some(error), [alone]) => {
                    let others: Vec<_> = waiting.iter().flatten().copied().collect();
                    self.fail(embedder, alone, &others, error)?;
                }
                (Some(_), left) => {
                    let (first, second) = left.split_at(left.len() / 2);
                    waiting.extend([second.to_vec(), first.to_vec()]);
                }
            }
        }
        Ok(())
    }

    /// Embeds these texts; gives those that are left, and what is to blame.
    #[expect(clippy::type_complexity, reason = "what is left, and why")]
    fn run<'t>(
        &mut self,
        embedder: &mut dyn Embedder,
        part: &[&'t (RowKey, String)],
    ) -> Result<(Vec<&'t (RowKey, String)>, Option<EmbedderError>), NodeError> {
        let mut done = vec![false; part.len()];
        match self.call(embedder, part, &mut done) {
            Ok(()) => Ok((Vec::new(), None)),
            Err(Ended::Fatal(error)) => Err(error),
            Err(Ended::OfTexts(error)) => {
                let left = part.iter().zip(done).filter(|(_, done)| !done).map(|(text, _)| *text);
                Ok((left.collect(), Some(error)))
            }
        }
    }

    fn call(
        &mut self,
        embedder: &mut dyn Embedder,
        part: &[&(RowKey, String)],
        done: &mut [bool],
    ) -> Result<(), Ended> {
        let texts: Vec<&str> = part.iter().map(|(_, text)| text.as_str()).collect();
        let span = tracing::debug_span!("batch", texts = texts.len(), rows = Empty, tokens = Empty).entered();
        self.begun = Instant::now();
        let mut stopped = Ok(());
        let embedded = embedder.embed(&texts, &mut |told| {
            let taken = self.hear(part, done, told);
            // What comes after it was to stop is taken all the same: it is paid for.
            stopped = mem::replace(&mut stopped, Ok(())).and(taken);
            if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let seconds = self.begun.elapsed().as_secs_f64();
        self.pace.seconds += seconds;
        let (rows, tokens) = mem::take(&mut self.batch);
        (self.context.detail)(Detail::Batch { rows, tokens, seconds });
        span.record("rows", rows).record("tokens", tokens);
        tracing::debug!(seconds, "batch embedded");
        stopped.map_err(Ended::Fatal)?;
        embedded.map_err(|error| match error.may_be_of_texts() {
            true => Ended::OfTexts(error),
            false => Ended::Fatal(Box::new(error).into()),
        })
    }

    /// Takes in what the embedder tells of these texts.
    fn hear(&mut self, part: &[&(RowKey, String)], done: &mut [bool], told: Told) -> Result<(), NodeError> {
        match told {
            Told::Embedded(row, embedding) => {
                done[row] = true;
                self.take(part[row], embedding)
            }
            Told::Unfit(row, why) => {
                done[row] = true;
                self.failed.insert(part[row].0, why);
                self.context.check_cancel()
            }
            Told::Note(note) => {
                (self.context.note)(note);
                Ok(())
            }
            Told::Waiting => self.context.check_cancel(),
        }
    }

    fn take(&mut self, (key, text): &(RowKey, String), embedding: Embedding) -> Result<(), NodeError> {
        let Embedding { vector, tokens, tokens_dropped } = embedding;
        match self.segments.push(SegmentRow { key: *key, vector, tokens, tokens_dropped }) {
            Ok(()) => {
                self.done += 1;
                self.pace.rows += 1;
                self.batch.0 += 1;
                self.batch.1 += u64::from(tokens);
                self.tell_read(tokens);
                self.failures_in_a_row = 0;
                if self.good.is_none() {
                    self.good = Some(text.clone());
                }
            }
            Err(row) => {
                self.failed.insert(*key, unfit(&row));
            }
        }
        (self.context.progress)(self.done, Some(self.total), Unit::Rows);
        if self.segments.pending() >= self.portions.seal_rows || self.sealed.elapsed() >= SEAL_AFTER {
            self.seal()?;
        }
        self.context.check_cancel()
    }

    fn tell_read(&mut self, tokens: u32) {
        self.read += u64::from(tokens);
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            let seconds = self.pace.seconds + self.begun.elapsed().as_secs_f64();
            (self.context.detail)(Detail::Read { tokens: self.read, seconds });
        }
    }

    /// Lists a text that failed alone. Where many did in a row, the embedder must show that it still can.
    fn fail(
        &mut self,
        embedder: &mut dyn Embedder,
        (key, _): &(RowKey, String),
        others: &[&(RowKey, String)],
        error: EmbedderError,
    ) -> Result<(), NodeError> {
        self.context.check_cancel()?;
        self.failures_in_a_row += 1;
        if self.failures_in_a_row.is_multiple_of(DOUBTED_AFTER) && !self.can(embedder, others)? {
            return Err(Box::new(error).into());
        }
        self.failed.insert(*key, with_causes(&error));
        Ok(())
    }

    /// Whether the embedder still digests anything: what it did before, in this run or an earlier one, or else some of the
    /// `others` that wait, from all over. Without the earlier one a step of which only failing texts are left could never
    /// be accepted; without the others one that begins with failing texts could not. One that digests nothing is at fault.
    fn can(&mut self, embedder: &mut dyn Embedder, others: &[&(RowKey, String)]) -> Result<bool, NodeError> {
        let mut trials: Vec<String> = self.good.iter().cloned().collect();
        if trials.is_empty() {
            trials.extend(self.standing_text()?);
            let step = others.len().div_ceil(TRIALS).max(1);
            trials.extend(others.iter().step_by(step).map(|(_, text)| text.clone()));
        }
        let mut digests = |text: &String| embedder.embed(&[text], &mut |_| ControlFlow::Continue(())).is_ok();
        self.good = trials.into_iter().find(|text| digests(text));
        Ok(self.good.is_some())
    }

    fn standing_text(&self) -> Result<Option<String>, NodeError> {
        let Some((table, row)) = &self.standing else { return Ok(None) };
        let batch = self.context.store.read_parquet_row(table, *row)?;
        let text: &StringArray = batch["text"].as_string();
        Ok(Some(text.value(0).to_owned()))
    }

    fn seal(&mut self) -> Result<(), NodeError> {
        let vectors = self.segments.seal()? as u64;
        self.sealed = Instant::now();
        if vectors > 0 {
            (self.context.detail)(Detail::Sealed { vectors, done: self.done, total: self.total });
        }
        Ok(())
    }
}

/// What is wrong with a vector that a segment refused.
fn unfit(row: &SegmentRow) -> String {
    match row.vector.iter().find(|component| !component.is_finite()) {
        Some(component) => format!("a component of its vector is {component}"),
        None => {
            "a component of its vector is beyond 65,504, the most that f16 holds; set `store_dtype = \"f32\"` in this \
                 embed node, or `normalize = true`"
                .to_owned()
        }
    }
}

//! embed: one vector of each text, computing only what no sealed segment holds.
//!
//! ```text
//! texts -> row keys -> which are sealed already? -> embed the rest -> segments, sealed as they fill
//!                                                                        |
//! texts, in order  ------------------ gather ----------------------------+--> vectors table
//! ```
//!
//! A fresh run, a resumed one and one that reuses another year take this same path, so they give the same bytes: the
//! order of the vectors table is that of the texts, and segments are only where its vectors come from. The same text
//! twice is embedded once.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, StringArray};

use super::gather::{Located, gather, locate};
use super::{Context, Made, NodeError};
use crate::digest::{EmbedderKey, RowKey};
use crate::embedder::{Description, Embedder, EmbedderError, Embedding};
use crate::event::Unit;
use crate::manifest::config::Dtype;
use crate::pool::map_ordered;
use crate::record::Output;
use crate::store::segment::{Segment, SegmentHeader, SegmentRow, SegmentWriter};

/// Texts handed to the embedder at once: enough that rows of equal length find each other, few enough to hold.
const WINDOW_ROWS: usize = 2048;
/// Rows per segment at most: a few megabytes, written in one stride.
const SEAL_ROWS: usize = 4096;
/// Time between seals at most: what a kill can cost.
const SEAL_AFTER: Duration = Duration::from_secs(15);

/// What embed needs to know of its embedder before it is started.
pub struct EmbedPlan<'a> {
    /// The embedder's key.
    pub key: EmbedderKey,
    /// What the key is made of.
    pub ingredients: &'a BTreeMap<String, String>,
    /// Components per vector.
    pub dim: usize,
    /// Element type of the vectors table.
    pub dtype: Dtype,
    /// The model as the manifest names it, by its last part.
    pub model: &'a str,
    /// Whether one kind of machine always gives the same bits.
    pub bit_stable: bool,
}

/// Makes the vectors table of a texts table. `start` is called only if something is to be computed.
///
/// # Errors
/// Whatever the embedder and the store give. What was computed before the error is sealed and counts next time.
pub fn run<'e>(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    start: impl FnOnce() -> Result<&'e mut dyn Embedder, EmbedderError>,
) -> Result<Made, NodeError> {
    let keys = row_keys(context, plan.key, texts)?;
    let mut needed: Vec<RowKey> = keys.clone();
    needed.sort_unstable();
    needed.dedup();
    let missing = missing(context, plan, &needed)?;
    let embedded = missing.len() as u64;
    (context.progress)(texts.rows - embedded.min(texts.rows), Some(texts.rows), Unit::Rows);
    if !missing.is_empty() {
        compute(context, plan, texts, &keys, missing, start().map_err(Box::new)?)?;
    }
    let segments = segments(context, plan)?;
    let located = locate(&needed, &segments, &|segment| verified(context, segment));
    let gathered = gather(context, plan, texts, &keys, &needed, &located, &segments)?;
    Ok(made(plan, texts, embedded, gathered, &origins(&located, &segments)))
}

fn made(
    plan: &EmbedPlan,
    texts: &Output,
    embedded: u64,
    gathered: super::gather::Gathered,
    origins: &[&SegmentHeader],
) -> Made {
    let mut made = Made::default();
    made.count("rows_in", texts.rows);
    made.count("rows", gathered.vectors.rows);
    made.count("tokens", gathered.tokens);
    made.count("tokens_dropped", gathered.tokens_dropped);
    made.count("truncated", gathered.rows_cut);
    made.outputs.insert("vectors".into(), gathered.vectors);
    made.run_counts.insert("embedded".into(), embedded);
    made.run_counts.insert("reused".into(), texts.rows - embedded);
    made.fact("model", plan.model);
    made.fact("embedder", plan.key);
    made.fact("texts", texts.digest);
    for (name, value) in plan.ingredients {
        made.fact(&format!("embedder.{name}"), value);
    }
    let list = |of: fn(&SegmentHeader) -> &str| {
        let distinct: std::collections::BTreeSet<&str> = origins.iter().map(|header| of(header)).collect();
        distinct.into_iter().collect::<Vec<_>>().join(", ")
    };
    made.machine.insert("runtime".into(), list(|header| &header.runtime));
    made.machine.insert("cpu".into(), list(|header| &header.cpu));
    // Vectors of two CPU classes or runtimes may differ in their last bits: such a table would not come out again.
    let mixed = origins.windows(2).any(|pair| (&pair[0].runtime, &pair[0].cpu) != (&pair[1].runtime, &pair[1].cpu));
    made.not_bit_stable = !plan.bit_stable || mixed;
    made
}

/// The headers of the segments that vectors were taken from.
fn origins<'a>(located: &[Option<Located>], segments: &'a [Segment]) -> Vec<&'a SegmentHeader> {
    let used: HashSet<u32> = located.iter().flatten().map(|at| at.segment).collect();
    segments.iter().zip(0..).filter(|(_, index)| used.contains(index)).map(|(segment, _)| segment.header()).collect()
}

/// The key of every text, in order: 16 bytes a row are held.
fn row_keys(context: &Context, embedder: EmbedderKey, texts: &Output) -> Result<Vec<RowKey>, NodeError> {
    let mut reader = context.store.read_parquet(&texts.digest)?;
    let mut keys = Vec::with_capacity(usize::try_from(texts.rows).unwrap_or(0));
    map_ordered(
        || {
            context.check_cancel()?;
            reader.next().transpose().map_err(NodeError::arrow("texts"))
        },
        |batch| {
            let texts: &StringArray = batch["text"].as_string();
            texts.iter().flatten().map(|text| RowKey::of(&embedder, text)).collect::<Vec<_>>()
        },
        |batch_keys| {
            keys.extend(batch_keys);
            Ok::<_, NodeError>(())
        },
    )?;
    Ok(keys)
}

/// The sealed segments that can serve; damaged ones are told of and passed over.
fn segments(context: &Context, plan: &EmbedPlan) -> Result<Vec<Segment>, NodeError> {
    let (segments, damaged) = context.store.segments(&plan.key, plan.dim, plan.dtype)?;
    damaged.iter().for_each(|error| (context.note)(format!("passed over a segment: {error}")));
    Ok(segments)
}

fn verified(context: &Context, segment: &Segment) -> bool {
    segment.verify().inspect_err(|error| (context.note)(format!("passed over a segment: {error}"))).is_ok()
}

fn missing(context: &Context, plan: &EmbedPlan, needed: &[RowKey]) -> Result<HashSet<RowKey>, NodeError> {
    let segments = segments(context, plan)?;
    let located = locate(needed, &segments, &|segment| verified(context, segment));
    Ok(needed.iter().zip(located).filter(|(_, at)| at.is_none()).map(|(key, _)| *key).collect())
}

/// Embeds the texts whose keys are missing, each distinct text once, and seals them as segments.
fn compute(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    keys: &[RowKey],
    mut missing: HashSet<RowKey>,
    embedder: &mut dyn Embedder,
) -> Result<(), NodeError> {
    let Description { runtime, cpu_class, .. } = embedder.description().clone();
    let header =
        SegmentHeader { embedder: plan.key, dim: plan.dim, dtype: plan.dtype, rows: 0, runtime, cpu: cpu_class };
    let done = texts.rows - missing.len() as u64;
    let mut work = Work {
        context,
        segments: context.store.segment_writer(header)?,
        sealed: Instant::now(),
        done,
        total: texts.rows,
    };
    let mut window: Vec<(RowKey, String)> = Vec::with_capacity(WINDOW_ROWS);
    let mut keys = keys.iter();
    for batch in context.store.read_parquet(&texts.digest)? {
        let batch = batch.map_err(NodeError::arrow("texts"))?;
        let texts: &StringArray = batch["text"].as_string();
        for (text, key) in texts.iter().flatten().zip(keys.by_ref()) {
            if missing.remove(key) {
                window.push((*key, text.to_owned()));
            }
            if window.len() == WINDOW_ROWS {
                work.embed(embedder, &window)?;
                window.clear();
            }
        }
    }
    work.embed(embedder, &window)?;
    Ok(work.segments.seal()?)
}

/// The state of computing: what is finished but not sealed, and since when.
struct Work<'a> {
    context: &'a Context<'a>,
    segments: SegmentWriter,
    sealed: Instant,
    done: u64,
    total: u64,
}

impl Work<'_> {
    /// Embeds one window. Whatever ends it, what was finished is sealed first.
    fn embed(&mut self, embedder: &mut dyn Embedder, window: &[(RowKey, String)]) -> Result<(), NodeError> {
        let texts: Vec<&str> = window.iter().map(|(_, text)| text.as_str()).collect();
        let mut stopped = Ok(());
        let embedded = embedder.embed(&texts, &mut |index, embedding| {
            stopped = self.take(&window[index], embedding);
            if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if stopped.is_err() || embedded.is_err() {
            self.segments.seal()?;
        }
        stopped?;
        Ok(embedded.map_err(Box::new)?)
    }

    fn take(&mut self, (key, text): &(RowKey, String), embedding: Embedding) -> Result<(), NodeError> {
        let Embedding { vector, tokens, tokens_dropped } = embedding;
        let row = SegmentRow { key: *key, vector, tokens, tokens_dropped };
        self.segments.push(row).map_err(|_| NodeError::Range { text: text.chars().take(60).collect() })?;
        self.done += 1;
        (self.context.progress)(self.done, Some(self.total), Unit::Rows);
        if self.segments.pending() >= SEAL_ROWS || self.sealed.elapsed() >= SEAL_AFTER {
            self.segments.seal()?;
            self.sealed = Instant::now();
        }
        self.context.check_cancel()
    }
}

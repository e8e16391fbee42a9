//! embed: one vector of each text, computing only what stands nowhere yet.
//!
//! ```text
//! texts -> row keys -> which vectors stand? -> compute the rest -> segments, sealed as they fill
//!                                                                    |
//! texts, in order  ------------------ gather ------------------------+--> vectors table
//! ```
//!
//! A fresh run, a resumed one and one that reuses another year take this same path, so they give the same bytes: the
//! order of the vectors table is that of the texts, and segments are only where its vectors come from. The same text
//! twice is embedded once. Read next: `reuse`, which knows what stands; `compute.rs`, which computes.

use std::collections::BTreeMap;

use super::compute::{Computed, Failed, compute};
use super::gather::{Gathered, failed_rows, failed_table, gather};
use super::{Context, Made, NodeError};
use crate::api::Tally;
use crate::digest::{EmbedderKey, RowKey};
use crate::embedder::{Embedder, EmbedderError};
use crate::encoding::Dtype;
use crate::event::{Detail, LISTED_ROWS, Unit};
use crate::manifest::config::Long;
use crate::record::Output;
use crate::reuse::{Shape, Source, Vectors, removed, row_keys};
use crate::store::table_rows::TableHeader;
use crate::table;

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
    /// The vectors table that this step made before, if it is known.
    pub previous: Option<&'a Output>,
    /// Whether texts that cannot be embedded are left out, instead of ending the step.
    pub accept_failures: bool,
    /// The run.
    pub run: &'a str,
}

impl EmbedPlan<'_> {
    fn shape(&self) -> Shape {
        Shape { embedder: self.key, dim: self.dim, dtype: self.dtype }
    }

    /// Tokens of a window, where a text that has more is read in several.
    pub(super) fn window_tokens(&self) -> Option<u64> {
        self.ingredients.get("long").filter(|long| **long == Long::Mean.to_string())?;
        self.ingredients.get("max_length")?.parse().ok()
    }
}

/// Makes the vectors table of a texts table. `start` is called only if something is to be computed.
///
/// # Errors
/// [`NodeError::Incomplete`] if some texts cannot be embedded; whatever the embedder and the store give. What was computed
/// before the error is sealed and counts next time.
pub fn run<'e>(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    start: impl FnOnce() -> Result<&'e mut dyn Embedder, EmbedderError>,
) -> Result<Made, NodeError> {
    let keys = row_keys(context.store, plan.key, texts, &|| context.check_cancel().is_ok())?;
    let note = |note| (context.note)(note);
    let mut vectors = Vectors::find(context.store, plan.shape(), &keys, &note)?;
    let new = vectors.missing().count() as u64;
    (context.progress)(texts.rows - new, Some(texts.rows), Unit::Rows);
    let mut computed = Computed::default();
    if new > 0 {
        let missing = vectors.missing().copied().collect();
        computed = compute(context, plan, texts, &keys, missing, start().map_err(Box::new)?)?;
        vectors.look()?;
    }
    let Computed { failed, pace, asked } = computed;
    let failures = tell_failed(context, plan, texts, &keys, &failed)?;
    let gathered = gather(context, plan, texts, &keys, &failed, &vectors)?;
    let mut made = made(plan, texts, new - failed.len() as u64, &gathered, vectors.sources());
    made.pace = Some(pace);
    if let Some(Tally { requests, failed, spent }) = asked {
        let counts = [("requests", requests), ("requests_failed", failed), ("tokens_paid", spent.tokens)];
        made.run_counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        made.run_counts.insert("cost_micro_usd".to_owned(), spent.micro_usd);
    }
    if let Some(failures) = failures {
        made.count("failed", failures.rows);
        made.outputs.insert(table::FAILED.into(), failures);
    }
    let removed = plan.previous.map_or(Ok(0), |previous| removed(context.store, previous, texts))?;
    made.run_counts.insert("removed".into(), removed);
    keep_findable(context, plan, &made, &gathered)?;
    Ok(made)
}

/// Lists the rows that have no vector: as a table if they may be left out, and as the end of the step if not.
fn tell_failed(
    context: &Context,
    plan: &EmbedPlan,
    texts: &Output,
    keys: &[RowKey],
    failed: &Failed,
) -> Result<Option<Output>, NodeError> {
    if failed.is_empty() {
        return Ok(None);
    }
    let rows = failed_rows(context, texts, keys, failed)?;
    rows.chunks(LISTED_ROWS).for_each(|rows| (context.detail)(Detail::Failed { rows: rows.to_vec() }));
    if plan.accept_failures {
        return failed_table(context, &rows).map(Some);
    }
    let first = rows.first().map_or_else(Default::default, |row| (row.bibcode.clone(), row.reason.clone()));
    Err(NodeError::Incomplete {
        failed: rows.len() as u64,
        rows: texts.rows,
        first: first.0,
        reason: first.1,
        list: format!("`sciembed log WORKFLOW --run {}`", plan.run),
    })
}

fn made(plan: &EmbedPlan, texts: &Output, new: u64, gathered: &Gathered, sources: &[Source]) -> Made {
    let mut made = Made::default();
    made.count("rows_in", texts.rows);
    made.count("rows", gathered.vectors.rows);
    made.count("tokens", gathered.tokens);
    made.count("tokens_dropped", gathered.tokens_dropped);
    made.count("truncated", gathered.rows_cut);
    if plan.window_tokens().is_some() {
        made.count("windowed", gathered.rows_windowed);
    }
    made.outputs.insert("vectors".into(), gathered.vectors);
    made.run_counts.insert("embedded".into(), new);
    made.run_counts.insert("reused".into(), gathered.vectors.rows - new);
    made.fact("model", plan.model);
    made.fact("embedder", plan.key);
    made.fact("texts", texts.digest);
    for (name, value) in plan.ingredients {
        made.fact(&format!("embedder.{name}"), value);
    }
    let list = |of: fn(&Source) -> &str| {
        let distinct: std::collections::BTreeSet<&str> = sources.iter().flat_map(|from| of(from).split(", ")).collect();
        distinct.into_iter().collect::<Vec<_>>().join(", ")
    };
    made.machine.insert("runtime".into(), list(|source| source.origin().0));
    made.machine.insert("cpu".into(), list(|source| source.origin().1));
    // Vectors of two CPU classes or runtimes may differ in their last bits: such a table would not come out again.
    let mixed = made.machine.values().any(|value| value.contains(", "));
    made.not_bit_stable = !plan.bit_stable || mixed;
    made
}

/// Makes the table a place to take vectors from, in the stead of the one that it follows, and the segments few.
fn keep_findable(context: &Context, plan: &EmbedPlan, made: &Made, gathered: &Gathered) -> Result<(), NodeError> {
    let Shape { embedder, dim, dtype } = plan.shape();
    let (table, rows) = (gathered.vectors.digest, gathered.rows.len());
    let machine = |name: &str| made.machine.get(name).cloned().unwrap_or_default();
    let header = TableHeader { embedder, dim, dtype, rows, table, runtime: machine("runtime"), cpu: machine("cpu") };
    context.store.write_table_rows(&header, &gathered.rows)?;
    if let Some(previous) = plan.previous.filter(|previous| previous.digest != table) {
        forget_if_covered(context, plan, previous)?;
    }
    // Nothing depends on it: what cannot be merged is looked through as it is.
    if let Err(error) = context.store.compact(&embedder, plan.run) {
        (context.note)(format!("segments were not merged: failed to {error}"));
    }
    Ok(())
}

/// A year that grows every night has had hundreds of tables: each is forgotten once all its vectors stand elsewhere.
fn forget_if_covered(context: &Context, plan: &EmbedPlan, previous: &Output) -> Result<(), NodeError> {
    let (tables, _) = context.store.table_rows(&plan.key, plan.dim, plan.dtype)?;
    let Some(old) = tables.iter().find(|rows| rows.header().table == previous.digest) else { return Ok(()) };
    if Vectors::cover(context.store, plan.shape(), old.file())? {
        Ok(context.store.forget_table_rows(&plan.key, &previous.digest)?)
    } else {
        Ok(())
    }
}

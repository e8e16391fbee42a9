//! What becomes of one record: its line, its row, its text, its tokens, without applying anything.
//!
//! Made from the files themselves by the very functions that the steps use, so it shows what an apply would do, also
//! where none was. What was counted when the steps were applied last is told beside it. Writes nothing.
//! Read next: `pick.rs`, which record it is; `text.rs`, what is cut of its text.

mod pick;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

pub use pick::{Fate, Line, Other, Pick, Record};
pub use text::{Cut, Text};

use crate::embedder::EmbedderError;
use crate::graph::{Config, NodeKind, StepIndex};
use crate::manifest::config::{EmbedConfig, LoadConfig, Missing};
use crate::model::{ModelError, ResolvedModel, Runner, resolve};
use crate::node::NodeError;
use crate::node::load::Input;
use crate::observe::Observer;
use crate::source::files::STANDARD_INPUT;
use crate::source::{SourceError, files};
use crate::store::StoreError;

/// What can keep a record from being followed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StagesError {
    /// The input.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// Reading it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Node(#[from] NodeError),
    /// The model.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ModelError),
    /// Its tokenizer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Embedder(#[from] EmbedderError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// One record, as far as it was followed.
#[derive(Debug, Serialize)]
pub struct Stages {
    /// The record; none if there is none such.
    pub record: Option<Record>,
    /// Records of the input that were passed over on the way to it, by what became of them.
    pub passed: BTreeMap<&'static str, u64>,
    /// Its text, if a prepare step was asked for and the record is taken.
    pub text: Option<Text>,
    /// What the model reads of it, if an embed step was asked for and there is a text.
    pub reading: Option<Reading>,
    /// The steps, and what was counted when each was applied last.
    pub steps: Vec<Step>,
}

/// A step and its counts.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its kind.
    pub kind: NodeKind,
    /// Its name.
    pub step: String,
    /// The counts of its last record; none if it was not applied.
    pub counts: Option<BTreeMap<String, u64>>,
}

/// What a model reads of a text.
#[derive(Debug, Serialize)]
pub struct Reading {
    /// The model, as the workflow names it.
    pub model: String,
    /// The tokens that it sees at once, at most.
    pub max_length: usize,
    /// Windows of the text; one, unless it is long and all of it is to be read.
    pub windows: Vec<Window>,
    /// Tokens that it does not see.
    pub tokens_dropped: usize,
}

/// A window of a text.
#[derive(Debug, Serialize)]
pub struct Window {
    /// The tokens as its vocabulary writes them, special ones and those of a prompt included.
    pub tokens: Vec<String>,
    /// The first byte of the text that they stand for.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

/// Follows a record as far as `step`. Standard input is the file `piped`, or else what the last apply kept. None if that
/// step is no load, prepare, embed or persist step.
///
/// # Errors
/// [`StagesError`].
pub fn follow(
    observer: &mut Observer,
    step: StepIndex,
    pick: Pick,
    piped: Option<&Path>,
) -> Result<Option<Stages>, StagesError> {
    let graph = observer.graph;
    let mut chain = vec![step];
    while let [upstream] = graph.steps[chain[0]].upstreams[..] {
        chain.insert(0, upstream);
    }
    let Config::Load(load) = &graph.steps[chain[0]].config else { return Ok(None) };
    if matches!(graph.steps[step].config, Config::Merge(_)) {
        return Ok(None);
    }
    let picked = pick::pick(inputs(observer, chain[0], load, piped)?, load, pick)?;
    let mut stages =
        Stages { record: picked.record, passed: picked.passed, text: None, reading: None, steps: Vec::new() };
    for index in chain {
        stages.steps.push(step_counts(observer, index)?);
        match &graph.steps[index].config {
            Config::Prepare(config) => stages.text = text::text(config, load, stages.record.as_ref()),
            Config::Embed(config) => {
                let text = stages.text.as_ref().and_then(|text| text.text.as_deref());
                stages.reading = text.map(|text| reading(observer, config, text)).transpose()?.flatten();
            }
            Config::Load(_) | Config::Persist(_) | Config::Merge(_) => {}
        }
    }
    Ok(Some(stages))
}

/// The files of a load step.
fn inputs(
    observer: &Observer,
    step: StepIndex,
    config: &LoadConfig,
    piped: Option<&Path>,
) -> Result<Vec<Input>, StagesError> {
    if config.input == STANDARD_INPUT {
        if let Some(piped) = piped {
            return Ok(vec![Input { path: piped.to_owned(), name: STANDARD_INPUT.to_owned(), planned: None }]);
        }
        let last = observer.last_record(&observer.graph.steps[step].id)?.ok_or(SourceError::NoStandardInput)?;
        let planned = |source| Input::planned(source, &observer.base, &observer.store);
        return Ok(last.sources.iter().map(planned).collect());
    }
    let found = files::find(&observer.base, &config.input)?;
    if found.is_empty() && config.missing == Missing::Error {
        return Err(SourceError::Missing { path: observer.base.join(&config.input) }.into());
    }
    let unplanned = |source: files::SourcePath| Input { path: source.path, name: source.name, planned: None };
    Ok(found.into_iter().map(unplanned).collect())
}

fn step_counts(observer: &Observer, index: StepIndex) -> Result<Step, StoreError> {
    let id = &observer.graph.steps[index].id;
    let counts = observer.last_record(id)?.map(|record| record.counts);
    Ok(Step { kind: id.kind, step: id.to_string(), counts })
}

/// None if the embedder has no tokenizer.
fn reading(observer: &mut Observer, config: &EmbedConfig, text: &str) -> Result<Option<Reading>, StagesError> {
    let digests = &mut observer.digests;
    let resolved: ResolvedModel =
        resolve(config, &mut observer.library, &observer.environment, &mut |path| digests.digest(path))?;
    let Some(tokenizer) = resolved.tokenizer()? else { return Ok(None) };
    let Runner::Onnx(onnx) = &resolved.runner else { return Ok(None) };
    let tokenise = |source| EmbedderError::Tokenise { row: 0, source };
    let windows = tokenizer.read_aloud(text).map_err(tokenise)?.into_iter();
    let windows = windows.map(|read| Window { tokens: read.tokens, start: read.bytes.start, end: read.bytes.end });
    Ok(Some(Reading {
        model: config.model.clone(),
        max_length: onnx.package.settings.max_length,
        windows: windows.collect(),
        tokens_dropped: tokenizer.encode(text).map_err(tokenise)?.iter().map(|window| window.dropped).sum(),
    }))
}

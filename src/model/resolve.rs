//! From an embed node's configuration to everything that a plan needs to know about its embedder.
//!
//! Cheap: no runtime is loaded and no session made. What comes out says which key the vectors have, why, and how to
//! start the embedder; starting it is the room `embedder`.

use std::time::Duration;

use super::key::{self, Ingredients, embedder_key};
use super::{DigestOf, Environment, Library, ModelError, ModelPackage, ModelRef, Processor, api, device};
use crate::api::Settings;
use crate::digest::EmbedderKey;
use crate::manifest::config::{Device, EmbedConfig, Long, OnnxConfig, Precision, Provider};

/// The fewest tokens that leave room for special tokens and one of the text.
const MIN_LENGTH: usize = 3;

/// An embedder that has a key but is not running.
#[derive(Clone, Debug)]
pub struct ResolvedModel {
    /// The hash of `ingredients`.
    pub key: EmbedderKey,
    /// What decides a vector, by name.
    pub ingredients: Ingredients,
    /// Components of a vector.
    pub dim: usize,
    /// Vectors of one numerics class may be mixed.
    pub numerics: &'static str,
    /// Whether a text always gets the same bits on one kind of machine.
    pub bit_stable: bool,
    /// What a person should know before paying for a run, such as why `auto` did not get a GPU.
    pub notes: Vec<String>,
    /// How the vectors are made.
    pub runner: Runner,
}

/// How vectors are made.
#[derive(Clone, Debug)]
pub enum Runner {
    /// By ONNX Runtime.
    Onnx(Box<Onnx>),
    /// By a server.
    Api(Box<Settings>),
    /// By the deterministic test embedder.
    Fake(Fake),
}

/// What ONNX Runtime will run.
#[derive(Clone, Debug)]
pub struct Onnx {
    /// The model.
    pub package: ModelPackage,
    /// Where it runs.
    pub processor: Processor,
    /// Why `auto` fell back to the CPU.
    pub fallback: Option<String>,
    /// The speed settings; its `device` is already settled as `processor`.
    pub config: OnnxConfig,
}

/// What the test embedder does.
#[derive(Clone, Copy, Debug)]
pub struct Fake {
    /// Components of a vector.
    pub dim: usize,
    /// How long each row takes.
    pub delay: Duration,
    /// Words per text at most, plus two.
    pub max_length: Option<usize>,
}

/// Resolves the embedder of `config`, whose model is looked for in `library`.
///
/// # Errors
/// A reference, folder, setting or device that cannot be used; see [`ModelError`].
pub fn resolve(
    config: &EmbedConfig,
    library: &mut Library,
    env: &Environment,
    digest_of: DigestOf,
) -> Result<ResolvedModel, ModelError> {
    // Destructured so that a new field is considered here; `store_dtype` belongs to the node, not to the embedder.
    let EmbedConfig {
        model,
        max_length,
        pooling: _,
        normalize: _,
        prompt: _,
        query_prompt: _,
        dim: _,
        long: _,
        overlap: _,
        precision,
        graph: _,
        store_dtype: _,
        onnx,
        api,
    } = config;
    if let Some(length) = max_length.filter(|&length| length < MIN_LENGTH) {
        let reason = format!("special tokens leave no room for text below {MIN_LENGTH}");
        return Err(bad_override(config, "max_length", length, &reason));
    }
    let is_api = model.starts_with("openai://");
    if api.is_some() && !is_api {
        return Err(bad_override(
            config,
            "api",
            "{ .. }",
            "it runs on this machine: an `api` table is for openai:// models",
        ));
    }
    let (folder, commit, note) = match ModelRef::parse(model, library.base())? {
        ModelRef::Api { model } => return api::resolve(config, &model, library.base(), env, digest_of),
        ModelRef::Fake { dim, delay } => return of_fake(config, Fake { dim, delay, max_length: *max_length }),
        ModelRef::Folder(folder) => (folder, None, None),
        ModelRef::Hub(repo) => {
            let (folder, commit, note) = library.fetch(&repo, &library.pinned(config))?;
            (folder, Some(commit), note)
        }
    };
    refuse_zeros(config)?;
    let provider = provider_for(config)?;
    let (processor, fallback) = device::settle(device_for(config, *precision)?, provider, env)?;
    refuse_half_on_cpu(config, processor)?;
    let package = ModelPackage::open(&folder, &library.pinned(config), processor.operators(), digest_of)?;
    library.pin(model, commit, &package)?;
    let mut resolved = of_package(Onnx { package, processor, fallback, config: onnx.clone() });
    resolved.notes.extend(note);
    Ok(resolved)
}

fn of_package(onnx: Onnx) -> ResolvedModel {
    let ingredients = key::of_package(&onnx.package, onnx.processor);
    ResolvedModel {
        key: embedder_key(&ingredients),
        ingredients,
        dim: onnx.package.settings.dim,
        numerics: onnx.processor.numerics(onnx.package.graph.precision()),
        bit_stable: onnx.processor.bit_stable(),
        notes: onnx.fallback.iter().map(|why| format!("device = \"auto\" takes the CPU: {why}")).collect(),
        runner: Runner::Onnx(Box::new(onnx)),
    }
}

fn of_fake(config: &EmbedConfig, fake: Fake) -> Result<ResolvedModel, ModelError> {
    let EmbedConfig { pooling, normalize, prompt, dim, long, precision, graph, .. } = config;
    let text = |value: &dyn std::fmt::Display| Some(value.to_string());
    let overrides = [
        ("pooling", pooling.as_ref().and_then(|value| text(value))),
        ("normalize", normalize.as_ref().and_then(|value| text(value))),
        ("prompt", prompt.as_ref().and_then(|value| text(value))),
        ("dim", dim.as_ref().and_then(|value| text(value))),
        ("long", (*long != Long::Truncate).then(|| long.to_string())),
        ("graph", graph.as_ref().and_then(|value| text(value))),
        ("precision", (*precision != Precision::F32).then(|| precision.to_string())),
    ];
    if let Some((field, Some(value))) = overrides.into_iter().find(|(_, value)| value.is_some()) {
        return Err(bad_override(config, field, value, "the test embedder runs no model that could be told to"));
    }
    let ingredients = key::of_fake(fake.dim, fake.max_length);
    Ok(ResolvedModel {
        key: embedder_key(&ingredients),
        ingredients,
        dim: fake.dim,
        numerics: "fake",
        bit_stable: true,
        notes: vec!["the vectors of fake:// mean nothing; it exists for tests".to_owned()],
        runner: Runner::Fake(fake),
    })
}

/// There are kernels for int8 on the CPU alone.
fn device_for(config: &EmbedConfig, precision: Precision) -> Result<Device, ModelError> {
    match (precision, config.onnx.device) {
        (Precision::Int8, Device::Cuda(_)) => {
            let reason = "it runs on the CPU alone: write device = \"cpu\" in its `onnx` table, or leave precision out";
            Err(bad_override(config, "precision", precision, reason))
        }
        (Precision::Int8, Device::Auto) => Ok(Device::Cpu),
        (_, device) => Ok(device),
    }
}

/// What drives a GPU may be said where one is asked for.
fn provider_for(config: &EmbedConfig) -> Result<Provider, ModelError> {
    match (config.onnx.provider, config.onnx.device) {
        (Some(provider), Device::Cpu | Device::Auto) => {
            let written = if provider == Provider::Tensorrt { "tensorrt" } else { "cuda" };
            let reason = "it drives GPUs: write device = \"cuda\" in its `onnx` table, or leave provider out";
            Err(bad_override(config, "onnx.provider", written, reason))
        }
        (provider, _) => Ok(provider.unwrap_or_default()),
    }
}

/// ONNX Runtime would widen every product to f32 there and round it again: slower than f32, and no nearer to it.
fn refuse_half_on_cpu(config: &EmbedConfig, processor: Processor) -> Result<(), ModelError> {
    if config.precision != Precision::F16 || processor != Processor::Cpu {
        return Ok(());
    }
    let place = match config.onnx.device {
        Device::Auto => "device = \"auto\" takes the CPU here",
        _ => "device = \"cpu\"",
    };
    let reason = format!("it is for GPUs, and {place}: write precision = \"f32\", or \"int8\", which is faster there");
    Err(bad_override(config, "precision", config.precision, &reason))
}

/// Sessions or threads that may be asked for: more than any machine has cores.
const MAX_THREADS: usize = 1024;

/// Zero sessions would wait for ever and zero tokens run nothing.
fn refuse_zeros(config: &EmbedConfig) -> Result<(), ModelError> {
    let OnnxConfig { device: _, provider: _, sessions, threads, max_batch_tokens } = config.onnx;
    let counts = [("onnx.sessions", sessions), ("onnx.threads", threads), ("onnx.max_batch_tokens", max_batch_tokens)];
    if let Some((field, _)) = counts.into_iter().find(|(_, count)| *count == Some(0)) {
        return Err(bad_override(config, field, 0, "it must be at least 1"));
    }
    // Each session holds the model's weights: a slip of the finger must not fill the memory.
    let threads = [("onnx.sessions", sessions), ("onnx.threads", threads)];
    match threads.into_iter().find_map(|(field, count)| Some((field, count.filter(|count| *count > MAX_THREADS)?))) {
        Some((field, count)) => Err(bad_override(config, field, count, "it is at most 1,024")),
        None => Ok(()),
    }
}

pub(super) fn bad_override(
    config: &EmbedConfig,
    field: &'static str,
    value: impl ToString,
    reason: &str,
) -> ModelError {
    ModelError::BadOverride {
        field,
        value: value.to_string(),
        reference: config.model.clone(),
        reason: reason.to_owned(),
    }
}

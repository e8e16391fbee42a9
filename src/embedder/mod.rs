//! From texts to vectors: the trait, and the embedders that implement it.
//!
//! A vector is a pure function of its text and the embedder key: not of its neighbours, the batch, the number of
//! sessions or threads, or what ran before. Synchronous inside, with its own threads; the engine calls it from where
//! blocking is allowed. May not decide anything that enters a key: that was settled by `model::resolve`.
//! Read next: `onnx.rs`, the real one; `fake.rs`, the one for tests; `batch.rs`, why a row never needs padding.

mod api;
mod batch;
mod error;
mod fake;
mod gpu;
mod onnx;
mod operators;
mod pooling;
mod runtime;
mod session;
mod tokenizer;
mod windows;
mod worker;

use std::ops::ControlFlow;

pub use error::EmbedderError;
pub use tokenizer::{Reading, TextTokenizer, Tokens};

use crate::api::Tally;
use crate::digest::EmbedderKey;
pub use crate::model::{Environment, ResolvedModel, resolve};
use crate::model::{Processor, Runner};

/// The vector of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// `dim` components.
    pub vector: Vec<f32>,
    /// Tokens that the model saw, special tokens included.
    pub tokens: u32,
    /// Tokens of the text that did not fit into the model's maximal length.
    pub tokens_dropped: u32,
}

/// What an embedder is and where it runs; provenance except for `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What its vectors are stored under.
    pub key: EmbedderKey,
    /// Components of a vector.
    pub dim: usize,
    /// Vectors of one numerics class may be mixed.
    pub numerics: String,
    /// Whether a text always gets the same bits on one kind of machine.
    pub bit_stable: bool,
    /// The library that computes, such as `onnxruntime 1.31.1`.
    pub runtime: String,
    /// The processor's instruction sets: kernels are chosen by them, and other kernels may round otherwise.
    pub cpu_class: String,
    /// Where it runs.
    pub device: Processor,
    /// Why `device = "auto"` did not get a GPU.
    pub fallback: Option<String>,
    /// How many texts it wants at once, and how many results may wait to be sealed.
    pub portions: Portions,
}

/// How much is handed to an embedder, and how often what it gives is put on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portions {
    /// Texts at once, at most.
    pub rows: usize,
    /// Bytes of text at once, at most; a longer text goes alone.
    pub bytes: usize,
    /// Results per segment, at most.
    pub seal_rows: usize,
}

impl Default for Portions {
    /// Texts enough that those of equal length find each other, few enough to hold; of text some 250,000 tokens, which a
    /// laptop's core reads in half a minute, since of a portion that is not done much may be lost; and segments of a few
    /// megabytes, written in one stride.
    fn default() -> Self {
        Self { rows: 2048, bytes: 1 << 20, seal_rows: 4096 }
    }
}

/// What an embedder hands over.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The result of the text with this index.
    Embedded(usize, Embedding),
    /// The text with this index cannot be embedded, and why; the others can.
    Unfit(usize, String),
    /// What the user should know.
    Note(String),
    /// Nothing new: whether to go on.
    Waiting,
}

/// Receives what an embedder hands over; `Break` ends the call early.
pub type Sink<'a> = &'a mut dyn FnMut(Told) -> ControlFlow<()>;

/// Something that turns texts into vectors.
pub trait Embedder: Send {
    /// What it is and where it runs.
    fn description(&self) -> &Description;

    /// Embeds `texts` and hands each result to `sink` as soon as it is ready, in any order, on the calling thread.
    ///
    /// # Errors
    /// The first failure; results that `sink` was given before stay valid.
    fn embed(&mut self, texts: &[&str], sink: Sink) -> Result<(), EmbedderError>;

    /// What an API was asked and paid since the start; none where nothing is asked.
    fn tally(&self) -> Option<Tally> {
        None
    }
}

/// The name and version of ONNX Runtime on this machine, which is loaded to be sure.
///
/// # Errors
/// A runtime that is missing or too old.
pub fn runtime_name(env: &Environment) -> Result<String, EmbedderError> {
    Ok(runtime::load(env)?.name())
}

impl ResolvedModel {
    /// Loads what the embedder needs and starts it.
    ///
    /// # Errors
    /// A runtime that is missing or too old, a package that changed since it was resolved, a graph that cannot be run.
    pub fn start(&self, env: &Environment) -> Result<Box<dyn Embedder>, EmbedderError> {
        let (runtime, device, fallback) = match &self.runner {
            Runner::Onnx(onnx) => (runtime::load(env)?.name(), onnx.processor, onnx.fallback.clone()),
            Runner::Api(settings) => (settings.host().to_owned(), Processor::Cpu, None),
            Runner::Fake(_) => ("fake".to_owned(), Processor::Cpu, None),
        };
        let portions = match &self.runner {
            Runner::Api(settings) => api::portions(settings),
            Runner::Onnx(_) | Runner::Fake(_) => Portions::default(),
        };
        let description = Description {
            key: self.key,
            dim: self.dim,
            numerics: self.numerics.to_owned(),
            bit_stable: self.bit_stable,
            runtime,
            // Of a server nobody knows it.
            cpu_class: if matches!(self.runner, Runner::Api(_)) { String::new() } else { cpu_class() },
            device,
            fallback,
            portions,
        };
        match &self.runner {
            Runner::Onnx(onnx) => Ok(Box::new(onnx::OnnxEmbedder::start(onnx, description, env)?)),
            Runner::Api(settings) => Ok(Box::new(api::ApiEmbedder::start(settings, env, description)?)),
            Runner::Fake(fake) => Ok(Box::new(fake::FakeEmbedder::start(*fake, &env.fake, description)?)),
        }
    }
}

impl ResolvedModel {
    /// The model's tokenizer, as its embedder uses it; none for the test embedder.
    ///
    /// # Errors
    /// A tokenizer that cannot be read, or that does not fit the model.
    pub fn tokenizer(&self) -> Result<Option<TextTokenizer>, EmbedderError> {
        match &self.runner {
            Runner::Onnx(onnx) => onnx::tokenizer(&onnx.package).map(Some),
            Runner::Api(_) | Runner::Fake(_) => Ok(None),
        }
    }
}

/// The architecture and the widest vector instructions that numeric kernels choose by.
fn cpu_class() -> String {
    let mut class = std::env::consts::ARCH.to_owned();
    for (name, present) in instruction_sets() {
        if present {
            class.push('+');
            class.push_str(name);
        }
    }
    class
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    vec![
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", std::is_x86_feature_detected!("avxvnni")),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    Vec::new()
}

#[cfg(test)]
mod tests;

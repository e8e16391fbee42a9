//! The providers with which ONNX Runtime drives a GPU, and what they are told. Untested on hardware.
//!
//! CUDA is registered for every GPU; TensorRT before it where it was asked for, so that CUDA gets the nodes that it does not
//! take. Neither falls back to the CPU in silence: a provider that does not register is an error.

use std::fs;
use std::path::PathBuf;

use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch};
use ort::session::builder::SessionBuilder;

use super::EmbedderError;
use crate::model::Processor;

/// The most rows of a run under TensorRT. Its memory is that of the largest run it may be given: so many rows, each of the
/// model's maximal length, which no batch has. More rows would be of short texts alone.
pub(super) const MOST_TENSORRT_ROWS: usize = 128;

/// Tokens of a title with its abstract, for which an engine is tuned where the model reads as many.
const USUAL_TOKENS: usize = 256;

/// A GPU, and how a model runs there.
#[derive(Clone, Debug)]
pub(super) struct Gpu {
    /// Its number.
    pub number: u32,
    /// What drives it.
    pub processor: Processor,
    /// Whether the graph computes in f16.
    pub half: bool,
    /// Where TensorRT keeps what it compiles for this session; of its own, for it is written in place.
    pub engines: PathBuf,
    /// The runs that may come; none where TensorRT may not take the graph whole, and what is between its parts has shapes that
    /// nobody can name.
    pub profile: Option<Profile>,
}

/// The shapes of the runs that an engine is compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profile {
    /// The graph's inputs, each `rows x tokens`.
    pub inputs: Vec<&'static str>,
    /// Tokens of a text, at most.
    pub max_length: usize,
    /// Tokens of a run, at most, unless it has a single row.
    pub max_batch_tokens: usize,
}

impl Profile {
    fn smallest(&self) -> String {
        self.shapes(1, 1)
    }

    fn usual(&self) -> String {
        let tokens = USUAL_TOKENS.min(self.max_length);
        self.shapes((self.max_batch_tokens / tokens).clamp(1, MOST_TENSORRT_ROWS), tokens)
    }

    fn largest(&self) -> String {
        self.shapes(MOST_TENSORRT_ROWS.min(self.max_batch_tokens), self.max_length)
    }

    fn shapes(&self, rows: usize, tokens: usize) -> String {
        let shapes: Vec<String> = self.inputs.iter().map(|input| format!("{input}:{rows}x{tokens}")).collect();
        shapes.join(",")
    }
}

impl Gpu {
    /// Registers what drives it.
    pub fn register(&self, builder: SessionBuilder) -> Result<SessionBuilder, EmbedderError> {
        let gpu = self.number;
        let mut builder = builder;
        if self.processor == Processor::Tensorrt {
            let registered = builder.with_execution_providers([self.tensorrt()]);
            builder = registered.map_err(|error| EmbedderError::Tensorrt { gpu, source: error.into() })?;
            let unwritable = |source| EmbedderError::Engines { folder: self.engines.clone(), source };
            fs::create_dir_all(&self.engines).map_err(unwritable)?;
        }
        let registered = builder.with_execution_providers([self.cuda()]);
        registered.map_err(|error| EmbedderError::Cuda { gpu, source: error.into() })
    }

    fn cuda(&self) -> ExecutionProviderDispatch {
        ep::CUDA::default()
            .with_device_id(self.number as i32)
            // By powers of two an arena takes twice what is needed, and batches differ in shape.
            .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
            // On by default there, and it has ten bits where f32 has 23: the class of numerics says f32.
            .with_tf32(false)
            .build()
            .error_on_failure()
    }

    fn tensorrt(&self) -> ExecutionProviderDispatch {
        let engines = self.engines.display();
        let mut provider = ep::TensorRT::default()
            .with_device_id(self.number as i32)
            .with_fp16(self.half)
            .with_layer_norm_fp32_fallback(self.half)
            .with_engine_cache(true)
            .with_engine_cache_path(&engines)
            .with_timing_cache(true)
            .with_timing_cache_path(&engines);
        if let Some(profile) = &self.profile {
            provider = provider
                .with_profile_min_shapes(profile.smallest())
                .with_profile_opt_shapes(profile.usual())
                .with_profile_max_shapes(profile.largest());
        }
        provider.build().error_on_failure()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_holds_every_run() {
        let profile = |max_length, max_batch_tokens| {
            let profile = Profile { inputs: vec!["input_ids", "token_type_ids"], max_length, max_batch_tokens };
            [profile.smallest(), profile.usual(), profile.largest()]
        };
        let both = |shape: &str| format!("input_ids:{shape},token_type_ids:{shape}");
        assert_eq!(profile(512, 16_384), ["1x1", "64x256", "128x512"].map(both));
        assert_eq!(profile(64, 16_384), ["1x1", "128x64", "128x64"].map(both));
        assert_eq!(profile(512, 100), ["1x1", "1x256", "100x512"].map(both));
    }
}

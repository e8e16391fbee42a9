//! `sciembed model`: looking at a model, and trying it, without a workflow.

mod convert;
mod embed;
mod inspect;
mod prices;
mod pull;

use std::num::NonZeroUsize;
use std::path::Path;

use clap::{Args, Subcommand};

use super::environment::Machine;
use super::workflow::library;
use super::{DoorError, Failure};
use crate::digest::Digest;
use crate::error::Exit;
use crate::manifest::config::{Device, EmbedConfig, GraphChoice, Long, OnnxConfig, Pooling, Precision, Provider};
use crate::model::{Environment, Onnx, ResolvedModel, Runner, resolve};

#[derive(Subcommand)]
pub enum Arguments {
    /// Fetch a hub's model onto this disk, and check it.
    Pull(pull::Arguments),
    /// Show what a model is: architecture, dimension, prompts, digest, and which graph runs and why.
    Inspect(inspect::Arguments),
    /// Make a model's own graph, and write it as an ONNX file with its weights beside it.
    Convert(convert::Arguments),
    /// Embed texts from standard input, one JSON object a line, to see what a model gives.
    Embed(embed::Arguments),
    /// Print the built-in table of what APIs cost.
    Prices(prices::Arguments),
}

/// A model, and what a workflow's embed section could say of it.
#[derive(Args)]
pub struct Chosen {
    /// The model: hf://organisation/name[@revision], or the path of its folder
    #[arg(value_name = "MODEL")]
    model: String,
    /// Put a prompt before every text: the name of one of the model's own, or literal text
    #[arg(long, value_name = "NAME|TEXT")]
    prompt: Option<String>,
    /// In what numbers the model computes: f32, f16 (on GPUs) or int8 (on CPUs)
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    precision: Named<Precision>,
    /// Which graph runs: own or bundled [default: own, for the architectures that are known]
    #[arg(long, value_name = "GRAPH")]
    graph: Option<Named<GraphChoice>>,
    /// Tokens of a text that the model sees, at most [default: as the model says]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<NonZeroUsize>,
    /// What happens to a longer text: truncate, word or mean
    #[arg(long, value_name = "HOW", default_value = "truncate")]
    long: Named<Long>,
    /// With --long mean, tokens that a window shares with the one before it
    #[arg(long, value_name = "TOKENS")]
    overlap: Option<usize>,
    /// How token vectors become one [default: as the model says]
    #[arg(long, value_name = "POOLING")]
    pooling: Option<Named<Pooling>>,
    /// Whether vectors are scaled to length 1 [default: as the model says]
    #[arg(long, value_name = "true|false")]
    normalize: Option<bool>,
    /// Components kept of a vector [default: all]
    #[arg(long, value_name = "N")]
    dim: Option<NonZeroUsize>,
    /// Where the model runs
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Named<Device>,
    /// What drives a GPU: cuda or tensorrt [default: cuda]
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Named<Provider>>,
    #[command(flatten)]
    machine: Machine,
}

/// A value of the manifest, by the name that it has there.
#[derive(Clone, Copy)]
struct Named<T>(T);

impl<T: serde::de::DeserializeOwned> std::str::FromStr for Named<T> {
    type Err = serde_json::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(name.into()).map(Self)
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match arguments {
        Arguments::Pull(arguments) => pull::run(arguments),
        Arguments::Inspect(arguments) => inspect::run(arguments),
        Arguments::Convert(arguments) => convert::run(arguments),
        Arguments::Embed(arguments) => embed::run(arguments),
        Arguments::Prices(arguments) => prices::run(arguments),
    }
}

impl Chosen {
    /// Resolves the model as an embed section with these values would be; paths are relative to the working directory.
    fn resolve(&self) -> Result<(ResolvedModel, Environment), Failure> {
        self.resolve_as(&self.config())
    }

    fn resolve_as(&self, config: &EmbedConfig) -> Result<(ResolvedModel, Environment), Failure> {
        let environment = self.machine.environment();
        // What a workflow here pinned counts here as well; nothing is pinned by looking.
        let mut library = library(Path::new(""), std::iter::once(self.model.as_str()))?;
        let resolved = resolve(config, &mut library, &environment, &mut |path| Digest::of_file(path))?;
        Ok((resolved, environment))
    }

    fn config(&self) -> EmbedConfig {
        EmbedConfig {
            prompt: self.prompt.clone(),
            precision: self.precision.0,
            graph: self.graph.map(|graph| graph.0),
            max_length: self.max_length.map(Into::into),
            long: self.long.0,
            overlap: self.overlap,
            pooling: self.pooling.map(|pooling| pooling.0),
            normalize: self.normalize,
            dim: self.dim.map(Into::into),
            onnx: OnnxConfig {
                device: self.device.0,
                provider: self.provider.map(|provider| provider.0),
                ..OnnxConfig::default()
            },
            ..EmbedConfig::of(&self.model)
        }
    }
}

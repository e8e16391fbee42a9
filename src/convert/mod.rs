//! From safetensors weights to the ONNX graph that is run, without Python.
//!
//! Owns which operators an architecture becomes, the safetensors reader, and the quantisation of weights. May not decide
//! what a model is: that is read from its folder by the room `model`, which fills in a [`Conversion`]. A conversion is
//! planned from headers alone ([`Conversion::plan`]): the graph's bytes and every tensor's shape are known, and checked,
//! before anything is computed; its digest, with those of the weight files, stands in the embedder's key. Writing it
//! ([`Planned::write`]) is a pure function of both: the same bytes on every machine.
//! Read next: `encoder.rs`, what an encoder is; `classic.rs` and `modern.rs`, the operators it becomes.

mod builder;
mod classic;
mod emitter;
mod encoder;
mod error;
mod head;
mod modern;
mod onnx;
pub mod operators;
mod plain;
mod position;
mod quantize;
mod weights;
mod write;

use prost::Message;

pub use encoder::{Classic, Design, Encoder, Family, Modern};
pub use error::ConvertError;
pub use head::{Dense, Stage};
pub use operators::Operators;
pub use weights::{INDEX, SINGLE, Weights};
pub use write::{damaged_file, folder_name};

use crate::digest::Digest;
use crate::manifest::config::{Pooling, Precision};
use builder::{Block, Builder};
use emitter::Emitter;
use onnx::{
    Dimension, Element, Entry, Graph, IR_VERSION, MICROSOFT, MICROSOFT_OPSET, Model, OPSET, OperatorSet, ValueInfo,
};
pub use sciembed_kernel::functions::Activation;

/// The graph's input of token ids, `rows x tokens`.
pub const IDS: &str = "input_ids";

/// The graph's input of segment ids, where the model has segments.
pub const TYPES: &str = "token_type_ids";

/// The graph's input that says which tokens are pooled, where the model leaves its prompt out.
pub const POOLED: &str = "pooling_mask";

/// The graph's only output: one vector a text.
pub const OUTPUT: &str = "sentence_embedding";

/// The converted graph's file.
pub const GRAPH_FILE: &str = "model.onnx";

/// The file beside it that holds its weights.
pub const WEIGHTS_FILE: &str = "model.onnx_data";

/// Everything that decides a converted graph.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The encoder.
    pub encoder: Encoder,
    /// Its weights.
    pub weights: Weights,
    /// The weights of the dense layers among `stages`, in order.
    pub dense_weights: Vec<Weights>,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Whether a prompt's tokens are pooled too.
    pub include_prompt: bool,
    /// What follows.
    pub stages: Vec<Stage>,
    /// In what numbers the products are computed.
    pub precision: Precision,
    /// Which operators compute it; int8 is for kernels alone, and f16 for the others.
    pub operators: Operators,
}

/// A graph that is known, and whose weights can be written.
#[derive(Clone, Debug)]
pub struct Planned {
    graph: Vec<u8>,
    inputs: Vec<&'static str>,
    blocks: Vec<(usize, Block)>,
    /// The encoder's weights, then those of the dense layers.
    modules: Vec<Weights>,
}

impl Conversion {
    /// Settles the graph, having checked that every tensor is there and has the shape that the settings say.
    ///
    /// # Errors
    /// The first tensor that is missing or does not fit.
    pub fn plan(mut self) -> Result<Planned, ConvertError> {
        let probe = match self.encoder.design {
            Design::Classic(_) => "embeddings.word_embeddings.weight",
            Design::Modern(_) => "embeddings.tok_embeddings.weight",
        };
        self.weights.find_prefix(&Family::PREFIXES, probe);
        let mut emitter = Emitter {
            encoder: &self.encoder,
            weights: &self.weights,
            precision: self.precision,
            operators: self.operators,
            graph: Builder::default(),
        };
        let states = match &self.encoder.design {
            Design::Classic(design) => emitter.classic(design)?,
            Design::Modern(design) => emitter.modern(design)?,
        };
        let (mut builder, vector) = self.head(emitter.graph, &states)?;
        // The last operator's value gets the name that the output has.
        let last = builder.nodes.iter_mut().find(|node| node.output[0] == vector).expect("something made the vector");
        OUTPUT.clone_into(&mut last.output[0]);
        let graph = self.model(&mut builder).encode_to_vec();
        let inputs = self.inputs();
        let modules = std::iter::once(self.weights).chain(self.dense_weights).collect();
        Ok(Planned { graph, inputs, blocks: builder.blocks, modules })
    }

    fn model(&self, builder: &mut Builder) -> Model {
        let ids =
            |name: &str| ValueInfo::tensor(name, Element::I64, &[Dimension::named("rows"), Dimension::named("tokens")]);
        let input = self.inputs().into_iter().map(ids).collect();
        let output = ValueInfo::tensor(OUTPUT, Element::F32, &[Dimension::named("rows"), Dimension::fixed(self.dim())]);
        let graph = Graph {
            node: std::mem::take(&mut builder.nodes),
            name: "sentence_encoder".to_owned(),
            initializer: std::mem::take(&mut builder.initializers),
            input,
            output: vec![output],
        };
        let set = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
        let metadata = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
        let mut opset_import = vec![set("", OPSET)];
        if self.operators != Operators::Plain {
            opset_import.push(set(MICROSOFT, MICROSOFT_OPSET));
        }
        if self.operators == Operators::Kernels {
            opset_import.push(set(operators::DOMAIN, operators::VERSION));
        }
        let scheme = (self.precision == Precision::Int8).then(|| metadata("quantization", quantize::SCHEME));
        Model {
            ir_version: IR_VERSION,
            producer_name: "sciembed".to_owned(),
            graph: Some(graph),
            opset_import,
            metadata_props: scheme.into_iter().collect(),
        }
    }

    /// The graph's inputs, each `rows x tokens`.
    fn inputs(&self) -> Vec<&'static str> {
        let types = self.encoder.has_types().then_some(TYPES);
        [IDS].into_iter().chain(types).chain((!self.include_prompt).then_some(POOLED)).collect()
    }

    /// Components of the vectors.
    pub fn dim(&self) -> usize {
        self.stages.iter().fold(self.encoder.hidden, |dim, stage| match stage {
            Stage::Dense(dense) => dense.to,
            Stage::Normalize => dim,
            Stage::Truncate(kept) => *kept,
        })
    }
}

impl Planned {
    /// The digest of the graph's bytes: with those of the weight files it says all that the converted model is.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.graph)
    }

    /// The graph's inputs, each `rows x tokens`.
    pub fn inputs(&self) -> &[&'static str] {
        &self.inputs
    }
}

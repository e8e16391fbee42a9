//! From token vectors to one vector a text: pooling, dense layers, normalisation, truncation.
//!
//! The formulas are those of sentence-transformers 6.2 (`Pooling`, `Dense`, `Normalize`). Rows are never padded, so all
//! tokens count, except those of a prompt that the model leaves out of its pooling.

use super::ConvertError;
use super::builder::{Block, Builder, Value};
use super::emitter::Emitter;
use super::encoder::Activation;
use super::onnx::{Attribute, Element};
use super::weights::{Extent, Weights};
use super::{Conversion, POOLED, Precision};
use crate::manifest::config::Pooling;

/// The smallest divisor of a mean (`torch.clamp(.., min=1e-9)`).
const SMALLEST_COUNT: f32 = 1e-9;

/// The smallest length that a vector is divided by (`torch.nn.functional.normalize`).
const SMALLEST_LENGTH: f32 = 1e-12;

/// What follows the pooling, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A linear layer and its activation.
    Dense(Dense),
    /// Scaling to length 1.
    Normalize,
    /// Keeping the first components.
    Truncate(usize),
}

/// A dense layer; its weights are a module's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dense {
    /// The file that states its sizes, for messages.
    pub settings: String,
    /// Components of its input.
    pub from: usize,
    /// Components of its output.
    pub to: usize,
    /// Whether it adds a bias.
    pub bias: bool,
    /// What follows.
    pub activation: Activation,
}

impl Conversion {
    /// Appends everything behind the encoder; gives the text's vector, `rows x dim`.
    pub(super) fn head(&self, mut graph: Builder, states: &str) -> Result<(Builder, Value), ConvertError> {
        let mut vector = match self.include_prompt {
            true => pooled(&mut graph, self.pooling, states),
            false => pooled_without_prompt(&mut graph, self.pooling, states),
        };
        let mut dense = self.dense_weights.iter().zip(1..);
        for (place, stage) in self.stages.iter().enumerate() {
            vector = match stage {
                Stage::Dense(layer) => {
                    let (weights, module) = dense.next().expect("each dense layer has weights");
                    let mut emitter = Emitter { encoder: &self.encoder, weights, precision: Precision::F32, graph };
                    emitter.graph.enter_module(module);
                    let output = layer.emit(&mut emitter, weights, place, &vector)?;
                    graph = emitter.graph;
                    output
                }
                Stage::Normalize => normalized(&mut graph, &vector),
                Stage::Truncate(dim) => truncated(&mut graph, &vector, *dim),
            };
        }
        Ok((graph, vector))
    }
}

impl Dense {
    fn emit(&self, emitter: &mut Emitter, weights: &Weights, place: usize, input: &str) -> Result<Value, ConvertError> {
        let (from, to) = (Extent("in_features", self.from), Extent("out_features", self.to));
        let matrix = weights.tensor("linear.weight", &self.settings, &[to, from])?;
        let name = |part: &str| format!("dense.{place}.{part}");
        let matrix = emitter.graph.weight(&name("weight"), Block::Columns(vec![matrix]));
        let mut output = emitter.graph.op("MatMul", &[input, &matrix], vec![]);
        if self.bias {
            let bias = weights.tensor("linear.bias", &self.settings, &[to])?;
            let bias = emitter.graph.weight(&name("bias"), Block::Plain(bias));
            output = emitter.graph.op("Add", &[&output, &bias], vec![]);
        }
        Ok(emitter.activation(&output, self.activation))
    }
}

fn over_tokens() -> Vec<Attribute> {
    vec![Attribute::ints("axes", &[1]), Attribute::int("keepdims", 0)]
}

/// ReduceSum takes its axes as an input since opset 13.
fn sum_over_tokens(graph: &mut Builder, values: &str) -> Value {
    let axis = graph.integers("axis_1", &[1], &[1]);
    graph.op("ReduceSum", &[values, &axis], vec![Attribute::int("keepdims", 0)])
}

fn token(graph: &mut Builder, states: &str, name: &str, index: i64) -> Value {
    let index = graph.integers(name, &[], &[index]);
    graph.op("Gather", &[states, &index], vec![Attribute::int("axis", 1)])
}

fn pooled(graph: &mut Builder, pooling: Pooling, states: &str) -> Value {
    match pooling {
        Pooling::Mean => graph.op("ReduceMean", &[states], over_tokens()),
        Pooling::Max => graph.op("ReduceMax", &[states], over_tokens()),
        Pooling::Cls => token(graph, states, "zero", 0),
        Pooling::LastToken => token(graph, states, "last", -1),
        Pooling::MeanSqrtLen => {
            let (sum, count) = (sum_over_tokens(graph, states), token_count(graph, states));
            let root = graph.op("Sqrt", &[&count], vec![]);
            graph.op("Div", &[&sum, &root], vec![])
        }
        Pooling::WeightedMean => {
            let weights = place_weights(graph, states);
            weighted_mean(graph, states, &weights)
        }
    }
}

/// How many tokens each text has, as a number of f32.
fn token_count(graph: &mut Builder, states: &str) -> Value {
    let shape = graph.op("Shape", &[states], vec![]);
    let one = graph.integers("one", &[], &[1]);
    let count = graph.op("Gather", &[&shape, &one], vec![]);
    graph.op("Cast", &[&count], vec![Attribute::int("to", Element::F32 as i64)])
}

/// 1, 2, 3, .. for the tokens from the first on: `1 x tokens x 1`.
fn place_weights(graph: &mut Builder, states: &str) -> Value {
    let count = token_count(graph, states);
    let one = graph.floats("one_f32", &[], &[1.0]);
    let limit = graph.op("Add", &[&count, &one], vec![]);
    let weights = graph.op("Range", &[&one, &limit, &one], vec![]);
    let axes = graph.integers("axes_02", &[2], &[0, 2]);
    graph.op("Unsqueeze", &[&weights, &axes], vec![])
}

/// The mean of the states by weights that broadcast to `rows x tokens x 1`.
fn weighted_mean(graph: &mut Builder, states: &str, weights: &str) -> Value {
    let weighted = graph.op("Mul", &[states, weights], vec![]);
    let sum = sum_over_tokens(graph, &weighted);
    let total = total_weight(graph, weights);
    graph.op("Div", &[&sum, &total], vec![])
}

fn total_weight(graph: &mut Builder, weights: &str) -> Value {
    let total = sum_over_tokens(graph, weights);
    let smallest = graph.floats("smallest_count", &[], &[SMALLEST_COUNT]);
    graph.op("Max", &[&total, &smallest], vec![])
}

/// As [`pooled`], over the tokens that the mask [`POOLED`] marks with 1.
fn pooled_without_prompt(graph: &mut Builder, pooling: Pooling, states: &str) -> Value {
    let last = graph.integers("axis_2", &[1], &[2]);
    let mask = graph.op("Cast", &[POOLED], vec![Attribute::int("to", Element::F32 as i64)]);
    let mask = graph.op("Unsqueeze", &[&mask, &last], vec![]);
    match pooling {
        Pooling::Mean => weighted_mean(graph, states, &mask),
        Pooling::MeanSqrtLen => {
            let masked = graph.op("Mul", &[states, &mask], vec![]);
            let (sum, total) = (sum_over_tokens(graph, &masked), total_weight(graph, &mask));
            let root = graph.op("Sqrt", &[&total], vec![]);
            graph.op("Div", &[&sum, &root], vec![])
        }
        Pooling::WeightedMean => {
            let places = place_weights(graph, states);
            let weights = graph.op("Mul", &[&places, &mask], vec![]);
            weighted_mean(graph, states, &weights)
        }
        Pooling::Max => {
            let shown = graph.op("Cast", &[&mask], vec![Attribute::int("to", BOOL)]);
            let lowest = graph.floats("lowest", &[], &[f32::NEG_INFINITY]);
            let masked = graph.op("Where", &[&shown, states, &lowest], vec![]);
            graph.op("ReduceMax", &[&masked], over_tokens())
        }
        // Of equal values ArgMax takes the first: the first token that is shown.
        Pooling::Cls => {
            let attributes = vec![Attribute::int("axis", 1), Attribute::int("keepdims", 1)];
            let first = graph.op("ArgMax", &[POOLED], attributes);
            graph.op("GatherND", &[states, &first], vec![Attribute::int("batch_dims", 1)])
        }
        Pooling::LastToken => token(graph, states, "last", -1),
    }
}

/// `TensorProto.DataType.BOOL`
const BOOL: i64 = 9;

fn normalized(graph: &mut Builder, vector: &str) -> Value {
    let attributes = vec![Attribute::ints("axes", &[-1]), Attribute::int("keepdims", 1)];
    let length = graph.op("ReduceL2", &[vector], attributes);
    let smallest = graph.floats("smallest_length", &[], &[SMALLEST_LENGTH]);
    let length = graph.op("Max", &[&length, &smallest], vec![]);
    graph.op("Div", &[vector, &length], vec![])
}

fn truncated(graph: &mut Builder, vector: &str, dim: usize) -> Value {
    let first = graph.integers("first_component", &[1], &[0]);
    let end = graph.integers(&format!("component_{dim}"), &[1], &[dim as i64]);
    let axis = graph.integers("axis_1", &[1], &[1]);
    graph.op("Slice", &[vector, &first, &end, &axis], vec![])
}

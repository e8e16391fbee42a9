//! From token vectors to one vector a text: pooling, dense layers, normalisation, truncation.
//!
//! The formulas are those of sentence-transformers 6.2 (`Pooling`, `Dense`, `Normalize`). Rows are never padded, so all
//! tokens count, except those of a prompt that the model leaves out of its pooling.

use super::ConvertError;
use super::builder::{Builder, Value};
use super::emitter::Emitter;
use super::onnx::{Attribute, Element};
use super::weights::{Extent, Weights};
use super::{Activation, Conversion, POOLED, Precision};
use crate::manifest::config::Pooling;

/// The smallest divisor of a mean (`torch.clamp(.., min=1e-9)`).
const SMALLEST_COUNT: f32 = 1e-9;

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
        let mut vector = pooled(&mut graph, self, states);
        let mut dense = self.dense_weights.iter().zip(1..);
        for (place, stage) in self.stages.iter().enumerate() {
            vector = match stage {
                Stage::Dense(layer) => {
                    let (weights, module) = dense.next().expect("each dense layer has weights");
                    let (precision, operators) = (Precision::F32, self.operators);
                    let mut emitter = Emitter { encoder: &self.encoder, weights, precision, operators, graph };
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
        let bias = match self.bias {
            true => Some(weights.tensor("linear.bias", &self.settings, &[to])?),
            false => weights.refuse("linear.bias", &self.settings, "bias").map(|()| None)?,
        };
        Ok(emitter.dense(input, [&name("weight"), &name("bias")], matrix, bias, self.to, self.activation))
    }
}

/// How the tokens' vectors become one.
///
/// Sums are products with a row of weights: the product of one row with each text's matrix is the same kernel however
/// many texts run together, while ONNX Runtime's ReduceSum adds in another order for one text than for several.
fn pooled(graph: &mut Builder, conversion: &Conversion, states: &str) -> Value {
    let mask = (!conversion.include_prompt).then(|| pooled_mask(graph));
    match conversion.pooling {
        Pooling::Cls => first_token(graph, states, mask.is_some()),
        Pooling::LastToken => token(graph, states, "last", -1),
        Pooling::Max => greatest(graph, states, mask.as_deref()),
        Pooling::Mean => {
            let weights = mask.unwrap_or_else(|| ones(graph, states));
            let total = total(graph, &weights);
            weighted(graph, states, &weights, &total)
        }
        Pooling::MeanSqrtLen => {
            let weights = mask.unwrap_or_else(|| ones(graph, states));
            let total = total(graph, &weights);
            let root = graph.op("Sqrt", &[&total], vec![]);
            weighted(graph, states, &weights, &root)
        }
        Pooling::WeightedMean => {
            let places = places(graph, states);
            let weights = match mask {
                Some(mask) => graph.op("Mul", &[&places, &mask], vec![]),
                None => places,
            };
            let total = total(graph, &weights);
            weighted(graph, states, &weights, &total)
        }
    }
}

/// 1 for each token that is pooled and 0 for those of the prompt, `rows x 1 x tokens`.
fn pooled_mask(graph: &mut Builder) -> Value {
    let axis = graph.integers("axis_1", &[1], &[1]);
    let mask = graph.op("Cast", &[POOLED], vec![Attribute::int("to", Element::F32 as i64)]);
    graph.op("Unsqueeze", &[&mask, &axis], vec![])
}

fn token(graph: &mut Builder, states: &str, name: &str, index: i64) -> Value {
    let index = graph.integers(name, &[], &[index]);
    graph.op("Gather", &[states, &index], vec![Attribute::int("axis", 1)])
}

/// The first token, or the first one that is pooled: of equal values ArgMax takes the first.
fn first_token(graph: &mut Builder, states: &str, masked: bool) -> Value {
    if !masked {
        return token(graph, states, "zero", 0);
    }
    let first = graph.op("ArgMax", &[POOLED], vec![Attribute::int("axis", 1), Attribute::int("keepdims", 1)]);
    graph.op("GatherND", &[states, &first], vec![Attribute::int("batch_dims", 1)])
}

/// The greatest value of each component.
fn greatest(graph: &mut Builder, states: &str, mask: Option<&str>) -> Value {
    let shown = match mask {
        None => states.to_owned(),
        Some(mask) => {
            let by_token = graph.op("Transpose", &[mask], vec![Attribute::ints("perm", &[0, 2, 1])]);
            let shown = graph.op("Cast", &[&by_token], vec![Attribute::int("to", BOOL)]);
            let lowest = graph.floats("lowest", &[], &[f32::NEG_INFINITY]);
            graph.op("Where", &[&shown, states, &lowest], vec![])
        }
    };
    graph.op("ReduceMax", &[&shown], vec![Attribute::ints("axes", &[1]), Attribute::int("keepdims", 0)])
}

/// `TensorProto.DataType.BOOL`
const BOOL: i64 = 9;

/// 1, 2, 3, .. for the tokens from the first on: `1 x 1 x tokens`.
fn places(graph: &mut Builder, states: &str) -> Value {
    let shape = graph.op("Shape", &[states], vec![]);
    let one = graph.integers("one", &[], &[1]);
    let count = graph.op("Gather", &[&shape, &one], vec![]);
    let limit = graph.op("Add", &[&count, &one], vec![]);
    let places = graph.op("Range", &[&one, &limit, &one], vec![]);
    let places = graph.op("Cast", &[&places], vec![Attribute::int("to", Element::F32 as i64)]);
    let axes = graph.integers("axes_01", &[2], &[0, 1]);
    graph.op("Unsqueeze", &[&places, &axes], vec![])
}

/// 1 for each token: `1 x 1 x tokens`.
fn ones(graph: &mut Builder, states: &str) -> Value {
    let (places, one) = (places(graph, states), graph.floats("one_f32", &[], &[1.0]));
    graph.op("Min", &[&places, &one], vec![])
}

/// The sum of the weights, and no zero: `rows x 1`. Weights are whole numbers, whose sum is exact in any order.
fn total(graph: &mut Builder, weights: &str) -> Value {
    let axis = graph.integers("axis_2", &[1], &[2]);
    let total = graph.op("ReduceSum", &[weights, &axis], vec![Attribute::int("keepdims", 0)]);
    let smallest = graph.floats("smallest_count", &[], &[SMALLEST_COUNT]);
    graph.op("Max", &[&total, &smallest], vec![])
}

/// The sum of the states by weights, divided.
fn weighted(graph: &mut Builder, states: &str, weights: &str, divisor: &str) -> Value {
    let sum = graph.op("MatMul", &[weights, states], vec![]);
    let axis = graph.integers("axis_1", &[1], &[1]);
    let sum = graph.op("Squeeze", &[&sum, &axis], vec![]);
    graph.op("Div", &[&sum, divisor], vec![])
}

/// Scaled to length 1, each row by itself; zeros stay zeros.
fn normalized(graph: &mut Builder, vector: &str) -> Value {
    graph.op("LpNormalization", &[vector], vec![Attribute::int("axis", -1), Attribute::int("p", 2)])
}

fn truncated(graph: &mut Builder, vector: &str, dim: usize) -> Value {
    let first = graph.integers("first_component", &[1], &[0]);
    let end = graph.integers(&format!("component_{dim}"), &[1], &[dim as i64]);
    let axis = graph.integers("axis_1", &[1], &[1]);
    graph.op("Slice", &[vector, &first, &end, &axis], vec![])
}

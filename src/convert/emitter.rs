//! The operators that every encoder is made of: products, normalisations, activations.
//!
//! A product is a MatMul of f32, or, for int8, ONNX Runtime's DynamicQuantizeMatMul: it scales its input by the extremes
//! of the whole run, so a row must run alone.

use super::builder::{Block, Builder, Value};
use super::encoder::{Activation, Encoder};
use super::onnx::{Attribute, MICROSOFT};
use super::weights::{Extent, Tensor, Weights};
use super::{ConvertError, Precision};

/// A graph in the making, with what it is made from.
pub(super) struct Emitter<'a> {
    pub encoder: &'a Encoder,
    pub weights: &'a Weights,
    pub precision: Precision,
    pub graph: Builder,
}

impl Emitter<'_> {
    pub fn hidden(&self) -> Extent {
        Extent("hidden_size", self.encoder.hidden)
    }

    pub fn intermediate(&self) -> Extent {
        Extent("intermediate_size", self.encoder.intermediate)
    }

    /// A tensor of the weights; normalisations of old models are called `gamma` and `beta`.
    pub fn tensor(&self, name: &str, shape: &[Extent]) -> Result<Tensor, ConvertError> {
        let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        let name = if !self.weights.has(name) && self.weights.has(&old) { &old } else { name };
        self.weights.tensor(name, &self.encoder.settings, shape)
    }

    /// Refuses a tensor of such a name.
    fn refuse(&self, begin: &str, field: &'static str) -> Result<(), ConvertError> {
        self.weights.refuse(begin, &self.encoder.settings, field)
    }

    /// Refuses weights with more layers than are run: other vectors would come of it, without a word.
    pub fn refuse_more_layers(&self, layers: &str) -> Result<(), ConvertError> {
        self.refuse(&format!("{layers}.{}.", self.encoder.layers), "num_hidden_layers")
    }

    pub fn plain(&mut self, name: &str, shape: &[Extent]) -> Result<Value, ConvertError> {
        let tensor = self.tensor(name, shape)?;
        Ok(self.graph.weight(name, Block::Plain(tensor)))
    }

    /// The product of `input` with the matrices of these names, side by side, without their biases.
    pub fn product(&mut self, input: &str, names: &[String], from: Extent, to: Extent) -> Result<Value, ConvertError> {
        let matrices = self.matrices(names, from, to)?;
        let name = format!("{}.weight", names[0]);
        match self.precision {
            Precision::F32 => {
                let weight = self.graph.weight(&name, Block::Columns(matrices));
                Ok(self.graph.op("MatMul", &[input, &weight], vec![]))
            }
            Precision::Int8 => {
                let (weight, scales) = self.quantized(&name, matrices);
                Ok(self.microsoft("DynamicQuantizeMatMul", &[input, &weight, &scales], vec![]))
            }
        }
    }

    /// The matrices of these names.
    pub fn matrices(&self, names: &[String], from: Extent, to: Extent) -> Result<Vec<Tensor>, ConvertError> {
        names.iter().map(|name| self.tensor(&format!("{name}.weight"), &[to, from])).collect()
    }

    /// Matrices side by side as int8, and their scales.
    pub fn quantized(&mut self, name: &str, matrices: Vec<Tensor>) -> (Value, Value) {
        let scales = self.graph.weight(&format!("{name}.scale"), Block::Scales(matrices.clone()));
        (self.graph.weight(name, Block::Quantized(matrices)), scales)
    }

    /// The biases of these names, one after the other.
    pub fn biases(&mut self, names: &[String], to: Extent) -> Result<Value, ConvertError> {
        let biases = names.iter().map(|name| self.tensor(&format!("{name}.bias"), &[to]));
        let biases = biases.collect::<Result<Vec<_>, _>>()?;
        Ok(self.graph.weight(&format!("{}.bias", names[0]), Block::Joined(biases)))
    }

    /// A product with its bias, where it has one.
    pub fn linear(
        &mut self,
        input: &str,
        names: &[String],
        from: Extent,
        to: Extent,
        bias: bool,
    ) -> Result<Value, ConvertError> {
        let product = self.product(input, names, from, to)?;
        if !bias {
            names.iter().try_for_each(|name| self.refuse(&format!("{name}.bias"), "biases"))?;
            return Ok(product);
        }
        let bias = self.biases(names, to)?;
        Ok(self.graph.op("Add", &[&product, &bias], vec![]))
    }

    pub fn normalized(&mut self, input: &str, name: &str, bias: bool) -> Result<Value, ConvertError> {
        let gain = self.plain(&format!("{name}.weight"), &[self.hidden()])?;
        let mut inputs = vec![input.to_owned(), gain];
        match bias {
            true => inputs.push(self.plain(&format!("{name}.bias"), &[self.hidden()])?),
            false => self.refuse(&format!("{name}.bias"), "norm_bias")?,
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", self.encoder.norm_eps)];
        Ok(self.graph.op("LayerNormalization", &inputs, attributes))
    }

    /// One of ONNX Runtime's own operators, with one output.
    pub fn microsoft(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Value {
        self.graph.outputs(MICROSOFT, op, inputs, attributes, 1).remove(0)
    }

    /// `input + bias`, activated.
    pub fn biased_activation(&mut self, input: &str, bias: &str, activation: Activation) -> Value {
        match activation {
            Activation::Gelu => self.microsoft("BiasGelu", &[input, bias], vec![]),
            Activation::GeluTanh => self.microsoft("FastGelu", &[input, bias], vec![]),
            other => {
                let sum = self.graph.op("Add", &[input, bias], vec![]);
                self.activation(&sum, other)
            }
        }
    }

    pub fn activation(&mut self, input: &str, activation: Activation) -> Value {
        match activation {
            Activation::Gelu => self.microsoft("Gelu", &[input], vec![]),
            Activation::GeluTanh => self.microsoft("FastGelu", &[input], vec![]),
            Activation::Relu => self.graph.op("Relu", &[input], vec![]),
            Activation::Silu => {
                let gate = self.graph.op("Sigmoid", &[input], vec![]);
                self.graph.op("Mul", &[input, &gate], vec![])
            }
            Activation::Tanh => self.graph.op("Tanh", &[input], vec![]),
            Activation::Sigmoid => self.graph.op("Sigmoid", &[input], vec![]),
            Activation::Identity => input.to_owned(),
        }
    }

    /// How many tokens the texts of a run have.
    pub fn length(&mut self) -> Value {
        let shape = self.graph.op("Shape", &[super::IDS], vec![]);
        let one = self.graph.integers("one", &[], &[1]);
        self.graph.op("Gather", &[&shape, &one], vec![])
    }

    /// 0, 1, 2, .. as many as there are tokens.
    pub fn counting(&mut self) -> Value {
        let length = self.length();
        let (zero, one) = (self.graph.integers("zero", &[], &[0]), self.graph.integers("one", &[], &[1]));
        self.graph.op("Range", &[&zero, &length, &one], vec![])
    }

    /// `key - query` for each pair of tokens, `tokens x tokens`.
    pub fn distances(&mut self) -> Value {
        let positions = self.counting();
        let (first, second) = (self.graph.integers("axis_0", &[1], &[0]), self.graph.integers("axis_1", &[1], &[1]));
        let keys = self.graph.op("Unsqueeze", &[&positions, &first], vec![]);
        let queries = self.graph.op("Unsqueeze", &[&positions, &second], vec![]);
        self.graph.op("Sub", &[&keys, &queries], vec![])
    }
}

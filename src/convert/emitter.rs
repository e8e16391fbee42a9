//! The operators that every encoder is made of: products, normalisations, activations.
//!
//! Standard ones where other programs or a GPU run the graph, and this program's kernels on a CPU.
//!
//! In f16 are the inputs, weights and outputs of products, and attention. Sums, normalisations and positions stay in f32:
//! they grow with the layers or with the text, and cost little. So a value is in f16 exactly between [`Emitter::half`] and
//! [`Emitter::full`], which do nothing in a graph of f32.

use super::builder::{Block, Builder, Value};
use super::encoder::Encoder;
use super::onnx::{Attribute, Element, MICROSOFT};
use super::operators::{ACTIVATION, ADD_NORMALIZATION, COLUMNS, DOMAIN, EPSILON, LINEAR, Operators, QUANTIZED_LINEAR};
use super::weights::{Extent, Tensor, Weights};
use super::{Activation, ConvertError, Precision};

/// A graph in the making, with what it is made from.
pub(super) struct Emitter<'a> {
    pub encoder: &'a Encoder,
    pub weights: &'a Weights,
    pub precision: Precision,
    pub operators: Operators,
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

    /// The matrices of these names.
    pub fn matrices(&self, names: &[String], from: Extent, to: Extent) -> Result<Vec<Tensor>, ConvertError> {
        names.iter().map(|name| self.tensor(&format!("{name}.weight"), &[to, from])).collect()
    }

    /// The biases of these names, one after the other.
    pub fn biases(&mut self, names: &[String], to: Extent) -> Result<Value, ConvertError> {
        let biases = names.iter().map(|name| self.tensor(&format!("{name}.bias"), &[to]));
        let biases = biases.collect::<Result<Vec<_>, _>>()?;
        let block = if self.is_half() { Block::HalfJoined(biases) } else { Block::Joined(biases) };
        Ok(self.graph.weight(&format!("{}.bias", names[0]), block))
    }

    /// Matrices side by side, for a product of standard operators.
    pub fn side_by_side(&mut self, name: &str, matrices: Vec<Tensor>) -> Value {
        let block = if self.is_half() { Block::HalfColumns(matrices) } else { Block::Columns(matrices) };
        self.graph.weight(name, block)
    }

    /// Whether products are computed in f16.
    pub fn is_half(&self) -> bool {
        self.precision == Precision::F16
    }

    /// A value of f32 as an input of products.
    pub fn half(&mut self, value: &str) -> Value {
        if self.is_half() { self.cast(value, Element::F16) } else { value.to_owned() }
    }

    /// What products give, in f32.
    pub fn full(&mut self, value: &str) -> Value {
        if self.is_half() { self.cast(value, Element::F32) } else { value.to_owned() }
    }

    pub fn cast(&mut self, value: &str, to: Element) -> Value {
        self.graph.op("Cast", &[value], vec![Attribute::int("to", to as i64)])
    }

    /// The product of `input` with the matrices of these names, side by side, with their biases, where they have any.
    pub fn linear(
        &mut self,
        input: &str,
        names: &[String],
        from: Extent,
        to: Extent,
        bias: bool,
    ) -> Result<Value, ConvertError> {
        self.activated(input, names, from, to, bias, Activation::Identity)
    }

    /// The same, activated.
    pub fn activated(
        &mut self,
        input: &str,
        names: &[String],
        from: Extent,
        to: Extent,
        bias: bool,
        activation: Activation,
    ) -> Result<Value, ConvertError> {
        let matrices = self.matrices(names, from, to)?;
        if !bias {
            names.iter().try_for_each(|name| self.refuse(&format!("{name}.bias"), "biases"))?;
        }
        let name = format!("{}.weight", names[0]);
        match self.operators {
            Operators::Standard | Operators::Plain => {
                let weight = self.side_by_side(&name, matrices);
                let product = self.graph.op("MatMul", &[input, &weight], vec![]);
                match bias {
                    false => Ok(self.activation(&product, activation)),
                    true => {
                        let bias = self.biases(names, to)?;
                        Ok(self.biased_activation(&product, &bias, activation))
                    }
                }
            }
            Operators::Kernels => {
                let weights = self.packed(&name, matrices);
                let bias = bias.then(|| self.biases(names, to)).transpose()?;
                Ok(self.kernel_linear(input, weights, bias, names.len() * to.1, activation))
            }
        }
    }

    /// Matrices side by side as kernels read them, with what belongs to them.
    fn packed(&mut self, name: &str, matrices: Vec<Tensor>) -> Vec<Value> {
        match self.precision {
            // There are no kernels in f16: such graphs have standard operators.
            Precision::F32 | Precision::F16 => vec![self.graph.weight(name, Block::Packed(matrices))],
            Precision::Int8 => {
                let scales = self.graph.weight(&format!("{name}.scale"), Block::Scales(matrices.clone()));
                let sums = self.graph.weight(&format!("{name}.sum"), Block::Sums(matrices.clone()));
                vec![self.graph.weight(name, Block::Quantized(matrices)), scales, sums]
            }
        }
    }

    fn kernel_linear(
        &mut self,
        input: &str,
        weights: Vec<Value>,
        bias: Option<Value>,
        columns: usize,
        activation: Activation,
    ) -> Value {
        let op = if weights.len() == 1 { LINEAR } else { QUANTIZED_LINEAR };
        let inputs: Vec<&str> = [input].into_iter().chain(weights.iter().chain(&bias).map(String::as_str)).collect();
        let place = Activation::ALL.iter().position(|known| *known == activation).unwrap_or_default();
        let attributes = vec![Attribute::int(COLUMNS, columns as i64), Attribute::int(ACTIVATION, place as i64)];
        self.kernel(op, &inputs, attributes)
    }

    /// A dense layer of the head, by tensors and the names that they get.
    pub fn dense(
        &mut self,
        input: &str,
        names: [&str; 2],
        matrix: Tensor,
        bias: Option<Tensor>,
        to: usize,
        activation: Activation,
    ) -> Value {
        let bias = |graph: &mut Builder| bias.map(|bias| graph.weight(names[1], Block::Plain(bias)));
        match self.operators {
            Operators::Standard | Operators::Plain => {
                let weight = self.side_by_side(names[0], vec![matrix]);
                let mut output = self.graph.op("MatMul", &[input, &weight], vec![]);
                if let Some(bias) = bias(&mut self.graph) {
                    output = self.graph.op("Add", &[&output, &bias], vec![]);
                }
                self.activation(&output, activation)
            }
            Operators::Kernels => {
                let weights = self.packed(names[0], vec![matrix]);
                let bias = bias(&mut self.graph);
                self.kernel_linear(input, weights, bias, to, activation)
            }
        }
    }

    /// One of this program's own operators.
    pub fn kernel(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Value {
        self.graph.outputs(DOMAIN, op, inputs, attributes, 1).remove(0)
    }

    /// The sum of what a product gave and a value in f32, normalised.
    pub fn added_and_normalized(&mut self, input: &str, residual: &str, name: &str) -> Result<Value, ConvertError> {
        match self.operators {
            Operators::Standard | Operators::Plain => {
                let input = self.full(input);
                let sum = self.graph.op("Add", &[&input, residual], vec![]);
                self.normalized(&sum, name, true)
            }
            Operators::Kernels => {
                let gain = self.plain(&format!("{name}.weight"), &[self.hidden()])?;
                let bias = self.plain(&format!("{name}.bias"), &[self.hidden()])?;
                let epsilon = vec![Attribute::float(EPSILON, self.encoder.norm_eps)];
                Ok(self.kernel(ADD_NORMALIZATION, &[input, residual, &gain, &bias], epsilon))
            }
        }
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
    fn biased_activation(&mut self, input: &str, bias: &str, activation: Activation) -> Value {
        match activation {
            Activation::Gelu | Activation::GeluTanh if self.operators == Operators::Plain => {
                let sum = self.graph.op("Add", &[input, bias], vec![]);
                self.activation(&sum, activation)
            }
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
            Activation::Gelu | Activation::GeluTanh if self.operators == Operators::Plain => {
                self.plain_gelu(input, activation)
            }
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

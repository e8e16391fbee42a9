//! What ONNX Runtime's fused operators do, of ONNX's operators alone: embeddings, attention, rotations, GELU.
//!
//! For TensorRT, which compiles a graph that it knows whole, and fuses it by itself. Scores and their softmax are in f32
//! whatever the precision.

use super::builder::Value;
use super::emitter::Emitter;
use super::onnx::Attribute;
use super::operators::Operators;
use super::{Activation, ConvertError, IDS, TYPES};

/// How much of `x^3` the tangent form of GELU adds (Hendrycks and Gimpel 2016).
const CUBIC: f32 = 0.044_715;

impl Emitter<'_> {
    /// The sum of the tables' rows for each token, normalised; `segments` is empty where there is no such table.
    pub fn plain_embeddings(
        &mut self,
        words: &str,
        positions: &str,
        segments: &str,
        pad: Option<usize>,
    ) -> Result<Value, ConvertError> {
        let places = match pad {
            Some(pad) => self.places(pad),
            None => self.counting(),
        };
        let words = self.graph.op("Gather", &[words, IDS], vec![]);
        let positions = self.graph.op("Gather", &[positions, &places], vec![]);
        let mut sum = self.graph.op("Add", &[&words, &positions], vec![]);
        if !segments.is_empty() {
            let segments = self.graph.op("Gather", &[segments, TYPES], vec![]);
            sum = self.graph.op("Add", &[&sum, &segments], vec![]);
        }
        self.normalized(&sum, "embeddings.LayerNorm", true)
    }

    /// Self-attention of queries, keys and values, each `rows x tokens x hidden`; `bias` is added to the scores.
    pub fn plain_attention(&mut self, [query, key, value]: [&str; 3], bias: Option<&str>) -> Value {
        // Scaled before the product, so that no score is beyond f16.
        let scale = 1.0 / (self.encoder.head() as f32).sqrt();
        let scale = self.graph.floats("score_scale", &[], &[scale]);
        let query = self.full(query);
        let query = self.graph.op("Mul", &[&query, &scale], vec![]);
        let query = self.half(&query);
        let [query, key, value] =
            [(&*query, [0, 2, 1, 3]), (key, [0, 2, 3, 1]), (value, [0, 2, 1, 3])].map(|(part, order)| {
                let heads = self.by_head(part);
                self.transposed(&heads, &order)
            });
        let scores = self.graph.op("MatMul", &[&query, &key], vec![]);
        let mut scores = self.full(&scores);
        if let Some(bias) = bias {
            scores = self.graph.op("Add", &[&scores, bias], vec![]);
        }
        let shares = self.graph.op("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
        let shares = self.half(&shares);
        let attended = self.graph.op("MatMul", &[&shares, &value], vec![]);
        let attended = self.transposed(&attended, &[0, 2, 1, 3]);
        self.joined_heads(&attended)
    }

    /// What is added to scores, as attention takes it: in f16 where it computes in that.
    pub fn score_bias(&mut self, bias: Value) -> Value {
        if self.operators == Operators::Standard { self.half(&bias) } else { bias }
    }

    /// `rows x tokens x hidden`, each head turned by the place of its token: the first half of it against the second.
    pub fn plain_rotation(&mut self, states: &str, cosines: &str, sines: &str) -> Value {
        let places = self.counting();
        let axis = self.graph.integers("axis_1", &[1], &[1]);
        let [cosines, sines] = [cosines, sines].map(|table| {
            let rows = self.graph.op("Gather", &[table, &places], vec![]);
            self.graph.op("Unsqueeze", &[&rows, &axis], vec![])
        });
        let heads = self.by_head(states);
        let halves = self.graph.outputs("", "Split", &[&heads], vec![Attribute::int("axis", -1)], 2);
        let mut product = |half: usize, table: &str| self.graph.op("Mul", &[&halves[half], table], vec![]);
        let [kept, off] = [product(0, &cosines), product(1, &sines)];
        let [other, on] = [product(1, &cosines), product(0, &sines)];
        let first = self.graph.op("Sub", &[&kept, &off], vec![]);
        let second = self.graph.op("Add", &[&other, &on], vec![]);
        let turned = self.graph.op("Concat", &[&first, &second], vec![Attribute::int("axis", -1)]);
        self.joined_heads(&turned)
    }

    /// GELU, by the error function or its tangent form; computed in f32, for it has small and large terms.
    pub fn plain_gelu(&mut self, input: &str, activation: Activation) -> Value {
        let full = self.full(input);
        let mut times = |a: &str, b: &str| self.graph.op("Mul", &[a, b], vec![]);
        let inner = match activation {
            Activation::GeluTanh => {
                let square = times(&full, &full);
                let cube = times(&square, &full);
                let cubic = self.graph.floats("gelu_cubic", &[], &[CUBIC]);
                let added = self.graph.op("Mul", &[&cube, &cubic], vec![]);
                let sum = self.graph.op("Add", &[&full, &added], vec![]);
                let scale = self.graph.floats("gelu_tanh_scale", &[], &[(2.0 / std::f32::consts::PI).sqrt()]);
                let scaled = self.graph.op("Mul", &[&sum, &scale], vec![]);
                self.graph.op("Tanh", &[&scaled], vec![])
            }
            _ => {
                let scale = self.graph.floats("gelu_scale", &[], &[std::f32::consts::FRAC_1_SQRT_2]);
                let scaled = self.graph.op("Mul", &[&full, &scale], vec![]);
                self.graph.op("Erf", &[&scaled], vec![])
            }
        };
        let (one, half) = (self.graph.floats("one_f32", &[], &[1.0]), self.graph.floats("half_f32", &[], &[0.5]));
        let share = self.graph.op("Add", &[&inner, &one], vec![]);
        let output = self.graph.op("Mul", &[&full, &share], vec![]);
        let output = self.graph.op("Mul", &[&output, &half], vec![]);
        self.half(&output)
    }

    /// `rows x tokens x hidden` as `rows x tokens x heads x head`.
    fn by_head(&mut self, states: &str) -> Value {
        let sizes = [0, 0, self.encoder.heads as i64, self.encoder.head() as i64];
        let shape = self.graph.integers("heads_apart", &[4], &sizes);
        self.graph.op("Reshape", &[states, &shape], vec![])
    }

    /// And back.
    fn joined_heads(&mut self, states: &str) -> Value {
        let shape = self.graph.integers("heads_joined", &[3], &[0, 0, self.encoder.hidden as i64]);
        self.graph.op("Reshape", &[states, &shape], vec![])
    }

    fn transposed(&mut self, states: &str, order: &[i64]) -> Value {
        self.graph.op("Transpose", &[states], vec![Attribute::ints("perm", order)])
    }
}

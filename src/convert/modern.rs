//! ModernBERT as operators: normalised before each product, gated, turned by position, with layers that see near tokens
//! only (Warner et al. 2024).

use std::collections::BTreeMap;

use super::ConvertError;
use super::IDS;
use super::builder::Value;
use super::emitter::Emitter;
use super::encoder::Modern;
use super::onnx::{Attribute, Element};
use super::operators::Operators;
use super::position::rotations;
use super::weights::Extent;

/// What is added to the score of a token out of sight: far below any score, and no infinity, which a softmax over
/// nothing else would turn into no number.
const OUT_OF_SIGHT: f32 = -1e30;

/// The same in f16, which ends at -65504: a score that is added must not make it an infinity.
const OUT_OF_SIGHT_IN_HALF: f32 = -3e4;

impl Modern {
    /// How far a token sees on either side, in numbers.
    fn sight(&self, window: Option<usize>) -> usize {
        window.unwrap_or(self.positions)
    }
}

impl Emitter<'_> {
    /// The tokens' vectors behind the last layer, `rows x tokens x hidden`.
    pub fn modern(&mut self, design: &Modern) -> Result<Value, ConvertError> {
        let vocab = Extent("vocab_size", self.encoder.vocab);
        let words = self.plain("embeddings.tok_embeddings.weight", &[vocab, self.hidden()])?;
        let tokens = self.graph.op("Gather", &[&words, IDS], vec![]);
        self.refuse_more_layers("layers")?;
        let mut states = self.normalized(&tokens, "embeddings.norm", design.norm_bias)?;
        let windows = self.windows(design);
        for (layer, (theta, window)) in design.attention.iter().enumerate() {
            let window = &windows[&design.sight(*window)];
            states = self.modern_layer(design, layer, *theta, window, &states)?;
        }
        self.normalized(&states, "final_norm", design.norm_bias)
    }

    fn modern_layer(
        &mut self,
        design: &Modern,
        layer: usize,
        theta: f32,
        window: &str,
        input: &str,
    ) -> Result<Value, ConvertError> {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let hidden = self.hidden();
        // The embeddings are normalised already, so the first layer does not do it again.
        let normalized = match layer {
            0 => input.to_owned(),
            _ => self.normalized(input, &name("attn_norm"), design.norm_bias)?,
        };
        let joint = Extent("3 x hidden_size", 3 * self.encoder.hidden);
        let normalized = self.half(&normalized);
        let products = self.linear(&normalized, &[name("attn.Wqkv")], hidden, joint, design.attention_bias)?;
        let attended = self.rotary_attention(design, theta, window, &products);
        let attended = self.linear(&attended, &[name("attn.Wo")], hidden, hidden, design.attention_bias)?;
        let attended = self.full(&attended);
        let states = self.graph.op("Add", &[input, &attended], vec![]);

        let normalized = self.normalized(&states, &name("mlp_norm"), design.norm_bias)?;
        let both = Extent("2 x intermediate_size", 2 * self.encoder.intermediate);
        let normalized = self.half(&normalized);
        let up = self.linear(&normalized, &[name("mlp.Wi")], hidden, both, design.mlp_bias)?;
        let halves = self.graph.outputs("", "Split", &[&up], vec![Attribute::int("axis", -1)], 2);
        let active = self.activation(&halves[0], self.encoder.activation);
        let gated = self.graph.op("Mul", &[&active, &halves[1]], vec![]);
        let down = self.linear(&gated, &[name("mlp.Wo")], self.intermediate(), hidden, design.mlp_bias)?;
        let down = self.full(&down);
        Ok(self.graph.op("Add", &[&states, &down], vec![]))
    }

    fn rotary_attention(&mut self, design: &Modern, theta: f32, window: &str, products: &str) -> Value {
        let parts = self.graph.outputs("", "Split", &[products], vec![Attribute::int("axis", -1)], 3);
        let (cosines, sines) = self.rotation_tables(theta, design.positions);
        let first = self.graph.integers("first_position", &[1], &[0]);
        let [query, key] = [&parts[0], &parts[1]].map(|part| {
            let part = self.full(part);
            let turned = match self.operators {
                Operators::Plain => self.plain_rotation(&part, &cosines, &sines),
                _ => self.microsoft("RotaryEmbedding", &[&part, &first, &cosines, &sines], vec![]),
            };
            self.half(&turned)
        });
        if self.operators == Operators::Plain {
            return self.plain_attention([&query, &key, &parts[2]], Some(window));
        }
        let inputs = [&*query, &key, &parts[2], "", "", window];
        let heads = Attribute::int("num_heads", self.encoder.heads as i64);
        self.microsoft("MultiHeadAttention", &inputs, vec![heads])
    }

    /// Layers of one base share their tables.
    fn rotation_tables(&mut self, theta: f32, positions: usize) -> (Value, Value) {
        let names = (format!("cosines_{theta}"), format!("sines_{theta}"));
        if !self.graph.has(&names.0) {
            let width = self.encoder.head();
            let (cosines, sines) = rotations(theta, width, positions);
            self.graph.floats(&names.0, &[positions, width / 2], &cosines);
            self.graph.floats(&names.1, &[positions, width / 2], &sines);
        }
        names
    }

    /// For each width of sight what is added to the scores, `1 x 1 x tokens x tokens`.
    ///
    /// Where everything is seen that is zeros, and yet it is given: without it ONNX Runtime takes a kernel that works in
    /// blocks of the processor's cache, and machines of one kind would differ in last bits.
    fn windows(&mut self, design: &Modern) -> BTreeMap<usize, Value> {
        let mut windows = BTreeMap::new();
        for window in design.attention.iter().map(|(_, window)| design.sight(*window)) {
            windows.entry(window).or_insert_with(|| self.window(window));
        }
        windows
    }

    fn window(&mut self, window: usize) -> Value {
        let distances = self.distances();
        let steps = self.graph.op("Abs", &[&distances], vec![]);
        let widest = self.graph.integers(&format!("window_{window}"), &[], &[window as i64]);
        let hidden = self.graph.op("Greater", &[&steps, &widest], vec![]);
        let hidden = self.cast(&hidden, Element::F32);
        let far = if self.is_half() { OUT_OF_SIGHT_IN_HALF } else { OUT_OF_SIGHT };
        let far = self.graph.floats("out_of_sight", &[], &[far]);
        let bias = self.graph.op("Mul", &[&hidden, &far], vec![]);
        let axes = self.graph.integers("axes_01", &[2], &[0, 1]);
        let bias = self.graph.op("Unsqueeze", &[&bias, &axes], vec![]);
        self.score_bias(bias)
    }
}

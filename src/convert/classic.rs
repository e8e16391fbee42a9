//! BERT and its kin as operators: embeddings, then layers of attention and two products, normalised after each sum.
//!
//! On a CPU a layer is seven kernels. Of standard operators the fused ones of ONNX Runtime stand where they were measured to
//! win: EmbedLayerNormalization, Attention, BiasGelu. Add and LayerNormalization stay apart: the fused
//! SkipLayerNormalization is slower on CPUs. What stands for them where ONNX's own operators must do is in `plain.rs`.

use super::ConvertError;
use super::builder::{Block, Value};
use super::emitter::Emitter;
use super::encoder::{Classic, Names};
use super::onnx::{Attribute, Element, MICROSOFT};
use super::operators::{ATTENTION, HEADS, Operators};
use super::position::distance_buckets;
use super::weights::Extent;
use super::{IDS, TYPES};

impl Emitter<'_> {
    /// The tokens' vectors behind the last layer, `rows x tokens x hidden`.
    pub fn classic(&mut self, design: &Classic) -> Result<Value, ConvertError> {
        let bias = match design.distance_buckets {
            Some(buckets) => Some(self.distance_bias(design, buckets)?),
            None => None,
        };
        let mut states = self.embeddings(design)?;
        let names = design.family.names();
        self.refuse_more_layers(names.layers)?;
        for layer in 0..self.encoder.layers {
            states = self.classic_layer(&format!("{}.{layer}", names.layers), &names, &states, bias.as_deref())?;
        }
        Ok(states)
    }

    fn embeddings(&mut self, design: &Classic) -> Result<Value, ConvertError> {
        let vocab = Extent("vocab_size", self.encoder.vocab);
        let words = self.plain("embeddings.word_embeddings.weight", &[vocab, self.hidden()])?;
        let positions = Extent("max_position_embeddings", design.positions);
        let name = "embeddings.position_embeddings.weight";
        let table = self.tensor(name, &[positions, self.hidden()])?;
        let (mut segment_ids, mut segments) = (String::new(), String::new());
        let mut block = Block::Plain(table.clone());
        if design.types > 0 {
            let name = "embeddings.token_type_embeddings.weight";
            let types = self.tensor(name, &[Extent("type_vocab_size", design.types), self.hidden()])?;
            if self.encoder.has_types() {
                segment_ids = self.int32(TYPES);
                segments = self.graph.weight(name, Block::Plain(types));
            } else {
                block = Block::WithFirstRow(table, types);
            }
        }
        let table = self.graph.weight(name, block);
        if self.operators == Operators::Plain {
            return self.plain_embeddings(&words, &table, &segments, design.pad);
        }
        let gain = self.plain("embeddings.LayerNorm.weight", &[self.hidden()])?;
        let bias = self.plain("embeddings.LayerNorm.bias", &[self.hidden()])?;
        let ids = self.int32(IDS);
        let mut inputs = vec![&*ids, &segment_ids, &words, &table, &segments, &gain, &bias];
        let places = design.pad.map(|pad| self.places(pad));
        if let Some(places) = &places {
            inputs.extend(["", places]);
        }
        let epsilon = Attribute::float("epsilon", self.encoder.norm_eps);
        Ok(self.graph.outputs(MICROSOFT, "EmbedLayerNormalization", &inputs, vec![epsilon], 2).remove(0))
    }

    /// Positions as RoBERTa counts them: tokens from `pad + 1` on, and what is padding by its id stands at `pad`.
    pub fn places(&mut self, pad: usize) -> Value {
        let pad = self.graph.integers("pad", &[], &[pad as i64]);
        let axis = self.graph.integers("one", &[], &[1]);
        let is_pad = self.graph.op("Equal", &[IDS, &pad], vec![]);
        let is_token = self.graph.op("Not", &[&is_pad], vec![]);
        let ones = self.cast(&is_token, Element::I64);
        let counted = self.graph.op("CumSum", &[&ones, &axis], vec![]);
        let counted = self.graph.op("Mul", &[&counted, &ones], vec![]);
        let places = self.graph.op("Add", &[&counted, &pad], vec![]);
        self.int32(&places)
    }

    fn int32(&mut self, value: &str) -> Value {
        self.cast(value, Element::I32)
    }

    fn classic_layer(
        &mut self,
        layer: &str,
        names: &Names,
        input: &str,
        bias: Option<&str>,
    ) -> Result<Value, ConvertError> {
        let name = |part: &str| format!("{layer}.{part}");
        let (hidden, intermediate) = (self.hidden(), self.intermediate());
        let attended = self.attention(&[name(names.query), name(names.key), name(names.value)], input, bias)?;
        let attended = self.linear(&attended, &[name(names.attention_out)], hidden, hidden, true)?;
        let states = self.added_and_normalized(&attended, input, &name(names.attention_norm))?;

        let up = [name(names.up)];
        let seen = self.half(&states);
        let active = self.activated(&seen, &up, hidden, intermediate, true, self.encoder.activation)?;
        let down = self.linear(&active, &[name(names.down)], intermediate, hidden, true)?;
        self.added_and_normalized(&down, &states, &name(names.norm))
    }

    /// Self-attention over all tokens of a row, to be multiplied on; `bias` is added to the scores of its heads.
    fn attention(&mut self, names: &[String; 3], input: &str, bias: Option<&str>) -> Result<Value, ConvertError> {
        let heads = self.encoder.heads as i64;
        if self.operators == Operators::Kernels {
            let products = self.linear(input, names, self.hidden(), self.hidden(), true)?;
            let inputs: Vec<&str> = [&*products].into_iter().chain(bias).collect();
            return Ok(self.kernel(ATTENTION, &inputs, vec![Attribute::int(HEADS, heads)]));
        }
        let input = self.half(input);
        if self.operators == Operators::Plain {
            let products = self.linear(&input, names, self.hidden(), self.hidden(), true)?;
            let parts = self.graph.outputs("", "Split", &[&products], vec![Attribute::int("axis", -1)], 3);
            return Ok(self.plain_attention([&parts[0], &parts[1], &parts[2]], bias));
        }
        let matrices = self.matrices(names, self.hidden(), self.hidden())?;
        let weight = self.side_by_side(&format!("{}.weight", names[0]), matrices);
        let biases = self.biases(names, self.hidden())?;
        let mut inputs = vec![&*input, &weight, &biases];
        if let Some(bias) = bias {
            inputs.extend(["", "", bias]);
        }
        Ok(self.microsoft("Attention", &inputs, vec![Attribute::int("num_heads", heads)]))
    }

    /// What MPNet adds to the scores: a number for each head and bucket of distances, `1 x heads x tokens x tokens`.
    fn distance_bias(&mut self, design: &Classic, buckets: usize) -> Result<Value, ConvertError> {
        let name = "encoder.relative_attention_bias.weight";
        let shape =
            [Extent("relative_attention_num_buckets", buckets), Extent("num_attention_heads", self.encoder.heads)];
        let table = self.plain(name, &shape)?;
        // Looked at before anything is counted by it: the settings may claim any number of positions.
        let rows = Extent("max_position_embeddings", design.positions);
        self.tensor("embeddings.position_embeddings.weight", &[rows, self.hidden()])?;
        let positions = self.encoder.longest();
        let bucket_of: Vec<i64> = distance_buckets(buckets, positions).into_iter().map(|b| b as i64).collect();
        let bucket_of = self.graph.integers("bucket_of_distance", &[bucket_of.len()], &bucket_of);
        let origin = self.graph.integers("distance_zero", &[], &[positions as i64 - 1]);
        let distances = self.distances();
        let shifted = self.graph.op("Add", &[&distances, &origin], vec![]);
        let buckets = self.graph.op("Gather", &[&bucket_of, &shifted], vec![]);
        let biases = self.graph.op("Gather", &[&table, &buckets], vec![]);
        let by_head = self.graph.op("Transpose", &[&biases], vec![Attribute::ints("perm", &[2, 0, 1])]);
        let axis = self.graph.integers("axis_0", &[1], &[0]);
        let bias = self.graph.op("Unsqueeze", &[&by_head, &axis], vec![]);
        Ok(self.score_bias(bias))
    }
}

//! Models of random weights, in every size and form that the eight of `tests/fixtures/models` do not have.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

use crate::oracle::Tokens;

/// What a model is like; the sizes of [`Made::default`] are small and odd.
#[derive(Clone, Debug)]
pub struct Made {
    pub kind: &'static str,
    pub hidden: usize,
    pub heads: usize,
    pub layers: usize,
    pub intermediate: usize,
    pub vocab: usize,
    pub max_length: usize,
    pub types: usize,
    pub function: &'static str,
    pub element: Dtype,
    pub shards: usize,
    /// What every tensor's name begins with.
    pub prefix: &'static str,
    /// Normalisations called `gamma` and `beta`.
    pub old_names: bool,
    pub pooling: &'static str,
    /// `pooling_mode = ".."`, as sentence-transformers writes since version 6.
    pub new_pooling: bool,
    /// A prompt that the model calls `query`, and whether it is pooled.
    pub prompt: Option<(&'static str, bool)>,
    /// Components, activation, and whether there is a bias.
    pub dense: Vec<(usize, &'static str, bool)>,
    pub normalize: bool,
    /// ModernBERT with all its biases.
    pub biases: bool,
    /// ModernBERT's settings in the form of transformers 4.
    pub old_config: bool,
    pub local_attention: usize,
    pub full_every: usize,
    pub seed: u64,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            kind: "bert",
            hidden: 24,
            heads: 3,
            layers: 2,
            intermediate: 37,
            vocab: 83,
            max_length: 40,
            types: 2,
            function: "gelu",
            element: Dtype::F32,
            shards: 1,
            prefix: "",
            old_names: false,
            pooling: "mean",
            new_pooling: false,
            prompt: None,
            dense: Vec::new(),
            normalize: true,
            biases: false,
            old_config: false,
            local_attention: 10,
            full_every: 3,
            seed: 1,
        }
    }
}

/// The ids of special tokens.
struct Special {
    names: [&'static str; 4],
    pad: usize,
    first: usize,
    last: usize,
}

const BERT: Special = Special { names: ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], pad: 0, first: 2, last: 3 };
const ROBERTA: Special = Special { names: ["<s>", "<pad>", "</s>", "<unk>"], pad: 1, first: 0, last: 2 };

impl Made {
    /// Writes the model's folder.
    pub fn write(&self, folder: &Path) {
        let write = |name: &str, value: Value| {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), value.to_string()).unwrap();
        };
        write("config.json", self.config());
        write("tokenizer.json", self.tokenizer());
        write("sentence_bert_config.json", json!({ "max_seq_length": self.max_length, "do_lower_case": false }));
        let prompts = self.prompt.map(|(text, _)| json!({ "query": text })).unwrap_or(json!({}));
        write("config_sentence_transformers.json", json!({ "prompts": prompts, "default_prompt_name": null }));
        write("1_Pooling/config.json", self.pooling());
        let mut modules = vec![("Transformer", String::new()), ("Pooling", "1_Pooling".to_owned())];
        let mut random = Random(self.seed ^ 0xdead);
        let mut from = self.hidden;
        for (number, &(to, function, bias)) in self.dense.iter().enumerate() {
            let path = format!("{}_Dense", number + 2);
            let module = if function == "Identity" { "linear" } else { "activation" };
            let function = format!("torch.nn.modules.{module}.{function}");
            let settings =
                json!({ "in_features": from, "out_features": to, "bias": bias, "activation_function": function });
            write(&format!("{path}/config.json"), settings);
            let mut shapes = vec![("linear.weight".to_owned(), vec![to, from])];
            shapes.extend(bias.then(|| ("linear.bias".to_owned(), vec![to])));
            write_tensors(&folder.join(&path).join("model.safetensors"), &shapes, self.element, &mut random);
            modules.push(("Dense", path));
            from = to;
        }
        modules.extend(self.normalize.then(|| ("Normalize", format!("{}_Normalize", modules.len()))));
        let module = |(kind, path): &(&str, String)| {
            let kind = format!("sentence_transformers.models.{kind}");
            json!({ "path": path, "type": kind })
        };
        write("modules.json", modules.iter().map(module).collect());
        self.write_weights(folder);
    }

    fn write_weights(&self, folder: &Path) {
        let mut random = Random(self.seed);
        let tensors = self.tensors();
        if self.shards == 1 {
            return write_tensors(&folder.join("model.safetensors"), &tensors, self.element, &mut random);
        }
        let mut files = Map::new();
        for (number, part) in tensors.chunks(tensors.len().div_ceil(self.shards)).enumerate() {
            let name = format!("model-{:05}-of-{:05}.safetensors", number + 1, self.shards);
            write_tensors(&folder.join(&name), part, self.element, &mut random);
            files.extend(part.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
        }
        let index = json!({ "metadata": { "total_size": 1 }, "weight_map": files });
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }

    fn special(&self) -> Special {
        if ["bert", "distilbert"].contains(&self.kind) { BERT } else { ROBERTA }
    }

    /// Rows of the table of positions: RoBERTa's kin never use the first two.
    fn positions(&self) -> usize {
        self.max_length + if ["roberta", "xlm-roberta", "mpnet"].contains(&self.kind) { 2 } else { 0 }
    }

    fn config(&self) -> Value {
        let mut config = match self.kind {
            "distilbert" => json!({
                "dim": self.hidden, "n_heads": self.heads, "n_layers": self.layers, "hidden_dim": self.intermediate,
                "activation": self.function,
            }),
            "modernbert" => json!({
                "hidden_activation": self.function, "norm_eps": 1e-5, "local_attention": self.local_attention,
                "attention_bias": self.biases, "mlp_bias": self.biases, "norm_bias": self.biases,
            }),
            _ => json!({ "hidden_act": self.function, "layer_norm_eps": 1e-12, "type_vocab_size": self.types }),
        };
        let common = json!({
            "model_type": self.kind, "vocab_size": self.vocab, "max_position_embeddings": self.positions(),
            "pad_token_id": self.special().pad,
        });
        let sizes = json!({
            "hidden_size": self.hidden, "num_attention_heads": self.heads, "num_hidden_layers": self.layers,
            "intermediate_size": self.intermediate,
        });
        let rotations = match self.old_config {
            true => json!({
                "global_attn_every_n_layers": self.full_every, "global_rope_theta": 160_000.0,
                "local_rope_theta": 10_000.0,
            }),
            false => {
                let kind = |layer: usize| if layer.is_multiple_of(self.full_every) { "full" } else { "sliding" };
                let kinds: Vec<String> = (0..self.layers).map(|layer| format!("{}_attention", kind(layer))).collect();
                let base = |theta: f64| json!({ "rope_theta": theta, "rope_type": "default" });
                let bases = json!({ "full_attention": base(160_000.0), "sliding_attention": base(10_000.0) });
                json!({ "layer_types": kinds, "rope_parameters": bases })
            }
        };
        let parts = match self.kind {
            "distilbert" => vec![common],
            "modernbert" => vec![common, sizes, rotations],
            "mpnet" => vec![common, sizes, json!({ "relative_attention_num_buckets": 32 })],
            _ => vec![common, sizes],
        };
        for part in parts {
            config.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        config
    }

    fn pooling(&self) -> Value {
        let include = self.prompt.is_none_or(|(_, pooled)| pooled);
        if self.new_pooling {
            let (dim, mode) = (self.hidden, self.pooling);
            return json!({ "embedding_dimension": dim, "pooling_mode": mode, "include_prompt": include });
        }
        let modes =
            ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
        let mut settings = json!({ "word_embedding_dimension": self.hidden, "include_prompt": include });
        for mode in modes {
            let name = mode.trim_end_matches("_token").trim_end_matches("_tokens");
            settings[format!("pooling_mode_{mode}")] = json!(name == self.pooling.trim_end_matches("_tokens"));
        }
        settings
    }

    fn tokenizer(&self) -> Value {
        let special = self.special();
        let word = |id: usize| special.names.get(id).map_or_else(|| format!("w{id}"), |name| (*name).to_owned());
        let vocab: Map<String, Value> = (0..self.vocab).map(|id| (word(id), json!(id))).collect();
        let [first, last] = [special.first, special.last].map(|id| special.names[id]);
        let of = |name: &str, id: usize| json!({ "id": name, "ids": [id], "tokens": [name] });
        let token = |name: &str, segment: usize| json!({ "SpecialToken": { "id": name, "type_id": segment } });
        let text = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
        let unknown = special.names[if special.pad == 0 { 1 } else { 3 }];
        json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": { "type": "WhitespaceSplit" },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [token(first, 0), text("A"), token(last, self.last_segment())],
                "pair": [text("A"), text("B")],
                "special_tokens": { first: of(first, special.first), last: of(last, special.last) },
            },
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": unknown },
        })
    }

    /// The last token is of another segment, where there is one, so that segments show.
    fn last_segment(&self) -> usize {
        usize::from(self.kind == "bert" && self.types > 1)
    }

    /// The tokens of a text, as [`Made::tokenizer`] must give them.
    pub fn tokens(&self, prompt: &str, text: &str) -> Tokens {
        let special = self.special();
        let id = |word: &str| match special.names.iter().position(|name| *name == word) {
            Some(id) => id,
            None => word.strip_prefix('w').unwrap().parse().unwrap(),
        };
        let whole = format!("{prompt}{text}");
        let words = whole.split_whitespace().map(id).take(self.max_length - 2);
        let ids: Vec<usize> = std::iter::once(special.first).chain(words).chain([special.last]).collect();
        let mut types = vec![0; ids.len()];
        types[ids.len() - 1] = self.last_segment();
        Tokens { ids, types, prompt: if prompt.is_empty() { 0 } else { 1 + prompt.split_whitespace().count() } }
    }

    /// Texts of one token and of many, of more than fit, and with the token that stands for padding.
    pub fn texts(&self) -> Vec<String> {
        let mut random = Random(self.seed ^ 0xbeef);
        let mut words = |count: usize| {
            let word = |_| format!("w{}", 4 + (random.next() as usize) % (self.vocab - 4));
            (0..count).map(word).collect::<Vec<_>>().join(" ")
        };
        let pad = self.special().names[self.special().pad];
        let mut texts =
            vec![words(1), words(2), words(13), words(13), words(self.max_length), words(2 * self.max_length)];
        texts.push(format!("{pad} {} {pad} {pad} {}", words(3), words(4)));
        texts
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Shapes { list: Vec::new(), prefix: self.prefix, old_names: self.old_names };
        match self.kind {
            "modernbert" => self.modern(&mut shapes),
            _ => self.classic(&mut shapes),
        }
        shapes.list
    }

    fn classic(&self, shapes: &mut Shapes) {
        let (hidden, wide) = (self.hidden, self.intermediate);
        shapes.add("embeddings.word_embeddings.weight", &[self.vocab, hidden]);
        shapes.add("embeddings.position_embeddings.weight", &[self.positions(), hidden]);
        if !["mpnet", "distilbert"].contains(&self.kind) {
            shapes.add("embeddings.token_type_embeddings.weight", &[self.types, hidden]);
        }
        if self.kind == "mpnet" {
            shapes.add("encoder.relative_attention_bias.weight", &[32, self.heads]);
        }
        shapes.norm("embeddings.LayerNorm", hidden, true);
        let (stem, parts) = match self.kind {
            "distilbert" => (
                "transformer.layer",
                "attention.q_lin attention.k_lin attention.v_lin attention.out_lin sa_layer_norm \
                 ffn.lin1 ffn.lin2 output_layer_norm",
            ),
            "mpnet" => (
                "encoder.layer",
                "attention.attn.q attention.attn.k attention.attn.v attention.attn.o attention.LayerNorm \
                 intermediate.dense output.dense output.LayerNorm",
            ),
            _ => (
                "encoder.layer",
                "attention.self.query attention.self.key attention.self.value attention.output.dense \
                 attention.output.LayerNorm intermediate.dense output.dense output.LayerNorm",
            ),
        };
        for layer in 0..self.layers {
            for (place, part) in parts.split_whitespace().enumerate() {
                let name = format!("{stem}.{layer}.{part}");
                match place {
                    4 | 7 => shapes.norm(&name, hidden, true),
                    5 => shapes.linear(&name, hidden, wide, true),
                    6 => shapes.linear(&name, wide, hidden, true),
                    _ => shapes.linear(&name, hidden, hidden, true),
                }
            }
        }
    }

    fn modern(&self, shapes: &mut Shapes) {
        let (hidden, wide, bias) = (self.hidden, self.intermediate, self.biases);
        shapes.add("embeddings.tok_embeddings.weight", &[self.vocab, hidden]);
        shapes.norm("embeddings.norm", hidden, bias);
        for layer in 0..self.layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            if layer > 0 {
                shapes.norm(&name("attn_norm"), hidden, bias);
            }
            shapes.linear(&name("attn.Wqkv"), hidden, 3 * hidden, bias);
            shapes.linear(&name("attn.Wo"), hidden, hidden, bias);
            shapes.norm(&name("mlp_norm"), hidden, bias);
            shapes.linear(&name("mlp.Wi"), hidden, 2 * wide, bias);
            shapes.linear(&name("mlp.Wo"), wide, hidden, bias);
        }
        shapes.norm("final_norm", hidden, bias);
    }
}

/// Names and shapes of a model's tensors.
struct Shapes {
    list: Vec<(String, Vec<usize>)>,
    prefix: &'static str,
    old_names: bool,
}

impl Shapes {
    fn add(&mut self, name: &str, shape: &[usize]) {
        let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        let name = if self.old_names { &old } else { name };
        self.list.push((format!("{}{name}", self.prefix), shape.to_vec()));
    }

    fn linear(&mut self, name: &str, from: usize, to: usize, bias: bool) {
        self.add(&format!("{name}.weight"), &[to, from]);
        self.norm_bias(name, to, bias);
    }

    fn norm(&mut self, name: &str, width: usize, bias: bool) {
        self.add(&format!("{name}.weight"), &[width]);
        self.norm_bias(name, width, bias);
    }

    fn norm_bias(&mut self, name: &str, width: usize, bias: bool) {
        if bias {
            self.add(&format!("{name}.bias"), &[width]);
        }
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From -1 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Weights of about the size that keeps signals alive: gains around 1, matrices by their width.
fn write_tensors(path: &Path, tensors: &[(String, Vec<usize>)], element: Dtype, random: &mut Random) {
    let mut values = |(name, shape): &(String, Vec<usize>)| -> Vec<u8> {
        let is_table = name.contains("embeddings.weight") || name.contains("attention_bias");
        let (center, spread) = match shape[..] {
            [_] if name.ends_with("bias") || name.ends_with("beta") => (0.0, 0.3),
            [_] => (1.0, 0.3),
            _ if is_table => (0.0, 1.0),
            _ => (0.0, (3.0 / *shape.last().unwrap() as f32).sqrt()),
        };
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|_| center + spread * random.unit());
        match element {
            Dtype::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
            Dtype::BF16 => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
            _ => values.flat_map(f32::to_le_bytes).collect(),
        }
    };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(&mut values).collect();
    let views = tensors.iter().zip(&bytes);
    let views = views.map(|((name, shape), bytes)| (name, TensorView::new(element, shape.clone(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

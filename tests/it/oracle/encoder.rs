//! The encoders: from token ids to a vector for each token.

use serde_json::Value;

use super::numbers::{activated, add, attention, layer_norm, linear};
use super::weights::Weights;
use super::{Rows, Tokens, size};

/// What the parts of a layer are called.
struct Names {
    layers: &'static str,
    attention: [&'static str; 4],
    attention_norm: &'static str,
    products: [&'static str; 2],
    norm: &'static str,
}

fn names(kind: &str) -> Names {
    let bert = Names {
        layers: "encoder.layer",
        attention: ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"],
        attention_norm: "attention.output.LayerNorm",
        products: ["intermediate.dense", "output.dense"],
        norm: "output.LayerNorm",
    };
    match kind {
        "distilbert" => Names {
            layers: "transformer.layer",
            attention: ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"],
            attention_norm: "sa_layer_norm",
            products: ["ffn.lin1", "ffn.lin2"],
            norm: "output_layer_norm",
        },
        "mpnet" => Names {
            attention: ["attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"],
            attention_norm: "attention.LayerNorm",
            ..bert
        },
        _ => bert,
    }
}

/// Devlin et al. 2018, Liu et al. 2019, Sanh et al. 2019, Song et al. 2020: normalised after each sum.
pub fn classic(kind: &str, config: &Value, weights: &Weights, tokens: &Tokens) -> Rows {
    let heads = size(config, &["num_attention_heads", "n_heads"]);
    let function = config["hidden_act"].as_str().or(config["activation"].as_str()).unwrap();
    let epsilon = config["layer_norm_eps"].as_f64().unwrap_or(1e-12);
    let biases = if kind == "mpnet" { weights.get("encoder.relative_attention_bias.weight") } else { &[] };
    let bias = |head: usize, query: usize, key: usize| match biases {
        [] => 0.0,
        _ => biases[distance_bucket(key as i64 - query as i64) * heads + head],
    };
    let names = names(kind);
    let mut states = layer_norm(weights, "embeddings.LayerNorm", epsilon, &embeddings(kind, config, weights, tokens));
    for layer in 0..size(config, &["num_hidden_layers", "n_layers"]) {
        let name = |part: &str| format!("{}.{layer}.{part}", names.layers);
        let [query, key, value, out] = names.attention.map(name);
        let parts = [query, key, value].map(|part| linear(weights, &part, &states));
        let attended = attention(heads, [&parts[0], &parts[1], &parts[2]], bias);
        let sum = add(&linear(weights, &out, &attended), &states);
        states = layer_norm(weights, &name(names.attention_norm), epsilon, &sum);
        let [up, down] = names.products.map(name);
        let between = activated(function, linear(weights, &up, &states));
        let sum = add(&linear(weights, &down, &between), &states);
        states = layer_norm(weights, &name(names.norm), epsilon, &sum);
    }
    states
}

fn embeddings(kind: &str, config: &Value, weights: &Weights, tokens: &Tokens) -> Rows {
    let width = size(config, &["hidden_size", "dim"]);
    let table = |name: &str, row: usize| &weights.get(&format!("embeddings.{name}.weight"))[row * width..][..width];
    let places = places(kind, config, &tokens.ids);
    let row = |token: usize| {
        let word = table("word_embeddings", tokens.ids[token]);
        let place = table("position_embeddings", places[token]);
        let mut sum: Vec<f64> = word.iter().zip(place).map(|(word, place)| word + place).collect();
        let segment = match kind {
            "bert" => Some(if size(config, &["type_vocab_size"]) > 1 { tokens.types[token] } else { 0 }),
            // RoBERTa's tokenizer gives no segments, so the model takes the first.
            "roberta" | "xlm-roberta" => Some(0),
            _ => None,
        };
        if let Some(segment) = segment {
            sum.iter_mut().zip(table("token_type_embeddings", segment)).for_each(|(sum, value)| *sum += value);
        }
        sum
    };
    (0..tokens.ids.len()).map(row).collect()
}

/// RoBERTa's kin count tokens from behind the padding's id, and what has that id is not counted
/// (`create_position_ids_from_input_ids`).
fn places(kind: &str, config: &Value, ids: &[usize]) -> Vec<usize> {
    if !["roberta", "xlm-roberta", "mpnet"].contains(&kind) {
        return (0..ids.len()).collect();
    }
    let pad = size(config, &["pad_token_id"]);
    let mut counted = 0;
    let place = |&id: &usize| {
        counted += usize::from(id != pad);
        if id == pad { pad } else { pad + counted }
    };
    ids.iter().map(place).collect()
}

/// `MPNetEncoder.relative_position_bucket`: 32 buckets, half of them for keys behind the query, to a distance of 128.
fn distance_bucket(distance: i64) -> usize {
    let side = if distance > 0 { 16 } else { 0 };
    let steps = distance.unsigned_abs() as usize;
    if steps < 8 {
        return side + steps;
    }
    let octaves = (steps as f32 / 8.0).ln() / (128f32 / 8.0).ln();
    side + (8 + (octaves * 8.0) as usize).min(15)
}

/// Warner et al. 2024: normalised before each product, gated, turned by position.
pub fn modern(config: &Value, weights: &Weights, ids: &[usize]) -> Rows {
    let (width, heads) = (size(config, &["hidden_size"]), size(config, &["num_attention_heads"]));
    let function = config["hidden_activation"].as_str().unwrap();
    let norm = |name: &str, rows: &[Vec<f64>]| layer_norm(weights, name, config["norm_eps"].as_f64().unwrap(), rows);
    let words = weights.get("embeddings.tok_embeddings.weight");
    let rows: Rows = ids.iter().map(|&id| words[id * width..][..width].to_vec()).collect();
    let mut states = norm("embeddings.norm", &rows);
    for layer in 0..size(config, &["num_hidden_layers"]) {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let (theta, reach) = sight(config, layer);
        let input = if layer == 0 { states.clone() } else { norm(&name("attn_norm"), &states) };
        let products = linear(weights, &name("attn.Wqkv"), &input);
        let part = |n: usize| -> Rows { products.iter().map(|row| row[n * width..(n + 1) * width].to_vec()).collect() };
        let [query, key] = [part(0), part(1)].map(|rows| turned(rows, width / heads, theta));
        let bias = |_, query: usize, key: usize| if query.abs_diff(key) > reach { f64::NEG_INFINITY } else { 0.0 };
        let attended = attention(heads, [&query, &key, &part(2)], bias);
        states = add(&states, &linear(weights, &name("attn.Wo"), &attended));

        let both = linear(weights, &name("mlp.Wi"), &norm(&name("mlp_norm"), &states));
        let half = both[0].len() / 2;
        let gated = both.iter().map(|row| {
            let (input, gate) = row.split_at(half);
            let active = input.iter().map(|&x| super::numbers::activation(function, x));
            active.zip(gate).map(|(active, gate)| active * gate).collect()
        });
        states = add(&states, &linear(weights, &name("mlp.Wo"), &gated.collect::<Rows>()));
    }
    norm("final_norm", &states)
}

/// The base of a layer's rotations, and how far a token sees: in the form of transformers 5, or that of 4.
fn sight(config: &Value, layer: usize) -> (f32, usize) {
    let is_full = match config["layer_types"].as_array() {
        Some(types) => types[layer] == "full_attention",
        None => layer.is_multiple_of(size(config, &["global_attn_every_n_layers"])),
    };
    let (kind, old) = match is_full {
        true => ("full_attention", "global_rope_theta"),
        false => ("sliding_attention", "local_rope_theta"),
    };
    let theta = config["rope_parameters"][kind]["rope_theta"].as_f64().or(config[old].as_f64()).unwrap();
    // `sliding_window` is `local_attention // 2`, and a distance of just that is seen.
    let reach = if is_full { usize::MAX } else { size(config, &["local_attention"]) / 2 };
    (theta as f32, reach)
}

/// Su et al. 2021, in transformers' arrangement: component `i` of a head is turned with `i + width / 2`. The angles are
/// f32 there.
fn turned(mut rows: Rows, width: usize, theta: f32) -> Rows {
    for (position, row) in rows.iter_mut().enumerate() {
        for head in row.chunks_exact_mut(width) {
            for pair in 0..width / 2 {
                let frequency = 1.0 / theta.powf((2 * pair) as f32 / width as f32);
                let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
                let (first, second) = (head[pair], head[pair + width / 2]);
                head[pair] = first * cosine - second * sine;
                head[pair + width / 2] = second * cosine + first * sine;
            }
        }
    }
    rows
}

//! The few operations that all encoders are made of.

use super::Rows;
use super::weights::Weights;

/// `x W^T + b`, where `name` has a weight and perhaps a bias.
pub fn linear(weights: &Weights, name: &str, input: &[Vec<f64>]) -> Rows {
    let matrix = weights.get(&format!("{name}.weight"));
    let bias = weights.find(&format!("{name}.bias"));
    input.iter().map(|row| product(matrix, bias, row)).collect()
}

fn product(matrix: &[f64], bias: Option<&[f64]>, input: &[f64]) -> Vec<f64> {
    let outputs = matrix.chunks_exact(input.len()).map(|weights| dot(weights, input));
    outputs.enumerate().map(|(output, sum)| sum + bias.map_or(0.0, |bias| bias[output])).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Ba et al. 2016, with the variance that divides by n.
pub fn layer_norm(weights: &Weights, name: &str, epsilon: f64, input: &[Vec<f64>]) -> Rows {
    let gain = weights.get(&format!("{name}.weight"));
    let bias = weights.find(&format!("{name}.bias"));
    let normalized = |row: &Vec<f64>| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scaled = row.iter().map(|value| (value - mean) / (variance + epsilon).sqrt());
        scaled.enumerate().map(|(n, value)| value * gain[n] + bias.map_or(0.0, |bias| bias[n])).collect()
    };
    input.iter().map(normalized).collect()
}

pub fn add(a: &[Vec<f64>], b: &[Vec<f64>]) -> Rows {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
}

/// Vaswani et al. 2017: `bias(head, query, key)` is added to the scores; minus infinity hides a key.
pub fn attention(
    heads: usize,
    [queries, keys, values]: [&[Vec<f64>]; 3],
    bias: impl Fn(usize, usize, usize) -> f64,
) -> Rows {
    let width = queries[0].len() / heads;
    let mut output = vec![vec![0.0; queries[0].len()]; queries.len()];
    for head in 0..heads {
        let part = head * width..(head + 1) * width;
        for (query, row) in queries.iter().enumerate() {
            let score = |(key, other): (usize, &Vec<f64>)| {
                dot(&row[part.clone()], &other[part.clone()]) / (width as f64).sqrt() + bias(head, query, key)
            };
            let scores: Vec<f64> = keys.iter().enumerate().map(score).collect();
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
            let total: f64 = shares.iter().sum();
            for (share, value) in shares.iter().zip(values) {
                for n in part.clone() {
                    output[query][n] += share / total * value[n];
                }
            }
        }
    }
    output
}

/// The functions that transformers' `ACT2FN` has under these names, and `torch.nn` under those.
pub fn activation(name: &str, x: f64) -> f64 {
    match name {
        "gelu" | "GELU" => 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        "relu" | "ReLU" => x.max(0.0),
        "silu" | "swish" | "SiLU" => x / (1.0 + (-x).exp()),
        "Tanh" => x.tanh(),
        "Sigmoid" => 1.0 / (1.0 + (-x).exp()),
        "Identity" => x,
        other => panic!("{other}"),
    }
}

pub fn activated(name: &str, mut rows: Rows) -> Rows {
    rows.iter_mut().flatten().for_each(|value| *value = activation(name, *value));
    rows
}

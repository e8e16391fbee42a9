//! Each kernel against sums in f64, and every level of instructions against every other, bit by bit.

use proptest::prelude::*;

use super::attention::{self, Attention, attention};
use super::functions::{Activation, erf, exp};
use super::linear::{self, Linear, Weights, linear};
use super::norm::{Norm, add_and_normalize};
use super::{Level, pack};

/// Numbers from -1 to 1, the same for the same seed.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.f32() * 2.0 - 1.0).collect()
}

fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_here())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// What a function of this room should be.
type Function = fn(f64) -> f64;

/// A product of a shape with random weights, owned.
struct Made {
    from: usize,
    to: usize,
    matrix: Vec<f32>,
    integers: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
    bias: Vec<f32>,
    floats: Vec<f32>,
    bytes: Vec<u8>,
}

impl Made {
    fn new(seed: u64, from: usize, to: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let integers: Vec<i8> = (0..from * to).map(|_| random.i8(-64..64)).collect();
        let matrix = numbers(seed + 1, from * to);
        Self {
            from,
            to,
            scales: numbers(seed + 2, to).iter().map(|scale| 0.02 + scale.abs() / 50.0).collect(),
            sums: pack::column_sums(&integers, to),
            bias: numbers(seed + 3, to),
            floats: pack::pack_floats(&matrix, from, to),
            bytes: pack::pack_bytes(&integers, from, to),
            matrix,
            integers,
        }
    }

    fn linear(&self, in_bytes: bool, activation: Activation) -> Linear<'_> {
        let weights = match in_bytes {
            true => Weights::Bytes { packed: &self.bytes, scales: &self.scales, sums: &self.sums },
            false => Weights::Floats(&self.floats),
        };
        Linear { from: self.from, to: self.to, weights, bias: Some(&self.bias), activation }
    }

    fn run(&self, level: Level, in_bytes: bool, activation: Activation, input: &[f32]) -> Vec<f32> {
        let mut output = vec![f32::NAN; input.len() / self.from * self.to];
        linear(level, &self.linear(in_bytes, activation), input, &mut output, &mut linear::Scratch::default());
        output
    }

    /// The product in f64, with a weight for each row and column.
    fn expected(&self, input: &[f32], weight: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let row = |row: &[f32]| -> Vec<f64> {
            let column = |column: usize| {
                let sum: f64 = (0..self.from).map(|i| f64::from(row[i]) * weight(i, column)).sum();
                sum + f64::from(self.bias[column])
            };
            (0..self.to).map(column).collect()
        };
        input.chunks(self.from).flat_map(row).collect()
    }
}

#[track_caller]
fn near(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (place, (&found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(found) - expected).abs() <= tolerance, "at {place}: {found} is not {expected}");
    }
}

#[test]
fn a_product_is_the_sum_of_products() {
    for (from, to, rows) in [(8, 5, 1), (48, 64, 6), (37, 130, 13), (384, 70, 245)] {
        let made = Made::new(from as u64, from, to);
        let input = numbers(9, rows * from);
        let found = made.run(Level::best(), false, Activation::Identity, &input);
        near(&found, &made.expected(&input, |i, c| f64::from(made.matrix[i * to + c])), 1e-4);
        let found = made.run(Level::best(), true, Activation::Identity, &input);
        let weight = |i: usize, c: usize| f64::from(made.integers[i * to + c]) * f64::from(made.scales[c]);
        // An input is off by half a step of 1/127 at most, as often up as down.
        near(&found, &made.expected(&input, weight), 2.0 * (from as f64).sqrt() / 127.0);
    }
}

/// Bytes stand for the least, the greatest and the middle of a row exactly: here the sums are those of the integers.
#[test]
fn a_row_of_whole_steps_loses_nothing() {
    let made = Made::new(3, 6, 3);
    let input = [0.0, 127.0, -127.0, 64.0, 1.0, -3.0];
    let weight = |i: usize, c: usize| f64::from(made.integers[i * 3 + c]) * f64::from(made.scales[c]);
    near(&made.run(Level::best(), true, Activation::Identity, &input), &made.expected(&input, weight), 1e-3);
    let flat = [0.25; 6];
    near(&made.run(Level::best(), true, Activation::Identity, &flat), &made.expected(&flat, weight), 1e-5);
}

#[test]
fn what_is_no_number_stays_none() {
    let made = Made::new(3, 20, 3);
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut input = numbers(1, 40);
        input[7] = odd;
        for in_bytes in [false, true] {
            let found = made.run(Level::best(), in_bytes, Activation::Identity, &input);
            assert!(found[..3].iter().all(|value| !value.is_finite()) && found[3..].iter().all(|v| v.is_finite()));
        }
    }
    for huge in [[f32::MAX, -f32::MAX], [1e-45, 0.0]] {
        let input: Vec<f32> = huge.repeat(10);
        assert!(made.run(Level::best(), true, Activation::Identity, &input).iter().all(|value| !value.is_nan()));
    }
}

#[test]
fn functions_are_right_to_some_units_in_the_last_place() {
    for step in -40_000..=40_000 {
        let x = step as f32 / 2_000.0;
        let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
        assert!((found / expected - 1.0).abs() < 2.5e-7, "exp({x}) = {found}, not {expected}");
        let (found, expected) = (f64::from(erf(x)), libm::erf(f64::from(x)));
        assert!((found - expected).abs() < 4e-7, "erf({x}) = {found}, not {expected}");
    }
    assert!(exp(f32::NAN).is_nan() && erf(f32::NAN).is_nan());
    assert!(exp(-1e9) < 1e-37 && exp(f32::INFINITY) > 1e38);
    let expected: [(Activation, Function); 6] = [
        (Activation::Gelu, |x| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()))),
        (Activation::GeluTanh, |x| 0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x * x * x)).tanh())),
        (Activation::Relu, |x| x.max(0.0)),
        (Activation::Silu, |x| x / (1.0 + (-x).exp())),
        (Activation::Tanh, f64::tanh),
        (Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
    ];
    for (activation, expected) in expected {
        for step in -300..=300 {
            let x = step as f32 / 25.0;
            let mut found = [x; 16];
            activation.apply(&mut found);
            assert!((f64::from(found[3]) - expected(f64::from(x))).abs() < 2e-6, "{activation:?}({x}) = {}", found[3]);
        }
    }
}

/// `softmax(q k' / sqrt(d) + bias) v` in f64.
fn expected_attention(text: &Attention<'_>, tokens: usize) -> Vec<f64> {
    let (hidden, dim) = (text.hidden, text.hidden / text.heads);
    let part = |token: usize, which: usize, component: usize| {
        f64::from(text.products[token * 3 * hidden + which * hidden + component])
    };
    let mut output = vec![0.0; tokens * hidden];
    for head in 0..text.heads {
        let components = head * dim..(head + 1) * dim;
        for query in 0..tokens {
            let score = |key: usize| {
                let product: f64 = components.clone().map(|c| part(query, 0, c) * part(key, 1, c)).sum();
                let bias = text.bias.map_or(0.0, |bias| f64::from(bias[(head * tokens + query) * tokens + key]));
                (product / (dim as f64).sqrt() + bias).exp()
            };
            let scores: Vec<f64> = (0..tokens).map(score).collect();
            let total: f64 = scores.iter().sum();
            for c in components.clone() {
                let sum: f64 = scores.iter().enumerate().map(|(key, score)| score * part(key, 2, c)).sum();
                output[query * hidden + c] = sum / total;
            }
        }
    }
    output
}

#[test]
fn attention_is_the_weighted_mean_of_the_values() {
    for (heads, dim, tokens) in [(1, 4, 1), (2, 24, 7), (3, 32, 65), (1, 96, 130), (2, 64, 18)] {
        let hidden = heads * dim;
        let (products, bias) = (numbers(4, tokens * 3 * hidden), numbers(5, heads * tokens * tokens));
        for bias in [None, Some(&*bias)] {
            let text = Attention { heads, hidden, products: &products, bias };
            let mut output = vec![f32::NAN; tokens * hidden];
            attention(Level::best(), &text, &mut output, &mut attention::Scratch::default());
            near(&output, &expected_attention(&text, tokens), 1e-5);
        }
    }
}

#[test]
fn rows_are_normalised_to_mean_and_variance() {
    let (width, rows) = (37, 5);
    let (input, residual) = (numbers(1, rows * width), numbers(2, rows * width));
    let (gain, bias) = (numbers(3, width), numbers(4, width));
    let mut output = vec![0.0; rows * width];
    let norm = Norm { gain: &gain, bias: &bias, epsilon: 1e-12 };
    add_and_normalize(Level::best(), &norm, &input, &residual, &mut output);
    let expected = input.chunks(width).zip(residual.chunks(width)).flat_map(|(input, residual)| {
        let sums: Vec<f64> = input.iter().zip(residual).map(|(a, b)| f64::from(*a) + f64::from(*b)).collect();
        let mean = sums.iter().sum::<f64>() / width as f64;
        let variance = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / width as f64;
        let normal = |(place, sum): (usize, &f64)| {
            (sum - mean) / variance.sqrt() * f64::from(gain[place]) + f64::from(bias[place])
        };
        sums.iter().enumerate().map(normal).collect::<Vec<f64>>()
    });
    near(&output, &expected.collect::<Vec<f64>>(), 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Instructions, and the rows beside a row, change no bit of it.
    #[test]
    fn no_bit_shows_the_instructions_or_the_neighbours(
        seed: u64,
        from in 1_usize..200,
        to in 1_usize..200,
        rows in 1_usize..260,
        in_bytes: bool,
        activation in prop::sample::select(&Activation::ALL[..]),
    ) {
        let seed = seed / 2;
        let made = Made::new(seed, from, to);
        let input = numbers(seed + 5, rows * from);
        let expected = made.run(Level::Portable, in_bytes, activation, &input);
        for level in levels() {
            prop_assert!(bits(&made.run(level, in_bytes, activation, &input)) == bits(&expected), "{level}");
        }
        let row = rows / 2;
        let alone = made.run(Level::best(), in_bytes, activation, &input[row * from..][..from]);
        prop_assert_eq!(bits(&alone), bits(&expected[row * to..][..to]));
    }

    #[test]
    fn no_bit_of_attention_shows_the_instructions(
        seed: u64,
        heads in 1_usize..4,
        dim in 1_usize..80,
        tokens in 1_usize..90,
        biased: bool,
    ) {
        let seed = seed / 2;
        let hidden = heads * dim;
        let (products, bias) = (numbers(seed, tokens * 3 * hidden), numbers(seed + 1, heads * tokens * tokens));
        let text = Attention { heads, hidden, products: &products, bias: biased.then_some(&*bias) };
        let run = |level| {
            let mut output = vec![f32::NAN; tokens * hidden];
            // Scratch that another text was computed with.
            let mut scratch = attention::Scratch::default();
            let long = Attention { heads: 1, hidden: 8, products: &numbers(1, 24 * 100), bias: None };
            attention(level, &long, &mut [0.0; 800], &mut scratch);
            attention(level, &text, &mut output, &mut scratch);
            let mut normal = vec![0.0; tokens * hidden];
            let (gain, offset) = (numbers(2, hidden), numbers(3, hidden));
            let norm = Norm { gain: &gain, bias: &offset, epsilon: 1e-12 };
            add_and_normalize(level, &norm, &output, &products[..tokens * hidden], &mut normal);
            output.extend(normal);
            bits(&output)
        };
        let expected = run(Level::Portable);
        for level in levels() {
            prop_assert!(run(level) == expected, "{}", level);
        }
    }
}

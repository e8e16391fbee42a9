//! Layer normalisation of a sum: `(x + r - mean) / sqrt(variance + epsilon) gain + bias`, each row by itself.

use super::lanes::sum;
use super::level::dispatched;
use super::tile::Instructions;

/// The gain, the bias and what is added to the variance.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// A factor for each number of a row.
    pub gain: &'a [f32],
    /// What is added to each.
    pub bias: &'a [f32],
    /// What is added to the variance.
    pub epsilon: f32,
}

dispatched! {
    /// Normalises the rows of `input + residual` into `output`.
    ///
    /// # Panics
    /// Where the lengths of slices do not fit.
    pub fn add_and_normalize(norm: &Norm<'_>, input: &[f32], residual: &[f32], output: &mut [f32]) = body
}

#[inline(always)]
fn body<I: Instructions>(norm: &Norm<'_>, input: &[f32], residual: &[f32], output: &mut [f32]) {
    let width = norm.gain.len();
    assert!(norm.bias.len() == width && input.len() == residual.len() && input.len() == output.len());
    assert!(input.len().is_multiple_of(width), "rows of {width}");
    let rows = input.chunks_exact(width).zip(residual.chunks_exact(width));
    for ((input, residual), output) in rows.zip(output.chunks_exact_mut(width)) {
        for ((output, input), residual) in output.iter_mut().zip(input).zip(residual) {
            *output = input + residual;
        }
        let mean = sum(output, |value| value) / width as f32;
        let variance = sum(output, |value| (value - mean) * (value - mean)) / width as f32;
        let scale = 1.0 / (variance + norm.epsilon).sqrt();
        for ((output, gain), bias) in output.iter_mut().zip(norm.gain).zip(norm.bias) {
            *output = ((*output - mean) * scale).mul_add(*gain, *bias);
        }
    }
}

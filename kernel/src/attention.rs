//! Self-attention of the tokens of one text: `softmax(Q K' / sqrt(d) + bias) V`, head by head.

use super::functions::exp;
use super::lanes::{greatest, sum};
use super::level::dispatched;
use super::pack::PANEL;
use super::tile::{Instructions, ROWS, Tile, WIDTH, WIDTHS};

/// What is kept between texts, so that memory is not asked for anew.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The keys of a head in panels of 64 tokens, each with its components in order.
    keys: Vec<f32>,
    /// The values of a head, a token behind the other, filled up to a multiple of 16 components.
    values: Vec<f32>,
    /// The scores of some tokens.
    scores: Vec<f32>,
}

/// One text.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Heads.
    pub heads: usize,
    /// Components of a token, all heads together.
    pub hidden: usize,
    /// For each token its queries, keys and values: `tokens x 3 hidden`.
    pub products: &'a [f32],
    /// What is added to the scores, `heads x tokens x tokens`.
    pub bias: Option<&'a [f32]>,
}

dispatched! {
    /// Computes `output`, `tokens x hidden`.
    ///
    /// # Panics
    /// Where the lengths of slices do not fit.
    pub fn attention(text: &Attention<'_>, output: &mut [f32], scratch: &mut Scratch) = body
}

#[inline(always)]
fn body<I: Instructions>(text: &Attention<'_>, output: &mut [f32], scratch: &mut Scratch) {
    let Attention { heads, hidden, products, bias } = *text;
    let tokens = output.len() / hidden;
    assert!(hidden.is_multiple_of(heads) && output.len() == tokens * hidden && products.len() == 3 * output.len());
    assert!(bias.is_none_or(|bias| bias.len() == heads * tokens * tokens), "a bias for each pair of tokens");
    for head in 0..heads {
        let bias = bias.map(|bias| &bias[head * tokens * tokens..][..tokens * tokens]);
        one_head::<I>(
            Head { at: head * hidden / heads, dim: hidden / heads, hidden, tokens, bias },
            products,
            output,
            scratch,
        );
    }
}

/// Which components of the tokens a head has.
#[derive(Clone, Copy)]
struct Head<'a> {
    at: usize,
    dim: usize,
    hidden: usize,
    tokens: usize,
    bias: Option<&'a [f32]>,
}

#[inline(always)]
fn one_head<I: Instructions>(head: Head<'_>, products: &[f32], output: &mut [f32], scratch: &mut Scratch) {
    let Head { at, hidden, tokens, .. } = head;
    let stride = 3 * hidden;
    gather(head, products, scratch);
    let padded = tokens.next_multiple_of(WIDTH);
    scratch.scores.resize(ROWS * padded, 0.0);
    for first in (0..tokens).step_by(ROWS) {
        let queries = &products[first * stride + at..];
        let output = &mut output[first * hidden..];
        match tokens - first {
            5 => some_tokens::<I, 5>(head, first, queries, output, scratch),
            4 => some_tokens::<I, 4>(head, first, queries, output, scratch),
            3 => some_tokens::<I, 3>(head, first, queries, output, scratch),
            2 => some_tokens::<I, 2>(head, first, queries, output, scratch),
            1 => some_tokens::<I, 1>(head, first, queries, output, scratch),
            _ => some_tokens::<I, ROWS>(head, first, queries, output, scratch),
        }
    }
}

/// Lays the keys and values of a head out for the tiles.
#[inline(always)]
fn gather(head: Head<'_>, products: &[f32], scratch: &mut Scratch) {
    let Head { at, dim, hidden, tokens, .. } = head;
    let width = dim.next_multiple_of(WIDTH);
    // Only what lies beyond the last token and component is read without being written here.
    scratch.keys.clear();
    scratch.keys.resize(tokens.next_multiple_of(PANEL) * dim, 0.0);
    scratch.values.clear();
    scratch.values.resize(tokens * width, 0.0);
    for (token, products) in products.chunks_exact(3 * hidden).enumerate() {
        let panel = &mut scratch.keys[token / PANEL * PANEL * dim..];
        for (component, &key) in products[hidden + at..][..dim].iter().enumerate() {
            panel[component * PANEL + token % PANEL] = key;
        }
        scratch.values[token * width..][..dim].copy_from_slice(&products[2 * hidden + at..][..dim]);
    }
}

/// `R` tokens from `first` on.
#[inline(always)]
fn some_tokens<I: Instructions, const R: usize>(
    head: Head<'_>,
    first: usize,
    queries: &[f32],
    output: &mut [f32],
    scratch: &mut Scratch,
) {
    let Head { at, dim, hidden, tokens, bias } = head;
    let padded = tokens.next_multiple_of(WIDTH);
    let Scratch { keys, values, scores } = scratch;
    let stride = 3 * hidden;
    for (panel, keys) in keys.chunks_exact(PANEL * dim).enumerate() {
        let first = panel * PANEL;
        match (padded - first).min(PANEL) / WIDTH {
            4 => I::floats_into::<R, 4>(dim, queries, stride, keys, PANEL, &mut scores[first..], padded),
            3 => I::floats_into::<R, 3>(dim, queries, stride, keys, PANEL, &mut scores[first..], padded),
            2 => I::floats_into::<R, 2>(dim, queries, stride, keys, PANEL, &mut scores[first..], padded),
            _ => I::floats_into::<R, 1>(dim, queries, stride, keys, PANEL, &mut scores[first..], padded),
        }
    }
    let scale = 1.0 / (dim as f32).sqrt();
    let mut weights = [0.0; R];
    for (row, (scores, weight)) in scores.chunks_exact_mut(padded).zip(&mut weights).enumerate() {
        let bias = bias.map(|bias| &bias[(first + row) * tokens..][..tokens]);
        *weight = 1.0 / softmax(scores, tokens, scale, bias);
    }
    let width = dim.next_multiple_of(WIDTH);
    for start in (0..width).step_by(PANEL) {
        let (values, output) = (&values[start..], &mut output[at + start..]);
        let columns = dim - start;
        match (width - start).min(PANEL) / WIDTH {
            4 => weighted(
                &I::floats::<R, WIDTHS>(tokens, scores, padded, values, width),
                &weights,
                output,
                hidden,
                columns,
            ),
            3 => weighted(&I::floats::<R, 3>(tokens, scores, padded, values, width), &weights, output, hidden, columns),
            2 => weighted(&I::floats::<R, 2>(tokens, scores, padded, values, width), &weights, output, hidden, columns),
            _ => weighted(&I::floats::<R, 1>(tokens, scores, padded, values, width), &weights, output, hidden, columns),
        }
    }
}

/// Writes a tile, each row times its weight, into rows of the output.
#[inline(always)]
fn weighted<const R: usize, const W: usize>(
    tile: &Tile<f32, R, W>,
    weights: &[f32; R],
    output: &mut [f32],
    stride: usize,
    columns: usize,
) {
    let columns = columns.min(W * WIDTH);
    for (row, (tile, weight)) in tile.iter().zip(weights).enumerate() {
        let output = &mut output[row * stride..][..columns];
        output.iter_mut().zip(tile.as_flattened()).for_each(|(output, value)| *output = value * weight);
    }
}

/// Makes `exp(scale score + bias - greatest)` of a row's scores, and zeros of what is beyond its tokens; gives their sum.
#[inline(always)]
fn softmax(scores: &mut [f32], tokens: usize, scale: f32, bias: Option<&[f32]>) -> f32 {
    // Where nothing is added the scale goes with the exponential.
    let scale = match bias {
        Some(bias) => {
            scores.iter_mut().zip(bias).for_each(|(score, bias)| *score = score.mul_add(scale, *bias));
            1.0
        }
        None => scale,
    };
    let greatest = greatest(&scores[..tokens]);
    for score in scores.iter_mut() {
        *score = exp((*score - greatest) * scale);
    }
    scores[tokens..].fill(0.0);
    sum(scores, |value| value)
}

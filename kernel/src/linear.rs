//! `activation(x W + b)` for rows of f32, by weights of f32 or of int8.
//!
//! With weights of int8 each row is made of bytes by its own extremes: `x = step q + middle`, q from -127 to 127. With w
//! from -64 to 63, stored as `w + 64`, an element is
//! `scale (step (sum q (w + 64) - 64 sum q) + middle sum w) + b`, of which all three sums are exact.

use super::functions::{Activation, ROUND};
use super::lanes::extremes;
use super::level::dispatched;
use super::pack::{self, GROUP, OFFSET, PANEL};
use super::tile::{Instructions, ROWS, Tile, WIDTHS};

/// Rows that one pass over the panels serves: so often the weights come from a farther cache, and so much memory the bytes
/// of rows take. Measured no slower than a third of it, and a little faster on long runs.
const BLOCK: usize = 120 * ROWS;

/// Weights of one product, packed as `pack` says.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// Of f32.
    Floats(&'a [f32]),
    /// Of int8.
    Bytes {
        /// The weights.
        packed: &'a [u8],
        /// A scale for each column.
        scales: &'a [f32],
        /// The sum of each column, unscaled.
        sums: &'a [f32],
    },
}

/// A product with what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Numbers of a row.
    pub from: usize,
    /// Numbers of a result's row.
    pub to: usize,
    /// The weights.
    pub weights: Weights<'a>,
    /// What is added to each row, if anything.
    pub bias: Option<&'a [f32]>,
    /// What is done to each number then.
    pub activation: Activation,
}

/// What is kept between products, so that memory is not asked for anew.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<i8>,
    rows: Vec<Quantized>,
}

/// What a row's bytes stand for.
#[derive(Clone, Copy, Debug, Default)]
struct Quantized {
    step: f32,
    middle: f32,
    sum: i32,
}

dispatched! {
    /// Computes `output`, rows of `to` numbers, from `input`, as many rows of `from` numbers.
    ///
    /// # Panics
    /// Where the lengths of slices do not fit.
    pub fn linear(linear: &Linear<'_>, input: &[f32], output: &mut [f32], scratch: &mut Scratch) = body
}

#[inline(always)]
fn body<I: Instructions>(linear: &Linear<'_>, input: &[f32], output: &mut [f32], scratch: &mut Scratch) {
    let Linear { from, to, weights, bias, .. } = *linear;
    let rows = input.len() / from;
    assert!(input.len() == rows * from && output.len() == rows * to, "rows of {from} do not become rows of {to}");
    assert!(bias.is_none_or(|bias| bias.len() == to), "a bias for each of {to} columns");
    for (input, output) in input.chunks(BLOCK * from).zip(output.chunks_mut(BLOCK * to)) {
        match weights {
            Weights::Floats(packed) => {
                assert_eq!(packed.len(), pack::floats(from, to), "{from} x {to} packed weights");
                for (panel, packed) in packed.chunks_exact(from * PANEL).enumerate() {
                    floats::<I>(linear, panel, packed, input, output);
                }
            }
            Weights::Bytes { packed, scales, sums } => {
                let width = from.next_multiple_of(GROUP);
                assert_eq!(packed.len(), pack::bytes(from, to), "{from} x {to} packed weights");
                assert!(scales.len() == to && sums.len() == to, "a scale and a sum for each of {to} columns");
                quantize(input, from, width, scratch);
                for (panel, packed) in packed.chunks_exact(width * PANEL).enumerate() {
                    bytes::<I>(linear, panel, packed, scales, sums, scratch, output);
                }
            }
        }
    }
}

/// Makes bytes of rows.
#[inline(always)]
fn quantize(input: &[f32], from: usize, width: usize, scratch: &mut Scratch) {
    let rows = input.len() / from;
    scratch.bytes.clear();
    scratch.bytes.resize(rows * width, 0);
    scratch.rows.clear();
    for (row, bytes) in input.chunks_exact(from).zip(scratch.bytes.chunks_exact_mut(width)) {
        scratch.rows.push(quantize_row(row, bytes));
    }
}

#[inline(always)]
fn quantize_row(row: &[f32], bytes: &mut [i8]) -> Quantized {
    let (least, greatest, odd) = extremes(row);
    if odd {
        // What is no number must not become one.
        return Quantized { step: f32::NAN, middle: f32::NAN, sum: 0 };
    }
    // Halves first: the range of finite numbers may be none.
    let (middle, half) = (0.5 * least + 0.5 * greatest, 0.5 * greatest - 0.5 * least);
    let step = half / 127.0;
    let inverse = if half > 0.0 { 127.0 / half } else { 0.0 };
    if !inverse.is_finite() {
        return Quantized { step: 0.0, middle, sum: 0 };
    }
    let mut sum = 0i32;
    for (byte, value) in bytes.iter_mut().zip(row) {
        let integer = ((value - middle) * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
        *byte = integer as i8;
        sum += integer;
    }
    Quantized { step, middle, sum }
}

/// One panel's columns of all rows.
#[inline(always)]
fn floats<I: Instructions>(linear: &Linear<'_>, panel: usize, packed: &[f32], input: &[f32], output: &mut [f32]) {
    let Linear { from, to, .. } = *linear;
    let end = Panel::of(linear, panel);
    for (input, output) in input.chunks(ROWS * from).zip(output.chunks_mut(ROWS * to)) {
        match input.len() / from {
            ROWS => end.write(&I::floats::<ROWS, WIDTHS>(from, input, from, packed, PANEL), output),
            5 => end.write(&I::floats::<5, WIDTHS>(from, input, from, packed, PANEL), output),
            4 => end.write(&I::floats::<4, WIDTHS>(from, input, from, packed, PANEL), output),
            3 => end.write(&I::floats::<3, WIDTHS>(from, input, from, packed, PANEL), output),
            2 => end.write(&I::floats::<2, WIDTHS>(from, input, from, packed, PANEL), output),
            _ => end.write(&I::floats::<1, WIDTHS>(from, input, from, packed, PANEL), output),
        }
    }
}

/// The same by bytes.
#[inline(always)]
fn bytes<I: Instructions>(
    linear: &Linear<'_>,
    panel: usize,
    packed: &[u8],
    scales: &[f32],
    sums: &[f32],
    scratch: &Scratch,
    output: &mut [f32],
) {
    let end = Panel::of(linear, panel);
    let columns = Columns { scales: padded(scales, panel), sums: padded(sums, panel) };
    let width = linear.from.next_multiple_of(GROUP);
    let groups = width / GROUP;
    let rows = scratch.bytes.chunks(ROWS * width).zip(scratch.rows.chunks(ROWS));
    for ((input, rows), output) in rows.zip(output.chunks_mut(ROWS * linear.to)) {
        match rows.len() {
            ROWS => end.write_scaled(&I::bytes::<ROWS>(groups, input, width, packed), rows, &columns, output),
            5 => end.write_scaled(&I::bytes::<5>(groups, input, width, packed), rows, &columns, output),
            4 => end.write_scaled(&I::bytes::<4>(groups, input, width, packed), rows, &columns, output),
            3 => end.write_scaled(&I::bytes::<3>(groups, input, width, packed), rows, &columns, output),
            2 => end.write_scaled(&I::bytes::<2>(groups, input, width, packed), rows, &columns, output),
            _ => end.write_scaled(&I::bytes::<1>(groups, input, width, packed), rows, &columns, output),
        }
    }
}

/// What sums of bytes stand for in the columns of a panel.
struct Columns {
    scales: [f32; PANEL],
    sums: [f32; PANEL],
}

/// Where the columns of a panel go, and what is done to them first.
struct Panel {
    first: usize,
    columns: usize,
    to: usize,
    bias: [f32; PANEL],
    activation: Activation,
}

impl Panel {
    #[inline(always)]
    fn of(linear: &Linear<'_>, panel: usize) -> Self {
        let first = panel * PANEL;
        Self {
            first,
            columns: PANEL.min(linear.to - first),
            to: linear.to,
            bias: linear.bias.map_or([0.0; PANEL], |bias| padded(bias, panel)),
            activation: linear.activation,
        }
    }

    #[inline(always)]
    fn write<const R: usize>(&self, tile: &Tile<f32, R, WIDTHS>, output: &mut [f32]) {
        for (tile, output) in tile.iter().zip(output.chunks_exact_mut(self.to)) {
            let sums = tile.as_flattened();
            self.put(output, |column| sums[column] + self.bias[column]);
        }
    }

    #[inline(always)]
    fn write_scaled<const R: usize>(
        &self,
        tile: &Tile<i32, R, WIDTHS>,
        rows: &[Quantized],
        columns: &Columns,
        output: &mut [f32],
    ) {
        for ((tile, row), output) in tile.iter().zip(rows).zip(output.chunks_exact_mut(self.to)) {
            let (sums, offset) = (tile.as_flattened(), OFFSET * row.sum);
            self.put(output, |column| {
                let product = (sums[column] - offset) as f32;
                let value = row.step.mul_add(product, row.middle * columns.sums[column]);
                columns.scales[column].mul_add(value, self.bias[column])
            });
        }
    }

    /// Puts the activated values of the panel's columns into a row of the output.
    #[inline(always)]
    fn put(&self, output: &mut [f32], value: impl Fn(usize) -> f32) {
        let mut values = [0.0; PANEL];
        for (column, slot) in values.iter_mut().enumerate() {
            *slot = value(column);
        }
        self.activation.apply(&mut values);
        match self.columns {
            PANEL => output[self.first..][..PANEL].copy_from_slice(&values),
            columns => output[self.first..][..columns].copy_from_slice(&values[..columns]),
        }
    }
}

/// A panel's part of what there is for each column, filled up with zeros.
#[inline(always)]
fn padded(values: &[f32], panel: usize) -> [f32; PANEL] {
    let values = &values[panel * PANEL..];
    let mut padded = [0.0; PANEL];
    let columns = values.len().min(PANEL);
    padded[..columns].copy_from_slice(&values[..columns]);
    padded
}

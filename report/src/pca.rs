//! The plane on which vectors lie most apart: their first two principal components.
//!
//! Subspace iteration with Rayleigh-Ritz steps (Saad, Numerical Methods for Large Eigenvalue Problems, chapter 5), from
//! start vectors that are always the same, in sums whose order is always the same: one input gives the same bits on every
//! machine. The covariance is never made; each round reads the rows once, so that memory stays that of the input.

mod symmetric;

use symmetric::eigen;

/// Vectors that are iterated beside the two that are asked for: rounds then shrink the error by the ratio of the tenth
/// eigenvalue to the second, where it were that of the third.
const SPARE: usize = 8;
/// Rounds at most. Where the second and the tenth eigenvalue are that close, any of their directions is as good.
const ROUNDS: usize = 300;
/// What may remain of C q - l q, as a part of the largest eigenvalue.
const RESIDUAL: f64 = 1e-9;
/// A variance that is this part of the mean square, or less, is what rounding made of none.
const NO_VARIANCE: f64 = 1e-20;

/// Rows on the plane of their first two principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// Where each row is, measured from the mean, in the vectors' own unit.
    pub points: Vec<[f32; 2]>,
    /// The shares of the whole variance, 0 to 1, that lie along the two axes.
    pub explained: [f64; 2],
}

/// Projects `vectors` (`n x dim`, row-major) on their first two principal components.
///
/// None for fewer than 3 rows, where rows do not vary, where a number is not finite, or where `vectors` is not a whole
/// number of rows. An axis points to where its largest coordinate is positive. One thread; a round costs `20 n dim`
/// multiplications, and some tens of rounds are usual.
pub fn project(vectors: &[f32], dim: usize) -> Option<Projection> {
    let rows = Rows::new(vectors, dim)?;
    let (axes, explained) = rows.principal();
    let point = |row: &[f64]| std::array::from_fn(|axis| axes.get(axis).map_or(0.0, |axis| dot(row, axis)) as f32);
    let mut points = Vec::with_capacity(vectors.len() / dim);
    rows.each_centred(|row| points.push(point(row)));
    Some(Projection { points, explained })
}

struct Rows<'a> {
    values: &'a [f32],
    mean: Vec<f64>,
    /// The sum of the squares of all centred values.
    spread: f64,
}

impl<'a> Rows<'a> {
    fn new(values: &'a [f32], dim: usize) -> Option<Self> {
        let whole = dim > 0 && values.len().is_multiple_of(dim) && values.len() / dim >= 3;
        if !whole || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let mut mean = vec![0.0; dim];
        for row in values.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let count = (values.len() / dim) as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut rows = Self { values, mean, spread: 0.0 };
        let mut spread = 0.0;
        rows.each_centred(|row| spread += dot(row, row));
        rows.spread = spread;
        let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        (spread > NO_VARIANCE * squares).then_some(rows)
    }

    fn each_centred(&self, mut take: impl FnMut(&[f64])) {
        let mut centred = vec![0.0; self.mean.len()];
        for row in self.values.chunks_exact(self.mean.len()) {
            for ((centred, value), mean) in centred.iter_mut().zip(row).zip(&self.mean) {
                *centred = f64::from(*value) - mean;
            }
            take(&centred);
        }
    }

    /// The scatter matrix (the covariance times the number of rows) times each vector.
    fn scatter(&self, vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut images = vec![vec![0.0; self.mean.len()]; vectors.len()];
        self.each_centred(|row| {
            for (vector, image) in vectors.iter().zip(&mut images) {
                add(image, dot(row, vector), row);
            }
        });
        images
    }

    /// The first two axes (one, if rows have one number) and the shares of the variance along them.
    fn principal(&self) -> (Vec<Vec<f64>>, [f64; 2]) {
        let width = self.mean.len().min(2 + SPARE);
        let mut basis = orthonormal((0..width).map(|index| start(index, self.mean.len())).collect());
        let mut round = 0;
        loop {
            let image = self.scatter(&basis);
            let (values, turn) = eigen(&products(&basis, &image));
            let (axes, image) = (turned(&basis, &turn), turned(&image, &turn));
            round += 1;
            if round == ROUNDS || settled(&axes, &image, &values) {
                let share = |axis: usize| values.get(axis).map_or(0.0, |value| (value / self.spread).clamp(0.0, 1.0));
                return (axes.into_iter().take(2).map(pointed).collect(), [share(0), share(1)]);
            }
            basis = orthonormal(image);
        }
    }
}

fn settled(axes: &[Vec<f64>], images: &[Vec<f64>], values: &[f64]) -> bool {
    let within = RESIDUAL * values[0];
    axes.iter().zip(images).zip(values).take(2).all(|((axis, image), value)| {
        let square: f64 = axis.iter().zip(image).map(|(axis, image)| (image - value * axis).powi(2)).sum();
        square.sqrt() <= within
    })
}

/// An axis and its opposite are the same; the one is taken whose largest coordinate, the first of equals, is positive.
fn pointed(mut axis: Vec<f64>) -> Vec<f64> {
    let largest = axis.iter().fold(0.0f64, |largest, value| if value.abs() > largest.abs() { *value } else { largest });
    if largest < 0.0 {
        axis.iter_mut().for_each(|value| *value = -*value);
    }
    axis
}

/// A start vector that has a part along every axis: SplitMix64's numbers, which no data was made to avoid.
fn start(index: usize, dim: usize) -> Vec<f64> {
    let number = |at: usize| {
        let mut z = ((index * dim + at + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..dim).map(number).collect()
}

/// An orthonormal basis of what the vectors span, by Gram and Schmidt, twice over; a vector that lies in what those before
/// it span gives way to a direction that does not.
fn orthonormal(vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(vectors.len());
    let mut fresh = 0;
    for vector in vectors {
        let mut found = outside(&basis, vector);
        while found.is_none() {
            let mut unit = vec![0.0; basis[0].len()];
            unit[fresh] = 1.0;
            fresh += 1;
            found = outside(&basis, unit);
        }
        basis.extend(found);
    }
    basis
}

/// What of a vector is orthogonal to the basis, at length 1; none where that is nothing but rounding.
fn outside(basis: &[Vec<f64>], mut vector: Vec<f64>) -> Option<Vec<f64>> {
    let length = dot(&vector, &vector).sqrt();
    for _ in 0..2 {
        for known in basis {
            let along = dot(&vector, known);
            add(&mut vector, -along, known);
        }
    }
    let rest = dot(&vector, &vector).sqrt();
    if rest <= 1e-10 * length {
        return None;
    }
    vector.iter_mut().for_each(|value| *value /= rest);
    Some(vector)
}

/// The products of all of one with all of the other, made symmetric.
fn products(one: &[Vec<f64>], other: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let product = |i: usize, j: usize| (dot(&one[i], &other[j]) + dot(&one[j], &other[i])) / 2.0;
    (0..one.len()).map(|i| (0..one.len()).map(|j| product(i, j)).collect()).collect()
}

/// Vector `j` of the result is the sum of all vectors, each `i` times `turn[j][i]`.
fn turned(vectors: &[Vec<f64>], turn: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let combine = |factors: &Vec<f64>| {
        let mut sum = vec![0.0; vectors[0].len()];
        factors.iter().zip(vectors).for_each(|(factor, vector)| add(&mut sum, *factor, vector));
        sum
    };
    turn.iter().map(combine).collect()
}

fn add(sum: &mut [f64], factor: f64, vector: &[f64]) {
    sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += factor * value);
}

/// In eight sums side by side, which a processor can add at once and which come out the same wherever it does not.
fn dot(one: &[f64], other: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (ones, others) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest: f64 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (one, other) in ones.zip(others) {
        for lane in 0..8 {
            sums[lane] += one[lane] * other[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests;

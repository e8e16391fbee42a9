//! From token vectors to one vector per text, and to length 1: in a fixed order, so that equal inputs give equal bits.
//!
//! Batches are not padded, so every token counts. Sums are kept in f64: the result is then the nearest f32 whatever
//! the length, and no order of additions that a compiler may choose shows in it.

use crate::manifest::config::Pooling;

/// Pools the `tokens x dim` (row-major) vectors of one text.
pub(super) fn pool(pooling: Pooling, tokens: &[f32], dim: usize) -> Vec<f32> {
    match pooling {
        Pooling::Mean => mean(tokens, dim),
        Pooling::Cls => tokens.chunks_exact(dim).next().map_or_else(|| vec![0.0; dim], <[f32]>::to_vec),
        Pooling::LastToken => tokens.chunks_exact(dim).next_back().map_or_else(|| vec![0.0; dim], <[f32]>::to_vec),
        Pooling::Max => max(tokens, dim),
    }
}

fn mean(tokens: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0f64; dim];
    for token in tokens.chunks_exact(dim) {
        sums.iter_mut().zip(token).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = (tokens.len() / dim).max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

fn max(tokens: &[f32], dim: usize) -> Vec<f32> {
    let mut rows = tokens.chunks_exact(dim);
    let mut top = rows.next().map_or_else(|| vec![0.0; dim], <[f32]>::to_vec);
    for token in rows {
        // Not f32::max, which would hide a NaN from the check for finite vectors.
        top.iter_mut().zip(token).for_each(|(top, &value)| {
            if value.is_nan() || value > *top {
                *top = value;
            }
        });
    }
    top
}

/// Scales to length 1; a vector of zeros stays as it is.
pub(super) fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [f32; 6] = [1.0, -4.0, 3.0, -2.0, 2.0, 0.0];

    #[test]
    fn each_pooling_takes_its_tokens() {
        assert_eq!(pool(Pooling::Mean, &TOKENS, 2), [2.0, -2.0]);
        assert_eq!(pool(Pooling::Cls, &TOKENS, 2), [1.0, -4.0]);
        assert_eq!(pool(Pooling::Max, &TOKENS, 2), [3.0, 0.0]);
        assert_eq!(pool(Pooling::LastToken, &TOKENS, 2), [2.0, 0.0]);
    }

    #[test]
    fn max_keeps_a_nan_visible() {
        for tokens in [[1.0, f32::NAN, 2.0], [1.0, 2.0, f32::NAN], [f32::NAN, 1.0, 2.0]] {
            assert!(pool(Pooling::Max, &tokens, 1)[0].is_nan());
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let (mut zeros, mut vector) = ([0.0; 3], [3.0, 4.0]);
        normalize(&mut zeros);
        normalize(&mut vector);
        assert_eq!((zeros, vector), ([0.0; 3], [0.6, 0.8]));
    }
}

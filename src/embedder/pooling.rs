//! From token vectors to one vector per text, and to length 1: in a fixed order, so that equal inputs give equal bits.
//!
//! For graphs that give token vectors; a graph of our own pools by itself. Batches are not padded, so every token
//! counts, except those of a prompt that the model leaves out. Sums are kept in f64: the result is then the nearest f32 whatever
//! the length, and no order of additions that a compiler may choose shows in it.

use crate::manifest::config::Pooling;

/// Pools the `tokens x dim` (row-major) vectors of one text, without its first `skipped` tokens.
pub(super) fn pool(pooling: Pooling, tokens: &[f32], dim: usize, skipped: usize) -> Vec<f32> {
    let kept = tokens.get(skipped * dim..).unwrap_or_default();
    let count = (kept.len() / dim) as f64;
    match pooling {
        Pooling::Mean => weighted_sum(kept, dim, |_| 1.0, count),
        Pooling::MeanSqrtLen => weighted_sum(kept, dim, |_| 1.0, count.sqrt()),
        Pooling::WeightedMean => {
            let weight = |token: usize| (skipped + token + 1) as f64;
            weighted_sum(kept, dim, weight, (0..kept.len() / dim).map(weight).sum())
        }
        Pooling::Cls => kept.chunks_exact(dim).next().map_or_else(|| vec![0.0; dim], <[f32]>::to_vec),
        Pooling::LastToken => tokens.chunks_exact(dim).next_back().map_or_else(|| vec![0.0; dim], <[f32]>::to_vec),
        Pooling::Max => max(kept, dim),
    }
}

fn weighted_sum(tokens: &[f32], dim: usize, weight: impl Fn(usize) -> f64, divisor: f64) -> Vec<f32> {
    let mut sums = vec![0f64; dim];
    for (place, token) in tokens.chunks_exact(dim).enumerate() {
        let weight = weight(place);
        sums.iter_mut().zip(token).for_each(|(sum, &value)| *sum += weight * f64::from(value));
    }
    // No token at all gives zeros, not a division by nothing.
    let divisor = if divisor > 0.0 { divisor } else { 1.0 };
    sums.into_iter().map(|sum| (sum / divisor) as f32).collect()
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
        let pooled = |pooling| pool(pooling, &TOKENS, 2, 0);
        assert_eq!(pooled(Pooling::Mean), [2.0, -2.0]);
        assert_eq!(pooled(Pooling::Cls), [1.0, -4.0]);
        assert_eq!(pooled(Pooling::Max), [3.0, 0.0]);
        assert_eq!(pooled(Pooling::LastToken), [2.0, 0.0]);
        assert_eq!(pooled(Pooling::MeanSqrtLen), [3.464_101_6, -3.464_101_6]);
        assert_eq!(pooled(Pooling::WeightedMean), [13.0 / 6.0, -8.0 / 6.0]);
    }

    #[test]
    fn a_prompt_may_be_left_out() {
        let pooled = |pooling| pool(pooling, &TOKENS, 2, 1);
        assert_eq!(pooled(Pooling::Mean), [2.5, -1.0]);
        assert_eq!(pooled(Pooling::Cls), [3.0, -2.0]);
        assert_eq!(pooled(Pooling::LastToken), [2.0, 0.0]);
        // The weights stay those of the places in the whole text.
        assert_eq!(pooled(Pooling::WeightedMean), [12.0 / 5.0, -4.0 / 5.0]);
        assert_eq!(pool(Pooling::Mean, &TOKENS, 2, 9), [0.0, 0.0]);
    }

    #[test]
    fn max_keeps_a_nan_visible() {
        for tokens in [[1.0, f32::NAN, 2.0], [1.0, 2.0, f32::NAN], [f32::NAN, 1.0, 2.0]] {
            assert!(pool(Pooling::Max, &tokens, 1, 0)[0].is_nan());
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

//! Weights as int8: symmetric, one scale for each output of a matrix, from -64 to 63 in steps of it.
//!
//! Seven bits, not eight: where a processor has no VNNI, products of unsigned and signed bytes are added in pairs of 16
//! bits, and 2 x 255 x 64 is the most that fits. With eight bits the same model would saturate there, and give other
//! vectors than elsewhere; with seven every processor computes the same integers.

/// The largest magnitude of a quantised weight.
const LARGEST: f32 = 63.0;

/// What [`rows`] does, as the graph's metadata states it: whoever changes the one changes the other.
pub(super) const SCHEME: &str =
    "int8, 7 bits, symmetric, one scale per output, scale = max|w| / 63, round half to even";

/// Quantises each row of `width` values; gives the integers and a scale for each row.
pub(super) fn rows(values: &[f32], width: usize) -> (Vec<i8>, Vec<f32>) {
    let scales: Vec<f32> = values.chunks_exact(width).map(scale).collect();
    let rows = values.chunks_exact(width).zip(&scales);
    let integers = rows.flat_map(|(row, scale)| row.iter().map(move |value| (value / scale).round_ties_even() as i8));
    (integers.collect(), scales)
}

/// A row of zeros is kept as zeros, whatever the scale.
fn scale(row: &[f32]) -> f32 {
    let largest = row.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    if largest > 0.0 { largest / LARGEST } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_weight_of_a_row_takes_all_seven_bits() {
        let (integers, scales) = rows(&[1.1, -2.0, 0.5, 0.0, 0.0, 0.0], 3);
        assert_eq!(integers, [35, -63, 16, 0, 0, 0]);
        assert_eq!(scales, [2.0 / 63.0, 1.0]);
    }

    proptest! {
        /// No weight is further from its integer than half a step, and none leaves seven bits.
        #[test]
        fn a_weight_is_within_half_a_step(values in prop::collection::vec(-8f32..8.0, 1..40)) {
            let (integers, scales) = rows(&values, values.len());
            for (value, &integer) in values.iter().zip(&integers) {
                prop_assert!((-63..=63).contains(&integer));
                prop_assert!((value - f32::from(integer) * scales[0]).abs() <= scales[0] * 0.5001);
            }
        }
    }
}

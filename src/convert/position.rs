//! Numbers that say where a token stands: rotations for ModernBERT, buckets of distance for MPNet.
//!
//! Sines and logarithms come from `libm`, which is plain code: those of the system differ in their last bit between
//! machines, and a graph must be the same bytes everywhere.

/// Cosines and sines of the rotary embedding, each `positions x (width / 2)`, as transformers computes them in f32.
///
/// Su et al. 2021, "RoFormer": the angle of pair `i` at position `p` is `p / theta^(2 i / width)`.
pub(super) fn rotations(theta: f32, width: usize, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let frequencies: Vec<f32> =
        (0..width / 2).map(|pair| 1.0 / libm::powf(theta, (2 * pair) as f32 / width as f32)).collect();
    let angles = (0..positions).flat_map(|position| frequencies.iter().map(move |f| position as f32 * f));
    angles.map(|angle| (libm::cos(f64::from(angle)) as f32, libm::sin(f64::from(angle)) as f32)).unzip()
}

/// Distance beyond which MPNet tells tokens apart no more (transformers: `max_distance` of
/// `relative_position_bucket`, never overridden).
const MAX_DISTANCE: f32 = 128.0;

/// The bucket of each distance `key - query`, from `-(positions - 1)` to `positions - 1`.
///
/// T5's scheme (Raffel et al. 2020), both directions: near distances have a bucket each, far ones share them by the
/// logarithm. In f32, as transformers has it: at powers of two the rounding decides.
pub(super) fn distance_buckets(buckets: usize, positions: usize) -> Vec<usize> {
    let half = buckets / 2;
    let exact = half / 2;
    let last = positions as i64 - 1;
    let bucket = |distance: i64| {
        let behind = if distance > 0 { half } else { 0 };
        let steps = distance.unsigned_abs() as usize;
        if steps < exact {
            return behind + steps;
        }
        let far = libm::logf(steps as f32 / exact as f32) / libm::log(f64::from(MAX_DISTANCE) / exact as f64) as f32;
        behind + (exact + (far * (half - exact) as f32) as usize).min(half - 1)
    };
    (-last..=last).map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of transformers' `MPNetEncoder.relative_position_bucket(distance, num_buckets=32)`.
    #[test]
    fn buckets_are_those_of_transformers() {
        let buckets = distance_buckets(32, 300);
        let of = |distance: i64| buckets[(distance + 299) as usize];
        let expected = [
            (0, 0),
            (-1, 1),
            (-7, 7),
            (-8, 8),
            (-11, 8),
            (-12, 9),
            (-16, 10),
            (-32, 12),
            (-64, 14),
            (-127, 15),
            (-299, 15),
            (1, 17),
            (7, 23),
            (8, 24),
            (16, 26),
            (128, 31),
            (299, 31),
        ];
        for (distance, bucket) in expected {
            assert_eq!(of(distance), bucket, "distance {distance}");
        }
    }

    #[test]
    fn the_first_position_is_not_turned() {
        let (cosines, sines) = rotations(10_000.0, 4, 2);
        assert_eq!((&cosines[..2], &sines[..2]), (&[1.0, 1.0][..], &[0.0, 0.0][..]));
        assert!((cosines[2] - 1f32.cos()).abs() < 1e-7 && (sines[3] - 0.01f32.sin()).abs() < 1e-9);
    }
}

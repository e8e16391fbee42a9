//! Sums and extremes over a row in sixteen lanes, folded in one order whatever the width of a processor's registers.

/// Lanes that a row is summed in.
pub const LANES: usize = 16;

/// Adds up `term(value)` over the values: value n goes to lane n mod 16, and lanes are folded in halves.
#[inline(always)]
pub fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    fold(lanes(values, 0.0, |lane, value| lane + term(value)), |a, b| a + b)
}

/// The least and the greatest of the values, and whether any is not a finite number; infinities of the other sign for none.
#[inline(always)]
pub fn extremes(values: &[f32]) -> (f32, f32, bool) {
    let least = lanes(values, f32::INFINITY, |lane, value| if value < lane { value } else { lane });
    let greatest = greatest(values);
    // A finite number times zero is zero, and anything else is no number.
    let odd = lanes(values, 0.0, |lane, value| lane + value * 0.0);
    let least = fold(least, |a, b| if b < a { b } else { a });
    (least, greatest, fold(odd, |a, b| a + b) != 0.0)
}

/// The greatest of the values; infinity below zero for none.
#[inline(always)]
pub fn greatest(values: &[f32]) -> f32 {
    let lanes = lanes(values, f32::NEG_INFINITY, |lane, value| if value > lane { value } else { lane });
    fold(lanes, |a, b| if b > a { b } else { a })
}

/// Joins value n into lane n mod 16. One pass for each kind of join: a loop over several is not made into wide instructions.
#[inline(always)]
fn lanes(values: &[f32], empty: f32, join: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut lanes = [empty; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = join(lanes[lane], chunk[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, *value);
    }
    lanes
}

/// Joins the lanes, halves first.
#[inline(always)]
pub(crate) fn fold(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

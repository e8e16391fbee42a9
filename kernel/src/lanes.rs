//! Sums and extremes over a row in sixteen lanes, folded in one order whatever the width of a processor's registers.

/// Lanes that a row is summed in.
pub const LANES: usize = 16;

/// Adds up `term(value)` over the values: value n goes to lane n mod 16, and lanes are folded in halves.
#[inline(always)]
pub fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += term(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += term(*value);
    }
    fold(lanes, |a, b| a + b)
}

/// The least and the greatest of the values, and whether any is not a finite number; infinities of the other sign for none.
#[inline(always)]
pub fn extremes(values: &[f32]) -> (f32, f32, bool) {
    let (mut least, mut greatest) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    // A finite number less itself is zero, and nothing else is.
    let mut odd = [0.0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut see = |chunk: &[f32]| {
        for (lane, &value) in chunk.iter().enumerate() {
            least[lane] = if value < least[lane] { value } else { least[lane] };
            greatest[lane] = if value > greatest[lane] { value } else { greatest[lane] };
            odd[lane] += value - value;
        }
    };
    chunks.iter().for_each(|chunk| see(chunk));
    see(rest);
    let least = fold(least, |a, b| if b < a { b } else { a });
    let greatest = fold(greatest, |a, b| if b > a { b } else { a });
    (least, greatest, fold(odd, |a, b| a + b) != 0.0)
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

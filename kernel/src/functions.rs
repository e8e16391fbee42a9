//! The exponential and the activations, the same bits everywhere: a standard library's `exp` is not.
//!
//! Polynomials in fused multiply-adds, without a branch, so that a compiler makes vector instructions of a loop over them.

#![expect(clippy::excessive_precision, reason = "the coefficients stand as they were published")]

/// Adding it to a float below 2^22 rounds that to an integer, half to even, and leaves the integer in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// What an activation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// None.
    Identity,
    /// `x/2 (1 + erf(x/sqrt 2))`, as `gelu` in torch.
    Gelu,
    /// GELU by the hyperbolic tangent, as `gelu_new` in transformers.
    GeluTanh,
    /// `max(x, 0)`
    Relu,
    /// `x / (1 + exp(-x))`
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
}

impl Activation {
    /// All of them; an operator knows one by its place here.
    pub const ALL: [Self; 7] =
        [Self::Identity, Self::Gelu, Self::GeluTanh, Self::Relu, Self::Silu, Self::Tanh, Self::Sigmoid];

    /// Applies it to each value.
    #[inline(always)]
    pub fn apply<const N: usize>(self, values: &mut [f32; N]) {
        let each = |values: &mut [f32; N], f: fn(f32) -> f32| values.iter_mut().for_each(|value| *value = f(*value));
        match self {
            Self::Identity => {}
            Self::Gelu => values.iter_mut().for_each(|value| *value = gelu(*value)),
            Self::GeluTanh => values.iter_mut().for_each(|value| *value = gelu_tanh(*value)),
            Self::Relu => each(values, |value| if value < 0.0 { 0.0 } else { value }),
            Self::Silu => values.iter_mut().for_each(|value| *value *= sigmoid(*value)),
            Self::Tanh => values.iter_mut().for_each(|value| *value = tanh(*value)),
            Self::Sigmoid => values.iter_mut().for_each(|value| *value = sigmoid(*value)),
        }
    }
}

/// `e^x` to two units in the last place; from -87 down it stays at `e^-87`, from 88 up at `e^88`.
///
/// The reduction and the polynomial are those of Cephes' `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_375, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_15e-4f32;
    p = p.mul_add(r, 1.398_199_950_7e-3);
    p = p.mul_add(r, 8.333_451_907_3e-3);
    p = p.mul_add(r, 4.166_579_589_4e-2);
    p = p.mul_add(r, 1.666_666_545_9e-1);
    p = p.mul_add(r, 5.000_000_120_1e-1);
    let y = p.mul_add(r * r, r) + 1.0;
    // 2^n by its exponent: the low bits of `shifted` are n.
    y * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// The error function, to a few units in the last place: a quotient of polynomials over [-4, 4], as in Eigen's `erf`.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut p = -2.726_142_258_013_06e-10f32;
    p = p.mul_add(square, 2.770_681_424_959_02e-8);
    p = p.mul_add(square, -2.101_024_020_825_08e-6);
    p = p.mul_add(square, -5.692_506_394_623_46e-5);
    p = p.mul_add(square, -7.349_906_303_268_55e-4);
    p = p.mul_add(square, -2.954_599_808_540_25e-3);
    p = p.mul_add(square, -1.609_603_332_624_15e-2);
    let mut q = -1.456_607_184_649_96e-5f32;
    q = q.mul_add(square, -2.133_740_552_789_05e-4);
    q = q.mul_add(square, -1.682_826_974_380_03e-3);
    q = q.mul_add(square, -7.373_329_167_204_68e-3);
    q = q.mul_add(square, -1.426_473_905_141_89e-2);
    x * p / q
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    let half = 0.5 * x;
    half.mul_add(erf(x * std::f32::consts::FRAC_1_SQRT_2), half)
}

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, where `(1 + tanh u)/2` is the sigmoid of `2u`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    let cubic = (0.044_715 * x * x).mul_add(x, x);
    x * sigmoid(1.595_769_1 * cubic)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    2.0f32.mul_add(sigmoid(2.0 * x), -1.0)
}

//! How the components of a vector are written: stored in two element types, published in five, and fewer components than the embedder gave.
//!
//! | dtype | a component | written as |
//! |---|---|---|
//! | `f32` | IEEE single precision | `FixedSizeList<Float32>[dim]` |
//! | `f16` | IEEE half precision | `FixedSizeList<Float16>[dim]` |
//! | `bf16` | the upper half of an `f32` | `FixedSizeList<UInt16>[dim]` |
//! | `i8` | -127 to 127, times the row's `scale` | `FixedSizeList<Int8>[dim]`, and a column `scale` |
//! | `binary` | whether it is above zero | `FixedSizeList<UInt8>[ceil(dim / 8)]`, the first component in the highest bit |
//!
//! Rounding is to nearest, ties to even, as IEEE 754 has it. The scale of `i8` is the largest magnitude of the row / 127:
//! symmetric, so that zero stays zero and inner products need no correction. The bits of `binary` are those of NumPy's
//! `packbits(vectors > 0)`. A function of the vector alone, in pure code: equal vectors, equal bytes.

use std::fmt;

use half::{bf16, f16};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The element type of stored vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE half precision, 2 bytes.
    F16,
    /// IEEE single precision, 4 bytes.
    F32,
}

impl Dtype {
    /// Bytes per component.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SetDtype::of(*self).fmt(f)
    }
}

/// Largest code of an `i8` component.
const MAX_CODE: f32 = 127.0;

/// The element type of published vectors, the widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetDtype {
    /// IEEE single precision, 4 bytes a component.
    F32,
    /// IEEE half precision, 2 bytes.
    F16,
    /// An `f32` without its lower half, 2 bytes: less precise than `f16`, with the range of `f32`.
    Bf16,
    /// Integers and a scale, 1 byte a component and 4 a row.
    I8,
    /// Signs, 1 bit.
    Binary,
}

impl SetDtype {
    /// All of them, the widest first.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::I8, Self::Binary];

    /// The type that keeps what is stored.
    pub const fn of(stored: Dtype) -> Self {
        match stored {
            Dtype::F16 => Self::F16,
            Dtype::F32 => Self::F32,
        }
    }

    /// Whether it would print digits that what is stored does not have.
    pub const fn widens(self, stored: Dtype) -> bool {
        matches!((self, stored), (Self::F32, Dtype::F16))
    }

    /// Elements of the column of vectors.
    pub const fn elements(self, dim: usize) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::I8 => dim,
            Self::Binary => dim.div_ceil(8),
        }
    }

    /// Bytes of a vector, without its scale.
    pub const fn vector_bytes(self, dim: usize) -> usize {
        let each = match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I8 | Self::Binary => 1,
        };
        self.elements(dim) * each
    }

    /// Whether each row has a scale.
    pub const fn has_scale(self) -> bool {
        matches!(self, Self::I8)
    }
}

impl fmt::Display for SetDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::Binary => "binary",
        })
    }
}

/// The first `dim` components of a vector, as long together as the whole vector was: models trained for it (Kusupati et
/// al. 2022, Matryoshka representation learning) put what matters most there. A vector of length 1 stays one.
pub fn shortened(vector: &[f32], dim: usize) -> Vec<f32> {
    let length = |vector: &[f32]| vector.iter().map(|component| f64::from(*component).powi(2)).sum::<f64>().sqrt();
    let kept = &vector[..dim.min(vector.len())];
    let (whole, part) = (length(vector), length(kept));
    let factor = if part > 0.0 { whole / part } else { 0.0 };
    kept.iter().map(|component| (f64::from(*component) * factor) as f32).collect()
}

/// Appends a vector in little-endian order, and gives its scale: 1 where the type has none.
pub fn encode(vector: &[f32], dtype: SetDtype, bytes: &mut Vec<u8>) -> f32 {
    match dtype {
        SetDtype::F32 => vector.iter().for_each(|it| bytes.extend_from_slice(&it.to_le_bytes())),
        SetDtype::F16 => vector.iter().for_each(|it| bytes.extend_from_slice(&f16::from_f32(*it).to_le_bytes())),
        SetDtype::Bf16 => vector.iter().for_each(|it| bytes.extend_from_slice(&bf16::from_f32(*it).to_le_bytes())),
        SetDtype::I8 => return encode_i8(vector, bytes),
        SetDtype::Binary => bytes.extend(vector.chunks(8).map(|eight| {
            let bit = |(at, component): (usize, &f32)| u8::from(*component > 0.0) << (7 - at);
            eight.iter().enumerate().map(bit).sum::<u8>()
        })),
    }
    1.0
}

/// Appends a vector as it is published: its first `dim` components, encoded. Gives its scale, as [`encode`] does.
pub fn publish(vector: &[f32], dim: usize, dtype: SetDtype, bytes: &mut Vec<u8>) -> f32 {
    if dim < vector.len() { encode(&shortened(vector, dim), dtype, bytes) } else { encode(vector, dtype, bytes) }
}

fn encode_i8(vector: &[f32], bytes: &mut Vec<u8>) -> f32 {
    let largest = vector.iter().fold(0f32, |largest, component| largest.max(component.abs()));
    let scale = largest / MAX_CODE;
    // Of a scale that is no normal number nothing is left to divide by.
    if !scale.is_normal() {
        bytes.extend(std::iter::repeat_n(0, vector.len()));
        return 0.0;
    }
    let code = |component: &f32| (component / scale).round_ties_even().clamp(-MAX_CODE, MAX_CODE) as i8;
    bytes.extend(vector.iter().map(|component| code(component).cast_unsigned()));
    scale
}

/// The components that bytes stand for: of `binary` 1 and -1.
pub fn decode(bytes: &[u8], scale: f32, dtype: SetDtype, dim: usize) -> Vec<f32> {
    let halves = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        SetDtype::F32 => bytes.as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it)).collect(),
        SetDtype::F16 => halves().map(|it| f16::from_le_bytes(*it).to_f32()).collect(),
        SetDtype::Bf16 => halves().map(|it| bf16::from_le_bytes(*it).to_f32()).collect(),
        SetDtype::I8 => bytes.iter().map(|it| f32::from(it.cast_signed()) * scale).collect(),
        SetDtype::Binary => {
            let sign = |at: usize| if bytes[at / 8] >> (7 - at % 8) & 1 == 1 { 1.0 } else { -1.0 };
            (0..dim.min(bytes.len() * 8)).map(sign).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn coded(vector: &[f32], dtype: SetDtype) -> (Vec<u8>, f32) {
        let mut bytes = Vec::new();
        let scale = encode(vector, dtype, &mut bytes);
        (bytes, scale)
    }

    #[test]
    fn each_type_has_its_bytes() {
        let vector = [1.0, -0.5, 0.0, 0.25, -1.0, 2.0, 0.0, 0.0, 3.0];
        for dtype in SetDtype::ALL {
            let (bytes, scale) = coded(&vector, dtype);
            assert_eq!(bytes.len(), dtype.vector_bytes(9), "{dtype}");
            assert_eq!(dtype.has_scale(), scale != 1.0, "{dtype}");
        }
        assert_eq!(coded(&vector, SetDtype::Binary).0, [0b1001_0100, 0b1000_0000], "as packbits has it");
        assert_eq!(coded(&[3.0, -1.5], SetDtype::I8), (vec![127, 192], 3.0 / 127.0));
        assert_eq!(coded(&[0.0; 3], SetDtype::I8), (vec![0; 3], 0.0));
        assert_eq!(coded(&[1.0 + f32::EPSILON], SetDtype::Bf16).0, [0x80, 0x3f]);
    }

    #[test]
    fn a_short_vector_is_as_long_as_the_whole() {
        assert_eq!(shortened(&[0.6, 0.0, 0.8], 1), [1.0]);
        assert_eq!(shortened(&[3.0, 4.0, 12.0], 2), [7.8, 10.4]);
        assert_eq!(shortened(&[0.0, 1.0], 1), [0.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is read is near what was written, and writing that again changes nothing.
        #[test]
        fn what_is_read_is_near_what_was_written(vector in prop::collection::vec(-1.0f32..1.0, 1..40)) {
            let largest = vector.iter().fold(0f32, |largest, it| largest.max(it.abs()));
            for (dtype, error) in [(SetDtype::F32, 0.0), (SetDtype::F16, 0.0005), (SetDtype::Bf16, 0.004), (SetDtype::I8, 0.004)] {
                let (bytes, scale) = coded(&vector, dtype);
                let read = decode(&bytes, scale, dtype, vector.len());
                prop_assert_eq!(read.len(), vector.len());
                for (read, written) in read.iter().zip(&vector) {
                    prop_assert!((read - written).abs() <= error * largest.max(1e-6), "{dtype}: {read} for {written}");
                }
                if dtype != SetDtype::I8 {
                    prop_assert_eq!(coded(&read, dtype), (bytes, scale));
                }
            }
            let signs = decode(&coded(&vector, SetDtype::Binary).0, 1.0, SetDtype::Binary, vector.len());
            prop_assert!(signs.iter().zip(&vector).all(|(sign, it)| (*sign > 0.0) == (*it > 0.0)));
        }
    }
}

//! The innermost loops of a search: inner products of four rows with some queries, and half precision made single.
//!
//! Component n goes to lane n mod 16 by a fused multiply-add, and the lanes are folded in halves: 16, 8, 4, 2, 1.

use super::TILE;
use crate::lanes::LANES;
use crate::tile::Portable;

/// The scores of a tile's rows, for each of `Q` queries.
pub(super) type Scores<const Q: usize> = [[f32; TILE]; Q];

/// One kind of instructions.
pub(super) trait Dots {
    /// The inner products of all rows with all queries; all are of one length.
    fn dots<const Q: usize>(rows: &[&[f32]; TILE], queries: &[&[f32]; Q]) -> Scores<Q>;

    /// Half precision as single precision.
    fn widen(halves: &[u16], values: &mut [f32]);
}

impl Dots for Portable {
    #[inline(always)]
    fn dots<const Q: usize>(rows: &[&[f32]; TILE], queries: &[&[f32]; Q]) -> Scores<Q> {
        std::array::from_fn(|query| std::array::from_fn(|row| dot(rows[row], queries[query])))
    }

    #[inline(always)]
    fn widen(halves: &[u16], values: &mut [f32]) {
        for (value, half) in values.iter_mut().zip(halves) {
            *value = widened(*half);
        }
    }
}

#[inline(always)]
fn dot(row: &[f32], query: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (row, query) in row.chunks(LANES).zip(query.chunks(LANES)) {
        for ((lane, row), query) in lanes.iter_mut().zip(row).zip(query) {
            *lane = row.mul_add(*query, *lane);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// One number of half precision as single precision, exactly (IEEE 754-2008, 3.6).
pub(super) fn widened(half: u16) -> f32 {
    let (sign, exponent, fraction) =
        (u32::from(half >> 15) << 31, u32::from(half >> 10 & 0x1f), u32::from(half & 0x3ff));
    match exponent {
        // Subnormal: a multiple of 2^-24.
        0 => f32::from_bits(sign | (fraction as f32 * f32::from_bits((127 - 24) << 23)).to_bits()),
        // What is no number stays so, and says so aloud, as processors have it.
        0x1f if fraction != 0 => f32::from_bits(sign | 0x7fc0_0000 | fraction << 13),
        0x1f => f32::from_bits(sign | 0x7f80_0000),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

/// The same in vector instructions. Every pointer stays inside a slice whose length is checked first, and each level is
/// entered only where the processor has its instructions (`level.rs`).
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Dots, LANES, Scores, TILE, widened};
    use crate::tile::{Avx2, Avx512, AvxVnni};

    impl Dots for Avx512 {
        #[inline(always)]
        fn dots<const Q: usize>(rows: &[&[f32]; TILE], queries: &[&[f32]; Q]) -> Scores<Q> {
            let dim = rows[0].len();
            assert!(rows.iter().all(|row| row.len() == dim) && queries.iter().all(|query| query.len() == dim));
            // SAFETY: this level's instructions are there, and all slices have `dim` numbers.
            unsafe { dots_512(dim, &rows.map(<[f32]>::as_ptr), &queries.map(<[f32]>::as_ptr)) }
        }

        #[inline(always)]
        fn widen(halves: &[u16], values: &mut [f32]) {
            let (halves, rest) = halves.as_chunks::<LANES>();
            let (values, last) = values.split_at_mut(halves.len() * LANES);
            for (half, value) in halves.iter().zip(values.as_chunks_mut::<LANES>().0) {
                // SAFETY: this level's instructions are there, and both have sixteen numbers.
                unsafe {
                    _mm512_storeu_ps(value.as_mut_ptr(), _mm512_cvtph_ps(_mm256_loadu_si256(half.as_ptr().cast())))
                };
            }
            last.iter_mut().zip(rest).for_each(|(value, half)| *value = widened(*half));
        }
    }

    impl Dots for Avx2 {
        #[inline(always)]
        fn dots<const Q: usize>(rows: &[&[f32]; TILE], queries: &[&[f32]; Q]) -> Scores<Q> {
            let dim = rows[0].len();
            assert!(rows.iter().all(|row| row.len() == dim) && queries.iter().all(|query| query.len() == dim));
            let rows = rows.map(<[f32]>::as_ptr);
            // SAFETY: this level's instructions are there, and all slices have `dim` numbers.
            std::array::from_fn(|query| unsafe { dots_256(dim, &rows, queries[query].as_ptr()) })
        }

        #[inline(always)]
        fn widen(halves: &[u16], values: &mut [f32]) {
            let (halves, rest) = halves.as_chunks::<8>();
            let (values, last) = values.split_at_mut(halves.len() * 8);
            for (half, value) in halves.iter().zip(values.as_chunks_mut::<8>().0) {
                // SAFETY: this level's instructions are there, and both have eight numbers.
                unsafe { _mm256_storeu_ps(value.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(half.as_ptr().cast()))) };
            }
            last.iter_mut().zip(rest).for_each(|(value, half)| *value = widened(*half));
        }
    }

    impl Dots for AvxVnni {
        #[inline(always)]
        fn dots<const Q: usize>(rows: &[&[f32]; TILE], queries: &[&[f32]; Q]) -> Scores<Q> {
            Avx2::dots(rows, queries)
        }

        #[inline(always)]
        fn widen(halves: &[u16], values: &mut [f32]) {
            Avx2::widen(halves, values);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dots_512<const Q: usize>(dim: usize, rows: &[*const f32; TILE], queries: &[*const f32; Q]) -> Scores<Q> {
        let mut sums = [[_mm512_setzero_ps(); TILE]; Q];
        let whole = dim / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: sixteen numbers from `at` are below `dim`.
            let row: [__m512; TILE] = std::array::from_fn(|row| unsafe { _mm512_loadu_ps(rows[row].add(at)) });
            for (sums, query) in sums.iter_mut().zip(queries) {
                let query = unsafe { _mm512_loadu_ps(query.add(at)) };
                for (sum, row) in sums.iter_mut().zip(row) {
                    *sum = _mm512_fmadd_ps(row, query, *sum);
                }
            }
        }
        if whole < dim {
            let mask = ((1u32 << (dim - whole)) - 1) as u16;
            // SAFETY: a masked load reads only what its mask has, which is below `dim`.
            let row: [__m512; TILE] =
                std::array::from_fn(|row| unsafe { _mm512_maskz_loadu_ps(mask, rows[row].add(whole)) });
            for (sums, query) in sums.iter_mut().zip(queries) {
                let query = unsafe { _mm512_maskz_loadu_ps(mask, query.add(whole)) };
                for (sum, row) in sums.iter_mut().zip(row) {
                    *sum = _mm512_mask3_fmadd_ps(row, query, *sum, mask);
                }
            }
        }
        sums.map(|[a, b, c, d]| fold_512(a, b, c, d))
    }

    /// The sums over the lanes of four registers, in halves.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
    fn fold_512(a: __m512, b: __m512, c: __m512, d: __m512) -> [f32; TILE] {
        // 16 to 8: [a0 + a2, a1 + a3, b0 + b2, b1 + b3] in blocks of four lanes.
        let halves = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
        let (ab, cd) = (halves(a, b), halves(c, d));
        // 8 to 4: a block for each of the four.
        let four = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
        // 4 to 2 and 2 to 1, within the blocks.
        let two = _mm512_add_ps(four, _mm512_permute_ps(four, 0b01_00_11_10));
        let one = _mm512_add_ps(two, _mm512_permute_ps(two, 0b10_11_00_01));
        let mut lanes = [0.0; LANES];
        // SAFETY: there is room for sixteen numbers.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), one) };
        [lanes[0], lanes[4], lanes[8], lanes[12]]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dots_256(dim: usize, rows: &[*const f32; TILE], query: *const f32) -> [f32; TILE] {
        let mut sums = [[_mm256_setzero_ps(); 2]; TILE];
        let whole = dim / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: sixteen numbers from `at` are below `dim`.
            let asked = unsafe { [_mm256_loadu_ps(query.add(at)), _mm256_loadu_ps(query.add(at + 8))] };
            for (sums, row) in sums.iter_mut().zip(rows) {
                let row = unsafe { [_mm256_loadu_ps(row.add(at)), _mm256_loadu_ps(row.add(at + 8))] };
                for ((sum, row), asked) in sums.iter_mut().zip(row).zip(asked) {
                    *sum = _mm256_fmadd_ps(row, asked, *sum);
                }
            }
        }
        let mut folded = [0.0; TILE];
        for ((folded, sums), row) in folded.iter_mut().zip(sums).zip(rows) {
            let mut lanes = [0.0f32; LANES];
            // SAFETY: there is room for sixteen numbers, and what is read is below `dim`.
            unsafe {
                _mm256_storeu_ps(lanes.as_mut_ptr(), sums[0]);
                _mm256_storeu_ps(lanes.as_mut_ptr().add(8), sums[1]);
                for at in whole..dim {
                    lanes[at - whole] = (*row.add(at)).mul_add(*query.add(at), lanes[at - whole]);
                }
                let eight = _mm256_add_ps(_mm256_loadu_ps(lanes.as_ptr()), _mm256_loadu_ps(lanes.as_ptr().add(8)));
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                *folded = _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
            }
        }
        folded
    }
}

//! The innermost products: some rows of one matrix with the columns of one panel of another, in registers.
//!
//! Each element is one chain along `k`, so neither the number of rows that share a tile nor the width of the registers
//! shows in it.

use super::pack::{GROUP, PANEL};

/// Rows of a tile: with 64 columns 24 of the 32 registers of AVX-512 hold sums.
pub(super) const ROWS: usize = 6;
/// Columns that are computed together where a panel is not full.
pub(super) const WIDTH: usize = 16;
/// The panel's columns in pieces of [`WIDTH`].
pub(super) const WIDTHS: usize = PANEL / WIDTH;

/// Sums of one tile.
pub(super) type Tile<T, const R: usize, const W: usize> = [[[T; WIDTH]; W]; R];

/// One kind of instructions.
pub(super) trait Instructions {
    /// `a` x `b`, where row r of `a` begins at `r * stride` and has `k` numbers, and row i of `b` at `i * step`, with `W`
    /// times 16 columns.
    fn floats<const R: usize, const W: usize>(
        k: usize,
        a: &[f32],
        stride: usize,
        b: &[f32],
        step: usize,
    ) -> Tile<f32, R, W>;

    /// The same, written to rows of `output` that begin `width` numbers apart.
    #[inline(always)]
    fn floats_into<const R: usize, const W: usize>(
        k: usize,
        a: &[f32],
        stride: usize,
        b: &[f32],
        step: usize,
        output: &mut [f32],
        width: usize,
    ) {
        let tile = Self::floats::<R, W>(k, a, stride, b, step);
        for (row, tile) in tile.iter().enumerate() {
            output[row * width..][..W * WIDTH].copy_from_slice(tile.as_flattened());
        }
    }

    /// The same of signed bytes and a panel of unsigned ones, in groups of four along `k`. Exact, for bytes of the panel up
    /// to 127: where there are no products of bytes in 32 bits, pairs are added in 16.
    fn bytes<const R: usize>(groups: usize, a: &[i8], stride: usize, panel: &[u8]) -> Tile<i32, R, WIDTHS>;
}

/// What every processor has.
pub(super) struct Portable;

impl Instructions for Portable {
    #[inline(always)]
    fn floats<const R: usize, const W: usize>(
        k: usize,
        a: &[f32],
        stride: usize,
        b: &[f32],
        step: usize,
    ) -> Tile<f32, R, W> {
        let mut sums = [[[0.0; WIDTH]; W]; R];
        for i in 0..k {
            let columns = &b[i * step..][..W * WIDTH];
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = a[row * stride + i];
                for (sum, column) in sums.as_flattened_mut().iter_mut().zip(columns) {
                    *sum = factor.mul_add(*column, *sum);
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn bytes<const R: usize>(groups: usize, a: &[i8], stride: usize, panel: &[u8]) -> Tile<i32, R, WIDTHS> {
        let mut sums = [[[0; WIDTH]; WIDTHS]; R];
        for group in 0..groups {
            let columns = &panel[group * PANEL * GROUP..][..PANEL * GROUP];
            for (row, sums) in sums.iter_mut().enumerate() {
                let factors = &a[row * stride + group * GROUP..][..GROUP];
                for (sum, column) in sums.as_flattened_mut().iter_mut().zip(columns.as_chunks::<GROUP>().0) {
                    for (&byte, &factor) in column.iter().zip(factors) {
                        *sum += i32::from(byte) * i32::from(factor);
                    }
                }
            }
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512, AvxVnni};

/// The tiles in vector instructions. Every pointer stays inside a slice whose length is checked first, and each level is
/// entered only where the processor has its instructions (`level.rs`).
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{GROUP, Instructions, PANEL, Tile, WIDTH, WIDTHS};

    /// AVX2 and FMA.
    pub struct Avx2;
    /// AVX2 with products of bytes.
    pub struct AvxVnni;
    /// AVX-512 with VNNI.
    pub struct Avx512;

    /// Panics unless all that a tile of floats reads is inside its slices.
    #[inline(always)]
    fn check_floats<const R: usize, const W: usize>(k: usize, a: &[f32], stride: usize, b: &[f32], step: usize) {
        assert!(k == 0 || a.len() >= (R - 1) * stride + k);
        assert!(k == 0 || b.len() >= (k - 1) * step + W * WIDTH);
    }

    #[inline(always)]
    fn check_bytes<const R: usize>(groups: usize, a: &[i8], stride: usize, panel: &[u8]) {
        assert!(a.len() >= (R - 1) * stride + groups * GROUP);
        assert!(panel.len() >= groups * PANEL * GROUP);
    }

    impl Instructions for Avx512 {
        #[inline(always)]
        fn floats<const R: usize, const W: usize>(
            k: usize,
            a: &[f32],
            stride: usize,
            b: &[f32],
            step: usize,
        ) -> Tile<f32, R, W> {
            check_floats::<R, W>(k, a, stride, b, step);
            let mut tile = [[[0.0; WIDTH]; W]; R];
            // SAFETY: checked, the tile has rows of W x 16, and the level is the processor's.
            unsafe { floats_512::<R, W>(k, a.as_ptr(), stride, b.as_ptr(), step, tile.as_mut_ptr().cast(), W * WIDTH) };
            tile
        }

        #[inline(always)]
        fn floats_into<const R: usize, const W: usize>(
            k: usize,
            a: &[f32],
            stride: usize,
            b: &[f32],
            step: usize,
            output: &mut [f32],
            width: usize,
        ) {
            check_floats::<R, W>(k, a, stride, b, step);
            assert!(output.len() >= (R - 1) * width + W * WIDTH);
            // SAFETY: checked, and the level is the processor's.
            unsafe { floats_512::<R, W>(k, a.as_ptr(), stride, b.as_ptr(), step, output.as_mut_ptr(), width) }
        }

        #[inline(always)]
        fn bytes<const R: usize>(groups: usize, a: &[i8], stride: usize, panel: &[u8]) -> Tile<i32, R, WIDTHS> {
            check_bytes::<R>(groups, a, stride, panel);
            // SAFETY: checked, and the level is the processor's.
            unsafe { bytes_512::<R>(groups, a.as_ptr(), stride, panel.as_ptr()) }
        }
    }

    impl Instructions for Avx2 {
        #[inline(always)]
        fn floats<const R: usize, const W: usize>(
            k: usize,
            a: &[f32],
            stride: usize,
            b: &[f32],
            step: usize,
        ) -> Tile<f32, R, W> {
            check_floats::<R, W>(k, a, stride, b, step);
            // SAFETY: checked, and the level is the processor's.
            unsafe { floats_256::<R, W>(k, a.as_ptr(), stride, b.as_ptr(), step) }
        }

        #[inline(always)]
        fn bytes<const R: usize>(groups: usize, a: &[i8], stride: usize, panel: &[u8]) -> Tile<i32, R, WIDTHS> {
            check_bytes::<R>(groups, a, stride, panel);
            // SAFETY: checked, and the level is the processor's.
            unsafe { bytes_256::<R>(groups, a.as_ptr(), stride, panel.as_ptr()) }
        }
    }

    impl Instructions for AvxVnni {
        #[inline(always)]
        fn floats<const R: usize, const W: usize>(
            k: usize,
            a: &[f32],
            stride: usize,
            b: &[f32],
            step: usize,
        ) -> Tile<f32, R, W> {
            Avx2::floats::<R, W>(k, a, stride, b, step)
        }

        #[inline(always)]
        fn bytes<const R: usize>(groups: usize, a: &[i8], stride: usize, panel: &[u8]) -> Tile<i32, R, WIDTHS> {
            check_bytes::<R>(groups, a, stride, panel);
            // SAFETY: checked, and the level is the processor's.
            unsafe { bytes_vnni_256::<R>(groups, a.as_ptr(), stride, panel.as_ptr()) }
        }
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn floats_512<const R: usize, const W: usize>(
        k: usize,
        a: *const f32,
        stride: usize,
        b: *const f32,
        step: usize,
        output: *mut f32,
        width: usize,
    ) {
        let mut sums = [[_mm512_setzero_ps(); W]; R];
        for i in 0..k {
            let mut columns = [_mm512_setzero_ps(); W];
            for (w, column) in columns.iter_mut().enumerate() {
                *column = unsafe { _mm512_loadu_ps(b.add(i * step + w * WIDTH)) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(unsafe { *a.add(row * stride + i) });
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_fmadd_ps(factor, column, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (w, sum) in sums.iter().enumerate() {
                unsafe { _mm512_storeu_ps(output.add(row * width + w * WIDTH), *sum) };
            }
        }
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn bytes_512<const R: usize>(
        groups: usize,
        a: *const i8,
        stride: usize,
        panel: *const u8,
    ) -> Tile<i32, R, WIDTHS> {
        let mut sums = [[_mm512_setzero_si512(); WIDTHS]; R];
        for group in 0..groups {
            let mut columns = [_mm512_setzero_si512(); WIDTHS];
            for (w, column) in columns.iter_mut().enumerate() {
                *column = unsafe { _mm512_loadu_si512(panel.add((group * PANEL + w * WIDTH) * GROUP).cast()) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factors = unsafe { a.add(row * stride + group * GROUP).cast::<i32>().read_unaligned() };
                let factors = _mm512_set1_epi32(factors);
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbusd_epi32(*sum, column, factors);
                }
            }
        }
        let mut tile = [[[0; WIDTH]; WIDTHS]; R];
        for (tile, sums) in tile.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            unsafe { _mm512_storeu_si512(tile.as_mut_ptr().cast(), *sums) };
        }
        tile
    }

    /// In pieces of 16 columns, each of which twelve of the sixteen registers hold.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn floats_256<const R: usize, const W: usize>(
        k: usize,
        a: *const f32,
        stride: usize,
        b: *const f32,
        step: usize,
    ) -> Tile<f32, R, W> {
        let mut tile = [[[0.0; WIDTH]; W]; R];
        for w in 0..W {
            let mut sums = [[_mm256_setzero_ps(); 2]; R];
            for i in 0..k {
                let at = unsafe { b.add(i * step + w * WIDTH) };
                let (low, high) = unsafe { (_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))) };
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = _mm256_set1_ps(unsafe { *a.add(row * stride + i) });
                    sums[0] = _mm256_fmadd_ps(factor, low, sums[0]);
                    sums[1] = _mm256_fmadd_ps(factor, high, sums[1]);
                }
            }
            for (tile, sums) in tile.iter_mut().zip(sums) {
                let at = tile[w].as_mut_ptr();
                unsafe {
                    _mm256_storeu_ps(at, sums[0]);
                    _mm256_storeu_ps(at.add(8), sums[1]);
                }
            }
        }
        tile
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn bytes_256<const R: usize>(
        groups: usize,
        a: *const i8,
        stride: usize,
        panel: *const u8,
    ) -> Tile<i32, R, WIDTHS> {
        let ones = _mm256_set1_epi16(1);
        // Pairs of products are at most 2 x 127 x 127, which 16 bits hold.
        let multiply = |sum: __m256i, column: __m256i, factors: __m256i| {
            _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(column, factors), ones))
        };
        unsafe { bytes_256_by::<R>(groups, a, stride, panel, multiply) }
    }

    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn bytes_vnni_256<const R: usize>(
        groups: usize,
        a: *const i8,
        stride: usize,
        panel: *const u8,
    ) -> Tile<i32, R, WIDTHS> {
        let multiply = |sum: __m256i, column: __m256i, factors: __m256i| _mm256_dpbusd_avx_epi32(sum, column, factors);
        unsafe { bytes_256_by::<R>(groups, a, stride, panel, multiply) }
    }

    #[inline(always)]
    unsafe fn bytes_256_by<const R: usize>(
        groups: usize,
        a: *const i8,
        stride: usize,
        panel: *const u8,
        multiply: impl Fn(__m256i, __m256i, __m256i) -> __m256i,
    ) -> Tile<i32, R, WIDTHS> {
        let mut tile = [[[0; WIDTH]; WIDTHS]; R];
        for w in 0..WIDTHS {
            let mut sums = unsafe { [[_mm256_setzero_si256(); 2]; R] };
            for group in 0..groups {
                let at = unsafe { panel.add((group * PANEL + w * WIDTH) * GROUP) };
                let (low, high) = unsafe { (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())) };
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factors = unsafe { a.add(row * stride + group * GROUP).cast::<i32>().read_unaligned() };
                    let factors = unsafe { _mm256_set1_epi32(factors) };
                    sums[0] = multiply(sums[0], low, factors);
                    sums[1] = multiply(sums[1], high, factors);
                }
            }
            for (tile, sums) in tile.iter_mut().zip(sums) {
                let at = tile[w].as_mut_ptr();
                unsafe {
                    _mm256_storeu_si256(at.cast(), sums[0]);
                    _mm256_storeu_si256(at.add(8).cast(), sums[1]);
                }
            }
        }
        tile
    }
}

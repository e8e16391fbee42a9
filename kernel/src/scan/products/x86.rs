//! The products in vector instructions. Every pointer stays inside a slice whose length is checked first, and each level is
//! entered only where the processor has its instructions (`level.rs`).

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Bf16, F16, F32, I8, LANES, Lanes, Products, Stored, TILE};
use crate::tile::{Avx2, Avx512, AvxVnni};

/// Bytes that a processor fetches at once.
const LINE: usize = 64;
/// Lanes of one register of AVX2.
const HALF: usize = LANES / 2;

/// How components become f32 in registers.
pub trait Loads {
    /// What is stored.
    type Raw: Copy + Default;
    /// Eight components, by AVX2 and F16C.
    unsafe fn eight(at: *const Self::Raw) -> __m256;
    /// Sixteen, by AVX-512.
    unsafe fn sixteen(at: *const Self::Raw) -> __m512;
    /// Those of sixteen whose bit is set, and zeros; nothing else is read.
    unsafe fn some(at: *const Self::Raw, bits: __mmask16) -> __m512;
}

impl Loads for F32 {
    type Raw = f32;
    #[inline(always)]
    unsafe fn eight(at: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn sixteen(at: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn some(at: *const f32, bits: __mmask16) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(bits, at) }
    }
}

impl Loads for F16 {
    type Raw = u16;
    #[inline(always)]
    unsafe fn eight(at: *const u16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn sixteen(at: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn some(at: *const u16, bits: __mmask16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(bits, at.cast())) }
    }
}

impl Loads for Bf16 {
    type Raw = u16;
    #[inline(always)]
    unsafe fn eight(at: *const u16) -> __m256 {
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn sixteen(at: *const u16) -> __m512 {
        unsafe { Self::some(at, !0) }
    }
    #[inline(always)]
    unsafe fn some(at: *const u16, bits: __mmask16) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(bits, at.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
}

impl Loads for I8 {
    type Raw = i8;
    #[inline(always)]
    unsafe fn eight(at: *const i8) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn sixteen(at: *const i8) -> __m512 {
        unsafe { Self::some(at, !0) }
    }
    #[inline(always)]
    unsafe fn some(at: *const i8, bits: __mmask16) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(bits, at))) }
    }
}

/// Panics unless all that is read of rows and the lanes of `Q` others is inside the slices; gives the components of a row.
#[inline(always)]
fn check<T, const Q: usize>(rows: [&[T]; TILE], lanes: usize) -> usize {
    let dim = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == dim) && lanes == dim.div_ceil(LANES) * Q, "rows as long as queries");
    dim
}

#[inline(always)]
fn check_tile(rows: &[Lanes], queries: &[Lanes]) -> usize {
    let chunks = rows.len() / TILE;
    assert!(rows.len() == chunks * TILE && queries.len() == rows.len(), "rows as long as the queries");
    chunks
}

impl Products for Avx512 {
    #[inline(always)]
    fn rows<S: Stored, const Q: usize>(rows: [&[S::Raw]; TILE], queries: &[Lanes], ahead: usize) -> [[f32; TILE]; Q] {
        let dim = check::<_, Q>(rows, queries.len());
        // SAFETY: checked, and the level is the processor's.
        unsafe { rows_512::<S, Q>(dim, rows.map(<[_]>::as_ptr), queries.as_ptr().cast(), ahead) }
    }

    #[inline(always)]
    fn tile(rows: &[Lanes], queries: &[Lanes]) -> [[f32; TILE]; TILE] {
        let chunks = check_tile(rows, queries);
        // SAFETY: checked, and the level is the processor's.
        unsafe { tile_512(chunks, rows.as_ptr().cast(), queries.as_ptr().cast()) }
    }

    #[inline(always)]
    fn widen<S: Stored>(rows: [&[S::Raw]; TILE], lanes: &mut [Lanes], ahead: usize) {
        let dim = check::<_, TILE>(rows, lanes.len());
        // SAFETY: checked, and the level is the processor's.
        unsafe { widen_512::<S>(dim, rows.map(<[_]>::as_ptr), lanes.as_mut_ptr().cast(), ahead) }
    }

    #[inline(always)]
    fn prefetch<T>(row: &[T]) {
        prefetch(row);
    }
}

impl Products for Avx2 {
    #[inline(always)]
    fn rows<S: Stored, const Q: usize>(rows: [&[S::Raw]; TILE], queries: &[Lanes], ahead: usize) -> [[f32; TILE]; Q] {
        let dim = check::<_, Q>(rows, queries.len());
        let ends = ends::<S>(rows, dim);
        let (rows, ends) = (rows.map(<[_]>::as_ptr), ends.each_ref().map(|end| end.as_ptr()));
        let mut products = [[0.0; TILE]; Q];
        for (query, products) in products.iter_mut().enumerate() {
            // SAFETY: checked, there are sixteen components of each end, and the level is the processor's.
            *products = unsafe { rows_256::<S, Q>(dim, rows, ends, queries[query..].as_ptr().cast(), ahead) };
        }
        products
    }

    #[inline(always)]
    fn tile(rows: &[Lanes], queries: &[Lanes]) -> [[f32; TILE]; TILE] {
        let chunks = check_tile(rows, queries);
        // SAFETY: checked, and the level is the processor's.
        unsafe { tile_256(chunks, rows.as_ptr().cast(), queries.as_ptr().cast()) }
    }

    #[inline(always)]
    fn widen<S: Stored>(rows: [&[S::Raw]; TILE], lanes: &mut [Lanes], ahead: usize) {
        let dim = check::<_, TILE>(rows, lanes.len());
        let ends = ends::<S>(rows, dim);
        // SAFETY: checked, there are sixteen components of each end, and the level is the processor's.
        unsafe {
            let ends = ends.each_ref().map(|end| end.as_ptr());
            widen_256::<S>(dim, rows.map(<[_]>::as_ptr), ends, lanes.as_mut_ptr().cast(), ahead);
        }
    }

    #[inline(always)]
    fn prefetch<T>(row: &[T]) {
        prefetch(row);
    }
}

impl Products for AvxVnni {
    #[inline(always)]
    fn rows<S: Stored, const Q: usize>(rows: [&[S::Raw]; TILE], queries: &[Lanes], ahead: usize) -> [[f32; TILE]; Q] {
        Avx2::rows::<S, Q>(rows, queries, ahead)
    }

    #[inline(always)]
    fn tile(rows: &[Lanes], queries: &[Lanes]) -> [[f32; TILE]; TILE] {
        Avx2::tile(rows, queries)
    }

    #[inline(always)]
    fn widen<S: Stored>(rows: [&[S::Raw]; TILE], lanes: &mut [Lanes], ahead: usize) {
        Avx2::widen::<S>(rows, lanes, ahead);
    }

    #[inline(always)]
    fn prefetch<T>(row: &[T]) {
        prefetch(row);
    }
}

#[inline(always)]
fn prefetch<T>(row: &[T]) {
    (0..size_of_val(row)).step_by(LINE).for_each(|byte| line_ahead::<_MM_HINT_T1, _>(row.as_ptr(), byte));
}

/// Asks for the line of memory so many bytes ahead, if it is there.
#[inline(always)]
fn line_ahead<const HINT: i32, T>(at: *const T, bytes: usize) {
    // SAFETY: nothing is read, and a processor that has AVX has this.
    unsafe { _mm_prefetch::<HINT>(at.cast::<i8>().wrapping_add(bytes)) };
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl")]
unsafe fn rows_512<S: Stored, const Q: usize>(
    dim: usize,
    rows: [*const S::Raw; TILE],
    queries: *const f32,
    ahead: usize,
) -> [[f32; TILE]; Q] {
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); TILE]; Q];
        let whole = dim / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            let mut lanes = [_mm512_setzero_ps(); TILE];
            for (lanes, row) in lanes.iter_mut().zip(rows) {
                line_ahead::<_MM_HINT_T0, _>(row.add(at), ahead);
                *lanes = S::sixteen(row.add(at));
            }
            add_512(&mut sums, lanes, queries.add(at * Q));
        }
        if whole < dim {
            let mut lanes = [_mm512_setzero_ps(); TILE];
            for (lanes, row) in lanes.iter_mut().zip(rows) {
                *lanes = S::some(row.add(whole), first(dim - whole));
            }
            add_512(&mut sums, lanes, queries.add(whole * Q));
        }
        let mut products = [[0.0; TILE]; Q];
        for (products, sums) in products.iter_mut().zip(sums) {
            *products = folded_512(sums);
        }
        products
    }
}

/// Adds the products of sixteen components of each row with those of each query.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl")]
unsafe fn add_512<const Q: usize>(sums: &mut [[__m512; TILE]; Q], rows: [__m512; TILE], queries: *const f32) {
    for (place, sums) in sums.iter_mut().enumerate() {
        let query = unsafe { _mm512_load_ps(queries.add(place * LANES)) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = _mm512_fmadd_ps(row, query, *sum);
        }
    }
}

/// The lowest `count` bits, of less than sixteen.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    (1 << count) - 1
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl")]
unsafe fn tile_512(chunks: usize, rows: *const f32, queries: *const f32) -> [[f32; TILE]; TILE] {
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); TILE]; TILE];
        for chunk in 0..chunks {
            let mut lanes = [_mm512_setzero_ps(); TILE];
            for (place, lanes) in lanes.iter_mut().enumerate() {
                *lanes = _mm512_load_ps(rows.add((chunk * TILE + place) * LANES));
            }
            add_512(&mut sums, lanes, queries.add(chunk * TILE * LANES));
        }
        let [a, b, c, d] = sums;
        [folded_512(a), folded_512(b), folded_512(c), folded_512(d)]
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl")]
unsafe fn widen_512<S: Stored>(dim: usize, rows: [*const S::Raw; TILE], lanes: *mut f32, ahead: usize) {
    let whole = dim / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for (place, row) in rows.into_iter().enumerate() {
            unsafe {
                line_ahead::<_MM_HINT_T0, _>(row.add(at), ahead);
                _mm512_store_ps(lanes.add(at * TILE + place * LANES), S::sixteen(row.add(at)));
            }
        }
    }
    if whole < dim {
        for (place, row) in rows.into_iter().enumerate() {
            let components = unsafe { S::some(row.add(whole), first(dim - whole)) };
            unsafe { _mm512_store_ps(lanes.add(whole * TILE + place * LANES), components) };
        }
    }
}

/// Folds the lanes of four sums, halves first.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl")]
unsafe fn folded_512([a, b, c, d]: [__m512; TILE]) -> [f32; TILE] {
    unsafe {
        let halves = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
        let (ab, cd) = (halves(a, b), halves(c, d));
        let quarters = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xdd>(ab, cd));
        let pairs = _mm512_add_ps(quarters, _mm512_permute_ps::<0x4e>(quarters));
        let ones = _mm512_add_ps(pairs, _mm512_permute_ps::<0xb1>(pairs));
        // The first lane of each quarter.
        let places = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
        let mut folded = [0.0; TILE];
        let packed = _mm512_castps512_ps128(_mm512_permutexvar_ps(places, ones));
        _mm_storeu_ps(folded.as_mut_ptr(), packed);
        folded
    }
}

/// The components of each row after its last sixteen, and zeros.
#[inline(always)]
fn ends<S: Stored>(rows: [&[S::Raw]; TILE], dim: usize) -> [[S::Raw; LANES]; TILE] {
    let whole = dim / LANES * LANES;
    let mut ends = [[S::Raw::default(); LANES]; TILE];
    if whole < dim {
        for (end, row) in ends.iter_mut().zip(rows) {
            end[..dim - whole].copy_from_slice(&row[whole..]);
        }
    }
    ends
}

/// The products with the first of `Q` queries.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn rows_256<S: Stored, const Q: usize>(
    dim: usize,
    rows: [*const S::Raw; TILE],
    ends: [*const S::Raw; TILE],
    query: *const f32,
    ahead: usize,
) -> [f32; TILE] {
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; TILE];
        let whole = dim / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            add_256::<S>(&mut sums, rows.map(|row| row.add(at)), query.add(at * Q), ahead);
        }
        if whole < dim {
            add_256::<S>(&mut sums, ends, query.add(whole * Q), 0);
        }
        folded_256(sums)
    }
}

/// Adds the products of sixteen components of each row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_256<S: Stored>(
    sums: &mut [[__m256; 2]; TILE],
    rows: [*const S::Raw; TILE],
    query: *const f32,
    ahead: usize,
) {
    unsafe {
        let (low, high) = (_mm256_load_ps(query), _mm256_load_ps(query.add(HALF)));
        for (sum, row) in sums.iter_mut().zip(rows) {
            line_ahead::<_MM_HINT_T0, _>(row, ahead);
            sum[0] = _mm256_fmadd_ps(S::eight(row), low, sum[0]);
            sum[1] = _mm256_fmadd_ps(S::eight(row.add(HALF)), high, sum[1]);
        }
    }
}

/// One half of the lanes with two queries at a time: eight of the sixteen registers hold sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile_256(chunks: usize, rows: *const f32, queries: *const f32) -> [[f32; TILE]; TILE] {
    unsafe {
        let mut halves = [[[_mm256_setzero_ps(); 2]; TILE]; TILE];
        for (pair, halves) in halves.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            for half in 0..2 {
                let queries = queries.add(pair * 2 * LANES + half * HALF);
                let sums = pair_256(chunks, rows.add(half * HALF), queries);
                for (halves, sums) in halves.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                    halves[half] = *sums;
                }
            }
        }
        let [a, b, c, d] = halves;
        [folded_256(a), folded_256(b), folded_256(c), folded_256(d)]
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn pair_256(chunks: usize, rows: *const f32, queries: *const f32) -> [[__m256; TILE]; 2] {
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); TILE]; 2];
        for chunk in 0..chunks {
            let at = chunk * TILE * LANES;
            let queries = [_mm256_load_ps(queries.add(at)), _mm256_load_ps(queries.add(at + LANES))];
            let [first, second] = &mut sums;
            for (place, (first, second)) in first.iter_mut().zip(second).enumerate() {
                let row = _mm256_load_ps(rows.add(at + place * LANES));
                *first = _mm256_fmadd_ps(row, queries[0], *first);
                *second = _mm256_fmadd_ps(row, queries[1], *second);
            }
        }
        sums
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn widen_256<S: Stored>(
    dim: usize,
    rows: [*const S::Raw; TILE],
    ends: [*const S::Raw; TILE],
    lanes: *mut f32,
    ahead: usize,
) {
    let whole = dim / LANES * LANES;
    for at in (0..dim).step_by(LANES) {
        for place in 0..TILE {
            unsafe {
                let from = if at < whole { rows[place].add(at) } else { ends[place] };
                let to = lanes.add(at * TILE + place * LANES);
                line_ahead::<_MM_HINT_T0, _>(from, ahead);
                _mm256_store_ps(to, S::eight(from));
                _mm256_store_ps(to.add(HALF), S::eight(from.add(HALF)));
            }
        }
    }
}

/// Folds the lanes of four sums, halves first.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn folded_256(sums: [[__m256; 2]; TILE]) -> [f32; TILE] {
    unsafe {
        let mut wholes = [_mm256_setzero_ps(); TILE];
        for (whole, [low, high]) in wholes.iter_mut().zip(sums) {
            *whole = _mm256_add_ps(low, high);
        }
        let [a, b, c, d] = wholes;
        let halves = |a, b| _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
        let (ab, cd) = (halves(a, b), halves(c, d));
        let pairs = _mm256_add_ps(_mm256_shuffle_ps::<0x44>(ab, cd), _mm256_shuffle_ps::<0xee>(ab, cd));
        let ones = _mm256_add_ps(_mm256_shuffle_ps::<0x88>(pairs, pairs), _mm256_shuffle_ps::<0xdd>(pairs, pairs));
        // The first and the third are in one half now, the others in the other.
        let packed = _mm_unpacklo_ps(_mm256_castps256_ps128(ones), _mm256_extractf128_ps::<1>(ones));
        let mut folded = [0.0; TILE];
        _mm_storeu_ps(folded.as_mut_ptr(), packed);
        folded
    }
}

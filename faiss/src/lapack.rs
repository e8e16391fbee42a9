//! The functions of LAPACK that a learned rotation (OPQ) needs: an orthonormal basis of random columns, and a singular
//! value decomposition. In f64 within, on the calling thread, so that they give the same on any number of threads.
//!
//! Matrices are column-major, as in Fortran. Those few hundred columns wide are what this is made for.

use std::ffi::{c_char, c_int};
use std::slice;

/// Sweeps after which a decomposition ends in any case; columns of f32 are orthogonal after six to eight.
const SWEEPS: usize = 30;
/// The cosine below which two columns count as orthogonal: below what f32 can tell.
const ORTHOGONAL: f64 = 1e-9;

/// Leaves everything to [`sorgqr_`], which is called next: Faiss wants the basis alone, and never the triangle.
///
/// # Safety
/// As for `sgeqrf` of LAPACK.
#[unsafe(no_mangle)]
unsafe extern "C" fn sgeqrf_(
    _m: *const c_int,
    _n: *const c_int,
    _a: *mut f32,
    _lda: *const c_int,
    _tau: *mut f32,
    work: *mut f32,
    lwork: *const c_int,
    info: *mut c_int,
) -> c_int {
    // SAFETY: the caller passes pointers to scalars, and to at least one number of work space.
    unsafe { ask(work, lwork, info) };
    0
}

/// Makes an orthonormal basis of the `n` columns of A, `m x n`, with `m >= n`.
///
/// # Safety
/// As for `sorgqr` of LAPACK.
#[unsafe(no_mangle)]
unsafe extern "C" fn sorgqr_(
    m: *const c_int,
    n: *const c_int,
    _k: *const c_int,
    a: *mut f32,
    lda: *const c_int,
    _tau: *const f32,
    work: *mut f32,
    lwork: *const c_int,
    info: *mut c_int,
) -> c_int {
    // SAFETY: the caller passes what LAPACK asks for: pointers to scalars, and a matrix of the size they say.
    unsafe {
        if ask(work, lwork, info) {
            return 0;
        }
        let (m, n, lda) = (size(*m), size(*n), size(*lda));
        if m == 0 || n == 0 {
            return 0;
        }
        let a = slice::from_raw_parts_mut(a, (n - 1) * lda + m);
        let mut basis: Vec<Vec<f64>> = Vec::with_capacity(n);
        for column in a.chunks(lda) {
            let next = column[..m].iter().copied().map(finite).collect();
            basis.push(orthonormal(next, &basis));
        }
        for (column, made) in a.chunks_mut(lda).zip(&basis) {
            put(column, made);
        }
    }
    0
}

/// Decomposes A, `m x n` with `m <= n`, into U `m x m`, the singular values, largest first, and VT `n x n`.
///
/// By Jacobi's rotations of one side: slow for large matrices, and exact to the last digit of f32.
///
/// # Safety
/// As for `sgesvd` of LAPACK with jobs "A" and "A".
#[unsafe(no_mangle)]
unsafe extern "C" fn sgesvd_(
    _jobu: *const c_char,
    _jobvt: *const c_char,
    m: *const c_int,
    n: *const c_int,
    a: *mut f32,
    lda: *const c_int,
    s: *mut f32,
    u: *mut f32,
    ldu: *const c_int,
    vt: *mut f32,
    ldvt: *const c_int,
    work: *mut f32,
    lwork: *const c_int,
    info: *mut c_int,
) -> c_int {
    // SAFETY: the caller passes what LAPACK asks for: pointers to scalars, and matrices of the sizes they say.
    unsafe {
        let (m, n) = (size(*m), size(*n));
        if ask(work, lwork, info) || m == 0 {
            return 0;
        }
        assert!(m <= n, "a rotation never has more rows than columns");
        let (lda, ldu, ldvt) = (size(*lda), size(*ldu), size(*ldvt));
        let a = slice::from_raw_parts(a, (n - 1) * lda + m);
        let rows = (0..m).map(|row| (0..n).map(|column| finite(a[column * lda + row])).collect()).collect();
        let Decomposition { left, values, right } = decompose(rows);
        put(slice::from_raw_parts_mut(s, m), &values);
        let u = slice::from_raw_parts_mut(u, (m - 1) * ldu + m);
        u.chunks_mut(ldu).zip(&left).for_each(|(column, left)| put(column, left));
        let vt = slice::from_raw_parts_mut(vt, (n - 1) * ldvt + n);
        for (column, vt) in vt.chunks_mut(ldvt).enumerate() {
            vt.iter_mut().zip(&right).for_each(|(value, right)| *value = right[column] as f32);
        }
    }
    0
}

/// Answers a question for the size of the work space, of which none is used; says whether it was one.
///
/// # Safety
/// All point to one number at least.
unsafe fn ask(work: *mut f32, lwork: *const c_int, info: *mut c_int) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        *info = 0;
        let asked = *lwork == -1;
        if asked {
            *work = 1.0;
        }
        asked
    }
}

fn size(value: c_int) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// What is no number counts as nothing: sums of huge vectors overflow, and every input has a decomposition then.
fn finite(value: f32) -> f64 {
    if value.is_finite() { f64::from(value) } else { 0.0 }
}

fn put(into: &mut [f32], from: &[f64]) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into = *from as f32);
}

struct Decomposition {
    /// m vectors of m numbers.
    left: Vec<Vec<f64>>,
    /// m numbers, the largest first.
    values: Vec<f64>,
    /// n vectors of n numbers.
    right: Vec<Vec<f64>>,
}

/// Turns pairs of rows until all are orthogonal: what they have become are the right vectors, as long as the values say,
/// and the turns are the left ones.
fn decompose(mut rows: Vec<Vec<f64>>) -> Decomposition {
    let (m, n) = (rows.len(), rows[0].len());
    let mut turns: Vec<Vec<f64>> = (0..m).map(|row| unit(m, row)).collect();
    for _ in 0..SWEEPS {
        let mut turned = false;
        for second in 1..m {
            for first in 0..second {
                turned |= turn(&mut rows, &mut turns, first, second);
            }
        }
        if !turned {
            break;
        }
    }
    let mut order: Vec<(f64, usize)> =
        rows.iter().enumerate().map(|(row, values)| (dot(values, values).sqrt(), row)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut right: Vec<Vec<f64>> = Vec::with_capacity(n);
    for &(_, row) in &order {
        right.push(orthonormal(std::mem::take(&mut rows[row]), &right));
    }
    for _ in m..n {
        right.push(orthonormal(vec![0.0; n], &right));
    }
    let left = order.iter().map(|&(_, row)| std::mem::take(&mut turns[row])).collect();
    Decomposition { left, values: order.into_iter().map(|(value, _)| value).collect(), right }
}

/// Turns two rows, and their turns so far, so that they are orthogonal; says whether they were not.
fn turn(rows: &mut [Vec<f64>], turns: &mut [Vec<f64>], first: usize, second: usize) -> bool {
    let (a, b) = (&rows[first], &rows[second]);
    let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
    // Also where one of them is zero, or no number.
    if ab.abs() <= ORTHOGONAL * (aa * bb).sqrt() || !(ab * ab).is_normal() {
        return false;
    }
    let zeta = (bb - aa) / (2.0 * ab);
    let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    for lines in [rows, turns] {
        let (before, rest) = lines.split_at_mut(second);
        for (a, b) in before[first].iter_mut().zip(&mut rest[0]) {
            (*a, *b) = (cosine * (*a - tangent * *b), cosine * (tangent * *a + *b));
        }
    }
    true
}

/// What of a vector is orthogonal to a basis, at unit length; some other such vector where nothing is.
fn orthonormal(vector: Vec<f64>, basis: &[Vec<f64>]) -> Vec<f64> {
    let length = vector.len();
    let others = (0..length).map(|place| unit(length, place));
    for mut candidate in std::iter::once(vector).chain(others) {
        let before = dot(&candidate, &candidate).sqrt();
        // Twice is enough (Kahan and Parlett): the first time loses digits, the second finds them.
        for _ in 0..2 {
            for other in basis {
                let share = dot(&candidate, other);
                candidate.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
            }
        }
        let after = dot(&candidate, &candidate).sqrt();
        if after > 1e-6 * before && after.is_normal() {
            candidate.iter_mut().for_each(|value| *value /= after);
            return candidate;
        }
    }
    unreachable!("a basis of fewer vectors than numbers leaves room")
}

fn unit(length: usize, place: usize) -> Vec<f64> {
    let mut unit = vec![0.0; length];
    unit[place] = 1.0;
    unit
}

/// In eight lanes, so that the compiler can add them side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_rows(random: &mut fastrand::Rng, m: usize, n: usize) -> Vec<Vec<f64>> {
        (0..m).map(|_| (0..n).map(|_| random.f64() - 0.5).collect()).collect()
    }

    fn assert_orthonormal(vectors: &[Vec<f64>]) {
        for (i, a) in vectors.iter().enumerate() {
            for (j, b) in vectors.iter().enumerate() {
                let wanted = f64::from(u8::from(i == j));
                assert!((dot(a, b) - wanted).abs() < 1e-8, "vectors {i} and {j}: {}", dot(a, b));
            }
        }
    }

    #[test]
    fn a_decomposition_multiplies_back() {
        let mut random = fastrand::Rng::with_seed(5);
        for (m, n) in [(1, 1), (3, 3), (7, 12), (40, 40)] {
            let mut rows = random_rows(&mut random, m, n);
            if m > 2 {
                rows[2] = rows[0].iter().map(|value| value * 2.0).collect(); // of less than full rank
            }
            let Decomposition { left, values, right } = decompose(rows.clone());
            assert_orthonormal(&left);
            assert_orthonormal(&right);
            assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
            for (i, row) in rows.iter().enumerate() {
                for (j, value) in row.iter().enumerate() {
                    let back: f64 = (0..m).map(|k| left[k][i] * values[k] * right[k][j]).sum();
                    assert!((back - value).abs() < 1e-8, "{m} x {n} at {i}, {j}: {back} is not {value}");
                }
            }
        }
    }

    #[test]
    fn a_basis_is_found_even_where_columns_depend_on_each_other() {
        let mut random = fastrand::Rng::with_seed(6);
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for vector in random_rows(&mut random, 5, 9).into_iter().flat_map(|row| [row.clone(), row]).take(9) {
            basis.push(orthonormal(vector, &basis));
        }
        assert_orthonormal(&basis);
    }
}

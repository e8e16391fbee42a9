//! The functions of BLAS that Faiss calls, under the names by which it calls them.
//!
//! A BLAS of the machine would decide what comes out of training: libraries differ in their sums, some change them with
//! the number of threads, and old ones are wrong on new processors. OpenBLAS also starts threads when a program starts.
//! Here an element of a product is a chain of fused multiply-adds in blocks of [`DEPTH`], by the kernel of this house,
//! so that it has the same bits on every processor and on any number of threads.
//!
//! Matrices are column-major, as in Fortran; every argument is a pointer.

use std::borrow::Cow;
use std::ffi::{c_char, c_int};
use std::slice;
use std::thread;

use sciembed_kernel::Level;
use sciembed_kernel::functions::Activation;
use sciembed_kernel::linear::{Linear, Scratch, Weights, linear};
use sciembed_kernel::pack::{self, PANEL};

/// Factors that one pass sums up: a panel of 64 columns then takes 128 KB, which the second cache holds.
const DEPTH: usize = 512;
/// Multiplications below which a product is not worth a thread: some milliseconds of one.
const SERIAL: usize = 1 << 26;

unsafe extern "C" {
    fn omp_get_max_threads() -> c_int;
    fn omp_in_parallel() -> c_int;
}

/// A matrix as BLAS is given it, seen as its rows or as its columns.
struct View<'a> {
    values: Cow<'a, [f32]>,
    stride: usize,
    /// Whether factors lie side by side: true where one step along the sum is one step in memory.
    contiguous: bool,
}

impl<'a> View<'a> {
    /// # Safety
    /// `values` points to `lines` lines of `length` numbers, `stride` apart.
    unsafe fn new(values: *const f32, lines: usize, length: usize, stride: usize, contiguous: bool) -> Self {
        let numbers = if lines == 0 || length == 0 { 0 } else { (lines - 1) * stride + length };
        let values = match numbers {
            0 => Cow::Borrowed(&[][..]),
            // SAFETY: the caller says so.
            _ if values.is_aligned() => Cow::Borrowed(unsafe { slice::from_raw_parts(values, numbers) }),
            // In a mapped file, vectors begin anywhere. SAFETY: the caller says so.
            _ => (0..numbers).map(|place| unsafe { values.add(place).read_unaligned() }).collect(),
        };
        Self { values, stride, contiguous }
    }

    fn at(&self, line: usize, factor: usize) -> f32 {
        match self.contiguous {
            true => self.values[line * self.stride + factor],
            false => self.values[factor * self.stride + line],
        }
    }

    /// The factors from `first` on of all lines, in the panels of the kernel.
    fn packed(&self, lines: usize, first: usize, depth: usize) -> Vec<f32> {
        let mut packed = vec![0.0; pack::floats(depth, lines)];
        for line in 0..lines {
            let panel = &mut packed[line / PANEL * depth * PANEL..];
            for factor in 0..depth {
                panel[factor * PANEL + line % PANEL] = self.at(line, first + factor);
            }
        }
        packed
    }

    /// The factors from `first` on of some lines, line by line.
    fn rows(&self, lines: std::ops::Range<usize>, first: usize, depth: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(lines.len() * depth);
        for line in lines {
            match self.contiguous {
                true => rows.extend_from_slice(&self.values[line * self.stride + first..][..depth]),
                false => rows.extend((first..first + depth).map(|factor| self.at(line, factor))),
            }
        }
        rows
    }
}

/// `C = alpha op(A) op(B) + beta C`, where op(A) is `m x k`, op(B) `k x n` and C `m x n`.
///
/// # Safety
/// As for `sgemm` of BLAS.
#[unsafe(no_mangle)]
unsafe extern "C" fn sgemm_(
    transa: *const c_char,
    transb: *const c_char,
    m: *const c_int,
    n: *const c_int,
    k: *const c_int,
    alpha: *const f32,
    a: *const f32,
    lda: *const c_int,
    b: *const f32,
    ldb: *const c_int,
    beta: *const f32,
    c: *mut f32,
    ldc: *const c_int,
) -> c_int {
    // SAFETY: the caller passes what BLAS asks for: pointers to scalars, and to matrices of the sizes they say.
    unsafe {
        let (m, n, k) = (size(*m), size(*n), size(*k));
        let (lda, ldb, ldc) = (size(*lda), size(*ldb), size(*ldc));
        if m == 0 || n == 0 {
            return 0;
        }
        let (a_transposed, b_transposed) = (is_transposed(*transa), is_transposed(*transb));
        let a = if a_transposed { View::new(a, m, k, lda, true) } else { View::new(a, k, m, lda, false) };
        let b = if b_transposed { View::new(b, k, n, ldb, false) } else { View::new(b, n, k, ldb, true) };
        let c = slice::from_raw_parts_mut(c, (n - 1) * ldc + m);
        product(&Product { m, k, ldc, alpha: *alpha, beta: *beta, a, b }, n, c);
    }
    0
}

fn size(value: c_int) -> usize {
    usize::try_from(value).unwrap_or(0)
}

fn is_transposed(letter: c_char) -> bool {
    matches!(letter as u8, b'T' | b't' | b'C' | b'c')
}

struct Product<'a> {
    m: usize,
    k: usize,
    ldc: usize,
    alpha: f32,
    beta: f32,
    a: View<'a>,
    b: View<'a>,
}

/// Columns of C are rows for the kernel, and A is what it calls weights.
fn product(product: &Product<'_>, n: usize, c: &mut [f32]) {
    let columns = |c: &mut [f32], job: &mut dyn FnMut(&mut [f32])| {
        c.chunks_mut(product.ldc).for_each(|column| job(&mut column[..product.m]));
    };
    columns(c, &mut |column| match product.beta {
        // Not by a product: what stands there need not be a number.
        0.0 => column.fill(0.0),
        beta => column.iter_mut().for_each(|value| *value *= beta),
    });
    let each = n.div_ceil(threads(product.m * n * product.k));
    for first in (0..product.k).step_by(DEPTH) {
        let depth = DEPTH.min(product.k - first);
        let weights = product.a.packed(product.m, first, depth);
        let part = |index: usize, c: &mut [f32]| add_part(product, &weights, first..first + depth, index * each, c);
        if each >= n {
            part(0, c);
            continue;
        }
        thread::scope(|scope| {
            for (index, c) in c.chunks_mut(each * product.ldc).enumerate() {
                scope.spawn(move || part(index, c));
            }
        });
    }
}

/// Adds what some factors contribute to some columns of C, of which `first` is the first.
fn add_part(product: &Product<'_>, weights: &[f32], factors: std::ops::Range<usize>, first: usize, c: &mut [f32]) {
    /// Columns of C at once: what their factors and sums take stays within a few megabytes.
    const AT_ONCE: usize = 240;
    let depth = factors.len();
    let linear_part = Linear {
        from: depth,
        to: product.m,
        weights: Weights::Floats(weights),
        bias: None,
        activation: Activation::Identity,
    };
    let mut scratch = Scratch::default();
    let mut sums = Vec::new();
    for (block, c) in c.chunks_mut(AT_ONCE * product.ldc).enumerate() {
        let start = first + block * AT_ONCE;
        let columns = c.len().div_ceil(product.ldc);
        let input = product.b.rows(start..start + columns, factors.start, depth);
        sums.resize(columns * product.m, 0.0);
        linear(Level::best(), &linear_part, &input, &mut sums, &mut scratch);
        for (column, sums) in c.chunks_mut(product.ldc).zip(sums.chunks_exact(product.m)) {
            column.iter_mut().zip(sums).for_each(|(value, sum)| *value += product.alpha * sum);
        }
    }
}

/// Threads worth starting: Faiss' own number, and one where Faiss is parallel already.
fn threads(multiplications: usize) -> usize {
    // SAFETY: both only read a state of this thread.
    let (most, is_parallel) = unsafe { (omp_get_max_threads(), omp_in_parallel() != 0) };
    if is_parallel { 1 } else { size(most).clamp(1, multiplications / SERIAL + 1) }
}

/// What no index of this crate calls, and the linker asks for all the same: of the transforms and quantizers that
/// [`crate::Factory`] does not know, and `file.rs` does not let pass.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> c_int {
                eprintln!(concat!("bug: Faiss called ", stringify!($name), ", which no index of this program needs"));
                std::process::abort()
            }
        )*
    };
}

never_called! { dgemm_ dgesvd_ dgetrf_ dgetri_ dsyev_ sgelsd_ sgemv_ sgetrf_ sgetri_ ssyev_ ssyrk_ }

#[cfg(test)]
mod tests {
    use super::*;

    /// Any shape, orientation, stride, alpha and beta gives what the definition says.
    #[test]
    fn products_are_those_of_the_definition() {
        let mut random = fastrand::Rng::with_seed(3);
        for (m, n, k) in [(1, 1, 1), (70, 33, 9), (5, 300, 64), (64, 17, 1100), (300, 500, 600)] {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let (lda, ldb, ldc) = (if ta { k } else { m } + 1, if tb { n } else { k } + 2, m + 3);
                let mut fill = |numbers: usize| (0..numbers).map(|_| random.f32() - 0.5).collect::<Vec<_>>();
                let (a, b) = (fill(lda * if ta { m } else { k }), fill(ldb * if tb { k } else { n }));
                let before = fill(ldc * n);
                let mut c = before.clone();
                call((ta, tb), [m, n, k, lda, ldb, ldc], (0.5, 2.0), &a, &b, &mut c);
                for (place, (&got, &was)) in c.iter().zip(&before).enumerate() {
                    let (i, j) = (place % ldc, place / ldc);
                    if i >= m {
                        assert_eq!(got.to_bits(), was.to_bits(), "what lies between columns is left alone");
                        continue;
                    }
                    let a = |l: usize| f64::from(if ta { a[i * lda + l] } else { a[l * lda + i] });
                    let b = |l: usize| f64::from(if tb { b[l * ldb + j] } else { b[j * ldb + l] });
                    let wanted = 0.5 * (0..k).map(|l| a(l) * b(l)).sum::<f64>() + 2.0 * f64::from(was);
                    assert!((f64::from(got) - wanted).abs() < 1e-4, "{m} {n} {k}: {got} is not {wanted}");
                }
            }
        }
    }

    #[test]
    fn with_beta_of_zero_nothing_of_c_is_left() {
        let mut c = [f32::NAN; 4];
        call((true, false), [2, 2, 2, 2, 2, 2], (1.0, 0.0), &[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 0.0, 1.0], &mut c);
        assert_eq!(c, [1.0, 3.0, 2.0, 4.0]);
        call((true, false), [2, 2, 0, 2, 2, 2], (1.0, 0.0), &[], &[], &mut c);
        assert_eq!(c, [0.0; 4], "a sum of nothing");
    }

    fn call(
        transposed: (bool, bool),
        sizes: [usize; 6],
        (alpha, beta): (f32, f32),
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
    ) {
        let letter = |transposed: bool| if transposed { c"T" } else { c"N" }.as_ptr();
        let [m, n, k, lda, ldb, ldc] = sizes.map(|size| c_int::try_from(size).unwrap());
        // SAFETY: the slices are as long as the sizes say.
        unsafe {
            sgemm_(
                letter(transposed.0),
                letter(transposed.1),
                &raw const m,
                &raw const n,
                &raw const k,
                &raw const alpha,
                a.as_ptr(),
                &raw const lda,
                b.as_ptr(),
                &raw const ldb,
                &raw const beta,
                c.as_mut_ptr(),
                &raw const ldc,
            );
        }
    }
}

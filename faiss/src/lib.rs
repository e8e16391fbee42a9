//! Faiss behind a safe door: compact indexes over vectors whose originals lie elsewhere.
//!
//! A search gives candidates, by codes of a few dozen bytes a row; who asked scores them anew by the vectors themselves.
//! - The same vectors, seed and parameters give the same file, whatever the number of threads, the portions in which rows
//!   arrive, and the mathematical libraries of the machine: the products are this house's own ([`sciembed_kernel`]).
//! - What C++ throws is an [`Error`]; a cut or foreign file is refused before Faiss reads it.
//! - Nothing is started with the program, and no library but the C++ runtime and OpenMP's is loaded.
//!
//! [`choose()`] says which index suits how many rows. All blocking, on the calling thread and as many more as it is told
//! to use. On a machine that others use too, `OMP_WAIT_POLICY=passive` in the environment lets these threads sleep where
//! they would spin: training took a third of the time. Between two calls of [`Builder::add`] a caller can give up at any time.

mod blas;
mod choice;
mod error;
mod factory;
mod file;
mod index;
mod lapack;
mod raw;
mod sample;
mod sink;

pub use choice::{Choice, WORTH_AN_INDEX, choose};
pub use error::Error;
pub use factory::{Codes, Factory, Search};
pub use index::{Builder, Hit, Hits, Index, Parameters};
pub use sample::sample;
pub use sink::Failure;

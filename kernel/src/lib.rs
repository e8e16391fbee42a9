//! The arithmetic of an encoder and of exact search on a CPU: products, attention, normalisation, activations; and the
//! stored vectors nearest to a query.
//!
//! ONNX Runtime's own operators reach a fifth of what a processor with VNNI can do in int8, and a third in f32; they scale
//! a whole run by its extremes, and pick other kernels for other shapes. Here a row's result is a function of that row
//! alone, and the same bits come out on every instruction set:
//! - sums of integers are exact;
//! - an element of a product is one chain of fused multiply-adds, from the first column to the last;
//! - all other sums run in sixteen lanes, which are folded in one order ([`lanes`]);
//! - the exponential and the error function are this room's own ([`functions`]).
//!
//! Pure functions over slices, on the calling thread. All `unsafe` is in the innermost products, `tile.rs` and
//! `scan/products/x86.rs`, and where instructions are chosen, `level.rs`. Read next: [`linear`], then `tile.rs`, where the time
//! of an encoder goes; [`scan`] for search.

pub mod attention;
pub mod functions;
pub mod lanes;
mod level;
pub mod linear;
pub mod norm;
pub mod pack;
pub mod scan;
mod tile;

pub use level::Level;

#[cfg(test)]
mod tests;

//! The operators of a converted graph: standard ones, those of ONNX alone, or the kernels of this program on a CPU.
//!
//! The names here are what `embedder` registers with ONNX Runtime, so no other program opens a graph that has them.

/// Which operators a graph is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operators {
    /// Those of ONNX and of ONNX Runtime, in f32 or f16: for GPUs, and for other programs.
    Standard,
    /// Those of ONNX alone: for TensorRT, which knows no others and takes a graph of these whole.
    Plain,
    /// This program's kernels, which are faster on CPUs and let no row see another.
    Kernels,
}

/// The kernels' domain.
pub const DOMAIN: &str = "sciembed";
/// Its version.
pub const VERSION: i64 = 1;

/// `activation(x W + b)`: `x, packed W [, b]`.
pub const LINEAR: &str = "Linear";
/// The same in int8: `x, packed W, scales, sums of columns [, b]`.
pub const QUANTIZED_LINEAR: &str = "QuantizedLinear";
/// Self-attention: `queries, keys and values of each token [, bias]`.
pub const ATTENTION: &str = "Attention";
/// Layer normalisation of a sum: `x, residual, gain, bias`.
pub const ADD_NORMALIZATION: &str = "AddNormalization";

/// Columns of a packed matrix.
pub const COLUMNS: &str = "columns";
/// The place of the activation among all that kernels know.
pub const ACTIVATION: &str = "activation";
/// Attention heads.
pub const HEADS: &str = "heads";
/// What is added to the variance.
pub const EPSILON: &str = "epsilon";

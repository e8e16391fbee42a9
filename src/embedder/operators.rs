//! The kernels as operators of ONNX Runtime, in a domain of their own.
//!
//! Each works on the calling thread and keeps its scratch. A panic would end the process inside ONNX Runtime: it becomes an
//! error of the run. Which graphs have these operators, and with which inputs, is said in `convert/emitter.rs`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput};

use ort::value::{PrimitiveTensorElementType, TensorElementType, ValueRef};

use super::error::panic_message;
use crate::convert::operators::{
    ACTIVATION, ADD_NORMALIZATION, ATTENTION, COLUMNS, DOMAIN, EPSILON, HEADS, LINEAR, QUANTIZED_LINEAR,
};
use sciembed_kernel::Level;
use sciembed_kernel::attention::{self, Attention, attention};
use sciembed_kernel::functions::Activation;
use sciembed_kernel::linear::{self, Linear, Weights, linear};
use sciembed_kernel::norm::{Norm, add_and_normalize};

/// All of them.
pub(super) fn domain() -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(LinearOperator { quantized: false })?
        .add(LinearOperator { quantized: true })?
        .add(AttentionOperator)?
        .add(NormOperator)
}

const FLOATS: OperatorInput = OperatorInput::required(TensorElementType::Float32);
const BYTES: OperatorInput = OperatorInput::required(TensorElementType::Uint8);
const BIAS: OperatorInput = OperatorInput::optional(TensorElementType::Float32);
const OUTPUT: OperatorOutput = OperatorOutput::required(TensorElementType::Float32);

/// What an operator does with a run's values.
type Compute = Box<dyn FnMut(&ComputeContext) -> ort::Result<()> + Send>;

/// A kernel whose panics are errors.
pub(super) struct Caught(Compute);

impl Kernel for Caught {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let panicked = |payload: Box<dyn Any + Send>| ort::Error::new(panic_message(&*payload));
        // Whatever state a panic leaves behind is overwritten by the next run.
        catch_unwind(AssertUnwindSafe(|| (self.0)(context))).unwrap_or_else(|payload| Err(panicked(payload)))
    }
}

/// An input's values.
type Values<'a> = ValueRef<'a>;

fn input(context: &ComputeContext, at: usize) -> ort::Result<Values<'_>> {
    context.input(at)?.ok_or_else(|| ort::Error::new(format!("input {at} is missing")))
}

fn values<'v, T: PrimitiveTensorElementType>(value: &'v Values<'_>) -> ort::Result<&'v [T]> {
    Ok(value.try_extract_tensor::<T>()?.1)
}

/// A whole number that a node must state.
fn count(context: &KernelContext, name: &str) -> ort::Result<usize> {
    let value = context.get::<i64>(name).and_then(|value| usize::try_from(value).ok()).filter(|value| *value > 0);
    value.ok_or_else(|| ort::Error::new(format!("`{name}` must be a number above 0")))
}

/// Hands the output, of the shape of the first input with another last dimension, to `fill`.
fn fill(context: &ComputeContext, shape: &[i64], last: usize, fill: impl FnOnce(&mut [f32])) -> ort::Result<()> {
    let mut shape = shape.to_vec();
    if let Some(dimension) = shape.last_mut() {
        *dimension = last as i64;
    }
    let mut output = context.output(0, shape)?.ok_or_else(|| ort::Error::new("the output is missing"))?;
    fill(output.try_extract_tensor_mut::<f32>()?.1);
    Ok(())
}

/// `activation(x W + b)`.
struct LinearOperator {
    quantized: bool,
}

impl Operator for LinearOperator {
    type Kernel<'attr> = Caught;

    fn name(&self) -> &str {
        if self.quantized { QUANTIZED_LINEAR } else { LINEAR }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        match self.quantized {
            false => vec![FLOATS, FLOATS, BIAS],
            true => vec![FLOATS, BYTES, FLOATS, FLOATS, BIAS],
        }
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OUTPUT]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Caught> {
        let (quantized, to) = (self.quantized, count(context, COLUMNS)?);
        let activation = context.get::<i64>(ACTIVATION).and_then(|place| usize::try_from(place).ok());
        let activation = activation.and_then(|place| Activation::ALL.get(place).copied());
        let activation = activation.ok_or_else(|| ort::Error::new(format!("`{ACTIVATION}` is none that is known")))?;
        let mut scratch = linear::Scratch::default();
        Ok(Caught(Box::new(move |context| {
            let rows = input(context, 0)?;
            let (shape, rows) = rows.try_extract_tensor::<f32>()?;
            let from = shape.last().and_then(|last| usize::try_from(*last).ok()).unwrap_or(0).max(1);
            let inputs =
                (1..if quantized { 4 } else { 2 }).map(|at| input(context, at)).collect::<Result<Vec<_>, _>>()?;
            let weights = match quantized {
                false => Weights::Floats(values(&inputs[0])?),
                true => Weights::Bytes {
                    packed: values(&inputs[0])?,
                    scales: values(&inputs[1])?,
                    sums: values(&inputs[2])?,
                },
            };
            let bias = context.input(inputs.len() + 1)?;
            let bias = bias.as_ref().map(values::<f32>).transpose()?;
            let product = Linear { from, to, weights, bias, activation };
            fill(context, shape, to, |output| linear(Level::best(), &product, rows, output, &mut scratch))
        })))
    }
}

/// Self-attention over the tokens of each row.
struct AttentionOperator;

impl Operator for AttentionOperator {
    type Kernel<'attr> = Caught;

    fn name(&self) -> &str {
        ATTENTION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [FLOATS, BIAS]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OUTPUT]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Caught> {
        let heads = count(context, HEADS)?;
        let mut scratch = attention::Scratch::default();
        Ok(Caught(Box::new(move |context| {
            let products = input(context, 0)?;
            let (shape, products) = products.try_extract_tensor::<f32>()?;
            let [_, tokens, width] = shape[..] else {
                return Err(ort::Error::new("attention is over rows of tokens"));
            };
            let (tokens, hidden) = (tokens as usize, width as usize / 3);
            let bias = context.input(1)?;
            let bias = bias.as_ref().map(values::<f32>).transpose()?;
            fill(context, shape, hidden, |output| {
                let rows = products.chunks_exact((tokens * 3 * hidden).max(1));
                for (products, output) in rows.zip(output.chunks_exact_mut((tokens * hidden).max(1))) {
                    let text = Attention { heads, hidden, products, bias };
                    attention(Level::best(), &text, output, &mut scratch);
                }
            })
        })))
    }
}

/// Layer normalisation of a sum.
struct NormOperator;

impl Operator for NormOperator {
    type Kernel<'attr> = Caught;

    fn name(&self) -> &str {
        ADD_NORMALIZATION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [FLOATS, FLOATS, FLOATS, FLOATS]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OUTPUT]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Caught> {
        let epsilon = context.get::<f32>(EPSILON).ok_or_else(|| ort::Error::new(format!("`{EPSILON}` is missing")))?;
        Ok(Caught(Box::new(move |context| {
            let inputs = (0..4).map(|at| input(context, at)).collect::<Result<Vec<_>, _>>()?;
            let norm = Norm { gain: values(&inputs[2])?, bias: values(&inputs[3])?, epsilon };
            let (shape, rows) = inputs[0].try_extract_tensor::<f32>()?;
            let residual: &[f32] = values(&inputs[1])?;
            fill(context, shape, norm.gain.len(), |output| {
                add_and_normalize(Level::best(), &norm, rows, residual, output);
            })
        })))
    }
}

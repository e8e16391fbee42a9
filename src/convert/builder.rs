//! A graph in the making: nodes in order, small constants inside, weights as instructions for a file beside it.
//!
//! Adding a weight reads no values: a [`Block`] says how its bytes come from the tensors of the model, so that the
//! graph, and with it the embedder's key, is known before anything is converted.

use half::f16;

use super::onnx::{Attribute, EXTERNAL, Element, Entry, Node, TensorProto};
use super::quantize;
use super::weights::{Tensor, Weights};
use super::{ConvertError, WEIGHTS_FILE};
use sciembed_kernel::pack;

/// ONNX Runtime maps a weight into memory only where it begins at a page of the file.
const PAGE: u64 = 4096;

/// The name of a value in the graph.
pub(super) type Value = String;

/// How the bytes of a weight come from the model's tensors.
#[derive(Clone, Debug)]
pub(super) enum Block {
    /// As it stands.
    Plain(Tensor),
    /// Vectors, one after the other.
    Joined(Vec<Tensor>),
    /// Matrices of `out x in` as the columns of one of `in x (sum of out)`.
    Columns(Vec<Tensor>),
    /// [`Block::Joined`] in f16.
    HalfJoined(Vec<Tensor>),
    /// [`Block::Columns`] in f16.
    HalfColumns(Vec<Tensor>),
    /// A table, to each row of which the first row of another is added.
    WithFirstRow(Tensor, Tensor),
    /// [`Block::Columns`] as kernels read them: see `kernel/pack.rs`.
    Packed(Vec<Tensor>),
    /// The same as int8, a scale for each column: see `quantize.rs`.
    Quantized(Vec<Tensor>),
    /// The scales of [`Block::Quantized`].
    Scales(Vec<Tensor>),
    /// The sums of its columns.
    Sums(Vec<Tensor>),
}

impl Block {
    fn element(&self) -> Element {
        match self {
            Self::Quantized(_) => Element::U8,
            Self::HalfJoined(_) | Self::HalfColumns(_) => Element::F16,
            _ => Element::F32,
        }
    }

    fn shape(&self) -> Vec<usize> {
        let rows = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.shape[0]).sum();
        match self {
            Self::Plain(tensor) | Self::WithFirstRow(tensor, _) => tensor.shape.clone(),
            Self::Joined(tensors) | Self::HalfJoined(tensors) | Self::Scales(tensors) | Self::Sums(tensors) => {
                vec![rows(tensors)]
            }
            Self::Columns(tensors) | Self::HalfColumns(tensors) => vec![tensors[0].shape[1], rows(tensors)],
            Self::Packed(tensors) => vec![pack::floats(tensors[0].shape[1], rows(tensors))],
            Self::Quantized(tensors) => vec![pack::bytes(tensors[0].shape[1], rows(tensors))],
        }
    }

    /// Bytes that [`Block::write`] will write.
    pub fn len(&self) -> u64 {
        self.shape().iter().map(|&size| size as u64).product::<u64>() * self.element().bytes()
    }

    /// Hands the values to `sink`, little-endian, row-major. One tensor is in memory at a time, or those that are side
    /// by side.
    ///
    /// # Errors
    /// Whatever reading the tensors gives, or the sink.
    pub fn write(
        &self,
        weights: &Weights,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        let read = |tensor: &Tensor| weights.read(tensor);
        let integers = |tensor: &Tensor| read(tensor).map(|values| quantize::rows(&values, tensor.shape[1]).0);
        let width = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.shape[0]).sum();
        match self {
            Self::Plain(tensor) => sink(floats(&mut read(tensor)?)),
            Self::Joined(tensors) => tensors.iter().try_for_each(|tensor| sink(floats(&mut read(tensor)?))),
            Self::Columns(tensors) => sink(floats(&mut columns(tensors, read)?)),
            Self::HalfJoined(tensors) => {
                tensors.iter().try_for_each(|tensor| sink(&halves(&weights.read_half(tensor)?)))
            }
            Self::HalfColumns(tensors) => sink(&halves(&columns(tensors, |tensor| weights.read_half(tensor))?)),
            Self::WithFirstRow(table, other) => {
                let (mut values, row) = (read(table)?, read(other)?);
                let width = table.shape[1];
                values.chunks_exact_mut(width).for_each(|values| add(values, &row[..width]));
                sink(floats(&mut values))
            }
            Self::Packed(tensors) => {
                let height = tensors[0].shape[1];
                sink(floats(&mut pack::pack_floats(&columns(tensors, read)?, height, width(tensors))))
            }
            Self::Quantized(tensors) => {
                sink(&pack::pack_bytes(&columns(tensors, integers)?, tensors[0].shape[1], width(tensors)))
            }
            Self::Sums(tensors) => sink(floats(&mut pack::column_sums(&columns(tensors, integers)?, width(tensors)))),
            Self::Scales(tensors) => tensors.iter().try_for_each(|tensor| {
                let (_, mut scales) = quantize::rows(&read(tensor)?, tensor.shape[1]);
                sink(floats(&mut scales))
            }),
        }
    }
}

fn floats(values: &mut [f32]) -> &[u8] {
    values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().to_le()));
    bytemuck::cast_slice(values)
}

fn halves(values: &[f16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The transposes of `out x in` matrices, side by side.
fn columns<T: Copy + Default, E>(tensors: &[Tensor], read: impl Fn(&Tensor) -> Result<Vec<T>, E>) -> Result<Vec<T>, E> {
    let width: usize = tensors.iter().map(|tensor| tensor.shape[0]).sum();
    let height = tensors[0].shape[1];
    let mut joined = vec![T::default(); width * height];
    let mut first = 0;
    for tensor in tensors {
        for (column, values) in read(tensor)?.chunks_exact(height).enumerate() {
            for (row, &value) in values.iter().enumerate() {
                joined[row * width + first + column] = value;
            }
        }
        first += tensor.shape[0];
    }
    Ok(joined)
}

fn add(values: &mut [f32], row: &[f32]) {
    values.iter_mut().zip(row).for_each(|(value, more)| *value += more);
}

/// See the file's head.
#[derive(Default)]
pub(super) struct Builder {
    pub nodes: Vec<Node>,
    pub initializers: Vec<TensorProto>,
    /// What the file beside the graph holds, by the weights of which module, each from a page of its own.
    pub blocks: Vec<(usize, Block)>,
    offset: u64,
    /// Which module's weights are being added.
    module: usize,
}

impl Builder {
    /// From here on weights are those of this module.
    pub fn enter_module(&mut self, module: usize) {
        self.module = module;
    }

    /// Adds an operator of ONNX itself with one output.
    pub fn op(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Value {
        self.outputs("", op, inputs, attributes, 1).remove(0)
    }

    /// Adds an operator with several outputs; an input without a name is one that is left out.
    pub fn outputs(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        attribute: Vec<Attribute>,
        count: usize,
    ) -> Vec<Value> {
        let name = format!("{op}_{}", self.nodes.len());
        let output: Vec<Value> = match count {
            1 => vec![name.clone()],
            _ => (0..count).map(|n| format!("{name}.{n}")).collect(),
        };
        self.nodes.push(Node {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: output.clone(),
            name,
            op_type: op.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
        output
    }

    /// Adds a weight, to be found under `name`.
    pub fn weight(&mut self, name: &str, block: Block) -> Value {
        let length = block.len();
        let entry = |key: &str, value: String| Entry { key: key.to_owned(), value };
        self.initializers.push(TensorProto {
            dims: block.shape().iter().map(|&size| size as i64).collect(),
            data_type: block.element() as i32,
            name: name.to_owned(),
            raw_data: None,
            external_data: vec![
                entry("location", WEIGHTS_FILE.to_owned()),
                entry("offset", self.offset.to_string()),
                entry("length", length.to_string()),
            ],
            data_location: EXTERNAL,
        });
        self.offset = (self.offset + length).next_multiple_of(PAGE);
        self.blocks.push((self.module, block));
        name.to_owned()
    }

    /// Adds numbers that come from no tensor.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Element::F32, dims, bytes)
    }

    /// Adds whole numbers; without `dims` one that stands alone.
    pub fn integers(&mut self, name: &str, dims: &[usize], values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Element::I64, dims, bytes)
    }

    /// Whether there is a constant or weight of this name.
    pub fn has(&self, name: &str) -> bool {
        self.initializers.iter().any(|tensor| tensor.name == name)
    }

    /// A constant of this name that was added before is taken again.
    fn constant(&mut self, name: &str, element: Element, dims: &[usize], raw_data: Vec<u8>) -> Value {
        if !self.has(name) {
            self.initializers.push(TensorProto {
                dims: dims.iter().map(|&size| size as i64).collect(),
                data_type: element as i32,
                name: name.to_owned(),
                raw_data: Some(raw_data),
                external_data: Vec::new(),
                data_location: 0,
            });
        }
        name.to_owned()
    }
}

/// Zeros to be put before a block, so that it begins at a page: as the offsets say that [`Builder::weight`] gave out.
pub(super) fn padding(written: u64) -> usize {
    (written.next_multiple_of(PAGE) - written) as usize
}

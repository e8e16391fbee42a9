//! Safetensors files: which tensors there are, and their values as f32.
//!
//! Opening reads headers alone, so that a plan can tell at once that a file is cut short or a tensor has another shape.
//! Nothing is allocated by what a header claims: lengths are checked against the file first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::ConvertError;

/// The file of a model whose weights are one file.
pub const SINGLE: &str = "model.safetensors";

/// The list of files of a model whose weights are several.
pub const INDEX: &str = "model.safetensors.index.json";

/// More than the longest list of weight files that there is.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Where a tensor's values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    file: usize,
    offset: u64,
    dtype: Dtype,
}

impl Tensor {
    /// How many values it has; its bytes are in the file, so this cannot overflow.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One extent of an expected shape, with the name of the setting that says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent(pub &'static str, pub usize);

/// The weights of one module of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    folder: PathBuf,
    /// By name, relative to `folder`.
    files: Vec<String>,
    tensors: BTreeMap<String, Tensor>,
    /// What every name begins with, such as `bert.` where a model was saved with a head on top.
    prefix: String,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Whether `folder` has weights that [`Weights::open`] would open.
    pub fn are_in(folder: &Path) -> bool {
        [SINGLE, INDEX].iter().any(|name| folder.join(name).is_file())
    }

    /// Opens the weights in `folder`: one file, or several with an index.
    ///
    /// # Errors
    /// A file that is missing, cut short or no safetensors file, an index that names what is not there.
    pub fn open(folder: &Path) -> Result<Self, ConvertError> {
        let index = folder.join(INDEX);
        // Where there is neither, it is the one file that is missed.
        let files = match folder.join(SINGLE).is_file() || !index.is_file() {
            true => vec![SINGLE.to_owned()],
            false => shards(&index)?,
        };
        let mut tensors = BTreeMap::new();
        for (number, file) in files.iter().enumerate() {
            read_header(&folder.join(file), number, &mut tensors)?;
        }
        Ok(Self { folder: folder.into(), files, tensors, prefix: String::new() })
    }

    /// The files, relative to the folder, the index among them where there is one.
    pub fn files(&self) -> Vec<String> {
        let index = (self.files.as_slice() != [SINGLE]).then(|| INDEX.to_owned());
        self.files.iter().cloned().chain(index).collect()
    }

    /// The folder that the files are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the first of `prefixes` under which there is a tensor of the name `probe`; none if there is none.
    pub(super) fn find_prefix(&mut self, prefixes: &[&str], probe: &str) {
        let found = prefixes.iter().find(|prefix| self.tensors.contains_key(&format!("{prefix}{probe}")));
        self.prefix = found.map_or(String::new(), |prefix| (*prefix).to_owned());
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("{}{name}", self.prefix))
    }

    /// The tensor `name`, which must have this shape; `settings` is the file that says so.
    pub(super) fn tensor(&self, name: &str, settings: &str, shape: &[Extent]) -> Result<Tensor, ConvertError> {
        let name = format!("{}{name}", self.prefix);
        let Some(tensor) = self.tensors.get(&name) else {
            let of = format!("it has {} tensors, and not that one", self.tensors.len());
            return Err(ConvertError::MissingTensor { tensor: name, file: self.path(0), of });
        };
        let file = self.path(tensor.file);
        if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(ConvertError::Dtype { tensor: name, file, dtype: format!("{:?}", tensor.dtype) });
        }
        if tensor.shape.iter().ne(shape.iter().map(|Extent(_, size)| size)) {
            let expected: Vec<String> = shape.iter().map(|Extent(name, size)| format!("{name} = {size}")).collect();
            return Err(ConvertError::Shape {
                tensor: name,
                file,
                settings: settings.to_owned(),
                found: tensor.shape.clone(),
                expected: format!("[{}]", expected.join(", ")),
            });
        }
        Ok(tensor.clone())
    }

    /// Refuses weights with a tensor whose name begins so: `field` of the file `settings` says that there is none.
    pub(super) fn refuse(&self, begin: &str, settings: &str, field: &'static str) -> Result<(), ConvertError> {
        let begin = format!("{}{begin}", self.prefix);
        match self.tensors.range(begin.clone()..).next().filter(|(name, _)| name.starts_with(&begin)) {
            Some((name, tensor)) => Err(ConvertError::UnreadTensor {
                tensor: name.clone(),
                file: self.path(tensor.file),
                settings: settings.to_owned(),
                field,
            }),
            None => Ok(()),
        }
    }

    /// The values of a tensor, in the order of its file (row-major), widened to f32.
    pub(super) fn read(&self, tensor: &Tensor) -> Result<Vec<f32>, ConvertError> {
        let path = self.path(tensor.file);
        let file = File::open(&path).map_err(unreadable(&path))?;
        let read = |bytes: &mut [u8]| file.read_exact_at(bytes, tensor.offset).map_err(unreadable(&path));
        let mut values = vec![0f32; tensor.len()];
        match tensor.dtype {
            Dtype::F32 => {
                read(bytemuck::cast_slice_mut(&mut values))?;
                values.iter_mut().for_each(|value| *value = f32::from_bits(u32::from_le(value.to_bits())));
            }
            dtype => {
                let mut halves = vec![0u16; tensor.len()];
                read(bytemuck::cast_slice_mut(&mut halves))?;
                let widened = |half: u16| match dtype {
                    Dtype::F16 => f16::from_bits(half).to_f32(),
                    _ => bf16::from_bits(half).to_f32(),
                };
                values.iter_mut().zip(halves).for_each(|(value, half)| *value = widened(u16::from_le(half)));
            }
        }
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(ConvertError::NotFinite { tensor: tensor.name.clone(), file: path }),
        }
    }

    /// The same, rounded to f16: refused where a value is beyond its range.
    pub(super) fn read_half(&self, tensor: &Tensor) -> Result<Vec<f16>, ConvertError> {
        let rounded = |value: f32| match f16::from_f32(value) {
            half if half.is_finite() => Ok(half),
            _ => Err(ConvertError::BeyondHalf { tensor: tensor.name.clone(), file: self.path(tensor.file), value }),
        };
        self.read(tensor)?.into_iter().map(rounded).collect()
    }

    fn path(&self, file: usize) -> PathBuf {
        self.folder.join(self.files.get(file).map_or(SINGLE, String::as_str))
    }
}

/// The files that an index names, each once, in the order of their names.
fn shards(index: &Path) -> Result<Vec<String>, ConvertError> {
    let refused = |reason: String| ConvertError::Index { file: index.into(), reason };
    let bytes = std::fs::metadata(index).map_err(unreadable(index))?.len();
    if bytes > MAX_INDEX_BYTES {
        return Err(refused(format!("it has {bytes} bytes, and a list of files has at most {MAX_INDEX_BYTES}")));
    }
    let text = std::fs::read(index).map_err(unreadable(index))?;
    let listed: Index = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    let files: BTreeSet<String> = listed.weight_map.into_values().collect();
    if files.is_empty() {
        return Err(refused("weight_map names no file".to_owned()));
    }
    match files.iter().find(|file| file.is_empty() || file.contains(['/', '\\']) || file.starts_with('.')) {
        Some(file) => Err(refused(format!("weight_map names {file:?}, which is not a file beside it"))),
        None => Ok(files.into_iter().collect()),
    }
}

/// Adds the tensors of one file, after its header proved to describe the file exactly.
fn read_header(path: &Path, number: usize, tensors: &mut BTreeMap<String, Tensor>) -> Result<(), ConvertError> {
    let file = File::open(path).map_err(unreadable(path))?;
    let bytes = file.metadata().map_err(unreadable(path))?.len();
    let map = match bytes {
        0 => None, // an empty file cannot be mapped
        // SAFETY: the map is read here alone and only in its header. A model's file is not written in place; should
        // somebody cut it short in this very moment, the process ends by a signal as if the disk had failed.
        _ => Some(unsafe { Mmap::map(&file) }.map_err(unreadable(path))?),
    };
    let refused = |error: &_| ConvertError::safetensors(path, bytes, error);
    let (header, metadata) = SafeTensors::read_metadata(map.as_deref().unwrap_or_default()).map_err(|e| refused(&e))?;
    let data = header as u64 + 8;
    // In the order of their names, so that the same fault is told of the same tensor.
    for (name, info) in metadata.tensors().into_iter().collect::<BTreeMap<_, _>>() {
        let shape = info.shape.clone();
        let tensor = Tensor {
            name: name.clone(),
            shape,
            file: number,
            offset: data + info.data_offsets.0 as u64,
            dtype: info.dtype,
        };
        if let Some(first) = tensors.insert(name, tensor) {
            let reason = format!("the tensor {:?} is in another file as well", first.name);
            return Err(ConvertError::Index { file: path.into(), reason });
        }
    }
    Ok(())
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> ConvertError + '_ {
    move |source| match source.kind() {
        ErrorKind::UnexpectedEof => ConvertError::Changed { file: path.into() },
        _ => ConvertError::Unreadable { file: path.into(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    #[test]
    fn what_f16_cannot_hold_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (value, held) in [(65504.0f32, true), (-65519.0, true), (65520.0, false), (-1e6, false)] {
            let bytes: Vec<u8> = [1.0f32, value].iter().flat_map(|value| value.to_le_bytes()).collect();
            let tensor = TensorView::new(Dtype::F32, vec![2], &bytes).unwrap();
            std::fs::write(dir.path().join(SINGLE), safetensors::serialize([("gain", tensor)], None).unwrap()).unwrap();
            let weights = Weights::open(dir.path()).unwrap();
            let tensor = weights.tensor("gain", "config.json", &[Extent("hidden_size", 2)]).unwrap();
            match weights.read_half(&tensor) {
                Ok(halves) => assert!(held && halves[0] == f16::ONE, "{value}"),
                Err(error) => {
                    let message = error.to_string();
                    assert!(!held && message.contains("\"gain\"") && message.contains(&value.to_string()), "{message}");
                }
            }
        }
    }
}

//! Tensors as f64, from every safetensors file of a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::env::files;

pub struct Weights {
    tensors: BTreeMap<String, Vec<f64>>,
    /// What all names begin with.
    prefix: String,
}

impl Weights {
    pub fn open(folder: &Path) -> Self {
        let mut tensors = BTreeMap::new();
        let is_weights =
            |path: &&std::path::PathBuf| path.extension().is_some_and(|extension| extension == "safetensors");
        for path in files(folder).iter().filter(is_weights) {
            let bytes = fs::read(path).unwrap();
            for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                tensors.insert(name.to_owned(), values(tensor.dtype(), tensor.data()));
            }
        }
        let words = ["embeddings.word_embeddings.weight", "embeddings.tok_embeddings.weight"];
        let prefix = tensors.keys().find_map(|name| words.iter().find_map(|word| name.strip_suffix(word)));
        let prefix = prefix.unwrap_or_default().to_owned();
        Self { tensors, prefix }
    }

    /// A tensor's values, row by row.
    pub fn get(&self, name: &str) -> &[f64] {
        self.find(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The same for one that there may be.
    pub fn find(&self, name: &str) -> Option<&[f64]> {
        let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        let found = [name, &old].into_iter().find_map(|name| self.tensors.get(&format!("{}{name}", self.prefix)));
        found.map(Vec::as_slice)
    }
}

fn values(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).into()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).into()).collect(),
        other => panic!("{other:?}"),
    }
}

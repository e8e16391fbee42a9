//! What a model must give, by plain loops in f64: slow, and written from the papers and the models' public definition
//! in transformers 5 and sentence-transformers 6, not from `src/convert`. It reads the model's folder by itself.

mod encoder;
mod head;
mod numbers;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weights::Weights;

/// A vector for each token.
type Rows = Vec<Vec<f64>>;

/// The tokens of a text, special ones included.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub ids: Vec<usize>,
    /// Segments, one for each token.
    pub types: Vec<usize>,
    /// Tokens of the prompt, and those before it.
    pub prompt: usize,
}

/// What a person may say against the model's own settings.
#[derive(Clone, Debug, Default)]
pub struct Overrides<'a> {
    pub pooling: Option<&'a str>,
    pub normalize: Option<bool>,
    pub dim: Option<usize>,
}

pub struct Oracle {
    folder: PathBuf,
    config: Value,
    weights: Weights,
}

impl Oracle {
    pub fn open(folder: &Path) -> Self {
        Self { folder: folder.into(), config: json(&folder.join("config.json")), weights: Weights::open(folder) }
    }

    /// The vector of one text.
    pub fn vector(&self, tokens: &Tokens, overrides: &Overrides) -> Vec<f64> {
        let states = match self.config["model_type"].as_str().unwrap() {
            "modernbert" => encoder::modern(&self.config, &self.weights, &tokens.ids),
            kind => encoder::classic(kind, &self.config, &self.weights, tokens),
        };
        head::vector(&self.folder, states, tokens.prompt, overrides)
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A number of the configuration, under whichever of these names it has.
fn size(config: &Value, names: &[&str]) -> usize {
    names.iter().find_map(|name| config[*name].as_u64()).unwrap_or_else(|| panic!("there is no {names:?}")) as usize
}

//! Node configuration as resolved: names checked, axes filled in, defaults applied.
//!
//! The engine sees only these types; what the user wrote is in `spec.rs`. Paths are still as written, relative to the
//! manifest, because no absolute path may reach a key. `fingerprint.rs` decides which fields enter a key, and
//! destructures these structs so that a new field does not compile until somebody has decided.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a missing input file means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// A missing file or an empty glob is an error.
    #[default]
    Error,
    /// A missing file counts as an empty one, and is listed.
    Skip,
}

/// The field that a record's key is read from, where a load node names none. The tables call the key's column so,
/// whatever it was read from: `table.rs`.
pub const DEFAULT_KEY: &str = "bibcode";

/// The resolved configuration of one `load` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadConfig {
    /// Path or glob of the input, relative to the manifest.
    pub input: String,
    /// The field that the key of a record is read from.
    pub key: String,
    /// The fields kept besides the key, in the order written.
    pub fields: Vec<String>,
    /// What a missing input means.
    pub missing: Missing,
}

/// The resolved configuration of one `prepare` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareConfig {
    /// The fields that make the text, in order.
    pub fields: Vec<String>,
    /// Text put before.
    pub prefix: String,
    /// Text put after.
    pub suffix: String,
    /// Text put between fields.
    pub delimiter: String,
    /// Text put between the values of a field that is a list.
    pub list_delimiter: String,
    /// Whether the fields' text is lowercased.
    pub lowercase: bool,
    /// Characters kept of the fields' text; 0 keeps all.
    pub truncate: u64,
}

/// How token vectors become one vector per text. Named as in sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens of the text, special tokens included.
    Mean,
    /// The vector of the first token.
    Cls,
    /// The maximum of each component over all tokens.
    Max,
    /// The vector of the last token.
    LastToken,
}

/// The element type of stored or published vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE half precision, 2 bytes.
    F16,
    /// IEEE single precision, 4 bytes.
    F32,
}

impl Dtype {
    /// Bytes per component.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        })
    }
}

/// Where an ONNX model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU; an error where there is none.
    Cuda,
    /// A GPU where there is one, otherwise the CPU, and the run says which.
    #[default]
    Auto,
}

/// The resolved `[embed.X.onnx]` table. Only the device can change a vector; the rest is speed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxConfig {
    /// Where the model runs.
    pub device: Device,
    /// Sessions running side by side; by default one per core.
    pub sessions: Option<usize>,
    /// Threads inside each session; by default one.
    pub threads: Option<usize>,
    /// Tokens per run of the model, at most; a text longer than this still runs, alone.
    pub max_batch_tokens: Option<usize>,
}

/// The resolved configuration of one `embed` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedConfig {
    /// The model's URI or path, as written.
    pub model: String,
    /// Tokens per text, at most, special tokens included; by default the model's own limit.
    pub max_length: Option<usize>,
    /// Pooling, where the model's own is to be overridden.
    pub pooling: Option<Pooling>,
    /// L2 normalisation, where the model's own is to be overridden.
    pub normalize: Option<bool>,
    /// Element type of the vectors kept in the store.
    pub store_dtype: Dtype,
    /// How ONNX Runtime runs the model.
    pub onnx: OnnxConfig,
}

/// The resolved configuration of one `persist` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistConfig {
    /// The directory that shows the dataset, relative to the manifest.
    pub dir: String,
    /// The label in the published names.
    pub label: String,
    /// Element type of the published vectors.
    pub dtype: Dtype,
}

/// The resolved configuration of one `merge` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeConfig {
    /// The directory that shows the dataset, relative to the manifest.
    pub dir: String,
    /// The label in the published names.
    pub label: String,
    /// Element type of the published vectors, which is that of the datasets merged.
    pub dtype: Dtype,
    /// Whether it holds the vectors of the datasets merged as they are, instead of a copy.
    pub view: bool,
}

//! Node configuration as resolved: names checked, axes filled in, defaults applied.
//!
//! The engine sees only these types; what the user wrote is in `spec.rs`. Paths are still as written, relative to the
//! manifest, because no absolute path may reach a key. `fingerprint.rs` decides which fields enter a key, and
//! destructures these structs so that a new field does not compile until somebody has decided.

use std::fmt;
use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::api::{Api as ApiConfig, Dollars, KeyVariables, Mode};
pub use super::derived::{
    AddressFault, ArrayExport, Derived, Export, Exports, FactoryText, FileExport, HnswIndex, Index, IndexSearch,
    IvfPqIndex, IvfSq8Index, LinesExport, ServerExport, SignsIndex, server_address,
};
pub use super::device::{Device, Gpus, Provider};
use super::record_template::RecordTemplate;
use crate::clean::Step;
use crate::condition::{Condition, Fraction};
use crate::encoding::{Dtype, SetDtype};

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
/// whatever it was read from: `table`.
pub const DEFAULT_KEY: &str = "bibcode";

/// The most bytes that a record may have, where a load node says nothing.
pub const DEFAULT_MAX_RECORD_BYTES: u64 = 16 << 20;

/// The resolved configuration of one `load` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadConfig {
    /// Path or glob of the input, relative to the manifest.
    pub input: String,
    /// The field that the key of a record is read from.
    pub key: String,
    /// The fields kept besides the key, in the order written.
    pub fields: Vec<String>,
    /// The field that other bibcodes of a paper are read from.
    pub aliases: Option<String>,
    /// The path to the records in a file; none where they are at its top.
    pub records: Option<String>,
    /// The most bytes that a record may have.
    pub max_record_bytes: u64,
    /// What a missing input means.
    pub missing: Missing,
    /// The condition on a record to be taken.
    pub condition: Option<Condition>,
    /// The part of the records to be taken, drawn by their keys.
    pub sample: Option<Fraction>,
    /// How many records that pass both are taken, at most: the first ones.
    pub limit: Option<NonZeroU64>,
}

/// The resolved configuration of one `prepare` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareConfig {
    /// Which fields make the text, and how they stand to each other.
    pub layout: Layout,
    /// What is done to each value of each field before they are joined, in order.
    pub clean: Vec<Step>,
    /// Text put before.
    pub prefix: String,
    /// Text put after.
    pub suffix: String,
    /// Text put between the values of a field that is a list.
    pub list_delimiter: String,
    /// Whether the fields' text is lowercased.
    pub lowercase: bool,
    /// Characters kept of the fields' text; 0 keeps all.
    pub truncate: u64,
    /// Where a text that is too long is cut.
    pub truncate_at: TruncateAt,
}

impl PrepareConfig {
    /// These fields as they are, with everything else at its default, but nothing cleaned.
    pub fn of(fields: &[&str]) -> Self {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Self {
            layout: Layout::Fields { fields, delimiter: DEFAULT_DELIMITER.to_owned() },
            clean: Vec::new(),
            prefix: String::new(),
            suffix: String::new(),
            list_delimiter: DEFAULT_LIST_DELIMITER.to_owned(),
            lowercase: false,
            truncate: 0,
            truncate_at: TruncateAt::Character,
        }
    }
}

/// Text put between two fields, where nothing else is said: an empty line.
pub const DEFAULT_DELIMITER: &str = "\n\n";

/// Text put between two values of a field, where nothing else is said.
pub const DEFAULT_LIST_DELIMITER: &str = "; ";

/// How the fields of a record make its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One after the other.
    Fields {
        /// The fields, in order.
        fields: Vec<String>,
        /// Text put between two of them.
        delimiter: String,
    },
    /// In a text with places for them.
    Template(RecordTemplate),
}

impl Layout {
    /// The fields in the order in which they are used; one that a template has twice is here twice.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Fields { fields, .. } => fields.iter().map(String::as_str).collect(),
            Self::Template(template) => template.placeholders().map(|placeholder| placeholder.field.as_str()).collect(),
        }
    }
}

/// Where a text that is too long is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TruncateAt {
    /// After the last character that fits, accents included.
    #[default]
    Character,
    /// After the last whole word that fits. A word longer than all that may be kept is cut inside.
    Word,
}

impl fmt::Display for TruncateAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Character => "character",
            Self::Word => "word",
        })
    }
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
    /// The sum over all tokens, divided by the square root of their number.
    #[serde(rename = "mean_sqrt_len")]
    MeanSqrtLen,
    /// The mean over all tokens, each weighted by its place: 1 for the first, 2 for the second.
    WeightedMean,
}

impl Pooling {
    /// All of them, by the names that manifests use.
    pub const ALL: [(&'static str, Self); 6] = [
        ("mean", Self::Mean),
        ("cls", Self::Cls),
        ("max", Self::Max),
        ("lasttoken", Self::LastToken),
        ("mean_sqrt_len", Self::MeanSqrtLen),
        ("weightedmean", Self::WeightedMean),
    ];

    /// Whether leaving out a prompt at the beginning of the text changes the result.
    pub const fn sees_prompt(self) -> bool {
        !matches!(self, Self::LastToken)
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, pooling)| pooling == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What happens to a text that has more tokens than the model sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Long {
    /// It is cut after the last token that fits.
    #[default]
    Truncate,
    /// It is cut after the last whole word that fits.
    Word,
    /// It is read in windows, and its vector is the mean of theirs, weighted by their tokens.
    Mean,
}

impl fmt::Display for Long {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncate => "truncate",
            Self::Word => "word",
            Self::Mean => "mean",
        })
    }
}

/// In what numbers the products of a converted model are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE single precision.
    #[default]
    F32,
    /// IEEE half precision, for GPUs: the inputs and weights of products, and attention; sums and normalisations stay in `f32`.
    /// Vectors differ slightly from those of `f32`.
    F16,
    /// Weights of 7 bits with a scale for each output, inputs of 8 bits scaled by each token's own extremes; vectors differ
    /// slightly from those of `f32`.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

/// Which of a model's graphs runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GraphChoice {
    /// The one that sciembed makes of the model's safetensors weights.
    Own,
    /// The ONNX file that lies in the model's folder.
    Bundled,
}

impl fmt::Display for GraphChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Bundled => "bundled",
        })
    }
}

/// The resolved `[embed.X.onnx]` table. Only device and provider can change a vector; the rest is speed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnnxConfig {
    /// Where the model runs.
    pub device: Device,
    /// What drives a GPU, where the manifest says; only with a `cuda` device.
    pub provider: Option<Provider>,
    /// Sessions running side by side; by default one per core or GPU.
    pub sessions: Option<usize>,
    /// Threads inside each session; by default one.
    pub threads: Option<usize>,
    /// Tokens per run of the model, at most; a text longer than this still runs, alone.
    pub max_batch_tokens: Option<usize>,
}

/// The resolved configuration of one `embed` instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedConfig {
    /// The model's URI or path, as written.
    pub model: String,
    /// Tokens per text, at most, special tokens included; by default the model's own limit.
    pub max_length: Option<usize>,
    /// Pooling, where the model's own is to be overridden.
    pub pooling: Option<Pooling>,
    /// L2 normalisation, where the model's own is to be overridden.
    pub normalize: Option<bool>,
    /// The prompt put before every text: the name of one of the model's own, or literal text; by default the model's own
    /// default prompt, if it has one.
    pub prompt: Option<String>,
    /// The prompt put before questions that are asked of the vectors; by default the model's own `query` prompt, if it has
    /// one, or else that of texts.
    pub query_prompt: Option<String>,
    /// Components kept of a vector; by default all.
    pub dim: Option<usize>,
    /// What happens to a text that has more tokens than the model sees.
    pub long: Long,
    /// Tokens that a window of a long text shares with the one before it, where they are read in windows.
    pub overlap: Option<usize>,
    /// In what numbers the model computes.
    pub precision: Precision,
    /// Which of the model's graphs runs; by default the own one where the architecture is known.
    pub graph: Option<GraphChoice>,
    /// Element type of the vectors kept in the store.
    pub store_dtype: Dtype,
    /// How ONNX Runtime runs the model.
    pub onnx: OnnxConfig,
    /// How an API is asked, where the node says so.
    pub api: Option<Box<ApiConfig>>,
}

impl EmbedConfig {
    /// This model, with nothing overridden.
    pub fn of(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            max_length: None,
            pooling: None,
            normalize: None,
            prompt: None,
            query_prompt: None,
            dim: None,
            long: Long::Truncate,
            overlap: None,
            precision: Precision::default(),
            graph: None,
            store_dtype: Dtype::F16,
            onnx: OnnxConfig::default(),
            api: None,
        }
    }
}

/// The resolved configuration of one `persist` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistConfig {
    /// The directory that shows the dataset, relative to the manifest.
    pub dir: String,
    /// The label in the published names.
    pub label: String,
    /// Element type of the published vectors.
    pub dtype: SetDtype,
    /// Components of the published vectors; none for all.
    pub dim: Option<usize>,
    /// What is made of the dataset.
    pub derived: Derived,
}

/// The resolved configuration of one `merge` instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeConfig {
    /// The directory that shows the dataset, relative to the manifest.
    pub dir: String,
    /// The label in the published names.
    pub label: String,
    /// Element type of the published vectors, which is that of the datasets merged.
    pub dtype: SetDtype,
    /// Whether it holds the vectors of the datasets merged as they are, instead of a copy.
    pub view: bool,
    /// What is made of the dataset.
    pub derived: Derived,
}

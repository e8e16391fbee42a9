//! The manifest as written: one struct per section.
//!
//! These doc comments are the manual and, through schemars, `schemas/workflow.schema.json`. Every struct denies
//! unknown fields, because a misspelt key must not silently change, or fail to change, a cached result. Nothing is
//! flattened, untagged or tagged: serde would buffer it and lose the position of an error. What these values mean
//! once names, axes and defaults are settled is in `config.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::api::Api;
use super::config::{
    DEFAULT_KEY, DEFAULT_LIST_DELIMITER, DEFAULT_MAX_RECORD_BYTES, Device, Exports, GraphChoice, Index, Long, Missing,
    Pooling, Precision, Provider, TruncateAt,
};
use crate::clean::Step;
use crate::condition::Fraction;
use crate::encoding::{Dtype, SetDtype};

/// The version of the manifest that this program reads.
pub const VERSION: u32 = 1;

/// A sciembed workflow: nodes that load, prepare, embed, persist and merge, run once for every value of the matrix.
///
/// `{axis}` in `load.input`, `prepare.prefix`, `prepare.suffix`, `embed.model`, and in `dir` and `label` of persist and
/// merge, stands for a value of that axis of the matrix; `{{` and `}}` are literal braces. A node runs once per value of
/// the axes in its own strings and in those of the nodes upstream; a merge node takes those of its `across` together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "sciembed workflow")]
pub struct Workflow {
    /// The version of the manifest's format. This program reads version 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,

    /// The workflow's name: letters, digits, `_`, `.` and `-`. The store remembers what was applied under it.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"))]
    pub name: String,

    /// The directory of the store, relative to the manifest. Workflows may share one.
    #[schemars(length(min = 1))]
    pub store: String,

    /// The axes over which nodes are repeated, such as `year = "2015..=2020"`.
    #[serde(default)]
    pub matrix: BTreeMap<String, Axis>,

    /// Nodes that read metadata, `[load.NAME]`.
    #[serde(default)]
    pub load: BTreeMap<String, Load>,

    /// Nodes that make one text of each paper, `[prepare.NAME]`.
    #[serde(default)]
    pub prepare: BTreeMap<String, Prepare>,

    /// Nodes that make one vector of each text, `[embed.NAME]`.
    #[serde(default)]
    pub embed: BTreeMap<String, Embed>,

    /// Nodes that publish vectors as a dataset, `[persist.NAME]`.
    #[serde(default)]
    pub persist: BTreeMap<String, Persist>,

    /// Nodes that make one dataset of several, `[merge.NAME]`.
    #[serde(default)]
    pub merge: BTreeMap<String, Merge>,
}

/// Reads metadata of papers from JSON files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The path of the input, or a glob, relative to the manifest. JSON: an object a line, in one array, or one behind the
    /// other; or a table whose first line names the columns, with commas, tabs or semicolons between cells (CSV, TSV); plain,
    /// or compressed with gzip, zstd, bzip2 or xz. Or Parquet. The form is told by the file's first bytes. `"-"` is what is
    /// piped into `apply`, `plan` and `peek`. May contain `{axis}`.
    #[schemars(length(min = 1))]
    pub input: String,

    /// The field that holds a record's key, a string; of several records with one key the last counts. It is always kept.
    /// Whatever its name is, tables, datasets and commands call it the bibcode. Default: `"bibcode"`.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1))]
    pub key: String,

    /// The fields to keep besides the key, which is not listed; at least one. `"author.0"` is the first of a list, and
    /// `"pub.name"` a field inside an object.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub fields: Vec<String>,

    /// A field that lists other bibcodes of the same paper, such as `"identifier"` in dumps of ADS: the e-print that became
    /// a journal paper. A string or a list; what does not have the form of a bibcode (19 characters) is passed over. They
    /// are no part of the text. A dataset answers to them, and a merge keeps one row of such a paper: a row whose bibcode
    /// another row lists is left out, and listed. The field need not be one of `fields`. Default: none.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub aliases: Option<String>,

    /// Where the records are in a file of nested JSON: keys with dots between, as in `"response.docs"` for answers of Solr.
    /// Default: at its top, an object a line, in one array, or one behind the other.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub records: Option<String>,

    /// The most bytes that a record may have; a longer one is passed over, and listed. Default: 16,777,216 (16 MiB).
    #[serde(default = "default_max_record_bytes")]
    #[schemars(range(min = 1))]
    pub max_record_bytes: u64,

    /// What a missing file, or a glob that matches none, means: `"error"` (the default), or `"skip"` to count it as
    /// empty, which the run's summary notes. It holds for a `where` as well that takes nothing and asks for a field that no
    /// record has: that is a slip, unless years may have none.
    #[serde(default)]
    pub missing: Missing,

    /// The condition on a record to be taken, such as `"doctype in ('article', 'eprint') and year >= 2010"`. It compares
    /// fields, which need not be among `fields`, with texts in quotes, numbers, `true` or `false`, by `=`, `!=`, `<`,
    /// `<=`, `>`, `>=`, `in (..)`, `not in (..)`, `contains '..'` and `starts with '..'`, or asks `is null` or
    /// `is not null`; `and`, `or`, `not` and parentheses join. `pub.name` is a field of an object, `author.0` the first
    /// of a list; other names stand in backquotes. A list passes where one of its elements does; a text such as
    /// `"2010"` compares with a number as one; what is missing or null compares with nothing. Default: all records.
    #[serde(default, rename = "where")]
    #[schemars(length(min = 1))]
    pub condition: Option<String>,

    /// The part of the records to take, drawn by the BLAKE3 of their bibcodes: above 0, and 1 at most. The same papers are
    /// drawn in every run, and a larger part holds a smaller one. Default: all records.
    #[serde(default)]
    pub sample: Option<Fraction>,

    /// How many records to take, at most, for each value of the axes: the first ones, in the order of the files, that pass
    /// `where` and `sample`. They are counted before it is settled which of several with one key counts. Default: all
    /// records.
    #[serde(default)]
    pub limit: Option<NonZeroU64>,
}

/// Makes one text of each paper: the fields in order, or a template with the fields in it, between prefix and suffix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["fields"], "not": { "required": ["template"] } },
    { "required": ["template"], "not": { "anyOf": [{ "required": ["fields"] }, { "required": ["delimiter"] }] } },
]))]
pub struct Prepare {
    /// The load node to read from.
    pub from: String,

    /// The fields that make the text, in this order; each one must be kept by the load node. Or else a `template`.
    #[serde(default)]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub fields: Option<Vec<String>>,

    /// A text with fields in braces, instead of `fields` and `delimiter`: `"{title} [SEP] {abstract}"`. Text between
    /// them stays as it is. `{title:300}` keeps 300 characters of a field; `{abstract|Abstract: |.}` puts text before and
    /// after it, which goes where the field is missing; blanks at the end go too. `{{` and `}}` are literal braces.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub template: Option<String>,

    /// What is done to each value of each field before they are joined, in this order: `"html"` takes out tags,
    /// `"entities"` decodes `&lt;` and its like, `"latex"` makes `$\Omega_\Lambda$` and `\'e` readable, `"whitespace"` folds
    /// and trims white space, `"unicode-nfc"` composes characters, `"placeholder"` takes "Not Available" and its like as
    /// missing. Default: `["whitespace"]`; `[]` leaves every value as it is.
    #[serde(default = "default_clean")]
    #[schemars(extend("uniqueItems" = true))]
    pub clean: Vec<Step>,

    /// Text put before the fields, exactly as written: end it with a space if one is wanted. It is part of the text and of
    /// its characters; what a model calls its prompt, such as `"passage: "`, is better said by `embed.NAME.prompt`, since
    /// some models leave it out of their vectors. May contain `{axis}`.
    #[serde(default)]
    pub prefix: String,

    /// Text put after the fields. May contain `{axis}`.
    #[serde(default)]
    pub suffix: String,

    /// Text put between two fields. Default: an empty line.
    #[serde(default)]
    pub delimiter: Option<String>,

    /// Text put between the values of a field that is a list, such as several titles. Default: `"; "`.
    #[serde(default = "default_list_delimiter")]
    pub list_delimiter: String,

    /// Whether the fields' text is made lower case; prefix, suffix and the text of a template stay as written. Default:
    /// false.
    #[serde(default)]
    pub lowercase: bool,

    /// How many characters (Unicode scalar values, not tokens) of the fields' text to keep. Default: 0, which keeps all.
    #[serde(default)]
    pub truncate: u64,

    /// Where a text that is too long is cut: `"character"` (the default), or `"word"`, after the last whole word that fits.
    /// A single longer word is cut inside. It counts for a template's `{title:300}` as well.
    #[serde(default)]
    pub truncate_at: TruncateAt,
}

/// Makes one vector of each text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embed {
    /// The prepare node to read from.
    pub from: String,

    /// The model: `hf://organisation/name`, with `@revision` if wanted, the path of a local folder in the layout of
    /// sentence-transformers, relative to the manifest, or `openai://name`, a model of OpenAI's or any server that speaks
    /// like it: see `api`. What `hf://` means is pinned in `sciembed.lock` beside the
    /// manifest. May contain `{axis}`.
    #[schemars(length(min = 1))]
    pub model: String,

    /// How many tokens of a text the model sees, special tokens included. Default: the model's own limit.
    #[serde(default)]
    pub max_length: Option<NonZeroUsize>,

    /// What happens to a text that has more tokens than that: `"truncate"` (the default) cuts it after the last token that
    /// fits, `"word"` after the last whole word. `"mean"` reads all of it, in windows of `max_length`, and takes the mean of
    /// their vectors, weighted by their tokens: slower by as much as there is more to read.
    #[serde(default)]
    pub long: Long,

    /// With `long = "mean"`, how many tokens a window shares with the one before it. Default: 32, or a quarter of
    /// `max_length` where that is less.
    #[serde(default)]
    pub overlap: Option<usize>,

    /// How token vectors become one vector: `"mean"`, `"cls"`, `"max"`, `"lasttoken"`, `"mean_sqrt_len"` or
    /// `"weightedmean"`. Default: as the model's own settings say.
    #[serde(default)]
    pub pooling: Option<Pooling>,

    /// Whether vectors are scaled to length 1 (L2). Default: as the model's own settings say.
    #[serde(default)]
    pub normalize: Option<bool>,

    /// The prompt put before every text: the name of one of the model's own prompts, such as `"document"`, or literal
    /// text with its separator, such as `"passage: "`; `""` for none. Default: the model's own default prompt, if any.
    #[serde(default)]
    pub prompt: Option<String>,

    /// The prompt put before a question in `sciembed search`, as `prompt` is put before texts. It changes no vector and no
    /// key. Default: the model's own prompt named `"query"`, if it has one, or else what `prompt` says.
    #[serde(default)]
    pub query_prompt: Option<String>,

    /// How many components of a vector to keep, for models that allow it (Matryoshka); vectors of length 1 are scaled to
    /// length 1 again. Default: all.
    #[serde(default)]
    pub dim: Option<NonZeroUsize>,

    /// In what numbers the model computes: `"f32"` (the default), or, for other, very similar vectors, `"int8"` or `"f16"`.
    /// `"int8"` is for CPUs alone: up to three times as fast on those with VNNI, a third faster on others with AVX2. `"f16"` is
    /// for GPUs alone: products and attention in half precision, sums and normalisations in f32.
    #[serde(default)]
    pub precision: Precision,

    /// Which graph runs: `"own"`, made of the model's safetensors weights, or `"bundled"`, the ONNX file in its folder.
    /// Default: the own one for the architectures that are known, otherwise the bundled one.
    #[serde(default)]
    pub graph: Option<GraphChoice>,

    /// The element type of the vectors kept in the store: `"f16"` (the default) or `"f32"`. What is published can only
    /// be as wide as this.
    #[serde(default = "default_dtype")]
    pub store_dtype: Dtype,

    /// How ONNX Runtime runs the model, `[embed.NAME.onnx]`.
    #[serde(default)]
    pub onnx: Onnx,

    /// How an API is asked, `[embed.NAME.api]`.
    #[serde(default)]
    pub api: Option<Box<Api>>,
}

/// How ONNX Runtime runs a model. Apart from device and provider, these change the speed and never a vector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Onnx {
    /// Where the model runs: `"cpu"`, `"cuda"` (the first GPU), `"cuda:0,1"` (these GPUs, fed from one queue), or `"auto"`
    /// (the default), a GPU where there is one. Which GPU it is changes no key.
    #[serde(default)]
    pub device: Device,

    /// What drives the GPUs of a `cuda` device: `"cuda"` (the default), or `"tensorrt"`, which compiles the model for the GPU at
    /// hand: minutes at its first start, since engines are kept in the store. Its vectors are of a class of their own.
    #[serde(default)]
    pub provider: Option<Provider>,

    /// How many sessions run side by side. Default: one per core, or per GPU.
    #[serde(default)]
    pub sessions: Option<NonZeroUsize>,

    /// How many threads each session uses. Default: 1.
    #[serde(default)]
    pub threads: Option<NonZeroUsize>,

    /// How many tokens go into one run of the model, at most. A longer text still runs, alone. Default: 512 on a CPU, 16384 on
    /// a GPU.
    #[serde(default)]
    pub max_batch_tokens: Option<NonZeroUsize>,
}

/// Publishes vectors and their bibcodes as a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Persist {
    /// The embed node to read from.
    pub from: String,

    /// The directory in which the dataset appears, relative to the manifest. May contain `{axis}`.
    #[schemars(length(min = 1))]
    pub dir: String,

    /// The first part of the published names; the values of the axes follow, as in `minilm_2017`. Letters, digits, `_`,
    /// `.` and `-`. May contain `{axis}`. Default: the last part of the model's name, without its revision.
    #[serde(default)]
    pub label: Option<String>,

    /// The element type of the published vectors: `"f16"` (the default), `"f32"`, `"bf16"`, `"i8"` (integers and one scale
    /// a row) or `"binary"` (signs). It cannot be wider than the embed node's `store_dtype`.
    #[serde(default = "default_set_dtype")]
    pub dtype: SetDtype,

    /// How many components of each vector are published, the first ones, scaled so that the vector stays as long as it was.
    /// Only models that were trained for it (Matryoshka representation learning) lose little by it. Default: all.
    #[serde(default)]
    pub dim: Option<NonZeroUsize>,

    /// An approximate index over the vectors, for searches that look at some of them: `[persist.NAME.index.auto]` (what suits
    /// the number of rows), `index.hnsw`, `index.ivf_pq`, `index.ivf_sq8`, `index.signs`, or `index = { factory = ".." }`. It is built beside
    /// what is published, and changes no key. Default: none, every vector is looked at.
    #[serde(default)]
    pub index: Option<Index>,

    /// Whether the words of the texts are indexed too (BM25), for `sciembed search --mode bm25` and `hybrid`: some 160 bytes
    /// a row, beside what is published, in no key.
    #[serde(default)]
    pub words: bool,

    /// What the dataset is handed on as once it is published, `[persist.NAME.export.FORMAT]` with the formats `npy`, `parquet`,
    /// `solr`, `elasticsearch`, `qdrant` and `weaviate`. It changes no key; what was written is kept as it is until the dataset
    /// changes.
    #[serde(default)]
    pub export: Exports,
}

/// Makes one dataset of the datasets that differ in the named axes, such as all years. Of a bibcode that several of them
/// hold, the one latest in the order of the matrix counts; a row whose bibcode is an alias of another paper's row
/// (`load.NAME.aliases`) gives way to it; what is left out is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// The persist node, or other merge node, whose datasets are merged.
    pub from: String,

    /// The axes whose values are merged, at least one, such as `["year"]`. Whatever years a command is limited to, a
    /// merge stands for all of them.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub across: Vec<String>,

    /// The directory in which the dataset appears, relative to the manifest. May contain `{axis}`.
    #[schemars(length(min = 1))]
    pub dir: String,

    /// The first part of the published names; the values of the axes that are left follow. Letters, digits, `_`, `.` and
    /// `-`. May contain `{axis}`. Default: the label of what is merged.
    #[serde(default)]
    pub label: Option<String>,

    /// Whether it is a view: by default the vectors are copied into one file; a view holds those of the datasets that it
    /// merges as they are, and takes a few bytes a row. Its rows are theirs one below the other, superseded ones
    /// included, which no bibcode leads to. A view cannot be merged again.
    #[serde(default)]
    pub view: bool,

    /// An approximate index over the vectors, for searches that look at some of them: `[merge.NAME.index.auto]` (what suits
    /// the number of rows), `index.hnsw`, `index.ivf_pq`, `index.ivf_sq8`, `index.signs`, or `index = { factory = ".." }`. It is built beside
    /// what is published, and changes no key. Default: none, every vector is looked at.
    #[serde(default)]
    pub index: Option<Index>,

    /// Whether the words of the texts are indexed too (BM25), for `sciembed search --mode bm25` and `hybrid`: some 160 bytes
    /// a row, beside what is published, in no key.
    #[serde(default)]
    pub words: bool,

    /// What the dataset is handed on as once it is published, `[merge.NAME.export.FORMAT]` with the formats `npy`, `parquet`,
    /// `solr`, `elasticsearch`, `qdrant` and `weaviate`. It changes no key; what was written is kept as it is until the dataset
    /// changes.
    #[serde(default)]
    pub export: Exports,
}

fn default_max_record_bytes() -> u64 {
    DEFAULT_MAX_RECORD_BYTES
}

fn default_key() -> String {
    DEFAULT_KEY.to_owned()
}

fn default_clean() -> Vec<Step> {
    vec![Step::Whitespace]
}

fn default_list_delimiter() -> String {
    DEFAULT_LIST_DELIMITER.to_owned()
}

const fn default_set_dtype() -> SetDtype {
    SetDtype::F16
}

const fn default_dtype() -> Dtype {
    Dtype::F16
}

/// The values of one axis, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// `"2015..=2020"`, or `"2015..2021"` without its end. Checked in `matrix.rs`, where the fault can be told.
    Range(String),
    /// `[2015, 2016]` or `["astro", "earth"]`.
    List(Vec<Cell>),
}

/// One value in an axis' list, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Cell(pub String);

/// What an axis may be; it completes the sentence "must be ...".
const AXIS_FORMS: &str = "a range such as \"2015..=2020\", or a list";

// By hand, because an untagged enum would lose the position of a fault inside the list.
impl<'de> Deserialize<'de> for Axis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AxisVisitor;

        impl<'de> Visitor<'de> for AxisVisitor {
            type Value = Axis;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(AXIS_FORMS)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Axis, E> {
                Ok(Axis::Range(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Axis, A::Error> {
                let mut cells = Vec::new();
                while let Some(cell) = seq.next_element()? {
                    cells.push(cell);
                }
                Ok(Axis::List(cells))
            }
        }

        deserializer.deserialize_any(AxisVisitor)
    }
}

impl Serialize for Axis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Range(range) => range.serialize(serializer),
            Self::List(cells) => cells.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CellVisitor;

        impl Visitor<'_> for CellVisitor {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a string")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Cell, E> {
                Ok(Cell(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Cell, E> {
                Ok(Cell(value.to_owned()))
            }
        }

        deserializer.deserialize_any(CellVisitor)
    }
}

impl JsonSchema for Axis {
    fn schema_name() -> Cow<'static, str> {
        "Axis".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The values of one axis: a range such as \"2015..=2020\" (its end included) or \"2015..2021\" \
                            (its end left out), or a list of integers or strings. Values become parts of file names: \
                            letters, digits, `_`, `.` and `-`.",
            "anyOf": [
                { "type": "string", "pattern": r"^\s*[0-9]+\s*\.\.=?\s*[0-9]+\s*$" },
                {
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": true,
                    "items": {
                        "anyOf": [
                            { "type": "integer" },
                            { "type": "string", "pattern": r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$" },
                        ],
                    },
                },
            ],
        })
    }
}

/// The JSON Schema of the manifest, as committed in `schemas/workflow.schema.json`.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Workflow);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

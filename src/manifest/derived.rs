//! What is made of a published dataset, outside every key: an approximate index, an index of words, exports.
//!
//! It stands with the node that publishes, `[merge.NAME.index.auto]` or `[merge.NAME.export.parquet]`, and can be made anew
//! from what is published at any time, so none of it makes a step stale.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::encoding::Dtype;

/// What is made of a dataset once it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// The approximate index that it gets.
    pub index: Option<Index>,
    /// Whether it gets an index of the words of its texts.
    pub words: bool,
    /// Where it is handed on to.
    pub export: Exports,
}

/// What a dataset is handed on as, once for each form: `[merge.NAME.export.parquet]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exports {
    /// An array for NumPy, `n x dim`, with the bibcodes of its rows in a file beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npy: Option<ArrayExport>,
    /// Parquet files with columns of bibcodes, vectors and fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parquet: Option<FileExport>,
    /// Documents for Solr's `/update/json/docs`, one JSON object a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solr: Option<LinesExport>,
    /// Requests for the bulk API of Elasticsearch and OpenSearch, two lines a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<LinesExport>,
    /// Points in a collection of a Qdrant server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qdrant: Option<ServerExport>,
    /// Objects in a collection of a Weaviate server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weaviate: Option<ServerExport>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Export {
    /// An array for NumPy.
    Npy(ArrayExport),
    /// Parquet files.
    Parquet(FileExport),
    /// Documents for Solr.
    Solr(LinesExport),
    /// Requests for Elasticsearch.
    Elasticsearch(LinesExport),
    /// Points in Qdrant.
    Qdrant(ServerExport),
    /// Objects in Weaviate.
    Weaviate(ServerExport),
}

impl Exports {
    /// Those that are asked for.
    pub fn each(&self) -> Vec<Export> {
        let Self { npy, parquet, solr, elasticsearch, qdrant, weaviate } = self.clone();
        let each = [
            npy.map(Export::Npy),
            parquet.map(Export::Parquet),
            solr.map(Export::Solr),
            elasticsearch.map(Export::Elasticsearch),
            qdrant.map(Export::Qdrant),
            weaviate.map(Export::Weaviate),
        ];
        each.into_iter().flatten().collect()
    }
}

impl Export {
    /// Its key in a workflow.
    pub fn format(&self) -> &'static str {
        match self {
            Self::Npy(_) => "npy",
            Self::Parquet(_) => "parquet",
            Self::Solr(_) => "solr",
            Self::Elasticsearch(_) => "elasticsearch",
            Self::Qdrant(_) => "qdrant",
            Self::Weaviate(_) => "weaviate",
        }
    }

    /// The fields of the records that go with each vector.
    pub fn fields(&self) -> &[String] {
        match self {
            Self::Npy(_) => &[],
            Self::Parquet(it) => &it.fields,
            Self::Solr(it) | Self::Elasticsearch(it) => &it.fields,
            Self::Qdrant(it) | Self::Weaviate(it) => &it.fields,
        }
    }

    /// A field whose name the export gives to something else.
    pub fn clash(&self) -> Option<&str> {
        let vector = match self {
            Self::Solr(it) | Self::Elasticsearch(it) => it.vector.as_deref().unwrap_or("embedding"),
            Self::Npy(_) | Self::Parquet(_) | Self::Qdrant(_) | Self::Weaviate(_) => "embedding",
        };
        let own: &[&str] = match self {
            Self::Qdrant(_) | Self::Weaviate(_) => &["bibcode", "dataset", "set"],
            Self::Parquet(_) => &["bibcode", "embedding"],
            _ => &["bibcode", "id"],
        };
        let is_own = |name: &&str| own.contains(name) || (self.server().is_none() && *name == vector);
        let fields = self.fields();
        let twice = (1..fields.len()).find(|at| fields[..*at].contains(&fields[*at])).map(|at| fields[at].as_str());
        let fields = fields.iter().map(String::as_str).find(is_own);
        let named = Some(vector).filter(|vector| ["bibcode", "id"].contains(vector));
        fields.or(twice).or(named)
    }

    /// Where it goes, if that is a server.
    pub fn server(&self) -> Option<&ServerExport> {
        match self {
            Self::Qdrant(it) | Self::Weaviate(it) => Some(it),
            _ => None,
        }
    }

    /// Where it goes, if that is a folder.
    pub fn dir(&self) -> Option<&str> {
        match self {
            Self::Npy(it) => Some(&it.dir),
            Self::Parquet(it) => Some(&it.dir),
            Self::Solr(it) | Self::Elasticsearch(it) => Some(&it.dir),
            Self::Qdrant(_) | Self::Weaviate(_) => None,
        }
    }
}

/// What is wrong with the address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFault {
    /// It holds a name or password.
    Secret,
    /// It is none.
    NoAddress,
}

/// Whether a text can be the address of a server that is exported to.
///
/// # Errors
/// What is wrong with it.
pub fn server_address(url: &str) -> Result<(), AddressFault> {
    match url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) {
        Some(rest) if rest.contains('@') => Err(AddressFault::Secret),
        Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ']) => Ok(()),
        _ => Err(AddressFault::NoAddress),
    }
}

/// An array in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArrayExport {
    /// The folder, relative to the manifest; the dataset's files are in a folder of its name there.
    #[schemars(length(min = 1))]
    pub dir: String,
    /// The element type of the array. Default: as the dataset has it; `bf16`, which NumPy lacks, becomes `"f32"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
}

/// Tables in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileExport {
    /// The folder, relative to the manifest; the dataset's files are in a folder of its name there.
    #[schemars(length(min = 1))]
    pub dir: String,
    /// The fields of the records that stand beside each vector, of those that load selects. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Rows of a file. Default: 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<NonZeroUsize>,
}

/// Documents in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinesExport {
    /// The folder, relative to the manifest; the dataset's files are in a folder of its name there.
    #[schemars(length(min = 1))]
    pub dir: String,
    /// The fields of the records that stand in each document, of those that load selects. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The name of the vector in a document. Default: `"embedding"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
    /// Documents of a file. Default: 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<NonZeroUsize>,
}

/// A collection on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerExport {
    /// Where the server is, as in `"http://localhost:6333"`.
    #[schemars(length(min = 1))]
    pub url: String,
    /// The collection. Default: the dataset's name, which Weaviate begins with a capital.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The fields of the records that stand beside each vector, of those that load selects. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The environment variable that holds the server's API key. Default: no key is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Rows of a request. Default: 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<NonZeroUsize>,
}

/// Which approximate index a dataset gets, and how thoroughly it is searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Index {
    /// What suits the number of rows: none below 20,000, product codes in inverted lists above.
    Auto(IndexSearch),
    /// A graph of neighbours over codes of a byte a component: for some 100,000 rows, since it takes 272 bytes a row beyond the
    /// codes.
    Hnsw(HnswIndex),
    /// Product codes in inverted lists: the smallest.
    IvfPq(IvfPqIndex),
    /// A byte a component in inverted lists.
    IvfSq8(IvfSq8Index),
    /// The signs of all components, a bit each, all of which are looked at: built in seconds, and needs no training.
    Signs(SignsIndex),
    /// What Faiss' index factory makes of a text, such as `"OPQ48_384,IVF4096,PQ48np"`.
    Factory(FactoryText),
}

impl Index {
    /// What it is, as a workflow names it, with its parameters where those are all that it has.
    pub fn name(&self) -> String {
        match self {
            Self::Auto(_) => "auto".to_owned(),
            Self::Hnsw(_) => "hnsw".to_owned(),
            Self::IvfPq(_) => "ivf_pq".to_owned(),
            Self::IvfSq8(_) => "ivf_sq8".to_owned(),
            Self::Signs(_) => "signs".to_owned(),
            Self::Factory(factory) => factory.0.clone(),
        }
    }

    /// How thoroughly it is searched, where the workflow says.
    pub fn search(&self) -> IndexSearch {
        match self {
            Self::Auto(search) => *search,
            Self::Hnsw(hnsw) => IndexSearch { ef: hnsw.ef, candidates: hnsw.candidates, nprobe: None },
            Self::IvfPq(ivf) => IndexSearch { nprobe: ivf.nprobe, candidates: ivf.candidates, ef: None },
            Self::IvfSq8(ivf) => IndexSearch { nprobe: ivf.nprobe, candidates: ivf.candidates, ef: None },
            Self::Signs(signs) => IndexSearch { candidates: signs.candidates, nprobe: None, ef: None },
            Self::Factory(_) => IndexSearch::default(),
        }
    }
}

/// How thoroughly an index is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexSearch {
    /// Inverted lists that a search reads. Default: 64, or a 64th of them where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nprobe: Option<NonZeroUsize>,
    /// Rows of a graph that a search keeps in view. Default: 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ef: Option<NonZeroUsize>,
    /// Rows that are scored anew by their vectors where ten are wanted. Default: by the codes, 100 to 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<NonZeroUsize>,
}

/// A graph of neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HnswIndex {
    /// Links of a row. Default: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m: Option<NonZeroUsize>,
    /// Rows of the graph that a search keeps in view. Default: 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ef: Option<NonZeroUsize>,
    /// Rows that are scored anew by their vectors where ten are wanted. Default: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<NonZeroUsize>,
}

/// Product codes in inverted lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IvfPqIndex {
    /// Inverted lists. Default: about four times the root of the rows, a power of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nlist: Option<NonZeroUsize>,
    /// Bytes of a code, by which the number of components can be divided. Default: a third of the components, or fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m: Option<NonZeroUsize>,
    /// Inverted lists that a search reads. Default: 64, or a 64th of them where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nprobe: Option<NonZeroUsize>,
    /// Rows that are scored anew by their vectors where ten are wanted. Default: by the codes, 100 to 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<NonZeroUsize>,
}

/// A byte a component in inverted lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IvfSq8Index {
    /// Inverted lists. Default: about four times the root of the rows, a power of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nlist: Option<NonZeroUsize>,
    /// Inverted lists that a search reads. Default: 64, or a 64th of them where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nprobe: Option<NonZeroUsize>,
    /// Rows that are scored anew by their vectors where ten are wanted. Default: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<NonZeroUsize>,
}

/// The signs of all components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignsIndex {
    /// Rows that are scored anew by their vectors where ten are wanted. Default: 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<NonZeroUsize>,
}

/// A text of Faiss' index factory that is understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FactoryText(pub String);

impl<'de> Deserialize<'de> for FactoryText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<sciembed_faiss::Factory>() {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(serde::de::Error::custom(error)),
        }
    }
}

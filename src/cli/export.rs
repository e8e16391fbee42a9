//! `sciembed export`: a published dataset as files for other programs, or into a vector database.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::Failure;
use super::datasets::DatasetArguments;
use super::derived::Wanted;
use super::print::show;
use crate::encoding::Dtype;
use crate::error::Exit;
use crate::manifest::config::{
    AddressFault, ArrayExport, Export, FileExport, LinesExport, ServerExport, server_address,
};
use crate::search::answering;

/// Hand a published dataset on: as arrays, tables or documents in files, or as points of a vector database.
///
/// What was handed on is not done again until the dataset changes; what was interrupted goes on where it stopped. A workflow
/// does the same with each apply, by `[merge.NAME.export.FORMAT]`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sciembed export npy --to exports/npy
  sciembed export parquet --to exports/parquet --fields title,year --dataset minilm
  sciembed export elasticsearch --to exports/bulk && curl -H 'Content-Type: application/x-ndjson' \\
      --data-binary @exports/bulk/minilm/part-00000.ndjson http://localhost:9200/papers/_bulk
  sciembed export qdrant --url http://localhost:6333 --collection papers --api-key-env QDRANT_API_KEY")]
pub struct Arguments {
    #[command(subcommand)]
    format: Format,
    /// Hand on again what was handed on already, as after a server has lost it
    #[arg(long, global = true)]
    again: bool,
}

fn address(text: &str) -> Result<String, String> {
    match server_address(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(AddressFault::Secret) => {
            Err("it holds a name or password: name the variable that holds the key by --api-key-env".to_owned())
        }
        Err(AddressFault::NoAddress) => Err("it is no address such as http://localhost:6333".to_owned()),
    }
}

#[derive(clap::Subcommand)]
enum Format {
    /// An array for NumPy, embeddings.npy, with bibcodes.txt beside it
    Npy(Npy),
    /// Parquet files: bibcode, embedding and fields
    Parquet(Files),
    /// Documents for Solr's /update/json/docs, one JSON object a line
    Solr(Lines),
    /// Requests for the bulk API of Elasticsearch and OpenSearch
    Elasticsearch(Lines),
    /// Points in a collection of a Qdrant server
    Qdrant(Server),
    /// Objects in a collection of a Weaviate server
    Weaviate(Server),
}

#[derive(clap::Args)]
struct Npy {
    #[command(flatten)]
    datasets: DatasetArguments,
    /// The folder; the files of a dataset are in a folder of its name there
    #[arg(long, value_name = "DIR")]
    to: String,
    /// The element type of the array [default: as published; bf16 and i8 become f32]
    #[arg(long, value_enum)]
    dtype: Option<Float>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Float {
    /// IEEE half precision
    F16,
    /// IEEE single precision
    F32,
}

#[derive(clap::Args)]
struct Files {
    #[command(flatten)]
    datasets: DatasetArguments,
    /// The folder; the files of a dataset are in a folder of its name there
    #[arg(long, value_name = "DIR")]
    to: String,
    /// Fields of the records, of those that load selected, as in title year, or title,year
    #[arg(long, value_name = "FIELDS", num_args = 1.., value_delimiter = ',')]
    fields: Vec<String>,
    /// Rows of a file [default: 100000]
    #[arg(long, value_name = "N")]
    rows: Option<NonZeroUsize>,
}

#[derive(clap::Args)]
struct Lines {
    #[command(flatten)]
    files: Files,
    /// The name of the vector in a document [default: embedding]
    #[arg(long, value_name = "NAME")]
    vector: Option<String>,
}

#[derive(clap::Args)]
struct Server {
    #[command(flatten)]
    datasets: DatasetArguments,
    /// Where the server is, as in http://localhost:6333
    #[arg(long, value_parser = address)]
    url: String,
    /// The collection [default: the dataset's name]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Fields of the records, of those that load selected, as in title year, or title,year
    #[arg(long, value_name = "FIELDS", num_args = 1.., value_delimiter = ',')]
    fields: Vec<String>,
    /// The environment variable that holds the server's API key
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
    /// Rows of a request [default: 500]
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroUsize>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (datasets, export) = arguments.format.export();
    let (open, _) = answering(datasets.open()?)?;
    for dataset in open {
        let name = dataset.description().dataset.clone();
        let wanted = Wanted::export(PathBuf::from("."), datasets.dir.clone(), name.clone(), export.clone());
        if !arguments.again && super::derived::due(std::slice::from_ref(&wanted)).is_empty() {
            show(format!("nothing to do: {name} was exported as it is, to {}", wanted.place()))?;
        } else {
            wanted.make()?;
        }
    }
    Ok(Exit::Done)
}

impl Format {
    fn export(&self) -> (&DatasetArguments, Export) {
        let lines = |Lines { files, vector }: &Lines| {
            let Files { to, fields, rows, .. } = files;
            LinesExport { dir: to.clone(), fields: fields.clone(), vector: vector.clone(), rows: *rows }
        };
        match self {
            Self::Npy(Npy { datasets, to, dtype }) => {
                let dtype = dtype.map(|dtype| match dtype {
                    Float::F16 => Dtype::F16,
                    Float::F32 => Dtype::F32,
                });
                (datasets, Export::Npy(ArrayExport { dir: to.clone(), dtype }))
            }
            Self::Parquet(Files { datasets, to, fields, rows }) => {
                (datasets, Export::Parquet(FileExport { dir: to.clone(), fields: fields.clone(), rows: *rows }))
            }
            Self::Solr(it) => (&it.files.datasets, Export::Solr(lines(it))),
            Self::Elasticsearch(it) => (&it.files.datasets, Export::Elasticsearch(lines(it))),
            Self::Qdrant(server) => (&server.datasets, Export::Qdrant(server.export())),
            Self::Weaviate(server) => (&server.datasets, Export::Weaviate(server.export())),
        }
    }
}

impl Server {
    fn export(&self) -> ServerExport {
        let Self { datasets: _, url, collection, fields, api_key_env, batch } = self;
        ServerExport {
            url: url.clone(),
            collection: collection.clone(),
            fields: fields.clone(),
            api_key_env: api_key_env.clone(),
            batch: *batch,
        }
    }
}

//! What can keep a dataset from being handed on.

use std::io;
use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::lineage::LineageError;
use crate::store::StoreError;

/// An error of this room.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExportError {
    /// A file or folder of the export.
    #[error("write {}: {source}", path.display())]
    #[diagnostic(
        code(sciembed::export::write),
        help("make the folder writable, or free space; the next export goes on from the last whole file")
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder with something else in it.
    #[error("export over {}: no export wrote it", path.display())]
    #[diagnostic(code(sciembed::export::foreign), help("name another folder, or move it away"))]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// A field that no record has.
    #[error("export the field {field}: the records of {dataset} have no such field")]
    #[diagnostic(
        code(sciembed::export::no_field),
        help("a field must be among those that the load node selects: add it to its `fields`, and apply")
    )]
    NoField {
        /// The field.
        field: String,
        /// The dataset.
        dataset: String,
    },
    /// A name that the export gives to something else.
    #[error("export the field {field}: the export gives that name itself, or it is there twice")]
    #[diagnostic(code(sciembed::export::name), help("leave the field out, or name the vector otherwise by `vector`"))]
    Name {
        /// The field.
        field: String,
    },
    /// A key that is not set.
    #[error("read the key of {url}: the environment variable {variable} is not set")]
    #[diagnostic(
        code(sciembed::export::no_key),
        help("set it, or leave `api_key_env` out for a server that asks for none")
    )]
    NoKey {
        /// The server.
        url: String,
        /// The variable.
        variable: String,
    },
    /// A server that cannot be reached, or fails.
    #[error("ask {url}: {reason}")]
    #[diagnostic(
        code(sciembed::export::server),
        help("see that the server runs and is not overloaded; the next export goes on from row {done}")
    )]
    Server {
        /// The address.
        url: String,
        /// What happened.
        reason: String,
        /// Rows that it has.
        done: u64,
    },
    /// A server that refuses.
    #[error("ask {url}: it refused with {status}: {answer}")]
    #[diagnostic(code(sciembed::export::refused), help("mend what it names; the next export goes on from row {done}"))]
    Refused {
        /// The address.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// The beginning of its answer.
        answer: String,
        /// Rows that it has.
        done: u64,
    },
    /// A collection of something else.
    #[error("export to the collection {collection} of {url}: {reason}")]
    #[diagnostic(code(sciembed::export::collection), help("name another collection, or delete this one on the server"))]
    Collection {
        /// The server.
        url: String,
        /// The collection.
        collection: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The dataset.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dataset(#[from] DatasetError),
    /// The records behind it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lineage(#[from] LineageError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

//! Reading input files: which files, which codec, which lines, which fields.
//!
//! Bytes flow from [`files`] (a path or glob becomes a sorted list) through [`codec`] (gzip or zstd by magic bytes) into
//! [`lines`] (chunks of whole lines, bounded in size) and [`record`] (one line becomes a record or a reason for reject);
//! [`selection`] says which records are taken.
//! This room knows the shapes of ADS; it knows nothing of nodes, and writes nothing.

pub mod codec;
mod error;
pub mod files;
pub mod lines;
pub mod record;
pub mod selection;

pub use error::SourceError;

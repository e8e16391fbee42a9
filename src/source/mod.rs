//! Reading input files: which files, which codec, which lines, which fields.
//!
//! Bytes flow from [`files`] (a path or glob becomes a sorted list) through [`codec`] (decompressed, by magic bytes) and [`tables`] (rows of
//! CSV and Parquet become lines of JSON) into
//! [`chunks`] (whole records, in chunks of bounded size: a record a line, or found by a walk over brackets, as `layout.rs`
//! tells) and [`record`] (the text of one becomes a record or a reason for reject);
//! [`selection`] says which records are taken.
//! This room knows the shapes of ADS; it knows nothing of nodes, and writes nothing.

pub mod chunks;
pub mod codec;
mod error;
mod fields;
pub mod files;
mod layout;
mod members;
pub mod record;
mod scan;
pub mod selection;
pub mod tables;

pub use error::SourceError;

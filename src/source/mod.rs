//! Reading input files: which files, which codec, which lines, which fields.
//!
//! Bytes flow from [`files`] (a path or glob becomes a sorted list) through [`codec`] (decompressed, by magic bytes), [`kinds`] (what
//! holds no records is named and refused) and [`tables`] with [`delimited`] (rows of Parquet, CSV and its like become lines of JSON) into
//! [`chunks`] (whole records, in chunks of bounded size: a record a line, or found by a walk over brackets, as `layout.rs`
//! tells) and [`record`] (the text of one becomes a record or a reason for reject);
//! [`selection`] says which records are taken.
//! This room knows the shapes of ADS; it knows nothing of nodes, and writes nothing.

pub mod chunks;
pub mod codec;
pub mod delimited;
mod error;
mod fields;
pub mod files;
pub mod kinds;
mod layout;
mod lists;
mod members;
pub mod record;
mod scan;
pub mod selection;
pub mod tables;
mod unfit;

pub use error::SourceError;

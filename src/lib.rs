//! sciembed turns yearly dumps of bibliographic metadata into embeddings that can be trusted, reused and searched.

pub mod digest;
pub mod embedder;
pub mod fingerprint;
pub mod graph;
pub mod manifest;
pub mod model;
pub mod plan;
pub mod record;
pub mod source;
pub mod store;
pub mod table;

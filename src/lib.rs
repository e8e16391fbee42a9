//! sciembed turns yearly dumps of bibliographic metadata into embeddings that can be trusted, reused and searched.

pub mod cli;
pub mod dataset;
pub mod digest;
pub mod embedder;
pub mod error;
pub mod event;
pub mod fingerprint;
pub mod graph;
pub mod index;
pub mod manifest;
pub mod model;
pub mod node;
pub mod observe;
pub mod plan;
pub mod pool;
pub mod published;
pub mod record;
pub mod run;
pub mod source;
pub mod store;
pub mod table;

//! From a model reference to a local model package, and from there to the embedder key.
//!
//! Owns what the manifest's `model = ".."` may say, the layout of a sentence-transformers folder, and the table of
//! what decides a vector. Synchronous, and cheap enough for every plan: it reads small settings files and the headers of
//! weights, and asks its caller for digests, but never loads ONNX Runtime or a tokenizer. May not guess: a setting that
//! the folder does not state must come from the manifest.
//! Read next: `library.rs`, where models come from; `resolve.rs`, which puts the parts together; then the room
//! `embedder`, which runs what was resolved.

mod api;
mod architecture;
mod device;
mod error;
mod graph_file;
mod key;
mod library;
mod modules;
mod package;
mod prompt;
mod reference;
mod resolve;
mod settings;
mod settings_file;

pub use device::{Environment, FakeControls, Processor, RUNTIME_REMEDY, Variables};
pub use error::ModelError;
pub use graph_file::GraphFile;
pub use key::{Ingredients, REVISION, embedder_key, graph_folder};
pub use library::{Library, Listener};
pub use package::{Graph, ModelPackage, OwnGraph, PackageFile, Role};
pub use reference::ModelRef;
pub use resolve::{Fake, Onnx, ResolvedModel, Runner, resolve};
pub use settings::Settings;

/// Gives the digest of a file; callers that remember digests answer without reading it again.
pub type DigestOf<'a> = &'a mut dyn FnMut(&std::path::Path) -> std::io::Result<crate::digest::Digest>;

#[cfg(test)]
mod tests;

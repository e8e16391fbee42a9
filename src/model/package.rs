//! A model package: the files of a folder that decide vectors, their digests, and the settings that they state.
//!
//! Only named files count: a README or a second set of weights beside them changes nothing. Digests come from the
//! caller, who may remember them. Read next: `settings.rs` for the small files, `key.rs` for what the digests are for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::settings::{self, Settings};
use super::{DigestOf, ModelError};
use crate::digest::Digest;
use crate::manifest::config::EmbedConfig;

/// Where an ONNX graph lies in a package, in the order of preference.
const GRAPHS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// What a file of a package is for. The order is that of the key's ingredients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The ONNX graph.
    Graph,
    /// Weights that the graph keeps in a file beside it, by that file's name.
    GraphData(String),
    /// tokenizer.json.
    Tokenizer,
    /// A settings file, by its path in the package.
    Settings(String),
}

impl Role {
    /// The name of this role among the key's ingredients.
    pub fn ingredient(&self) -> String {
        match self {
            Self::Graph => "model.graph".to_owned(),
            Self::GraphData(name) => format!("model.graph_data.{name}"),
            Self::Tokenizer => "model.tokenizer".to_owned(),
            Self::Settings(path) => format!("model.settings.{path}"),
        }
    }
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Where it is on this machine; never part of a key.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// A model folder, ready to be keyed and to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPackage {
    /// The folder.
    pub folder: PathBuf,
    /// The ONNX graph.
    pub graph: PackageFile,
    /// The tokenizer.
    pub tokenizer: PackageFile,
    /// Every file that decides vectors, graph and tokenizer included.
    pub files: BTreeMap<Role, PackageFile>,
    /// What the settings files and the manifest's overrides come to.
    pub settings: Settings,
}

impl ModelPackage {
    /// Opens the model in `folder`, with the overrides of `config`.
    ///
    /// # Errors
    /// A file that is missing or says something that would be run wrongly; see [`ModelError`].
    pub fn open(folder: &Path, config: &EmbedConfig, digest_of: DigestOf) -> Result<Self, ModelError> {
        if !folder.is_dir() {
            return Err(ModelError::NoFolder { folder: folder.into() });
        }
        let settings::Found { settings, base, files: stated } = settings::read(folder, config)?;
        let graph = find(folder, &base, "the ONNX graph", &GRAPHS, NO_GRAPH)?;
        let tokenizer = find(folder, &base, "the tokenizer", &["tokenizer.json"], NO_TOKENIZER)?;

        let mut paths: BTreeMap<Role, PathBuf> = graph_data(&graph)?;
        paths.insert(Role::Graph, graph);
        paths.insert(Role::Tokenizer, tokenizer);
        paths.extend(stated.iter().map(|file| (Role::Settings(slashed(file)), folder.join(file))));

        let files = digested(paths, digest_of)?;
        let (graph, tokenizer) = (files[&Role::Graph].clone(), files[&Role::Tokenizer].clone());
        Ok(Self { folder: folder.into(), graph, tokenizer, files, settings })
    }
}

const NO_GRAPH: &str = "sentence-transformers weights (model.safetensors) alone cannot be run by this version: \
                        export the model to ONNX and put model.onnx into the folder";
const NO_TOKENIZER: &str = "copy tokenizer.json (the fast tokenizer; vocab.txt is not enough) into the folder";

/// The first of `names` that exists in `base` or, failing that, in `folder`.
fn find(
    folder: &Path,
    base: &Path,
    what: &'static str,
    names: &[&str],
    help: &'static str,
) -> Result<PathBuf, ModelError> {
    let mut places: Vec<PathBuf> =
        [base, folder].iter().flat_map(|dir| names.iter().map(|name| dir.join(name))).collect();
    places.dedup();
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| ModelError::MissingFile {
        what,
        folder: folder.into(),
        looked_for: places.iter().map(|path| slashed(path.strip_prefix(folder).unwrap_or(path))).collect(),
        help,
    })
}

/// The weight files beside the graph, by the names that exporters give them (`model.onnx_data`, `model.onnx.data`).
/// When the embedder starts it reads the graph and refuses to run if that names any other file.
fn graph_data(graph: &Path) -> Result<BTreeMap<Role, PathBuf>, ModelError> {
    let (Some(dir), Some(name)) = (graph.parent(), graph.file_name()) else { return Ok(BTreeMap::new()) };
    let name = name.to_string_lossy();
    let unreadable = |source| ModelError::Unreadable { file: dir.into(), source };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let beside = entry.file_name().to_string_lossy().into_owned();
        let rest = beside.strip_prefix(&*name).unwrap_or_default();
        if rest.starts_with("_data") || rest.starts_with(".data") {
            found.insert(Role::GraphData(beside), entry.path());
        }
    }
    Ok(found)
}

fn digested(paths: BTreeMap<Role, PathBuf>, digest_of: DigestOf) -> Result<BTreeMap<Role, PackageFile>, ModelError> {
    let digested = paths.into_iter().map(|(role, path)| match digest_of(&path) {
        Ok(digest) => Ok((role, PackageFile { path, digest })),
        Err(source) => Err(ModelError::Unreadable { file: path, source }),
    });
    digested.collect()
}

/// A path as it is written in keys and messages, the same on every system.
fn slashed(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

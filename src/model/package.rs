//! A model package: the files of a folder that decide vectors, their digests, and the settings that they state.
//!
//! Only named files count: a README or a second set of weights beside them changes nothing. Digests come from the
//! caller, who may remember them. Which graph runs is a rule over what the folder holds, never a measurement: a
//! stopwatch in a key would embed a corpus again because of noise.
//! Read next: `settings.rs` for the small files, `key.rs` for what the digests are for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::settings::{self, Found, Settings, slashed};
use super::{DigestOf, ModelError, architecture};
use crate::convert::{Conversion, INDEX, Operators, Planned, SINGLE, Stage, Weights};
use crate::digest::Digest;
use crate::hub::RepoRef;
use crate::manifest::config::{EmbedConfig, GraphChoice, Precision};

/// Where an ONNX graph lies in a package, in the order of preference.
pub(super) const GRAPHS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// What a file of a package is for. The order is that of the key's ingredients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The ONNX graph that lies in the folder.
    Graph,
    /// Weights that the graph keeps in a file beside it, by that file's name.
    GraphData(String),
    /// Weights that a graph is made of, by their path in the package.
    Weights(String),
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
            Self::Weights(path) => format!("model.weights.{path}"),
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

/// The graph that runs.
#[derive(Clone, Debug)]
pub enum Graph {
    /// An ONNX file of the folder.
    Bundled(PackageFile),
    /// One that is made of the weights.
    Own(Box<OwnGraph>),
}

/// A graph that is made of the weights.
#[derive(Clone, Debug)]
pub struct OwnGraph {
    /// The graph, and how its weights are written.
    pub planned: Planned,
    /// What config.json calls the architecture.
    pub architecture: &'static str,
    /// In what numbers it computes.
    pub precision: Precision,
    /// The tokens that it has vectors for.
    pub vocab: usize,
    /// Whether each row's result is independent of the other rows of a run.
    pub row_independent: bool,
}

/// A model folder, ready to be keyed and to be run.
#[derive(Clone, Debug)]
pub struct ModelPackage {
    /// The folder.
    pub folder: PathBuf,
    /// The graph that runs.
    pub graph: Graph,
    /// Why it is that one.
    pub why: String,
    /// The tokenizer.
    pub tokenizer: PackageFile,
    /// Every file that decides vectors, graph and tokenizer included.
    pub files: BTreeMap<Role, PackageFile>,
    /// What the settings files and the manifest's overrides come to.
    pub settings: Settings,
}

/// A question, where what should be a folder reads like the name of a model on the hub: `organisation/name`, and neither is
/// there a folder of the organisation's name, nor is that what the folder of models is called.
fn on_the_hub(folder: &Path, model: &str) -> String {
    let is_name = model.contains('/') && model.parse::<RepoRef>().is_ok();
    match is_name && !model.starts_with("models/") && !folder.parent().is_some_and(Path::is_dir) {
        true => format!("did you mean `hf://{model}`? "),
        false => String::new(),
    }
}

impl ModelPackage {
    /// Opens the model in `folder`, with the overrides of `config`. A graph that is made of its weights has these operators.
    ///
    /// # Errors
    /// A file that is missing or says something that would be run wrongly; see [`ModelError`].
    pub fn open(
        folder: &Path,
        config: &EmbedConfig,
        operators: Operators,
        digest_of: DigestOf,
    ) -> Result<Self, ModelError> {
        if !folder.is_dir() {
            return Err(ModelError::NoFolder { folder: folder.into(), remedy: on_the_hub(folder, &config.model) });
        }
        // Told before what such a folder does not settle: nobody should write `max_length` for no model.
        if !["modules.json", "config.json"].iter().chain(&GRAPHS).any(|name| folder.join(name).is_file()) {
            return Err(no_model(folder));
        }
        let found = settings::read(folder, config)?;
        let (choice, why) = choose(folder, &found, config)?;
        let tokenizer = find(folder, &found.base, "the tokenizer", &["tokenizer.json"], NO_TOKENIZER)?;
        let mut paths = BTreeMap::from([(Role::Tokenizer, tokenizer)]);
        paths.extend(found.files.iter().map(|file| (Role::Settings(slashed(file)), folder.join(file))));

        let own = match choice {
            GraphChoice::Own => Some(own_graph(&found, config, operators)?),
            GraphChoice::Bundled => {
                refuse_for_bundled(&found, config)?;
                let graph = find(folder, &found.base, "the ONNX graph", &GRAPHS, NO_GRAPH)?;
                paths.extend(graph_data(&graph)?);
                paths.insert(Role::Graph, graph);
                None
            }
        };
        if let Some(own) = &own {
            paths.extend(own.planned.modules().iter().flat_map(|weights| weight_paths(folder, weights)));
        }
        let files = digested(paths, digest_of)?;
        let tokenizer = files[&Role::Tokenizer].clone();
        let graph = match own {
            Some(own) => Graph::Own(Box::new(own)),
            None => Graph::Bundled(files[&Role::Graph].clone()),
        };
        Ok(Self { folder: folder.into(), graph, why, tokenizer, files, settings: found.settings })
    }

    /// The files that hold weights, with their digests.
    pub fn weight_files(&self) -> Vec<(PathBuf, &Digest)> {
        let weights = self.files.iter().filter(|(role, _)| matches!(role, Role::Weights(_)));
        weights.map(|(_, file)| (file.path.clone(), &file.digest)).collect()
    }
}

impl Graph {
    /// Which of the two it is.
    pub fn choice(&self) -> GraphChoice {
        match self {
            Self::Bundled(_) => GraphChoice::Bundled,
            Self::Own(_) => GraphChoice::Own,
        }
    }

    /// In what numbers it computes.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Bundled(_) => Precision::F32,
            Self::Own(own) => own.precision,
        }
    }
}

const NO_GRAPH: &str = "put model.onnx into the folder, or, for an architecture that sciembed knows, model.safetensors";
const NO_TOKENIZER: &str = "copy tokenizer.json (the fast tokenizer; vocab.txt is not enough) into the folder";
const NO_WEIGHTS: &str = "fetch the model's folder again; weights of another kind (pytorch_model.bin) cannot be read: \
                          save the model as safetensors";

/// Which graph runs: the one asked for, else the own one where architecture and weights allow it, else the folder's.
fn choose(folder: &Path, found: &Found, config: &EmbedConfig) -> Result<(GraphChoice, String), ModelError> {
    let known = found.config.as_ref().map_or(Ok(None), architecture::known)?;
    let has_weights = Weights::are_in(&found.base);
    let bundled = in_order(&found.base, folder, &GRAPHS).any(|path| path.is_file());
    match (config.graph, known) {
        (Some(GraphChoice::Bundled), _) => Ok((GraphChoice::Bundled, "graph = \"bundled\" was asked for".to_owned())),
        (Some(GraphChoice::Own), Some(_)) | (None, Some(_)) if has_weights => {
            let why = format!("{} is an architecture that sciembed builds a graph for", known.unwrap_or_default());
            Ok((GraphChoice::Own, why))
        }
        (None, _) if bundled && has_weights => {
            Ok((GraphChoice::Bundled, "sciembed builds no graph for this architecture".to_owned()))
        }
        (None, _) if bundled => {
            Ok((GraphChoice::Bundled, "the folder has an ONNX graph and no safetensors".to_owned()))
        }
        (_, Some(_)) => Err(ModelError::MissingFile {
            what: "the weights",
            folder: folder.into(),
            looked_for: [SINGLE, INDEX].into_iter().chain(GRAPHS).map(str::to_owned).collect(),
            help: NO_WEIGHTS,
        }),
        // An architecture that is not known is told by its name, or config.json is missing.
        (_, None) => match &found.config {
            Some(file) if has_weights => Err(architecture::encoder(file, found.settings.max_length)
                .map_or_else(|error| error, |_| file.missing("model_type"))),
            _ => Err(no_model(folder)),
        },
    }
}

fn no_model(folder: &Path) -> ModelError {
    ModelError::MissingFile {
        what: "a graph, or weights with a config.json that says what they are,",
        folder: folder.into(),
        looked_for: ["config.json", SINGLE].into_iter().chain(GRAPHS).map(str::to_owned).collect(),
        help: NO_GRAPH,
    }
}

/// What can be done to weights but not to a graph that is run as it is.
fn refuse_for_bundled(found: &Found, config: &EmbedConfig) -> Result<(), ModelError> {
    let refused = |field, value: String, reason: &str| ModelError::BadOverride {
        field,
        value,
        reference: config.model.clone(),
        reason: reason.to_owned(),
    };
    if config.precision != Precision::F32 {
        let reason = "its ONNX graph is run as it is; only a graph of sciembed's own is made in another";
        return Err(refused("precision", config.precision.to_string(), reason));
    }
    match found.settings.stages.iter().any(|stage| matches!(stage, Stage::Dense(_))) {
        true => {
            let reason = "its dense layers run in a graph of sciembed's own alone";
            Err(refused("graph", GraphChoice::Bundled.to_string(), reason))
        }
        false => Ok(()),
    }
}

fn own_graph(found: &Found, config: &EmbedConfig, operators: Operators) -> Result<OwnGraph, ModelError> {
    let file = found.config.as_ref().expect("an architecture is known from config.json");
    let settings = &found.settings;
    let encoder = architecture::encoder(file, settings.max_length)?;
    let vocab = encoder.vocab;
    let dense_weights = found.dense.iter().map(|folder| Weights::open(folder)).collect::<Result<Vec<_>, _>>()?;
    let conversion = Conversion {
        encoder,
        weights: Weights::open(&found.base)?,
        pooling: settings.pooling,
        include_prompt: settings.include_prompt,
        stages: settings.stages.clone(),
        precision: config.precision,
        operators,
        dense_weights,
    };
    // No kernel sees another row. Of the standard operators a dense layer multiplies pooled vectors, and that product is
    // one row high or several, by the batch: other kernels, other rounding.
    let row_independent = operators == Operators::Kernels || conversion.dense_weights.is_empty();
    Ok(OwnGraph {
        planned: conversion.plan()?,
        architecture: architecture::known(file)?.unwrap_or_default(),
        precision: config.precision,
        vocab,
        row_independent,
    })
}

/// A module's weight files, each under its path in the package.
fn weight_paths(folder: &Path, weights: &Weights) -> Vec<(Role, PathBuf)> {
    let paths = weights.files().into_iter().map(|name| weights.folder().join(name));
    paths.map(|path| (Role::Weights(slashed(path.strip_prefix(folder).unwrap_or(&path))), path)).collect()
}

/// The first of `names` that exists in `base` or, failing that, in `folder`.
fn find(
    folder: &Path,
    base: &Path,
    what: &'static str,
    names: &[&str],
    help: &'static str,
) -> Result<PathBuf, ModelError> {
    let mut places: Vec<PathBuf> = in_order(base, folder, names).collect();
    places.dedup();
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| ModelError::MissingFile {
        what,
        folder: folder.into(),
        looked_for: places.iter().map(|path| slashed(path.strip_prefix(folder).unwrap_or(path))).collect(),
        help,
    })
}

/// Where files of these names are looked for: in `base` and, failing that, in `folder`.
pub(super) fn in_order<'a>(base: &'a Path, folder: &'a Path, names: &'a [&'a str]) -> impl Iterator<Item = PathBuf> {
    [base, folder].into_iter().flat_map(move |dir| names.iter().map(move |name| dir.join(name)))
}

/// Whether a file's name is that of weights beside the graph whose name it begins with, and `rest` what follows.
pub(super) fn is_data(rest: &str) -> bool {
    rest.starts_with("_data") || rest.starts_with(".data")
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
        if beside.strip_prefix(&*name).is_some_and(is_data) {
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

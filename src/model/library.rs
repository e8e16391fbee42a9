//! Where models come from: folders on this disk, and a hub before whose models `sciembed.lock` stands.
//!
//! Which graph a model was run with, which commit a hub's model was, and what its files were, is pinned by the lock file:
//! the same workflow means the same model next year. This file decides which files of a repository are fetched, for a
//! repository holds many (weights in five formats, graphs for four runtimes), and notes what was found; writing the lock
//! file is asked for by whoever runs a workflow, since planning writes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::modules::{Modules, Tail};
use super::package::{GRAPHS, in_order, is_data};
use super::settings::{SENTENCE_SETTINGS, slashed};
use super::settings_file::SettingsFile;
use super::{ModelError, ModelPackage, architecture};
use crate::convert::{INDEX, SINGLE};
use crate::hub::{Commit, Hub, HubError, HubSettings, LOCK_NAME, LockFile, LockedModel, Progress, RepoRef, Snapshot};
use crate::manifest::config::{EmbedConfig, GraphChoice};

/// Folders of a repository that hold graphs and settings for other runtimes.
const FOREIGN: [&str; 2] = ["onnx", "openvino"];

/// Who is told how far a download is.
pub type Listener = Box<dyn FnMut(Progress)>;

/// See the file's head.
pub struct Library {
    base: PathBuf,
    hub: Option<Hub>,
    lock_path: PathBuf,
    lock: LockFile,
    /// Whether a model of the hub is to be pinned.
    must_write: bool,
    /// Whether something at all is.
    changed: bool,
    listener: Listener,
}

impl Library {
    /// The models that a manifest in `base` may name: `hub` answers for `hf://`, and `listener` hears of downloads.
    ///
    /// # Errors
    /// A lock file that cannot be read.
    pub fn open(base: &Path, hub: HubSettings, listener: Listener) -> Result<Self, HubError> {
        let folders = Self::of_folders(base);
        let lock = LockFile::read(&folders.lock_path)?;
        Ok(Self { hub: Some(Hub::new(hub)), lock, listener, ..folders })
    }

    /// Folders alone: no hub, and nothing pinned.
    pub fn of_folders(base: &Path) -> Self {
        Self {
            base: base.into(),
            hub: None,
            lock_path: base.join(LOCK_NAME),
            lock: LockFile::default(),
            must_write: false,
            changed: false,
            listener: Box::new(|_| {}),
        }
    }

    /// The folder that paths are relative to.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Writes the lock file, if something was found that it does not say.
    ///
    /// # Errors
    /// A file that cannot be written, though a model of the hub is to be pinned. Whose graph runs of a local folder is
    /// found again by the same rule, so a workflow over those alone may lie where nobody may write.
    pub fn keep(&mut self) -> Result<(), HubError> {
        let written = if self.changed { self.lock.write(&self.lock_path) } else { Ok(()) };
        if written.is_ok() || !self.must_write {
            (self.changed, self.must_write) = (false, false);
            return Ok(());
        }
        written
    }

    /// The configuration with what is pinned of its model, where it does not say otherwise itself.
    pub(super) fn pinned(&self, config: &EmbedConfig) -> EmbedConfig {
        let graph = config.graph.or_else(|| self.lock.get(&config.model)?.graph);
        EmbedConfig { graph, ..config.clone() }
    }

    /// The folder of a hub's model, with all files that are needed of it, and its commit.
    ///
    /// # Errors
    /// What the hub answers, or that something is not here while it may not be asked.
    pub(super) fn fetch(
        &mut self,
        repo: &RepoRef,
        config: &EmbedConfig,
    ) -> Result<(PathBuf, Commit, Option<String>), ModelError> {
        let Some(hub) = &self.hub else {
            return Err(ModelError::NoHub { reference: config.model.clone() });
        };
        let pinned = self.lock.get(&config.model).and_then(|locked| locked.commit.as_ref());
        let snapshot = hub.open(repo, pinned)?;
        hub.fetch(&snapshot, &settings_files(&snapshot), &mut *self.listener)?;
        hub.fetch(&snapshot, &large_files(&snapshot, config)?, &mut *self.listener)?;
        // With a pinned commit nothing hangs on the hub's answer.
        let note = snapshot.from_cache().filter(|_| pinned.is_none());
        let note = note
            .map(|why| format!("{} is taken from the cache, as of commit {}: {why}", config.model, snapshot.commit()));
        Ok((snapshot.folder().to_owned(), snapshot.commit().clone(), note))
    }

    /// Checks a package against what is pinned of it, and notes what is not pinned yet.
    ///
    /// # Errors
    /// A file that is not the pinned one.
    pub(super) fn pin(
        &mut self,
        reference: &str,
        commit: Option<Commit>,
        package: &ModelPackage,
    ) -> Result<(), ModelError> {
        let mut locked = self.lock.get(reference).cloned().unwrap_or_default();
        locked.graph = locked.graph.or(Some(package.graph.choice()));
        if commit.is_some() {
            self.pin_files(&mut locked, package)?;
            locked.commit = commit;
        }
        let (is_of_hub, is_news) = (locked.commit.is_some(), self.lock.set(reference, locked));
        self.changed |= is_news;
        self.must_write |= is_news && is_of_hub;
        Ok(())
    }

    fn pin_files(&self, locked: &mut LockedModel, package: &ModelPackage) -> Result<(), ModelError> {
        for file in package.files.values() {
            let path = slashed(file.path.strip_prefix(&package.folder).unwrap_or(&file.path));
            let pinned = *locked.files.entry(path).or_insert(file.digest);
            if pinned != file.digest {
                let (file, found) = (file.path.clone(), file.digest);
                return Err(ModelError::NotPinned { file, lock: self.lock_path.clone(), pinned, found });
            }
        }
        Ok(())
    }
}

/// The settings files and the tokenizer, at the root and in the modules' folders.
fn settings_files(snapshot: &Snapshot) -> Vec<String> {
    let is_settings = |path: &&str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let known = ["modules.json", "config.json", "config_sentence_transformers.json"].contains(&name)
            || ["tokenizer.json", "tokenizer_config.json"].contains(&name)
            || SENTENCE_SETTINGS.contains(&name);
        known && !folder.contains('/') && !FOREIGN.contains(&folder)
    };
    snapshot.files().filter(is_settings).map(str::to_owned).collect()
}

/// The weights, or the graph, that the rule of `package.rs` will choose; the settings files are here already.
fn large_files(snapshot: &Snapshot, config: &EmbedConfig) -> Result<Vec<String>, ModelError> {
    let modules = match fs::read(snapshot.path("modules.json")) {
        Ok(bytes) if snapshot.has("modules.json") => Modules::parse(&snapshot.path("modules.json"), &bytes)?,
        _ => Modules::default(),
    };
    let base = modules.transformer.as_path();
    let settings = SettingsFile::read(snapshot.path(&slashed(&base.join("config.json"))))?;
    let known = settings.as_ref().map_or(Ok(None), architecture::known)?;
    let encoder = weights(snapshot, base);
    if known.is_none() || config.graph == Some(GraphChoice::Bundled) || encoder.is_empty() {
        return Ok(graph(snapshot, base));
    }
    let dense = modules.tail.iter().filter_map(|module| match module {
        Tail::Dense(folder) => Some(weights(snapshot, folder)),
        Tail::Normalize => None,
    });
    Ok(dense.flatten().chain(encoder).collect())
}

/// One file, or the shards with their index.
fn weights(snapshot: &Snapshot, folder: &Path) -> Vec<String> {
    let single = slashed(&folder.join(SINGLE));
    if snapshot.has(&single) {
        return vec![single];
    }
    let index = slashed(&folder.join(INDEX));
    if !snapshot.has(&index) {
        return Vec::new();
    }
    let shard = slashed(&folder.join("model-"));
    let is_shard = |path: &&str| path.starts_with(&shard) && path.ends_with(".safetensors");
    snapshot.files().filter(is_shard).map(str::to_owned).chain([index]).collect()
}

/// The ONNX graph with what lies beside it.
fn graph(snapshot: &Snapshot, base: &Path) -> Vec<String> {
    let mut places = in_order(base, Path::new(""), &GRAPHS).map(|path| slashed(&path));
    let Some(graph) = places.find(|path| snapshot.has(path)) else { return Vec::new() };
    let is_part = |path: &&str| path.strip_prefix(&graph).is_some_and(|rest| rest.is_empty() || is_data(rest));
    snapshot.files().filter(is_part).map(str::to_owned).collect()
}

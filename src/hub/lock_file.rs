//! `sciembed.lock`: which commit each model of a workflow is, and the digests of its files.
//!
//! It lies beside the manifest and belongs under version control: with it, a colleague gets the same vectors in a year.
//! Equal content is equal bytes, so a change in it is a change of a model. This file knows nothing of the hub itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Commit, HubError};
use crate::digest::Digest;
use crate::manifest::config::GraphChoice;
use crate::store::durable;

/// The version that this program writes, and the newest that it reads.
pub const LOCK_VERSION: i64 = 1;

/// What the file is called, beside the manifest.
pub const LOCK_NAME: &str = "sciembed.lock";

const HEAD: &str = "# Which models the workflows here use: commit and files of a hub's, and whose graph runs.\n\
                    # Written by sciembed; keep it with the workflows.\n";

/// The models of a workflow, by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFile {
    models: BTreeMap<String, LockedModel>,
}

/// What a reference meant when it was resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedModel {
    /// The commit on the hub; a local folder has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Whose graph is run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<GraphChoice>,
    /// The files that decide vectors, by their path in the model; empty for a local folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Digest>,
}

/// The version alone, read first: what else a newer version holds is not ours to judge.
#[derive(Deserialize)]
struct Version {
    version: i64,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    model: Vec<Entry>,
}

/// One `[[model]]`. The fields of [`LockedModel`] once more, since flattening would give up on unknown ones.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<Commit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<GraphChoice>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, Digest>,
}

impl LockFile {
    /// Reads the file at `path`; one that is not there is empty.
    ///
    /// # Errors
    /// [`HubError::LockVersion`] for a newer one, [`HubError::LockMalformed`] with the line, [`HubError::Read`].
    pub fn read(path: &Path) -> Result<Self, HubError> {
        match fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(HubError::read(path, source)),
        }
    }

    /// What `reference` meant, if it was resolved before.
    pub fn get(&self, reference: &str) -> Option<&LockedModel> {
        self.models.get(reference)
    }

    /// Every reference with what it meant, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LockedModel)> {
        self.models.iter().map(|(reference, model)| (reference.as_str(), model))
    }

    /// Notes what `reference` means; says whether that is news.
    pub fn set(&mut self, reference: &str, model: LockedModel) -> bool {
        let news = self.get(reference) != Some(&model);
        self.models.insert(reference.to_owned(), model);
        news
    }

    /// Keeps only the references that `used` says are used.
    pub fn retain(&mut self, used: impl Fn(&str) -> bool) {
        self.models.retain(|reference, _| used(reference));
    }

    /// Writes the file, whole or not at all; one that says the same already is left alone.
    ///
    /// # Errors
    /// [`HubError::LockWrite`]; and as [`LockFile::read`] where `path` holds what this program cannot read, which is left
    /// as it is.
    pub fn write(&self, path: &Path) -> Result<(), HubError> {
        if *self == Self::read(path)? && path.exists() {
            return Ok(());
        }
        let prefix = format!(".{LOCK_NAME}.");
        let temporary = path.with_file_name(format!("{prefix}{}", durable::unique_name()));
        // It stands beside people's own files, so what a killed run left there must go.
        if let Some(folder) = temporary.parent() {
            durable::sweep(folder, &prefix);
        }
        durable::write(path, &temporary, self.to_text().as_bytes())
            .map_err(|source| HubError::LockWrite { path: path.into(), source })
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, HubError> {
        let malformed = |line, detail: &str| HubError::LockMalformed { path: path.into(), line, detail: detail.into() };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed(line_of(bytes, error.valid_up_to()), "it is not UTF-8 text"))?;
        let of_toml = |error: toml::de::Error| {
            malformed(error.span().map_or(1, |span| line_of(bytes, span.start)), error.message().trim())
        };
        let Version { version } = toml::from_str(text).map_err(of_toml)?;
        if version > LOCK_VERSION {
            return Err(HubError::LockVersion { path: path.into(), found: version });
        }
        if version < 1 {
            return Err(malformed(1, &format!("there is no version {version}")));
        }
        let written: Written = toml::from_str(text).map_err(of_toml)?;
        let mut models = BTreeMap::new();
        for Entry { reference, commit, graph, files } in written.model {
            if models.insert(reference.clone(), LockedModel { commit, graph, files }).is_some() {
                let line = text.rfind(&reference).map_or(1, |at| line_of(bytes, at));
                return Err(malformed(line, &format!("{reference:?} stands here twice")));
            }
        }
        Ok(Self { models })
    }

    fn to_text(&self) -> String {
        let entries = self.models.iter().map(|(reference, model)| {
            let LockedModel { commit, graph, files } = model.clone();
            Entry { reference: reference.clone(), commit, graph, files }
        });
        let written = Written { version: LOCK_VERSION, model: entries.collect() };
        format!("{HEAD}{}", toml::to_string(&written).expect("strings and a number are plain TOML"))
    }
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at.min(bytes.len())].iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn lock() -> LockFile {
        let mut lock = LockFile::default();
        let files =
            ["tokenizer.json", "1_Pooling/config.json"].map(|path| (path.to_owned(), Digest::of(path.as_bytes())));
        let commit = Some(COMMIT.parse().unwrap());
        let graph = Some(GraphChoice::Own);
        assert!(lock.set("hf://org/name@v1", LockedModel { commit, graph, files: files.into() }));
        let graph = Some(GraphChoice::Bundled);
        assert!(lock.set("../models/minilm", LockedModel { graph, ..LockedModel::default() }));
        lock
    }

    /// These bytes lie in people's repositories: when they change, every one of those shows a change.
    #[test]
    fn the_bytes_are_pinned() {
        let expected = format!(
            r#"{HEAD}version = 1

[[model]]
reference = "../models/minilm"
graph = "bundled"

[[model]]
reference = "hf://org/name@v1"
commit = "{COMMIT}"
graph = "own"

[model.files]
"1_Pooling/config.json" = "{}"
"tokenizer.json" = "{}"
"#,
            Digest::of(b"1_Pooling/config.json"),
            Digest::of(b"tokenizer.json"),
        );
        assert_eq!(lock().to_text(), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCK_NAME);
        assert_eq!(LockFile::read(&path).unwrap(), LockFile::default());
        let mut lock = lock();
        lock.write(&path).unwrap();
        assert_eq!(LockFile::read(&path).unwrap(), lock);

        let model = lock.get("hf://org/name@v1").unwrap().clone();
        assert!(!lock.set("hf://org/name@v1", model));
        lock.retain(|reference| reference.starts_with("hf://"));
        lock.write(&path).unwrap();
        assert_eq!(LockFile::read(&path).unwrap().iter().count(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    /// It stands beside people's own files, where nothing of a killed run may pile up.
    #[test]
    fn what_a_killed_run_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(format!(".{LOCK_NAME}.{}~4194305~0~0", durable::host()));
        fs::write(&dead, "version = 1\n[[mo").unwrap();
        lock().write(&dir.path().join(LOCK_NAME)).unwrap();
        assert!(!dead.exists());
    }

    /// A program that does not know what a newer one noted would drop it.
    #[test]
    fn a_newer_version_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCK_NAME);
        let newer = "version = 2\nmodels = \"elsewhere\"\n";
        fs::write(&path, newer).unwrap();
        assert!(matches!(LockFile::read(&path), Err(HubError::LockVersion { found: 2, .. })));
        assert!(matches!(lock().write(&path), Err(HubError::LockVersion { found: 2, .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }

    #[test]
    fn a_malformed_file_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCK_NAME);
        let entry = "[[model]]\nreference = \"x\"\n";
        let cases: [(&str, usize, &str); 7] = [
            ("version = 1\n[[model]]\nreference = 3\n", 3, "string"),
            ("version = 1\n<<<<<<< ours\n", 2, ""),
            ("model = []\n", 1, "version"),
            ("version = 0\n", 1, "no version 0"),
            (&format!("version = 1\n{entry}commit = \"abc\"\n"), 4, "40 hex digits"),
            (&format!("version = 1\n{entry}commmit = \"abc\"\n"), 4, "unknown field"),
            (&format!("version = 1\n{entry}{entry}"), 5, "twice"),
        ];
        for (text, at, what) in cases {
            fs::write(&path, text).unwrap();
            match LockFile::read(&path) {
                Err(HubError::LockMalformed { line, detail, .. }) => {
                    assert!(line == at && detail.contains(what), "{text}: line {line}: {detail}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        fs::write(&path, b"version = 1\n# \xff\n").unwrap();
        assert!(matches!(LockFile::read(&path), Err(HubError::LockMalformed { line: 2, .. })));
    }
}

//! What a dataset says of itself in its manifest, as far as readers need it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DatasetError, same_set};
use crate::digest::{Digest, EmbedderKey, NodeKey};
use crate::encoding::SetDtype;
use crate::graph::{embeddings_file, part_file};
use crate::store::ipc::IpcTable;

/// The description that a dataset carries, as far as readers need it.
#[derive(Clone, Debug, Deserialize)]
pub struct Description {
    /// The dataset's name.
    pub dataset: String,
    /// The label in it.
    label: String,
    /// The set.
    pub set: NodeKey,
    /// The model's short name.
    pub model: Option<String>,
    /// Components per vector.
    pub dim: usize,
    /// Element type.
    pub dtype: SetDtype,
    /// The embedder's key.
    #[serde(default)]
    pub embedder: Option<EmbedderKey>,
    /// What that key is made of, by name.
    #[serde(default)]
    pub embedder_ingredients: BTreeMap<String, String>,
    /// Rows that can be found.
    pub rows: usize,
    /// Whether it is a view, whose vectors are those that it holds of its parts.
    #[serde(default)]
    pub view: bool,
    /// The datasets that it was merged from; none if it is no merge.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Its files but for this description.
    #[serde(default)]
    pub(super) files: BTreeMap<String, FileDigest>,
}

/// What a file should be.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FileDigest {
    pub blake3: Digest,
}

/// A dataset, as a merge of it names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Part {
    /// Its name.
    pub dataset: String,
    /// Its set, as it was merged.
    pub set: NodeKey,
    /// Its first row in a view.
    #[serde(default)]
    pub offset: usize,
    /// Its rows.
    rows: usize,
    /// Those of them that do not count.
    superseded: usize,
}

/// A file of vectors, as the description of its dataset has it.
pub(super) struct VectorsFile {
    path: PathBuf,
    /// The set that it says it is of.
    set: NodeKey,
    /// Its first row in the dataset.
    pub first: usize,
    rows: usize,
}

impl VectorsFile {
    pub fn open(&self) -> Result<IpcTable, DatasetError> {
        let vectors = IpcTable::open(&self.path)?;
        let found = vectors.schema().metadata().get("sciembed.set").cloned().unwrap_or_default();
        same_set(&self.path, &found, &self.set.to_string())?;
        if vectors.rows() != self.rows {
            return Err(DatasetError::Damaged { path: self.path.clone() });
        }
        Ok(vectors)
    }
}

impl Description {
    /// Whether `other`, as it is now, was merged into this one.
    pub fn merges(&self, other: &Self) -> bool {
        self.parts.iter().any(|part| part.dataset == other.dataset && part.set == other.set)
    }

    /// What its name begins with, whichever cells follow.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The files of vectors in its folder.
    pub(super) fn vectors(&self, folder: &Path) -> Vec<VectorsFile> {
        let dtype = self.dtype;
        let of_part = |part: &Part| VectorsFile {
            path: folder.join(part_file(&part.dataset, dtype)),
            set: part.set,
            first: part.offset,
            rows: part.rows,
        };
        if self.view {
            return self.parts.iter().map(of_part).collect();
        }
        let path = folder.join(embeddings_file(&self.dataset, dtype));
        vec![VectorsFile { path, set: self.set, first: 0, rows: self.rows }]
    }

    /// Whether several of its rows may have one bibcode, of which the key index leads to the one that counts.
    pub(super) fn has_superseded(&self) -> bool {
        self.view && self.parts.iter().any(|part| part.superseded > 0)
    }
}

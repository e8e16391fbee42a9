//! Which papers hold these words? An index of the texts that were embedded, beside a dataset, scored by BM25.
//!
//! ```text
//! set -> lineage: its rows with their texts -> the crate `words` -> words_{name}/, words_{name}.json
//! ```
//!
//! It is derived, as an approximate index is: outside every key, made after the dataset was published and put over the old one;
//! its description names the set and the digests of its files, and one of another set is never asked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::AsArray;
use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, DatasetError, Description};
use crate::digest::{Digest, NodeKey};
use crate::lineage::{Beside, Lineage, LineageError};
use crate::published::{DerivedFiles, Layout};
use crate::store::{DigestCache, StoreError, durable, failpoint, is_sealed_json, pretty_json, seal_json};

/// Raised when descriptions change; `sciembed_words::VERSION` when indexes do.
const VERSION: u32 = 1;
/// Held while an index is made.
const LOCK: &str = "words.lock";

/// What can keep words from being indexed or found.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WordsError {
    /// An index of another set.
    #[error("ask the words of {dataset}: they are indexed for another set than the one that is published")]
    #[diagnostic(code(sciembed::words::other_set), help("apply the workflow, which builds the index anew"))]
    OtherSet {
        /// The dataset.
        dataset: String,
    },
    /// No index.
    #[error("ask the words of {dataset}: they are not indexed")]
    #[diagnostic(
        code(sciembed::words::none),
        help("write `words = true` into the node that publishes it, and apply the workflow")
    )]
    None {
        /// The dataset.
        dataset: String,
    },
    /// A file that was changed.
    #[error("open {}: it is not as it was written", path.display())]
    #[diagnostic(code(sciembed::words::damaged), help("apply the workflow, which builds the index anew"))]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Writing.
    #[error("write {}: {source}", path.display())]
    #[diagnostic(code(sciembed::words::write), help("make the folder writable, or free space, and apply again"))]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index itself.
    #[error("index or find words in {}: {source}", path.display())]
    #[diagnostic(
        code(sciembed::words::index),
        help(
            "free space where the dataset is published; or remove the index's folder, and apply the workflow, which builds it anew"
        )
    )]
    Index {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: Box<sciembed_words::WordsError>,
    },
    /// The dataset.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dataset(#[from] DatasetError),
    /// What the dataset was made of.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lineage(#[from] LineageError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// What an index says of itself: `words_{name}.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    version: u32,
    /// Of the index itself.
    format: u32,
    /// The dataset's name.
    pub dataset: String,
    /// The set whose texts are in it.
    pub set: NodeKey,
    /// Texts in it.
    pub rows: usize,
    /// Bytes of its files.
    pub bytes: u64,
    /// How long it took to build, in seconds.
    pub seconds: f64,
    files: Vec<IndexFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct IndexFile {
    name: String,
    bytes: u64,
    digest: Digest,
}

impl Described {
    /// Bytes for each text.
    pub fn bytes_each(&self) -> u64 {
        self.bytes.div_ceil((self.rows as u64).max(1))
    }
}

fn folder(dir: &Path, dataset: &str) -> PathBuf {
    dir.join(format!("words_{dataset}"))
}

fn description_path(dir: &Path, dataset: &str) -> PathBuf {
    dir.join(format!("words_{dataset}.json"))
}

fn described(dir: &Path, dataset: &str) -> Option<Described> {
    let text = fs::read(description_path(dir, dataset)).ok().filter(|text| is_sealed_json(text))?;
    let described: Described = serde_json::from_slice(&text).ok()?;
    (described.version == VERSION && described.format == sciembed_words::VERSION).then_some(described)
}

/// Why the words of a dataset are to be indexed; none if they are.
pub fn due(dir: &Path, dataset: &Description, digests: &mut DigestCache) -> Option<String> {
    let Some(found) = described(dir, &dataset.dataset) else { return Some("it has none".to_owned()) };
    if found.set != dataset.set {
        return Some("its words are those of another set".to_owned());
    }
    let damaged = found.damaged(&folder(dir, &dataset.dataset), digests)?;
    Some(format!("{} is missing or damaged", damaged.display()))
}

/// Whether the words of a dataset are indexed, of whatever set.
pub fn is_there(dir: &Path, dataset: &str) -> bool {
    description_path(dir, dataset).exists() || folder(dir, dataset).exists()
}

/// What stands of the index of a dataset's words; none if there is none.
pub fn standing(dir: &Path, dataset: &str) -> Option<DerivedFiles> {
    let description = description_path(dir, dataset);
    let text = fs::read(&description).ok()?;
    let files = is_sealed_json(&text).then(|| {
        let files = described(dir, dataset).map(|described| described.files).unwrap_or_default();
        files.into_iter().map(|file| (folder(dir, dataset).join(&file.name), file.digest)).collect()
    });
    Some(DerivedFiles { description, files })
}

/// Removes the index of the words of a dataset.
///
/// # Errors
/// [`WordsError::Write`].
pub fn remove(dir: &Path, dataset: &str) -> Result<(), WordsError> {
    let folder = folder(dir, dataset);
    // The description goes first: without it the rest is no index.
    let removed = durable::forget(&description_path(dir, dataset)).and_then(|()| match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    removed.map_err(|source| WordsError::Write { path: folder, source })
}

impl Described {
    /// The first of its files that is not as it was written.
    fn damaged(&self, folder: &Path, digests: &mut DigestCache) -> Option<PathBuf> {
        let mut is_whole = |file: &IndexFile| {
            let path = folder.join(&file.name);
            fs::metadata(&path).is_ok_and(|it| it.len() == file.bytes)
                && digests.digest(&path).is_ok_and(|digest| digest == file.digest)
        };
        self.files.iter().find(|file| !is_whole(file)).map(|file| folder.join(&file.name))
    }
}

/// Indexes the words of a dataset that `dir` shows, and puts the index into place.
///
/// # Errors
/// [`WordsError`]; then the index is as it was.
pub fn build(dir: &Path, dataset: &Dataset, lineage: &Lineage) -> Result<Described, WordsError> {
    let begun = Instant::now();
    let description = dataset.description();
    let (name, home) = (&description.dataset, Layout::new(dir).home());
    let target = folder(dir, name);
    let failed = |source| WordsError::Write { path: target.clone(), source };
    let _held = durable::lock(&home.join(LOCK)).map_err(failed)?;
    // Another process may have built it meanwhile.
    if let (None, Some(found)) = (due(dir, description, &mut DigestCache::default()), described(dir, name)) {
        return Ok(found);
    }
    let growing = Temporary(home.join(format!(".{}", durable::unique_name())));
    let rows = index(&growing.0, dataset, lineage)?;
    let files = files(&growing.0).map_err(failed)?;
    failpoint::reached("words: built");
    let described = Described {
        version: VERSION,
        format: sciembed_words::VERSION,
        dataset: name.clone(),
        set: description.set,
        rows,
        bytes: files.iter().map(|file| file.bytes).sum(),
        seconds: (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        files,
    };
    // The description goes first and comes last: beside it there is never another index than the one that it describes.
    let path = description_path(dir, name);
    durable::forget(&path).map_err(failed)?;
    failpoint::reached("words: the description is gone");
    show(&growing.0, &target).map_err(failed)?;
    failpoint::reached("words: in place");
    let text = seal_json(pretty_json(&serde_json::json!(described)));
    durable::write(&path, &home.join(format!(".{}", durable::unique_name())), &text).map_err(failed)?;
    Ok(described)
}

/// Writes the index of all rows that count into a new folder, and says how many there are.
fn index(folder: &Path, dataset: &Dataset, lineage: &Lineage) -> Result<usize, WordsError> {
    let of_index = |source| WordsError::Index { path: folder.to_owned(), source: Box::new(source) };
    let mut builder = sciembed_words::Builder::create(folder).map_err(of_index)?;
    let beside = Beside { records: &[], text: true };
    lineage.walk::<WordsError>(&dataset.description().set, beside, &mut |rows| {
        let texts = rows.batch["text"].as_string::<i32>();
        for (row, text) in rows.numbers.values().iter().zip(texts.iter()) {
            let row = u32::try_from(*row).map_err(|_| failed_rows(folder))?;
            builder.add(row, text.unwrap_or_default()).map_err(of_index)?;
        }
        Ok(())
    })?;
    builder.finish().map_err(of_index)
}

fn failed_rows(folder: &Path) -> WordsError {
    WordsError::Write { path: folder.to_owned(), source: io::Error::other("more rows than 2^32") }
}

fn files(folder: &Path) -> io::Result<Vec<IndexFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(IndexFile { name, bytes: fs::metadata(&path)?.len(), digest: Digest::of_file(&path)? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn show(growing: &Path, folder: &Path) -> io::Result<()> {
    if folder.exists() {
        durable::exchange(growing, folder)?
    } else {
        fs::rename(growing, folder)?
    }
    durable::sync_parent(folder)
}

/// An unfinished index, or the one before, which goes away.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays is swept when a dataset is published.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An index that can be asked.
pub struct Words(sciembed_words::Index, PathBuf);

impl Words {
    /// Opens the index of a dataset.
    ///
    /// # Errors
    /// [`WordsError::None`], [`WordsError::OtherSet`] and [`WordsError::Damaged`] if it may not be asked.
    pub fn open(dir: &Path, dataset: &Dataset, digests: &mut DigestCache) -> Result<Self, WordsError> {
        let name = &dataset.description().dataset;
        let Some(described) = described(dir, name) else {
            return Err(match standing(dir, name) {
                Some(DerivedFiles { description: path, files: None }) => WordsError::Damaged { path },
                _ => WordsError::None { dataset: name.clone() },
            });
        };
        if described.set != dataset.description().set {
            return Err(WordsError::OtherSet { dataset: name.clone() });
        }
        let folder = folder(dir, name);
        if let Some(path) = described.damaged(&folder, digests) {
            return Err(WordsError::Damaged { path });
        }
        match sciembed_words::Index::open(&folder) {
            Ok(index) => Ok(Self(index, folder)),
            Err(source) => Err(WordsError::Index { path: folder, source: Box::new(source) }),
        }
    }

    /// The `k` rows whose texts match the words of a question best, of those whose bits are set, each with its score.
    ///
    /// # Errors
    /// [`WordsError::Index`].
    pub fn best(&self, question: &str, k: usize, allowed: Option<&[u64]>) -> Result<Vec<(usize, f32)>, WordsError> {
        let is_allowed = allowed.map(|bits| move |row: u32| bits[row as usize / 64] >> (row % 64) & 1 == 1);
        let is_allowed = is_allowed.as_ref().map(|it| it as &(dyn Fn(u32) -> bool + Sync));
        let failed = |source| WordsError::Index { path: self.1.clone(), source: Box::new(source) };
        let hits = self.0.search(question, k, is_allowed).map_err(failed)?;
        Ok(hits.into_iter().map(|hit| (hit.row as usize, hit.score)).collect())
    }
}

//! What a dataset directory shows: one immutable set per name, behind one link.
//!
//! ```text
//! embeddings/
//!   embeddings_minilm_2010.f16  -> .sciembed/links/minilm_2010/embeddings_minilm_2010.f16
//!   bibcodes_minilm_2010.txt    -> .sciembed/links/minilm_2010/bibcodes_minilm_2010.txt
//!   …
//!   .sciembed/links/minilm_2010 -> ../sets/<set>      swapped by one rename
//!   .sciembed/sets/<set>/…                            the files themselves
//!   .sciembed/lock                                    held while somebody publishes
//!   catalog.duckdb, .sciembed/catalog, catalog.lock   the catalog's, which is derived from all this
//! ```
//!
//! A reader resolves the link once and opens everything in the set behind it, so it never pairs a new file with an old
//! one. How the files get there is in `place.rs`. A view's set has a folder `parts` with the vectors that it merges, which
//! stay as long as the view does; they are shown by their own datasets, so no name outside stands for them.

mod error;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::PublishError;
use place::Content;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, NodeKey};
use crate::encoding::SetDtype;
use crate::fingerprint::PublishFault;
use crate::graph::{embeddings_file, is_part_file};
use crate::manifest::config::EmbedConfig;
use crate::record::Output;
use crate::store::{DigestCache, Store, durable, failpoint};

const HOME: &str = ".sciembed";
/// How often a directory in which somebody else publishes is tried again.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// Where the parts of a dataset directory are.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Of this directory.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The one link of a dataset.
    pub fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// The folder of links, one per dataset.
    pub fn links(&self) -> PathBuf {
        self.dir.join(HOME).join("links")
    }

    /// The folder of all that is not for people's eyes.
    pub fn home(&self) -> PathBuf {
        self.dir.join(HOME)
    }

    fn sets(&self) -> PathBuf {
        self.dir.join(HOME).join("sets")
    }

    fn set(&self, set: &NodeKey) -> PathBuf {
        self.sets().join(set.to_string())
    }

    fn visible(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// What a visible name points at.
    fn visible_target(name: &str, file: &str) -> PathBuf {
        Path::new(HOME).join("links").join(name).join(file)
    }

    /// What a dataset's link points at.
    fn link_target(set: &NodeKey) -> PathBuf {
        Path::new("..").join("sets").join(set.to_string())
    }

    /// The files of published sets that may have the content of this file of a part: by name, its dataset's own or one
    /// that a view holds, and by size.
    fn holders(&self, file: &str, bytes: u64) -> io::Result<Vec<PathBuf>> {
        let own = Path::new(file).file_name().unwrap_or_default();
        let sets = fs::read_dir(self.sets())?.flatten();
        let files = sets.flat_map(|set| [set.path().join(own), set.path().join(file)]);
        let fits = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes);
        Ok(files.filter(fits).collect())
    }

    /// Removes the visible names of a dataset but these.
    fn remove_names(&self, name: &str, but: &[String]) -> io::Result<()> {
        let ours = Path::new(HOME).join("links").join(name);
        for entry in fs::read_dir(&self.dir)?.flatten() {
            let stale = !but.iter().any(|file| entry.file_name() == file.as_str());
            if stale && fs::read_link(entry.path()).is_ok_and(|target| target.parent() == Some(&ours)) {
                fs::remove_file(entry.path())?;
                failpoint::reached("publish: a name that it no longer has is gone");
            }
        }
        Ok(())
    }

    /// The sets that the links of all datasets point at.
    fn all_shown(&self) -> io::Result<Vec<String>> {
        let links = fs::read_dir(self.links())?.flatten();
        Ok(links.filter_map(|entry| self.shown(&entry.file_name().to_string_lossy())).collect())
    }

    /// The set that a dataset's link points at, if there is one.
    pub fn shown(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.link(name)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// The name of the provenance file of a dataset, which is in no key.
pub fn run_file(name: &str) -> String {
    format!("run_{name}.json")
}

/// How the directory differs from showing exactly this set under this name; none if it does not.
///
/// Content is compared by digest; files that were quiet since they were last digested are not read again.
pub fn fault(
    dir: &Path,
    name: &str,
    set: &NodeKey,
    outputs: &BTreeMap<String, Output>,
    digests: &mut DigestCache,
) -> Option<PublishFault> {
    let layout = Layout::new(dir);
    match layout.shown(name) {
        None => return Some(PublishFault::Absent),
        Some(shown) if shown != set.to_string() => {
            return Some(PublishFault::OtherSet { shown: shown.chars().take(8).collect() });
        }
        Some(_) => {}
    }
    let run = run_file(name);
    for (file, output) in outputs {
        if let Some(fault) = file_fault(&layout, name, set, file, Some(output.digest), digests) {
            return Some(fault);
        }
    }
    let unreadable = || provenance(dir, name).is_none().then(|| PublishFault::FileDiffers { file: run.clone() });
    file_fault(&layout, name, set, &run, None, digests).or_else(unreadable)
}

/// Whether the directory shows a name that a set of these files has not, and an earlier one had: it leads nowhere now. Only
/// that of the vectors differs between the sets of a dataset, by their type.
pub fn name_left(dir: &Path, name: &str, outputs: &BTreeMap<String, Output>) -> Option<PublishFault> {
    let layout = Layout::new(dir);
    let names = SetDtype::ALL.into_iter().map(|dtype| embeddings_file(name, dtype));
    let is_ours = |file: &String| {
        fs::read_link(layout.visible(file)).is_ok_and(|target| target == Layout::visible_target(name, file))
    };
    names.filter(|file| !outputs.contains_key(file)).find(is_ours).map(|file| PublishFault::NameLeft { file })
}

fn file_fault(
    layout: &Layout,
    name: &str,
    set: &NodeKey,
    file: &str,
    digest: Option<Digest>,
    digests: &mut DigestCache,
) -> Option<PublishFault> {
    if let Some(fault) = name_fault(layout, name, file) {
        return Some(fault);
    }
    let stored = layout.set(set).join(file);
    if !stored.is_file() {
        return Some(PublishFault::FileMissing { file: file.to_owned() });
    }
    let differs = digest.is_some_and(|digest| !digests.digest(&stored).is_ok_and(|found| found == digest));
    differs.then(|| PublishFault::FileDiffers { file: file.to_owned() })
}

fn name_fault(layout: &Layout, name: &str, file: &str) -> Option<PublishFault> {
    let visible = layout.visible(file);
    match fs::read_link(&visible) {
        _ if is_part_file(file) => None,
        Ok(target) if target == Layout::visible_target(name, file) => None,
        Ok(_) => Some(PublishFault::FileDiffers { file: file.to_owned() }),
        Err(_) if visible.exists() => Some(PublishFault::FileDiffers { file: file.to_owned() }),
        Err(_) => Some(PublishFault::FileMissing { file: file.to_owned() }),
    }
}

/// Who published a dataset; kept in its provenance file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The workflow's name.
    pub workflow: String,
    /// The step, as printed.
    pub step: String,
}

/// What the provenance file of a dataset says, as far as it is read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedBy {
    /// Who.
    pub owner: Owner,
    /// The store that the set was built in, relative to the directory. Older files do not tell it.
    #[serde(default)]
    pub store: Option<PathBuf>,
    /// When and where.
    pub published: Published,
    /// How its texts were embedded. Older files do not tell it.
    #[serde(default)]
    pub embedding: Option<EmbeddedBy>,
}

/// How a dataset's texts were embedded, so that questions can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddedBy {
    /// The folder that paths are relative to, relative to the directory.
    pub base: PathBuf,
    /// The embed node.
    pub node: EmbedConfig,
}

/// When and where a dataset was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Seconds since 1970-01-01 UTC.
    pub at: u64,
    /// The run.
    pub run: String,
    /// The machine's name.
    pub host: String,
}

/// Refuses a name that another workflow or step publishes. Asked when planning, before anything is paid for, and again
/// when publishing.
///
/// # Errors
/// [`PublishError::Owned`].
pub fn refuse_owned(dir: &Path, name: &str, owner: &Owner) -> Result<(), PublishError> {
    match provenance(dir, name) {
        Some(standing) if standing.owner != *owner => {
            Err(PublishError::Owned { dir: dir.to_owned(), name: name.to_owned(), owner: standing.owner })
        }
        _ => Ok(()),
    }
}

/// What the provenance file of a dataset says; none if it is not there, or says something else.
pub fn provenance(dir: &Path, name: &str) -> Option<PublishedBy> {
    let bytes = fs::read(Layout::new(dir).link(name).join(run_file(name))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Files that were derived of a dataset and stand beside it, as their description has them.
pub struct DerivedFiles {
    /// The description.
    pub description: PathBuf,
    /// Each other file with the digest that it should have; none where the description is not as it was written.
    pub files: Option<Vec<(PathBuf, Digest)>>,
}

/// One set to be shown.
pub struct Publication<'a> {
    /// Where.
    pub dir: &'a Path,
    /// The dataset's name.
    pub name: &'a str,
    /// The set's digest.
    pub set: NodeKey,
    /// Its files: name -> blob.
    pub outputs: &'a BTreeMap<String, Output>,
    /// Whether the blobs were just made, or read, and found sound.
    pub is_verified: bool,
    /// The bytes of the provenance file.
    pub provenance: &'a [u8],
    /// Who publishes.
    pub owner: &'a Owner,
    /// Whether a name of another owner may be taken.
    pub take_over: bool,
}

impl Publication<'_> {
    /// Shows the set: its files first, then the link, by one rename; what nobody shows any more goes last. While another
    /// process publishes there it waits, for as long as `go_on` says so.
    ///
    /// # Errors
    /// [`PublishError`]; then the directory shows what it showed before.
    pub fn publish(&self, store: &Store, go_on: &dyn Fn() -> bool) -> Result<(), PublishError> {
        let layout = Layout::new(self.dir);
        let at = |path: PathBuf| move |source| PublishError::Write { path, source };
        fs::create_dir_all(layout.links()).map_err(at(layout.links()))?;
        failpoint::reached("publish: the folder of links is made");
        let _held = lock(self.dir, go_on).map_err(at(self.dir.join(HOME)))?.ok_or(PublishError::Interrupted)?;
        fs::create_dir_all(layout.set(&self.set)).map_err(at(layout.set(&self.set)))?;
        failpoint::reached("publish: the set's folder is made");
        self.check_owner(&layout)?;
        for (file, output) in self.outputs {
            let path = layout.set(&self.set).join(file);
            if !self.place(&layout, store, file, output).map_err(at(path))? {
                return Err(PublishError::Damaged { file: file.clone(), digest: output.digest });
            }
        }
        let run = layout.set(&self.set).join(run_file(self.name));
        durable::make_room(&run)
            .and_then(|()| durable::write(&run, &beside(&run), self.provenance))
            .map_err(at(run))?;
        let previous = layout.shown(self.name);
        self.show(&layout)?;
        self.tidy(&layout, previous.as_deref()).map_err(at(layout.sets()))
    }

    fn place(&self, layout: &Layout, store: &Store, file: &str, output: &Output) -> io::Result<bool> {
        let (blob, path) = (store.blob_path(&output.digest), layout.set(&self.set).join(file));
        let content = Content { blob: &blob, digest: &output.digest, is_verified: self.is_verified };
        if !is_part_file(file) {
            return place::place(&content, &path, || Ok(Vec::new()));
        }
        let folder = path.parent().unwrap_or(&path);
        if !folder.exists() {
            fs::create_dir_all(folder)?;
            durable::sync_parent(folder)?;
            failpoint::reached("publish: the folder of parts is made");
        }
        place::place(&content, &path, || layout.holders(file, output.bytes))
    }

    fn check_owner(&self, layout: &Layout) -> Result<(), PublishError> {
        if !self.take_over {
            refuse_owned(self.dir, self.name, self.owner)?;
        }
        // Once the dataset is shown, a file at one of its names is damage to it. Before, it is somebody's own.
        let is_foreign = |path: &PathBuf| match fs::read_link(path) {
            Ok(target) => !target.starts_with(HOME),
            Err(_) => path.exists(),
        };
        let occupied = self.files().map(|file| layout.visible(&file)).find(is_foreign);
        match occupied {
            Some(path) if layout.shown(self.name).is_none() || path.is_dir() => Err(PublishError::Occupied { path }),
            _ => Ok(()),
        }
    }

    /// The files that people see.
    fn files(&self) -> impl Iterator<Item = String> {
        let shown = self.outputs.keys().filter(|file| !is_part_file(file));
        shown.cloned().chain([run_file(self.name)])
    }

    fn show(&self, layout: &Layout) -> Result<(), PublishError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PublishError::Write { path, source }
        };
        let link = layout.link(self.name);
        durable::make_room(&link)
            .and_then(|()| point(&link, &Layout::link_target(&self.set)))
            .map_err(failed(&link))?;
        for file in self.files() {
            let path = layout.visible(&file);
            point(&path, &Layout::visible_target(self.name, &file)).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Removes visible names that this dataset no longer has (another dtype, say), and sets that no link shows. The set
    /// shown before stays until the next time: a reader may just be opening it.
    fn tidy(&self, layout: &Layout, previous: Option<&str>) -> io::Result<()> {
        layout.remove_names(self.name, &self.files().collect::<Vec<_>>())?;
        let shown = layout.all_shown()?;
        for entry in fs::read_dir(layout.sets())?.flatten() {
            let set = entry.file_name().to_string_lossy().into_owned();
            let is_set = set.parse::<NodeKey>().is_ok() && entry.path().is_dir();
            if is_set && !shown.contains(&set) && previous != Some(set.as_str()) {
                failpoint::reached("publish: a set that nobody shows is about to go");
                fs::remove_dir_all(entry.path())?;
                failpoint::reached("publish: a set that nobody shows is gone");
            }
        }
        let set = layout.set(&self.set);
        let folders = self.outputs.keys().filter_map(|file| set.join(file).parent().map(Path::to_owned));
        let folders: BTreeSet<PathBuf> = folders.chain([layout.dir.clone(), layout.home(), layout.links()]).collect();
        folders.iter().try_for_each(|folder| sweep(folder))
    }
}

/// Takes a dataset away: its names, then its link, then its files, unless another dataset shows the same set. Whoever has it open
/// reads on. If this is interrupted the dataset is shown still, and taking it away again goes on.
///
/// # Errors
/// [`PublishError::Write`].
pub fn withdraw(dir: &Path, name: &str) -> Result<(), PublishError> {
    let layout = Layout::new(dir);
    let removed = || -> io::Result<()> {
        let _held = lock(dir, &|| true)?;
        layout.remove_names(name, &[])?;
        let set = layout.shown(name);
        durable::forget(&layout.link(name))?;
        failpoint::reached("withdraw: the link is gone");
        match set {
            Some(set) if !layout.all_shown()?.contains(&set) => fs::remove_dir_all(layout.sets().join(set)),
            _ => Ok(()),
        }
    };
    removed().map_err(|source| PublishError::Write { path: layout.link(name), source })
}

/// Removes unfinished files that publishers of this host left when they died.
///
/// # Errors
/// Whatever reading the folder or removing gives.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().strip_prefix('.').is_some_and(durable::owner_is_dead) {
            // An unfinished index of words is a folder.
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
        }
    }
    Ok(())
}

/// Makes `path` a symbolic link to `target` by one rename, whatever was there.
fn point(path: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(path).is_ok_and(|shown| shown == target) {
        return Ok(());
    }
    let temporary = beside(path);
    symlink(target, &temporary)?;
    failpoint::reached("publish: a link is made beside");
    durable::rename(&temporary, path)
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}", durable::unique_name()))
}

/// Holds the directory's lock until the file is dropped: two publishers must not tidy each other's sets away. None if
/// somebody else holds it and `go_on` ends the wait.
fn lock(dir: &Path, go_on: &dyn Fn() -> bool) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(HOME).join("lock"))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) if go_on() => std::thread::sleep(LOCK_WAIT),
            Err(Errno::WOULDBLOCK) => return Ok(None),
            // A signal that is handled elsewhere.
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

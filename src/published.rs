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
//! ```
//!
//! A reader resolves the link once and opens everything in the set behind it, so it never pairs a new file with an old
//! one. A set's files are reflinks or copies of the store's blobs, never hard links: whoever damages a published file
//! must not damage the store through it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, ioctl_ficlone};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, NodeKey};
use crate::fingerprint::PublishFault;
use crate::record::Output;
use crate::store::{DigestCache, HashedFile, Store, durable};

const HOME: &str = ".sciembed";
/// Bytes copied at once: they stay in the processor's cache.
const COPY_BYTES: u64 = 1 << 20;

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
    file_fault(&layout, name, set, &run, None, digests)
}

fn file_fault(
    layout: &Layout,
    name: &str,
    set: &NodeKey,
    file: &str,
    digest: Option<Digest>,
    digests: &mut DigestCache,
) -> Option<PublishFault> {
    let visible = layout.visible(file);
    match fs::read_link(&visible) {
        Ok(target) if target == Layout::visible_target(name, file) => {}
        Ok(_) => return Some(PublishFault::FileDiffers { file: file.to_owned() }),
        Err(_) if visible.exists() => return Some(PublishFault::FileDiffers { file: file.to_owned() }),
        Err(_) => return Some(PublishFault::FileMissing { file: file.to_owned() }),
    }
    let stored = layout.set(set).join(file);
    if !stored.is_file() {
        return Some(PublishFault::FileMissing { file: file.to_owned() });
    }
    let differs = digest.is_some_and(|digest| !digests.digest(&stored).is_ok_and(|found| found == digest));
    differs.then(|| PublishFault::FileDiffers { file: file.to_owned() })
}

/// Who published a dataset; kept in its provenance file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The workflow's name.
    pub workflow: String,
    /// The step, as printed.
    pub step: String,
}

/// Publishing failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PublishError {
    /// The file system refused.
    #[error("publish {}: {source}", path.display())]
    #[diagnostic(
        code(sciembed::publish::write),
        help("free space or permissions there and apply again: only publishing is left to do")
    )]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's name.
    #[error("publish {name} in {}: it belongs to {} of workflow {}", dir.display(), owner.step, owner.workflow)]
    #[diagnostic(
        code(sciembed::publish::owned),
        help("choose another `label` or `dir`, or give `--take-over` if this workflow is to own it from now on")
    )]
    Owned {
        /// The directory.
        dir: PathBuf,
        /// The dataset.
        name: String,
        /// Whose it is.
        owner: Owner,
    },
    /// A blob of the store that is not what its name says.
    #[error("publish {file}: blob {digest} of the store does not have the bytes that its name says")]
    #[diagnostic(code(sciembed::publish::damaged), help("apply again: the blob was put out of use, and is made anew"))]
    Damaged {
        /// The file.
        file: String,
        /// The blob.
        digest: Digest,
    },
    /// A file that no dataset put there.
    #[error("publish {}: a file of that name is there already, and no dataset put it there", path.display())]
    #[diagnostic(code(sciembed::publish::occupied), help("move that file away, or choose another `label` or `dir`"))]
    Occupied {
        /// The file.
        path: PathBuf,
    },
}

/// Refuses a name that another workflow or step publishes. Asked when planning, before anything is paid for, and again
/// when publishing.
///
/// # Errors
/// [`PublishError::Owned`].
pub fn refuse_owned(dir: &Path, name: &str, owner: &Owner) -> Result<(), PublishError> {
    #[derive(Deserialize)]
    struct Provenance {
        owner: Owner,
    }
    let provenance = fs::read(Layout::new(dir).link(name).join(run_file(name)));
    let standing = provenance.ok().and_then(|bytes| serde_json::from_slice::<Provenance>(&bytes).ok());
    match standing {
        Some(Provenance { owner: standing }) if standing != *owner => {
            Err(PublishError::Owned { dir: dir.to_owned(), name: name.to_owned(), owner: standing })
        }
        _ => Ok(()),
    }
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
    /// The bytes of the provenance file.
    pub provenance: &'a [u8],
    /// Who publishes.
    pub owner: &'a Owner,
    /// Whether a name of another owner may be taken.
    pub take_over: bool,
}

impl Publication<'_> {
    /// Shows the set: its files first, then the link, by one rename; what nobody shows any more goes last.
    ///
    /// # Errors
    /// [`PublishError`]; then the directory shows what it showed before.
    pub fn publish(&self, store: &Store) -> Result<(), PublishError> {
        let layout = Layout::new(self.dir);
        let at = |path: PathBuf| move |source| PublishError::Write { path, source };
        fs::create_dir_all(layout.links()).map_err(at(layout.links()))?;
        let _held = lock(self.dir).map_err(at(self.dir.join(HOME)))?;
        fs::create_dir_all(layout.set(&self.set)).map_err(at(layout.set(&self.set)))?;
        self.check_owner(&layout)?;
        for (file, output) in self.outputs {
            let path = layout.set(&self.set).join(file);
            let placed = place(&store.blob_path(&output.digest), &path, &output.digest).map_err(at(path))?;
            if !placed {
                return Err(PublishError::Damaged { file: file.clone(), digest: output.digest });
            }
        }
        let run = layout.set(&self.set).join(run_file(self.name));
        durable::write(&run, &beside(&run), self.provenance).map_err(at(run))?;
        let previous = layout.shown(self.name);
        self.show(&layout)?;
        self.tidy(&layout, previous.as_deref()).map_err(at(layout.sets()))
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

    fn files(&self) -> impl Iterator<Item = String> {
        self.outputs.keys().cloned().chain([run_file(self.name)])
    }

    fn show(&self, layout: &Layout) -> Result<(), PublishError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PublishError::Write { path, source }
        };
        let link = layout.link(self.name);
        point(&link, &Layout::link_target(&self.set)).map_err(failed(&link))?;
        for file in self.files() {
            let path = layout.visible(&file);
            point(&path, &Layout::visible_target(self.name, &file)).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Removes visible names that this dataset no longer has (another dtype, say), and sets that no link shows. The set
    /// shown before stays until the next time: a reader may just be opening it.
    fn tidy(&self, layout: &Layout, previous: Option<&str>) -> io::Result<()> {
        let ours = Path::new(HOME).join("links").join(self.name);
        let current: Vec<String> = self.files().collect();
        for entry in fs::read_dir(&layout.dir)?.flatten() {
            let stale = !current.iter().any(|file| entry.file_name() == file.as_str());
            if stale && fs::read_link(entry.path()).is_ok_and(|target| target.parent() == Some(&ours)) {
                fs::remove_file(entry.path())?;
            }
        }
        let shown: Vec<String> = fs::read_dir(layout.links())?
            .flatten()
            .filter_map(|entry| layout.shown(&entry.file_name().to_string_lossy()))
            .collect();
        for entry in fs::read_dir(layout.sets())?.flatten() {
            let set = entry.file_name().to_string_lossy().into_owned();
            let is_set = set.parse::<NodeKey>().is_ok() && entry.path().is_dir();
            if is_set && !shown.contains(&set) && previous != Some(set.as_str()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        for folder in [&layout.dir, &layout.links(), &layout.set(&self.set)] {
            sweep(folder)?;
        }
        Ok(())
    }
}

/// Removes unfinished files that publishers of this host left when they died.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().strip_prefix('.').is_some_and(durable::owner_is_dead) {
            fs::remove_file(entry.path())?;
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
    durable::rename(&temporary, path)
}

/// Puts a blob's content at `path`, unless it is there: a reflink where the file system can, else a synced copy. Says
/// false, and changes nothing, if the blob's content is not what its name says.
fn place(blob: &Path, path: &Path, digest: &Digest) -> io::Result<bool> {
    if path.is_file() && Digest::of_file(path)? == *digest {
        return Ok(true);
    }
    let temporary = beside(path);
    let placed = clone_or_copy(blob, &temporary).map(|found| found == *digest);
    if !matches!(placed, Ok(true)) {
        let _ = fs::remove_file(&temporary);
        return placed;
    }
    durable::rename(&temporary, path).map(|()| true)
}

/// Makes a synced file of a blob's bytes, and digests them on the way.
fn clone_or_copy(blob: &Path, temporary: &Path) -> io::Result<Digest> {
    let mut from = File::open(blob)?;
    let to = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    to.set_permissions(Permissions::from_mode(0o444))?;
    if ioctl_ficlone(&to, &from).is_ok() {
        to.sync_all()?;
        return Digest::of_file(temporary);
    }
    let mut to = HashedFile::new(to);
    let mut piece = Vec::with_capacity(COPY_BYTES as usize);
    while (&mut from).take(COPY_BYTES).read_to_end(&mut piece)? > 0 {
        to.write_all(&piece)?;
        piece.clear();
    }
    to.sync()?;
    Ok(to.digest())
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}", durable::unique_name()))
}

/// Holds the directory's lock until the file is dropped: two publishers must not tidy each other's sets away.
fn lock(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(HOME).join("lock"))?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

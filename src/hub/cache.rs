//! The cache on disk, in the layout of Python's huggingface_hub, so that each finds what the other downloaded.
//!
//! ```text
//! models--org--name/
//!   refs/<revision>              the commit that it last was
//!   blobs/<digest>               whole files; <digest>.incomplete while one comes
//!   snapshots/<commit>/<path>    a relative link to a blob
//!   .sciembed/listings/<commit>  ours: what the commit holds, so that half a model is told from a whole one
//!   .sciembed/checked/<digest>   ours: size, time and inode of a file whose digest was found right
//! .locks/models--org--name/<digest>.lock
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::content::ContentId;
use super::listing::{Listing, RemoteFile};
use super::{Commit, HubError};
use crate::store::{durable, failpoint};

/// Between two looks at a lock that another process holds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The part of the cache that belongs to one repository.
#[derive(Clone, Debug)]
pub(super) struct RepoCache {
    folder: PathBuf,
    locks: PathBuf,
}

/// A file that only this thread writes, until this is dropped.
pub(super) struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Held for as long as the file is written; a kill frees it.
    _lock: Option<File>,
}

impl RepoCache {
    pub fn new(cache: &Path, repo: &str) -> Self {
        let name = format!("models--{}", repo.replace('/', "--"));
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(&name) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder.join("snapshots").join(commit.as_str())
    }

    pub fn blob(&self, content: &ContentId) -> PathBuf {
        self.folder.join("blobs").join(content.blob_name())
    }

    /// The commit that `revision` was when it was last looked up, by this program or by Python.
    pub fn commit_of(&self, revision: &str) -> Option<Commit> {
        fs::read_to_string(self.folder.join("refs").join(revision)).ok()?.trim().parse().ok()
    }

    pub fn note_commit(&self, revision: &str, commit: &Commit) -> Result<(), HubError> {
        self.write(&self.folder.join("refs").join(revision), commit.as_str().as_bytes())
    }

    pub fn load_listing(&self, commit: &Commit) -> Option<Listing> {
        Listing::load(&self.listing(commit), commit)
    }

    pub fn save_listing(&self, listing: &Listing) -> Result<(), HubError> {
        self.write(&self.listing(&listing.commit), &listing.to_bytes())
    }

    fn listing(&self, commit: &Commit) -> PathBuf {
        self.folder.join(".sciembed/listings").join(commit.as_str())
    }

    /// What lies in a snapshot that another program made: no more is known of it. `None` if there is none.
    pub fn found(&self, commit: &Commit) -> Option<Listing> {
        let root = self.snapshot(commit);
        let mut files = BTreeMap::new();
        gather(&root, &mut String::new(), &mut files).ok()?;
        (!files.is_empty()).then(|| Listing::new(commit.clone(), files))
    }

    /// Whether a file is in its place, whole; one whose blob is there is put in its place.
    pub fn is_in_place(&self, commit: &Commit, path: &str, file: &RemoteFile) -> Result<bool, HubError> {
        let target = self.snapshot(commit).join(path);
        if self.is_whole(&target, file)? {
            return Ok(true);
        }
        let Some(content) = &file.content else { return Ok(false) };
        if !self.is_whole(&self.blob(content), file)? {
            return Ok(false);
        }
        self.link(commit, path, content)?;
        Ok(true)
    }

    /// Whether the file at `at` has the size and digest of `file`. A digest found right is noted, and then not taken
    /// again while size, time and inode stay: models are large, and plans are frequent.
    pub fn is_whole(&self, at: &Path, file: &RemoteFile) -> Result<bool, HubError> {
        if !has_size(at, file.size) {
            return Ok(false);
        }
        let Some(content) = &file.content else { return Ok(true) };
        let read = |source| HubError::read(at, source);
        let stamp = stamp(at).map_err(read)?;
        let noted = self.folder.join(".sciembed/checked").join(content.blob_name());
        if fs::read_to_string(&noted).is_ok_and(|text| text == stamp) {
            return Ok(true);
        }
        let whole = content.of_file(at).map_err(read)? == *content;
        if whole {
            // A cache that only others may write is hashed each time.
            let _ = self.write(&noted, stamp.as_bytes());
        }
        Ok(whole)
    }

    /// Makes the name of a blob in a snapshot, in the place of whatever stood there.
    pub fn link(&self, commit: &Commit, path: &str, content: &ContentId) -> Result<(), HubError> {
        let link = self.snapshot(commit).join(path);
        let up = "../".repeat(2 + path.matches('/').count());
        let target = format!("{up}blobs/{}", content.blob_name());
        if fs::read_link(&link).is_ok_and(|found| found == Path::new(&target)) {
            return Ok(());
        }
        let write = |source| HubError::write(&link, source);
        let temporary = self.temporary()?;
        make_parent(&link)?;
        std::os::unix::fs::symlink(&target, &temporary).map_err(write)?;
        failpoint::reached("hub: a link is made beside");
        durable::rename(&temporary, &link).map_err(write)
    }

    /// Takes the part of the blob `name`, waiting while somebody else writes it; `waiting` hears how far that is.
    pub fn part(&self, name: &str, waiting: &mut dyn FnMut(u64)) -> Result<Part, HubError> {
        let path = self.folder.join("blobs").join(format!("{name}.incomplete"));
        make_parent(&path)?;
        // Python's filelock locks the same file in the same way.
        let lock = self.locks.join(format!("{name}.lock"));
        make_parent(&lock)?;
        loop {
            let file = File::options().create(true).truncate(false).read(true).write(true).open(&lock);
            let file = file.map_err(|source| HubError::write(&lock, source))?;
            match file.try_lock() {
                // Whoever held it may have removed it: then somebody else can hold the file that now has its name.
                Ok(()) if is_same(&file, &lock) => return Ok(Part { path, _lock: Some(file) }),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    waiting(fs::metadata(&path).map_or(0, |part| part.len()));
                    std::thread::sleep(LOOK_EVERY);
                }
                // A network file system without locks: a name of our own harms nobody, and cannot be resumed.
                Err(TryLockError::Error(_)) => {
                    let path = path.with_file_name(format!("{name}.{}.incomplete", durable::unique_name()));
                    return Ok(Part { path, _lock: None });
                }
            }
        }
    }

    /// Makes a part that was found right the blob of its name.
    pub fn keep(&self, part: &Part, content: &ContentId) -> Result<(), HubError> {
        let blob = self.blob(content);
        let kept =
            File::open(&part.path).and_then(|file| file.sync_all()).and_then(|()| durable::rename(&part.path, &blob));
        kept.map_err(|source| HubError::write(&blob, source))?;
        let noted = self.folder.join(".sciembed/checked").join(content.blob_name());
        stamp(&blob).ok().map_or(Ok(()), |stamp| self.write(&noted, stamp.as_bytes()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), HubError> {
        if fs::read(path).is_ok_and(|found| found == bytes) {
            return Ok(());
        }
        make_parent(path)?;
        durable::write(path, &self.temporary()?, bytes).map_err(|source| HubError::write(path, source))
    }

    fn temporary(&self) -> Result<PathBuf, HubError> {
        let path = self.folder.join(".sciembed/tmp").join(durable::unique_name());
        make_parent(&path)?;
        durable::sweep(path.parent().unwrap_or(&path), "");
        Ok(path)
    }
}

impl Part {
    /// Bytes that are there already.
    pub fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |part| part.len())
    }
}

/// Whether there is a file of that size.
pub(super) fn has_size(at: &Path, size: Option<u64>) -> bool {
    fs::metadata(at).is_ok_and(|found| found.is_file() && size.is_none_or(|size| size == found.len()))
}

fn make_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|source| HubError::write(parent, source))
}

fn is_same(file: &File, path: &Path) -> bool {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().ok().map(id) == fs::metadata(path).ok().map(id)
}

fn stamp(path: &Path) -> io::Result<String> {
    let meta = fs::metadata(path)?;
    Ok(format!("{} {}.{:09} {}\n", meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

/// Lists the files below `folder`; a blob's name says what its bytes should be.
fn gather(folder: &Path, prefix: &mut String, files: &mut BTreeMap<String, RemoteFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str() else { continue };
        if entry.file_type()?.is_dir() {
            let before = prefix.len();
            prefix.push_str(name);
            prefix.push('/');
            gather(&path, prefix, files)?;
            prefix.truncate(before);
        } else if let Ok(meta) = fs::metadata(&path)
            && meta.is_file()
        {
            let blob = fs::read_link(&path).ok().and_then(|to| ContentId::read(to.file_name()?.to_str()?));
            files.insert(format!("{prefix}{name}"), RemoteFile { size: Some(meta.len()), content: blob });
        }
    }
    Ok(())
}

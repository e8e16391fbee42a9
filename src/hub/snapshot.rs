//! A commit of a repository, with what it holds and where that lies on this disk.

use std::path::{Path, PathBuf};

use super::cache::has_size;
use super::listing::{Listing, RemoteFile};
use super::{Commit, RepoRef};

/// A commit of a repository, as [`super::Hub::open`] found it. Its files may or may not be here.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) repo: RepoRef,
    pub(super) folder: PathBuf,
    pub(super) listing: Listing,
    pub(super) known: Known,
}

/// How a snapshot came to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The hub listed it, now or before.
    Listed,
    /// The hub listed it before, and could not be asked whether the revision moved on, for the reason given.
    ListedBefore(String),
    /// Another program left it in the cache, and the hub was not asked, for the reason given.
    Found(String),
}

impl Snapshot {
    /// The repository and the revision that was asked for.
    pub fn repo(&self) -> &RepoRef {
        &self.repo
    }

    /// The commit.
    pub fn commit(&self) -> &Commit {
        &self.listing.commit
    }

    /// Where its files lie, or will: `snapshots/<commit>` in the cache.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file lies, or will.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The paths of its files, in order.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.listing.files.keys().map(String::as_str)
    }

    /// Whether it has such a file.
    pub fn has(&self, file: &str) -> bool {
        self.file(file).is_some()
    }

    /// How many bytes a file has, if the hub said so.
    pub fn size(&self, file: &str) -> Option<u64> {
        self.file(file)?.size
    }

    /// Those of `files` that do not lie on this disk in their full size. Cheap, and no promise of their digests:
    /// [`super::Hub::fetch`] looks at those.
    pub fn missing<S: AsRef<str>>(&self, files: &[S]) -> Vec<String> {
        let is_here = |file: &str| self.file(file).is_some_and(|listed| has_size(&self.path(file), listed.size));
        files.iter().map(AsRef::as_ref).filter(|file| !is_here(file)).map(str::to_owned).collect()
    }

    /// Whether [`Snapshot::files`] is all of the commit. It is not where another program filled the cache and the hub
    /// was not asked: then it is what that program left here.
    pub fn is_complete(&self) -> bool {
        !matches!(self.known, Known::Found(_))
    }

    /// Why the cache answered in the hub's place, if it did.
    pub fn from_cache(&self) -> Option<&str> {
        match &self.known {
            Known::Listed => None,
            Known::ListedBefore(why) | Known::Found(why) => Some(why),
        }
    }

    pub(super) fn file(&self, path: &str) -> Option<&RemoteFile> {
        self.listing.files.get(path)
    }
}

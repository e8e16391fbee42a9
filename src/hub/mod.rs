//! From `hf://organisation/name` to whole files on this disk, and the file that remembers which ones they were.
//!
//! Owns the hub's API, the cache (shared with Python's huggingface_hub) and `sciembed.lock`. May not guess: a file is
//! whole when its size and digest are those that the hub states. Reads no environment, and shows nobody the token.
//!
//! The crate hf-hub does not serve here: its small version (0.5) resumes but verifies no digest, its large one (1.0,
//! 296 crates) begins every download anew, and neither knows HF_HUB_OFFLINE. What would be left is the cache's paths.
//! Read next: `cache.rs` for the layout, `download.rs` for one file; then the room `model`, which asks for them.

mod cache;
mod client;
mod content;
mod download;
mod error;
mod listing;
mod lock_file;
mod reference;
mod settings;
mod snapshot;
mod token;

use cache::RepoCache;
use client::{Client, Subject};
use download::Download;
use listing::Listing;
use snapshot::Known;

pub use error::HubError;
pub use lock_file::{LOCK_NAME, LOCK_VERSION, LockFile, LockedModel};
pub use reference::{Commit, RepoRef};
pub use settings::{HubSettings, Patience};
pub use snapshot::Snapshot;
pub use token::Token;
pub use ureq::Proxy;

/// Why nothing is asked.
const OFFLINE: &str = "HF_HUB_OFFLINE is set";

/// A hub, and the cache before it.
#[derive(Debug)]
pub struct Hub {
    settings: HubSettings,
    client: Client,
}

/// How far the download of a file is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Its path in the repository.
    pub file: &'a str,
    /// Bytes that are here, those of earlier runs included.
    pub done: u64,
    /// Bytes that it will have.
    pub total: Option<u64>,
    /// What holds it up, in words.
    pub note: Option<&'a str>,
}

impl Hub {
    /// A hub that was not asked anything yet.
    pub fn new(settings: HubSettings) -> Self {
        let client = Client::new(&settings);
        Self { settings, client }
    }

    /// Finds out which commit `repo` is, and what it holds. `pinned` is the commit of the lock file. A commit that was
    /// listed before needs no network; and where the hub cannot be reached the cache answers, and the snapshot says so.
    ///
    /// # Errors
    /// What the hub answers; [`HubError::OfflineUnknown`] if it may not be asked and the cache does not know.
    pub fn open(&self, repo: &RepoRef, pinned: Option<&Commit>) -> Result<Snapshot, HubError> {
        let cache = RepoCache::new(&self.settings.cache, repo.repo());
        let settled = pinned.cloned().or_else(|| repo.commit());
        let saved = settled.as_ref().and_then(|commit| cache.load_listing(commit));
        if let Some(listing) = saved {
            return Ok(snapshot(repo, &cache, listing, Known::Listed));
        }
        let cached = |why: &str| {
            let commit = settled.clone().or_else(|| cache.commit_of(repo.revision()))?;
            let listed = cache.load_listing(&commit).map(|listing| (listing, Known::ListedBefore(why.to_owned())));
            let (listing, known) = listed.or_else(|| Some((cache.found(&commit)?, Known::Found(why.to_owned()))))?;
            Some(snapshot(repo, &cache, listing, known))
        };
        if self.settings.offline {
            let unknown = || HubError::OfflineUnknown {
                repo: repo.to_string(),
                reason: OFFLINE.into(),
                looked_in: cache.folder().into(),
            };
            return cached(OFFLINE).ok_or_else(unknown);
        }
        // With an answer at hand nobody waits long for a network that is down.
        let tries = if cached("").is_some() { self.client.tries().min(2) } else { self.client.tries() };
        match self.listed(repo, settled.as_ref(), tries) {
            Ok(listing) => {
                // A cache that only others may write is no reason to fail while nothing needs to be written.
                let _ = cache.save_listing(&listing);
                if settled.is_none() {
                    let _ = cache.note_commit(repo.revision(), &listing.commit);
                }
                Ok(snapshot(repo, &cache, listing, Known::Listed))
            }
            Err(error) if error.may_pass() => cached(&error.to_string()).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that `files` of the snapshot lie on this disk, whole and with the right digests, and downloads those
    /// that do not. Interrupted at any moment, the next call goes on from there; two at once, also of two processes,
    /// share the work.
    ///
    /// # Errors
    /// A file that the commit does not have; what the hub answers; [`HubError::OfflineMissing`]; what the disk gives.
    pub fn fetch<S: AsRef<str>>(
        &self,
        snapshot: &Snapshot,
        files: &[S],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), HubError> {
        let cache = RepoCache::new(&self.settings.cache, snapshot.repo.repo());
        let mut missing = Vec::new();
        for path in files.iter().map(AsRef::as_ref) {
            match snapshot.file(path) {
                Some(file) if cache.is_in_place(snapshot.commit(), path, file)? => {}
                Some(file) => missing.push((path, file)),
                None if snapshot.is_complete() => {
                    let (repo, commit) = (snapshot.repo.repo().to_owned(), snapshot.commit().clone());
                    return Err(HubError::NotListed { repo, commit, path: path.to_owned() });
                }
                None => return Err(offline_missing(snapshot, missing.iter().map(|(path, _)| *path).chain([path]))),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if self.settings.offline || !snapshot.is_complete() {
            return Err(offline_missing(snapshot, missing.iter().map(|(path, _)| *path)));
        }
        // Before the files, so that half a model is never taken for a whole one.
        cache.save_listing(&snapshot.listing)?;
        for (path, file) in missing {
            self.download(&cache, snapshot, path, file, progress)?;
        }
        Ok(())
    }

    fn download(
        &self,
        cache: &RepoCache,
        snapshot: &Snapshot,
        path: &str,
        file: &listing::RemoteFile,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), HubError> {
        let (repo, commit) = (snapshot.repo.repo(), snapshot.commit());
        let parts: Vec<&str> = repo.split('/').chain(["resolve", commit.as_str()]).chain(path.split('/')).collect();
        let download = Download {
            client: &self.client,
            cache,
            commit,
            path,
            file: file.clone(),
            address: self.client.address(&parts, "")?,
            subject: Subject { what: format!("{path} of {}", snapshot.repo), repo: repo.to_owned(), kind: "file" },
            progress,
        };
        download.run()
    }

    /// Asks the hub for a commit and its files.
    fn listed(&self, repo: &RepoRef, commit: Option<&Commit>, tries: u32) -> Result<Listing, HubError> {
        let revision = commit.map_or(repo.revision(), Commit::as_str);
        let parts: Vec<&str> = ["api", "models"].into_iter().chain(repo.repo().split('/')).collect();
        let address = self.client.address(&[&parts[..], &["revision", revision]].concat(), "?blobs=true")?;
        let kind = if revision == "main" { "repository" } else { "repository or revision" };
        let subject = Subject { what: format!("hf://{repo}"), repo: repo.repo().to_owned(), kind };
        let bytes = self.client.text(&address, &subject, tries)?;
        let listing = Listing::read_answer(repo.repo(), &subject.what, &bytes)?;
        match commit {
            Some(commit) if listing.commit != *commit => {
                let detail = format!("asked for commit {commit}, it tells of {}", listing.commit);
                Err(HubError::BadAnswer { what: subject.what, detail })
            }
            _ => Ok(listing),
        }
    }
}

fn snapshot(repo: &RepoRef, cache: &RepoCache, listing: Listing, known: Known) -> Snapshot {
    Snapshot { repo: repo.clone(), folder: cache.snapshot(&listing.commit), listing, known }
}

fn offline_missing<'a>(snapshot: &Snapshot, files: impl Iterator<Item = &'a str>) -> HubError {
    HubError::OfflineMissing {
        repo: snapshot.repo.to_string(),
        reason: snapshot.from_cache().unwrap_or(OFFLINE).to_owned(),
        files: files.map(str::to_owned).collect(),
        looked_in: snapshot.folder.clone(),
    }
}

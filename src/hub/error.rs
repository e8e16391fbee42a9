//! What can go wrong between a hub's reference and whole files on this disk.
//!
//! Every message names the repository, the file or the address; none ever holds a token, nor the signed address that a
//! redirect leads to.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Commit;

/// An error of this room. The message fits behind "failed to".
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HubError {
    /// The part behind `hf://` cannot be read.
    #[error("read hf://{reference}: {reason}")]
    #[diagnostic(
        code(sciembed::hub::bad_reference),
        help("write hf://organisation/name, perhaps with @ and a branch, tag or commit")
    )]
    BadReference { reference: String, reason: &'static str },

    /// A commit is not 40 hex digits.
    #[error("read {found:?} as a commit of 40 hex digits")]
    #[diagnostic(code(sciembed::hub::bad_commit), help("copy the whole commit from the model's page on the hub"))]
    BadCommit { found: String },

    /// The token cannot be sent.
    #[error("use the hub's token: {reason}")]
    #[diagnostic(
        code(sciembed::hub::bad_token),
        help("copy the token again from the hub's settings, into HF_TOKEN or the token file")
    )]
    BadToken { reason: &'static str },

    /// The endpoint is no address. One with a password in it is not told.
    #[error("use the hub's endpoint {endpoint:?}: {reason}")]
    #[diagnostic(code(sciembed::hub::bad_endpoint), help("HF_ENDPOINT is an address such as https://huggingface.co"))]
    BadEndpoint { endpoint: String, reason: &'static str },

    /// 401 or 403: not for everybody, or not for this token.
    #[error("get {what}: the hub answered {status}, {reason}")]
    #[diagnostic(code(sciembed::hub::denied), help("{help}"))]
    Denied { what: String, status: u16, reason: &'static str, help: String },

    /// There is no such thing.
    #[error("get {what}: the hub has no such {kind}")]
    #[diagnostic(code(sciembed::hub::not_found), help("{help}"))]
    NotFound { what: String, kind: &'static str, help: &'static str },

    /// A status that trying again does not mend.
    #[error("get {what}: {host} answered {status}")]
    #[diagnostic(
        code(sciembed::hub::refused),
        help("check HF_ENDPOINT, and whether a proxy stands between; open the model's page in a browser")
    )]
    Refused { what: String, host: String, status: u16 },

    /// The hub could not be reached, or broke off too often.
    #[error("get {what}: {why}; tried {}", times(*tries))]
    #[diagnostic(
        code(sciembed::hub::unreachable),
        help("try again later: what was downloaded is kept, and the next try goes on from it")
    )]
    Unreachable { what: String, why: String, tries: u32 },

    /// The hub asks for a longer wait than anybody sits through.
    #[error("get {what}: {host} asks to wait {} s before the next try", wait.as_secs())]
    #[diagnostic(
        code(sciembed::hub::wait),
        help("try again after that; with HF_TOKEN set, the hub allows more requests")
    )]
    Wait { what: String, host: String, wait: Duration },

    /// The answer is not what a hub says.
    #[error("understand the hub's answer on {what}: {detail}")]
    #[diagnostic(
        code(sciembed::hub::bad_answer),
        help("check that HF_ENDPOINT is a hub, and that no login page of a network stands between")
    )]
    BadAnswer { what: String, detail: String },

    /// A listed file would be written outside the model's folder.
    #[error("take the files of {repo}: it lists {path:?}, which could lie outside the model's folder")]
    #[diagnostic(code(sciembed::hub::escape), help("do not use this model: no honest repository has such a file"))]
    Escape { repo: String, path: String },

    /// A file that the commit does not have.
    #[error("find {path} in {repo} at {commit}: the repository does not list it")]
    #[diagnostic(
        code(sciembed::hub::not_listed),
        help("look at the files on the model's page; another revision may have it, written behind an @")
    )]
    NotListed { repo: String, commit: Commit, path: String },

    /// Offline, and the cache does not know what the revision is.
    #[error("find {repo} without the network ({reason}): looked in {}", looked_in.display())]
    #[diagnostic(
        code(sciembed::hub::offline_unknown),
        help("run once with the network, without HF_HUB_OFFLINE; or point HF_HOME at a cache that has the model")
    )]
    OfflineUnknown { repo: String, reason: String, looked_in: PathBuf },

    /// Offline, and files are missing.
    #[error("find {} of {repo} without the network ({reason}): looked in {}", files.join(", "), looked_in.display())]
    #[diagnostic(
        code(sciembed::hub::offline_missing),
        help("run once with the network, without HF_HUB_OFFLINE, to download what is missing")
    )]
    OfflineMissing { repo: String, reason: String, files: Vec<String>, looked_in: PathBuf },

    /// What came is not what the hub announced.
    #[error("trust {file} of {repo}: expected {expected}, found {found}")]
    #[diagnostic(
        code(sciembed::hub::wrong_content),
        help("what came was thrown away: try again; if this comes back, a proxy or mirror changes files")
    )]
    WrongContent { repo: String, file: String, expected: String, found: String },

    /// Reading failed.
    #[error("read {}: {source}", path.display())]
    #[diagnostic(code(sciembed::hub::read), help("check that the path exists and that this user may read it"))]
    Read { path: PathBuf, source: io::Error },

    /// Writing failed.
    #[error("write {}: {source}", path.display())]
    #[diagnostic(
        code(sciembed::hub::write),
        help(
            "free space or permissions on that file system, or point HF_HOME at another; what was downloaded is kept"
        )
    )]
    Write { path: PathBuf, source: io::Error },

    /// The lock file cannot be written.
    #[error("write {}", path.display())]
    #[diagnostic(
        code(sciembed::hub::lock_write),
        help("make the workflow's folder writable, or bring the lock file with it: it pins what its hf:// models are")
    )]
    LockWrite { path: PathBuf, source: io::Error },

    /// The lock file was written by a newer program.
    #[error("use {}: it says version {found}, and this program knows up to {}", path.display(), super::LOCK_VERSION)]
    #[diagnostic(
        code(sciembed::hub::lock_version),
        help("use the newer sciembed that wrote it; this one leaves the file as it is")
    )]
    LockVersion { path: PathBuf, found: i64 },

    /// The lock file does not read as one.
    #[error("read {}, line {line}: {detail}", path.display())]
    #[diagnostic(
        code(sciembed::hub::lock_malformed),
        help("take the file back from version control, or remove it: the models are then resolved anew")
    )]
    LockMalformed { path: PathBuf, line: usize, detail: String },
}

impl HubError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// Whether the same request may succeed later, without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Wait { .. })
    }
}

fn times(tries: u32) -> String {
    if tries == 1 { "once".to_owned() } else { format!("{tries} times") }
}

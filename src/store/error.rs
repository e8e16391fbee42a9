//! What can go wrong in the store, always with the path.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// An error of the store.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// Reading failed.
    #[error("read {}: {source}", path.display())]
    #[diagnostic(code(sciembed::store::read), help("check that the path exists and that this user may read it"))]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Writing failed.
    #[error("write {}: {source}", path.display())]
    #[diagnostic(
        code(sciembed::store::write),
        help(
            "free space or permissions on that file system; what was finished is kept, and the next apply goes on from it"
        )
    )]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The store was written by a newer program.
    #[error("open the store: {} says version {found:?}, and this program reads up to {}", path.display(), super::STORE_VERSION)]
    #[diagnostic(
        code(sciembed::store::version),
        help(
            "use the newer sciembed that wrote this store, or name another one. If none ever was newer, the file is \
             damaged: write 1 into it"
        )
    )]
    Version {
        /// The version file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A file of the store was written by a newer program.
    #[error("understand {}: its format is version {version}, which this program does not know", path.display())]
    #[diagnostic(code(sciembed::store::format), help("use the newer sciembed that wrote this file"))]
    Format {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A file of the store does not read as what it should be.
    #[error("understand {}: {detail}", path.display())]
    #[diagnostic(
        code(sciembed::store::damaged),
        help(
            "the file is damaged: `sciembed verify WORKFLOW --repair` puts it out of use and makes again what is missing"
        )
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A blob's bytes are not those that its name says.
    #[error("trust {}: its bytes are not those that its name says", path.display())]
    #[diagnostic(
        code(sciembed::store::blob_damaged),
        help(
            "it was put out of use: apply again, and the step that made it runs again. If this comes back, suspect the disk"
        )
    )]
    BlobDamaged {
        /// The blob.
        path: PathBuf,
    },
    /// Somebody is at work in the store.
    #[error("delete in {}: {what} {} lives (process {} on {})", store.display(), holder.run, holder.pid, holder.host)]
    #[diagnostic(
        code(sciembed::store::in_use),
        help("wait until it has ended, or end it: what it computed is sealed and counts next time")
    )]
    InUse {
        /// The store.
        store: PathBuf,
        /// What it is: a run, or gc.
        what: &'static str,
        /// Who.
        holder: Box<super::Holder>,
    },
    /// A blob is not there.
    #[error("find blob {digest} in {}", root.display())]
    #[diagnostic(
        code(sciembed::store::blob_missing),
        help("run apply: the step that made it becomes stale and runs again")
    )]
    BlobMissing {
        /// The store.
        root: PathBuf,
        /// The blob.
        digest: Digest,
    },
}

impl StoreError {
    /// A reading error at `path`.
    pub fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    /// A writing error at `path`.
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// Damage found at `path`.
    pub fn damaged(path: &Path, detail: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), detail: detail.to_string() }
    }

    /// Whether the store itself is at fault, rather than the user or the machine.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::BlobMissing { .. } | Self::BlobDamaged { .. })
    }
}

//! How a file of a set comes to stand in a directory: as a reflink of its blob, else as a second name of it, else as a copy.
//!
//! A second name costs no bytes, and whoever damages the published file damages the blob too. That is cheap: files are
//! read-only, each is checked by content at every plan, and a set is made again from its tables, which nobody publishes.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise, ioctl_ficlone};

use super::beside;
use crate::digest::Digest;
use crate::store::{HashedFile, durable, failpoint};

/// Bytes copied at once: they stay in the processor's cache.
const COPY_BYTES: usize = 1 << 18;

/// Bytes after which the cache may forget what was copied: the copy then takes memory that is at hand, which a virtual
/// machine would otherwise have to ask its host for.
const FORGET_BYTES: u64 = 1 << 25;

/// What is to stand somewhere.
pub(super) struct Content<'a> {
    /// The blob.
    pub blob: &'a Path,
    /// What its bytes should be.
    pub digest: &'a Digest,
    /// Whether they were found to be that just now, so that they need not be read again.
    pub is_verified: bool,
}

/// Puts a blob's content at `path`, unless it is there. `holders` are published files that may have the same content, of
/// which a second name is as good where the store is on another file system. Says false, and changes nothing, if the blob's
/// content is not what its name says.
///
/// # Errors
/// Whatever the file system gives; then `path` is as it was.
pub(super) fn place(
    content: &Content,
    path: &Path,
    holders: impl FnOnce() -> io::Result<Vec<PathBuf>>,
) -> io::Result<bool> {
    if is_sound(path, content.digest) {
        return Ok(true);
    }
    let temporary = beside(path);
    let placed = make(content, &temporary, holders);
    if !matches!(placed, Ok(true)) {
        let _ = fs::remove_file(&temporary);
        return placed;
    }
    durable::make_room(path)?;
    durable::rename(&temporary, path).map(|()| true)
}

/// Makes a synced file with this content.
fn make(content: &Content, temporary: &Path, holders: impl FnOnce() -> io::Result<Vec<PathBuf>>) -> io::Result<bool> {
    let Content { blob, digest, is_verified } = *content;
    let is_shared = reflink(blob, temporary)? || second_name(blob, temporary);
    if is_shared && (is_verified || Digest::of_file(temporary)? == *digest) {
        return Ok(true);
    }
    if is_shared {
        fs::remove_file(temporary)?;
    }
    if holders()?.iter().any(|holder| is_sound(holder, digest) && second_name(holder, temporary)) {
        return Ok(true);
    }
    Ok(!is_shared && copy(blob, temporary)? == *digest)
}

fn is_sound(path: &Path, digest: &Digest) -> bool {
    path.is_file() && Digest::of_file(path).is_ok_and(|found| found == *digest)
}

/// Says false, and leaves nothing, where the file system has no reflinks.
fn reflink(blob: &Path, temporary: &Path) -> io::Result<bool> {
    let (from, to) = (File::open(blob)?, create(temporary)?);
    failpoint::reached("place: an empty file is made beside");
    if ioctl_ficlone(&to, &from).is_err() {
        return fs::remove_file(temporary).map(|()| false);
    }
    to.sync_all().map(|()| true)
}

/// Says false where the file system has no hard links, or is another one, or where the file has too many.
fn second_name(file: &Path, temporary: &Path) -> bool {
    let is_linked = fs::hard_link(file, temporary).is_ok();
    failpoint::reached("place: a second name is made beside");
    is_linked
}

fn create(temporary: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    Ok(file)
}

/// Makes a synced copy of a blob, and digests it on the way.
fn copy(blob: &Path, temporary: &Path) -> io::Result<Digest> {
    let mut from = File::open(blob)?;
    let mut to = HashedFile::new(create(temporary)?);
    let mut piece = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut piece)? {
            0 => break,
            bytes => {
                failpoint::torn("place: half a piece is copied", to.file(), &piece[..bytes]);
                to.write_all(&piece[..bytes])?;
            }
        }
        if to.bytes().is_multiple_of(FORGET_BYTES) {
            // From now on the copy is read and the blob is not. Only advice: if it is not taken, nothing is wrong.
            let _ = fadvise(&from, 0, NonZeroU64::new(to.bytes()), Advice::DontNeed);
        }
    }
    failpoint::reached("place: copied");
    to.sync()?;
    failpoint::reached("place: synced");
    Ok(to.digest())
}

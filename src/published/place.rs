//! How a file of a set comes to stand in a directory: by a reflink, a copy, or a second name of a published file.
//!
//! Never by a hard link of a blob: whoever damages a published file must not damage the store through it. Among published
//! files hard links are fine: each is checked by content at every plan, and mended by a file of its own.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise, ioctl_ficlone};

use super::beside;
use crate::digest::Digest;
use crate::store::{HashedFile, durable, failpoint};

/// Bytes copied at once: they stay in the processor's cache.
const COPY_BYTES: usize = 1 << 18;

/// Bytes after which the cache may forget what was copied: the copy then takes memory that is at hand, which a virtual
/// machine would otherwise have to ask its host for.
const FORGET_BYTES: u64 = 1 << 25;

/// Puts a part's vectors at `path`, unless they are there: another name of a published file with the same content, if one
/// of `published` is one, else as [`place`] does.
pub(super) fn hold(
    published: impl Iterator<Item = impl AsRef<Path>>,
    blob: &Path,
    path: &Path,
    digest: &Digest,
) -> io::Result<bool> {
    if is_sound(path, digest) {
        return Ok(true);
    }
    for other in published.filter(|other| is_sound(other.as_ref(), digest)) {
        let temporary = beside(path);
        // A file system without hard links, or a file with too many.
        if fs::hard_link(other, &temporary).is_ok() {
            failpoint::reached("place: a second name is made beside");
            durable::make_room(path)?;
            return durable::rename(&temporary, path).map(|()| true);
        }
    }
    place(blob, path, digest)
}

fn is_sound(path: &Path, digest: &Digest) -> bool {
    path.is_file() && Digest::of_file(path).is_ok_and(|found| found == *digest)
}

/// Puts a blob's content at `path`, unless it is there: a reflink where the file system can, else a synced copy. Says
/// false, and changes nothing, if the blob's content is not what its name says.
pub(super) fn place(blob: &Path, path: &Path, digest: &Digest) -> io::Result<bool> {
    if path.is_file() && Digest::of_file(path)? == *digest {
        return Ok(true);
    }
    let temporary = beside(path);
    let placed = clone_or_copy(blob, &temporary).map(|found| found == *digest);
    if !matches!(placed, Ok(true)) {
        let _ = fs::remove_file(&temporary);
        return placed;
    }
    durable::make_room(path)?;
    durable::rename(&temporary, path).map(|()| true)
}

/// Makes a synced file of a blob's bytes, and digests them on the way.
fn clone_or_copy(blob: &Path, temporary: &Path) -> io::Result<Digest> {
    let mut from = File::open(blob)?;
    let to = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    failpoint::reached("place: an empty file is made beside");
    to.set_permissions(Permissions::from_mode(0o444))?;
    if ioctl_ficlone(&to, &from).is_ok() {
        to.sync_all()?;
        return Digest::of_file(temporary);
    }
    let mut to = HashedFile::new(to);
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

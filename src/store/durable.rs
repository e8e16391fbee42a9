//! Files that appear whole or not at all, and stay after a power cut.
//!
//! The order is always: temporary file on the same file system, fsync, rename (or link, where the first writer must
//! win), fsync of the directory. Leaving out the first fsync leaves empty files after a power cut; leaving out the
//! second may lose the name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::failpoint;

/// Writes `bytes` to `path` by way of `temporary`, replacing what is there.
///
/// # Errors
/// Whatever the file system gives; then `path` is as it was.
pub fn write(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    write_synced(temporary, bytes)?;
    rename(temporary, path)
}

/// Writes `bytes` to `path` unless it is there already; says whether it did.
///
/// # Errors
/// Whatever the file system gives; then `path` is as it was.
pub fn create(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<bool> {
    write_synced(temporary, bytes)?;
    let linked = fs::hard_link(temporary, path);
    failpoint::reached("create: linked");
    fs::remove_file(temporary)?;
    failpoint::reached("create: the temporary name is gone");
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Renames a synced file into place, replacing what is there.
///
/// # Errors
/// Whatever the file system gives; the temporary file is then removed.
pub fn rename(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })?;
    failpoint::reached("rename: renamed");
    sync_parent(path)?;
    failpoint::reached("rename: the folder is synced");
    Ok(())
}

/// Removes a directory that stands where a file is to be, as a copy leaves one that followed links. Only for places in
/// which nothing of anybody's stands.
///
/// # Errors
/// Whatever removing gives.
pub fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        _ => Ok(()),
    }
}

/// Holds a file that stands for a piece of work, so that one process does it at a time; it is let go with the file.
///
/// # Errors
/// Whatever opening or locking gives.
pub fn lock(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Gives `folder` what `temporary` holds, in one step where the file system can. What `folder` held is under `temporary`
/// afterwards, or gone.
///
/// # Errors
/// Whatever renaming or removing gives.
pub fn exchange(temporary: &Path, folder: &Path) -> io::Result<()> {
    match renameat_with(CWD, temporary, CWD, folder, RenameFlags::EXCHANGE) {
        // Some file systems cannot exchange.
        Err(Errno::INVAL | Errno::NOSYS) => fs::remove_dir_all(folder).and_then(|()| fs::rename(temporary, folder)),
        exchanged => Ok(exchanged?),
    }
}

/// Removes a file if it is there, so that it stays away.
///
/// # Errors
/// Whatever removing or syncing the directory gives.
pub fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            failpoint::reached("forget: the name is gone");
            sync_parent(path)
        }
    }
}

/// Makes the names in a file's directory last.
///
/// # Errors
/// Whatever opening or syncing the directory gives.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn write_synced(temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    failpoint::reached("write: nothing yet");
    let written = OpenOptions::new().write(true).create_new(true).open(temporary).and_then(|mut file| {
        failpoint::torn("write: half of the temporary file", &file, bytes);
        file.write_all(bytes)?;
        failpoint::reached("write: the temporary file is written");
        file.sync_all()
    });
    failpoint::reached("write: the temporary file is synced");
    written.inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })
}

/// A name that no other process or thread uses: `<host>~<pid>~<start>~<n>`.
pub fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}~{}~{:x}~{n}", host(), std::process::id(), since_epoch.as_nanos())
}

/// Whether a name has the form of one from [`unique_name`].
pub fn is_unique_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('~').collect();
    matches!(parts[..], [_, pid, nanos, n] if [pid, n].iter().all(|it| it.parse::<u64>().is_ok()) && u128::from_str_radix(nanos, 16).is_ok())
}

/// Whether a name from [`unique_name`] belongs to a process of this host that is no longer there.
pub fn owner_is_dead(name: &str) -> bool {
    let mut parts = name.split('~');
    let (Some(owner_host), Some(pid)) = (parts.next(), parts.next()) else { return false };
    owner_host == host() && pid.parse().is_ok_and(|pid| !process_lives(pid))
}

/// Removes the files of a folder that are named `prefix` and a [`unique_name`] whose process is no longer there.
pub fn sweep(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().and_then(|name| name.strip_prefix(prefix)).is_some_and(owner_is_dead) {
            // Somebody else may sweep at the same time; what is gone is gone.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a process of this host lives.
pub fn process_lives(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    // Not permitted to signal it means that it is there.
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)) && !has_ended(pid)
}

/// Whether nobody has asked yet how a process ended: it answers signals as a living one does.
fn has_ended(pid: Pid) -> bool {
    let told = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name before the state is in parentheses, and may hold any characters.
    told.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// This machine's name, with what could end a path component or a name's part replaced.
pub fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.replace(['/', '~'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_creator_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temporary) = (dir.path().join("a"), dir.path().join("t"));
        assert!(create(&path, &temporary, b"first").unwrap());
        assert!(!create(&path, &temporary, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert!(!temporary.exists());
    }

    #[test]
    fn only_the_dead_are_swept() {
        assert!(!owner_is_dead(&unique_name()));
        assert!(owner_is_dead(&format!("{}~4194305~0~0", host())));
        assert!(!owner_is_dead("elsewhere~4194305~0~0"));
        assert!(!owner_is_dead("something"));
        let dir = tempfile::tempdir().unwrap();
        let dead = format!("{}~4194305~0~0", host());
        let names = [format!(".a.{dead}"), dead, format!(".a.{}", unique_name()), ".a.toml".to_owned()];
        names.iter().for_each(|name| fs::write(dir.path().join(name), "").unwrap());
        sweep(dir.path(), ".a.");
        let there: Vec<bool> = names.iter().map(|name| dir.path().join(name).exists()).collect();
        assert_eq!(there, [false, true, true, true]);
    }
}

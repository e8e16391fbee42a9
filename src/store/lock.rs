//! Locks save work, never carry correctness: without them two runs would compute the same bytes twice.
//!
//! A lock is a file that names host, boot and process. Whoever finds it held by a process that is provably gone (same
//! host, other boot or no such process) takes it over at once; on any host, one whose heartbeat stopped is taken over too.
//! Locks on whole runs, and what keeps gc and runs out of each other's way, are in `run_lock.rs`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, durable, failpoint};
use crate::digest::NodeKey;

/// How often a holder shows that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// How far a heartbeat may lie from now before its lock is taken over: a dozen beats, so that a machine that swaps keeps its work.
const EXPIRY: Duration = Duration::from_secs(120);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// The kernel's id of this boot: process ids of an earlier boot mean nothing.
    pub boot: String,
    /// The process.
    pub pid: u32,
    /// The run.
    pub run: String,
}

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
}

/// The outcome of trying to lock.
#[derive(Debug)]
pub enum LockOutcome {
    /// Held now.
    Held(Lock),
    /// Somebody else computes it.
    Busy(Holder),
}

impl Store {
    /// Tries to take the lock on a node key, without waiting.
    ///
    /// # Errors
    /// [`StoreError::Write`] if the lock file cannot be made.
    pub fn lock(&self, key: &NodeKey, run: &str) -> Result<LockOutcome, StoreError> {
        self.lock_named(&key.to_string(), run)
    }

    /// The same on any name.
    pub(super) fn lock_named(&self, name: &str, run: &str) -> Result<LockOutcome, StoreError> {
        let path = self.locks().join(name);
        // Twice: once more after a dead holder's lock was moved away.
        for _ in 0..2 {
            match create(&path, &self.temporary(), run) {
                Ok(()) => return Ok(LockOutcome::Held(Lock { path })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::write(&path, error)),
            }
            match self.living(&path) {
                Some(holder) => return Ok(LockOutcome::Busy(holder)),
                None => self.take_away(&path),
            }
        }
        Ok(LockOutcome::Busy(read_holder(&path).unwrap_or_else(Holder::unknown)))
    }

    /// Who holds the lock on a node key and lives; none if nobody does.
    pub fn lock_holder(&self, key: &NodeKey) -> Option<Holder> {
        self.living(&self.locks().join(key.to_string()))
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Who holds a lock and lives; none if it is free or its holder is dead.
    pub(super) fn living(&self, path: &Path) -> Option<Holder> {
        match read_holder(path) {
            Some(holder) => holder.lives(path).then_some(holder),
            // Damaged, or of a file system whose bytes come after their name: free only when it is old.
            None => is_recent(path).then(Holder::unknown),
        }
    }

    /// Removes a dead holder's lock, by a rename first: of several who find it, one alone takes it away.
    pub(super) fn take_away(&self, path: &Path) {
        let taken = self.temporary();
        // Somebody else may have taken it meanwhile; what is gone is gone.
        let moved = fs::rename(path, &taken);
        failpoint::reached("lock: a dead one is moved away");
        let _ = moved.and_then(|()| fs::remove_file(&taken));
    }
}

impl Lock {
    /// Shows that the holder lives. A lock that was taken over stays lost: results do not depend on it.
    pub fn beat(&self) {
        if let Ok(file) = File::options().write(true).open(&self.path) {
            let _ = file.set_modified(SystemTime::now());
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let ours = read_holder(&self.path).is_some_and(|holder| holder.pid == std::process::id());
        if ours {
            failpoint::reached("lock: about to be freed");
            let _ = fs::remove_file(&self.path);
            failpoint::reached("lock: freed");
        }
    }
}

impl Holder {
    fn this(run: &str) -> Self {
        Self { host: durable::host(), boot: boot_id(), pid: std::process::id(), run: run.to_owned() }
    }

    fn unknown() -> Self {
        Self { host: "unknown".into(), boot: String::new(), pid: 0, run: String::new() }
    }

    fn lives(&self, path: &Path) -> bool {
        let here = self.host == durable::host();
        if here && (self.boot != boot_id() || !durable::process_lives(self.pid)) {
            return false;
        }
        is_recent(path)
    }
}

/// Makes a lock that is whole or not there: one that a kill or a full disk left empty would name nobody, and whoever wants
/// it would wait until it expires.
fn create(path: &Path, temporary: &Path, run: &str) -> io::Result<()> {
    let bytes = serde_json::to_vec(&Holder::this(run)).expect("a holder is plain data");
    let written = fs::write(temporary, bytes);
    failpoint::reached("lock: its temporary file is written");
    let linked = written.and_then(|()| fs::hard_link(temporary, path));
    failpoint::reached("lock: linked");
    // It may not be there, and if it stays it is swept.
    let _ = fs::remove_file(temporary);
    linked
}

fn read_holder(path: &Path) -> Option<Holder> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Whether the last heartbeat is near, on either side. Clocks of two machines differ a little; a beat that lies far ahead
/// is one of a clock that was set back since, and whoever had lived through that would have beaten again.
fn is_recent(path: &Path) -> bool {
    let beat = fs::metadata(path).and_then(|meta| meta.modified());
    beat.is_ok_and(|beat| beat.elapsed().unwrap_or_else(|ahead| ahead.duration()) < EXPIRY)
}

fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::ManuallyDrop;

    /// After a full disk the next run would wait two minutes for nobody.
    #[test]
    fn a_lock_that_cannot_be_written_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        fs::remove_dir(dir.path().join("tmp")).unwrap();
        assert!(store.lock(&NodeKey::from_bytes([1; 32]), "a").is_err());
        assert_eq!(fs::read_dir(dir.path().join("locks")).unwrap().count(), 0);
    }

    #[test]
    fn the_dead_are_succeeded_and_the_living_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let key = NodeKey::from_bytes([1; 32]);
        let LockOutcome::Held(held) = store.lock(&key, "a").unwrap() else { panic!("a free lock is taken") };
        assert!(matches!(store.lock(&key, "b").unwrap(), LockOutcome::Busy(holder) if holder.run == "a"));
        drop(held);

        let dead = Holder { pid: 4_194_305, ..Holder::this("dead") };
        fs::write(dir.path().join("locks").join(key.to_string()), serde_json::to_vec(&dead).unwrap()).unwrap();
        assert!(matches!(store.lock(&key, "c").unwrap(), LockOutcome::Held(_)));
    }

    /// Of another machine nobody knows which processes live: there, and wherever a process hangs, the heartbeat decides.
    #[test]
    fn a_lock_whose_heartbeat_stopped_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let key = NodeKey::from_bytes([1; 32]);
        let path = dir.path().join("locks").join(key.to_string());
        let last_beat = |ago: Duration| {
            File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - ago).unwrap();
        };
        let holders = [Holder { host: "elsewhere".to_owned(), ..Holder::this("there") }, Holder::this("hanging")];
        for holder in holders {
            fs::write(&path, serde_json::to_vec(&holder).unwrap()).unwrap();
            last_beat(EXPIRY - HEARTBEAT);
            assert!(matches!(store.lock(&key, "late").unwrap(), LockOutcome::Busy(busy) if busy == holder));
            last_beat(EXPIRY + HEARTBEAT);
            let held = ManuallyDrop::new(Lock { path: path.clone() });
            held.beat();
            assert!(matches!(store.lock(&key, "late").unwrap(), LockOutcome::Busy(_)), "a beat keeps it");
            last_beat(EXPIRY + HEARTBEAT);
            assert!(matches!(store.lock(&key, "late").unwrap(), LockOutcome::Held(_)));
        }
    }

    /// Nobody waits until the time that a clock told which was wrong.
    #[test]
    fn a_heartbeat_far_ahead_of_the_clock_keeps_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let key = NodeKey::from_bytes([1; 32]);
        let path = dir.path().join("locks").join(key.to_string());
        let there = Holder { host: "elsewhere".to_owned(), ..Holder::this("there") };
        fs::write(&path, serde_json::to_vec(&there).unwrap()).unwrap();
        let beat = |ahead: Duration| {
            File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() + ahead).unwrap();
        };
        beat(HEARTBEAT);
        assert!(matches!(store.lock(&key, "here").unwrap(), LockOutcome::Busy(_)));
        beat(EXPIRY + HEARTBEAT);
        assert!(matches!(store.lock(&key, "here").unwrap(), LockOutcome::Held(_)));
    }
}

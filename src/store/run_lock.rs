//! Locks on a whole run, and on the store while gc deletes: so that neither begins while the other is at work.
//!
//! Each takes its own lock first and looks at the other's then, so that of two that start together at least one sees the
//! other: a run waits for gc, gc refuses while a run lives. A thread of the lock's own shows that the holder lives, since
//! digesting a corpus or deleting a store takes longer than a lock lasts without a heartbeat.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;

use super::record::list;
use super::{HEARTBEAT, Holder, Lock, LockOutcome, Store, StoreError};

/// How the locks of runs are called, before the run's id.
const RUN: &str = "run-";
/// How gc's is called.
const GC: &str = "gc";

/// A lock that beats by itself; dropping it frees it.
#[derive(Debug)]
pub struct BeatingLock {
    /// Dropped, it ends the thread, which then frees the lock.
    stop: Option<Sender<()>>,
    beating: Option<thread::JoinHandle<()>>,
}

impl Store {
    /// Takes the lock of a run, which tells everybody that it lives.
    ///
    /// # Errors
    /// [`StoreError::Write`] if the lock file cannot be made.
    pub fn lock_run(&self, run: &str) -> Result<BeatingLock, StoreError> {
        let mut name = format!("{RUN}{run}");
        loop {
            match self.lock_named(&name, run)? {
                LockOutcome::Held(lock) => return Ok(BeatingLock::new(lock)),
                // One process started two runs within a second: both live, and both must show it.
                LockOutcome::Busy(_) => name.push('+'),
            }
        }
    }

    /// The runs that live, in the order of their ids. What the dead left is removed on the way.
    ///
    /// # Errors
    /// [`StoreError::Read`] if the locks cannot be listed.
    pub fn live_runs(&self) -> Result<Vec<Holder>, StoreError> {
        let mut living = Vec::new();
        for path in list(&self.locks())? {
            let is_run = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(RUN));
            match is_run.then(|| self.living(&path)) {
                Some(Some(holder)) => living.push(holder),
                Some(None) => self.take_away(&path),
                None => {}
            }
        }
        Ok(living)
    }

    /// Removes the locks that the dead left behind, of runs and of steps.
    ///
    /// # Errors
    /// [`StoreError::Read`] if the locks cannot be listed.
    pub fn sweep_locks(&self) -> Result<(), StoreError> {
        let dead = |path: &std::path::PathBuf| path.is_file() && self.living(path).is_none();
        list(&self.locks())?.iter().filter(|path| dead(path)).for_each(|path| self.take_away(path));
        Ok(())
    }

    /// Takes the lock of whoever deletes, and then makes sure that nobody computes.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a run lives or somebody else deletes; [`StoreError::Write`] if the lock file cannot be
    /// made.
    pub fn lock_gc(&self, run: &str) -> Result<BeatingLock, StoreError> {
        let refused = |what, holder| Err(StoreError::InUse { store: self.root.clone(), what, holder });
        let lock = match self.lock_named(GC, run)? {
            LockOutcome::Held(lock) => BeatingLock::new(lock),
            LockOutcome::Busy(holder) => return refused("gc", Box::new(holder)),
        };
        match self.live_runs()?.into_iter().next() {
            Some(holder) => refused("run", Box::new(holder)),
            None => Ok(lock),
        }
    }

    /// Who deletes right now.
    pub fn gc_holder(&self) -> Option<Holder> {
        let path = self.locks().join(GC);
        if path.exists() { self.living(&path) } else { None }
    }
}

impl BeatingLock {
    fn new(lock: Lock) -> Self {
        let (stop, stopped) = channel::<()>();
        let beating = thread::spawn(move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                lock.beat();
            }
        });
        Self { stop: Some(stop), beating: Some(beating) }
    }
}

impl Drop for BeatingLock {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Waited for, so that the lock is free when this returns. The thread cannot panic.
        let _ = self.beating.take().map(thread::JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_run_and_gc_see_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let run = store.lock_run("a").unwrap();
        let again = store.lock_run("a").unwrap();
        assert_eq!(store.live_runs().unwrap().len(), 2);
        let refused = store.lock_gc("gc").unwrap_err();
        assert!(matches!(&refused, StoreError::InUse { what: "run", holder, .. } if holder.run == "a"), "{refused}");
        assert_eq!(store.gc_holder(), None, "who refuses holds nothing");
        drop((run, again));
        let gc = store.lock_gc("gc").unwrap();
        assert_eq!(store.gc_holder().unwrap().run, "gc");
        assert!(matches!(store.lock_gc("other"), Err(StoreError::InUse { what: "gc", .. })));
        drop(gc);
        assert_eq!(fs::read_dir(dir.path().join("locks")).unwrap().count(), 0);
    }

    #[test]
    fn the_dead_stop_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        drop(store.lock_run("a").unwrap());
        for name in ["run-dead", "gc"] {
            let holder = r#"{"host":"HOST","boot":"before","pid":1,"run":"dead"}"#;
            let holder = holder.replace("HOST", &super::super::durable::host());
            fs::write(dir.path().join("locks").join(name), holder).unwrap();
        }
        assert_eq!(store.gc_holder(), None);
        drop(store.lock_gc("gc").unwrap());
        assert_eq!(fs::read_dir(dir.path().join("locks")).unwrap().count(), 0);
    }
}

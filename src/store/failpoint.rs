//! Points between any two changes of the disk, at which a test can end the program as a power cut would.
//!
//! Every place that changes what others may read names its points: before, between and after its steps. A test counts
//! the points of an undisturbed run, and then kills a run at the n-th. Nothing of this is in a release build, and nothing
//! happens unless [`arm`] was called, which `cli` does when a test asks for it.

#[cfg(debug_assertions)]
pub use armed::{arm, passed, reached, torn};
#[cfg(not(debug_assertions))]
pub use off::{reached, torn};

#[cfg(debug_assertions)]
mod armed {
    use std::fs::File;
    use std::io::Write;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    struct Points {
        /// Counted from 1.
        crash_at: Option<usize>,
        passed: Vec<&'static str>,
    }

    static POINTS: Mutex<Option<Points>> = Mutex::new(None);

    /// Counts points from now on, and ends the process at this one.
    pub fn arm(crash_at: Option<usize>) {
        *points() = Some(Points { crash_at, passed: Vec::new() });
    }

    /// The points that were passed since [`arm`], in order.
    pub fn passed() -> Vec<&'static str> {
        points().as_ref().map_or_else(Vec::new, |points| points.passed.clone())
    }

    /// Passes a point, or ends the process here if this is the one.
    pub fn reached(point: &'static str) {
        pass(point, || {});
    }

    /// Passes a point in the middle of writing `bytes`: if this is the one, half of them are written first.
    pub fn torn(point: &'static str, mut file: &File, bytes: &[u8]) {
        pass(point, || drop(file.write_all(&bytes[..bytes.len() / 2])));
    }

    fn pass(point: &'static str, last_deed: impl FnOnce()) {
        // The lock is held while the process dies: no other thread gets past a point meanwhile.
        let mut guard = points();
        let Some(points) = guard.as_mut() else { return };
        points.passed.push(point);
        if points.crash_at == Some(points.passed.len()) {
            last_deed();
            // As `kill -9` does, so that nothing is dropped or flushed.
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }

    fn points() -> MutexGuard<'static, Option<Points>> {
        POINTS.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(not(debug_assertions))]
mod off {
    /// Nothing: points are for tests.
    #[inline(always)]
    pub fn reached(_: &'static str) {}

    /// Nothing: points are for tests.
    #[inline(always)]
    pub fn torn(_: &'static str, _: &std::fs::File, _: &[u8]) {}
}

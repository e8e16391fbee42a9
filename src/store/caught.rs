//! Panics of libraries that damaged bytes lead astray: they are caught, and told as the damage that they are.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is about to be caught here.
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives; none if it panics, of which nothing is printed. It must leave nothing behind that is half done. The first
/// call puts a hook before the process' own, which goes on telling of all other panics.
pub fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_EXPECTED.get() {
                others(panic);
            }
        }));
    });
    let before = IS_EXPECTED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_EXPECTED.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_none() {
        let bytes = [1, 2];
        let at = |place: usize| caught(|| bytes[place]);
        assert_eq!((at(1), at(2)), (Some(2), None));
        assert_eq!(caught(|| (at(2), at(0))), Some((None, Some(1))), "one within another");
        assert!(!IS_EXPECTED.get());
    }
}

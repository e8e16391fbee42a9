//! Which vectors are there already? A texts table, the keys of its rows, and every place where the embedder's vectors stand.
//!
//! ```text
//! texts -> row keys (`keys.rs`) -> sorted, distinct -> looked for in segments, then in tables (`vectors.rs`)
//!                                                        |-> found: taken from there
//!                                                        '-> missing: new, to be computed
//! ```
//!
//! `node/embed.rs` computes what is missing, and `plan` tells beforehand how much that is (`changes.rs`): both ask here, so
//! they agree. Reads the store and writes nothing.

mod changes;
mod keys;
mod source;
mod vectors;

pub use changes::{changes, removed};
pub use keys::{names, row_keys};
pub use source::Source;
pub use vectors::{Located, Shape, Vectors};

use crate::pool::Panicked;
use crate::store::StoreError;

/// What can end looking.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ReuseError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// A thread.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Panicked(#[from] Panicked),
    /// Whoever asked wants no answer any more.
    #[error("look for vectors: the run was interrupted")]
    #[diagnostic(code(sciembed::reuse::stopped), help("apply again: it goes on from where it stopped"))]
    Stopped,
}

/// Whether to go on; asked between batches.
pub type Going<'a> = &'a (dyn Fn() -> bool + Sync);

//! From `hf://organisation/name` to whole files on this disk, and the file that remembers which ones they were.
//!
//! Owns the hub's API, the cache (shared with Python's huggingface_hub) and `sciembed.lock`. May not guess: a file is
//! whole when its size and digest are those that the hub states. Reads no environment, and shows nobody the token.
//! Read next: `reference.rs` for names on the hub, `lock_file.rs` for what is remembered.

mod error;
mod lock_file;
mod reference;

pub use error::HubError;
pub use lock_file::{LOCK_NAME, LOCK_VERSION, LockFile, LockedGraph, LockedModel};
pub use reference::{Commit, RepoRef};

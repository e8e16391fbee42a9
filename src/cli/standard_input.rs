//! What is piped into the program, for load nodes whose `input` is `-`.
//!
//! It can be read once, and a plan needs its digest before a run may load it: a run keeps it in the store, where it is
//! garbage once it is loaded; a plan looks at it and lets it go, and a look at one record keeps it as long as it looks.

use std::io::{IsTerminal, copy, sink, stdin};

use tempfile::NamedTempFile;

use super::{DoorError, Failure};
use crate::digest::DigestReader;
use crate::graph::{Config, Scope};
use crate::observe::Observer;
use crate::record::{Output, SourceFile};
use crate::source::files::STANDARD_INPUT;
use crate::store::Store;

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A run loads it.
    Load,
    /// Only its digest is wanted.
    Plan,
}

/// Reads standard input if a step that may run asks for it.
///
/// # Errors
/// A terminal instead of a pipe or file; what reading it or writing the store gives.
pub fn read(observer: &mut Observer, scope: &Scope, purpose: Use) -> Result<(), Failure> {
    if !is_asked_for(observer, scope) {
        return Ok(());
    }
    let input = stdin().lock();
    if input.is_terminal() {
        return Err(DoorError::Terminal.into());
    }
    let (digest, bytes) = match purpose {
        Use::Load => {
            let store = Store::create(observer.store.root())?;
            let Output { digest, bytes, .. } = store.copy_blob(input, "standard input")?;
            (digest, bytes)
        }
        Use::Plan => {
            let mut input = DigestReader::new(input);
            copy(&mut input, &mut sink()).map_err(DoorError::Pipe)?;
            (input.digest(), input.bytes_read())
        }
    };
    observer.standard_input = Some(SourceFile { name: STANDARD_INPUT.to_owned(), digest, bytes });
    Ok(())
}

/// What is piped in, in a file that is gone with what is returned; none if no step asks for it, or nothing comes. A terminal
/// gives nothing: who looks at one record need not have any.
///
/// # Errors
/// What reading it or writing the file gives.
pub fn kept(observer: &Observer, scope: &Scope) -> Result<Option<NamedTempFile>, Failure> {
    let mut input = stdin().lock();
    if !is_asked_for(observer, scope) || input.is_terminal() {
        return Ok(None);
    }
    let mut file = NamedTempFile::new().map_err(DoorError::Pipe)?;
    let bytes = copy(&mut input, &mut file).map_err(DoorError::Pipe)?;
    Ok((bytes > 0).then_some(file))
}

/// Whether a step that may run reads it.
fn is_asked_for(observer: &Observer, scope: &Scope) -> bool {
    let reads = |config: &Config| matches!(config, Config::Load(load) if load.input == STANDARD_INPUT);
    scope.running().any(|index| reads(&observer.graph.steps[index].config))
}

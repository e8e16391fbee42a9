//! Writing to people: a reader who has gone away must not end a run.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

use super::DoorError;

/// Prints a result to standard output, with a newline.
///
/// # Errors
/// [`DoorError::Output`].
pub fn say(text: impl Display) -> Result<(), DoorError> {
    writeln!(stdout(), "{text}").map_err(DoorError::Output)
}

/// Prints a remark to standard error, with a newline. If nobody can read it, that is no reason to stop.
pub fn remark(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}

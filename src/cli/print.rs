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

/// A stretch of time in the unit that fits it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        ..1.0 => "1 s".to_owned(),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

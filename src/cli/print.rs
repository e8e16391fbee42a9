//! Writing to people: a reader who has gone away must not end a run.

use std::env;
use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::{Component, Path, PathBuf};

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

/// Bytes in the unit that people compare by.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.0} KB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// The path as one would write it from here.
pub fn shortest(path: &Path) -> PathBuf {
    let whole = path.canonicalize().unwrap_or_else(|_| tidy(path));
    let here = env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    match whole.strip_prefix(here) {
        Ok(here) if here.as_os_str().is_empty() => PathBuf::from("."),
        Ok(below) => below.to_owned(),
        Err(_) => whole,
    }
}

/// Without `.` and `..`, of a path that is not there yet.
pub fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if tidy.components().next_back().is_some_and(|it| matches!(it, Component::Normal(_))) =>
            {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

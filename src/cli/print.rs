//! Writing to people: a reader who has gone away must not end a run.

use std::env;
use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::{Component, Path, PathBuf};

use console::{Term, measure_text_width};
use textwrap::{WordSeparator, WordSplitter, WrapAlgorithm};

use super::DoorError;

/// Prints a result to standard output, with a newline.
///
/// # Errors
/// [`DoorError::Output`].
pub fn say(text: impl Display) -> Result<(), DoorError> {
    writeln!(stdout(), "{text}").map_err(DoorError::Output)
}

/// Prints a line for people: on a terminal it breaks between words, and goes on below its last column. Elsewhere it stays
/// whole, for programs that read it.
///
/// # Errors
/// [`DoorError::Output`].
pub fn show(text: impl Display) -> Result<(), DoorError> {
    say(fitted(&text.to_string(), width()))
}

/// Prints a remark to standard error, with a newline. If nobody can read it, that is no reason to stop.
pub fn remark(text: impl Display) {
    let _ = writeln!(stderr(), "{}", fitted(&text.to_string(), columns(&Term::stderr())));
}

/// Prints what has its lines already to standard error, such as an error with a part of a file.
pub fn remark_drawn(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}

/// The columns of the terminal on standard output; none if it is none.
pub fn width() -> Option<usize> {
    columns(&Term::stdout())
}

fn columns(terminal: &Term) -> Option<usize> {
    terminal.is_term().then(|| terminal.size().1.into())
}

fn fitted(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    text.split('\n').map(|line| fitted_line(line, columns)).collect::<Vec<_>>().join("\n")
}

fn fitted_line(line: &str, columns: usize) -> String {
    let below = " ".repeat(last_column(line, columns));
    let options = textwrap::Options::new(columns)
        .subsequent_indent(&below)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .word_separator(WordSeparator::AsciiSpace)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(line, &options)
}

/// Where the last column of a line begins, which is what follows two spaces; if that leaves no room, where the line begins,
/// or a little inside of that where it is not indented much.
fn last_column(line: &str, columns: usize) -> usize {
    let start = line.len() - line.trim_start().len();
    let column = line.rfind("  ").map_or(0, |at| measure_text_width(&line[..at + 2]));
    match column {
        _ if column > start && column <= columns / 2 => column,
        _ if start > 2 => start,
        _ => start + 2,
    }
}

/// Text that a file held, as a line of a terminal: it must move no cursor, and turn no direction.
pub fn printable(text: &str) -> String {
    let is_moving = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(is_moving, " ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_held_moves_no_cursor() {
        assert_eq!(printable("a\x1b[31mb\u{202e}c\n é"), "a [31mb c  é");
    }

    #[test]
    fn lines_fit_a_terminal_and_stay_whole_elsewhere() {
        let text = "  loaded  900 rows in, 897 kept\nand 3 rejected in the year 2012";
        assert_eq!(fitted(text, None), text);
        assert_eq!(
            fitted(text, Some(24)),
            "  loaded  900 rows in,\n          897 kept\nand 3 rejected in the\n  year 2012"
        );
        // A path is broken nowhere, and a column too far on the right leaves no room.
        assert_eq!(
            fitted("look:  /a/very/long/path/of/ours.jsonl", Some(12)),
            "look:\n  /a/very/long/path/of/ours.jsonl"
        );
    }
}

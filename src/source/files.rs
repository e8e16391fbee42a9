//! From a path or a glob to a sorted list of files.

use std::path::{Path, PathBuf};

use super::SourceError;

/// The input that is whatever the program is given to read, by the name that shells and tools give it.
pub const STANDARD_INPUT: &str = "-";

/// One input file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePath {
    /// Where it is.
    pub path: PathBuf,
    /// Its path relative to the manifest, as it is shown and recorded.
    pub name: String,
}

/// The files that `input` stands for, relative to `base`, sorted by path; empty if there is none.
///
/// # Errors
/// [`SourceError::Glob`] for a bad pattern, [`SourceError::NotAFile`] where a file was expected.
pub fn find(base: &Path, input: &str) -> Result<Vec<SourcePath>, SourceError> {
    let found = if input.contains(['*', '?', '[']) { expand(base, input)? } else { vec![base.join(input)] };
    let mut sources = Vec::new();
    for path in found.into_iter().filter(|path| path.exists()) {
        if !path.is_file() {
            return Err(SourceError::NotAFile { path });
        }
        let name = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
        sources.push(SourcePath { path, name });
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn expand(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let bad =
        |detail: &glob::PatternError| SourceError::Glob { pattern: pattern.to_owned(), detail: detail.msg.to_owned() };
    // Only the pattern is the user's: brackets in the folder that the project stands in are literal.
    let rooted = if Path::new(pattern).is_absolute() {
        pattern.to_owned()
    } else {
        format!("{}/{pattern}", glob::Pattern::escape(&base.to_string_lossy()))
    };
    let paths = glob::glob(&rooted).map_err(|error| bad(&error))?;
    Ok(paths.flatten().filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_sorted_and_named_relative_to_the_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("a [draft]");
        std::fs::create_dir_all(base.join("data")).unwrap();
        for name in ["2011.json", "2010.json", "notes.txt"] {
            std::fs::write(base.join("data").join(name), "").unwrap();
        }
        let names: Vec<_> = find(&base, "data/*.json").unwrap().into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["data/2010.json", "data/2011.json"]);
        assert!(find(&base, "data/2012.json").unwrap().is_empty());
        assert!(matches!(find(&base, "data"), Err(SourceError::NotAFile { .. })));
        assert!(matches!(find(&base, "data/[.json"), Err(SourceError::Glob { .. })));
    }
}

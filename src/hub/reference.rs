//! Names on the hub: a repository with its revision, and a commit.
//!
//! They become paths and addresses, so they are read strictly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::HubError;

/// The longest name of an organisation or a repository.
const MAX_NAME: usize = 96;

/// A repository on the hub, and which of its states is meant: what stands behind `hf://`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoRef {
    repo: String,
    revision: Option<String>,
}

impl RepoRef {
    /// `organisation/name`; the oldest repositories have a name alone.
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// The branch, tag or commit; the hub's default branch where none is written.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The commit, where the revision is one already.
    pub fn commit(&self) -> Option<Commit> {
        self.revision().parse().ok()
    }
}

impl FromStr for RepoRef {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let bad = |reason| HubError::BadReference { reference: text.to_owned(), reason };
        let (repo, revision) = text.split_once('@').map_or((text, None), |(repo, revision)| (repo, Some(revision)));
        let parts: Vec<&str> = repo.split('/').collect();
        if parts.len() > 2 {
            return Err(bad("a repository is an organisation and a name, with one slash between"));
        }
        if !parts.iter().all(|part| is_name(part)) {
            return Err(bad("names are letters, digits, `-`, `_` and `.`, none of the last at an end or twice"));
        }
        if !revision.is_none_or(is_revision) {
            return Err(bad("what stands behind the @ is no branch, tag or commit"));
        }
        Ok(Self { repo: repo.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for RepoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// The hub's own rule. `--` is also what the cache writes for a slash.
fn is_name(name: &str) -> bool {
    let edge = |letter: char| letter == '-' || letter == '.';
    (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        && !name.starts_with(edge)
        && !name.ends_with(edge)
        && !name.contains("--")
        && !name.contains("..")
}

/// Git's rule for names of branches and tags, with plain characters only. Such a name is also a path below `refs/`.
fn is_revision(revision: &str) -> bool {
    revision.len() <= 200
        && revision.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.+/".contains(letter))
        && revision.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with('.'))
        && !revision.contains("..")
}

/// A commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(String);

impl Commit {
    /// The 40 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        if !is_hex(text, 40) {
            return Err(HubError::BadCommit { found: text.to_owned() });
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Commit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Commit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a text is so many hex digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_give_back_what_was_written() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let pinned = format!("org/name@{commit}");
        for text in ["org/name", "gpt2", "a_b/C.d-e@v1.0", "org/name@refs/pr/1", "org/name@main", &pinned] {
            assert_eq!(text.parse::<RepoRef>().unwrap().to_string(), text);
        }
        assert_eq!("org/name".parse::<RepoRef>().unwrap().revision(), "main");
        assert_eq!("org/name".parse::<RepoRef>().unwrap().commit(), None);
        assert_eq!(pinned.parse::<RepoRef>().unwrap().commit().unwrap().as_str(), commit);
    }

    #[test]
    fn what_could_leave_the_cache_or_the_address_is_refused() {
        let names =
            ["", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/b..c", "a--b/c", "-a/b", "a/b.", "a b", "a/b?x", "ä/b"];
        let revisions = [
            "a/b@",
            "a/b@..",
            "a/b@x/../y",
            "a/b@/x",
            "a/b@x//y",
            "a/b@x y",
            "a/b@x?y",
            "a/b@x#y",
            "a/b@.x",
            "a/b@x@y",
        ];
        for text in names.into_iter().chain(revisions) {
            assert!(matches!(text.parse::<RepoRef>(), Err(HubError::BadReference { .. })), "{text}");
        }
        assert!(format!("a/{}", "b".repeat(97)).parse::<RepoRef>().is_err());
    }
}

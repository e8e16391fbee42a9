//! The files of a commit: as the hub lists them, and as they are kept in the cache for the day without a network.
//!
//! Names become paths and come from strangers: one that could lead out of the model's folder refuses the whole listing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::content::ContentId;
use super::{Commit, HubError};

/// The format of saved listings; another one counts as absent, for it can be had again.
const LISTING_VERSION: u32 = 1;

/// The files of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    version: u32,
    pub commit: Commit,
    pub files: BTreeMap<String, RemoteFile>,
}

/// What is known of a file before it is here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemoteFile {
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
}

/// The hub's answer, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    sha: Commit,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Listing {
    pub fn new(commit: Commit, files: BTreeMap<String, RemoteFile>) -> Self {
        Self { version: LISTING_VERSION, commit, files }
    }

    /// Reads the hub's answer; `Err` says what is wrong with it.
    pub fn read_answer(repo: &str, what: &str, bytes: &[u8]) -> Result<Self, HubError> {
        let answer: Answer = serde_json::from_slice(bytes).map_err(|error| HubError::BadAnswer {
            what: what.to_owned(),
            detail: format!("{error}; it begins with {:?}", beginning(bytes)),
        })?;
        let mut files = BTreeMap::new();
        for Sibling { rfilename, size, blob_id, lfs } in answer.siblings {
            if !is_inside(&rfilename) {
                return Err(HubError::Escape { repo: repo.to_owned(), path: rfilename });
            }
            let file = match lfs {
                Some(Lfs { sha256, size: whole }) => {
                    let content = sha256.as_deref().and_then(ContentId::read);
                    RemoteFile { size: whole.or(size), content }
                }
                None => RemoteFile { size, content: blob_id.as_deref().and_then(ContentId::read) },
            };
            files.insert(rfilename, file);
        }
        Ok(Self::new(answer.sha, files))
    }

    /// The listing saved at `path`, unless there is none that this program trusts.
    pub fn load(path: &Path, commit: &Commit) -> Option<Self> {
        let listing: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let sound = listing.version == LISTING_VERSION
            && listing.commit == *commit
            && listing.files.keys().all(|path| is_inside(path));
        sound.then_some(listing)
    }

    /// As it is saved.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a listing is plain data")
    }
}

/// Whether a listed name stays inside the folder that it is joined to.
fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(|letter: char| letter.is_control() || letter == '\\')
}

/// Enough of an answer to recognise a login page by.
fn beginning(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn listed(siblings: &str) -> Result<Listing, HubError> {
        let answer = format!(r#"{{"sha": "{COMMIT}", "private": false, "siblings": {siblings}}}"#);
        Listing::read_answer("org/name", "hf://org/name", answer.as_bytes())
    }

    #[test]
    fn files_have_the_digest_that_the_hub_gives_them() {
        let (sha1, sha256) = ("a".repeat(40), "b".repeat(64));
        let siblings = format!(
            r#"[{{"rfilename": "onnx/model.onnx", "blobId": "{sha1}", "lfs": {{"sha256": "{sha256}", "size": 7}}}},
                {{"rfilename": "a.json", "size": 3, "blobId": "{sha1}"}}, {{"rfilename": "b.json"}}]"#
        );
        let listing = listed(&siblings).unwrap();
        let file = |size, content| RemoteFile { size, content };
        assert_eq!(listing.files["onnx/model.onnx"], file(Some(7), Some(ContentId::Sha256(sha256))));
        assert_eq!(listing.files["a.json"], file(Some(3), Some(ContentId::GitSha1(sha1))));
        assert_eq!(listing.files["b.json"], file(None, None));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("listing");
        fs::write(&path, listing.to_bytes()).unwrap();
        assert_eq!(Listing::load(&path, &listing.commit), Some(listing));
        assert_eq!(Listing::load(&path, &"f".repeat(40).parse().unwrap()), None);
    }

    #[test]
    fn a_file_outside_the_folder_refuses_the_listing() {
        for path in ["../x", "/etc/passwd", "a/../../x", "a//b", "", ".", "a/./b", r"..\\x", "a\\u0000b"] {
            let found = listed(&format!(r#"[{{"rfilename": "a.json"}}, {{"rfilename": "{path}"}}]"#));
            assert!(matches!(found, Err(HubError::Escape { .. })), "{path}: {found:?}");
        }
    }

    #[test]
    fn a_login_page_is_recognised_in_the_message() {
        let error =
            Listing::read_answer("org/name", "hf://org/name", b"<html>\n <title>Hotel WLAN</title>").unwrap_err();
        assert!(error.to_string().contains("<html> <title>Hotel WLAN"), "{error}");
    }
}

//! What the hub says of a file's bytes: SHA-256 for large files, git's SHA-1 for the others. It is also the name of the
//! file's blob in the cache.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use serde::{Deserialize, Serialize};

use super::reference::is_hex;

/// Bytes of a file that are hashed at once.
const PIECE_BYTES: usize = 1 << 20;

/// A digest that the hub names a file by, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ContentId {
    /// Of a file in large file storage: the SHA-256 of its bytes.
    Sha256(String),
    /// Of any other: what git calls its blob, a SHA-1 of its length and its bytes.
    GitSha1(String),
}

impl ContentId {
    /// Reads the digest by its length, quoted or not, as in an `ETag` header or a blob's name.
    pub fn read(text: &str) -> Option<Self> {
        let hex = text.trim().trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        match hex.len() {
            64 if is_hex(&hex, 64) => Some(Self::Sha256(hex)),
            40 if is_hex(&hex, 40) => Some(Self::GitSha1(hex)),
            _ => None,
        }
    }

    /// The name of the blob in the cache.
    pub fn blob_name(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitSha1(hex) => hex,
        }
    }

    /// The digest of a file, of the same kind as this one.
    pub fn of_file(&self, path: &Path) -> io::Result<Self> {
        match self {
            Self::Sha256(_) => Self::sha256_of(path),
            Self::GitSha1(_) => {
                let file = File::open(path)?;
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
                hash(file, context).map(Self::GitSha1)
            }
        }
    }

    /// The SHA-256 of a file.
    pub fn sha256_of(path: &Path) -> io::Result<Self> {
        hash(File::open(path)?, Context::new(&SHA256)).map(Self::Sha256)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "sha256 {hex}"),
            Self::GitSha1(hex) => write!(f, "git blob {hex}"),
        }
    }
}

fn hash(mut file: File, mut context: Context) -> io::Result<String> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => context.update(&piece[..read]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `sha256sum` and `git hash-object` say.
    #[test]
    fn digests_are_those_of_the_usual_tools() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "hello\n").unwrap();
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        for expected in [sha256, git] {
            let read = ContentId::read(&format!("W/\"{expected}\"")).unwrap();
            assert_eq!(read.of_file(&path).unwrap(), read);
            assert_eq!(read.blob_name(), expected);
        }
        assert_eq!(ContentId::read("\"d41d8cd98f00b204e9800998ecf8427e\""), None);
    }
}

//! Names of things by their content: digests of bytes, keys of nodes, embedders and rows.
//!
//! A [`Digest`] is the plain BLAKE3 of bytes, so `b3sum` agrees with it. Keys are BLAKE3 in `derive_key` mode with a
//! fixed context each, so a key of one kind can never equal a key of another, nor a digest. [`KeyHasher`] owns the
//! framing: every variable-length value is preceded by its length, so `("ab", "c")` and `("a", "bc")` differ.
//! Read next: `fingerprint.rs`, which says what goes into a node key.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a file that are read, and hashed, at once: long strides that stay in the processor's cache.
const PIECE_BYTES: usize = 1 << 20;

/// Declares a newtype over `N` bytes that reads and writes itself as lowercase hex.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// How many bytes this identifier has.
            pub const LEN: usize = $len;

            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hex digits, for people.
            pub fn short(&self) -> String {
                self.to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError { expected: $len * 2, found: text.to_owned() };
                if text.len() != $len * 2 || !text.is_ascii() {
                    return Err(wrong());
                }
                let mut bytes = [0u8; $len];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
                }
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// The BLAKE3 digest of some bytes: a blob, a source file, a model file.
    Digest, 32
);
hex_id!(
    /// The key of one node instance: its kind, its configuration and what it consumes.
    NodeKey, 32
);
hex_id!(
    /// The key of an embedder: everything that decides which vector a text gets.
    EmbedderKey, 32
);
hex_id!(
    /// The key of one text under one embedder. A vector is a pure function of its row key.
    RowKey, 16
);
hex_id!(
    /// The digest of a record's selected fields in canonical form, 16 bytes kept.
    MetadataDigest, 16
);

/// An identifier that is not the expected number of hex digits.
#[derive(Debug, thiserror::Error)]
#[error("read {found:?} as an identifier of {expected} hex digits")]
pub struct ParseIdError {
    expected: usize,
    found: String,
}

impl Digest {
    /// Digests bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Digests a file in constant memory: one piece is hashed while the next one is read. Mapped pages would count as the
    /// process's memory for as long as they are mapped.
    ///
    /// # Errors
    /// Whatever opening or reading the file gives.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hasher = blake3::Hasher::new();
        let wanted = usize::try_from(file.metadata()?.len()).map_or(PIECE_BYTES, |bytes| bytes.min(PIECE_BYTES)).max(1);
        let (mut piece, mut next) = (vec![0; wanted], Vec::new());
        let mut read = file.read(&mut piece)?;
        while read > 0 {
            next.resize(wanted, 0);
            let (_, bytes) = rayon::join(|| hasher.update(&piece[..read]), || file.read(&mut next));
            read = bytes?;
            std::mem::swap(&mut piece, &mut next);
        }
        Ok(hasher.finalize().into())
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl RowKey {
    /// The key of `text`, exactly as it is handed to the tokenizer, under one embedder.
    pub fn of(embedder: &EmbedderKey, text: &str) -> Self {
        let mut hasher = KeyHasher::new("sciembed 2026 row key v1");
        hasher.bytes(embedder.as_bytes()).text(text);
        Self(hasher.first_16())
    }
}

/// Hashes structured values with explicit framing.
///
/// Integers are 8 bytes little-endian; text and bytes are preceded by their length; an absent value is a 0 byte, a
/// present one a 1 byte and the value. Callers feed maps in sorted order and sequences after [`KeyHasher::count`].
#[derive(Clone)]
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts a hash in the domain named by `context`, which is a constant of the program.
    pub fn new(context: &'static str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    /// Adds an integer.
    pub fn count(&mut self, value: u64) -> &mut Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    /// Adds bytes, framed by their length.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.count(value.len() as u64);
        self.0.update(value);
        self
    }

    /// Adds text, framed by its length in bytes.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// Adds a value that may be absent.
    pub fn optional(&mut self, value: Option<&str>) -> &mut Self {
        self.0.update(&[u8::from(value.is_some())]);
        if let Some(value) = value {
            self.text(value);
        }
        self
    }

    fn all_32(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    fn first_16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.all_32()[..16]);
        bytes
    }

    /// Ends as a node key.
    pub fn node_key(&self) -> NodeKey {
        NodeKey(self.all_32())
    }

    /// Ends as an embedder key.
    pub fn embedder_key(&self) -> EmbedderKey {
        EmbedderKey(self.all_32())
    }

    /// Ends as a metadata digest.
    pub fn metadata_digest(&self) -> MetadataDigest {
        MetadataDigest(self.first_16())
    }

    /// Ends as a digest of structured values.
    pub fn digest(&self) -> Digest {
        Digest(self.all_32())
    }
}

/// A reader that digests the bytes passing through it.
pub struct DigestReader<R> {
    inner: R,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<R: Read> DigestReader<R> {
    /// Wraps `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    /// How many bytes were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// The digest of the bytes read so far.
    pub fn digest(&self) -> Digest {
        self.hasher.finalize().into()
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_separates_values() {
        let key = |parts: &[&str]| {
            let mut hasher = KeyHasher::new("sciembed test");
            parts.iter().for_each(|part| {
                hasher.text(part);
            });
            hasher.digest()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a\0"]));
        assert_ne!(key(&["a", ""]), key(&["a"]));
    }

    /// A changed encoding would silently rebuild every cache: it must be seen here first.
    #[test]
    fn one_row_key_is_pinned() {
        let embedder = EmbedderKey::from_bytes([7; 32]);
        assert_eq!(RowKey::of(&embedder, "dark matter").to_string(), "501dc7a4a19da5384fa2cce37f0fe6c2");
    }

    #[test]
    fn digests_are_plain_blake3() {
        let of_empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_string(), of_empty);
    }

    #[test]
    fn ids_read_what_they_write() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("zz".parse::<RowKey>().is_err());
        assert!("é".repeat(16).parse::<RowKey>().is_err());
    }
}

//! Which index: the part of Faiss' factory strings that is of use for unit vectors whose originals are kept beside.
//!
//! ```text
//! [OPQ48_384,]IVF4096,PQ48np    lists, product codes of 48 bytes; a learned rotation to 384 numbers first
//! IVF4096,SQ8                   lists, a byte for each number (also SQ4, SQ6, SQfp16, Flat)
//! HNSW32,SQ8                    a graph of 32 links a level, over such codes
//! SQ8, Flat                     codes alone, of which a search reads all
//! ```
//!
//! What else Faiss knows is refused: it would need numerics that this crate does not have, ignore the inner product
//! (HNSW over PQ), or cost minutes for nothing (`PQ48` without `np` trains an order of codes that no search here uses).

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Centroids of each block of a product code: what one byte tells apart.
pub(crate) const CODEBOOK: usize = 256;
/// Vectors that Faiss wants for each centroid, or it warns on standard error (`min_points_per_centroid`).
const LEAST_POINTS: usize = 39;
/// Vectors beyond which Faiss draws a sample of its own for each centroid (`max_points_per_centroid`).
const MOST_POINTS: usize = 256;
/// Lists, links and blocks that are plausible; more would only ask for absurd memory.
const MOST: usize = 1 << 22;

/// An index, as a factory string names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factory {
    /// How rows are found without reading all of them.
    pub search: Search,
    /// What is kept of a row.
    pub codes: Codes,
}

/// How rows are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// All of them are read.
    Scan,
    /// In the lists of the nearest centroids (inverted file).
    Ivf {
        /// How many lists there are.
        lists: usize,
        /// The numbers of a vector after a learned rotation (OPQ), if there is one.
        rotated: Option<usize>,
    },
    /// By a graph of neighbours (hierarchical navigable small world).
    Hnsw {
        /// Links of a row on each level; twice as many on the lowest.
        links: usize,
    },
}

/// What is kept of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Its f32.
    Flat,
    /// Four bits a number.
    Sq4,
    /// Six bits a number.
    Sq6,
    /// Eight bits a number, between the extremes of the sample.
    Sq8,
    /// An f16 a number.
    Fp16,
    /// A byte for each block of numbers: which of 256 centroids is nearest (product quantisation).
    Pq {
        /// How many blocks, and so bytes.
        blocks: usize,
    },
}

impl Codes {
    /// Bytes of one row's code.
    pub fn bytes(self, dim: usize) -> usize {
        match self {
            Self::Flat => 4 * dim,
            Self::Sq4 => dim.div_ceil(2),
            Self::Sq6 => (6 * dim).div_ceil(8),
            Self::Sq8 => dim,
            Self::Fp16 => 2 * dim,
            Self::Pq { blocks } => blocks,
        }
    }
}

impl Factory {
    /// Bytes of the file for each row, for vectors of `dim` numbers: exact, but for a graph, whose higher levels are drawn.
    pub fn row_bytes(&self, dim: usize) -> usize {
        let codes = self.codes.bytes(self.coded(dim));
        match self.search {
            Search::Scan => codes,
            Search::Ivf { .. } => codes + 8,
            // A level, an offset, the links of the lowest level, and those of the others: one row of `links` has one.
            Search::Hnsw { links } => codes + 4 + 8 + 4 * 2 * links + 4,
        }
    }

    /// Bytes of the file whatever the rows: centroids, codebooks, a rotation, the lengths of lists.
    pub fn fixed_bytes(&self, dim: usize) -> usize {
        let coded = self.coded(dim);
        let search = match self.search {
            Search::Ivf { lists, rotated } => lists * (4 * coded + 8) + rotated.map_or(0, |rotated| 4 * dim * rotated),
            _ => 0,
        };
        search + if let Codes::Pq { .. } = self.codes { 4 * CODEBOOK * coded } else { 0 }
    }

    /// Vectors that training needs at least, and beyond which more change nothing.
    pub fn sample_rows(&self) -> std::ops::RangeInclusive<usize> {
        let lists = if let Search::Ivf { lists, .. } = self.search { lists } else { 0 };
        let centroids = if let Codes::Pq { .. } = self.codes { lists.max(CODEBOOK) } else { lists };
        let most = (centroids * MOST_POINTS).max(1 << 16);
        (LEAST_POINTS * centroids).max(1)..=most
    }

    /// Numbers of a vector as it is coded: after a rotation, if there is one.
    pub(crate) fn coded(&self, dim: usize) -> usize {
        match self.search {
            Search::Ivf { rotated: Some(rotated), .. } => rotated,
            _ => dim,
        }
    }

    /// Whether vectors of `dim` numbers can be cut as this wants it.
    pub(crate) fn check(&self, dim: usize) -> Result<(), Error> {
        let coded = self.coded(dim);
        let reason = match self.codes {
            _ if dim == 0 || dim > 1 << 16 => "there must be 1 to 65,536".to_owned(),
            _ if coded > dim => "a rotation cannot give more".to_owned(),
            Codes::Pq { blocks } if !coded.is_multiple_of(blocks) => {
                format!("{coded} cannot be cut into {blocks} blocks")
            }
            _ => return Ok(()),
        };
        Err(Error::Dim { index: self.to_string(), dim, reason })
    }
}

impl fmt::Display for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.search {
            Search::Scan => {}
            Search::Ivf { lists, rotated } => {
                if let (Some(rotated), Codes::Pq { blocks }) = (rotated, self.codes) {
                    write!(f, "OPQ{blocks}_{rotated},")?;
                }
                write!(f, "IVF{lists},")?;
            }
            Search::Hnsw { links } => write!(f, "HNSW{links},")?,
        }
        match self.codes {
            Codes::Flat => f.write_str("Flat"),
            Codes::Sq4 => f.write_str("SQ4"),
            Codes::Sq6 => f.write_str("SQ6"),
            Codes::Sq8 => f.write_str("SQ8"),
            Codes::Fp16 => f.write_str("SQfp16"),
            Codes::Pq { blocks } => write!(f, "PQ{blocks}np"),
        }
    }
}

impl FromStr for Factory {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| Error::Factory { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<Factory, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let (rotation, search, codes) = match parts[..] {
        [codes] => (None, None, codes),
        [search, codes] => (None, Some(search), codes),
        [rotation, search, codes] => (Some(rotation), Some(search), codes),
        _ => return Err("there are too many commas".into()),
    };
    let codes = parse_codes(codes)?;
    let rotated = rotation.map(|rotation| parse_rotation(rotation, codes)).transpose()?;
    let search = match search {
        None => Search::Scan,
        Some(search) => parse_search(search, rotated)?,
    };
    match (search, codes) {
        (Search::Ivf { .. }, _) | (_, Codes::Flat | Codes::Sq4 | Codes::Sq6 | Codes::Sq8 | Codes::Fp16) => {}
        (Search::Scan, Codes::Pq { .. }) => return Err("codes of PQ want lists: write `IVF4096,` before them".into()),
        (Search::Hnsw { .. }, Codes::Pq { .. }) => {
            return Err("HNSW over PQ does not know the inner product: write SQ8, or lists of PQ".into());
        }
    }
    Ok(Factory { search, codes })
}

fn parse_codes(text: &str) -> Result<Codes, String> {
    Ok(match text {
        "Flat" => Codes::Flat,
        "SQ4" => Codes::Sq4,
        "SQ6" => Codes::Sq6,
        "SQ8" => Codes::Sq8,
        "SQfp16" => Codes::Fp16,
        _ => {
            let Some(rest) = text.strip_prefix("PQ") else {
                return Err(format!("codes are one of PQ48np, SQ8, SQ6, SQ4, SQfp16 and Flat, not `{text}`"));
            };
            let digits = rest.strip_suffix("np").ok_or_else(|| {
                format!("write `{text}np`: without `np` it is trained for minutes, for searches that are not used here")
            })?;
            Codes::Pq { blocks: number(digits)? }
        }
    })
}

fn parse_rotation(text: &str, codes: Codes) -> Result<Option<usize>, String> {
    let rest = text.strip_prefix("OPQ").ok_or_else(|| format!("a rotation is OPQ48_384, not `{text}`"))?;
    let (blocks, rotated) = match rest.split_once('_') {
        Some((blocks, rotated)) => (blocks, Some(number(rotated)?)),
        None => (rest, None),
    };
    let blocks = number(blocks)?;
    if codes != (Codes::Pq { blocks }) {
        return Err(format!("a rotation for {blocks} blocks goes with PQ{blocks}np"));
    }
    rotated.map(Some).ok_or_else(|| format!("write how many numbers OPQ{blocks} is to give: OPQ{blocks}_384"))
}

fn parse_search(text: &str, rotated: Option<Option<usize>>) -> Result<Search, String> {
    if let Some(lists) = text.strip_prefix("IVF") {
        return Ok(Search::Ivf { lists: number(lists)?, rotated: rotated.flatten() });
    }
    let Some(links) = text.strip_prefix("HNSW") else {
        return Err(format!("rows are found by IVF4096 or HNSW32, not by `{text}`"));
    };
    if rotated.is_some() {
        return Err("a rotation goes with IVF".into());
    }
    match number(links)? {
        links @ 2..=512 => Ok(Search::Hnsw { links }),
        links => Err(format!("{links} links are none or too many: 16 to 64 are usual")),
    }
}

fn number(digits: &str) -> Result<usize, String> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(number) if plain && number <= MOST => Ok(number),
        _ => Err(format!("`{digits}` is no number from 1 to {MOST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in
            ["IVF4096,PQ48np", "OPQ48_384,IVF4096,PQ48np", "IVF64,SQ8", "HNSW32,SQ8", "HNSW16,Flat", "SQfp16", "Flat"]
        {
            assert_eq!(text.parse::<Factory>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_of_no_use_is_refused_with_the_remedy() {
        for (text, told) in [
            ("IVF4096,PQ48", "write `PQ48np`"),
            ("HNSW32,PQ48np", "does not know the inner product"),
            ("PQ48np", "want lists"),
            ("OPQ48,IVF64,PQ48np", "OPQ48_384"),
            ("OPQ32_384,IVF64,PQ48np", "goes with PQ32np"),
            ("OPQ48_384,HNSW32,PQ48np", "a rotation goes with IVF"),
            ("PCA64,IVF64,SQ8", "a rotation is"),
            ("IVF0,SQ8", "`0` is no number"),
            ("IVF99999999999999999999,SQ8", "is no number"),
            ("IVF+4,SQ8", "`+4` is no number"),
            ("HNSW1000,SQ8", "too many"),
            ("", "codes are one of"),
            ("a,b,c,d", "too many commas"),
        ] {
            let error = text.parse::<Factory>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_length_must_be_cut_into_equal_blocks() {
        let told = |text: &str, dim| text.parse::<Factory>().unwrap().check(dim).unwrap_err().to_string();
        assert_eq!(
            told("IVF64,PQ48np", 100),
            "make IVF64,PQ48np of vectors of 100 numbers: 100 cannot be cut into 48 blocks"
        );
        assert!(told("OPQ8_64,IVF64,PQ8np", 32).contains("cannot give more"));
        assert!(told("Flat", 0).contains("1 to 65,536"));
    }
}

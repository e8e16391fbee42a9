//! Whether a file is a whole index of one of the kinds that [`Factory`] names, before Faiss reads it.
//!
//! Faiss trusts what it reads: a cut file of lists is mapped all the same and kills the program at the first search, a
//! wrong length asks for a terabyte, a wrong neighbour in a graph reads whatever memory lies there. So the file's frame is
//! walked here: every length must agree with every other and with the size of the file, and links must lead to rows.
//! Codes and centroids may hold any bytes: they make bad answers, never bad memory. Whether they are the right ones is
//! for a digest of the whole file to say.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::Error;
use crate::factory::{CODEBOOK, Codes, Factory, Search};

/// Read ahead: long strides, for graphs are read from end to end.
const BUFFER_BYTES: usize = 1 << 18;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub kind: Factory,
    pub dim: usize,
    pub rows: usize,
}

/// Walks a file.
///
/// # Errors
/// [`Error::File`] where it cannot be read, [`Error::Damaged`] where it is no whole index.
pub(crate) fn describe(path: &Path) -> Result<Described, Error> {
    let file = File::open(path).map_err(|source| Error::file(path, source))?;
    let metadata = file.metadata().map_err(|source| Error::file(path, source))?;
    if !metadata.is_file() {
        return Err(Error::damaged(path, "it is no regular file"));
    }
    let mut walk = Walk { file: BufReader::with_capacity(BUFFER_BYTES, file), left: metadata.len() };
    walk.whole().map_err(|fault| match fault {
        Fault::Wrong(reason) => Error::damaged(path, reason),
        Fault::Io(source) => Error::file(path, source),
    })
}

enum Fault {
    Wrong(String),
    Io(std::io::Error),
}

type Walked<T> = Result<T, Fault>;

fn wrong<T>(reason: impl Into<String>) -> Walked<T> {
    Err(Fault::Wrong(reason.into()))
}

/// Faults unless it is so.
fn must(so: bool, reason: &str) -> Walked<()> {
    if so { Ok(()) } else { wrong(reason) }
}

/// What stands at the head of every index.
#[derive(Clone, Copy)]
struct Header {
    dim: u64,
    rows: u64,
}

struct Walk {
    file: BufReader<File>,
    left: u64,
}

impl Walk {
    fn whole(&mut self) -> Walked<Described> {
        let name = self.name()?;
        let (factory, header) = match &name {
            b"IxPT" => self.rotated()?,
            b"IwPQ" | b"IwSq" | b"IwFl" => self.lists(name, None)?,
            b"IHNf" | b"IHNs" => self.graph()?,
            _ => self.codes(name).map(|(codes, header)| (Factory { search: Search::Scan, codes }, header))?,
        };
        must(self.left == 0, "more follows after its end")?;
        let (dim, rows) = (to_usize(header.dim)?, to_usize(header.rows)?);
        Ok(Described { kind: factory, dim, rows })
    }

    /// A rotation, and lists of what it gives.
    fn rotated(&mut self) -> Walked<(Factory, Header)> {
        let header = self.header()?;
        must(self.i32()? == 1, "it has not one transform")?;
        must(&self.name()? == b"LTra", "its transform is no rotation")?;
        let has_bias = self.flag()?;
        let matrix = self.skip_vector(4)?;
        let bias = self.skip_vector(4)?;
        let (from, to) = (self.count_i32()?, self.count_i32()?);
        must(self.flag()?, "its rotation is not trained")?;
        must(from == header.dim && to <= from && Some(matrix) == from.checked_mul(to), "its rotation does not fit")?;
        must(!has_bias && bias == 0, "a rotation has no bias")?;
        let name = self.name()?;
        must(&name == b"IwPQ", "a rotation goes with lists of product codes")?;
        let (factory, inner) = self.lists(name, Some(to_usize(to)?))?;
        must(inner.dim == to && inner.rows == header.rows, "what is rotated does not fit")?;
        Ok((factory, header))
    }

    fn lists(&mut self, name: [u8; 4], rotated: Option<usize>) -> Walked<(Factory, Header)> {
        let header = self.header()?;
        let (lists, _) = (self.u64()?, self.u64()?);
        let quantizer = self.name()?;
        let (centroids, at) = self.codes(quantizer)?;
        must(centroids == Codes::Flat && at.dim == header.dim && at.rows == lists, "its centroids do not fit")?;
        must(self.u8()? == 0 && self.skip_vector(8)? == 0, "it has a map of its rows")?;
        let (codes, code_bytes) = match &name {
            b"IwPQ" => {
                let (_, bytes) = (self.flag()?, self.u64()?);
                (self.product(header.dim)?, bytes)
            }
            b"IwSq" => {
                let codes = self.scalar(header.dim)?;
                let bytes = self.u64()?;
                self.flag()?;
                (codes, bytes)
            }
            _ => (Codes::Flat, header.dim * 4),
        };
        must(code_bytes == codes.bytes(to_usize(header.dim)?) as u64, "its codes are not as long as they should be")?;
        self.inverted(lists, code_bytes, header.rows)?;
        Ok((Factory { search: Search::Ivf { lists: to_usize(lists)?, rotated }, codes }, header))
    }

    fn inverted(&mut self, lists: u64, code_bytes: u64, rows: u64) -> Walked<()> {
        must(&self.name()? == b"ilar", "its lists are not in this file")?;
        must(self.u64()? == lists && self.u64()? == code_bytes, "its lists do not fit")?;
        let sparse = match &self.name()? {
            b"full" => false,
            b"sprs" => true,
            _ => return wrong("its lists are of no known form"),
        };
        let lengths = self.vector(8)?;
        must(if sparse { lengths % 2 == 0 } else { lengths == lists }, "it has not a length for each list")?;
        let (mut total, mut next) = (0u64, 0);
        for _ in 0..if sparse { lengths / 2 } else { lengths } {
            if sparse {
                let list = self.u64()?;
                must(list >= next && list < lists, "a list is named twice, or is none of its lists")?;
                next = list + 1;
            }
            total = total.saturating_add(self.u64()?);
        }
        must(total == rows, "its lists do not hold its rows")?;
        self.skip(total, code_bytes + 8)
    }

    fn graph(&mut self) -> Walked<(Factory, Header)> {
        let header = self.header()?;
        let levels_drawn = self.skip_vector(8)?;
        let links_up_to = self.integers()?;
        must(links_up_to.len() as u64 == levels_drawn + 1 && links_up_to.len() >= 2, "its levels do not fit")?;
        must(links_up_to[0] == 0 && links_up_to.is_sorted() && links_up_to.len() <= 64, "its levels have no links")?;
        let levels = self.integers()?;
        let known = 1..links_up_to.len();
        must(levels.len() as u64 == header.rows, "it has not a level for each row")?;
        must(
            levels.iter().all(|level| usize::try_from(*level).is_ok_and(|level| known.contains(&level))),
            "a row has no level",
        )?;
        self.offsets(&levels, &links_up_to)?;
        self.neighbours(&levels, &links_up_to)?;
        let (entry, top) = (self.i32()?, self.i32()?);
        let entered = usize::try_from(entry).ok().and_then(|entry| levels.get(entry));
        must(
            if levels.is_empty() { entry == -1 } else { entered.is_some_and(|level| *level == top.saturating_add(1)) },
            "it is entered nowhere",
        )?;
        for _ in 0..2 {
            must((1..=1 << 20).contains(&self.i32()?), "its breadth of search is absurd")?;
        }
        self.i32()?;
        let name = self.name()?;
        let (codes, stored) = self.codes(name)?;
        must(stored.dim == header.dim && stored.rows == header.rows, "its codes do not fit")?;
        Ok((Factory { search: Search::Hnsw { links: to_usize(links_up_to[1] as u64)? / 2 }, codes }, header))
    }

    /// Where the links of each row begin: one behind the other.
    fn offsets(&mut self, levels: &[i32], links_up_to: &[i32]) -> Walked<()> {
        must(self.vector(8)? == levels.len() as u64 + 1, "it has not an offset for each row")?;
        let mut end = 0;
        for level in levels {
            must(self.u64()? == end, "an offset is wrong")?;
            end += links_up_to[*level as usize] as u64;
        }
        must(self.u64()? == end, "an offset is wrong")
    }

    /// The links themselves: each leads to no row, or to one that has that level.
    fn neighbours(&mut self, levels: &[i32], links_up_to: &[i32]) -> Walked<()> {
        let mut left = self.vector(4)?;
        for level in levels {
            let links = links_up_to[*level as usize] as u64;
            must(links <= left, "links are missing")?;
            left -= links;
            for at in 0..*level as usize {
                for _ in links_up_to[at]..links_up_to[at + 1] {
                    let link = self.i32()?;
                    let leads = usize::try_from(link).ok().and_then(|row| levels.get(row));
                    must(link == -1 || leads.is_some_and(|level| *level > at as i32), "a link leads nowhere")?;
                }
            }
        }
        must(left == 0, "there are links of no row")
    }

    /// Codes that stand alone.
    fn codes(&mut self, name: [u8; 4]) -> Walked<(Codes, Header)> {
        if !matches!(&name, b"IxFI" | b"IxSQ") {
            return wrong("it is no index of a kind that is used here");
        }
        let header = self.header()?;
        if &name == b"IxFI" {
            must(Some(self.skip_vector(4)?) == header.rows.checked_mul(header.dim), "its vectors do not fit")?;
            return Ok((Codes::Flat, header));
        }
        let codes = self.scalar(header.dim)?;
        let bytes = codes.bytes(to_usize(header.dim)?) as u64;
        must(Some(self.skip_vector(1)?) == header.rows.checked_mul(bytes), "its codes do not fit")?;
        Ok((codes, header))
    }

    fn scalar(&mut self, dim: u64) -> Walked<Codes> {
        let codes = match self.i32()? {
            0 => Codes::Sq8,
            1 => Codes::Sq4,
            4 => Codes::Fp16,
            6 => Codes::Sq6,
            _ => return wrong("its codes are of no kind that is used here"),
        };
        let range = self.i32()?;
        must((0..4).contains(&range), "its codes have no known range")?;
        self.i32()?;
        let bytes = codes.bytes(to_usize(dim)?) as u64;
        must(self.u64()? == dim && self.u64()? == bytes, "its codes are not as long as they should be")?;
        let trained = if codes == Codes::Fp16 { 0 } else { 2 * dim };
        must(self.skip_vector(4)? == trained, "the ranges of its codes do not fit")?;
        Ok(codes)
    }

    fn product(&mut self, dim: u64) -> Walked<Codes> {
        let (numbers, blocks, bits) = (self.u64()?, self.u64()?, self.u64()?);
        must(numbers == dim && bits == 8, "its codebooks are of another kind")?;
        must(blocks > 0 && dim.is_multiple_of(blocks), "its vectors cannot be cut into blocks")?;
        must(self.skip_vector(4)? == dim * CODEBOOK as u64, "its codebooks do not fit")?;
        Ok(Codes::Pq { blocks: to_usize(blocks)? })
    }

    fn header(&mut self) -> Walked<Header> {
        let dim = self.count_i32()?;
        let rows = self.u64()?;
        self.bytes::<16>()?;
        must(self.flag()?, "it is not trained")?;
        must(self.i32()? == 0, "it is not by inner product")?;
        must((1..=1 << 16).contains(&dim), "its vectors have no length")?;
        must(rows <= i64::MAX as u64, "it has more rows than there are")?;
        Ok(Header { dim, rows })
    }

    fn name(&mut self) -> Walked<[u8; 4]> {
        self.bytes()
    }

    fn u8(&mut self) -> Walked<u8> {
        Ok(self.bytes::<1>()?[0])
    }

    /// A `bool` of C++, of which nothing but 0 and 1 may be made.
    fn flag(&mut self) -> Walked<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => wrong("a flag is neither set nor unset"),
        }
    }

    fn i32(&mut self) -> Walked<i32> {
        Ok(i32::from_le_bytes(self.bytes()?))
    }

    fn count_i32(&mut self) -> Walked<u64> {
        u64::try_from(self.i32()?).or_else(|_| wrong("a number is negative"))
    }

    fn u64(&mut self) -> Walked<u64> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn integers(&mut self) -> Walked<Vec<i32>> {
        let numbers = self.vector(4)?;
        (0..numbers).map(|_| self.i32()).collect()
    }

    /// Reads the length of a vector, and sees that so many elements of `size` bytes can follow.
    fn vector(&mut self, size: u64) -> Walked<u64> {
        let elements = self.u64()?;
        match elements.checked_mul(size) {
            Some(bytes) if bytes <= self.left => Ok(elements),
            _ => wrong("it ends too early"),
        }
    }

    fn skip_vector(&mut self, size: u64) -> Walked<u64> {
        let elements = self.vector(size)?;
        self.skip(elements, size)?;
        Ok(elements)
    }

    fn skip(&mut self, elements: u64, size: u64) -> Walked<()> {
        let bytes = elements.checked_mul(size).filter(|bytes| *bytes <= self.left);
        let Some(bytes) = bytes else { return wrong("it ends too early") };
        self.left -= bytes;
        let distance = i64::try_from(bytes).or_else(|_| wrong("it ends too early"))?;
        self.file.seek_relative(distance).map_err(Fault::Io)
    }

    fn bytes<const N: usize>(&mut self) -> Walked<[u8; N]> {
        if self.left < N as u64 {
            return wrong("it ends too early");
        }
        self.left -= N as u64;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(Fault::Io)?;
        Ok(bytes)
    }
}

fn to_usize(number: u64) -> Walked<usize> {
    usize::try_from(number).or_else(|_| wrong("a number is too large"))
}

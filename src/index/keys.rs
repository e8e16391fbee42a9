//! The key index: finite state transducers from bibcode, and from alias, to row, memory-mapped.
//!
//! About 13 bytes a name and a few microseconds a lookup at any size. A transducer stands as the `fst` crate writes it, with a
//! checksum; the set's digest keeps an index from being paired with another set. A row that is found says itself whether it
//! is the right one, since it holds its bibcode; so the checksum, for which the whole file is read, is taken only before an
//! index is walked, and before a name is said to be unknown or an alias.
//!
//! ```text
//! without aliases   bibcodes | set (32 bytes) | SCIEKEYS
//! with aliases      bibcodes | aliases | bytes of bibcodes (u64, little-endian) | set (32 bytes) | SCIEKEY2
//! with rivals       the same, and before the set: how many aliases (u64, little-endian)         | SCIEKEY3
//! ```
//!
//! An alias is another bibcode of the paper in that row. One that is a bibcode of the set as well is in both: a lookup
//! finds the bibcode, a merge sees that the row is claimed. Of an alias that several rows list a lookup finds the last one,
//! and a merge all of them: the last may be superseded, and the others' claims must not go with it. Those stand behind
//! the alias, under its name, a byte that no text has, and their row.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fst::automaton::Levenshtein;
use fst::map::OpBuilder;
use fst::{IntoStreamer, Map, MapBuilder, Streamer};
use memmap2::Mmap;

use crate::digest::NodeKey;
use crate::store::{StoreError, caught, map_file};

const MAGIC: &[u8; 8] = b"SCIEKEYS";
/// Of an index with aliases.
const MAGIC_ALIASES: &[u8; 8] = b"SCIEKEY2";
/// Of an index with an alias that several rows list.
const MAGIC_RIVALS: &[u8; 8] = b"SCIEKEY3";
const TRAILER_BYTES: usize = NodeKey::LEN + MAGIC.len();
/// A number in the part of the trailer that only an index with aliases has.
const LENGTH_BYTES: usize = size_of::<u64>();
/// Set in an alias' value if other rows list it too.
const RIVALS: u64 = 1 << 63;
/// Stands between an alias and another row that lists it.
const RIVAL: u8 = 0xff;
/// What stands behind an alias in the name of such a row.
const RIVAL_BYTES: usize = 1 + size_of::<u64>();
/// What is wrong with an index of which no more is known.
const DAMAGED: &str = "it is damaged";
/// Edits within which an unknown bibcode is thought to be a slip.
const NEAR_EDITS: u32 = 2;

/// Writes the index of `names` and `aliases`, each with its row; both are sorted on the way. Hands back the sink and the
/// number of aliases.
///
/// # Errors
/// Whatever writing gives; two equal bibcodes, which a vectors table never has.
pub fn write<W: Write>(
    sink: W,
    names: &mut [(&str, u32)],
    aliases: &mut [(Alias, u32)],
    set: &NodeKey,
) -> io::Result<(W, u64)> {
    names.sort_unstable();
    let mut writer = KeyWriter::new(sink)?;
    for (name, row) in names.iter() {
        writer.insert(name.as_bytes(), u64::from(*row))?;
    }
    if aliases.is_empty() {
        return Ok((writer.finish(set)?, 0));
    }
    aliases.sort_unstable();
    let mut writer = writer.aliases()?;
    let mut rows = Vec::new();
    for same in aliases.chunk_by(|(a, _), (b, _)| a == b) {
        rows.clear();
        rows.extend(same.iter().map(|(_, row)| u64::from(*row)));
        rows.dedup();
        writer.insert(&same[0].0, &rows)?;
    }
    let written = writer.written();
    Ok((writer.finish(set)?, written))
}

/// An alias on its way into an index: a year has many, and a `String` each would take twice the memory.
pub type Alias = [u8; 19];

/// Writes an index whose bibcodes come in their own order, in constant memory.
pub struct KeyWriter<W: Write>(MapBuilder<Counted<W>>);

impl<W: Write> KeyWriter<W> {
    /// Starts an index.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn new(sink: W) -> io::Result<Self> {
        MapBuilder::new(Counted { sink, bytes: 0 }).map(Self).map_err(unwrapped)
    }

    /// Adds a bibcode, greater than all before it.
    ///
    /// # Errors
    /// Whatever writing gives; a bibcode that is not greater.
    pub fn insert(&mut self, bibcode: &[u8], row: u64) -> io::Result<()> {
        self.0.insert(bibcode, row).map_err(unwrapped)
    }

    /// Ends the bibcodes, and goes on with aliases.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn aliases(self) -> io::Result<AliasWriter<W>> {
        let Counted { sink, bytes } = self.0.into_inner().map_err(unwrapped)?;
        Ok(AliasWriter { bibcodes: bytes, written: 0, rivals: false, map: MapBuilder::new(sink).map_err(unwrapped)? })
    }

    /// Ends the index of this set, and hands the sink back.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn finish(self, set: &NodeKey) -> io::Result<W> {
        let mut sink = self.0.into_inner().map_err(unwrapped)?.sink;
        sink.write_all(set.as_bytes())?;
        sink.write_all(MAGIC)?;
        Ok(sink)
    }
}

/// Goes on with the aliases of an index, in their own order.
pub struct AliasWriter<W: Write> {
    /// Bytes of the bibcodes' transducer.
    bibcodes: u64,
    written: u64,
    /// Whether several rows list one alias.
    rivals: bool,
    map: MapBuilder<W>,
}

impl<W: Write> AliasWriter<W> {
    /// Adds an alias, greater than all before it, with the rows that list it, ascending: the last one is found by it.
    ///
    /// # Errors
    /// Whatever writing gives; an alias that is not greater.
    pub fn insert(&mut self, alias: &[u8], rows: &[u64]) -> io::Result<()> {
        let Some((last, others)) = rows.split_last() else { return Ok(()) };
        self.written += 1;
        if others.is_empty() {
            return self.map.insert(alias, *last).map_err(unwrapped);
        }
        self.rivals = true;
        self.map.insert(alias, last | RIVALS).map_err(unwrapped)?;
        others.iter().try_for_each(|row| self.map.insert(rival(alias, *row), *row).map_err(unwrapped))
    }

    /// How many there are so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the index of this set, and hands the sink back.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn finish(self, set: &NodeKey) -> io::Result<W> {
        let mut sink = self.map.into_inner().map_err(unwrapped)?;
        sink.write_all(&self.bibcodes.to_le_bytes())?;
        if self.rivals {
            sink.write_all(&self.written.to_le_bytes())?;
        }
        sink.write_all(set.as_bytes())?;
        sink.write_all(if self.rivals { MAGIC_RIVALS } else { MAGIC_ALIASES })?;
        Ok(sink)
    }
}

/// The name under which another row that lists an alias stands.
fn rival(alias: &[u8], row: u64) -> Vec<u8> {
    [alias, &[RIVAL], &row.to_be_bytes()].concat()
}

fn is_rival(name: &[u8]) -> bool {
    name.len().checked_sub(RIVAL_BYTES).is_some_and(|at| name[at] == RIVAL)
}

/// Counts what is written.
struct Counted<W> {
    sink: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Keeps an I/O error what it is: a full disk has a kind of its own.
fn unwrapped(error: fst::Error) -> io::Error {
    match error {
        fst::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Where a name is: which of several indexes, and the row there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The index's place in the list.
    pub index: usize,
    /// The row.
    pub row: u64,
}

/// The rows that a name leads to, each list in the order of the indexes.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Those whose bibcode it is.
    pub holders: &'a [Holder],
    /// Those that it is an alias of.
    pub claims: &'a [Holder],
}

/// Walks several indexes at once: every bibcode and alias in one order, with the rows that it leads to. Holds one name of
/// each index at a time.
///
/// # Errors
/// The first that `each` gives.
pub fn walk<E>(indexes: &[KeyIndex], mut each: impl FnMut(&[u8], Found) -> Result<(), E>) -> Result<(), E> {
    let claiming: Vec<usize> = (0..indexes.len()).filter(|&index| indexes[index].aliases.is_some()).collect();
    let aliases = claiming.iter().filter_map(|&index| indexes[index].aliases.as_ref());
    let union: OpBuilder = indexes.iter().map(|index| &index.bibcodes).chain(aliases).map(Map::stream).collect();
    let mut union = union.union();
    let (mut holders, mut claims) = (Vec::with_capacity(indexes.len()), Vec::new());
    while let Some((name, found)) = union.next() {
        if is_rival(name) {
            continue;
        }
        holders.clear();
        claims.clear();
        for found in found {
            match found.index.checked_sub(indexes.len()) {
                None => holders.push(Holder { index: found.index, row: found.value }),
                Some(alias) => {
                    let index = claiming[alias];
                    claims.push(Holder { index, row: found.value & !RIVALS });
                    if found.value & RIVALS != 0 {
                        indexes[index].rivals(name, |row| claims.push(Holder { index, row }));
                    }
                }
            }
        }
        holders.sort_unstable();
        claims.sort_unstable();
        each(name, Found { holders: &holders, claims: &claims })?;
    }
    Ok(())
}

/// A key index, memory-mapped.
pub struct KeyIndex {
    bibcodes: Map<Transducer>,
    aliases: Option<Map<Transducer>>,
    /// How many aliases, where the transducer has other rows beside.
    distinct: Option<u64>,
    set: NodeKey,
    path: PathBuf,
    /// What is wrong with it, once that was looked for.
    checked: OnceLock<Option<String>>,
}

/// A part of the mapped file.
struct Transducer {
    file: Arc<Mmap>,
    bytes: Range<usize>,
}

impl AsRef<[u8]> for Transducer {
    fn as_ref(&self) -> &[u8] {
        &self.file[self.bytes.clone()]
    }
}

impl KeyIndex {
    /// Opens the index at `path`, to look names up. It is not read for that.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be opened or is no key index.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = Arc::new(map_file(path)?);
        let Parts { bibcodes, aliases, distinct } =
            parts(&file).ok_or_else(|| StoreError::damaged(path, "it is no key index"))?;
        let mut set = [0; NodeKey::LEN];
        set.copy_from_slice(&file[file.len() - TRAILER_BYTES..][..NodeKey::LEN]);
        let open = |bytes: Range<usize>| {
            let map = caught(|| Map::new(Transducer { file: Arc::clone(&file), bytes }));
            map.ok_or_else(|| DAMAGED.to_owned())?.map_err(|error| error.to_string())
        };
        let failed = |detail: String| StoreError::damaged(path, detail);
        Ok(Self {
            bibcodes: open(bibcodes).map_err(failed)?,
            aliases: aliases.map(open).transpose().map_err(failed)?,
            distinct,
            set: NodeKey::from_bytes(set),
            path: path.to_owned(),
            checked: OnceLock::new(),
        })
    }

    /// Opens the index at `path` and checks all of it, to walk through it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, is no key index, or is damaged.
    pub fn open_checked(path: &Path) -> Result<Self, StoreError> {
        let index = Self::open(path)?;
        index.check()?;
        Ok(index)
    }

    /// Whether it is what was written: read once, a gigabyte a second or two.
    ///
    /// # Errors
    /// [`StoreError`] if it is not.
    pub fn check(&self) -> Result<(), StoreError> {
        let wrong = self.checked.get_or_init(|| caught(|| self.wrong()).unwrap_or_else(|| Some(DAMAGED.to_owned())));
        wrong.as_ref().map_or(Ok(()), |detail| Err(StoreError::damaged(&self.path, detail)))
    }

    fn wrong(&self) -> Option<String> {
        let checked = |map: &Map<Transducer>| map.as_fst().verify();
        let maps = std::iter::once(&self.bibcodes).chain(&self.aliases);
        if let Some(error) = maps.map(checked).find_map(Result::err) {
            return Some(error.to_string());
        }
        // The transducers' own checks do not cover it.
        let counts = self.distinct.is_none_or(|distinct| distinct == self.count_aliases());
        (!counts).then(|| DAMAGED.to_owned())
    }

    fn count_aliases(&self) -> u64 {
        let mut count = 0;
        let mut names = self.aliases.as_ref().map(Map::stream);
        while let Some((name, _)) = names.as_mut().and_then(Streamer::next) {
            count += u64::from(!is_rival(name));
        }
        count
    }

    /// The rows that list an alias beside the last one.
    fn rivals(&self, alias: &[u8], mut each: impl FnMut(u64)) {
        let Some(aliases) = &self.aliases else { return };
        let mut rows = aliases.range().ge(rival(alias, 0)).le(rival(alias, u64::MAX)).into_stream();
        while let Some((_, row)) = rows.next() {
            each(row);
        }
    }

    /// How many bibcodes it holds.
    pub fn len(&self) -> usize {
        self.bibcodes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.bibcodes.is_empty()
    }

    /// How many aliases it holds.
    pub fn aliases(&self) -> usize {
        let distinct = self.distinct.and_then(|distinct| usize::try_from(distinct).ok());
        distinct.unwrap_or_else(|| self.aliases.as_ref().map_or(0, Map::len))
    }

    /// The set that this index belongs to.
    pub fn set(&self) -> NodeKey {
        self.set
    }

    /// The row of a bibcode. The caller holds it against the bibcode that the row has.
    ///
    /// # Errors
    /// [`StoreError`] if it is not there, and the index is damaged.
    pub fn row(&self, bibcode: &str) -> Result<Option<usize>, StoreError> {
        match found(&self.bibcodes, bibcode) {
            Some(row) => Ok(usize::try_from(row).ok()),
            None => self.check().map(|()| None),
        }
    }

    /// The row of an alias, the last if several list it. One that is a bibcode too leads elsewhere by [`Self::row`], which
    /// is asked first.
    ///
    /// # Errors
    /// [`StoreError`] if the index is damaged.
    pub fn row_of_alias(&self, alias: &str) -> Result<Option<usize>, StoreError> {
        self.check()?;
        let row = self.aliases.as_ref().and_then(|aliases| found(aliases, alias));
        Ok(row.and_then(|row| usize::try_from(row & !RIVALS).ok()))
    }

    /// Up to `limit` bibcodes and aliases within two edits of this one, in their own order. None of a damaged index.
    pub fn near(&self, bibcode: &str, limit: usize) -> Vec<String> {
        if self.check().is_err() {
            return Vec::new();
        }
        let mut near = near(&self.bibcodes, bibcode, limit);
        if let Some(aliases) = &self.aliases {
            near.extend(self::near(aliases, bibcode, limit));
            near.sort_unstable();
            near.dedup();
            near.truncate(limit);
        }
        near
    }
}

/// Where the bibcodes and the aliases stand in a file, and how many aliases, where the file says so.
struct Parts {
    bibcodes: Range<usize>,
    aliases: Option<Range<usize>>,
    distinct: Option<u64>,
}

/// None if it is no index.
fn parts(file: &[u8]) -> Option<Parts> {
    let end = file.len().checked_sub(TRAILER_BYTES)?;
    let number = |at: usize| Some(u64::from_le_bytes(file[at..][..LENGTH_BYTES].try_into().ok()?));
    let (end, distinct) = match &file[file.len() - MAGIC.len()..] {
        magic if magic == MAGIC => return Some(Parts { bibcodes: 0..end, aliases: None, distinct: None }),
        magic if magic == MAGIC_ALIASES => (end.checked_sub(LENGTH_BYTES)?, None),
        magic if magic == MAGIC_RIVALS => {
            let end = end.checked_sub(2 * LENGTH_BYTES)?;
            (end, Some(number(end + LENGTH_BYTES)?))
        }
        _ => return None,
    };
    let middle = usize::try_from(number(end)?).ok().filter(|middle| *middle <= end)?;
    Some(Parts { bibcodes: 0..middle, aliases: Some(middle..end), distinct })
}

/// The value of a name; none if it is unknown, or the transducer is damaged.
fn found(names: &Map<Transducer>, name: &str) -> Option<u64> {
    caught(|| names.get(name)).flatten()
}

fn near(names: &Map<Transducer>, name: &str, limit: usize) -> Vec<String> {
    // A long query would need a huge automaton: it is no bibcode, and nothing is near it.
    let Ok(automaton) = Levenshtein::new(name, NEAR_EDITS) else { return Vec::new() };
    let mut stream = names.search(automaton).into_stream();
    let mut near = Vec::new();
    while let Some((name, _)) = stream.next() {
        near.push(String::from_utf8_lossy(name).into_owned());
        if near.len() == limit {
            break;
        }
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: [u8; 32] = [4; 32];

    fn written(names: &[&str], aliases: &[(&str, u32)]) -> Vec<u8> {
        let mut names: Vec<(&str, u32)> = names.iter().copied().zip(0..).collect();
        let mut aliases: Vec<(Alias, u32)> =
            aliases.iter().map(|(alias, row)| (alias.as_bytes().try_into().unwrap(), *row)).collect();
        write(Vec::new(), &mut names, &mut aliases, &NodeKey::from_bytes(SET)).unwrap().0
    }

    fn open(bytes: &[u8]) -> Result<KeyIndex, StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, bytes).unwrap();
        KeyIndex::open_checked(&path)
    }

    fn row(index: &KeyIndex, name: &str) -> Option<usize> {
        index.row(name).unwrap()
    }

    fn row_of_alias(index: &KeyIndex, name: &str) -> Option<usize> {
        index.row_of_alias(name).unwrap()
    }

    #[test]
    fn rows_are_found_and_slips_are_near() {
        let names = ["2012arXiv1201.1234S", "1998A&A...330..453B", "2012arXiv1201.1235S"];
        let index = open(&written(&names, &[])).unwrap();
        let set = NodeKey::from_bytes(SET);
        assert_eq!((index.set(), row(&index, "1998A&A...330..453B"), row(&index, "1998")), (set, Some(1), None));
        assert_eq!((index.len(), index.aliases(), row_of_alias(&index, "1998A&A...330..453B")), (3, 0, None));
        assert_eq!(index.near("2012arXiv1201.1244S", 5), ["2012arXiv1201.1234S", "2012arXiv1201.1235S"]);
        assert!(open(b"short").is_err());
    }

    /// An alias that is a bibcode too is in both; of two rows with one alias the later counts.
    #[test]
    fn aliases_lead_to_rows_and_stand_apart() {
        let names = ["2021ApJ...900....1A", "2020arXiv200100001A", "1998A&A...330..453B"];
        let aliases = [
            ("2020arXiv200100001A", 0),
            ("2019arXiv190100001A", 2),
            ("2019arXiv190100001A", 0),
            ("2018arXiv180100001A", 2),
        ];
        let index = open(&written(&names, &aliases)).unwrap();
        assert_eq!((index.len(), index.aliases(), index.set()), (3, 3, NodeKey::from_bytes(SET)));
        let mut claims = Vec::new();
        walk(&[index], |name, found| {
            if name == aliases[1].0.as_bytes() {
                claims.extend(found.claims.iter().map(|claim| claim.row));
            }
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(claims, [0, 2], "a merge sees both");
        let index = open(&written(&names, &aliases)).unwrap();
        assert_eq!((row(&index, names[1]), row_of_alias(&index, names[1])), (Some(1), Some(0)));
        assert_eq!((row(&index, aliases[1].0), row_of_alias(&index, aliases[1].0)), (None, Some(2)));
        assert_eq!(row_of_alias(&index, names[0]), None);
        assert_eq!(index.near("2019arXiv190100001B", 1), ["2019arXiv190100001A"]);
        assert_eq!(index.near("2020arXiv200100001B", 5), ["2020arXiv200100001A"]);
    }

    /// The bytes before the trailer are those of an index without aliases, which keeps the form that it always had.
    #[test]
    fn what_has_no_aliases_keeps_its_form() {
        let names = ["2021ApJ...900....1A", "2020arXiv200100001A"];
        let (plain, both) = (written(&names, &[]), written(&names, &[("2019arXiv190100001A", 0)]));
        assert_eq!(plain[plain.len() - 40..], [&SET[..], b"SCIEKEYS"].concat());
        let bibcodes = plain.len() - 40;
        assert_eq!(both[..bibcodes], plain[..bibcodes]);
        let trailer = [&(bibcodes as u64).to_le_bytes()[..], &SET[..], b"SCIEKEY2"].concat();
        assert_eq!(both[both.len() - 48..], trailer);
    }

    /// Whatever bytes are cut off or changed, an index is refused and nothing panics.
    #[test]
    fn damage_is_told() {
        let alias = ("2019arXiv190100001A", 0);
        for aliases in [&[alias][..], &[alias, (alias.0, 1)]] {
            let sound = written(&["2021ApJ...900....1A", "2021ApJ...900....2A"], aliases);
            for at in 0..sound.len() {
                assert!(open(&sound[..at]).is_err(), "{at} bytes");
                let of_set = (sound.len() - 40..sound.len() - 8).contains(&at);
                let mut changed = sound.clone();
                changed[at] ^= 1;
                assert_eq!(open(&changed).is_ok(), of_set, "byte {at}");
            }
        }
    }

    /// A damaged index that is only looked into never says that a name is unknown. The row that it finds may be another one, which
    /// the row tells.
    #[test]
    fn a_damaged_index_hides_no_name() {
        let names = ["2021ApJ...900....1A", "2021ApJ...900....2A", "2021A&A...900....2B"];
        let sound = written(&names, &[("2019arXiv190100001A", 0), ("2019arXiv190100002A", 1)]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let mut told = 0;
        for (at, bit) in (0..sound.len() - 40).flat_map(|at| [0, 3, 7].map(|bit| (at, bit))) {
            let mut changed = sound.clone();
            changed[at] ^= 1 << bit;
            std::fs::write(&path, changed).unwrap();
            let Ok(index) = KeyIndex::open(&path) else { continue };
            for name in names.iter().chain(&["2021ApJ...900....3A"]) {
                match index.row(name) {
                    Ok(found) => assert!(found.is_some(), "byte {at}: {name}"),
                    Err(_) => told += 1,
                }
            }
            assert!(index.row_of_alias("2019arXiv190100001A").is_err(), "byte {at}");
        }
        assert!(told > 0);
    }

    #[test]
    fn several_indexes_are_walked_in_one_order() {
        let first = open(&written(&["b", "a"], &[])).unwrap();
        let second = open(&written(&["b"], &[("2019arXiv190100001A", 0)])).unwrap();
        let third = open(&written(&["2019arXiv190100001A"], &[("2019arXiv190100001A", 0)])).unwrap();
        let mut told = Vec::new();
        let shown = |rows: &[Holder]| rows.iter().map(|row| format!("{}:{}", row.index, row.row)).collect::<Vec<_>>();
        walk(&[first, second, third], |name, found| {
            let name = String::from_utf8_lossy(name);
            told.push(format!("{name} {:?} {:?}", shown(found.holders), shown(found.claims)));
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(
            told,
            [r#"2019arXiv190100001A ["2:0"] ["1:0", "2:0"]"#, r#"a ["0:1"] []"#, r#"b ["0:0", "1:0"] []"#,]
        );
    }
}

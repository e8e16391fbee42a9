//! The journal of a run: one JSON object a line, appended as things happen, each closed by a check of itself.
//!
//! Older journals have no checks. Their fields are listed here, so that a line whose check was damaged is not taken for one
//! of theirs. The last line of a run that was killed may be torn: that is no damage.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use super::checked::LINE;
use super::{Store, StoreError, failpoint};

/// The fields of the lines that were written without a check.
const UNCHECKED_FIELDS: [&str; 17] = [
    "at",
    "counts",
    "done",
    "error",
    "event",
    "note",
    "outcome",
    "overrides",
    "reason",
    "run",
    "run_counts",
    "seconds",
    "step",
    "total",
    "unit",
    "version",
    "workflow",
];
/// How the line begins that ends a journal.
const LAST_EVENT: &[u8] = b"{\"event\":\"run_finished\"";

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Store {
    /// Opens the journal of a new run.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn journal(&self, run: &str) -> Result<Journal, StoreError> {
        let path = self.root.join("runs").join(format!("{run}.jsonl"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map(|file| Journal { path: path.clone(), file }).map_err(|error| StoreError::write(&path, error))
    }
}

impl Store {
    /// The journals of all runs, oldest first: each run's id, and its lines, without those that were damaged. The last line of
    /// a run that is under way, or was killed, may be torn.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn journals(&self) -> Result<Vec<(String, String)>, StoreError> {
        let folder = self.root.join("runs");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::read(&folder, error)),
        };
        let mut journals = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // A directory in a journal's place is verify's to tell.
            let Some(run) = name.strip_suffix(".jsonl").filter(|_| !entry.path().is_dir()) else { continue };
            journals.push((run.to_owned(), self.journal_of(run)?));
        }
        journals.sort();
        Ok(journals)
    }

    /// The lines of one run's journal, likewise.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn journal_of(&self, run: &str) -> Result<String, StoreError> {
        let path = self.root.join("runs").join(format!("{run}.jsonl"));
        let bytes = fs::read(&path).map_err(|error| StoreError::read(&path, error))?;
        Ok(String::from_utf8_lossy(&check(&bytes).sound).into_owned())
    }
}

impl Journal {
    /// Appends one event as one write, so that a line is whole or absent.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn append(&mut self, event: &impl Serialize) -> Result<(), StoreError> {
        let write = |file: &mut File| -> io::Result<()> {
            let mut line = LINE.add(serde_json::to_vec(event)?);
            line.push(b'\n');
            failpoint::torn("journal: half a line", file, &line);
            file.write_all(&line)?;
            failpoint::reached("journal: a line");
            Ok(())
        };
        write(&mut self.file).map_err(|error| StoreError::write(&self.path, error))
    }
}

/// What the bytes of a journal come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CheckedJournal {
    /// The lines that can be trusted, and a torn one at the end.
    pub sound: Vec<u8>,
    /// The numbers of the others, from 1.
    pub damaged: Vec<usize>,
}

/// Checks a journal line by line.
pub fn check(bytes: &[u8]) -> CheckedJournal {
    let mut checked = CheckedJournal::default();
    let mut ended = false;
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let sound = match line.strip_suffix(b"\n") {
            Some(line) => is_sound(line),
            None => (is_torn(line) || LINE.holds(line)) && !ended,
        };
        if sound {
            checked.sound.extend_from_slice(line);
        } else {
            checked.damaged.push(at + 1);
        }
        ended |= line.starts_with(LAST_EVENT);
    }
    checked
}

fn is_sound(line: &[u8]) -> bool {
    LINE.holds(line)
        || serde_json::from_slice::<Map<String, Value>>(line)
            .is_ok_and(|fields| fields.keys().all(|field| UNCHECKED_FIELDS.contains(&field.as_str())))
}

/// Whether a line without an end is the beginning of one.
fn is_torn(line: &[u8]) -> bool {
    // A kill may part a character in two.
    let text = match std::str::from_utf8(line) {
        Err(error) if error.error_len().is_some() => return false,
        Err(error) => &line[..error.valid_up_to()],
        Ok(text) => text.as_bytes(),
    };
    serde_json::from_slice::<Value>(text).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    const EVENTS: [&str; 2] =
        [r#"{"event":"run_interrupted"}"#, r#"{"event":"run_finished","outcome":"done","seconds":0.1,"at":7}"#];

    fn journal() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let mut journal = store.journal("r").unwrap();
        EVENTS.iter().for_each(|event| journal.append(&RawValue::from_string((*event).to_owned()).unwrap()).unwrap());
        fs::read(&journal.path).unwrap()
    }

    #[test]
    fn each_flipped_bit_of_a_journal_is_seen() {
        let whole = journal();
        assert_eq!(check(&whole), CheckedJournal { sound: whole.clone(), damaged: vec![] });
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let checked = check(&flipped);
            assert!(!checked.damaged.is_empty(), "bit {bit} of {}", String::from_utf8_lossy(&whole));
            // What is left is what was written.
            let sound = String::from_utf8(checked.sound).unwrap();
            assert!(String::from_utf8_lossy(&whole).contains(&sound), "bit {bit} leaves {sound}");
        }
    }

    /// A kill may cut a journal anywhere. After the last line nothing may follow.
    #[test]
    fn a_torn_end_is_no_damage() {
        let whole = journal();
        for cut in 0..whole.len() {
            assert_eq!(check(&whole[..cut]).damaged, [0; 0], "cut at {cut}");
        }
        let longer = [&whole[..], b"{\"event"].concat();
        assert_eq!(check(&longer), CheckedJournal { sound: whole, damaged: vec![3] });
    }

    #[test]
    fn lines_without_a_check_are_read_as_they_are() {
        let old = EVENTS.map(|event| format!("{event}\n")).concat();
        assert!(check(old.as_bytes()).damaged.is_empty());
    }
}

//! Records (what a node key produced) and references (which record a workflow's step last used), as plain data.
//!
//! `store/record.rs` reads and writes them; `plan.rs` decides by them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, KeyHasher, NodeKey};
use crate::fingerprint::Fingerprint;
use crate::graph::StepId;
use crate::table::{FAILED, SUPERSEDED};

/// One output of a node: which blob, how large, how many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// The rows in it.
    pub rows: u64,
}

/// What one node key produced. Present means that every output is whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The format's version.
    pub version: u32,
    /// The key.
    pub key: NodeKey,
    /// Outputs by name: `records`, `rejects`, `texts`, `vectors`, `superseded`, or the file names of a dataset.
    pub outputs: BTreeMap<String, Output>,
    /// Counts that follow from the inputs alone: rows in and out, rejects by reason, rows truncated.
    pub counts: BTreeMap<String, u64>,
    /// The source files of a load, in the order of their ordinals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceFile>,
    /// Facts about the embedder that a dataset's manifest states.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Whether computing again on this kind of machine gives the same bytes.
    pub bit_stable: bool,
    /// Who made it, when and where; in no key.
    pub provenance: Provenance,
}

impl Record {
    /// The files of a dataset among the outputs: all but the tables that only the store keeps.
    pub fn files(&self) -> BTreeMap<String, Output> {
        self.outputs.iter().filter(|(name, _)| *name != SUPERSEDED).map(|(name, file)| (name.clone(), *file)).collect()
    }

    /// The pace of the embedder that computed its rows, if any were computed. Of an older record the whole step's.
    pub fn pace(&self) -> Option<Pace> {
        let rows = self.provenance.counts.get("embedded").copied().unwrap_or(0);
        let pace = self.provenance.pace.unwrap_or(Pace { rows, seconds: self.provenance.seconds });
        Some(pace).filter(|pace| pace.rate().is_some())
    }

    /// Whether it stands without rows that could not be embedded.
    pub fn lacks_rows(&self) -> bool {
        self.counts.get(FAILED).is_some_and(|rows| *rows > 0)
    }

    /// The digest of what this record says besides its outputs, for whoever passes it on in an output of its own.
    pub fn description(&self) -> Digest {
        let mut hasher = KeyHasher::new("sciembed 2026 record description v1");
        hasher.count(self.facts.len() as u64);
        for (name, value) in &self.facts {
            hasher.text(name).text(value);
        }
        hasher.count(u64::from(self.bit_stable)).digest()
    }
}

/// The rows of an embed step against what stands already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChanges {
    /// Vectors to compute: distinct texts that no vector stands for.
    pub new: u64,
    /// The other rows: their vectors stand, or another row has the same text.
    pub reused: u64,
    /// Papers that the table last applied has, and this one has no longer.
    pub removed: u64,
}

/// A source file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its path, relative to the manifest.
    pub name: String,
    /// The digest of its bytes, compressed as they are.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Rows that an embedder computed, and how long it took: what a coming run is estimated by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The rows.
    pub rows: u64,
    /// Seconds spent in the embedder: neither in finding what stands, nor in writing tables.
    pub seconds: f64,
}

impl Pace {
    /// Rows and seconds from which on a pace is trusted over a longer one of before.
    const FIRM: Self = Self { rows: 256, seconds: 1.0 };

    /// Rows a second; none if nothing was computed.
    pub fn rate(&self) -> Option<f64> {
        let rate = self.rows as f64 / self.seconds;
        (self.rows > 0 && rate.is_finite()).then_some(rate)
    }

    /// What is known after a run: its own pace, unless that stands on little and the one before it on more.
    pub fn after(self, last: Option<Self>) -> Self {
        let firm = self.rows >= Self::FIRM.rows && self.seconds >= Self::FIRM.seconds;
        last.filter(|last| !firm && last.rows > self.rows).unwrap_or(self)
    }
}

/// Who made a record, when and where. Never part of a key or of a keyed output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The run.
    pub run: String,
    /// The machine's name.
    pub host: String,
    /// sciembed's version.
    pub version: String,
    /// Start, seconds since 1970-01-01 UTC.
    pub started: u64,
    /// Seconds that the step took.
    pub seconds: f64,
    /// Of an embed step: the pace of its embedder, of this run or a longer one before it. Older records do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    /// Counts of this very run: rows embedded, rows reused.
    pub counts: BTreeMap<String, u64>,
    /// What it ran on: the runtime library, the CPU's class.
    pub machine: BTreeMap<String, String>,
}

/// Which record a step of a workflow last used, and the fingerprint that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The format's version.
    pub version: u32,
    /// The step.
    pub step: StepId,
    /// The record's key.
    pub key: NodeKey,
    /// The resolved inputs behind the key.
    pub fingerprint: Fingerprint,
    /// The `--set` overrides in force, as written.
    pub overrides: Vec<String>,
    /// The run that wrote this.
    pub run: String,
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordState {
    /// With all its outputs.
    Whole(Box<Record>),
    /// With an output that is missing or has another size.
    Damaged {
        /// The output's name.
        output: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_rows_tell_no_pace_where_more_did() {
        let (year, night, slow) =
            (Pace { rows: 5000, seconds: 90.0 }, Pace { rows: 3, seconds: 0.3 }, Pace { rows: 300, seconds: 20.0 });
        assert_eq!(night.after(Some(year)), year);
        assert_eq!(Pace::default().after(Some(year)), year);
        assert_eq!(night.after(None), night);
        assert_eq!(slow.after(Some(year)), slow);
        assert_eq!(year.after(Some(night)), year);
        assert_eq!((Pace::default().rate(), Pace { rows: 3, seconds: 1.5 }.rate()), (None, Some(2.0)));
    }
}

//! Which record is followed: the files are read as load reads them, until it is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memmem;
use serde::Serialize;

use crate::manifest::config::LoadConfig;
use crate::node::NodeError;
use crate::node::load::{Feed, Input, Taken, take};
use crate::source::chunks::Piece;
use crate::source::record::Refusal;
use crate::source::selection::Verdict;

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick<'a> {
    /// The first one that is taken; if none is, the first one at all.
    First,
    /// Any of those that are taken, each as likely as the others.
    Random,
    /// The one with this bibcode; of several the one that counts.
    Named(&'a str),
}

/// A record and what becomes of it.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Where it stands.
    pub line: Line,
    /// Its bibcode, where it could be read.
    pub bibcode: Option<String>,
    /// Whether it is taken.
    #[serde(flatten)]
    pub fate: Fate,
    /// The fields of its row, each with its texts; none where it is missing or null.
    pub fields: Vec<(String, Option<Vec<String>>)>,
    /// Other bibcodes of the paper.
    pub aliases: Vec<String>,
    /// Other lines with this bibcode, where all were looked at.
    pub others: Vec<Other>,
}

/// A record as it stands in its file.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The file, as the workflow names it.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// Its bytes.
    pub bytes: usize,
    /// Its text; what is no UTF-8 shows as U+FFFD.
    pub text: String,
}

/// What becomes of a record in load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// It becomes a row.
    Taken,
    /// It is left out.
    NotSelected {
        /// By which key of the load: `sample`, or of what that draws `where`.
        by: &'static str,
    },
    /// It would be taken, and `limit` others come before it.
    BeyondLimit,
    /// It is a reject.
    Rejected {
        /// The reason's name.
        reason: &'static str,
        /// What was found.
        detail: String,
    },
}

impl Fate {
    /// Its name in counts.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::NotSelected { .. } => "not_selected",
            Self::BeyondLimit => "beyond_limit",
            Self::Rejected { reason, .. } => reason,
        }
    }
}

/// Another line with the same bibcode, which does not count.
#[derive(Clone, Debug, Serialize)]
pub struct Other {
    /// The file.
    pub file: String,
    /// The line.
    pub line: u64,
    /// Why it does not: `superseded`, `not_selected`, `beyond_limit` or a reason of rejects.
    pub why: &'static str,
}

/// What was found.
#[derive(Default)]
pub struct Picked {
    /// The record; none if there is none such.
    pub record: Option<Record>,
    /// Records that were passed over, by what became of them.
    pub passed: BTreeMap<&'static str, u64>,
}

/// Reads the files until the record is found.
///
/// # Errors
/// A file that cannot be read.
pub fn pick(inputs: Vec<Input>, config: &LoadConfig, pick: Pick) -> Result<Picked, NodeError> {
    let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
    let mut feed = Feed::new(inputs, config, &Arc::default());
    let mut search = Search { config, pick, picked: Picked::default(), taken: 0, random: fastrand::Rng::new() };
    while let Some((source, chunk)) = feed.next_chunk()? {
        let file = &names[source as usize];
        for piece in &chunk.pieces() {
            if search.may_be(piece) && search.look(file, piece) {
                return Ok(search.picked);
            }
        }
    }
    Ok(search.picked)
}

struct Search<'a> {
    config: &'a LoadConfig,
    pick: Pick<'a>,
    picked: Picked,
    /// Records that were taken so far.
    taken: u64,
    random: fastrand::Rng,
}

impl Search<'_> {
    /// Whether a look is worth its while: parsing costs twenty times what looking for some bytes does. Until the limit is
    /// reached, every record that is taken counts.
    fn may_be(&self, piece: &Piece) -> bool {
        match self.pick {
            Pick::Named(_) if self.config.limit.is_some() && !self.is_full() => true,
            // Escapes may hide any character.
            Pick::Named(bibcode) => {
                memmem::find(piece.bytes, bibcode.as_bytes()).is_some() || piece.bytes.contains(&b'\\')
            }
            Pick::First | Pick::Random => true,
        }
    }

    /// Whether all are taken that the limit allows.
    fn is_full(&self) -> bool {
        self.config.limit.is_some_and(|limit| self.taken >= limit.get())
    }

    /// Looks at a piece; says whether the search is over.
    fn look(&mut self, file: &str, piece: &Piece) -> bool {
        let (taken, is_full, config) = (take(piece, self.config), self.is_full(), self.config);
        let is_taken = !is_full && matches!(taken, Ok(Taken { verdict: Verdict::Taken, .. }));
        let record = || record(file, piece, config, &taken, is_full);
        self.taken += u64::from(is_taken);
        match self.pick {
            Pick::First if is_taken => {
                self.picked.record = Some(record());
                return true;
            }
            Pick::First => {
                *self.picked.passed.entry(record().fate.name()).or_default() += 1;
                self.picked.record.get_or_insert_with(record);
            }
            // Each one takes the place with a chance of one in as many as there were: then all are as likely.
            Pick::Random if is_taken => {
                if self.random.u64(0..self.taken) == 0 {
                    self.picked.record = Some(record());
                }
                return self.is_full();
            }
            Pick::Random => {
                self.picked.record.get_or_insert_with(record);
            }
            Pick::Named(bibcode) => {
                let is_named = match &taken {
                    Ok(taken) => taken.record.bibcode == bibcode,
                    Err(refusal) => refusal.bibcode.as_deref() == Some(bibcode),
                };
                if is_named {
                    self.name(record());
                }
            }
        }
        false
    }

    /// Takes in another record of the name that is looked for: the last one that is taken counts.
    fn name(&mut self, record: Record) {
        let other = |record: &Record, why| Other { file: record.line.file.clone(), line: record.line.line, why };
        let Some(before) = self.picked.record.take() else {
            self.picked.record = Some(record);
            return;
        };
        let is_better = record.fate == Fate::Taken || before.fate != Fate::Taken;
        let (mut counts, loses) = if is_better { (record, before) } else { (before, record) };
        let why = if loses.fate == Fate::Taken { "superseded" } else { loses.fate.name() };
        let lost = other(&loses, why);
        counts.others = loses.others.into_iter().chain(counts.others).collect();
        counts.others.push(lost);
        self.picked.record = Some(counts);
    }
}

fn record(
    file: &str,
    piece: &Piece,
    config: &LoadConfig,
    taken: &Result<Taken, Refusal>,
    is_beyond_limit: bool,
) -> Record {
    let text = String::from_utf8_lossy(piece.bytes).into_owned();
    let line = Line { file: file.to_owned(), line: piece.line, bytes: piece.bytes.len(), text };
    let (mut fields, mut aliases, others) = (Vec::new(), Vec::new(), Vec::new());
    let (bibcode, fate) = match taken {
        Ok(Taken { record, verdict }) => {
            let texts =
                record.fields.iter().map(|field| Some(field.texts()?.iter().map(|text| text.to_string()).collect()));
            fields = config.fields.iter().cloned().zip(texts).collect();
            aliases = record.aliases.iter().map(|alias| alias.to_string()).collect();
            let fate = match verdict {
                Verdict::Taken if is_beyond_limit => Fate::BeyondLimit,
                Verdict::Taken => Fate::Taken,
                Verdict::NotDrawn => Fate::NotSelected { by: "sample" },
                Verdict::NotMet => Fate::NotSelected { by: "where" },
            };
            (Some(record.bibcode.to_string()), fate)
        }
        Err(refusal) => {
            let (reason, detail) = (refusal.reason.name(), refusal.detail.clone());
            (refusal.bibcode.clone(), Fate::Rejected { reason, detail })
        }
    };
    Record { line, bibcode, fate, fields, aliases, others }
}

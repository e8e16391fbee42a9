//! What is said of steps that run: in lines, and beside their bars.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressState};

use crate::event::{Detail, Unit};
use crate::graph::{NodeKind, StepId};

/// Time before a rate is told: the first moments say nothing.
const RATE_AFTER: Duration = Duration::from_secs(1);
/// Columns that a bar, and its rate with the time left, take of a terminal at least.
const BAR_COLUMNS: usize = 8;
const RATE_COLUMNS: usize = 22;

/// What is known of a step besides how far it is.
#[derive(Debug, Default)]
pub struct Beside {
    tokens: u64,
    seconds: f64,
    reused: u64,
    rejected: u64,
}

impl Beside {
    /// Takes in what a step tells.
    pub fn add(&mut self, detail: &Detail) {
        match detail {
            Detail::Read { tokens, seconds } => (self.tokens, self.seconds) = (*tokens, *seconds),
            Detail::Reused { rows } => self.reused = *rows,
            Detail::Rejected { rows } => self.rejected = *rows,
            Detail::Batch { .. }
            | Detail::Sealed { .. }
            | Detail::Asked { .. }
            | Detail::Failed { .. }
            | Detail::Removed { .. } => {}
        }
    }

    /// In words, the most telling first.
    pub fn words(&self) -> Vec<String> {
        let mut told = Vec::new();
        if self.tokens > 0 && self.seconds > 0.0 {
            told.push(format!("{} tokens/s", short(self.tokens as f64 / self.seconds)));
        }
        if self.rejected > 0 {
            told.push(format!("{} rejected", self.rejected));
        }
        if self.reused > 0 {
            told.push(format!("{} reused", self.reused));
        }
        told
    }

    /// As many of the words as there is room for, in so many columns, beside a name of `prefix` columns and how far it is.
    pub fn fitting(&self, columns: usize, prefix: usize, position: &str) -> String {
        let taken = prefix + 1 + BAR_COLUMNS + 1 + position.len() + RATE_COLUMNS;
        let mut room = columns.saturating_sub(taken);
        let fits = |word: &String| {
            let is_room = word.len() + 2 <= room;
            room = room.saturating_sub(word.len() + 2);
            is_room
        };
        self.words().into_iter().take_while(fits).map(|word| format!("  {word}")).collect()
    }
}

/// A number of few digits.
fn short(number: f64) -> String {
    match number {
        ..1000.0 => format!("{number:.0}"),
        ..100_000.0 => format!("{:.1}k", number / 1e3),
        _ => format!("{:.0}k", number / 1e3),
    }
}

/// What a step did, when it has ended.
pub fn told_counts(kind: NodeKind, counts: &BTreeMap<String, u64>, run_counts: &BTreeMap<String, u64>) -> String {
    let mut told = format!("{} rows", counts.get("rows").copied().unwrap_or(0));
    let set_aside = counts.iter().filter(|(name, _)| matches!(name.as_str(), "rejected" | "truncated"));
    for (name, count) in run_counts.iter().chain(set_aside).filter(|(_, count)| **count > 0) {
        let name = match (kind, name.as_str()) {
            // A merge refuses nothing: another row stands for what it leaves out.
            (NodeKind::Merge, "rejected") => "left out",
            // What `truncate` of a prepare node cuts is another thing.
            (NodeKind::Embed, "truncated") => "longer than the model reads",
            (_, name) => name,
        };
        told.push_str(&format!(", {count} {name}"));
    }
    told
}

/// How far a step is, as a line.
pub fn plain(step: &StepId, done: u64, total: Option<u64>, unit: Unit, rate: f64, beside: &Beside) -> String {
    let (unit, scale) = match unit {
        Unit::Bytes => ("MB", 1e6),
        Unit::Rows => ("rows", 1.0),
    };
    let scaled = |value: u64| (value as f64 / scale).round();
    let of = total.map_or(String::new(), |total| format!(" of {}", scaled(total)));
    let beside: String = beside.words().iter().map(|word| format!(", {word}")).collect();
    format!("{step}: {}{of} {unit}, {:.0} {unit}/s{beside}", scaled(done), rate / scale)
}

/// Rate and time left, once there is something to tell them from.
pub fn rate(state: &ProgressState, unit: Unit) -> String {
    let per_second = state.per_sec();
    if state.elapsed() < RATE_AFTER || per_second <= 0.0 {
        return String::new();
    }
    let left = HumanDuration(Duration::from_secs(state.eta().as_secs()));
    match unit {
        Unit::Bytes => format!("  {:.0} MB/s  {left:#} left", per_second / 1e6),
        Unit::Rows if per_second < 10.0 => format!("  {per_second:.1}/s  {left:#} left"),
        Unit::Rows => format!("  {per_second:.0}/s  {left:#} left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_beside_a_bar_fit_its_line() {
        let mut beside = Beside::default();
        assert_eq!(beside.fitting(120, 24, "0 of 9"), "");
        beside.add(&Detail::Read { tokens: 11_800, seconds: 2.0 });
        beside.add(&Detail::Reused { rows: 120 });
        assert_eq!(beside.words(), ["5.9k tokens/s", "120 reused"]);
        assert_eq!(beside.fitting(120, 24, "1000 of 300000"), "  5.9k tokens/s  120 reused");
        assert_eq!(beside.fitting(80, 20, "500 of 30000"), "  5.9k tokens/s");
        assert_eq!(beside.fitting(60, 20, "500 of 30000"), "");
        assert_eq!([short(999.0), short(1234.0), short(250_400.0)], ["999", "1.2k", "250k"]);
    }
}

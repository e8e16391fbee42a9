//! What may be spent, what is spent, and the ledger that remembers it.
//!
//! The worst that a request can cost is reserved, and written to the ledger, before the request is sent; it is released
//! only by an answer that is known not to be billed, and made exact by one that says what it cost. A process that dies
//! leaves its reservations standing: they may have been billed, so they count. So the sum never exceeds the limits,
//! whenever a run ends. A server that counts more tokens than were thought the most is reckoned with from then on, in all
//! that is open and to come, and by later runs too: the ledger holds both numbers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{ApiError, Settings};
use crate::cost::{Price, Spent};
use crate::manifest::config::Dollars;

/// How many times more than what was thought the most a server may count, and be believed.
const EXCESS_BELIEVED: u64 = 100;
/// A ledger with more bytes than this is summed up when it is opened.
const SUMMED_UP_BEYOND: u64 = 1 << 20;

/// One line of a ledger.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    /// All that went before, and how much more than was thought the most a server counted.
    Total { spent: Spent, excess: f64 },
    /// A request is about to be sent.
    Reserved { id: String, at_most: Spent },
    /// It ended, and cost this.
    Settled { id: String, spent: Spent },
}

impl Entry {
    fn line(&self) -> String {
        serde_json::to_string(self).expect("an entry is always JSON") + "\n"
    }
}

/// What was reserved for one request.
#[derive(Debug)]
pub struct Reservation {
    /// By what it is found again.
    pub id: String,
    at_most: Spent,
}

/// Keeps what is spent below the limits.
#[derive(Debug)]
pub struct Budget {
    ledger: Option<(PathBuf, File)>,
    price: Option<Price>,
    max_cost: Option<Dollars>,
    max_tokens: Option<u64>,
    /// All that is settled, by any process.
    settled: Spent,
    /// All that is reserved and not settled, by any process, as it was thought the most.
    reserved: Spent,
    /// What others reserved and did not settle.
    left_open: BTreeMap<String, Spent>,
    /// What this process settled.
    settled_here: Spent,
    /// How much more a server counted than was thought the most, at worst.
    excess: f64,
    nonce: String,
    next: u64,
}

/// What was spent by a ledger so far; nothing where there is none.
///
/// # Errors
/// A ledger that cannot be read.
pub fn spent(ledger: &Path) -> Result<Spent, ApiError> {
    match fs::read_to_string(ledger) {
        Ok(text) => summed(ledger, &text).map(|sum| sum.all()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Spent::default()),
        Err(source) => Err(ApiError::Ledger { file: ledger.into(), source }),
    }
}

/// What a ledger says.
struct Sum {
    settled: Spent,
    open: BTreeMap<String, Spent>,
    excess: f64,
    /// Where its last whole line ends: what a crash cut was written before anything was sent.
    whole: usize,
}

impl Sum {
    fn reserved(&self) -> Spent {
        self.open.values().fold(Spent::default(), |sum, at_most| sum.plus(*at_most))
    }

    fn all(&self) -> Spent {
        self.settled.plus(self.reserved().times(self.excess))
    }
}

/// How many times what was thought the most so many tokens are.
fn excess_of(tokens: u64, at_most: Spent) -> f64 {
    tokens as f64 / at_most.tokens.max(1) as f64
}

fn summed(file: &Path, text: &str) -> Result<Sum, ApiError> {
    let (mut settled, mut open, mut excess) = (Spent::default(), BTreeMap::<String, Spent>::new(), 1.0);
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    for (n, line) in text[..whole].lines().enumerate() {
        let entry = serde_json::from_str(line).map_err(|_| ApiError::BadLedger { file: file.into(), line: n + 1 })?;
        match entry {
            Entry::Total { spent, excess: of_all } => (settled, excess) = (settled.plus(spent), of_all.max(excess)),
            Entry::Reserved { id, at_most } => drop(open.insert(id, at_most)),
            Entry::Settled { id, spent } => {
                excess = open.remove(&id).map_or(excess, |at_most| excess.max(excess_of(spent.tokens, at_most)));
                settled = settled.plus(spent);
            }
        }
    }
    Ok(Sum { settled, open, excess, whole })
}

impl Budget {
    /// Opens the ledger. Where there are limits, no other process may spend meanwhile.
    ///
    /// # Errors
    /// A ledger that cannot be read or is in use, or a limit in dollars where no price is known.
    pub fn open(settings: &Settings) -> Result<Self, ApiError> {
        if let (Some(limit), None) = (settings.max_cost, &settings.price) {
            return Err(ApiError::NoPrice { limit, model: settings.model.clone() });
        }
        let mut budget = Self {
            ledger: None,
            price: settings.price.clone(),
            max_cost: settings.max_cost,
            max_tokens: settings.max_tokens,
            settled: Spent::default(),
            reserved: Spent::default(),
            left_open: BTreeMap::new(),
            settled_here: Spent::default(),
            excess: 1.0,
            nonce: format!("{:x}-{:x}", std::process::id(), fastrand::u64(..)),
            next: 0,
        };
        if let Some(path) = &settings.ledger {
            let limited = settings.max_cost.is_some() || settings.max_tokens.is_some();
            let (file, sum) = open_ledger(path, limited)?;
            budget.ledger = Some((path.clone(), file));
            (budget.settled, budget.reserved, budget.excess) = (sum.settled, sum.reserved(), sum.excess);
            budget.left_open = sum.open;
        }
        Ok(budget)
    }

    /// All that is spent or reserved, by any process.
    pub fn spent(&self) -> Spent {
        self.settled.plus(self.reserved.times(self.excess))
    }

    /// What this process spent, of what is settled.
    pub fn settled_here(&self) -> Spent {
        self.settled_here
    }

    /// How many tokens a request may take, at most, that is to be reserved now; none where nothing is limited.
    pub fn room(&self) -> Option<u64> {
        let spent = self.spent();
        let by_tokens = self.max_tokens.map(|limit| limit.saturating_sub(spent.tokens) as f64);
        let per_token = self.price.as_ref().map_or(0.0, |price| price.usd_per_million_tokens);
        let by_cost = self.max_cost.map(|limit| limit.0.saturating_sub(spent.micro_usd) as f64 / per_token);
        let room = by_tokens.into_iter().chain(by_cost).reduce(f64::min)?;
        Some((room / self.excess) as u64)
    }

    fn of(&self, tokens: u64) -> Spent {
        let micro_usd = self.price.as_ref().map_or(0, |price| price.of(tokens).0);
        Spent { tokens, micro_usd }
    }

    /// Reserves what a request of at most so many tokens may cost.
    ///
    /// # Errors
    /// [`ApiError::Budget`] if that would exceed a limit, and a ledger that cannot be written.
    pub fn reserve(&mut self, most: u64) -> Result<Reservation, ApiError> {
        let at_most = self.of(most);
        let (spent, next) = (self.spent(), at_most.times(self.excess));
        let after = self.settled.plus(self.reserved.plus(at_most).times(self.excess));
        if let Some(limit) = self.max_cost.filter(|limit| after.cost() > *limit) {
            let (spent, next) = (spent.cost().to_string(), next.cost().to_string());
            return Err(ApiError::Budget { key: "max_cost_usd", spent, limit: limit.to_string(), next });
        }
        if let Some(limit) = self.max_tokens.filter(|limit| after.tokens > *limit) {
            let (spent, next) = (spent.tokens.to_string(), format!("{} tokens", next.tokens));
            return Err(ApiError::Budget { key: "max_tokens", spent, limit: format!("{limit} tokens"), next });
        }
        let id = format!("{}-{}", self.nonce, self.next);
        self.next += 1;
        self.write(&Entry::Reserved { id: id.clone(), at_most })?;
        self.reserved = self.reserved.plus(at_most);
        Ok(Reservation { id, at_most })
    }

    /// Lets a reservation stand, to be settled by its id, perhaps by another process.
    pub fn leave_open(&mut self, reservation: Reservation) {
        self.left_open.insert(reservation.id, reservation.at_most);
    }

    /// What a process before this one reserved and left open, such as for a batch that it did not wait for.
    pub fn reopen(&mut self, id: &str) -> Option<Reservation> {
        let (id, at_most) = self.left_open.remove_entry(id)?;
        Some(Reservation { id, at_most })
    }

    /// A request ended: it is billed by so many tokens, or by the worst where nobody knows, or not at all.
    ///
    /// # Errors
    /// A ledger that cannot be written.
    pub fn settle(&mut self, reservation: Reservation, billed: Billed) -> Result<(), ApiError> {
        let Reservation { id, at_most } = reservation;
        let most = at_most.times(self.excess);
        let spent = match billed {
            Billed::Nothing => Spent::default(),
            Billed::Unknown => most,
            // No server counts so much for so little: its word is worth nothing.
            Billed::Tokens(tokens) if tokens / EXCESS_BELIEVED > most.tokens => most,
            Billed::Tokens(tokens) => self.of(tokens),
        };
        self.excess = self.excess.max(excess_of(spent.tokens, at_most));
        self.reserved = self.reserved.minus(at_most);
        self.settled = self.settled.plus(spent);
        self.settled_here = self.settled_here.plus(spent);
        self.write(&Entry::Settled { id, spent })
    }

    fn write(&mut self, entry: &Entry) -> Result<(), ApiError> {
        let Some((path, file)) = &mut self.ledger else { return Ok(()) };
        file.write_all(entry.line().as_bytes()).map_err(|source| {
            // What a full disk cut must not run into the next line.
            let whole =
                fs::read(&*path).map(|bytes| bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
            let _ = whole.and_then(|whole| file.set_len(whole as u64));
            ApiError::Ledger { file: path.clone(), source }
        })
    }
}

/// What a request cost, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billed {
    /// Nothing, for certain.
    Nothing,
    /// So many tokens.
    Tokens(u64),
    /// Perhaps all that was reserved.
    Unknown,
}

/// Opens a ledger for writing at its end, and sums it up.
fn open_ledger(path: &Path, alone: bool) -> Result<(File, Sum), ApiError> {
    let failed = |source| ApiError::Ledger { file: path.into(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let open = || OpenOptions::new().create(true).append(true).open(path).map_err(failed);
    let mut file = open()?;
    lock(path, &file, alone)?;
    let text = fs::read_to_string(path).map_err(failed)?;
    let sum = summed(path, &text)?;
    // Others may be writing to it where nobody is alone.
    if alone && text.len() as u64 > SUMMED_UP_BEYOND {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut summed_up = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let open = sum.open.iter().map(|(id, at_most)| Entry::Reserved { id: id.clone(), at_most: *at_most });
        let lines: String = [Entry::Total { spent: sum.settled, excess: sum.excess }]
            .into_iter()
            .chain(open)
            .map(|entry| entry.line())
            .collect();
        summed_up.write_all(lines.as_bytes()).and_then(|()| summed_up.as_file().sync_all()).map_err(failed)?;
        // Before it has the name, so that nobody else gets hold of it in between.
        lock(path, summed_up.as_file(), alone)?;
        file = summed_up.persist(path).map_err(|error| failed(error.error))?;
    } else if sum.whole < text.len() {
        file.set_len(sum.whole as u64).map_err(failed)?;
    }
    Ok((file, sum))
}

fn lock(path: &Path, file: &File, alone: bool) -> Result<(), ApiError> {
    let kind = if alone { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    flock(file, kind).map_err(|_| ApiError::LedgerBusy { file: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(usd_per_million_tokens: f64) -> Option<Price> {
        Some(Price { usd_per_million_tokens, date: "2026-11-01".into() })
    }

    fn settings(ledger: &Path, max_cost: Option<f64>, max_tokens: Option<u64>) -> Settings {
        let max_cost = max_cost.map(|dollars| Dollars::new(dollars).unwrap());
        Settings {
            max_cost,
            max_tokens,
            price: price(1.0),
            ledger: Some(ledger.into()),
            ..crate::api::tests::settings()
        }
    }

    #[test]
    fn what_a_dead_process_reserved_counts() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("spending/node.jsonl");
        let mut budget = Budget::open(&settings(&ledger, None, Some(100))).unwrap();
        let known = budget.reserve(30).unwrap();
        budget.settle(known, Billed::Tokens(20)).unwrap();
        let free = budget.reserve(30).unwrap();
        budget.settle(free, Billed::Nothing).unwrap();
        let _open = budget.reserve(40).unwrap();
        assert!(matches!(Budget::open(&settings(&ledger, None, Some(100))), Err(ApiError::LedgerBusy { .. })));
        drop(budget);
        assert_eq!(spent(&ledger).unwrap(), Spent { tokens: 60, micro_usd: 60 });
        // A line that was cut as it was written is as if it had not been.
        OpenOptions::new().append(true).open(&ledger).unwrap().write_all(br#"{"reserved":{"id"#).unwrap();
        let mut budget = Budget::open(&settings(&ledger, None, Some(100))).unwrap();
        assert!(matches!(budget.reserve(41), Err(ApiError::Budget { key: "max_tokens", .. })));
        budget.reserve(40).unwrap();
        drop(budget);
        assert_eq!(spent(&ledger).unwrap().tokens, 100);
        fs::write(&ledger, "nonsense\n").unwrap();
        assert!(matches!(spent(&ledger), Err(ApiError::BadLedger { line: 1, .. })));
    }

    #[test]
    fn a_limit_in_dollars_needs_a_price() {
        let dir = tempfile::tempdir().unwrap();
        let unpriced = Settings { price: None, ..settings(&dir.path().join("l"), Some(1.0), None) };
        assert!(matches!(Budget::open(&unpriced), Err(ApiError::NoPrice { .. })));
    }

    #[test]
    fn a_server_that_counts_more_than_was_thought_is_reckoned_with() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("l");
        let mut budget = Budget::open(&settings(&ledger, None, Some(1000))).unwrap();
        let first = budget.reserve(100).unwrap();
        budget.settle(first, Billed::Tokens(150)).unwrap();
        let _second = budget.reserve(100).unwrap();
        assert_eq!((budget.spent().tokens, budget.room()), (300, Some(466)));
        drop(budget);
        // A later run reckons with it too, in what is open as in what is to come.
        assert_eq!(spent(&ledger).unwrap().tokens, 300);
        let mut budget = Budget::open(&settings(&ledger, None, Some(1000))).unwrap();
        assert_eq!((budget.spent().tokens, budget.room()), (300, Some(466)));
        let third = budget.reserve(466).unwrap();
        assert!(matches!(budget.reserve(1), Err(ApiError::Budget { .. })));
        budget.settle(third, Billed::Tokens(932)).unwrap();
        assert_eq!(budget.spent().tokens, 150 + 200 + 932, "what was open weighs more now");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever requests cost and however they end, over any number of processes that die at any moment, what was
        /// billed never exceeds a limit.
        #[test]
        fn no_limit_is_ever_exceeded(
            limit in 1u64..2_000,
            usd in 0.0f64..3.0,
            by_cost: bool,
            runs in prop::collection::vec(prop::collection::vec((1u64..300, 0u8..4, 0.0f64..=1.0), 0..12), 1..6),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let ledger = dir.path().join("ledger");
            let (max_cost, max_tokens) = if by_cost { (Some(Dollars(limit)), None) } else { (None, Some(limit)) };
            let settings = Settings { max_cost, max_tokens, price: price(usd), ..settings(&ledger, None, None) };
            let (mut billed_tokens, mut billed_usd) = (0, 0.0);
            for run in runs {
                let mut budget = Budget::open(&settings).unwrap();
                let mut open = Vec::new();
                for (most, fate, part) in run {
                    let Ok(reservation) = budget.reserve(most) else { continue };
                    let used = (most as f64 * part) as u64;
                    let (billed, told) = match fate {
                        0 => (0, Some(Billed::Nothing)),
                        1 => (used, Some(Billed::Tokens(used))),
                        2 => (used, Some(Billed::Unknown)),
                        _ => (used, None),
                    };
                    billed_tokens += billed;
                    billed_usd += billed as f64 * usd;
                    match told {
                        Some(told) => budget.settle(reservation, told).unwrap(),
                        None => open.push(reservation),
                    }
                }
            }
            let known = spent(&ledger).unwrap();
            prop_assert!(billed_tokens <= known.tokens);
            if by_cost {
                prop_assert!(billed_usd <= limit as f64 + 1e-6 && known.micro_usd <= limit);
            } else {
                prop_assert!(known.tokens <= limit);
            }
        }
    }
}

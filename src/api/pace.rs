//! How many requests one key may have under way, and when the next may go: pure, by a clock that is handed in.
//!
//! Concurrency grows by one for each full round of answers and is halved where the server asks for patience or does not
//! answer in time, once a round (additive increase, multiplicative decrease). Beside that, each limit that the server tells in its
//! headers is a bucket that fills at the server's rate: a request waits until it holds enough, instead of being refused.

use std::time::{Duration, Instant};

use super::limits::{Limit, Limits};

/// Requests under way at first.
const FIRST: f64 = 4.0;
/// In what time a limit is there again, where a server does not say.
const MINUTE: Duration = Duration::from_mins(1);

/// What a key may do.
#[derive(Debug)]
pub struct Pace {
    allowed: f64,
    most: usize,
    under_way: usize,
    /// When it was last halved: what was sent before that says nothing new.
    halved: Option<Instant>,
    /// The server does not want to be asked before.
    blocked: Option<Instant>,
    requests: Bucket,
    tokens: Bucket,
}

/// When a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now.
    Now,
    /// Not before this.
    At(Instant),
    /// Once something under way is answered.
    AfterAnAnswer,
    /// Never: it has more tokens than the server ever lets through at once.
    Never,
}

impl Pace {
    /// A key that may have `most` requests under way.
    pub fn new(most: usize) -> Self {
        let allowed = FIRST.min(most as f64);
        let (requests, tokens) = (Bucket::default(), Bucket::default());
        Self { allowed, most, under_way: 0, halved: None, blocked: None, requests, tokens }
    }

    /// Requests under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// When a request of so many tokens may go.
    pub fn when(&self, now: Instant, tokens: u64) -> When {
        let tokens = tokens as f64;
        if self.tokens.limit.is_some_and(|limit| tokens > limit) {
            return When::Never;
        }
        if self.under_way as f64 >= self.allowed.floor() {
            return When::AfterAnAnswer;
        }
        let times = [self.blocked, self.requests.when(now, 1.0), self.tokens.when(now, tokens)];
        match times.into_iter().flatten().max().filter(|at| *at > now) {
            Some(at) => When::At(at),
            None => When::Now,
        }
    }

    /// A request was sent.
    pub fn sent(&mut self, now: Instant, tokens: u64) {
        self.under_way += 1;
        self.requests.take(now, 1.0);
        self.tokens.take(now, tokens as f64);
    }

    /// A request of so many tokens ended, however.
    pub fn ended(&mut self, now: Instant, tokens: u64, limits: &Limits) {
        self.under_way -= 1;
        self.requests.ended(now, 1.0, &limits.requests);
        self.tokens.ended(now, tokens as f64, &limits.tokens);
    }

    /// It was answered well.
    pub fn answered(&mut self) {
        self.allowed = (self.allowed + 1.0 / self.allowed).min(self.most as f64);
    }

    /// Whether what was sent then tells no more than is known: it was under way when the pace was last halved.
    pub fn is_old_news(&self, sent: Instant) -> bool {
        self.halved.is_some_and(|halved| sent <= halved)
    }

    /// The server wants patience, or did not answer in time.
    pub fn slow_down(&mut self, now: Instant, sent: Instant, wait: Option<Duration>) {
        if !self.is_old_news(sent) {
            self.allowed = (self.allowed / 2.0).max(1.0);
            self.halved = Some(now);
        }
        let until = wait.map(|wait| now + wait);
        self.blocked = self.blocked.max(until);
    }
}

/// What is left of a limit: it fills by itself, up to the limit.
#[derive(Debug, Default)]
struct Bucket {
    limit: Option<f64>,
    /// Per second.
    rate: f64,
    level: f64,
    at: Option<Instant>,
    under_way: f64,
}

impl Bucket {
    fn level(&self, now: Instant) -> f64 {
        let Some(limit) = self.limit else { return f64::INFINITY };
        let passed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        (self.level + passed * self.rate).min(limit)
    }

    /// When it holds so much; none if it is not limited.
    fn when(&self, now: Instant, amount: f64) -> Option<Instant> {
        self.limit?;
        let lacking = amount - self.level(now);
        Some(if lacking <= 0.0 { now } else { now + Duration::from_secs_f64((lacking / self.rate).min(86_400.0)) })
    }

    fn take(&mut self, now: Instant, amount: f64) {
        self.under_way += amount;
        if self.limit.is_some() {
            (self.level, self.at) = (self.level(now) - amount, Some(now));
        }
    }

    /// What the server says is left was so before it saw what is still under way, perhaps.
    fn ended(&mut self, now: Instant, amount: f64, told: &Limit) {
        self.under_way -= amount;
        let (Some(limit), Some(remaining)) = (told.limit, told.remaining) else { return };
        self.limit = Some(limit);
        let (used, reset) = (limit - remaining, told.reset.unwrap_or_default().as_secs_f64());
        // What was used is there again after `reset`; a little used tells no rate.
        self.rate = if used >= limit / 100.0 && reset > 0.0 { used / reset } else { limit / MINUTE.as_secs_f64() };
        (self.level, self.at) = (remaining - self.under_way, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Limits = Limits {
        requests: Limit { limit: None, remaining: None, reset: None },
        tokens: Limit { limit: None, remaining: None, reset: None },
        retry_after: None,
    };

    fn sent_at_once(pace: &mut Pace, now: Instant) -> usize {
        let mut sent = 0;
        while pace.when(now, 1) == When::Now {
            pace.sent(now, 1);
            sent += 1;
        }
        sent
    }

    #[test]
    fn concurrency_grows_by_one_a_round_and_is_halved_once() {
        let (mut pace, now) = (Pace::new(7), Instant::now());
        let mut rounds = Vec::new();
        for _ in 0..6 {
            let sent = sent_at_once(&mut pace, now);
            rounds.push(sent);
            for _ in 0..sent {
                pace.ended(now, 1, &NONE);
                pace.answered();
            }
        }
        assert_eq!(rounds, [4, 4, 5, 6, 7, 7]);
        let later = now + Duration::from_secs(1);
        pace.slow_down(later, now, None);
        pace.slow_down(later, now, None);
        assert_eq!(sent_at_once(&mut pace, later), 3);
        assert_eq!(pace.when(later, 1), When::AfterAnAnswer);
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept() {
        let (mut pace, now) = (Pace::new(7), Instant::now());
        pace.slow_down(now, now, Some(Duration::from_secs(5)));
        pace.slow_down(now, now, None);
        assert_eq!(pace.when(now, 1), When::At(now + Duration::from_secs(5)));
        assert_eq!(pace.when(now + Duration::from_secs(5), 1), When::Now);
    }

    #[test]
    fn a_limit_is_kept_by_waiting() {
        let (mut pace, now) = (Pace::new(100), Instant::now());
        pace.sent(now, 600);
        pace.sent(now, 100);
        let told = |remaining, reset| Limits {
            tokens: Limit { limit: Some(1000.0), remaining: Some(remaining), reset: Some(Duration::from_secs(reset)) },
            ..NONE
        };
        pace.ended(now, 600, &told(400.0, 36));
        // 400 are left, 100 of them are spoken for, and 600 come back in 36 s.
        assert_eq!(pace.when(now, 300), When::Now);
        assert_eq!(pace.when(now, 500), When::At(now + Duration::from_secs(12)));
        assert_eq!(pace.when(now, 1001), When::Never);
        assert_eq!(pace.when(now + Duration::from_mins(5), 1000), When::Now);
    }
}

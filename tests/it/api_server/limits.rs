//! Limits by the minute: buckets that refill continuously, and the headers that tell their state.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::script::Script;

/// The two buckets of a server.
pub struct Limits {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

struct Bucket {
    /// What it holds, and gets in a minute.
    limit: u64,
    level: f64,
    at: Instant,
}

impl Limits {
    pub fn new(script: &Script) -> Self {
        let full = |limit: u64| Bucket { limit, level: limit as f64, at: Instant::now() };
        Self { requests: script.requests_per_minute.map(full), tokens: script.tokens_per_minute.map(full) }
    }

    /// Takes a request of so many tokens, or says how long until it fits; the headers tell the buckets either way.
    pub fn take(&mut self, tokens: u64) -> (Result<(), Duration>, HeaderMap) {
        let asked = [(&mut self.requests, 1), (&mut self.tokens, tokens)];
        let waits = asked.map(|(bucket, amount)| bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.wait(amount)));
        let wait = waits.into_iter().max().unwrap_or_default();
        let taken = if wait.is_zero() { (1, tokens) } else { (0, 0) };
        let mut headers = HeaderMap::new();
        for (name, bucket, amount) in [("requests", &mut self.requests, taken.0), ("tokens", &mut self.tokens, taken.1)]
        {
            if let Some(bucket) = bucket {
                bucket.level -= amount as f64;
                bucket.tell(name, &mut headers);
            }
        }
        (if wait.is_zero() { Ok(()) } else { Err(wait) }, headers)
    }
}

impl Bucket {
    /// Until it holds `amount`. What it never holds is told as the time until it is full.
    fn wait(&mut self, amount: u64) -> Duration {
        let now = Instant::now();
        let refilled = (now - self.at).as_secs_f64() * self.limit as f64 / 60.0;
        (self.level, self.at) = ((self.level + refilled).min(self.limit as f64), now);
        if amount as f64 <= self.level {
            return Duration::ZERO;
        }
        self.until(amount.min(self.limit) as f64).max(Duration::from_millis(1))
    }

    fn until(&self, level: f64) -> Duration {
        Duration::from_secs_f64((level - self.level).max(0.0) * 60.0 / self.limit as f64)
    }

    fn tell(&self, name: &str, headers: &mut HeaderMap) {
        let reset = written(self.until(self.limit as f64));
        let told =
            [("limit", self.limit.to_string()), ("remaining", (self.level as u64).to_string()), ("reset", reset)];
        for (what, value) in told {
            let header = HeaderName::try_from(format!("x-ratelimit-{what}-{name}")).unwrap();
            headers.insert(header, HeaderValue::try_from(value).unwrap());
        }
    }
}

/// As the API writes durations: `20ms`, `1.5s`, `6m0s`, `1h0m0s`.
pub fn written(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 1000.0 {
        return if millis == 0.0 { "0s".to_owned() } else { format!("{}ms", millis.ceil()) };
    }
    let (minutes, seconds) = (duration.as_secs() / 60, (millis.round() % 60_000.0) / 1000.0);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

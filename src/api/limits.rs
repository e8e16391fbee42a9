//! What an answer's headers say of the server's limits, and of when to come again.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// What a server lets through in some time, of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limit {
    /// How many at most.
    pub limit: Option<f64>,
    /// How many are left now.
    pub remaining: Option<f64>,
    /// When all are there again.
    pub reset: Option<Duration>,
}

/// What the headers of an answer say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Of requests.
    pub requests: Limit,
    /// Of tokens.
    pub tokens: Limit,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

impl Limits {
    /// Reads `x-ratelimit-*` as OpenAI sends them, and `retry-after` in all its forms.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let number =
            |name: &str| text(name).and_then(|text| text.parse::<f64>().ok()).filter(|it| it.is_finite() && *it >= 0.0);
        let limit = |kind: &str| Limit {
            limit: number(&format!("x-ratelimit-limit-{kind}")).filter(|limit| *limit >= 1.0),
            remaining: number(&format!("x-ratelimit-remaining-{kind}")),
            reset: text(&format!("x-ratelimit-reset-{kind}")).and_then(duration),
        };
        let millis = number("retry-after-ms").map(|millis| Duration::from_secs_f64((millis / 1000.0).min(1e9)));
        let date = text(DATE.as_str());
        let retry_after = millis.or_else(|| retry_after(text(RETRY_AFTER.as_str())?, date));
        Self { requests: limit("requests"), tokens: limit("tokens"), retry_after }
    }
}

/// Seconds, or a date. A date is by the server's clock: what it is ahead of the server's own `Date` counts, for its clock
/// may be wrong, and so may this one.
fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds));
    }
    let then = DateTime::parse_from_rfc2822(text).ok()?;
    let now = match date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
        Some(now) => now.to_utc(),
        None => std::time::SystemTime::now().into(),
    };
    Some((then.to_utc() - now).to_std().unwrap_or_default())
}

/// A span of time as in `6m0s`, `1h2m`, `20ms` or `1.5s`; a bare number is seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds));
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        total += value
            * match &rest[end..unit_end] {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    (total < 1e9).then(|| Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_as_openai_writes_them() {
        let millis = |text: &str| duration(text).map(|span| span.as_millis());
        assert_eq!(
            ["6m0s", "20ms", "1h2m3s", "1.5s", "7", "1d"].map(millis),
            [360_000, 20, 3_723_000, 1500, 7000, 86_400_000].map(Some)
        );
        assert_eq!(["", "s", "3x", "1e99s", "-1", "é"].map(millis), [Some(0), None, None, None, None, None]);
    }

    #[test]
    fn a_date_is_by_the_servers_own_clock() {
        let skewed = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:05 GMT", skewed), Some(Duration::from_secs(5)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:27:00 GMT", skewed), Some(Duration::ZERO));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", None), Some(Duration::ZERO));
        assert_eq!(
            (retry_after("2", None), retry_after("soon", None), retry_after("-3", None)),
            (Some(Duration::from_secs(2)), None, None)
        );
    }

    #[test]
    fn headers_give_limits() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "10"),
            ("x-ratelimit-reset-tokens", "59s"),
            ("x-ratelimit-limit-requests", "none"),
            ("retry-after-ms", "1500"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let limits = Limits::of(&headers);
        let tokens = Limit { limit: Some(1000.0), remaining: Some(10.0), reset: Some(Duration::from_secs(59)) };
        assert_eq!(
            limits,
            Limits { requests: Limit::default(), tokens, retry_after: Some(Duration::from_millis(1500)) }
        );
    }
}

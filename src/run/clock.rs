//! Time, where a run needs it: provenance and run ids, never keys.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC.
pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Milliseconds since 1970-01-01 UTC.
pub fn now_milliseconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// An id for a run that starts now: UTC time to the millisecond and process, so that ids sort by time and no two are equal.
pub fn run_id() -> String {
    let milliseconds = i64::try_from(now_milliseconds()).unwrap_or(0);
    let time = chrono::DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
    format!("{}-{}", time.format("%Y%m%dT%H%M%S.%3fZ"), std::process::id())
}

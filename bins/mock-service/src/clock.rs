//! The one place where this program asks for the time of day.
//!
//! Rules and stores get `now` passed in, so that a test can say what time it is. Nothing here waits.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds; 0 for a clock that stands before 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock in this program"
)]
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

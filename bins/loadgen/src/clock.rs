//! The time, as one number that the processes of one machine agree on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

/// Reads the wall clock once and goes on from there, so that its corrections move no measurement.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    epoch: u64,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "pushes cross from one worker process to another; a test needs no other clock"
    )]
    pub(crate) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            epoch: nanos(since),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.epoch + nanos(self.start.elapsed()))
    }
}

impl Moment {
    pub(crate) fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(nanos(wait)))
    }

    /// How long ago `earlier` was; nothing where it has not come yet.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//! When things are meant to happen: evenly spaced moments, fixed at the start, whatever happens in between.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Evenly spaced moments.
pub(crate) struct Pace {
    start: Instant,
    seconds_each: f64,
    next: u64,
}

impl Pace {
    /// `per_second` moments a second from now on; the first is now.
    pub(crate) fn new(per_second: f64) -> Self {
        Self {
            start: Instant::now(),
            seconds_each: 1.0 / per_second,
            next: 0,
        }
    }

    /// The next intended moment, waited for; one that has passed already is returned at once.
    pub(crate) async fn tick(&mut self) -> Instant {
        let moment = self.moment(self.next);
        self.next += 1;
        if moment > Instant::now() {
            sleep_until(moment).await;
        }
        moment
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 moments")]
    fn moment(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 * self.seconds_each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hold_up_does_not_move_the_moments_after_it() {
        let mut pace = Pace::new(1_000.0);
        let first = pace.tick().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        for number in 1..=20 {
            assert_eq!(pace.tick().await - first, Duration::from_millis(number));
        }
        assert!(
            first.elapsed() < Duration::from_millis(200),
            "the moments missed are caught up at once"
        );
    }
}

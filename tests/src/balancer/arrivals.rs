//! When connections came, and how many of them within one second.
//!
//! The clients live in the process that counts. Where the machine gives it no time for a while, those whose moment has
//! passed come together afterwards, which says nothing about the moments they were given: a stall that is noticed here
//! makes the second that follows it longer by as much.

use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Arrivals {
    moments: Vec<Instant>,
    /// When one ended, and how long it was.
    stalls: Vec<(Instant, Duration)>,
    turned_away: usize,
}

/// The second in which the most connections came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Busiest {
    pub connections: usize,
    /// Of all that were counted, those for which no node was ready: they come a second time.
    pub turned_away: usize,
    /// How long the process had stood still in that second.
    pub stalled: Duration,
    /// Connections to a second of time in which they could come.
    pub rate: f64,
}

impl Arrivals {
    pub(super) fn came(&mut self) {
        self.moments.push(Instant::now());
    }

    pub(super) fn turned_away(&mut self) {
        self.turned_away += 1;
    }

    pub(super) fn stalled(&mut self, time: Duration) {
        self.stalls.push((Instant::now(), time));
    }

    pub(super) fn busiest(&self) -> Busiest {
        let mut busiest = Busiest::default();
        let mut end = 0;
        for (begin, first) in self.moments.iter().enumerate() {
            end = end.max(begin);
            while self
                .moments
                .get(end)
                .is_some_and(|moment| *moment - *first < SECOND)
            {
                end += 1;
            }
            let ended_within =
                |(at, _): &&(Instant, Duration)| *at + STALL >= *first && *at < *first + SECOND;
            let stalled: Duration = self
                .stalls
                .iter()
                .filter(ended_within)
                .map(|(_, time)| *time)
                .sum();
            let connections = end - begin;
            let rate = connections as f64 / (SECOND + stalled).as_secs_f64();
            if rate > busiest.rate {
                busiest = Busiest {
                    connections,
                    turned_away: self.turned_away,
                    stalled,
                    rate,
                };
            }
        }
        busiest
    }
}

/// A pause of the process that counts as one: what is shorter is in the figures as it is.
pub(super) const STALL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(millis: &[u64], stalls: &[(u64, u64)]) -> Arrivals {
        let start = Instant::now();
        let at = |millis: &u64| start + Duration::from_millis(*millis);
        Arrivals {
            moments: millis.iter().map(at).collect(),
            turned_away: 0,
            stalls: stalls
                .iter()
                .map(|(end, time)| (at(end), Duration::from_millis(*time)))
                .collect(),
        }
    }

    #[test]
    fn the_busiest_second_is_found_wherever_it_begins() {
        let found = |millis: &[u64]| arrivals(millis, &[]).busiest().connections;
        assert_eq!(found(&[0, 900, 950, 1_000, 1_899, 1_901, 5_000]), 4);
        assert_eq!((found(&[7]), found(&[])), (1, 0));
    }

    #[test]
    fn those_who_came_late_by_a_stall_had_more_than_a_second_to_come() {
        // Ten a second, but for the half second in which nobody could; then the five that were due come together.
        let steady: Vec<u64> = (0..20).map(|n| n * 100).collect();
        let late: Vec<u64> = steady
            .iter()
            .map(|at| if (500..1_000).contains(at) { 1_000 } else { *at })
            .collect();
        assert_eq!(arrivals(&steady, &[]).busiest().rate, 10.0);
        assert_eq!(arrivals(&late, &[]).busiest().rate, 15.0);
        assert_eq!(arrivals(&late, &[(1_000, 500)]).busiest().rate, 10.0);
    }
}

//! What is counted while a scenario runs, in a form that workers can send to the fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency told apart, in microseconds; longer ones count as this.
const LONGEST: u64 = 120_000_000;

/// Counters and latencies of one worker, or of all of them together.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Bound now.
    pub(crate) open: u64,
    /// Connections that have become bound.
    pub(crate) connected: u64,
    /// Why others have not.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Connections that ended unasked, by close code.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Messages, or visitors.
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Pushes that arrived.
    pub(crate) delivered: u64,
    /// Messages of which none of this came true, by kind.
    pub(crate) failed: BTreeMap<String, u64>,
    /// From the intended moment to being bound.
    pub(crate) connect: Latencies,
    /// From the intended moment to the reply.
    pub(crate) reply: Latencies,
    /// From the intended moment to the receiver.
    pub(crate) delivery: Latencies,
}

impl Counts {
    /// Counts a message that came to nothing. Kinds are few: codes and reasons of this program.
    pub(crate) fn fail(&mut self, kind: impl Into<String>) {
        *self.failed.entry(kind.into()).or_default() += 1;
    }

    /// Starts the measured time: what counts connections is kept.
    pub(crate) fn mark(&mut self) {
        *self = Self {
            open: self.open,
            connected: self.connected,
            refused: std::mem::take(&mut self.refused),
            connect: std::mem::take(&mut self.connect),
            ..Self::default()
        };
    }

    /// Adds another worker's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.connected += other.connected;
        self.sent += other.sent;
        self.answered += other.answered;
        self.delivered += other.delivered;
        for (ours, theirs) in [
            (&mut self.refused, &other.refused),
            (&mut self.ended, &other.ended),
            (&mut self.failed, &other.failed),
        ] {
            for (kind, count) in theirs {
                *ours.entry(kind.clone()).or_default() += count;
            }
        }
        self.connect.add(&other.connect);
        self.reply.add(&other.reply);
        self.delivery.add(&other.delivery);
    }

    /// Everything that went wrong.
    pub(crate) fn errors(&self) -> u64 {
        [&self.refused, &self.ended, &self.failed]
            .into_iter()
            .flat_map(BTreeMap::values)
            .sum()
    }
}

/// A histogram of microseconds to three digits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(crate) struct Latencies(Option<Box<Histogram<u64>>>);

/// The figures of a histogram that a reader wants, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.record_n(u64::try_from(latency.as_micros()).unwrap_or(LONGEST), 1);
    }

    fn record_n(&mut self, micros: u64, count: u64) {
        if self.0.is_none() {
            // The bounds are constants that the constructor accepts; without it nothing is recorded.
            self.0 = Histogram::new_with_bounds(1, LONGEST, 3).ok().map(Box::new);
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record_n(micros, count);
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(histogram) = &mut self.0 {
            histogram.reset();
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (micros, count) in Vec::from(other.clone()) {
            self.record_n(micros, count);
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let Some(histogram) = &self.0 else {
            return Figures::default();
        };
        let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
        Figures {
            count: histogram.len(),
            mean: (histogram.mean() / 10.0).round() / 100.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(histogram.max()),
        }
    }

    /// Milliseconds at evenly told fractions, for a plot: `(fraction, milliseconds)`.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Vec::new();
        };
        (0..=60)
            .map(|step| 1.0 - 10f64.powf(-f64::from(step) / 15.0))
            .map(|quantile| (quantile, milliseconds(histogram.value_at_quantile(quantile))))
            .collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds up to two minutes are exact"
)]
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

impl From<Latencies> for Vec<(u64, u64)> {
    /// The values that occurred, with their counts.
    fn from(latencies: Latencies) -> Self {
        latencies.0.map_or_else(Vec::new, |histogram| {
            histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect()
        })
    }
}

impl From<Vec<(u64, u64)>> for Latencies {
    fn from(values: Vec<(u64, u64)>) -> Self {
        let mut latencies = Self::default();
        for (micros, count) in values {
            latencies.record_n(micros, count);
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_milliseconds_and_survive_the_way_to_the_fleet() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.figures(), Figures::default());
        for millis in 1..=1_000 {
            latencies.record(Duration::from_millis(millis));
        }
        let sent = serde_json::to_string(&latencies).unwrap();
        let mut received: Latencies = serde_json::from_str(&sent).unwrap();
        let figures = received.figures();
        assert_eq!(figures.count, 1_000);
        assert!(
            (figures.p50 - 500.0).abs() < 1.0 && (figures.p99 - 990.0).abs() < 1.0,
            "{figures:?}"
        );
        received.record(Duration::from_secs(1_000));
        assert!(received.figures().max >= 120_000.0);
        assert_eq!(received.curve().first().map(|(quantile, _)| *quantile), Some(0.0));
    }

    #[test]
    fn marking_keeps_what_counts_connections() {
        let mut counts = Counts {
            open: 3,
            connected: 4,
            sent: 7,
            ..Counts::default()
        };
        counts.fail("code 503");
        counts.mark();
        assert_eq!(
            (counts.open, counts.connected, counts.sent, counts.errors()),
            (3, 4, 0, 0)
        );
    }
}

//! What is counted while a scenario runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gateway_client::ClientError;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart, in microseconds; longer ones count as this.
const LONGEST: u64 = 120_000_000;

/// Counters and latencies of one run, shared by all its tasks.
#[derive(Default)]
pub(crate) struct Measure {
    counts: Mutex<Counts>,
}

#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) connected: u64,
    pub(crate) connect_failures: BTreeMap<String, u64>,
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) open: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) delivered: u64,
    pub(crate) send_failures: BTreeMap<String, u64>,
    pub(crate) events_refused: u64,
    pub(crate) connect: Latencies,
    pub(crate) reply: Latencies,
    pub(crate) delivery: Latencies,
}

/// A histogram of microseconds to three digits.
#[derive(Clone, Default)]
pub(crate) struct Latencies(Option<Histogram<u64>>);

/// The figures of a histogram that a reader wants, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Measure {
    /// Changes the counts; short, and never across an await.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The counts of this moment.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads a few of them without copying the histograms.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&Counts) -> T) -> T {
        read(&self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        if self.0.is_none() {
            // The bounds are constants that the constructor accepts; without it nothing is recorded.
            self.0 = Histogram::new_with_bounds(1, LONGEST, 3).ok();
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST));
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds up to two minutes are exact"
    )]
    pub(crate) fn figures(&self) -> Figures {
        let Some(histogram) = &self.0 else {
            return Figures::default();
        };
        let milliseconds = |micros: u64| micros as f64 / 1_000.0;
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
}

/// A few words for an error, the same for all of its kind, so that they can be counted.
pub(crate) fn kind(error: &ClientError) -> String {
    match error {
        ClientError::Connect(error) => format!("connecting: {:?}", error.kind()),
        ClientError::Refused { status, .. } => format!("HTTP {status}"),
        ClientError::Failed { code, .. } => format!("code {code}"),
        ClientError::Closed(ended) => ended
            .code
            .map_or_else(|| "lost".to_owned(), |code| format!("close {code}")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_milliseconds() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.figures(), Figures::default());
        for millis in 1..=1_000 {
            latencies.record(Duration::from_millis(millis));
        }
        let figures = latencies.figures();
        assert_eq!(figures.count, 1_000);
        assert!(
            (figures.p50 - 500.0).abs() < 1.0 && (figures.p99 - 990.0).abs() < 1.0,
            "{figures:?}"
        );
        latencies.record(Duration::from_secs(1_000));
        assert!(latencies.figures().max >= 120_000.0);
    }
}

//! What came out: for people in words, for machines in JSON, for a meeting as a page with plots.

mod html;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::measure::{Counts, Figures};

pub(crate) use html::page;

/// The result of a run. Latencies are in milliseconds and count from the intended moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) url: String,
    /// The measured time, in seconds.
    pub(crate) seconds: f64,
    pub(crate) connections: Connections,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Messages>,
    /// What this scenario is about.
    pub(crate) figures: Vec<Figure>,
    /// The processes named by `--pid`, all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) servers: Option<Servers>,
    pub(crate) own: Own,
    /// How it went, twice a second.
    pub(crate) series: Vec<Point>,
    /// Latency by fraction of all messages, for the plot.
    pub(crate) curves: Vec<Curve>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Connections {
    pub(crate) asked: u32,
    pub(crate) made: u64,
    /// Still bound when the time was over.
    pub(crate) held: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    /// Ended before the time was over, by close code.
    pub(crate) ended: BTreeMap<String, u64>,
    /// From the intended moment to being bound.
    pub(crate) latency: Figures,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Messages {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Pushes that arrived.
    pub(crate) delivered: u64,
    pub(crate) failed: BTreeMap<String, u64>,
    /// Replies and pushes a second.
    pub(crate) per_second: f64,
    /// From the intended moment to the reply.
    pub(crate) reply: Figures,
    /// From the intended moment to the receiver.
    pub(crate) delivery: Figures,
}

/// One named figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Servers {
    /// CPU seconds in the measured time.
    pub(crate) cpu_seconds: f64,
    /// Of one core.
    pub(crate) cpu_share: f64,
    /// CPU microseconds for each reply and push.
    pub(crate) cpu_micros_each: f64,
    /// Resident anonymous memory at the end, in bytes.
    pub(crate) rss_anon: u64,
}

/// What this program used itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Own {
    pub(crate) processes: usize,
    /// Of one core for each process.
    pub(crate) cpu_share: f64,
    /// It was at its own limit: the figures say what it can do, not what the server can.
    pub(crate) is_bottleneck: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Point {
    pub(crate) seconds: f64,
    pub(crate) open: u64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) errors: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// Fraction of the messages, and the milliseconds that they took at most.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Connections {
    pub(crate) fn of(asked: u32, counts: &Counts) -> Self {
        Self {
            asked,
            made: counts.connected,
            held: counts.open,
            refused: counts.refused.clone(),
            ended: counts.ended.clone(),
            latency: counts.connect.figures(),
        }
    }
}

impl Messages {
    /// `None` where there were none.
    pub(crate) fn of(counts: &Counts, seconds: f64) -> Option<Self> {
        let done = counts.answered + counts.delivered;
        (counts.sent + done > 0).then(|| Self {
            sent: counts.sent,
            answered: counts.answered,
            delivered: counts.delivered,
            failed: counts.failed.clone(),
            per_second: (done as f64 / seconds.max(1e-9) * 10.0).round() / 10.0,
            reply: counts.reply.figures(),
            delivery: counts.delivery.figures(),
        })
    }
}

impl Curve {
    pub(crate) fn all(counts: &Counts) -> Vec<Self> {
        [
            ("connect", &counts.connect),
            ("reply", &counts.reply),
            ("delivery", &counts.delivery),
        ]
        .into_iter()
        .map(|(name, latencies)| Self {
            name,
            points: latencies.curve(),
        })
        .filter(|curve| !curve.points.is_empty())
        .collect()
    }
}

impl Report {
    /// Whether anything came about: a connection, and where messages were sent, an answer.
    pub(crate) fn is_alive(&self) -> bool {
        let messages = self.messages.as_ref();
        self.connections.made > 0
            && messages.is_none_or(|messages| messages.answered + messages.delivered > 0)
    }
}

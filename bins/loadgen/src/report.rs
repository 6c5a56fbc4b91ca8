//! What came out, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::measure::{Counts, Figures};

/// The result of a run. Latencies are in milliseconds and count from the intended moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) url: String,
    /// How long it took in all, in seconds.
    pub(crate) seconds: f64,
    pub(crate) connections: Connections,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Messages>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Connections {
    pub(crate) asked: u64,
    pub(crate) made: u64,
    /// Still open when the time was over.
    pub(crate) held: u64,
    pub(crate) failed: BTreeMap<String, u64>,
    /// Ended before the time was over, by close code.
    pub(crate) ended: BTreeMap<String, u64>,
    /// From the intended moment to being bound.
    pub(crate) latency: Figures,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Messages {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Pushes that arrived.
    pub(crate) delivered: u64,
    pub(crate) failed: BTreeMap<String, u64>,
    /// Pushes that this program was too slow to take.
    pub(crate) refused_here: u64,
    /// Messages answered a second, over the time of chatting.
    pub(crate) per_second: f64,
    /// From the intended moment to the reply.
    pub(crate) reply: Figures,
    /// From the intended moment to the receiver.
    pub(crate) delivery: Figures,
}

impl Connections {
    pub(crate) fn of(asked: u32, counts: &Counts) -> Self {
        Self {
            asked: asked.into(),
            made: counts.connected,
            held: counts.open,
            failed: counts.connect_failures.clone(),
            ended: counts.ended.clone(),
            latency: counts.connect.figures(),
        }
    }
}

impl Messages {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
    pub(crate) fn of(counts: &Counts, seconds: f64) -> Self {
        Self {
            sent: counts.sent,
            answered: counts.answered,
            delivered: counts.delivered,
            failed: counts.send_failures.clone(),
            refused_here: counts.events_refused,
            per_second: if seconds > 0.0 {
                (counts.answered as f64 / seconds * 10.0).round() / 10.0
            } else {
                0.0
            },
            reply: counts.reply.figures(),
            delivery: counts.delivery.figures(),
        }
    }
}

impl Report {
    /// Whether anything came about: a connection, and in a chat an answer.
    pub(crate) fn is_alive(&self) -> bool {
        self.connections.made > 0
            && self
                .messages
                .as_ref()
                .is_none_or(|messages| messages.answered > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connections {
            asked,
            made,
            held,
            failed,
            ended,
            latency,
        } = &self.connections;
        writeln!(f, "{} against {}, {:.1} s", self.scenario, self.url, self.seconds)?;
        writeln!(f, "connections: {made} of {asked} made, {held} held to the end")?;
        list(f, "could not be made", failed)?;
        list(f, "ended before that", ended)?;
        line(f, "connect and log in", latency)?;
        let Some(messages) = &self.messages else {
            return Ok(());
        };
        writeln!(
            f,
            "messages: {} sent, {} answered ({} a second), {} delivered",
            messages.sent, messages.answered, messages.per_second, messages.delivered
        )?;
        list(f, "failed", &messages.failed)?;
        if messages.refused_here > 0 {
            writeln!(
                f,
                "  {} pushes came faster than this program could take them",
                messages.refused_here
            )?;
        }
        line(f, "reply", &messages.reply)?;
        line(f, "delivery", &messages.delivery)
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, counts: &BTreeMap<String, u64>) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{count} × {kind}"))
        .collect();
    writeln!(f, "  {what}: {}", told.join(", "))
}

fn line(f: &mut fmt::Formatter<'_>, what: &str, figures: &Figures) -> fmt::Result {
    if figures.count == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "  {what}, ms: mean {:.2} · p50 {:.2} · p90 {:.2} · p99 {:.2} · p99.9 {:.2} · max {:.2}",
        figures.mean, figures.p50, figures.p90, figures.p99, figures.p999, figures.max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_who_failed_and_why() {
        let mut counts = Counts {
            connected: 2,
            open: 1,
            sent: 5,
            answered: 4,
            ..Counts::default()
        };
        counts.ended.insert("close 4410".into(), 1);
        counts.send_failures.insert("code 503".into(), 1);
        counts.reply.record(std::time::Duration::from_millis(3));
        let report = Report {
            scenario: "chat",
            url: "ws://127.0.0.1:1/ws".into(),
            seconds: 2.0,
            connections: Connections::of(3, &counts),
            messages: Some(Messages::of(&counts, 2.0)),
        };
        let words = report.to_string();
        for expected in [
            "2 of 3 made, 1 held",
            "1 × close 4410",
            "5 sent, 4 answered (2 a second)",
            "1 × code 503",
            "p99 3.00",
        ] {
            assert!(words.contains(expected), "{expected:?} is not in\n{words}");
        }
        assert!(report.is_alive());
    }
}

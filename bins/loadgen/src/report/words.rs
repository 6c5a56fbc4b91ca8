//! The report as text.

use std::collections::BTreeMap;
use std::fmt;

use super::{Connections, Messages, Report};
use crate::measure::Figures;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} against {}, {:.1} s", self.scenario, self.url, self.seconds)?;
        connections(f, &self.connections)?;
        if let Some(told) = &self.messages {
            messages(f, told)?;
        }
        for figure in &self.figures {
            writeln!(f, "{}: {:.2} {}", figure.name, figure.value, figure.unit)?;
        }
        if let Some(servers) = &self.servers {
            writeln!(
                f,
                "server: {:.0} % of a core, {:.2} µs of CPU each, {:.1} MiB resident",
                servers.cpu_share * 100.0,
                servers.cpu_micros_each,
                servers.rss_anon as f64 / 1_048_576.0
            )?;
        }
        writeln!(
            f,
            "loadgen: {} processes, {:.0} % of a core each",
            self.own.processes,
            self.own.cpu_share * 100.0
        )?;
        if self.own.is_bottleneck {
            writeln!(
                f,
                "WARNING: loadgen itself was the bottleneck; use --processes and more cores"
            )?;
        }
        Ok(())
    }
}

fn connections(f: &mut fmt::Formatter<'_>, told: &Connections) -> fmt::Result {
    let Connections {
        asked, made, held, ..
    } = told;
    writeln!(f, "connections: {made} of {asked} made, {held} held to the end")?;
    list(f, "could not be made", &told.refused)?;
    list(f, "ended before that", &told.ended)?;
    line(f, "connect and bind", &told.latency)
}

fn messages(f: &mut fmt::Formatter<'_>, told: &Messages) -> fmt::Result {
    writeln!(
        f,
        "messages: {} sent, {} answered, {} delivered; {} a second",
        told.sent, told.answered, told.delivered, told.per_second
    )?;
    list(f, "failed", &told.failed)?;
    line(f, "reply", &told.reply)?;
    line(f, "delivery", &told.delivery)
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
    use std::time::Duration;

    use super::*;
    use crate::measure::Counts;
    use crate::report::Own;

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
        counts.fail("code 503");
        counts.reply.record(Duration::from_millis(3));
        let report = Report {
            scenario: "chat",
            url: "ws://127.0.0.1:1/ws".into(),
            seconds: 2.0,
            connections: Connections::of(3, &counts),
            messages: Messages::of(&counts, 2.0),
            figures: Vec::new(),
            servers: None,
            own: Own {
                processes: 1,
                cpu_share: 0.99,
                is_bottleneck: true,
            },
            series: Vec::new(),
            curves: Vec::new(),
        };
        let words = report.to_string();
        for expected in [
            "2 of 3 made, 1 held",
            "1 × close 4410",
            "5 sent, 4 answered, 0 delivered; 2 a second",
            "1 × code 503",
            "p99 3.00",
            "WARNING",
        ] {
            assert!(words.contains(expected), "{expected:?} is not in\n{words}");
        }
        assert!(report.is_alive());
    }
}

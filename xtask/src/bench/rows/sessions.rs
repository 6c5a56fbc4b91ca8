//! Rows of sessions: fan-out, handshakes, storms.

use anyhow::{Result, ensure};

use super::{Aim, Line, Row, in_turn, median};
use crate::bench::Effort;
use crate::bench::rig::Rig;

pub(super) fn fan_out(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let (baseline, pair) = (rig.baseline("echo")?, rig.pair()?);
    let key = rig.service_key();
    let times = if effort.quick { "5" } else { "20" };
    let mut lines = Vec::new();
    for (burst, least) in [(1_u32, 0.85), (8, 5.0)] {
        let burst = burst.to_string();
        let arguments = [
            "fanout", "-n", "10000", "--size", "256", "--burst", &burst, "--times", times,
        ];
        let pushed = [
            &arguments[..],
            &["--grpc", &pair.gateway.grpc, "--service-key-file", &key],
        ]
        .concat();
        let compared = in_turn(
            effort.rounds,
            || rig.bare(&baseline, &arguments).run()?.cpu_each(),
            || rig.load(&pair.gateway, &pushed).run()?.cpu_each(),
        )?;
        let what = format!("fan-out of 256 B to 10,000, burst of {burst} ÷ a bare loop of sends");
        lines.push(
            Line::new(Row::FanOut, what, compared.ratio, "×", Aim::AtLeast(least)).detail(compared.micros()),
        );
    }
    Ok(lines)
}

pub(super) fn handshake(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let (baseline, pair) = (rig.baseline("echo")?, rig.pair()?);
    let arguments = ["connect", "-n", "15000", "--duration", "0"];
    let each = |load: crate::bench::rig::Load| load.run()?.figure("server CPU a handshake");
    let compared = in_turn(
        effort.rounds,
        || each(rig.bare(&baseline, &arguments)),
        || each(rig.load(&pair.gateway, &arguments)),
    )?;
    let what = "handshake with token and bind ÷ baseline handshake, CPU";
    let line = Line::new(Row::Handshake, what, 1.0 / compared.ratio, "×", Aim::AtMost(2.0));
    Ok(vec![line.detail(compared.micros())])
}

/// A burst of logins by token. Redis runs on the load's core, as it would on a machine of its own.
pub(super) fn redis_binds(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let embedded = rig.pair()?;
    let (redis, port) = rig.redis()?;
    let shared = rig.pair_on_redis(port)?;
    let arguments = ["connect", "-n", "15000", "--duration", "0"];
    let each = |gateway| rig.load(gateway, &arguments).run()?.figure("handshakes");
    let compared = in_turn(
        effort.rounds,
        || each(&embedded.gateway),
        || each(&shared.gateway),
    )?;
    let what = "binds a second on Redis ÷ embedded";
    // The comparison is of costs: the baseline's by the other's.
    let line = Line::new(
        Row::RedisBinds,
        what,
        1.0 / compared.ratio,
        "×",
        Aim::AtLeast(0.7),
    );
    drop(redis);
    Ok(vec![line.detail(format!(
        "{:.0} a second against {:.0}",
        compared.ours, compared.base
    ))])
}

pub(super) fn storm(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let pair = rig.pair()?;
    let (mut ratios, mut detail) = (Vec::new(), String::new());
    for _ in 0..effort.rounds {
        let report = rig.load(&pair.gateway, &["storm", "-n", "10000"]).run()?;
        ratios.push(report.figure("cut ÷ first connect")?);
        detail = format!(
            "{:.2} s after {:.2} s in the last round",
            report.figure("all back after the cut")?,
            report.figure("first connect")?
        );
    }
    let what = "10,000 cut at once: time until all are bound again ÷ first connect";
    Ok(vec![
        Line::new(Row::Storm, what, median(ratios), "×", Aim::AtMost(1.3)).detail(detail),
    ])
}

/// 10,000 sockets are cut at once and come back after the waits of gateway-client, each at its own moment; others, who
/// were never there, are bound meanwhile. On Redis, which runs on the load's core.
pub(super) fn strangers(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let (redis, port) = rig.redis()?;
    let pair = rig.pair_on_redis(port)?;
    let seconds = effort.seconds.to_string();
    let arguments = [
        "storm",
        "-n",
        "10000",
        "--back-off",
        "--at-once",
        "10000",
        "--connect-rate",
        "4000",
        "--strangers",
        "200",
        "--duration",
        &seconds,
    ];
    let mut found = [
        ("before", Vec::new(), String::new()),
        ("after", Vec::new(), String::new()),
    ];
    for _ in 0..effort.rounds {
        let report = rig.load(&pair.gateway, &arguments).run()?;
        for (when, tails, detail) in &mut found {
            let figure = |name: &str| report.figure(&format!("strangers {name}"));
            let refused = figure(&format!("refused {when} the cut"))?;
            ensure!(
                refused == 0.0,
                "{refused} strangers were not bound {when} the cut"
            );
            tails.push(figure(&format!("bound {when} the cut, p99"))?);
            *detail = format!(
                "{} strangers, p50 {:.2} ms, at most {:.2} ms in the last round",
                figure(&format!("{when} the cut"))?,
                figure(&format!("bound {when} the cut, p50"))?,
                figure(&format!("bound {when} the cut, at most"))?,
            );
        }
        let back = report.figure("all back after the cut")?;
        let [_, (.., detail)] = &mut found;
        detail.push_str(&format!("; all back after {back:.2} s"));
    }
    drop(redis);
    let [(_, calm, before), (_, storm, after)] = found;
    let line = |what, tails, aim| Line::new(Row::Strangers, what, median(tails), "ms", aim);
    Ok(vec![
        line(
            "a stranger's bind on Redis while 10,000 that were cut come back, p99",
            storm,
            Aim::AtMost(100.0),
        )
        .detail(after),
        line("the same while the 10,000 are quiet, p99", calm, Aim::Told).detail(before),
    ])
}

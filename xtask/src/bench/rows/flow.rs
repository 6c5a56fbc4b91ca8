//! Rows of commands: echo, rpc, what the system is asked for, and how cost grows.

use std::time::Duration;

use anyhow::Result;

use super::{Aim, Compared, Line, Row, in_turn, median};
use crate::bench::Effort;
use crate::bench::rig::{Gateway, Rig};
use crate::bench::syscalls;

/// Messages a second of the open loop.
const OPEN_LOOP: &str = "20000";
/// Connections of one gateway process, below the limit of files.
const FULL: u32 = 18_000;
/// The row of growth: this many gateways, and connections over all of them.
const GATEWAYS: u32 = 6;
const MANY: u32 = 100_000;

fn arguments(scenario: &str, connections: u32, depth: u32, effort: Effort) -> Vec<String> {
    let mut arguments = vec![scenario.to_owned(), "-n".to_owned(), connections.to_string()];
    arguments.extend(["--depth".to_owned(), depth.to_string()]);
    arguments.extend(["--duration".to_owned(), effort.seconds.to_string()]);
    arguments.extend(["--warm-up".to_owned(), "1s".to_owned()]);
    arguments
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn echo_at(rig: &Rig, effort: Effort, connections: u32, depth: u32) -> Result<Compared> {
    let (baseline, pair) = (rig.baseline("echo")?, rig.pair()?);
    let arguments = arguments("echo", connections, depth, effort);
    in_turn(
        effort.rounds,
        || rig.bare(&baseline, &strs(&arguments)).run()?.cpu_each(),
        || rig.load(&pair.gateway, &strs(&arguments)).run()?.cpu_each(),
    )
}

pub(super) fn echo(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (connections, least) in [(100, 0.82), (1_000, 0.80), (10_000, 0.75)] {
        if effort.quick && connections != 1_000 {
            continue;
        }
        let compared = echo_at(rig, effort, connections, 1)?;
        let what = format!("echo, {connections} connections, 1 in flight ÷ baseline");
        lines.push(
            Line::new(Row::Echo, what, compared.ratio, "×", Aim::AtLeast(least)).detail(compared.micros()),
        );
    }
    Ok(lines)
}

pub(super) fn echo_pipelined(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let compared = echo_at(rig, effort, 1_000, 16)?;
    let what = "echo, 1000 connections, 16 in flight ÷ baseline";
    let line = Line::new(Row::EchoPipelined, what, compared.ratio, "×", Aim::AtLeast(0.33));
    Ok(vec![line.detail(compared.micros())])
}

pub(super) fn system_calls(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let pair = rig.pair()?;
    let mut lines = Vec::new();
    for (depth, most) in [(1, 2.1), (16, 0.15)] {
        let mut counts = Vec::new();
        for _ in 0..effort.rounds.min(3) {
            let arguments = arguments("echo", 1_000, depth, Effort { seconds: 6, ..effort });
            let load = rig.load(&pair.gateway, &strs(&arguments)).start()?;
            // Connecting and leaving are not counted.
            std::thread::sleep(Duration::from_millis(2_500));
            counts.push(syscalls::per_message(
                &pair.gateway,
                Duration::from_millis(2_500),
            )?);
            load.report()?;
        }
        let what = format!("system calls a message, 1000 connections, {depth} in flight");
        lines.push(Line::new(
            Row::SystemCalls,
            what,
            median(counts),
            "",
            Aim::AtMost(most),
        ));
    }
    Ok(lines)
}

pub(super) fn rpc(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let (baseline, pair) = (rig.baseline("hop")?, rig.pair()?);
    let mut lines = Vec::new();
    for (depth, least) in [(1, 0.85), (16, 0.80)] {
        let arguments = arguments("rpc", 1_000, depth, effort);
        let mut alone = Vec::new();
        let compared = in_turn(
            effort.rounds,
            || rig.bare(&baseline, &strs(&arguments)).run()?.cpu_each(),
            || {
                let both = rig.load(&pair.gateway, &strs(&arguments)).watch(&pair.services);
                let both = both.run()?.cpu_each()?;
                if !effort.quick {
                    alone.push(rig.load(&pair.gateway, &strs(&arguments)).run()?.cpu_each()?);
                }
                Ok(both)
            },
        )?;
        let what = format!("rpc, 1000 connections, {depth} in flight ÷ baseline hop");
        let mut detail = compared.micros();
        if !alone.is_empty() {
            detail.push_str(&format!("; the gateway's part {:.2} µs", median(alone)));
        }
        lines.push(Line::new(Row::Rpc, what, compared.ratio, "×", Aim::AtLeast(least)).detail(detail));
    }
    Ok(lines)
}

pub(super) fn rpc_open_loop(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let (baseline, pair) = (rig.baseline("hop")?, rig.pair()?);
    let seconds = effort.seconds.to_string();
    let arguments = [
        "rpc",
        "-n",
        "1000",
        "--rate",
        OPEN_LOOP,
        "--warm-up",
        "1s",
        "--duration",
        &seconds,
    ];
    let mut lines = Vec::new();
    let (mut p50, mut p99, mut details) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let base = rig.bare(&baseline, &arguments).run()?;
        let ours = rig.load(&pair.gateway, &arguments).run()?;
        let both = |pointer| Ok::<_, anyhow::Error>((base.at(pointer)?, ours.at(pointer)?));
        let (median, tail) = (both("/messages/reply/p50")?, both("/messages/reply/p99")?);
        p50.push(median.1 / median.0);
        p99.push(tail.1 / tail.0);
        details.push((median, tail));
    }
    let (median_ms, tail_ms) = details.pop().unwrap_or_default();
    for (name, ratios, most, (base, ours)) in [("p50", p50, 1.15, median_ms), ("p99", p99, 1.5, tail_ms)] {
        let what = format!("rpc at 20,000/s, {name} ÷ baseline hop");
        let detail = format!("{ours:.3} ms against {base:.3} ms in the last round");
        lines.push(Line::new(Row::RpcOpenLoop, what, median(ratios), "×", Aim::AtMost(most)).detail(detail));
    }
    Ok(lines)
}

/// CPU a message where `active` connections of each gateway's share send.
fn among(rig: &Rig, gateways: &[Gateway], connections: u32, effort: Effort) -> Result<f64> {
    let count = u32::try_from(gateways.len())?;
    let active = (1_000 / count).to_string();
    let share = (connections / count).to_string();
    let seconds = effort.seconds.to_string();
    let mut running = Vec::new();
    for (number, gateway) in (0..).zip(gateways) {
        let first = (number * FULL).to_string();
        let arguments = [
            "echo",
            "-n",
            &share,
            "--active",
            &active,
            "--first",
            &first,
            "--warm-up",
            "2s",
            "--duration",
            &seconds,
        ];
        running.push(rig.load(gateway, &arguments).start()?);
    }
    let mut each = Vec::new();
    for load in running {
        each.push(load.report()?.cpu_each()?);
    }
    Ok(each.iter().sum::<f64>() / each.len() as f64)
}

pub(super) fn growth(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let (_services, ports) = rig.services()?;
    let one = [rig.gateway(&ports)?];
    let full = in_turn(
        effort.rounds,
        || among(rig, &one, FULL, effort),
        || among(rig, &one, 1_000, effort),
    )?;
    let what = "CPU a message, 1000 active among 18,000 ÷ among 1000";
    let mut lines = vec![
        Line::new(Row::Growth, what, full.ratio, "×", Aim::AtMost(1.1))
            .detail(format!("{:.2} µs against {:.2} µs", full.base, full.ours)),
    ];
    drop(one);
    let six = (0..GATEWAYS)
        .map(|_| rig.gateway(&ports))
        .collect::<Result<Vec<_>>>()?;
    let many = in_turn(
        effort.rounds.min(3),
        || among(rig, &six, MANY, effort),
        || among(rig, &six, 1_000, effort),
    )?;
    let what = "CPU a message, 1000 active among 100,000 in six processes ÷ 1000 in the same six";
    lines.push(
        Line::new(Row::Growth, what, many.ratio, "×", Aim::AtMost(1.1))
            .detail(format!("{:.2} µs against {:.2} µs", many.base, many.ours)),
    );
    Ok(lines)
}

//! Rows of memory: a connection, a million of them, and time.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Aim, Line, Row};
use crate::bench::Effort;
use crate::bench::rig::{Gateway, Rig, line_of};

const FULL: u32 = 18_000;
const MILLION: u32 = 1_000_000;
const GIBIBYTE: f64 = 1_048_576.0;
/// How long idle gateways are watched.
const WATCHED: Duration = Duration::from_secs(30);
/// Two rounds of pings.
const PINGED: Duration = Duration::from_secs(50);

pub(super) fn idle(rig: &Rig) -> Result<Vec<Line>> {
    let pair = rig.pair()?;
    let arguments = ["idle", "-n", "18000", "--from", "2000", "--duration", "5s"];
    let report = rig.load(&pair.gateway, &arguments).run()?;
    let bytes = report.figure("user memory a connection")?;
    let kernel = report.figure("kernel memory a connection, both ends")?;
    let line = Line::new(
        Row::IdleMemory,
        "user memory a connection, RssAnon slope from 2000 to 18,000",
        bytes / 1_024.0,
        "KiB",
        Aim::AtMost(1.25),
    );
    Ok(vec![line.detail(format!(
        "{bytes:.0} bytes; the kernel's part, both ends: {kernel:.0} bytes"
    ))])
}

/// As many gateways as it takes, each with its own load process, all of them held at once. They do not ping: a million
/// pings in 25 s are more than the one core of all gateways has time for. What a ping costs, one gateway shows after it.
pub(super) fn million(rig: &Rig) -> Result<Vec<Line>> {
    let mut lines = idle_million(rig)?;
    lines.push(pings(rig)?);
    Ok(lines)
}

fn pings(rig: &Rig) -> Result<Line> {
    let pair = rig.pair()?;
    let arguments = [
        "idle",
        "-n",
        "18000",
        "--from",
        "1",
        "--rest",
        "1s",
        "--duration",
        "120s",
    ];
    let _load = rig.load(&pair.gateway, &arguments).start()?;
    wait_for(&pair.gateway, FULL)?;
    // The first round is spread over the interval that it took to connect.
    sleep(WATCHED);
    let share = cpu_share(std::slice::from_ref(&pair.gateway), PINGED)?;
    let each = share * 25.0 / f64::from(FULL) * 1e6;
    let line = Line::new(
        Row::Million,
        "CPU of a ping and its pong, 18,000 connections pinged every 25 s",
        each,
        "µs",
        Aim::Told,
    );
    Ok(line.detail(format!("{:.2} % of a core", share * 100.0)))
}

fn idle_million(rig: &Rig) -> Result<Vec<Line>> {
    let (_services, ports) = rig.services()?;
    let before = used_kibibytes()?;
    let (mut gateways, mut loads) = (Vec::new(), Vec::new());
    let count = MILLION.div_ceil(FULL);
    // Long enough for the others to connect; each is ended when all have been measured.
    let hold = (count * 30 + 240).to_string();
    for number in 0..count {
        let gateway = rig.gateway_without_pings(&ports)?;
        let share = FULL.min(MILLION - number * FULL).to_string();
        let first = (number * 20_000).to_string();
        let arguments = [
            "idle",
            "-n",
            &share,
            "--from",
            "1",
            "--rest",
            "1s",
            "--first",
            &first,
            "--duration",
            &hold,
        ];
        loads.push(rig.load(&gateway, &arguments).start()?);
        gateways.push(gateway);
        // One after the other: what is measured is memory, and each gets both cores to connect.
        wait_for(&gateways[number as usize], share.parse()?)?;
        if number % 10 == 9 {
            eprintln!("  {} of {count} gateways are full", number + 1);
        }
    }
    sleep(Duration::from_secs(5));
    let used = (used_kibibytes()? - before) / GIBIBYTE;
    let share = cpu_share(&gateways, WATCHED)?;
    let open: f64 = gateways.iter().map(open).sum::<Result<f64>>()?;
    ensure!(
        open >= f64::from(MILLION) * 0.999,
        "only {open:.0} were still bound when the last one was"
    );
    let what = "1,000,000 idle, bound connections: memory of gateways, load generator and kernel";
    Ok(vec![
        Line::new(Row::Million, what, used, "GiB", Aim::AtMost(12.0))
            .detail(format!("{open:.0} bound in {count} processes of each kind")),
        Line::new(
            Row::Million,
            "CPU of all gateways, no pings",
            share * 100.0,
            "% of a core",
            Aim::Told,
        ),
    ])
}

/// The part of a core that gateways take for so long.
fn cpu_share(gateways: &[Gateway], watched: Duration) -> Result<f64> {
    let total = || -> Result<f64> {
        gateways
            .iter()
            .map(|gateway| cpu_seconds(gateway.server.pid()))
            .sum()
    };
    let before = total()?;
    sleep(watched);
    Ok((total()? - before) / watched.as_secs_f64())
}

fn wait_for(gateway: &Gateway, wanted: u32) -> Result<()> {
    for _ in 0..1_200 {
        if open(gateway)? >= f64::from(wanted) {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    anyhow::bail!("a gateway did not fill: {} of {wanted}", open(gateway)?)
}

/// Sessions bound on it.
fn open(gateway: &Gateway) -> Result<f64> {
    let text = super::get(&gateway.http, "/metrics")?;
    text.lines()
        .find_map(|line| line.strip_prefix("gateway_sessions_bound "))
        .and_then(|value| value.trim().parse().ok())
        .context("the gateway has no count of sessions")
}

fn used_kibibytes() -> Result<f64> {
    let value = |name: &str| -> Result<f64> {
        let line = line_of(Path::new("/proc/meminfo"), name).with_context(|| format!("no {name}"))?;
        let number = line.split_whitespace().next().unwrap_or_default();
        Ok(number.parse()?)
    };
    // Not `MemAvailable`: it takes the slabs of open sockets for memory that can be had back.
    Ok(value("MemTotal:")? - value("MemFree:")? - value("Buffers:")? - value("Cached:")?)
}

/// CPU time of all threads of a process so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanos = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let first = stat.split_whitespace().next().unwrap_or_default();
        nanos += first.parse::<f64>()?;
    }
    Ok(nanos / 1e9)
}

pub(super) fn soak(rig: &Rig, effort: Effort) -> Result<Vec<Line>> {
    let pair = rig.pair()?;
    let (duration, first) = if effort.quick {
        ("20s", "5s")
    } else {
        ("10m", "60s")
    };
    let arguments = [
        "soak",
        "-n",
        "5000",
        "--users",
        "5000",
        "--think",
        "2s",
        "--duration",
        duration,
        "--first-look",
        first,
    ];
    let report = rig.load(&pair.gateway, &arguments).run()?;
    let growth = report.figure("end ÷ first look")?;
    let left = report.figure("after the last wave ÷ after the first")?;
    let mib = |name| -> Result<String> { Ok(format!("{:.1} MiB", report.figure(name)?)) };
    Ok(vec![
        Line::new(
            Row::Soak,
            format!("memory after {duration} of chat with 5000 clients ÷ after {first}"),
            growth,
            "×",
            Aim::AtMost(1.05),
        )
        .detail(format!(
            "{} after {}",
            mib("memory at the wave's end")?,
            mib("memory at the first look")?
        )),
        Line::new(
            Row::Soak,
            "the same ÷ half-way between the two, when what is remembered for two minutes is full",
            report.figure("end ÷ half-way")?,
            "×",
            Aim::Told,
        ),
        Line::new(
            Row::Soak,
            "memory after a second wave has left ÷ after the first",
            left,
            "×",
            Aim::AtMost(1.05),
        )
        .detail(mib("memory after a wave has left")?),
    ])
}

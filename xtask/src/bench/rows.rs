//! The rows of the table: what is measured, against what, and what it should reach.

mod flow;
mod memory;
mod sessions;

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Effort;
use super::rig::Rig;

/// One row; some give several lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    IdleMemory,
    Million,
    Echo,
    EchoPipelined,
    SystemCalls,
    Rpc,
    RpcOpenLoop,
    FanOut,
    Handshake,
    Storm,
    Growth,
    Soak,
    RedisBinds,
    Strangers,
}

impl Row {
    pub(crate) const ALL: [Self; 14] = [
        Self::IdleMemory,
        Self::Million,
        Self::Echo,
        Self::EchoPipelined,
        Self::SystemCalls,
        Self::Rpc,
        Self::RpcOpenLoop,
        Self::FanOut,
        Self::Handshake,
        Self::Storm,
        Self::Growth,
        Self::Soak,
        Self::RedisBinds,
        Self::Strangers,
    ];

    pub(crate) fn number(self) -> u32 {
        self as u32 + 1
    }

    /// Half a minute or more for a single round, where the others take seconds.
    pub(crate) fn takes_long(self) -> bool {
        matches!(
            self,
            Self::IdleMemory | Self::Million | Self::Growth | Self::Soak | Self::RedisBinds | Self::Strangers
        )
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::IdleMemory => "user memory of an idle, bound connection",
            Self::Million => "a million idle, bound connections",
            Self::Echo => "echo, one in flight",
            Self::EchoPipelined => "echo, 16 in flight",
            Self::SystemCalls => "system calls a message",
            Self::Rpc => "rpc through a back end",
            Self::RpcOpenLoop => "rpc at 20,000 a second, open loop",
            Self::FanOut => "fan-out to 10,000",
            Self::Handshake => "handshake with token and bind",
            Self::Storm => "10,000 cut at once and back",
            Self::Growth => "cost of a message as connections grow",
            Self::Soak => "memory over time",
            Self::RedisBinds => "binds on Redis",
            Self::Strangers => "a stranger's bind while 10,000 come back",
        }
    }

    pub(crate) fn measure(self, rig: &mut Rig, effort: Effort) -> Result<Vec<Line>> {
        match self {
            Self::IdleMemory => memory::idle(rig),
            Self::Million => memory::million(rig),
            Self::Echo => flow::echo(rig, effort),
            Self::EchoPipelined => flow::echo_pipelined(rig, effort),
            Self::SystemCalls => flow::system_calls(rig, effort),
            Self::Rpc => flow::rpc(rig, effort),
            Self::RpcOpenLoop => flow::rpc_open_loop(rig, effort),
            Self::FanOut => sessions::fan_out(rig, effort),
            Self::Handshake => sessions::handshake(rig, effort),
            Self::Storm => sessions::storm(rig, effort),
            Self::Growth => flow::growth(rig, effort),
            Self::Soak => memory::soak(rig, effort),
            Self::RedisBinds => sessions::redis_binds(rig, effort),
            Self::Strangers => sessions::strangers(rig, effort),
        }
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// Told, not judged.
    Told,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) row: u32,
    pub(crate) what: String,
    /// The judged figure: a ratio to the baseline, or in `unit`.
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) aim: Aim,
    /// What it was made of, for the reader.
    pub(crate) detail: String,
}

impl Line {
    fn new(row: Row, what: impl Into<String>, value: f64, unit: &str, aim: Aim) -> Self {
        Self {
            row: row.number(),
            what: what.into(),
            value,
            unit: unit.to_owned(),
            aim,
            detail: String::new(),
        }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(crate) fn reached(&self) -> &'static str {
        let reached = match self.aim {
            Aim::AtLeast(least) => self.value >= least,
            Aim::AtMost(most) => self.value <= most,
            Aim::Told => return "–",
        };
        if reached { "yes" } else { "no" }
    }

    pub(crate) fn aimed(&self) -> String {
        match self.aim {
            Aim::AtLeast(least) => format!("≥ {least}"),
            Aim::AtMost(most) => format!("≤ {most}"),
            Aim::Told => "–".to_owned(),
        }
    }

    pub(crate) fn shown(&self) -> String {
        let digits = match self.value.abs() {
            value if value >= 100.0 => 0,
            value if value >= 10.0 => 1,
            value if value < 0.1 => 3,
            _ => 2,
        };
        format!("{:.digits$} {}", self.value, self.unit)
            .trim_end()
            .to_owned()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, shown, aimed) = (&self.what, self.shown(), self.aimed());
        write!(
            f,
            "{what}: {shown} (aim {aimed}; reached: {}) {}",
            self.reached(),
            self.detail
        )
    }
}

/// Measures baseline and gateway in turn; the medians of both and of the ratio baseline ÷ gateway.
fn in_turn(
    rounds: usize,
    mut baseline: impl FnMut() -> Result<f64>,
    mut gateway: impl FnMut() -> Result<f64>,
) -> Result<Compared> {
    let (mut bases, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (base, our) = (baseline()?, gateway()?);
        bases.push(base);
        ours.push(our);
        ratios.push(base / our);
    }
    Ok(Compared {
        base: median(bases),
        ours: median(ours),
        ratio: median(ratios),
    })
}

struct Compared {
    base: f64,
    ours: f64,
    ratio: f64,
}

impl Compared {
    fn micros(&self) -> String {
        format!("{:.2} µs of CPU against {:.2} µs", self.ours, self.base)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The body of a GET, from an address on this machine.
pub(crate) fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_numbers_that_they_are_known_by() {
        assert!(Row::ALL.iter().map(|row| row.number()).eq(1..=14));
    }

    #[test]
    fn the_median_of_ratios_is_not_led_astray_by_one_bad_round() {
        let mut ours = [2.0, 9.0, 2.0].into_iter();
        let compared = in_turn(3, || Ok(1.0), || Ok(ours.next().unwrap())).unwrap();
        assert_eq!((compared.ratio, compared.ours), (0.5, 2.0));
    }

    #[test]
    fn a_line_says_whether_its_aim_is_reached() {
        let line = |value, aim| Line::new(Row::Echo, "echo", value, "×", aim).reached();
        assert_eq!(line(0.8, Aim::AtLeast(0.8)), "yes");
        assert_eq!(line(1.3, Aim::AtMost(1.25)), "no");
        assert_eq!(line(1.0, Aim::Told), "–");
    }
}

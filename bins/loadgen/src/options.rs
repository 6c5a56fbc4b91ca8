//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gateway_codec::Encoding;

/// Pressure for MyChat Gateway.
#[derive(Parser)]
#[command(name = "loadgen", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Opens connections, logs each in, holds them, and tells who was dropped.
    Connect(Settings),
    /// The same, then lets them write to each other at a fixed rate.
    Chat(Settings),
}

/// Which scenario, without its settings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Chat,
}

/// What both scenarios share.
#[derive(Args, Clone)]
pub(crate) struct Settings {
    /// The gateway's WebSocket.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: String,
    /// The gateway's HTTP API; given, every device is logged out at the end.
    #[arg(long)]
    pub(crate) http: Option<String>,
    /// How many connections.
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Connections a second while they are being made.
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub(crate) connect_rate: f64,
    /// Messages a second, all senders together (chat).
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// How long to hold or to chat, such as 500ms, 30s, 5m.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// How many accounts to use, `user1` on (mock-service --accounts makes them); as many as connections if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: Option<u32>,
    /// The accounts' password.
    #[arg(long, default_value = "password")]
    pub(crate) password: String,
    /// The platform of every device.
    #[arg(long, default_value = "android")]
    pub(crate) platform: String,
    /// Encoding of every connection.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    encoding: Form,
    /// Do not log in (connect); the gateway closes such connections after its own limit.
    #[arg(long)]
    pub(crate) anonymous: bool,
    /// Most commands without a reply, all connections together; past it sending waits, and the wait counts.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) in_flight: u32,
    /// Where to write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Json,
    Protobuf,
}

impl Cli {
    pub(crate) fn kind(&self) -> Kind {
        match self.scenario {
            Scenario::Connect(_) => Kind::Connect,
            Scenario::Chat(_) => Kind::Chat,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        match &self.scenario {
            Scenario::Connect(settings) | Scenario::Chat(settings) => settings,
        }
    }
}

impl Settings {
    pub(crate) fn encoding(&self) -> Encoding {
        match self.encoding {
            Form::Json => Encoding::Json,
            Form::Protobuf => Encoding::Protobuf,
        }
    }

    /// The account of a connection, counted from 0.
    pub(crate) fn user(&self, connection: u32) -> String {
        format!("user{}", connection % self.users.unwrap_or(self.connections) + 1)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 10_000_000.0 => Ok(rate),
        _ => Err("a number over 0 and up to 10,000,000".to_owned()),
    }
}

/// A number and its unit; plain numbers are seconds. At most a day.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("unit {unit:?}; there are ms, s, m, h")),
    };
    let seconds = number
        .parse::<f64>()
        .map_err(|_| format!("{number:?} is no number"))?
        * scale;
    if seconds > 86_400.0 {
        return Err("more than a day".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("1.5m").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("7").unwrap(), Duration::from_secs(7));
        for wrong in ["", "s", "5 parsecs", "25h", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["loadgen", "chat", "-n", "4", "--users", "3", "--rate", "50"]);
        assert!(cli.kind() == Kind::Chat);
        let users: Vec<_> = (0..4).map(|n| cli.settings().user(n)).collect();
        assert_eq!(users, ["user1", "user2", "user3", "user1"]);
    }
}

//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::orders::Encoding;

/// Pressure for MyChat Gateway: many clients, honest latencies.
///
/// Latencies count from the moment a message was meant to be sent, so what a slow server makes wait is in them.
/// It tests whatever it is pointed at: point it at your own.
#[derive(Parser)]
#[command(name = "loadgen", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Handshakes: how many a second, and what they cost.
    Connect(Common),
    /// Memory a connection, in the server and in the kernel.
    Idle {
        #[command(flatten)]
        common: Common,
        /// Count memory from this many connections on.
        #[arg(long, default_value_t = 2_000)]
        from: u32,
        /// How long connections rest before memory is looked at: longer than the gateway's interval of pings (25 s),
        /// at which it gives back what a connection has needed to begin.
        #[arg(long, default_value = "40s", value_parser = duration)]
        rest: Duration,
    },
    /// Heartbeats, which the gateway answers itself.
    Echo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        flow: Flow,
    },
    /// A command through a back end.
    Rpc {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        flow: Flow,
        /// The command; mock-service's echo by default.
        #[arg(long, default_value_t = 2_998)]
        cmd: u32,
        /// Bytes of its data.
        #[arg(long, default_value_t = 64)]
        size: u32,
    },
    /// Pushes to one user after the other.
    Push {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        source: Source,
        /// Pushes a second.
        #[arg(long, default_value_t = 1_000.0, value_parser = rate)]
        rate: f64,
    },
    /// One push to everybody, as a broadcast.
    Fanout {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        source: Source,
        /// Pushes right after each other.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        burst: u32,
        /// How many times.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        times: u32,
    },
    /// People who write, read and think.
    Chat {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        people: People,
    },
    /// All connections are cut at once and come back.
    Storm {
        #[command(flatten)]
        common: Common,
        /// Come back after the random waits of gateway-client, not at once.
        #[arg(long)]
        back_off: bool,
        /// New connections a second of others meanwhile, who come, are bound and go; and before the cut for as long as
        /// --duration, to compare. Their users are those after the connections' own.
        #[arg(long, value_parser = rate)]
        strangers: Option<f64>,
    },
    /// Chat for long, in waves of people who come and leave: does memory grow?
    Soak {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        people: People,
        /// How many waves; each stays for the duration.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
        waves: u32,
        /// When the first look at memory is taken in a wave.
        #[arg(long, default_value = "60s", value_parser = duration)]
        first_look: Duration,
    },
    /// A server without a framework, to measure against: the raw limit.
    Baseline {
        #[arg(value_enum)]
        kind: BaselineKind,
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// What this program starts to share the work.
    #[command(hide = true)]
    Worker,
}

/// What all scenarios share.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// The WebSocket: ws:// or wss://.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: String,
    /// Certificates to trust (PEM); needed for wss://.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// How many connections.
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub(crate) connections: u32,
    /// Number of the first connection, which names its user, its device and its source address: for several loadgens
    /// beside each other.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub(crate) first: u32,
    /// Connections a second while they are being made; as fast as it goes if not given.
    #[arg(long, value_parser = rate)]
    pub(crate) connect_rate: Option<f64>,
    /// Handshakes under way at once, in each process.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) at_once: u32,
    /// Time before measuring.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub(crate) warm_up: Duration,
    /// Time of measuring.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Processes to share the work; one for each 18,000 connections at least.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) processes: u32,
    /// Accounts, `user1` on (mock-service --accounts makes them); one for each connection if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: Option<u32>,
    /// File with the gateway's HS256 key: tokens are made here and shown in the handshake.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["anonymous", "baseline"])]
    pub(crate) key_file: Option<PathBuf>,
    /// Without a key: log in by command 1001 with this password.
    #[arg(long, default_value = "password")]
    pub(crate) password: String,
    /// Do not log in; the gateway closes such connections after its own limit.
    #[arg(long, conflicts_with = "baseline")]
    pub(crate) anonymous: bool,
    /// The other end is a baseline of this program.
    #[arg(long)]
    pub(crate) baseline: bool,
    /// The platform of every device.
    #[arg(long, default_value = "android")]
    pub(crate) platform: String,
    /// How messages are encoded.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    pub(crate) encoding: Form,
    /// Acknowledge pushes.
    #[arg(long)]
    pub(crate) ack: bool,
    /// Process whose CPU and memory are to be reported; may be given several times.
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,
    /// Where to write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where to write the report as a page with plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// How commands follow each other.
#[derive(Args, Clone, Copy)]
pub(crate) struct Flow {
    /// Closed loop: commands under way on each connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) depth: u32,
    /// Closed loop: connections that send; all if not given.
    #[arg(long)]
    pub(crate) active: Option<u32>,
    /// Open loop: commands a second, at fixed moments, whatever the answers do.
    #[arg(long, value_parser = rate, conflicts_with_all = ["depth", "active"])]
    pub(crate) rate: Option<f64>,
}

/// Where pushes come from.
#[derive(Args, Clone)]
pub(crate) struct Source {
    /// The gateway's gRPC address.
    #[arg(long, default_value = "http://127.0.0.1:8082")]
    pub(crate) grpc: String,
    /// File with a service key.
    #[arg(long, value_name = "FILE")]
    pub(crate) service_key_file: Option<PathBuf>,
    /// Bytes of a push's text.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) size: u32,
}

#[derive(Args, Clone, Copy)]
pub(crate) struct People {
    /// How long people think between two actions, on average.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub(crate) think: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum BaselineKind {
    /// A WebSocket echo, and POST /push for a bare loop of sends.
    Echo,
    /// WebSocket to raw length-prefixed TCP to an echo, and back.
    Hop,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Form {
    Json,
    Protobuf,
}

impl From<Form> for Encoding {
    fn from(form: Form) -> Self {
        match form {
            Form::Json => Self::Json,
            Form::Protobuf => Self::Protobuf,
        }
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
        let both = Cli::try_parse_from(["loadgen", "echo", "--rate", "5", "--depth", "2"]);
        assert!(both.is_err(), "a loop is open or closed");
    }
}

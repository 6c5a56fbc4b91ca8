//! What the fleet tells its workers, and what they answer: one JSON line each, on stdin and stdout.
//!
//! The first line is the [`Plan`]; it holds secrets, which therefore stand on no command line. Each [`Order`] is
//! answered by one [`Tidings::Done`] when it has come true; [`Tidings::Tick`] comes by itself.

use serde::{Deserialize, Serialize};

use crate::measure::{Counts, Latencies};

/// What a worker is for; never changes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    /// Number of this worker's first connection; the number names its user and device.
    pub(crate) first: u32,
    pub(crate) encoding: Encoding,
    pub(crate) login: Login,
    pub(crate) platform: String,
    /// Accounts, `user1` on.
    pub(crate) users: u32,
    /// The clients acknowledge pushes.
    pub(crate) acknowledge: bool,
    /// Handshakes under way at once.
    pub(crate) at_once: u32,
}

/// Where to.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    /// For TLS and the Host header.
    pub(crate) host: String,
    /// Resolved once.
    pub(crate) address: std::net::SocketAddr,
    pub(crate) path: String,
    /// `wss`: with TLS, trusting these certificates (PEM).
    pub(crate) tls: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
}

/// How a connection becomes bound.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Login {
    /// By a token in the handshake, made here with the gateway's HS256 key.
    Key(String),
    /// By command 1001 with this password.
    Password(String),
    /// Not at all.
    Anonymous,
    /// The other end is a baseline: it greets nobody.
    Baseline,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Have `count` connections. Done when each is bound or has failed.
    Connect {
        count: u32,
        /// New ones a second; none is as fast as it goes.
        rate: Option<f64>,
    },
    /// Send from now on.
    Load(Load),
    /// What is measured begins now.
    Mark,
    /// Send no more. Done when all is answered, or after a while.
    Quiet,
    /// Cut all connections at once and bring each back. Done when all are bound again, or have failed for good.
    Storm {
        /// With the waits of gateway-client; else at once.
        back_off: bool,
    },
    /// Close all connections.
    Leave,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Load {
    /// Each of the `active` connections has `depth` messages under way.
    Closed {
        active: u32,
        depth: u32,
        message: Message,
    },
    /// Messages at fixed moments, connections in turn.
    Open { rate: f64, message: Message },
    /// Each client thinks, for this long on average, then does what people do.
    Chat { think_ms: f64 },
    /// New connections at fixed moments, so many a second, each with a user of its own: they are bound and go.
    Visits { rate: f64 },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Message {
    Heartbeat,
    /// A command with this many bytes of data.
    Command {
        cmd_id: u32,
        size: u32,
    },
}

/// What a worker says.
#[derive(Serialize, Deserialize)]
pub(crate) enum Tidings {
    Tick(Tick),
    /// The order has come true. With the counts since the last mark.
    Done(Box<Counts>),
}

/// How it goes, twice a second.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tick {
    pub(crate) open: u64,
    /// Replies and deliveries since the start.
    pub(crate) done: u64,
    pub(crate) errors: u64,
    /// Latencies of the last interval.
    pub(crate) latencies: Latencies,
}

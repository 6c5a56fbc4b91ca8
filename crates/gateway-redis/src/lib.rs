//! Redis as the stores of the gateway use it: one server, Sentinel or Cluster behind one handle.
//!
//! Commands of all tasks share a few multiplexed connections: one taken out of a pool for each costs a second round trip
//! and was measured at a tenth of the throughput. A multiplexed connection that breaks does not come back by itself, so a
//! supervisor replaces it. A command that meets a broken connection is sent again on another one within its response time,
//! unless it may have been carried out and carrying it out twice would do harm: each script declares which it is. This crate
//! does not know what any key means.
//!
//! | module | owns |
//! |---|---|
//! | `topology` | where to connect to, and how |
//! | `connections` | the shared connections and their supervisor |
//! | `exchange` | commands over one connection, and what may be sent again |
//! | `command` | commands and scripts, before they are sent |
//! | `subscription` | pub/sub connections that come back |
//! | `hash_tag` | names inside the braces of a key |
//! | `error` | what goes wrong, in the words that callers act on |
//! | `testing` | real servers for tests, with the feature `test-util` |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod backoff;
mod command;
mod connections;
mod error;
mod exchange;
mod hash_tag;
mod metrics;
mod subscription;
#[cfg(feature = "test-util")]
pub mod testing;
mod topology;

use std::sync::Arc;

use tokio::runtime::Handle;

pub use deadpool_redis::redis::{FromRedisValue, ToRedisArgs, Value};

pub use self::command::{Command, Script};
use self::connections::Connections;
pub use self::error::{RedisError, SetupError, read};
pub use self::hash_tag::hash_tag;
pub use self::subscription::{Message, Subscription};
use self::topology::Topology;

/// A Redis, whatever it is made of. Cheap to clone; what runs in the background ends with [`close`](Self::close), or when
/// the last handle is dropped.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    prefix: String,
    waits: subscription::Waits,
    connections: Connections,
}

/// Checks what [`Redis::new`] would not take: addresses, and certificates that cannot be read. Connects to nothing.
///
/// # Errors
/// As [`Redis::new`].
pub fn check(settings: &gateway_config::Redis) -> Result<(), SetupError> {
    Topology::new(settings).map(drop)
}

impl Redis {
    /// Never waits for a server: connections are made in the background, on `runtime`, and come back by themselves.
    ///
    /// # Errors
    /// An address that is none, or certificates that cannot be read.
    pub fn new(settings: &gateway_config::Redis, runtime: Handle) -> Result<Self, SetupError> {
        let topology = Arc::new(Topology::new(settings)?);
        let waits = subscription::Waits {
            idle: settings.idle_timeout,
            response: settings.response_timeout,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                prefix: settings.key_prefix.clone(),
                waits,
                connections: Connections::new(topology, settings, runtime),
            }),
        })
    }

    /// A key or channel with the configured prefix before it.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.inner.prefix)
    }

    /// One command within the configured response time; one round trip, unless a connection is lost on the way. It fails
    /// at once while 16,384 commands are under way, and while no connection can be made: after the last one was lost, the
    /// next is waited for up to 250 ms.
    ///
    /// # Errors
    /// [`RedisError`]. With anything but [`RedisError::Refused`] it may have been carried out.
    pub async fn run(&self, command: Command) -> Result<Value, RedisError> {
        self.inner.connections.run(command).await
    }

    /// Many commands at once; as many replies, in the same order. One that fails does not fail the others.
    ///
    /// On a single server and with Sentinel they are one pipeline (of 4,096 at most, then another). On a Cluster they go
    /// side by side, 256 at a time, each to its own node. Scripts that the server does not know yet are carried out after
    /// the other commands.
    pub async fn run_all(&self, commands: Vec<Command>) -> Vec<Result<Value, RedisError>> {
        self.inner.connections.run_all(commands).await
    }

    /// Hears these channels from now on, on a connection of its own that comes back by itself. What is published while it
    /// is away is not heard. Never waits for a server.
    #[must_use]
    pub fn subscribe(&self, channels: Vec<String>) -> Subscription {
        self.inner.connections.subscribe(channels, self.inner.waits)
    }

    /// Whether any shared connection stands. A server that hangs may not have been noticed yet.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.inner.connections.is_available()
    }

    /// Whether the server answers, asked now; on a Cluster, whether some node does.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.inner.connections.ping().await
    }

    /// Ends what runs in the background, subscriptions too, and waits for it. Commands fail from then on.
    pub async fn close(&self) {
        self.inner.connections.close().await;
    }
}

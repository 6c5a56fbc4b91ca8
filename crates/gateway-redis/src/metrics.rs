//! The names and handles of this crate's metrics. None has a label by key or channel.

use metrics::{Counter, Gauge, counter, gauge};

use crate::RedisError;

/// The handles; cheap to clone.
#[derive(Clone)]
pub(crate) struct RedisMetrics {
    pub(crate) commands: Counter,
    /// A pipeline is one.
    pub(crate) round_trips: Counter,
    /// Commands sent again after a connection was lost or a server could not serve.
    pub(crate) repeated: Counter,
    pub(crate) connections: Gauge,
    pub(crate) messages_dropped: Counter,
    unavailable: Counter,
    timed_out: Counter,
    refused: Counter,
    unexpected: Counter,
}

impl RedisMetrics {
    pub(crate) fn new() -> Self {
        let errors = |kind| counter!("gateway_redis_errors_total", "kind" => kind);
        Self {
            commands: counter!("gateway_redis_commands_total"),
            round_trips: counter!("gateway_redis_round_trips_total"),
            repeated: counter!("gateway_redis_repeated_commands_total"),
            connections: gauge!("gateway_redis_connections"),
            messages_dropped: counter!("gateway_redis_subscription_messages_dropped_total"),
            unavailable: errors("unavailable"),
            timed_out: errors("timed_out"),
            refused: errors("refused"),
            unexpected: errors("unexpected"),
        }
    }

    pub(crate) fn failed(&self, error: &RedisError) {
        let counter = match error {
            RedisError::Unavailable(_) => &self.unavailable,
            RedisError::TimedOut => &self.timed_out,
            RedisError::Refused(_) => &self.refused,
            RedisError::Unexpected(_) => &self.unexpected,
        };
        counter.increment(1);
    }
}

//! The router's metrics: every name in one place, handles made once per service.
//!
//! Labels are the service and, for calls, the result; never a user, a session or an endpoint's address.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::error::RouterError;

/// How a call ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallResult {
    Success,
    Refused,
    NoEndpoint,
    Overloaded,
    Timeout,
    Disconnected,
    Upstream,
    BadReply,
    ReplyTooLarge,
    Cancelled,
}

const RESULTS: [(CallResult, &str); 10] = [
    (CallResult::Success, "success"),
    (CallResult::Refused, "refused"),
    (CallResult::NoEndpoint, "no_endpoint"),
    (CallResult::Overloaded, "overloaded"),
    (CallResult::Timeout, "timeout"),
    (CallResult::Disconnected, "disconnected"),
    (CallResult::Upstream, "upstream"),
    (CallResult::BadReply, "bad_reply"),
    (CallResult::ReplyTooLarge, "reply_too_large"),
    (CallResult::Cancelled, "cancelled"),
];

impl From<&RouterError> for CallResult {
    fn from(error: &RouterError) -> Self {
        match error {
            RouterError::UnknownService | RouterError::NoEndpoint => Self::NoEndpoint,
            RouterError::Overloaded => Self::Overloaded,
            RouterError::Timeout => Self::Timeout,
            RouterError::Disconnected | RouterError::ShuttingDown => Self::Disconnected,
            RouterError::Upstream { .. } => Self::Upstream,
            RouterError::BadReply => Self::BadReply,
            RouterError::ReplyTooLarge => Self::ReplyTooLarge,
        }
    }
}

/// Handles of one service.
pub(crate) struct Telemetry {
    service: String,
    calls: [Counter; RESULTS.len()],
    /// Commands between `call` and their end.
    pub(crate) in_flight: Gauge,
    /// Seconds from `call` to its end, repeats included.
    pub(crate) latency: Histogram,
    /// Commands that were sent or placed again.
    pub(crate) retries: Counter,
    /// Streams opened after the first one of a lane.
    pub(crate) reconnects: Counter,
    /// Connections that their server announced to close.
    pub(crate) drains: Counter,
    /// Commands per batch written to a stream.
    pub(crate) batch: Histogram,
    /// Replies that nobody waits for: late, repeated or made up.
    pub(crate) unclaimed: Counter,
}

impl Telemetry {
    pub(crate) fn new(service: &str) -> Self {
        let label = service.to_owned();
        Self {
            calls: RESULTS.map(|(_, result)| {
                counter!("gateway_router_calls_total", "service" => label.clone(), "result" => result)
            }),
            in_flight: gauge!("gateway_router_calls_in_flight", "service" => label.clone()),
            latency: histogram!("gateway_router_call_duration_seconds", "service" => label.clone()),
            retries: counter!("gateway_router_retries_total", "service" => label.clone()),
            reconnects: counter!("gateway_router_lane_reconnects_total", "service" => label.clone()),
            drains: counter!("gateway_router_lane_drains_total", "service" => label.clone()),
            batch: histogram!("gateway_router_batch_commands", "service" => label.clone()),
            unclaimed: counter!("gateway_router_unclaimed_replies_total", "service" => label.clone()),
            service: label,
        }
    }

    /// The service's name, for log lines.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn ended(&self, result: CallResult) {
        // `RESULTS` lists them in the order of their declaration.
        self.calls[result as usize].increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_where_they_are_counted() {
        for (at, (result, _)) in RESULTS.iter().enumerate() {
            assert_eq!(*result as usize, at);
        }
    }
}

//! The default table of routes.

use std::time::Duration;

use super::{Handler, LocalHandler, RouteRule, Sensitivity};
use crate::services::ServiceName;

/// How long a route without `timeout_ms` may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

const HERE: &[(u32, LocalHandler)] = &[
    (1, LocalHandler::Heartbeat),
    (3001, LocalHandler::Heartbeat),
    (4, LocalHandler::RefreshToken),
    (1001, LocalHandler::Login),
    (1002, LocalHandler::VerifyToken),
    (5006, LocalHandler::PushAck),
];

const SERVICES: &[(u32, u32, &str)] = &[
    (1001, 1999, "user"),
    (2001, 2999, "message"),
    (3001, 3999, "friend"),
    (4001, 4999, "group"),
    (5001, 5999, "push"),
];

/// The sensitivity of a route that gives none: what the default table has for its handler.
pub(super) fn sensitivity(handler: &Handler) -> Sensitivity {
    match handler {
        Handler::Local(
            LocalHandler::Heartbeat
            | LocalHandler::RefreshToken
            | LocalHandler::Login
            | LocalHandler::VerifyToken,
        ) => Sensitivity::Public,
        Handler::Local(LocalHandler::PushAck) | Handler::Service(_) => Sensitivity::Normal,
    }
}

/// The default table.
pub(super) fn routes() -> Vec<RouteRule> {
    let rule = |first, last, handler: Handler| RouteRule {
        commands: first..=last,
        timeout: TIMEOUT,
        retry_count: 0,
        sensitivity: sensitivity(&handler),
        idempotent: false,
        handler,
    };
    let here = HERE
        .iter()
        .map(|(cmd_id, local)| rule(*cmd_id, *cmd_id, Handler::Local(*local)));
    let services = SERVICES.iter().filter_map(|(first, last, name)| {
        let name: ServiceName = name.parse().ok()?;
        Some(rule(*first, *last, Handler::Service(name)))
    });
    here.chain(services).collect()
}

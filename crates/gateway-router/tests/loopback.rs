//! The router against real gRPC servers on loopback sockets.

#![expect(clippy::unwrap_used, reason = "test helpers")]

#[path = "loopback/backend.rs"]
mod backend;
#[path = "loopback/calls.rs"]
mod calls;
#[path = "loopback/failures.rs"]
mod failures;
#[path = "loopback/manners.rs"]
mod manners;
#[path = "loopback/raw.rs"]
mod raw;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_codec::proto::backend::{CommandReply, CommandRequest};
use gateway_config::{Handler, RouteRule, Routing, Sensitivity, Service, ServiceName};
use gateway_router::{CallLimits, EndpointState, Flow, Router, RouterError};

use backend::Server;

const LIMITS: CallLimits = CallLimits {
    timeout: Duration::from_secs(10),
    retry_count: 3,
    idempotent: true,
};

fn name(service: &str) -> ServiceName {
    service.parse().unwrap()
}

fn router_with(services: &[(&str, &[&Server])], change: impl Fn(&mut Service)) -> Arc<Router> {
    let services: BTreeMap<_, _> = services
        .iter()
        .map(|(service, servers)| {
            let endpoints: Vec<_> = servers
                .iter()
                .map(|server| server.uri().parse().unwrap())
                .collect();
            let mut config = Service {
                endpoints,
                ..Service::default()
            };
            change(&mut config);
            (name(service), config)
        })
        .collect();
    Arc::new(Router::new(&Routing::default(), &services).unwrap())
}

fn router(services: &[(&str, &[&Server])]) -> Arc<Router> {
    router_with(services, |_| {})
}

fn request(session: &str, seq: u64) -> CommandRequest {
    CommandRequest {
        request_id: format!("{session}-{seq}"),
        cmd_id: 2001,
        seq,
        session_id: session.to_owned(),
        ..Default::default()
    }
}

async fn call_once(router: &Router, service: &str, limits: CallLimits) -> Result<CommandReply, RouterError> {
    router
        .call(&Flow::new(), &name(service), request("s", 1), limits)
        .await
}

/// Waits until the service's endpoints are in these states.
async fn until(router: &Router, service: &str, states: &[EndpointState]) {
    eventually(|| {
        router.health().iter().any(|health| {
            health.service == name(service)
                && health
                    .endpoints
                    .iter()
                    .map(|endpoint| endpoint.state)
                    .eq(states.iter().copied())
        })
    })
    .await;
}

async fn eventually(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it did not come true in 10 s"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

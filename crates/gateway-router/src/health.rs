//! Which endpoints serve, by the standard `grpc.health.v1`.
//!
//! One task per endpoint watches the status of `mychat.backend.v1.Backend`, or of the whole server where that name is
//! not registered. A server without the health service counts as healthy while it answers at all. What cannot be
//! reached is tried again with jittered back-off, and at once when a lane has doubts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use gateway_config::ServiceName;

use crate::backoff::Backoff;
use crate::endpoint::{Endpoint, EndpointState};

/// Tried in this order: the service itself, then the server as a whole.
const NAMES: [&str; 2] = ["mychat.backend.v1.Backend", ""];
/// Between tries of an endpoint that is down.
const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(2);
/// Between checks where the server has no health service.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);
/// Beyond connecting, a health answer takes no longer than this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// After a watch that had answered broke.
const BROKEN_PAUSE: Duration = Duration::from_millis(10);
/// Doubts of many lanes at once are one check.
const DOUBT_PAUSE: Duration = Duration::from_millis(20);

/// The health of one service, for readiness and operators.
#[derive(Debug, Clone)]
pub struct ServiceHealth {
    /// The service.
    pub service: ServiceName,
    /// Its endpoints in the configured order.
    pub endpoints: Vec<EndpointHealth>,
    /// Commands in flight to it.
    pub in_flight: usize,
}

impl ServiceHealth {
    /// Whether at least one endpoint is healthy.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.endpoints
            .iter()
            .any(|endpoint| endpoint.state == EndpointState::Healthy)
    }
}

/// The health of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointHealth {
    /// As configured.
    pub uri: String,
    /// What is known of it.
    pub state: EndpointState,
}

/// Keeps one endpoint's state true until `stop`.
pub(crate) async fn watch(endpoint: Arc<Endpoint>, stop: CancellationToken) {
    let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = observe(&endpoint, &mut backoff) => {}
        }
        // What served until now may just have been restarted: in doubt, and asked again at once. What did not even
        // answer is down.
        let pause = if endpoint.state() == EndpointState::Healthy {
            endpoint.mark(EndpointState::Unknown);
            BROKEN_PAUSE
        } else {
            endpoint.mark(EndpointState::Unhealthy);
            backoff.step()
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// Follows the endpoint's status; returns when it cannot any more.
async fn observe(endpoint: &Endpoint, backoff: &mut Backoff) {
    let mut client = HealthClient::new(endpoint.control.clone());
    let first_answer = endpoint.connect_timeout + ANSWER_TIMEOUT;
    for name in NAMES {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let mut updates = match timeout(first_answer, client.watch(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) if status.code() == tonic::Code::NotFound => continue,
            Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => break,
            Ok(Err(_)) | Err(_) => return,
        };
        let mut update = timeout(first_answer, updates.message()).await;
        loop {
            match update {
                Ok(Ok(Some(answer))) if is_unknown(&answer) && !name.is_empty() => break,
                Ok(Ok(Some(answer))) => apply(endpoint, &answer, backoff),
                Ok(Err(status)) if status.code() == tonic::Code::NotFound => break,
                Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => {
                    return observe_plain(endpoint, &mut client, backoff).await;
                }
                Ok(Ok(None) | Err(_)) | Err(_) => return,
            }
            update = loop {
                tokio::select! {
                    message = updates.message() => break Ok(message),
                    () = endpoint.doubt.notified() => {
                        sleep(DOUBT_PAUSE).await;
                        if !still_serves(endpoint, &mut client, name, backoff).await {
                            return;
                        }
                    }
                }
            };
        }
    }
    observe_plain(endpoint, &mut client, backoff).await;
}

/// For servers without (usable) health service: healthy while they answer.
async fn observe_plain(
    endpoint: &Endpoint,
    client: &mut HealthClient<tonic::transport::Channel>,
    backoff: &mut Backoff,
) {
    let limit = endpoint.connect_timeout + ANSWER_TIMEOUT;
    loop {
        let request = HealthCheckRequest {
            service: String::new(),
        };
        match timeout(limit, client.check(request)).await {
            Ok(Ok(answer)) => apply(endpoint, answer.get_ref(), backoff),
            Ok(Err(status))
                if matches!(status.code(), tonic::Code::Unimplemented | tonic::Code::NotFound) =>
            {
                endpoint.mark(EndpointState::Healthy);
                backoff.reset();
            }
            Ok(Err(_)) | Err(_) => return,
        }
        tokio::select! {
            () = sleep(PLAIN_INTERVAL) => {}
            () = endpoint.doubt.notified() => sleep(DOUBT_PAUSE).await,
        }
    }
}

/// A lane has doubts: ask now.
async fn still_serves(
    endpoint: &Endpoint,
    client: &mut HealthClient<tonic::transport::Channel>,
    name: &str,
    backoff: &mut Backoff,
) -> bool {
    let request = HealthCheckRequest {
        service: name.to_owned(),
    };
    match timeout(endpoint.connect_timeout + ANSWER_TIMEOUT, client.check(request)).await {
        Ok(Ok(answer)) => {
            apply(endpoint, answer.get_ref(), backoff);
            true
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

fn apply(endpoint: &Endpoint, answer: &HealthCheckResponse, backoff: &mut Backoff) {
    if answer.status == ServingStatus::Serving as i32 {
        endpoint.mark(EndpointState::Healthy);
        backoff.reset();
    } else {
        endpoint.mark(EndpointState::Unhealthy);
    }
}

fn is_unknown(answer: &HealthCheckResponse) -> bool {
    answer.status == ServingStatus::ServiceUnknown as i32
}

//! Which endpoints serve, by the standard `grpc.health.v1`.
//!
//! One task per endpoint watches the status of `mychat.backend.v1.Backend`, or of the whole server where that name is
//! not registered. A server without the health service, or whose health service knows neither name, counts as healthy
//! while it answers at all. What cannot be reached is tried again with jittered back-off, and at once when a lane has
//! doubts.
//!
//! A watch that breaks is no verdict: servers close aged connections (`MAX_CONNECTION_AGE`). A check then decides, and
//! the endpoint keeps its state until that has answered. Checks use a new connection each, because an old one may be
//! draining.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
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
/// A watch that broke sooner is repeated with back-off.
const WATCH_LASTED: Duration = Duration::from_secs(1);
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
    tokio::select! {
        () = stop.cancelled() => {}
        never = keep(&endpoint) => match never {},
    }
}

async fn keep(endpoint: &Endpoint) -> Infallible {
    let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
    let mut rewatch = Backoff::new(RETRY_BASE, RETRY_CAP);
    loop {
        let started = Instant::now();
        observe(endpoint, &mut backoff).await;
        // It served until now. The server may have ended the watch with its connection, or be gone.
        if endpoint.state() != EndpointState::Unhealthy && ask(endpoint, &mut backoff).await {
            if started.elapsed() > WATCH_LASTED {
                rewatch.reset();
            } else {
                sleep(rewatch.step()).await;
            }
            continue;
        }
        endpoint.mark(EndpointState::Unhealthy);
        sleep(backoff.step()).await;
    }
}

/// Follows the endpoint's status; returns when it cannot any more.
async fn observe(endpoint: &Endpoint, backoff: &mut Backoff) {
    let mut client = HealthClient::new(endpoint.watch.clone()).accept_compressed(CompressionEncoding::Gzip);
    let first_answer = endpoint.connect_timeout + ANSWER_TIMEOUT;
    for name in NAMES {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let mut updates = match timeout(first_answer, client.watch(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) if status.code() == Code::NotFound => continue,
            Ok(Err(status)) if status.code() == Code::Unimplemented => break,
            Ok(Err(_)) | Err(_) => return,
        };
        let mut update = timeout(first_answer, updates.message()).await;
        loop {
            match update {
                Ok(Ok(Some(answer))) if is_unknown(&answer) && !name.is_empty() => break,
                Ok(Ok(Some(answer))) => apply(endpoint, &answer, backoff),
                Ok(Err(status)) if status.code() == Code::NotFound => break,
                Ok(Err(status)) if status.code() == Code::Unimplemented => {
                    return observe_plain(endpoint, backoff).await;
                }
                Ok(Ok(None) | Err(_)) | Err(_) => return,
            }
            update = loop {
                tokio::select! {
                    message = updates.message() => break Ok(message),
                    () = endpoint.doubt.notified() => {
                        sleep(DOUBT_PAUSE).await;
                        if !ask(endpoint, backoff).await {
                            return endpoint.mark(EndpointState::Unhealthy);
                        }
                    }
                }
            };
        }
    }
    observe_plain(endpoint, backoff).await;
}

/// For servers whose health service is missing, or gives no watch: asked again and again.
async fn observe_plain(endpoint: &Endpoint, backoff: &mut Backoff) {
    while ask(endpoint, backoff).await {
        tokio::select! {
            () = sleep(PLAIN_INTERVAL) => {}
            () = endpoint.doubt.notified() => sleep(DOUBT_PAUSE).await,
        }
    }
    endpoint.mark(EndpointState::Unhealthy);
}

/// Asks on a connection of its own and takes over the answer. `false` if there is none.
async fn ask(endpoint: &Endpoint, backoff: &mut Backoff) -> bool {
    let limit = endpoint.connect_timeout + ANSWER_TIMEOUT;
    match timeout(limit, check(endpoint)).await {
        Ok(Ok(answer)) => {
            apply(endpoint, &answer, backoff);
            true
        }
        Ok(Err(error)) => {
            tracing::debug!(endpoint = %endpoint.uri, %error, "a health check failed");
            false
        }
        Err(_) => {
            tracing::debug!(endpoint = %endpoint.uri, "a health check was not answered in time");
            false
        }
    }
}

async fn check(endpoint: &Endpoint) -> Result<HealthCheckResponse, Status> {
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let mut client = HealthClient::new(channel).accept_compressed(CompressionEncoding::Gzip);
    for name in NAMES {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        match client.check(request).await {
            Ok(answer) if is_unknown(answer.get_ref()) => {}
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) if status.code() == Code::Unimplemented => break,
            Err(status) => return Err(status),
        }
    }
    // It answers, and says nothing about itself.
    Ok(HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    })
}

fn apply(endpoint: &Endpoint, answer: &HealthCheckResponse, backoff: &mut Backoff) {
    if answer.status == ServingStatus::Serving as i32 || is_unknown(answer) {
        endpoint.mark(EndpointState::Healthy);
        backoff.reset();
    } else {
        endpoint.mark(EndpointState::Unhealthy);
    }
}

fn is_unknown(answer: &HealthCheckResponse) -> bool {
    answer.status == ServingStatus::ServiceUnknown as i32
}

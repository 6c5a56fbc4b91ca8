//! One endpoint of a service: how to connect to it, and what is known of its health.
//!
//! The state is shared by all workers. Health checks decide it; a lane that breaks makes it `Unknown`, and one that
//! cannot connect makes it `Unhealthy`, and both ask for a check at once.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tonic::transport::{Channel, Endpoint as Template};

use crate::backend::EndpointId;

/// HTTP/2 windows of one stream and of one connection, in bytes.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// A peer that vanished without a word is noticed after at most the sum of these.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndpointState {
    /// No answer yet, or its connection just broke: used only where no endpoint is healthy.
    Unknown = 0,
    /// It serves.
    Healthy = 1,
    /// It does not serve, or cannot be reached.
    Unhealthy = 2,
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    /// As configured; shown to operators, never to clients.
    pub(crate) uri: String,
    pub(crate) connect_timeout: Duration,
    template: Template,
    /// Carries health checks and the rare unary calls.
    pub(crate) control: Channel,
    state: AtomicU8,
    /// Somebody doubts the state.
    pub(crate) doubt: Notify,
}

impl Endpoint {
    /// Connects nothing yet. Must be called inside a Tokio runtime: the control connection will live there.
    pub(crate) fn new(
        id: EndpointId,
        uri: String,
        connect_timeout: Duration,
    ) -> Result<Self, tonic::transport::Error> {
        let template = Template::from_shared(uri.clone())?
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let control = template.connect_lazy();
        let state = AtomicU8::new(EndpointState::Unknown as u8);
        Ok(Self {
            id,
            uri,
            connect_timeout,
            template,
            control,
            state,
            doubt: Notify::new(),
        })
    }

    /// A connection of its own, driven on the runtime that this is called on.
    pub(crate) async fn connect(&self) -> Option<Channel> {
        match tokio::time::timeout(self.connect_timeout, self.template.connect()).await {
            Ok(Ok(channel)) => Some(channel),
            Ok(Err(error)) => {
                tracing::debug!(endpoint = %self.uri, %error, "connecting failed");
                None
            }
            Err(_) => {
                tracing::debug!(endpoint = %self.uri, "connecting took too long");
                None
            }
        }
    }

    pub(crate) fn state(&self) -> EndpointState {
        match self.state.load(Ordering::Relaxed) {
            1 => EndpointState::Healthy,
            2 => EndpointState::Unhealthy,
            _ => EndpointState::Unknown,
        }
    }

    /// Sets the state, and logs a change.
    pub(crate) fn mark(&self, state: EndpointState) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            match state {
                EndpointState::Unhealthy => tracing::warn!(endpoint = %self.uri, "endpoint is unhealthy"),
                EndpointState::Healthy => tracing::info!(endpoint = %self.uri, "endpoint is healthy"),
                EndpointState::Unknown => tracing::info!(endpoint = %self.uri, "endpoint is in doubt"),
            }
        }
    }

    /// A stream to it broke: it may still be there.
    pub(crate) fn doubt(&self) {
        if self.state() == EndpointState::Healthy {
            self.mark(EndpointState::Unknown);
        }
        self.doubt.notify_one();
    }

    /// A lane could not connect to it.
    pub(crate) fn unreachable(&self) {
        self.mark(EndpointState::Unhealthy);
        self.doubt.notify_one();
    }
}

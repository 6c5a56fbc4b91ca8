//! One endpoint of a service: how to connect to it, and what is known of its health.
//!
//! The state is shared by all workers. Health checks decide it; a lane that breaks makes it `Unknown`, one that cannot
//! connect makes it `Unhealthy`, and both ask for a check at once, as does one whose commands time out while nothing
//! comes back.
//!
//! No connection to a back end sends HTTP/2 pings: gRPC servers count pings that come more often than every five
//! minutes as abuse and close the connection (`ENHANCE_YOUR_CALM`, "too_many_pings"). TCP notices a host that is gone:
//! see [`socket`](crate::socket). A process that hangs is noticed by its commands' deadlines.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::codegen::Service as _;
use tonic::transport::{Channel, Endpoint as Template};

use crate::backend::EndpointId;
use crate::socket;

/// HTTP/2 windows of one stream and of one connection, in bytes.
pub(crate) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Commands that time out in a row ask for one check.
const SILENCE_PAUSE: Duration = Duration::from_secs(1);

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
    /// What requests are addressed to.
    pub(crate) origin: Uri,
    connector: HttpConnector,
    template: Template,
    /// Carries the rare unary calls.
    pub(crate) control: Channel,
    /// Carries the health service's `Watch`, apart from the calls: a server may allow one stream per connection.
    pub(crate) watch: Channel,
    state: AtomicU8,
    /// When silence may be a reason for a check again.
    asked: Mutex<Instant>,
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
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let connector = socket::connector();
        let control = template.connect_with_connector_lazy(connector.clone());
        let watch = template.connect_with_connector_lazy(connector.clone());
        Ok(Self {
            id,
            uri,
            connect_timeout,
            origin: template.uri().clone(),
            connector,
            template,
            control,
            watch,
            state: AtomicU8::new(EndpointState::Unknown as u8),
            asked: Mutex::new(Instant::now()),
            doubt: Notify::new(),
        })
    }

    /// A socket for a lane.
    pub(crate) async fn socket(&self) -> io::Result<TcpStream> {
        let connected = self.connector.clone().call(self.origin.clone()).await;
        Ok(connected.map_err(io::Error::other)?.into_inner())
    }

    /// A new connection for one health check: on an older one, a check may meet a connection that its server is
    /// about to close, which says nothing about the server.
    pub(crate) async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        self.template.connect_with_connector(self.connector.clone()).await
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

    /// Commands to it time out and nothing comes back: it may hang.
    pub(crate) fn silent(&self, now: Instant) {
        let mut not_before = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= *not_before {
            *not_before = now + SILENCE_PAUSE;
            self.doubt.notify_one();
        }
    }

    /// A lane could not connect to it.
    pub(crate) fn unreachable(&self) {
        self.mark(EndpointState::Unhealthy);
        self.doubt.notify_one();
    }
}

//! One connection without a server around it, for tests of handlers and for measurements.
//!
//! It exists because a server brings threads, a handshake and a clock, none of which belongs into a count of what a
//! message costs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::worker::{Admission, WorkerState};
use crate::connection::Connection;
use crate::handler::SessionHandler;
use crate::metrics::WsMetrics;
use crate::outbound::Shared;
use crate::settings::WsSettings;

/// The connection over `stream`, whose opening handshake is taken as done; it lives by being polled.
///
/// Reading, decoding, queueing and writing are those of a server. What a worker does beside its connections is
/// missing: the clock stands still, so nothing is pinged, no deadline comes up and
/// [`SessionHandler::woken`] is not called.
///
/// # Errors
/// What the system answers when it is asked for the other end's address.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn lone_connection<H: SessionHandler>(
    settings: &WsSettings,
    stream: TcpStream,
    handler: H,
) -> io::Result<impl Future<Output = ()> + Send + Unpin + use<H>> {
    let metrics = WsMetrics::new();
    let admission = Arc::new(Admission::new(1, metrics.connections.clone()));
    let permit = admission.admit().ok_or(io::ErrorKind::QuotaExceeded)?;
    let worker = Arc::new(WorkerState::new(settings, metrics));
    let shared = Arc::new(Shared::new(stream.peer_addr()?, Arc::clone(&worker)));
    let connection = Connection::new(stream, BytesMut::new(), &[], handler, shared, permit);
    Ok(Lone { worker, connection })
}

struct Lone<H: SessionHandler> {
    worker: Arc<WorkerState>,
    connection: Connection<H>,
}

impl<H: SessionHandler> Future for Lone<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.connection).poll(cx)
    }
}

impl<H: SessionHandler> Drop for Lone<H> {
    fn drop(&mut self) {
        self.worker.clear();
    }
}

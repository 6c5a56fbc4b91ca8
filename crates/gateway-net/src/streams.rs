//! A listener for a protocol that is served elsewhere (gRPC): it accepts, does the TLS handshake, and hands the
//! connection on.
//!
//! Handshakes run beside the accept loop, so many at once and each under a deadline; one that is slow or fails holds up
//! nobody else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accept::Listener;
use crate::socket;
use crate::tls::{ServerTls, Transport};

/// TLS handshakes under way at once; past it a connection is hung up on.
const HANDSHAKES: usize = 1_024;

/// A listener that is bound and does not accept yet.
pub struct StreamListener {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// A connection that is ready to be served.
pub struct Arrival {
    /// The connection.
    pub stream: Transport,
    /// Its other end.
    pub peer: SocketAddr,
}

struct Counters {
    accept_errors: Counter,
    done: Counter,
    failed: Counter,
    timeout: Counter,
    full: Counter,
}

impl Counters {
    fn new() -> Self {
        let handshakes = |result| counter!("gateway_stream_handshakes_total", "result" => result);
        Self {
            accept_errors: counter!("gateway_stream_accept_errors_total"),
            done: handshakes("done"),
            failed: handshakes("failed"),
            timeout: handshakes("timeout"),
            full: handshakes("full"),
        }
    }
}

impl StreamListener {
    /// Binds the listener.
    ///
    /// # Errors
    /// What the system answers.
    pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let listener = socket::bind_alone(address, backlog)?;
        socket::tune(&listener, true, None);
        Ok(Self {
            address: listener.local_addr()?,
            listener,
        })
    }

    /// Where it listens; the real port where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `stop` is cancelled or nobody takes connections any more. While `arrivals` is full nothing is
    /// accepted. With `tls`, a handshake may take `deadline`.
    ///
    /// # Errors
    /// A listener that the runtime does not take. No error of a connection ends this.
    pub async fn run(
        self,
        tls: Option<Arc<ServerTls>>,
        deadline: Duration,
        arrivals: mpsc::Sender<Arrival>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let mut listener = Listener::new(self.listener)?;
        let counters = Arc::new(Counters::new());
        let mut handshakes = JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => break,
                () = arrivals.closed() => break,
                Some(_) = handshakes.join_next() => continue,
                accepted = listener.accept(|_| counters.accept_errors.increment(1)) => accepted,
            };
            let Some(tls) = &tls else {
                let stream = Transport::Plain(stream);
                let handed = stop.run_until_cancelled(arrivals.send(Arrival { stream, peer }));
                if handed.await.is_none_or(|sent| sent.is_err()) {
                    break;
                }
                continue;
            };
            if handshakes.len() >= HANDSHAKES {
                counters.full.increment(1);
                tracing::warn!(%peer, "too many TLS handshakes at once; a connection is hung up on");
                continue;
            }
            let (tls, arrivals, counters) = (Arc::clone(tls), arrivals.clone(), Arc::clone(&counters));
            handshakes.spawn(async move {
                if let Some(stream) = shake_hands(&tls, stream, peer, deadline, &counters).await {
                    // Nobody takes it once the server has ended.
                    let _ = arrivals.send(Arrival { stream, peer }).await;
                }
            });
        }
        handshakes.shutdown().await;
        Ok(())
    }
}

async fn shake_hands(
    tls: &ServerTls,
    stream: TcpStream,
    peer: SocketAddr,
    deadline: Duration,
    counters: &Counters,
) -> Option<Transport> {
    match tokio::time::timeout(deadline, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            counters.done.increment(1);
            Some(Transport::Tls(Box::new(stream)))
        }
        Ok(Err(error)) => {
            counters.failed.increment(1);
            tracing::info!(%peer, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            counters.timeout.increment(1);
            tracing::info!(%peer, "a TLS handshake took too long");
            None
        }
    }
}

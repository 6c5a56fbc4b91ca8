//! The listener and its connections, on the runtime of whoever serves.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cors::Cors;
use super::request::Exchange;
use super::waiting::{Waiting, Watched};
use super::{HttpService, HttpSettings};
use crate::accept::Listener;
use crate::metrics::HttpMetrics;
use crate::refuse;
use crate::socket;
use crate::tls::ServerTls;

/// The least that hyper takes for its buffer.
const LEAST_HEADER_BYTES: usize = 8192;
/// Refusals that are being said at once; further connections are hung up on.
const REFUSALS: usize = 64;

/// An HTTP server that is bound and not yet serving.
pub struct HttpServer {
    settings: HttpSettings,
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerTls>>,
}

impl HttpServer {
    /// Binds the listener.
    ///
    /// # Errors
    /// What the system answers.
    pub fn bind(settings: &HttpSettings) -> io::Result<Self> {
        let listener = socket::bind_alone(settings.address, settings.backlog)?;
        socket::tune(&listener, settings.tcp_nodelay, settings.tcp_keepalive);
        let address = listener.local_addr()?;
        Ok(Self {
            settings: settings.clone(),
            listener,
            address,
            tls: None,
        })
    }

    /// Has every connection begin with a TLS handshake, within [`HttpSettings::header_timeout`].
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<ServerTls>>) -> Self {
        self.tls = tls;
        self
    }

    /// Where it listens; the real port where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; then accepts no more, lets requests under way end within
    /// [`HttpSettings::shutdown_timeout`] and drops what is left.
    ///
    /// # Errors
    /// A listener that the runtime does not take. No error of a connection ends this.
    pub async fn serve(self, service: Arc<dyn HttpService>, stop: CancellationToken) -> io::Result<()> {
        let mut listener = Listener::new(self.listener)?;
        let exchange = Arc::new(Exchange {
            service,
            cors: Cors::new(&self.settings.cors),
            metrics: HttpMetrics::new(),
            settings: self.settings,
        });
        let settings = &exchange.settings;
        let places = Arc::new(Semaphore::new(
            settings.max_connections.min(Semaphore::MAX_PERMITS),
        ));
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        let tasks = TaskTracker::new();
        // Ends what patience has left over, and everything when this future is dropped.
        let abort = CancellationToken::new();
        let _abort_on_drop = abort.clone().drop_guard();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept(|_| exchange.metrics.accept_errors.increment(1)) => accepted,
            };
            let (stream, peer) = accepted;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                exchange.metrics.full.increment(1);
                // Who expects TLS would not understand a refusal, and is hung up on.
                if self.tls.is_none()
                    && let Ok(turn) = Arc::clone(&refusals).try_acquire_owned()
                {
                    let answer = refuse::unavailable(settings.retry_after);
                    tasks.spawn(async move {
                        refuse::refuse(stream, answer).await;
                        drop(turn);
                    });
                }
                continue;
            };
            let (exchange, stop, abort) = (Arc::clone(&exchange), stop.clone(), abort.clone());
            let tls = self.tls.clone();
            tasks.spawn(async move {
                exchange.metrics.connections.increment(1.0);
                let serving = async {
                    match tls {
                        None => connection(&exchange, stream, peer, stop).await,
                        Some(tls) => tls_connection(&exchange, &tls, stream, peer, stop).await,
                    }
                };
                if let Some(Err(error)) = abort.run_until_cancelled(serving).await {
                    tracing::debug!(%peer, %error, "HTTP connection failed");
                }
                exchange.metrics.connections.decrement(1.0);
                drop(place);
            });
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(settings.shutdown_timeout, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = tasks.len(), "HTTP requests are dropped at shutdown");
            abort.cancel();
            tasks.wait().await;
        }
        Ok(())
    }
}

async fn tls_connection(
    exchange: &Arc<Exchange>,
    tls: &ServerTls,
    stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) -> hyper::Result<()> {
    match tokio::time::timeout(exchange.settings.header_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection(exchange, stream, peer, stop).await,
        failed => {
            exchange.metrics.tls.increment(1);
            tracing::debug!(%peer, error = ?failed.map(|done| done.err()), "TLS handshake failed");
            Ok(())
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &Arc<Exchange>,
    stream: S,
    peer: SocketAddr,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let settings = &exchange.settings;
    let waiting = Arc::new(Waiting::new(settings.header_timeout, settings.idle_timeout));
    let service = service_fn(|request| {
        let (exchange, waiting) = (Arc::clone(exchange), Arc::clone(&waiting));
        async move {
            waiting.request();
            let answer = exchange.answer(request, peer).await;
            waiting.answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = Watched {
        stream,
        waiting: Arc::clone(&waiting),
    };
    let mut serving = pin!(
        http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(settings.header_bytes.max(LEAST_HEADER_BYTES))
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut stopped = pin!(stop.cancelled());
    let mut timer = pin!(sleep(settings.header_timeout));
    // What the connection waits for changes only while it is polled, so its deadline is read after that.
    let ended = poll_fn(|cx| {
        if let Poll::Ready(result) = serving.as_mut().poll(cx) {
            return Poll::Ready(Ended::Served(result));
        }
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Stopped);
        }
        let Some(deadline) = waiting.deadline() else {
            return Poll::Pending;
        };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).map(|()| Ended::TimedOut)
    });
    match ended.await {
        Ended::Served(result) => result,
        Ended::TimedOut => Ok(()),
        Ended::Stopped => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

/// Why a connection is no longer served as before.
enum Ended {
    Served(hyper::Result<()>),
    /// No request, or none whole, in time.
    TimedOut,
    Stopped,
}

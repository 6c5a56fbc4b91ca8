//! The WebSocket server: worker threads, each with a runtime and a listener of its own.

mod answer;
mod handshake;
mod lone;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::lone::lone_connection;
use self::worker::Admission;
pub(crate) use self::worker::{Permit, WorkerState};
use crate::file_limit::file_limit;
use crate::handler::Acceptor;
use crate::metrics::WsMetrics;
use crate::settings::WsSettings;
use crate::socket;
use crate::tls::ServerTls;

/// A server that is bound and not yet serving.
pub struct WebSocketServer {
    settings: WsSettings,
    listeners: Vec<std::net::TcpListener>,
    address: SocketAddr,
    max_connections: usize,
    tls: Option<Arc<ServerTls>>,
}

/// Why a server did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A worker could not be started.
    #[error("a worker could not be started")]
    Start(#[source] io::Error),
    /// A worker's thread panicked.
    #[error("a worker panicked")]
    Panicked,
}

impl WebSocketServer {
    /// Binds the listeners, one per worker.
    ///
    /// # Errors
    /// What the system answers; [`io::ErrorKind::AddrInUse`] also when another process shares its port.
    pub fn bind(settings: &WsSettings) -> io::Result<Self> {
        let listeners = socket::bind_shared(settings.address, settings.worker_count(), settings.backlog)?;
        for listener in &listeners {
            socket::tune(listener, settings.tcp_nodelay, settings.tcp_keepalive);
        }
        let address = listeners
            .first()
            .ok_or(io::ErrorKind::AddrNotAvailable)?
            .local_addr()?;
        let max_connections = if settings.max_connections == 0 {
            file_limit()?.sockets()
        } else {
            settings.max_connections
        };
        Ok(Self {
            settings: settings.clone(),
            listeners,
            address,
            max_connections,
            tls: None,
        })
    }

    /// Has every connection begin with a TLS handshake, within [`WsSettings::handshake_timeout`].
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

    /// The connections it takes at once.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Starts the workers. When `stop` is cancelled they accept no more, close every connection with
    /// 1001 and wait for them within [`WsSettings::shutdown_timeout`].
    pub fn serve<A: Acceptor>(self, acceptor: Arc<A>, stop: CancellationToken) -> ServerHandle {
        let metrics = WsMetrics::new();
        let admission = Arc::new(Admission::new(self.max_connections, metrics.connections.clone()));
        let settings = Arc::new(self.settings);
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let pin = settings.pin_workers && cores.len() >= self.listeners.len() && self.listeners.len() > 1;
        let mut workers = Vec::with_capacity(self.listeners.len());
        for (index, listener) in self.listeners.into_iter().enumerate() {
            let (done, finished) = oneshot::channel();
            let core = if pin { cores.get(index).copied() } else { None };
            let (acceptor, stop) = (Arc::clone(&acceptor), stop.clone());
            let start = worker::Start {
                index,
                listener,
                acceptor,
                settings: Arc::clone(&settings),
                admission: Arc::clone(&admission),
                metrics: metrics.clone(),
                tls: self.tls.clone(),
                stop: stop.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("ws-worker-{index}"))
                .spawn(move || {
                    if let Some(core) = core {
                        core_affinity::set_for_current(core);
                    }
                    // However this thread ends, the others must not go on with a part of the port.
                    let _guard = stop.drop_guard();
                    // Nobody may be waiting.
                    let _ = done.send(start.run());
                });
            match thread {
                Ok(thread) => workers.push(Worker {
                    finished,
                    thread: Some(thread),
                }),
                Err(error) => {
                    let (failed, finished) = oneshot::channel();
                    let _ = failed.send(Err(error));
                    workers.push(Worker {
                        finished,
                        thread: None,
                    });
                }
            }
        }
        ServerHandle {
            workers,
            admission,
            address: self.address,
        }
    }
}

/// A running server. Dropping it does not stop the workers; cancelling the token does.
pub struct ServerHandle {
    workers: Vec<Worker>,
    admission: Arc<Admission>,
    address: SocketAddr,
}

struct Worker {
    finished: oneshot::Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// Sockets right now, handshakes included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.admission.current()
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits until every worker has ended, which the token given to [`WebSocketServer::serve`] brings about.
    ///
    /// # Errors
    /// The first worker that could not start or that panicked; all are waited for.
    pub async fn join(self) -> Result<(), ServeError> {
        let mut result = Ok(());
        for worker in self.workers {
            let ended = match worker.finished.await {
                Ok(ended) => ended.map_err(ServeError::Start),
                Err(_) => Err(ServeError::Panicked),
            };
            if let Some(thread) = worker.thread {
                // It has said its last word: this is short.
                let _ = thread.join();
            }
            result = result.and(ended);
        }
        result
    }
}

//! Binding, serving and ending the services.
//!
//! All listeners are bound before any serves, so that a taken port is an error of the start and nothing is
//! half there. Ending stops listening, lets what runs finish for three seconds, then cuts.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use gateway_codec::proto::{FILE_DESCRIPTOR_SET, backend::backend_server::BackendServer};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    backend::BackendService,
    clock,
    engine::Engine,
    faults::{self, FaultSettings, Faults},
    gateway_link::{GatewayLink, LinkError},
    options::{Options, ServiceKind},
    passwords::HashError,
    services::Shared,
};

/// How long a stopping service may take to finish what runs.
const GRACE: Duration = Duration::from_secs(3);
/// How long connections may take to close after that.
const CLOSING: Duration = Duration::from_millis(500);
/// A batch of commands can be larger than one command.
const LARGEST_REQUEST: usize = 16 << 20;
const WINDOW: u32 = 1 << 20;

/// Why the services did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be bound.
    #[error("cannot listen on {address} for the {service} service: {source}")]
    Bind {
        /// Which service.
        service: ServiceKind,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// `base_port` leaves no port for a service.
    #[error("no port {base_port} + {} for the {service} service", service.port_offset())]
    Port {
        /// Which service.
        service: ServiceKind,
        /// As given.
        base_port: u16,
    },
    /// Latency or a rate is out of range.
    #[error("{0}")]
    Faults(String),
    /// The way to the gateway cannot be set up.
    #[error(transparent)]
    Gateway(#[from] LinkError),
    /// Passwords cannot be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The reflection service could not be built.
    #[error("the reflection service cannot be built")]
    Reflection,
}

/// Starts services; see [`MockService::start`].
#[derive(Debug)]
pub struct MockService;

impl MockService {
    /// Binds and serves what `options` asks for, on the current Tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(options: Options) -> Result<Running, StartError> {
        let settings = FaultSettings {
            latency: options.latency,
            error_rate: options.error_rate,
            hang_rate: options.hang_rate,
            ..FaultSettings::default()
        };
        faults::check(&settings).map_err(|error| StartError::Faults(error.to_string()))?;
        let gateway = GatewayLink::new(&options.gateway, options.service_key.as_deref())?;
        let mut listeners = Vec::new();
        let wanted: BTreeSet<ServiceKind> = options.services.iter().copied().collect();
        for kind in wanted {
            listeners.push((kind, bind(&options, kind).await?));
        }
        let shared = Shared::new(options.accounts, gateway, clock::now_ms())?;
        let mut running = Running {
            addresses: BTreeMap::new(),
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
            servers: JoinSet::new(),
            engines: Vec::new(),
        };
        for (kind, (listener, address)) in listeners {
            let faults = Faults::new(settings);
            running.serve(kind, listener, Arc::clone(&shared), faults).await?;
            running.addresses.insert(kind.name().to_owned(), address);
        }
        Ok(running)
    }
}

async fn bind(options: &Options, kind: ServiceKind) -> Result<(TcpListener, SocketAddr), StartError> {
    let base_port = options.base_port;
    let port = match base_port {
        0 => 0,
        base => base.checked_add(kind.port_offset()).ok_or(StartError::Port {
            service: kind,
            base_port,
        })?,
    };
    let address = SocketAddr::new(options.host, port);
    let failed = |source| StartError::Bind {
        service: kind,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Services that run; dropped, they end at once.
pub struct Running {
    /// Bound addresses by service name: `user`, `message`, `friend`, `group`, `push`.
    pub addresses: BTreeMap<String, SocketAddr>,
    ending: CancellationToken,
    tasks: TaskTracker,
    servers: JoinSet<()>,
    engines: Vec<Arc<Engine>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// The faults of a service; `None` where it was not started.
    #[must_use]
    pub fn faults(&self, service: ServiceKind) -> Option<FaultSettings> {
        self.engines
            .iter()
            .find(|engine| engine.kind == service)
            .map(|engine| engine.faults.get())
    }

    /// Changes the faults of a service from its next command on; a service that was not started is ignored.
    ///
    /// # Errors
    /// [`StartError::Faults`] for a rate outside 0 to 1 or a latency over 60 s; nothing is changed then.
    pub async fn set_faults(&self, service: ServiceKind, settings: FaultSettings) -> Result<(), StartError> {
        faults::check(&settings).map_err(|error| StartError::Faults(error.to_string()))?;
        if let Some(engine) = self.engines.iter().find(|engine| engine.kind == service) {
            engine.faults.set(settings);
            engine.say_serving(settings.serving).await;
        }
        Ok(())
    }

    /// Ends the services: no new connections, what runs has three seconds to finish.
    pub async fn stop(mut self) {
        self.ending.cancel();
        self.tasks.close();
        for engine in &self.engines {
            engine.end_health().await;
        }
        if timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!("not all commands were finished in time");
        }
        // Replies are on their way out by now; what still holds a connection open is not ours.
        let closed = async { while self.servers.join_next().await.is_some() {} };
        if timeout(CLOSING, closed).await.is_err() {
            self.servers.shutdown().await;
        }
    }

    async fn serve(
        &mut self,
        kind: ServiceKind,
        listener: TcpListener,
        shared: Arc<Shared>,
        faults: Faults,
    ) -> Result<(), StartError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let v1 = reflection().build_v1().map_err(|_| StartError::Reflection)?;
        // Older tools ask for v1alpha only.
        let v1alpha = reflection().build_v1alpha().map_err(|_| StartError::Reflection)?;
        let ending = self.ending.clone();
        let engine = Arc::new(Engine::new(
            kind,
            shared,
            faults,
            reporter,
            ending.clone(),
            self.tasks.clone(),
        ));
        engine.say_serving(true).await;
        self.engines.push(Arc::clone(&engine));
        let backend =
            BackendServer::new(BackendService::new(engine)).max_decoding_message_size(LARGEST_REQUEST);
        let router = Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW)
            .add_service(backend)
            .add_service(health)
            .add_service(v1)
            .add_service(v1alpha);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        self.servers.spawn(async move {
            if let Err(error) = router
                .serve_with_incoming_shutdown(incoming, ending.cancelled_owned())
                .await
            {
                tracing::error!(service = %kind, %error, "stopped serving");
            }
        });
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

//! The whole gateway: built in one place, run, spoken to, stopped.
//!
//! [`GatewayBuilder::build`] constructs every part whole and binds every listener, so that what starts can serve;
//! [`Gateway::run`] serves until it is told to stop. All wiring is read here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_auth::{ApiKeys, Clock, Random, SystemClock, SystemRandom};
use gateway_codec::{DeviceId, Platform, PushBody, UserId};
use gateway_config::{Config, LoadOptions, ServiceName};
use gateway_conn::{PushOrder, Report, Stats, Target};
use gateway_net::{HttpServer, HttpSettings, ServerHandle, StreamListener, WebSocketServer, WsSettings};
use gateway_router::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::PeerService;
use crate::drain;
use crate::grpc::GatewayService;
use crate::grpc::caller::BackEnds;
use crate::grpc::serve::Grpc;
use crate::http::system::System;
use crate::http::{Api, HttpApi, Surface};
use crate::load::Load;
use crate::metrics::PipelineMetrics;
use crate::offline::MessageService;
use crate::phase::Phase;
use crate::pipeline::connection::Door;
use crate::pipeline::handlers::{Command, CommandAnswer, CommandError, HandlerTable, Handlers};
use crate::pipeline::{Pipeline, Settings, life};
use crate::rebalance;
use crate::reload::Reload;
use crate::rotation::{Outcomes, Rotation};
use crate::sign_in::SignIn;
use crate::state::{SharedState, State, Surroundings};
use crate::tls::{CertificateError, Certificates};
use crate::upstream::Upstream;

/// How long work that is under way may go on once the gateway stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Length of the gRPC listener's accept queue.
const GRPC_BACKLOG: u32 = 1_024;

/// Why a gateway cannot be built or has failed.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A listener cannot be had.
    #[error("cannot listen on {address} for {what}: {source}")]
    Bind {
        what: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    /// Keys, secrets or the revocation file.
    #[error("authentication: {0}")]
    Auth(#[from] gateway_auth::SetupError),
    /// Routes or endpoints.
    #[error("routes: {0}")]
    Router(#[from] gateway_router::BuildError),
    /// Where Redis is.
    #[error("redis: {0}")]
    Redis(#[from] gateway_redis::SetupError),
    /// The store of several nodes without what they know each other by.
    #[error(
        "cluster.secret and cluster.certificate_name are missing: nodes that share a Redis prove themselves by them"
    )]
    NoSecret,
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// Another process has taken the name of this node.
    #[error("another process runs as this node")]
    NameTaken,
    /// Platform rules.
    #[error("platforms: {0}")]
    Platforms(#[from] gateway_conn::PolicyError),
    /// A name that is not one.
    #[error("cluster.node_id: {0}")]
    Node(#[from] gateway_codec::IdError),
    /// gRPC reflection.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The gRPC server has failed.
    #[error("gRPC: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// A worker has failed.
    #[error("worker: {0}")]
    Worker(#[from] gateway_net::ServeError),
    /// A server has failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What a gateway is built from.
pub struct GatewayBuilder {
    config: Config,
    config_folder: PathBuf,
    options: Option<LoadOptions>,
    handlers: HandlerTable,
    prometheus: Option<PrometheusHandle>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A gateway whose listeners are bound; nobody is served yet.
pub struct Gateway {
    pipeline: Arc<Pipeline>,
    api: Arc<Api>,
    websocket: WebSocketServer,
    http: HttpServer,
    /// Where `/metrics` and the probes have an address of their own.
    operations: Option<HttpServer>,
    grpc: Grpc,
    callers: BackEnds,
    rotation: Arc<Rotation>,
    /// Where there are other nodes.
    shared: Option<SharedState>,
    cluster_settings: gateway_config::Cluster,
    addresses: Addresses,
    phase: watch::Sender<Phase>,
    stop: CancellationToken,
    prometheus: Option<PrometheusHandle>,
}

/// Where a gateway listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Clients' WebSockets.
    pub websocket: SocketAddr,
    /// The HTTP API.
    pub http: SocketAddr,
    /// gRPC for back ends.
    pub grpc: SocketAddr,
    /// `/metrics`, `/livez` and `/readyz`, where they are not on the HTTP listener.
    pub operations: Option<SocketAddr>,
}

/// What a program that embeds a gateway asks of it while it runs. Cheap to clone.
#[derive(Clone)]
pub struct GatewayHandle {
    pipeline: Arc<Pipeline>,
    api: Arc<Api>,
    phase: watch::Receiver<Phase>,
    stop: CancellationToken,
    load: Arc<Load>,
}

impl Gateway {
    /// Begins to build a gateway from a configuration.
    pub fn builder(config: Config) -> GatewayBuilder {
        GatewayBuilder {
            config,
            config_folder: PathBuf::from("."),
            options: None,
            handlers: HandlerTable::default(),
            prometheus: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }

    /// Where it listens; with port 0 in the configuration, what the system chose.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A handle to speak to it while it runs.
    pub fn handle(&self) -> GatewayHandle {
        GatewayHandle {
            pipeline: self.pipeline.clone(),
            api: self.api.clone(),
            phase: self.phase.subscribe(),
            stop: self.stop.clone(),
            load: self.pipeline.load.clone(),
        }
    }

    /// Serves until `stop` is cancelled or [`GatewayHandle::stop`] is called, then drains: sessions are sent away at the
    /// configured rate (1012), the rest of the connections at the end (1001), and what clients had not taken is handed
    /// over. Returns when nothing is left.
    ///
    /// # Errors
    /// Where a server fails while it should serve.
    pub async fn run(self, stop: CancellationToken) -> Result<(), GatewayError> {
        let Self {
            pipeline,
            api,
            websocket,
            http,
            operations,
            grpc,
            callers,
            rotation,
            shared,
            cluster_settings,
            phase,
            stop: own,
            prometheus,
            ..
        } = self;
        let quiet = CancellationToken::new(); // for what serves until the very end
        let ending = CancellationToken::new(); // for the workers
        let leaving = CancellationToken::new(); // for the lease
        let workers: ServerHandle = websocket.serve(
            Arc::new(Door::new(pipeline.clone(), phase.subscribe())),
            ending.clone(),
        );
        let mut servers = JoinSet::new();
        let surface = if operations.is_some() {
            Surface::Api
        } else {
            Surface::All
        };
        if let Some(operations) = operations {
            servers.spawn(serve_http(
                operations,
                api.clone(),
                Surface::Operations,
                quiet.clone(),
            ));
        }
        servers.spawn(serve_http(http, api, surface, quiet.clone()));
        let peers = TaskTracker::new();
        let peer_service = PeerService::new(
            pipeline.delivery.clone(),
            pipeline.clock.clone(),
            shared.as_ref().map(|shared| shared.proof.clone()),
            peers.clone(),
            quiet.clone(),
        );
        let back_end_service = GatewayService::new(pipeline.clone(), callers);
        servers.spawn(grpc.serve(back_end_service, peer_service, quiet.clone()));
        servers.spawn(rotation.keep(quiet.clone()));
        let name_taken = match &shared {
            Some(shared) => {
                servers.spawn(shared.clone().keep(leaving.clone()));
                if cluster_settings.rebalance.enabled {
                    let settings = cluster_settings.rebalance.clone();
                    let cluster = shared.cluster.clone();
                    servers.spawn(rebalance::keep(
                        pipeline.clone(),
                        cluster,
                        settings,
                        phase.subscribe(),
                    ));
                }
                shared.cluster.name_taken()
            }
            None => CancellationToken::new(),
        };
        servers.spawn(sample(pipeline.load.clone(), prometheus, quiet.clone()));
        phase.send_replace(Phase::Serving);
        tracing::info!("serving");

        let failed = tokio::select! {
            () = stop.cancelled() => None,
            () = own.cancelled() => None,
            () = ending.cancelled() => None,
            () = name_taken.cancelled() => Some(Ok(Err(GatewayError::NameTaken))),
            ended = servers.join_next() => ended,
        };
        if failed.is_none() {
            phase.send_replace(Phase::Draining);
            tracing::info!(sessions = pipeline.registry.live_count(), "draining");
            drain::drain(&pipeline, &cluster_settings).await;
        }
        phase.send_replace(Phase::Stopping);
        tracing::info!("stopping");
        own.cancel();
        ending.cancel();
        let workers = workers.join().await;
        pipeline.tasks.close();
        if tokio::time::timeout(STOP_GRACE, pipeline.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = pipeline.tasks.len(),
                "commands were still under way when the gateway stopped"
            );
        }
        if tokio::time::timeout(STOP_GRACE, pipeline.delivery.shutdown())
            .await
            .is_err()
        {
            tracing::error!("pushes were still on their way to the offline box when the gateway stopped");
        }
        pipeline.router.shutdown(STOP_GRACE).await;
        // The lease goes when nothing is left that others would have to take over.
        leaving.cancel();
        if let Some(shared) = &shared {
            shared.left().await;
        }
        quiet.cancel();
        peers.close();
        peers.wait().await;
        let mut result = failed.map_or(Ok(()), ended);
        while let Some(server) = servers.join_next().await {
            result = result.and(ended(server));
        }
        phase.send_replace(Phase::Stopped);
        tracing::info!("stopped");
        workers?;
        result
    }
}

impl GatewayBuilder {
    /// A handler of the embedding program for a command; it comes before the routes. The last one for a command
    /// counts.
    #[must_use]
    pub fn on_command<F, Fut>(mut self, cmd_id: u32, handler: F) -> Self
    where
        F: Fn(Command) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CommandAnswer, CommandError>> + Send + 'static,
    {
        self.handlers.insert(cmd_id, handler);
        self
    }

    /// The folder that a reload's files must lie in; the working folder by default.
    #[must_use]
    pub fn config_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config_folder = folder.into();
        self
    }

    /// What the configuration was loaded with: its main file is then looked at for other keys while the gateway runs.
    /// Without it only the files that the keys are in are.
    #[must_use]
    pub fn loaded_with(mut self, options: LoadOptions) -> Self {
        self.options = Some(options);
        self
    }

    /// What `/metrics` shows: the recorder that the process has installed.
    #[must_use]
    pub fn prometheus(mut self, handle: PrometheusHandle) -> Self {
        self.prometheus = Some(handle);
        self
    }

    /// Another clock and another source of randomness, for tests.
    #[must_use]
    pub fn with_time_and_chance(mut self, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        (self.clock, self.random) = (clock, random);
        self
    }

    /// Builds every part and binds every listener. Runs on the runtime that is to serve HTTP and gRPC.
    ///
    /// # Errors
    /// Says which part cannot be had, and why.
    pub async fn build(self) -> Result<Gateway, GatewayError> {
        let Self {
            config,
            config_folder,
            options,
            handlers,
            prometheus,
            clock,
            random,
        } = self;
        let websocket = WebSocketServer::bind(&WsSettings::from_config(&config.server, &config.limits))
            .map_err(bind(
                "WebSocket",
                config.server.host,
                config.server.websocket_port,
            ))?;
        let http = HttpServer::bind(&HttpSettings::from_config(
            &config.server,
            &config.limits,
            &config.cors,
        ))
        .map_err(bind("HTTP", config.server.host, config.server.http_port))?;
        let operations = config
            .server
            .metrics_address
            .map(|address| {
                let settings = HttpSettings {
                    address,
                    ..HttpSettings::from_config(&config.server, &config.limits, &config.cors)
                };
                HttpServer::bind(&settings).map_err(bind("metrics", address.ip(), address.port()))
            })
            .transpose()?;
        let grpc_address = SocketAddr::new(config.server.host, config.server.grpc_port);
        let grpc = StreamListener::bind(grpc_address, GRPC_BACKLOG).map_err(bind(
            "gRPC",
            config.server.host,
            config.server.grpc_port,
        ))?;
        let addresses = Addresses {
            websocket: websocket.local_addr(),
            http: http.local_addr(),
            grpc: grpc.local_addr(),
            operations: operations.as_ref().map(HttpServer::local_addr),
        };

        let certificates = Certificates::load(&config)?;
        let websocket = websocket.with_tls(certificates.clients.clone());
        let http = http.with_tls(certificates.clients.clone());
        let grpc = Grpc {
            listener: grpc,
            tls: certificates.grpc.clone(),
            deadline: config.limits.handshake_timeout,
            grace: STOP_GRACE,
        };
        let keys = ApiKeys::load(&config.auth)?;
        let callers = BackEnds::new(keys.clone(), config.auth.service_certificates.clone());
        let keys_changed = Arc::new(Notify::new());
        let router = Arc::new(Router::new(&config.router, &config.services)?);
        let offline = Arc::new(MessageService::new(router.clone()));
        let metrics = PipelineMetrics::default();
        let (phase, _) = watch::channel(Phase::Starting);
        let state = State::build(
            &config,
            &addresses,
            Surroundings {
                offline,
                metrics: metrics.clone(),
                phase: phase.subscribe(),
                clock: clock.clone(),
                random: random.clone(),
                certificates: certificates.clone(),
                keys: keys_changed.clone(),
            },
        )?;
        let State {
            node,
            auth,
            registry,
            delivery,
            shared,
        } = state;
        let tasks = TaskTracker::new();
        let upstream = Arc::new(Upstream::new(
            router.clone(),
            delivery.clone(),
            clock.clone(),
            &*random,
            tasks.clone(),
            Handle::current(),
        ));
        let sign_in = Arc::new(SignIn::new(
            auth.clone(),
            registry.clone(),
            upstream.clone(),
            clock.clone(),
        ));
        let services = Handle::current();
        let load = Arc::new(Load::default());
        let pipeline = Arc::new(Pipeline {
            settings: settings(&config),
            clock: clock.clone(),
            random,
            router: router.clone(),
            upstream,
            sign_in,
            registry: registry.clone(),
            delivery,
            handlers: Handlers::new(handlers, &config.processing, services.clone()),
            metrics: metrics.clone(),
            load: load.clone(),
            tasks,
            services,
            token_hasher: Default::default(),
        });
        let cluster_settings = config.cluster.clone();
        let period = config.auth.key_check;
        let current = Arc::new(Mutex::new(config));
        let rotation = Arc::new(Rotation {
            current: current.clone(),
            options,
            auth,
            callers: callers.clone(),
            certificates,
            registry: registry.clone(),
            hints: shared.as_ref().map(|shared| shared.hints.clone()),
            told: keys_changed,
            period,
            outcomes: Outcomes::default(),
        });
        let system = System {
            registry: registry.clone(),
            router: router.clone(),
            clock,
            phase: phase.subscribe(),
            load,
            metrics,
            reload: Reload {
                current,
                folder: config_folder,
                registry,
                router,
            },
            rotation: rotation.clone(),
            prometheus: prometheus.clone(),
            node: node.to_string(),
            cluster: shared.as_ref().map(|shared| shared.cluster.clone()),
            started: Instant::now(),
        };
        let api = Arc::new(Api::new(pipeline.clone(), system, keys));
        Ok(Gateway {
            pipeline,
            api,
            websocket,
            http,
            operations,
            grpc,
            callers,
            rotation,
            shared,
            cluster_settings,
            addresses,
            phase,
            stop: CancellationToken::new(),
            prometheus,
        })
    }
}

impl GatewayHandle {
    /// Pushes to every device of a user; answers with the first outcome on each.
    pub async fn push_to_user(&self, user_id: UserId, body: PushBody) -> Report {
        self.push(PushOrder {
            body,
            target: Target::Users(vec![user_id]),
        })
        .await
    }

    /// Pushes to one device of a user.
    pub async fn push_to_device(
        &self,
        user_id: UserId,
        device_id: DeviceId,
        platform: Platform,
        body: PushBody,
    ) -> Report {
        self.push(PushOrder {
            body,
            target: Target::Device {
                user: user_id,
                device: device_id,
                platform,
            },
        })
        .await
    }

    /// Sessions that are bound.
    pub fn online_count(&self) -> usize {
        self.pipeline.registry.live_count()
    }

    /// Sessions and users, by platform.
    pub fn stats(&self) -> Stats {
        self.pipeline.registry.stats()
    }

    /// Commands a second, time a command, share of errors, over the last seconds.
    pub fn performance(&self) -> crate::load::Performance {
        self.load.performance()
    }

    /// Whether it takes clients.
    pub fn is_running(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// The phase it is in, to wait for the next.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Reads keys, certificates, platform rules and routes again, as `POST /api/system/reload` does for each. A part that
    /// is not valid is logged and stays as it was.
    pub async fn reload(&self) {
        self.api.system.reload_all().await;
    }

    /// Tells it to stop; [`Gateway::run`] returns when it has.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    async fn push(&self, order: PushOrder) -> Report {
        let body = self.pipeline.upstream.with_push_id(order.body);
        self.pipeline
            .delivery
            .push(PushOrder { body, ..order }, None, self.pipeline.clock.now())
            .await
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        life: life::Limits {
            authenticate: config.auth.session_timeout,
            expiry_notice: config.auth.token_expiring_notice,
        },
        origins: config.cors.allowed_origins.clone(),
        unreadable: config.limits.bad_messages,
        held: config.limits.commands_during_bind,
        in_flight: u32::try_from(config.limits.commands_in_flight).unwrap_or(u32::MAX),
        bind_timeout: config.limits.bind_timeout,
        user_service: ServiceName::user(),
    }
}

fn bind(
    what: &'static str,
    host: std::net::IpAddr,
    port: u16,
) -> impl FnOnce(std::io::Error) -> GatewayError {
    move |source| GatewayError::Bind {
        what,
        address: SocketAddr::new(host, port),
        source,
    }
}

async fn serve_http(
    http: HttpServer,
    api: Arc<Api>,
    surface: Surface,
    stop: CancellationToken,
) -> Result<(), GatewayError> {
    Ok(http.serve(Arc::new(HttpApi { api, surface }), stop).await?)
}

/// Once a second: notes for the figures, and the recorder's own upkeep.
async fn sample(
    load: Arc<Load>,
    prometheus: Option<PrometheusHandle>,
    stop: CancellationToken,
) -> Result<(), GatewayError> {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    while stop.run_until_cancelled(second.tick()).await.is_some() {
        load.note();
        if let Some(prometheus) = &prometheus {
            prometheus.run_upkeep();
        }
    }
    Ok(())
}

fn ended(server: Result<Result<(), GatewayError>, tokio::task::JoinError>) -> Result<(), GatewayError> {
    server.unwrap_or_else(|panicked| Err(GatewayError::Io(std::io::Error::other(panicked))))
}

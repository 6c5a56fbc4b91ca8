//! The router as its user sees it: routes, calls, health, shutdown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use gateway_codec::proto::backend::{CommandReply, CommandRequest};
use gateway_config::{LocalHandler, Routing, Service as ServiceConfig, ServiceName};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::backend::{Backend, EndpointId};
use crate::endpoint::Endpoint;
use crate::error::{BuildError, RouterError};
use crate::flow::submit::Done;
use crate::flow::{CallLimits, Flow};
use crate::health::{self, EndpointHealth, ServiceHealth};
use crate::mailbox::Mailbox;
use crate::pool::Pool;
use crate::resolver::{Resolver, StaticResolver};
use crate::service::Service;
use crate::table::{Route, RouteTable};
use crate::telemetry::Telemetry;

/// The service that keeps offline boxes.
const MESSAGE_SERVICE: &str = "message";
/// How long lanes and health checks may take to end once they are told to.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Routes commands to services and carries them there.
///
/// Share it in an `Arc`. Dropped, it ends its lanes and health checks at once; [`Router::shutdown`] waits first.
pub struct Router {
    table: ArcSwap<RouteTable>,
    services: HashMap<ServiceName, Arc<Service>>,
    /// In the order of the configuration, for [`Router::health`].
    pools: Vec<(Arc<Service>, Arc<Pool>)>,
    pub(crate) mailbox: Option<Arc<Mailbox>>,
    closing: AtomicBool,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Router {
    /// Builds the router with the endpoints that the configuration names, and starts their health checks on the
    /// current Tokio runtime. Connects lanes only when they are first used.
    ///
    /// # Errors
    /// [`BuildError`] if an endpoint is no URI, or outside of a Tokio runtime.
    pub fn new(
        routing: &Routing,
        services: &BTreeMap<ServiceName, ServiceConfig>,
    ) -> Result<Self, BuildError> {
        Self::with_resolver(routing, services, &StaticResolver::new(services))
    }

    /// Like [`Router::new`], with the endpoints that `resolver` finds now.
    ///
    /// # Errors
    /// As [`Router::new`].
    pub fn with_resolver(
        routing: &Routing,
        services: &BTreeMap<ServiceName, ServiceConfig>,
        resolver: &dyn Resolver,
    ) -> Result<Self, BuildError> {
        Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let mut router = Self::empty(routing);
        for (name, config) in services {
            let mut endpoints = Vec::new();
            for (id, uri) in (0_u32..).zip(resolver.endpoints(name)) {
                let endpoint =
                    Endpoint::new(EndpointId(id), uri.clone(), config.connect_timeout).map_err(|_| {
                        BuildError::BadEndpoint {
                            service: name.to_string(),
                            endpoint: uri,
                        }
                    })?;
                endpoints.push(Arc::new(endpoint));
            }
            for endpoint in &endpoints {
                router
                    .tasks
                    .spawn(health::watch(endpoint.clone(), router.stop.clone()));
            }
            let telemetry = Arc::new(Telemetry::new(name.as_str()));
            let (tasks, stop) = (router.tasks.clone(), router.stop.clone());
            let pool = Arc::new(Pool::new(
                endpoints,
                config.lanes_per_worker,
                telemetry.clone(),
                tasks,
                stop,
            ));
            if name.as_str() == MESSAGE_SERVICE {
                router.mailbox = Some(Arc::new(Mailbox::new(pool.clone(), router.tasks.clone())));
            }
            let service = router.add(name, pool.clone(), config.max_in_flight, telemetry);
            router.pools.push((service, pool));
        }
        Ok(router)
    }

    /// A router over the given back ends: for tests of what stands on it, and for embedders with a transport of their
    /// own. It has no mailbox: the calls to the message service's offline box give [`RouterError::UnknownService`].
    #[must_use]
    pub fn with_backends(
        routing: &Routing,
        backends: impl IntoIterator<Item = (ServiceName, Arc<dyn Backend>)>,
        max_in_flight: usize,
    ) -> Self {
        let mut router = Self::empty(routing);
        for (name, backend) in backends {
            let telemetry = Arc::new(Telemetry::new(name.as_str()));
            router.add(&name, backend, max_in_flight, telemetry);
        }
        router
    }

    fn empty(routing: &Routing) -> Self {
        let stop = CancellationToken::new();
        Self {
            table: ArcSwap::from_pointee(RouteTable::new(routing)),
            services: HashMap::new(),
            pools: Vec::new(),
            mailbox: None,
            closing: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }
    }

    fn add(
        &mut self,
        name: &ServiceName,
        backend: Arc<dyn Backend>,
        max_in_flight: usize,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Service> {
        let id = u32::try_from(self.services.len()).unwrap_or(u32::MAX);
        let tasks = self.tasks.clone();
        let service = Arc::new(Service::new(
            id,
            name.clone(),
            backend,
            max_in_flight,
            telemetry,
            tasks,
        ));
        self.services.insert(name.clone(), service.clone());
        service
    }

    /// The route of a command; `None` is a 404.
    #[must_use]
    pub fn route(&self, cmd_id: u32) -> Option<Arc<Route>> {
        self.table.load().get(cmd_id).cloned()
    }

    /// The lowest command that a handler of the gateway's own answers, and its route.
    #[must_use]
    pub fn local_route(&self, handler: LocalHandler) -> Option<(u32, Arc<Route>)> {
        self.table
            .load()
            .local(handler)
            .map(|(cmd_id, route)| (cmd_id, route.clone()))
    }

    /// Swaps the route table whole. Calls under way keep their limits.
    pub fn reload(&self, routing: &Routing) {
        self.table.store(Arc::new(RouteTable::new(routing)));
    }

    /// Sends a command to a service and gives its reply, whatever the contract's code in it.
    ///
    /// The place in the flow's order is taken here and now, and the command is on its way when this returns; the
    /// future waits for the reply and does the repeats. Dropped, it cancels the call. Await or poll all futures of
    /// one flow: a command that waits to be repeated holds back the later ones.
    ///
    /// # Errors
    /// The future gives a [`RouterError`]: `NoEndpoint` and `Overloaded` at once, `Timeout` after `limits.timeout`.
    pub fn call(
        &self,
        flow: &Flow,
        service: &ServiceName,
        request: CommandRequest,
        limits: CallLimits,
    ) -> impl Future<Output = Result<CommandReply, RouterError>> + Send + 'static + use<> {
        let started = match self.services.get(service) {
            _ if self.closing.load(Ordering::Relaxed) => Err(RouterError::ShuttingDown),
            None => Err(RouterError::UnknownService),
            Some(service) => service.call(flow, Bytes::from(request.encode_to_vec()), limits),
        };
        async move { started?.result().await }
    }

    /// Sends an encoded `CommandRequest` to a service and tells `done` how it ended: as [`Router::call`], without a
    /// future to be polled, and not to be cancelled. That is cheaper: [`Done`] says why.
    ///
    /// `done` may be called before this returns; else it is called on the runtime that this is called on. A timeout may
    /// be told up to 25 ms late.
    pub fn submit(&self, flow: &Flow, service: &ServiceName, request: Bytes, limits: CallLimits, done: Done) {
        match self.services.get(service) {
            _ if self.closing.load(Ordering::Relaxed) => done(Err(RouterError::ShuttingDown)),
            None => done(Err(RouterError::UnknownService)),
            Some(service) => service.submit(flow, request, limits, done),
        }
    }

    /// What is known of all services, in the order of their names. Cheap: reads what health checks found.
    #[must_use]
    pub fn health(&self) -> Vec<ServiceHealth> {
        let endpoint_health = |endpoint: &Arc<Endpoint>| EndpointHealth {
            uri: endpoint.uri.clone(),
            state: endpoint.state(),
        };
        self.pools
            .iter()
            .map(|(service, pool)| ServiceHealth {
                service: service.name().clone(),
                endpoints: pool.endpoints().iter().map(endpoint_health).collect(),
                in_flight: service.in_flight(),
            })
            .collect()
    }

    /// Commands in flight, over all services.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.services.values().map(|service| service.in_flight()).sum()
    }

    /// Takes no more commands, waits up to `grace` for those in flight, then ends lanes and health checks; what is
    /// still in flight then fails with [`RouterError::Disconnected`].
    pub async fn shutdown(&self, grace: Duration) {
        self.closing.store(true, Ordering::Relaxed);
        let idle = async {
            while self.in_flight() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout_at(Instant::now() + grace, idle).await.is_err() {
            tracing::warn!(
                in_flight = self.in_flight(),
                "commands were still in flight at shutdown"
            );
        }
        self.stop.cancel();
        self.tasks.close();
        // Lanes live on the workers: one that does not run any more cannot end its lane.
        if timeout(END_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("some lanes did not end in time");
        }
    }

    /// Commands that lanes wait for a reply to; never more than [`Router::in_flight`] for longer than a moment.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pools.iter().map(|(_, pool)| pool.pending()).sum()
    }
}

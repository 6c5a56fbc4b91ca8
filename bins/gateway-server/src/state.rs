//! Where sessions and tokens are kept: in this process, or in a Redis that several nodes share.
//!
//! The one place that knows which it is. With Redis a node is always one of a cluster, be it of one.

use std::sync::Arc;
use std::time::Duration;

use gateway_auth::{Authenticator, Clock, Random, RedisTokenStore};
use gateway_codec::NodeId;
use gateway_config::{Config, Storage};
use gateway_conn::{
    Cluster, ClusterSettings, Delivery, EmbeddedSessionStore, EmbeddedSettings, Hints, OfflineSink,
    PresenceStream, RedisSessionStore, RedisSettings, Registry,
};
use gateway_redis::Redis;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Events, GrpcTransport, NodeProof};
use crate::gateway::{Addresses, GatewayError};
use crate::metrics::PipelineMetrics;
use crate::phase::Phase;
use crate::tls::Certificates;

/// How long the lease may take to be given up.
const LEAVE: Duration = Duration::from_secs(5);

/// What the state is built with.
pub struct Surroundings {
    pub offline: Arc<dyn OfflineSink>,
    pub metrics: PipelineMetrics,
    pub phase: watch::Receiver<Phase>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Shown to other nodes.
    pub certificates: Certificates,
    /// Told where another node says that keys have changed.
    pub keys: Arc<Notify>,
}

/// Sessions, tokens and pushes of this node.
pub struct State {
    pub node: NodeId,
    pub auth: Arc<Authenticator>,
    pub registry: Arc<Registry>,
    pub delivery: Arc<Delivery>,
    /// Where it is shared.
    pub shared: Option<SharedState>,
}

/// What ties this node to others. Cheap to clone.
#[derive(Clone)]
pub struct SharedState {
    pub cluster: Arc<Cluster>,
    pub proof: NodeProof,
    pub hints: Hints,
    redis: Redis,
    store: Arc<RedisSessionStore>,
    events: Arc<Events>,
    /// Cancelled when the lease is given up and everything is written.
    left: CancellationToken,
}

impl State {
    /// Builds it as the configuration says. Waits for no server.
    ///
    /// # Errors
    /// Says which part cannot be had.
    pub fn build(config: &Config, addresses: &Addresses, around: Surroundings) -> Result<Self, GatewayError> {
        match (config.storage, &config.redis) {
            (Storage::Redis, Some(redis)) => Self::shared(config, redis, addresses, around),
            _ => Self::embedded(config, addresses, around),
        }
    }

    fn embedded(config: &Config, addresses: &Addresses, around: Surroundings) -> Result<Self, GatewayError> {
        let node = match &config.cluster.node_id {
            Some(name) => NodeId::parse(name.as_str())?,
            None => NodeId::parse(&format!("gateway-{}", addresses.websocket.port()))?,
        };
        let store = Arc::new(EmbeddedSessionStore::new(EmbeddedSettings::default()));
        let registry = Arc::new(Registry::new(store, node.clone(), &config.platforms)?);
        let delivery = Delivery::new(
            registry.clone(),
            around.offline,
            config.delivery.clone(),
            Handle::current(),
        );
        Ok(Self {
            node,
            auth: Arc::new(Authenticator::new(&config.auth, around.clock, around.random)?),
            registry,
            delivery: Arc::new(delivery),
            shared: None,
        })
    }

    fn shared(
        config: &Config,
        redis: &gateway_config::Redis,
        addresses: &Addresses,
        around: Surroundings,
    ) -> Result<Self, GatewayError> {
        let Surroundings {
            offline,
            metrics,
            phase,
            clock,
            random,
            certificates,
            keys,
        } = around;
        let proof = NodeProof::from_config(&config.cluster).ok_or(GatewayError::NoSecret)?;
        let boot = random_hex(&*random);
        let node = match &config.cluster.node_id {
            Some(name) => NodeId::parse(name.as_str())?,
            None => NodeId::parse(&format!("gateway-{}", &boot[..12]))?,
        };
        let runtime = Handle::current();
        let redis = Redis::new(redis, runtime.clone())?;
        let hints = Hints::new(redis.clone(), &runtime);
        let life = RedisSettings {
            session_ttl: config.cluster.session_ttl,
        };
        let mut store = RedisSessionStore::new(redis.clone(), life, &runtime);
        if config.cluster.events.enabled {
            let (events, life) = (&config.cluster.events, config.cluster.session_ttl);
            store = store.telling(PresenceStream::new(redis.clone(), events, life, &runtime));
        }
        let store = Arc::new(store);
        let registry = Arc::new(Registry::with_hints(
            store.clone(),
            node.clone(),
            &config.platforms,
            hints.clone(),
        )?);

        let tell = hints.clone();
        let tokens = RedisTokenStore::new(redis.clone(), move |id, until| tell.revoked(id, until));
        let tokens = Arc::new(tokens);
        let auth = Authenticator::with_store(&config.auth, tokens.clone(), clock.clone(), random)?;
        let auth = Arc::new(auth);

        let settings = ClusterSettings {
            node: node.clone(),
            boot: boot.clone(),
            address: advertised(config, addresses),
            config: config.cluster.clone(),
            push_ack_timeout: config.delivery.push_ack_timeout,
        };
        let transport = GrpcTransport::new(
            proof.clone(),
            certificates.peers,
            node.clone(),
            boot,
            config.cluster.peer_timeout,
        );
        let cluster = Arc::new(Cluster::new(
            settings,
            redis.clone(),
            hints.clone(),
            Arc::new(transport),
            runtime.clone(),
            clock.now(),
        ));
        let delivery = Arc::new(Delivery::among(
            registry.clone(),
            offline,
            config.delivery.clone(),
            runtime,
            Some(cluster.clone()),
        ));
        cluster.attach(registry.clone(), delivery.clone());
        let events = Events {
            registry: registry.clone(),
            metrics,
            clock: clock.clone(),
            phase,
            auth: auth.clone(),
            tokens,
            keys,
        };
        Ok(Self {
            node,
            auth,
            registry,
            delivery,
            shared: Some(SharedState {
                cluster,
                proof,
                hints,
                redis,
                store,
                events: Arc::new(events),
                left: CancellationToken::new(),
            }),
        })
    }
}

impl SharedState {
    /// Keeps the lease until `leaving`, then gives it up and writes what is still to be written.
    ///
    /// # Errors
    /// None: it is one of the servers, and they may fail.
    pub async fn keep(self, leaving: CancellationToken) -> Result<(), GatewayError> {
        self.cluster.run(self.events.clone(), leaving).await;
        self.hints.close().await;
        self.store.close().await;
        self.redis.close().await;
        self.left.cancel();
        Ok(())
    }

    /// Waits until it has been left.
    pub async fn left(&self) {
        if tokio::time::timeout(LEAVE, self.left.cancelled()).await.is_err() {
            tracing::warn!("the lease was not given up in time; it runs out by itself");
        }
    }
}

/// Where others reach this node.
fn advertised(config: &Config, addresses: &Addresses) -> String {
    if let Some(address) = &config.cluster.advertise_address {
        return address.to_string();
    }
    let mut address = addresses.grpc;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    }
    address.to_string()
}

fn random_hex(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

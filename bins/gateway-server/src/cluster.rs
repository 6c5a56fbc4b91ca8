//! This node among others, on the wire: gRPC to other nodes and from them, and what gateway-conn asks of the rest.
//!
//! Who is a node, who holds what and what is kept for whom is gateway-conn's; here are only sockets and secrets.

mod proof;
mod service;
mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use gateway_auth::{Authenticator, Clock, RedisTokenStore};
use gateway_codec::Timestamp;
use gateway_conn::{ClusterEvents, NodeLoad, Registry};
use tokio::sync::{Notify, watch};

pub use self::proof::NodeProof;
pub use self::service::PeerService;
pub use self::transport::GrpcTransport;
use crate::metrics::PipelineMetrics;
use crate::phase::Phase;

/// The metadata entries by which a node proves and names itself.
const SECRET: &str = "x-cluster-secret";
const NODE: &str = "x-node";
const BOOT: &str = "x-boot";

/// Largest batch from another node: 256 pushes of a megabyte would be more, and are cut by HTTP/2's window before.
const LARGEST_BATCH: usize = 512 << 20;

/// What the cluster's loop asks of this program, and tells it.
pub struct Events {
    pub registry: Arc<Registry>,
    pub metrics: PipelineMetrics,
    pub clock: Arc<dyn Clock>,
    pub phase: watch::Receiver<Phase>,
    pub tokens: Arc<RedisTokenStore>,
    pub auth: Arc<Authenticator>,
    /// Told where keys have changed.
    pub keys: Arc<Notify>,
}

#[async_trait]
impl ClusterEvents for Events {
    fn load(&self) -> NodeLoad {
        load_of(&self.registry, &self.metrics, &self.phase)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn revoked(&self, id: &str, until: Timestamp) {
        self.tokens.learn(id, until, self.clock.now());
        self.auth.distrust();
    }

    fn keys_changed(&self) {
        self.keys.notify_one();
    }

    async fn store_is_back(&self) {
        if let Err(error) = self.tokens.write_again(self.clock.now()).await {
            tracing::warn!(%error, "revocations are not all in the store again");
        }
        self.auth.distrust();
    }
}

/// How busy this node is.
pub fn load_of(registry: &Registry, metrics: &PipelineMetrics, phase: &watch::Receiver<Phase>) -> NodeLoad {
    let stats = registry.stats();
    NodeLoad {
        connections: metrics.open_connections(),
        sessions: stats.total as u64,
        users: stats.unique_users as u64,
        by_platform: stats
            .by_platform
            .iter()
            .map(|(platform, count)| (platform.to_string(), *count as u64))
            .collect(),
        draining: *phase.borrow() > Phase::Serving,
    }
}

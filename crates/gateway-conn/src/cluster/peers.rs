//! The links to all other nodes, and to this one itself: what passes that one passes the others' too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use gateway_codec::NodeId;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{Link, LinkLimits};
use super::members::Table;
use super::transport::PeerTransport;
use crate::sharded::lock;

pub(super) struct Peers {
    own: NodeId,
    transport: Arc<dyn PeerTransport>,
    links: RwLock<HashMap<NodeId, Arc<Link>>>,
    limits: LinkLimits,
    /// When the memory of a node was last lost: that of this one's predecessor when this one began.
    lost: Mutex<Instant>,
    stop: CancellationToken,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Peers {
    pub(super) fn new(
        own: NodeId,
        transport: Arc<dyn PeerTransport>,
        limits: LinkLimits,
        runtime: Handle,
    ) -> Self {
        Self {
            own,
            transport,
            links: RwLock::default(),
            limits,
            lost: Mutex::new(Instant::now()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime,
        }
    }

    /// Links to whoever has come, ends those to whoever has gone or is another process now.
    pub(super) fn follow(&self, table: &Table) {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|node, link| {
            let stays = table
                .get(node)
                .is_some_and(|member| member.boot == link.boot && member.address == link.address);
            if !stays {
                link.stop.cancel();
                *lock(&self.lost) = Instant::now();
            }
            stays
        });
        for (node, member) in table {
            if links.contains_key(node) || self.stop.is_cancelled() {
                continue;
            }
            let stop = self.stop.child_token();
            let (link, frames) = Link::new(
                node.clone(),
                member.boot.clone(),
                member.address.clone(),
                self.limits,
                stop,
            );
            self.tasks
                .spawn_on(link.clone().run(self.transport.clone(), frames), &self.runtime);
            links.insert(node.clone(), link);
        }
    }

    /// The way to a node.
    pub(super) fn link(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.links
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(node)
            .cloned()
    }

    /// The ways to all other nodes.
    pub(super) fn others(&self) -> Vec<Arc<Link>> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links
            .values()
            .filter(|link| link.node != self.own)
            .cloned()
            .collect()
    }

    /// A node that can keep what this one must not lose: the next one up, in the order of names behind this one's.
    pub(super) fn witness(&self) -> Option<Arc<Link>> {
        let mut others = self.others();
        others.retain(|link| link.is_up());
        let behind = |link: &&Arc<Link>| link.node > self.own;
        let next = others.iter().filter(behind).min_by_key(|link| link.node.clone());
        next.or_else(|| others.iter().min_by_key(|link| link.node.clone()))
            .cloned()
    }

    /// How long ago the memory of a node was last lost.
    pub(super) fn lost_ago(&self) -> Duration {
        lock(&self.lost).elapsed()
    }

    /// How long ago this node heard of itself.
    pub(super) fn own_silence(&self) -> Duration {
        self.link(&self.own)
            .map_or(Duration::MAX, |link| link.heard.ago())
    }

    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

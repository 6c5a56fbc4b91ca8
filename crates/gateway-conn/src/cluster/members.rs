//! The nodes of the cluster: a lease each, which its node renews and everybody reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use gateway_codec::{NodeId, Timestamp};
use gateway_redis::{Command, Redis, Script, read};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::StoreError;
use crate::sharded::lock;

static LEASE: Script = Script::repeatable(include_str!("lease.lua"));

/// How busy a node is, as it says in its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeLoad {
    /// Open connections.
    pub connections: u64,
    /// Bound sessions.
    pub sessions: u64,
    /// Users with a bound session on it.
    pub users: u64,
    /// Bound sessions by platform.
    pub by_platform: BTreeMap<String, u64>,
    /// It is being drained: nobody should count on it.
    pub draining: bool,
}

/// A node with a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where its gRPC listener is reached.
    pub address: String,
    /// Of this process alone; another one under the same name has another.
    pub boot: String,
    /// How busy it is.
    pub load: NodeLoad,
}

/// What came of renewing the own lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// It stood.
    Renewed,
    /// There was none: at the start, after a pause longer than it, or because Redis came back empty.
    Made,
    /// A process that started later has the name.
    Taken,
}

/// The nodes of the cluster, as last read.
pub(super) type Table = HashMap<NodeId, Member>;

pub(super) struct Members {
    redis: Redis,
    pub(super) node: NodeId,
    pub(super) boot: String,
    started: u64,
    address: String,
    lease: Duration,
    /// Life of what is to outlast a lease, so that others find what to reap.
    afterlife: Duration,
    table: RwLock<Arc<Table>>,
    renewed: Mutex<Option<Instant>>,
    /// Renewals so far: the id of the next one, within this boot.
    calls: AtomicU64,
}

/// The own lease and what else was read with it.
pub(super) struct Renewed {
    pub(super) lease: Lease,
    /// Named among the nodes and without a lease.
    pub(super) dead: Vec<NodeId>,
}

impl Members {
    pub(super) fn new(
        redis: Redis,
        node: NodeId,
        boot: String,
        address: String,
        lease: Duration,
        afterlife: Duration,
        now: Timestamp,
    ) -> Self {
        Self {
            redis,
            node,
            boot,
            started: now.as_millis(),
            address,
            lease,
            afterlife,
            table: RwLock::default(),
            renewed: Mutex::default(),
            calls: AtomicU64::default(),
        }
    }

    /// The nodes, this one among them.
    pub(super) fn table(&self) -> Arc<Table> {
        self.table
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Whether the own lease still runs, by this node's clock.
    pub(super) fn has_lease(&self) -> bool {
        lock(&self.renewed).is_some_and(|at| at.elapsed() < self.lease)
    }

    /// Renews the own lease and reads all of them: two round trips.
    pub(super) async fn renew(&self, load: &NodeLoad) -> Result<Renewed, StoreError> {
        // What is promised runs from before the asking.
        let asked = Instant::now();
        let nodes = self.redis.key("gateway:nodes");
        let own_set = self.redis.key(&format!("gateway:node:{}:sessions", self.node));
        let afterlife = self.afterlife.as_millis() as u64;
        let lease = Command::script(&LEASE, &[&self.key(&self.node)])
            .arg(&self.boot)
            .arg(self.started)
            .arg(&self.address)
            .arg(serde_json::to_string(load).unwrap_or_default())
            .arg(self.lease.as_millis() as u64)
            .arg(self.calls.fetch_add(1, Ordering::Relaxed));
        let replies = self
            .redis
            .run_all(vec![
                lease,
                Command::new("SADD").arg(&nodes).arg(self.node.as_str()),
                Command::new("PEXPIRE").arg(&nodes).arg(afterlife),
                Command::new("PEXPIRE").arg(own_set).arg(afterlife),
                Command::new("SMEMBERS").arg(&nodes),
            ])
            .await;
        let mut replies = replies.into_iter();
        let lease: String = read(replies.next().ok_or_else(short)??)?;
        let lease = match lease.as_str() {
            "renewed" => Lease::Renewed,
            "made" => Lease::Made,
            _ => Lease::Taken,
        };
        if lease != Lease::Taken {
            *lock(&self.renewed) = Some(asked);
        }
        let names: Vec<String> = read(replies.next_back().ok_or_else(short)??)?;
        let names: Vec<_> = names.iter().filter_map(|name| NodeId::parse(name).ok()).collect();
        let dead = self.read(&names).await?;
        Ok(Renewed { lease, dead })
    }

    /// Reads the leases of these nodes into the table; returns those without one.
    async fn read(&self, names: &[NodeId]) -> Result<Vec<NodeId>, StoreError> {
        let asked = names.iter().map(|name| {
            let fields = Command::new("HMGET").arg(self.key(name));
            fields.arg("address").arg("boot").arg("load")
        });
        let mut table = Table::new();
        let mut dead = Vec::new();
        for (name, reply) in names.iter().zip(self.redis.run_all(asked.collect()).await) {
            let fields: (Option<String>, Option<String>, Option<String>) = read(reply?)?;
            let (Some(address), Some(boot), load) = fields else {
                dead.push(name.clone());
                continue;
            };
            let load = load
                .and_then(|load| serde_json::from_str(&load).ok())
                .unwrap_or_default();
            table.insert(name.clone(), Member { address, boot, load });
        }
        *self
            .table
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(table);
        Ok(dead)
    }

    /// Whether a node has no lease, asked now.
    pub(super) async fn is_dead(&self, node: &NodeId) -> Result<bool, StoreError> {
        let stands: bool = read(self.redis.run(Command::new("EXISTS").arg(self.key(node))).await?)?;
        Ok(!stands)
    }

    /// Everything of a dead node has been taken out.
    pub(super) async fn forget(&self, node: &NodeId) -> Result<(), StoreError> {
        let forget = Command::new("SREM").arg(self.redis.key("gateway:nodes"));
        self.redis.run(forget.arg(node.as_str())).await?;
        Ok(())
    }

    /// Gives the own lease up.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        *lock(&self.renewed) = None;
        let lease = Command::new("DEL").arg(self.key(&self.node));
        self.redis.run(lease).await?;
        Ok(())
    }

    fn key(&self, node: &NodeId) -> String {
        self.redis.key(&format!("gateway:node:{node}"))
    }
}

fn short() -> StoreError {
    StoreError::Corrupt("fewer replies than commands".to_owned())
}

//! This node among others: its lease, what the nodes tell each other, and the links over which pushes go.
//!
//! | module | owns |
//! |---|---|
//! | `members` | the leases of all nodes; whose lease has run out |
//! | `hints` | what is said to all through Redis, and the canary that shows that it is heard |
//! | `link`, `peers` | one ordered stream to each node, its deadlines and bounds |
//! | `transport` | the seam to the wire |
//!
//! [`Cluster::run`] is the one loop that keeps all of it true: it renews the lease, reaps the dead, renews the sessions of
//! this node, and says whether the node is fit to serve. Nothing here is asked for by an ordinary command.

mod hints;
pub(crate) mod link;
mod members;
mod peers;
mod transport;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use gateway_codec::{NodeId, SessionId, Timestamp};
use gateway_redis::{Redis, Subscription};
use metrics::{Counter, counter};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use self::hints::Hints;
use self::hints::{Heard, Hint};
use self::link::{Link, LinkLimits};
use self::members::{Lease, Members};
pub use self::members::{Member, NodeLoad};
use self::peers::Peers;
pub use self::transport::{AnswerStream, Origin, PeerTransport, TransportError};
use crate::{Delivery, KickKind, Registry};

/// How often a canary is sent.
const CANARY: Duration = Duration::from_secs(1);
/// How soon a lease that could not be renewed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// A canary that is out for so long makes the node unfit.
const SILENT: Duration = Duration::from_secs(5);
/// One that is out for so long has the subscription made anew, and again after as long.
const STUCK: Duration = Duration::from_secs(3);

/// What a node is in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Its name.
    pub node: NodeId,
    /// Its process: another one has another.
    pub boot: String,
    /// Where others reach its gRPC listener, `host:port`.
    pub address: String,
    /// From `gateway_config`.
    pub config: gateway_config::Cluster,
    /// How long a device may take to acknowledge.
    pub push_ack_timeout: Duration,
}

/// What somebody else is told of the cluster's doings.
#[async_trait]
pub trait ClusterEvents: Send + Sync + 'static {
    /// How busy the node is.
    fn load(&self) -> NodeLoad;
    /// The time.
    fn now(&self) -> Timestamp;
    /// A token or a family was revoked elsewhere, until this moment.
    fn revoked(&self, id: &str, until: Timestamp);
    /// Keys were changed somewhere; this node has its own to look at.
    fn keys_changed(&self);
    /// Redis was away or has come back empty: what the node alone knows has to be written again.
    async fn store_is_back(&self);
}

/// Why a node is not fit to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has no lease: Redis is away, or the node was stopped for longer than the lease.
    #[error("this node has no lease in the store")]
    NoLease,
    /// What is told to it through Redis does not arrive.
    #[error("hints do not arrive")]
    Deaf,
    /// Its own gRPC listener does not answer at the advertised address.
    #[error("this node does not reach itself at its advertised address")]
    Unreachable,
    /// Its sessions have not been compared with the store since it was away.
    #[error("sessions are being renewed")]
    Renewing,
}

/// See the module. Share it by `Arc`.
pub struct Cluster {
    settings: ClusterSettings,
    members: Members,
    hints: Hints,
    peers: Peers,
    heard: Heard,
    /// Set once, before it runs: registry and delivery know the cluster, and it them.
    parts: OnceLock<Parts>,
    renewed: AtomicBool,
    /// A node has joined: the leases are to be read.
    joined: Notify,
    reaped: Counter,
    rewritten: Counter,
    taken: CancellationToken,
}

struct Parts {
    registry: Arc<Registry>,
    delivery: Arc<Delivery>,
}

impl Cluster {
    /// A node that is not one yet: [`run`](Self::run) makes it.
    #[must_use]
    pub fn new(
        settings: ClusterSettings,
        redis: Redis,
        hints: Hints,
        transport: Arc<dyn PeerTransport>,
        runtime: Handle,
        now: Timestamp,
    ) -> Self {
        let config = &settings.config;
        let limits = LinkLimits {
            answer: config.peer_timeout,
            // The device's time, and that of a session which is held or closed before.
            settle: settings.push_ack_timeout * 3,
            most: config.peer_queue,
        };
        Self {
            members: Members::new(
                redis,
                settings.node.clone(),
                settings.boot.clone(),
                settings.address.clone(),
                config.lease,
                config.session_ttl * 2,
                now,
            ),
            peers: Peers::new(settings.node.clone(), transport, limits, runtime),
            hints,
            heard: Heard::new(),
            parts: OnceLock::new(),
            renewed: AtomicBool::new(false),
            joined: Notify::new(),
            reaped: counter!("gateway_sessions_reaped_total"),
            rewritten: counter!("gateway_sessions_rewritten_total"),
            taken: CancellationToken::new(),
            settings,
        }
    }

    /// Ties it to the sessions and pushes of this node, once.
    pub fn attach(&self, registry: Arc<Registry>, delivery: Arc<Delivery>) {
        // A second call has nothing new to say.
        let _ = self.parts.set(Parts { registry, delivery });
    }

    /// The nodes with a lease, this one among them, as last read.
    #[must_use]
    pub fn members(&self) -> Vec<(NodeId, Member)> {
        let table = self.members.table();
        let mut members: Vec<_> = table
            .iter()
            .map(|(node, member)| (node.clone(), member.clone()))
            .collect();
        members.sort_by(|a, b| a.0.cmp(&b.0));
        members
    }

    /// Whether a node has a lease, as last read.
    #[must_use]
    pub fn is_member(&self, node: &NodeId) -> bool {
        *node == self.settings.node || self.members.table().contains_key(node)
    }

    /// Cancelled when another process has taken this node's name: it has to end.
    #[must_use]
    pub fn name_taken(&self) -> CancellationToken {
        self.taken.clone()
    }

    /// Whether the node is fit to serve.
    ///
    /// # Errors
    /// [`Unfit`] says why not.
    pub fn fit(&self) -> Result<(), Unfit> {
        if !self.members.has_lease() {
            return Err(Unfit::NoLease);
        }
        if !self.renewed.load(Ordering::Acquire) {
            return Err(Unfit::Renewing);
        }
        if self.heard.ago() > SILENT {
            return Err(Unfit::Deaf);
        }
        if self.peers.own_silence() > SILENT {
            return Err(Unfit::Unreachable);
        }
        Ok(())
    }

    pub(crate) fn link(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.peers.link(node)
    }

    pub(crate) fn others(&self) -> Vec<Arc<Link>> {
        self.peers.others()
    }

    /// How long ago what a node remembered was last lost with it.
    pub(crate) fn lost_ago(&self) -> Duration {
        self.peers.lost_ago()
    }

    pub(crate) fn witness(&self) -> Option<Arc<Link>> {
        self.settings
            .config
            .witness
            .then(|| self.peers.witness())
            .flatten()
    }

    /// Whether the process that a stream came from is dead: `None` where its lease still stands.
    pub(crate) fn is_dead(&self, origin: &Origin) -> bool {
        let table = self.members.table();
        table
            .get(&origin.node)
            .is_none_or(|member| *member.boot != *origin.boot)
    }

    /// How long what a silent node left here waits for word of it.
    pub(crate) fn patience(&self) -> Duration {
        self.settings.config.lease * 2
    }

    /// Keeps lease, sessions and links until `stop`, then gives the lease up. The lease is made before anything else, so
    /// that what a former process of this name left is reaped before the first session is bound.
    pub async fn run(&self, events: Arc<dyn ClusterEvents>, stop: CancellationToken) {
        let Some(parts) = self.parts.get() else { return };
        // Side by side, so that a slow store keeps nobody from hearing.
        tokio::join!(
            self.listen(parts, &*events, &stop),
            self.keep_lease(parts, &events, &stop),
            self.keep_sessions(parts, &*events, &stop),
        );
        self.peers.close().await;
        if let Err(error) = self.members.leave().await {
            tracing::warn!(%error, "the lease could not be given up; it runs out by itself");
        }
    }

    async fn listen(&self, parts: &Parts, events: &dyn ClusterEvents, stop: &CancellationToken) {
        let mut hints = self.hints.subscribe(&self.settings.node);
        let mut canary = every(CANARY);
        let mut restarted = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                hint = hints.recv() => match hint {
                    Some(message) => self.hear(&message.payload, parts, events),
                    None => return,
                },
                _ = canary.tick() => {
                    self.hints.canary(&self.settings.node, &self.settings.boot);
                    self.check_subscription(&hints, &mut restarted);
                }
            }
        }
    }

    async fn keep_lease(&self, parts: &Parts, events: &Arc<dyn ClusterEvents>, stop: &CancellationToken) {
        let mut lease = every(self.settings.config.lease / 3);
        let (mut first, mut away) = (true, false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = lease.tick() => {}
                () = self.joined.notified() => lease.reset(),
            }
            self.renew_lease(parts, events, &mut first, &mut away).await;
            if away {
                lease.reset_after(AGAIN.min(self.settings.config.lease / 3));
            }
        }
    }

    async fn keep_sessions(&self, parts: &Parts, events: &dyn ClusterEvents, stop: &CancellationToken) {
        let mut sessions = every(self.settings.config.renew_interval);
        while stop.run_until_cancelled(sessions.tick()).await.is_some() {
            if self.members.has_lease() {
                self.renew_sessions(parts, events.now()).await;
            }
        }
    }

    fn check_subscription(&self, hints: &Subscription, restarted: &mut Instant) {
        if self.heard.ago() > STUCK && restarted.elapsed() > STUCK {
            *restarted = Instant::now();
            tracing::warn!("hints do not arrive; the subscription is made anew");
            hints.restart();
        }
    }

    async fn renew_lease(
        &self,
        parts: &Parts,
        events: &Arc<dyn ClusterEvents>,
        first: &mut bool,
        away: &mut bool,
    ) {
        let node = &self.settings.node;
        let renewed = match self.members.renew(&events.load()).await {
            Ok(renewed) => renewed,
            Err(error) => {
                if !std::mem::replace(away, true) {
                    tracing::error!(%error, %node, "the lease cannot be renewed");
                }
                return;
            }
        };
        let back = std::mem::replace(away, false);
        match renewed.lease {
            Lease::Taken => {
                tracing::error!(%node, "another process has the name of this node; this one ends");
                self.taken.cancel();
                return;
            }
            Lease::Made if std::mem::replace(first, false) => {
                // What a former process of this name held.
                self.reap(parts, node, events.now()).await;
                self.renewed.store(true, Ordering::Release);
                self.hints.joined(node);
                tracing::info!(%node, address = %self.settings.address, "this node has a lease");
            }
            Lease::Made => {
                tracing::warn!(%node, "the lease had run out; sessions are renewed before this node serves on");
                self.come_back(parts, &**events).await;
            }
            Lease::Renewed => {
                *first = false;
                if back {
                    self.come_back(parts, &**events).await;
                }
            }
        }
        self.peers.follow(&self.members.table());
        parts.delivery.judge_orphans();
        for dead in renewed.dead {
            // Its sessions go before its name does, so that they are found if this node dies over it.
            if self.members.is_dead(&dead).await.is_ok_and(|dead| dead) {
                tracing::warn!(node = %dead, "a node's lease ran out; its sessions are taken out");
                if self.reap(parts, &dead, events.now()).await {
                    // It is named again should it come back.
                    let _ = self.members.forget(&dead).await;
                }
            }
        }
    }

    /// After Redis was away or empty, or this node stopped: everything known here is compared and written again.
    async fn come_back(&self, parts: &Parts, events: &dyn ClusterEvents) {
        self.renewed.store(false, Ordering::Release);
        events.store_is_back().await;
        self.renew_sessions(parts, events.now()).await;
    }

    async fn renew_sessions(&self, parts: &Parts, now: Timestamp) {
        let rewritten = match parts.registry.renew(now).await {
            Ok(rewritten) => rewritten,
            Err(error) => {
                tracing::debug!(%error, "sessions cannot be renewed");
                return;
            }
        };
        self.rewritten.increment(rewritten.len() as u64);
        for session in rewritten {
            // What came for its user meanwhile did not find it.
            parts.delivery.look_in_box(&session, now);
        }
        self.renewed.store(true, Ordering::Release);
    }

    /// Takes out what a dead node held; says whether all of it is out.
    async fn reap(&self, parts: &Parts, node: &NodeId, now: Timestamp) -> bool {
        loop {
            match parts.registry.reap(node, now).await {
                Ok(0) => return true,
                Ok(count) => self.reaped.increment(count as u64),
                Err(error) => {
                    tracing::warn!(%error, %node, "a dead node's sessions stay for now");
                    return false;
                }
            }
        }
    }

    fn hear(&self, payload: &[u8], parts: &Parts, events: &dyn ClusterEvents) {
        let Ok(hint) = serde_json::from_slice(payload) else {
            tracing::warn!("a hint cannot be read");
            return;
        };
        match hint {
            Hint::Canary { boot } => {
                if boot == self.settings.boot {
                    self.heard.now();
                }
            }
            Hint::End {
                sessions,
                kind,
                reason,
            } => {
                if let Some(kind) = KickKind::from_text(&kind) {
                    self.end(parts, &sessions, kind, &reason, events.now());
                }
            }
            Hint::Revoked { id, until } => events.revoked(&id, Timestamp::from_millis(until)),
            Hint::KeysChanged => events.keys_changed(),
            Hint::Joined { node } => {
                if node != self.settings.node.as_str() {
                    self.joined.notify_one();
                }
            }
        }
    }

    fn end(&self, parts: &Parts, sessions: &[SessionId], kind: KickKind, reason: &str, now: Timestamp) {
        for session in sessions {
            parts.registry.end(*session, kind, reason, now);
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

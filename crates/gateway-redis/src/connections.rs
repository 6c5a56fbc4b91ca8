//! The shared connections: which one a command takes, how many commands may be under way, and what is said where none
//! stands. Connections are made and replaced by the supervisor; none is waited for here.

mod supervisor;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use deadpool_redis::redis::{self, Value};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::supervisor::{Health, Supervisor};
use crate::error::is_broken;
use crate::exchange;
use crate::metrics::RedisMetrics;
use crate::topology::{Shared, Topology};
use crate::{Command, RedisError, Subscription, subscription};

/// Commands under way at once; a further one fails.
const UNDER_WAY: usize = 16_384;
/// Commands of one pipeline; more of them are several, one after the other.
const PIPELINE: usize = 4_096;

/// A place for a connection.
#[derive(Default)]
struct Slot {
    /// What commands take; empty while the connection is made or looked at.
    standing: ArcSwapOption<Shared>,
    /// Has the supervisor look whether the connection still stands.
    look: Notify,
}

struct Core {
    slots: Vec<Slot>,
    next: AtomicUsize,
    under_way: Semaphore,
    health: Health,
    metrics: RedisMetrics,
}

/// All of them, with the tasks that keep them.
pub(crate) struct Connections {
    core: Arc<Core>,
    topology: Arc<Topology>,
    tasks: TaskTracker,
    runtime: Handle,
    stop: CancellationToken,
    /// Ends the tasks of a handle that was dropped without being closed.
    _stop_when_dropped: DropGuard,
}

impl Connections {
    pub(crate) fn new(topology: Arc<Topology>, settings: &gateway_config::Redis, runtime: Handle) -> Self {
        let most = settings.max_connections.unwrap_or(settings.pool_size);
        let count = settings.min_connections.min(most).max(1);
        let core = Arc::new(Core {
            slots: (0..count).map(|_| Slot::default()).collect(),
            next: AtomicUsize::new(0),
            under_way: Semaphore::new(UNDER_WAY),
            health: Health::new(topology.describe()),
            metrics: RedisMetrics::new(),
        });
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        for place in 0..core.slots.len() {
            let supervisor = Supervisor {
                core: core.clone(),
                topology: topology.clone(),
                place,
                idle: settings.idle_timeout,
            };
            let stop = stop.clone();
            let keep = async move { stop.run_until_cancelled(supervisor.keep()).await };
            tasks.spawn_on(keep, &runtime);
        }
        Self {
            core,
            topology,
            tasks,
            runtime,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
        }
    }

    pub(crate) fn is_available(&self) -> bool {
        self.core.slots.iter().any(|slot| slot.standing.load().is_some())
    }

    pub(crate) async fn run(&self, command: Command) -> Result<Value, RedisError> {
        self.core.metrics.commands.increment(1);
        self.core
            .run(&command)
            .await
            .inspect_err(|error| self.core.metrics.failed(error))
    }

    pub(crate) async fn run_all(&self, commands: Vec<Command>) -> Vec<Result<Value, RedisError>> {
        self.core.metrics.commands.increment(commands.len() as u64);
        let mut replies = Vec::with_capacity(commands.len());
        let mut left = commands.into_iter();
        loop {
            let part: Vec<_> = left.by_ref().take(PIPELINE).collect();
            if part.is_empty() {
                break;
            }
            replies.extend(self.core.run_all(part).await);
        }
        for error in replies.iter().filter_map(|reply| reply.as_ref().err()) {
            self.core.metrics.failed(error);
        }
        replies
    }

    pub(crate) async fn ping(&self) -> Result<(), RedisError> {
        let _permit = self.core.permit(1)?;
        let (slot, connection) = self.core.pick()?;
        let pong = self.topology.ping(&connection).await;
        self.core.judge(slot, &connection, [&pong]);
        Ok(pong?)
    }

    pub(crate) fn subscribe(&self, channels: Vec<String>, settings: subscription::Waits) -> Subscription {
        subscription::start(
            self.topology.clone(),
            channels,
            settings,
            self.core.metrics.clone(),
            &self.stop,
            &self.tasks,
            &self.runtime,
        )
    }

    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Core {
    async fn run(&self, command: &Command) -> Result<Value, RedisError> {
        let _permit = self.permit(1)?;
        let (slot, connection) = self.pick()?;
        let reply = exchange::one(&connection, command, &self.metrics).await;
        self.judge(slot, &connection, [&reply]);
        Ok(reply?)
    }

    async fn run_all(&self, commands: Vec<Command>) -> Vec<Result<Value, RedisError>> {
        let count = commands.len();
        let taken = self
            .permit(count)
            .and_then(|permit| self.pick().map(|picked| (permit, picked)));
        let (_permit, (slot, connection)) = match taken {
            Ok(taken) => taken,
            Err(error) => return vec![Err(error); count],
        };
        let replies = exchange::many(&connection, commands, &self.metrics).await;
        self.judge(slot, &connection, &replies);
        replies
            .into_iter()
            .map(|reply| reply.map_err(RedisError::from))
            .collect()
    }

    fn permit(&self, count: usize) -> Result<SemaphorePermit<'_>, RedisError> {
        u32::try_from(count)
            .ok()
            .and_then(|count| self.under_way.try_acquire_many(count).ok())
            .ok_or_else(|| RedisError::Unavailable("too many commands are under way".to_owned()))
    }

    /// The next connection that stands.
    fn pick(&self) -> Result<(&Slot, Arc<Shared>), RedisError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.slots.len())
            .map(|step| &self.slots[first.wrapping_add(step) % self.slots.len()])
            .find_map(|slot| Some((slot, slot.standing.load_full()?)))
            .ok_or_else(|| RedisError::Unavailable(self.health.why_away()))
    }

    /// Takes a connection that failed out of use until it was looked at, and has the others looked at too.
    fn judge<'r, T: 'r>(
        &self,
        slot: &Slot,
        connection: &Arc<Shared>,
        replies: impl IntoIterator<Item = &'r Result<T, redis::RedisError>>,
    ) {
        let mut errors = replies.into_iter().filter_map(|reply| reply.as_ref().err());
        if !errors.any(is_broken) {
            return;
        }
        // A Cluster's connection stays in use: a node may be away while the others serve.
        if matches!(**connection, Shared::Server(_)) {
            // Only this connection: its successor may stand already.
            slot.standing.compare_and_swap(&Some(connection.clone()), None);
        }
        for slot in &self.slots {
            slot.look.notify_one();
        }
    }
}

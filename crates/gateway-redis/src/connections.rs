//! The shared connections: which one a command takes, when it is sent again on another, how many commands may be under
//! way, and what is said where none stands. Connections are made and replaced by the supervisor.
//!
//! A server closes connections for many reasons while it is well: an idle limit, an administrator, a proxy in between. A
//! command that meets a closed connection is sent again on another, or on the one that the supervisor is making, within its
//! deadline. Commands that may have been carried out are sent again only if that is harmless (`Command::is_repeatable`).

mod attempts;
mod supervisor;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_redis::redis::{self, Value};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::attempts::Attempts;
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

/// How long past its deadline a try is waited for.
const LATE: Duration = Duration::from_millis(20);

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
    /// The time that a command has, whatever it meets.
    response: Duration,
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
            response: settings.response_timeout,
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
            replies.extend(self.core.run_all(&part).await);
        }
        for error in replies.iter().filter_map(|reply| reply.as_ref().err()) {
            self.core.metrics.failed(error);
        }
        replies
    }

    pub(crate) async fn ping(&self) -> Result<(), RedisError> {
        self.core.ask(Ask::Ping(&self.topology)).await.map(drop)
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

/// What is asked of one connection.
enum Ask<'a> {
    Command(&'a Command),
    Ping(&'a Topology),
}

impl Core {
    async fn run(&self, command: &Command) -> Result<Value, RedisError> {
        self.ask(Ask::Command(command)).await
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Value, RedisError> {
        let _permit = self.permit(1)?;
        let mut attempts = Attempts::new(self.response);
        let is_repeatable = match &ask {
            Ask::Command(command) => command.is_repeatable(),
            Ask::Ping(_) => true,
        };
        loop {
            let (slot, connection) = self.pick(attempts.deadline()).await?;
            let asked = async {
                match &ask {
                    Ask::Command(command) => exchange::one(&connection, command, &self.metrics).await,
                    Ask::Ping(topology) => topology.ping(&connection).await.map(|()| Value::Okay),
                }
            };
            let Some(reply) = self.in_time(attempts.deadline(), slot, asked).await else {
                return Err(RedisError::TimedOut);
            };
            self.judge(slot, &connection, [&reply]);
            match reply {
                Err(error) if attempts.again(&error, is_repeatable, connection.is_cluster()) => {
                    self.metrics.repeated.increment(1);
                    attempts.pause().await;
                }
                reply => return Ok(reply?),
            }
        }
    }

    async fn run_all(&self, commands: &[Command]) -> Vec<Result<Value, RedisError>> {
        let count = commands.len();
        let _permit = match self.permit(count) {
            Ok(permit) => permit,
            Err(error) => return vec![Err(error); count],
        };
        let mut attempts = Attempts::new(self.response);
        let mut replies: Vec<Result<Value, RedisError>> = vec![Err(RedisError::TimedOut); count];
        // Places of the commands that have no reply yet.
        let mut left: Vec<usize> = (0..count).collect();
        while !left.is_empty() {
            let (slot, connection) = match self.pick(attempts.deadline()).await {
                Ok(picked) => picked,
                Err(error) => {
                    for place in left {
                        replies[place] = Err(error.clone());
                    }
                    break;
                }
            };
            let asked: Vec<&Command> = left.iter().map(|place| &commands[*place]).collect();
            let asked = exchange::many(&connection, &asked, &self.metrics);
            let Some(came) = self.in_time(attempts.deadline(), slot, asked).await else {
                for place in left {
                    replies[place] = Err(RedisError::TimedOut);
                }
                break;
            };
            self.judge(slot, &connection, &came);
            let mut again = Vec::new();
            for (place, reply) in left.into_iter().zip(came) {
                if let Err(error) = &reply
                    && attempts.again(error, commands[place].is_repeatable(), connection.is_cluster())
                {
                    again.push(place);
                }
                replies[place] = reply.map_err(RedisError::from);
            }
            left = again;
            if !left.is_empty() {
                self.metrics.repeated.increment(left.len() as u64);
                attempts.pause().await;
            }
        }
        replies
    }

    /// Until a little past the deadline, so that the library's own time-out comes first and is blamed on the connection.
    async fn in_time<T>(&self, deadline: Instant, slot: &Slot, asked: impl Future<Output = T>) -> Option<T> {
        let answered = timeout_at(deadline + LATE, asked).await;
        if answered.is_err() {
            slot.look.notify_one();
        }
        answered.ok()
    }

    fn permit(&self, count: usize) -> Result<SemaphorePermit<'_>, RedisError> {
        u32::try_from(count)
            .ok()
            .and_then(|count| self.under_way.try_acquire_many(count).ok())
            .ok_or_else(|| RedisError::Unavailable("too many commands are under way".to_owned()))
    }

    /// The next connection that stands. Where none does it is waited for, as long as the server was lost a moment ago.
    async fn pick(&self, deadline: Instant) -> Result<(&Slot, Arc<Shared>), RedisError> {
        loop {
            let mut changed = std::pin::pin!(self.health.changed());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            if let Some(picked) = self.standing() {
                return Ok(picked);
            }
            // There may be more hope by the end of it.
            let until = deadline.min(self.health.hope());
            if until <= Instant::now() {
                return Err(RedisError::Unavailable(self.health.why_away()));
            }
            let _ = timeout_at(until, changed).await;
        }
    }

    fn standing(&self) -> Option<(&Slot, Arc<Shared>)> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.slots.len())
            .map(|step| &self.slots[first.wrapping_add(step) % self.slots.len()])
            .find_map(|slot| Some((slot, slot.standing.load_full()?)))
    }

    /// Puts a connection into use.
    fn put(&self, slot: &Slot, connection: &Arc<Shared>) {
        slot.standing.store(Some(connection.clone()));
        self.health.stands();
    }

    /// Takes a connection out of use.
    fn take(&self, slot: &Slot, connection: &Arc<Shared>) {
        // Only this connection: its successor may stand already.
        slot.standing.compare_and_swap(&Some(connection.clone()), None);
        if self.slots.iter().all(|slot| slot.standing.load().is_none()) {
            self.health.none_stands();
        }
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
        if !connection.is_cluster() {
            self.take(slot, connection);
        }
        for slot in &self.slots {
            slot.look.notify_one();
        }
    }
}

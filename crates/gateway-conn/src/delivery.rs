//! Pushes to sessions: sent in order, each settled as taken by a device, kept in the offline box, or failed.
//!
//! Nothing is dropped in silence. A push to a user is a flight; on every session it is an entry of that session's lane
//! until the client acknowledges it (or, for a client that does not, until it is written). What no device of the user
//! takes goes to the [`OfflineSink`], in order per user, through the outbox. A new session first gets what waits there
//! (catch-up), and before it what its device missed since the last push that it names (resume).
//!
//! Queueing is synchronous, in the order of the calls. Everything that waits runs in tasks that
//! [`Delivery::shutdown`] waits for.

mod broadcast;
mod catch_up;
mod dedup;
mod flight;
mod flush;
mod inbound;
mod locate;
pub mod order;
mod outbox;
pub(crate) mod pending;
mod recall;
mod recent;
mod recording;
mod resume;
mod send;
mod settle;
mod ticker;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_codec::proto::cluster::Answer;
use gateway_codec::{PushBody, SessionId, Timestamp, UserId};
use gateway_config::Delivery as Settings;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::catch_up::Retry;
use self::dedup::Dedup;
pub use self::inbound::Inbound;
use self::inbound::Orphans;
use self::locate::{Blind, Locate};
use self::order::{BroadcastReport, PushOrder, Pushed, Report};
use self::outbox::Outbox;
use self::recent::Recent;
#[cfg(test)]
pub(crate) use self::recording::GATHER;
use crate::cluster::{Cluster, Origin};
use crate::metrics::DeliveryMetrics;
use crate::registry::{Live, Registry};
use crate::sharded::Sharded;
use crate::{OfflineSink, SessionRecord};

/// Calls to the offline box that record or report, at once.
const RECORDING_CALLS: usize = 64;
/// Calls to the offline box that ask, at once.
const ASKING_CALLS: usize = 256;

/// See the module. Cheap to share by `Arc`.
pub struct Delivery {
    core: Arc<Core>,
}

struct Core {
    registry: Arc<Registry>,
    sink: Arc<dyn OfflineSink>,
    settings: Settings,
    /// Sessions with something under way, those among them that the registry has let go already.
    busy: Sharded<HashMap<SessionId, Arc<Live>>>,
    recent: Recent,
    dedup: Dedup,
    broadcasts: Mutex<broadcast::Broadcasts>,
    outbox: Outbox,
    /// Users whose workers are about to be started.
    gathered: Mutex<Vec<UserId>>,
    recording_calls: Semaphore,
    asking_calls: Semaphore,
    retries: Mutex<VecDeque<Retry>>,
    /// Where there are other nodes, with what is kept for them and what waits for the store to say who is where.
    cluster: Option<Arc<Cluster>>,
    locating: Option<mpsc::Sender<Locate>>,
    orphans: Mutex<Vec<Orphans>>,
    blind: Mutex<Blind>,
    metrics: DeliveryMetrics,
    closing: AtomicBool,
    stop: CancellationToken,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Delivery {
    /// Delivers to the sessions of `registry`. Work in the background runs on `runtime`, whatever thread calls.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        sink: Arc<dyn OfflineSink>,
        settings: Settings,
        runtime: Handle,
    ) -> Self {
        Self::among(registry, sink, settings, runtime, None)
    }

    /// As [`new`](Self::new), one node of several where there is a `cluster`.
    #[must_use]
    pub fn among(
        registry: Arc<Registry>,
        sink: Arc<dyn OfflineSink>,
        settings: Settings,
        runtime: Handle,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let (locating, waiting) = mpsc::channel(locate::WAITING);
        let locating = cluster.is_some().then_some(locating);
        let core = Arc::new(Core {
            dedup: Dedup::new(settings.dedup_window, settings.dedup_entries),
            recent: Recent::new(&settings),
            registry,
            sink,
            busy: Sharded::new(HashMap::new),
            broadcasts: Mutex::default(),
            outbox: Outbox::new(),
            gathered: Mutex::default(),
            recording_calls: Semaphore::new(RECORDING_CALLS),
            asking_calls: Semaphore::new(ASKING_CALLS),
            retries: Mutex::default(),
            cluster,
            locating,
            orphans: Mutex::default(),
            blind: Mutex::default(),
            settings,
            metrics: DeliveryMetrics::new(),
            closing: AtomicBool::new(false),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime,
        });
        core.tasks.spawn_on(
            ticker::run(Arc::downgrade(&core), core.stop.clone()),
            &core.runtime,
        );
        if core.cluster.is_some() {
            let locate = locate::run(core.clone(), waiting, core.stop.clone());
            core.tasks.spawn_on(locate, &core.runtime);
        }
        Self { core }
    }

    /// A stream from another node has come: what it says goes into the first, the answers are the second's.
    #[must_use]
    pub fn inbound(&self, origin: Origin) -> (Inbound, mpsc::Receiver<Answer>) {
        Inbound::new(self.core.clone(), origin)
    }

    /// Something may be in the box that this session was not told of.
    pub(crate) fn look_in_box(&self, live: &Arc<Live>, now: Timestamp) {
        self.core.look_in_box(live, now);
    }

    /// The nodes have been looked at: decides over what dead ones have left here.
    pub(crate) fn judge_orphans(&self) {
        self.core.judge_orphans();
    }

    /// Queues a push on every live session of its targets before it returns; what is left to do goes on in the
    /// background. Pushes of one caller reach a device in the order of the calls.
    pub fn push_now(&self, order: PushOrder, now: Timestamp) -> Pushed {
        self.core.push_now(order, now)
    }

    /// As [`push_now`](Self::push_now), queueing when it is called and not when the future is first polled. The report
    /// then waits until it can be promised (in the box, or held by two nodes), and with `wait` for final outcomes, at most so long.
    pub fn push(
        &self,
        order: PushOrder,
        wait: Option<Duration>,
        now: Timestamp,
    ) -> impl Future<Output = Report> + Send + 'static {
        let pushed = self.push_now(order, now);
        async move {
            match wait {
                Some(wait) => pushed.settled(wait).await,
                None => pushed.accepted().await,
            }
        }
    }

    /// Sends a push to every live session of this node. Nothing is kept for those who are not there, and nobody waits
    /// for acknowledgements. A repeat (same `push_id` within the window, the last 256 of them) returns the first report.
    pub async fn broadcast(&self, body: PushBody, now: Timestamp) -> BroadcastReport {
        self.core.broadcast(body, now).await
    }

    /// The client has acknowledged a push. Unknown ones are passed over.
    pub fn acked(&self, session: SessionId, push_id: &str) {
        self.core.acked(session, push_id);
    }

    /// All pushes of this session with a ticket up to `up_to` are on the socket.
    pub fn written(&self, session: SessionId, up_to: u64) {
        self.core.written(session, up_to);
    }

    /// The login's reply is sent: gives the session what its device missed since `last_push_id`, if that is named, then
    /// what waits for its user, then what was held since it was bound. What was missed and cannot be had is announced by
    /// the notice `gap`.
    pub fn bound(&self, record: &SessionRecord, last_push_id: Option<&str>) {
        self.core.bound(record, last_push_id);
    }

    /// The connection has ended; `last_written` is the last ticket on the socket, 0 for none. Call it before
    /// [`Registry::ended`] or [`Registry::unbind`], and for sessions that were displaced too.
    pub fn closed(&self, record: &Arc<SessionRecord>, last_written: u64) {
        self.core.closed(record, last_written);
    }

    /// Refuses pushes from now on (`failed`), gives what is under way to the offline box and waits until all is said.
    /// Recording is tried once each from now on. Close the sessions first: what is written then need not be recorded.
    pub async fn shutdown(&self) {
        let core = &self.core;
        core.closing.store(true, Ordering::Release);
        core.stop.cancel();
        core.end_all();
        core.tasks.close();
        core.tasks.wait().await;
        core.drop_looks();
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

impl Core {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;

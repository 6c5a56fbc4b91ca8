//! Online and offline events of devices in a Redis stream, for services that want them.
//!
//! The stores' scripts say who came and who went; here it is told, behind them: a bind waits for no event. Each node
//! queues what it did and writes it in batches, one script each. What is kept in Redis beside the stream, in the slot of
//! the stream, is what goes on just now: the devices that left less than the flap window ago (`left`, and by time `due`).
//!
//! ```text
//! came ──▶ left it within the window? ──yes──▶ forgotten, nothing is told
//!               └──no──▶ online
//! left ──▶ noted ──window over──▶ any node: bound again, says the user's hash? ──no──▶ offline
//! ```
//! - **Order.** Whether a device's event is told, and its place in the stream, is decided in one script. Its sequence is
//!   the epoch of its session, which the store gives and never gives again; what is older than what is noted is passed over.
//! - **Once.** Whoever ends a session says so, and so does the node of its socket, or whoever reaps that node. The first
//!   one is noted, the others are known by the epoch. When the window is over a node claims the note for a while, looks
//!   whether the device is bound, and tells it only if the note is still the same. If it dies over it, another one does.
//! - **Bounds.** The queue is bounded and keeps what waits while Redis is away; what does not fit is lost, and counted.
//!   The stream has a length. All keys live for a time and are renewed by every node.
//!
//! Lost are the events in the queue of a node that is killed; of its sessions the reapers tell. One whose answer from
//! Redis was lost is written a second time with the same sequence.

mod settle;
mod write;

use std::sync::Arc;
use std::time::Duration;

use gateway_codec::Timestamp;
use gateway_config::PresenceEvents;
use gateway_redis::{Command, Redis, Script};
use metrics::{Counter, counter};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{SessionRecord, words};

/// How a device came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coming {
    /// A login.
    Bound,
    /// A login of a device that had a session: it was online before.
    Again,
    /// The store had lost its session, and has it again.
    Back,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Going {
    /// Its connection was closed, or the network lost it.
    Closed,
    /// Its node is dead.
    NodeLost,
    /// Somebody ended it.
    Ended(crate::KickKind),
}

impl Going {
    fn text(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NodeLost => "node_lost",
            Self::Ended(kind) => kind.text(),
        }
    }
}

/// One thing to tell.
struct Event {
    /// `bound`, `again`, `back`, `left`.
    what: &'static str,
    /// User, platform and device; no part holds white space.
    device: String,
    epoch: u64,
    /// Session, node, milliseconds and reason, in the same way.
    rest: String,
}

/// See the module.
pub struct PresenceStream {
    queue: mpsc::Sender<Event>,
    stop: CancellationToken,
    tasks: TaskTracker,
    lost: Counter,
}

/// What both tasks work with.
struct Desk {
    redis: Redis,
    keys: [String; 3],
    /// Life of the keys, in milliseconds.
    life: u64,
    length: u32,
    window: u64,
    online: Counter,
    offline: Counter,
    flaps: Counter,
}

impl PresenceStream {
    /// A stream on `redis`, written on `runtime`. Its keys live twice `session_ttl` after the last node.
    #[must_use]
    pub fn new(redis: Redis, settings: &PresenceEvents, session_ttl: Duration, runtime: &Handle) -> Self {
        let told = |event| counter!("gateway_presence_events_total", "event" => event);
        let desk = Arc::new(Desk {
            keys: ["", ":due", ":left"].map(|part| redis.key(&format!("{{gateway:events}}{part}"))),
            redis,
            life: millis(session_ttl.saturating_mul(2)),
            length: settings.stream_length,
            window: millis(settings.flap_window),
            online: told("online"),
            offline: told("offline"),
            flaps: counter!("gateway_presence_flaps_total"),
        });
        let (queue, waiting) = mpsc::channel(settings.queue);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let lost = counter!("gateway_presence_events_lost_total");
        tasks.spawn_on(
            write::run(desk.clone(), waiting, stop.clone(), lost.clone()),
            runtime,
        );
        tasks.spawn_on(settle::run(desk, stop.clone()), runtime);
        tasks.close();
        Self {
            queue,
            stop,
            tasks,
            lost,
        }
    }

    /// Writes what still waits, within two seconds, and ends.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    pub(crate) fn came(&self, record: &SessionRecord, how: Coming, at: Timestamp) {
        let what = match how {
            Coming::Bound => "bound",
            Coming::Again => "again",
            Coming::Back => "back",
        };
        self.put(what, record, at, "");
    }

    pub(crate) fn left(&self, record: &SessionRecord, why: Going, at: Timestamp) {
        self.put("left", record, at, why.text());
    }

    fn put(&self, what: &'static str, record: &SessionRecord, at: Timestamp, reason: &str) {
        let event = Event {
            what,
            device: words::join(&[
                record.user_id.as_str(),
                record.platform.as_str(),
                record.device_id.as_str(),
            ]),
            epoch: record.epoch,
            rest: format!(
                "{} {} {} {reason}",
                record.session_id,
                record.node,
                at.as_millis()
            ),
        };
        if self.queue.try_send(event).is_err() {
            self.lost.increment(1);
        }
    }
}

impl Desk {
    /// A script on the keys, with the arguments that all of them take.
    fn script(&self, script: &'static Script) -> Command {
        let [stream, due, left] = &self.keys;
        Command::script(script, &[stream, due, left])
            .arg(self.life)
            .arg(self.length)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

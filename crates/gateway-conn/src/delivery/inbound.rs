//! Pushes that other nodes give to sessions of this one, and what is kept for them.
//!
//! Whoever gives a push keeps it too, and says when it has ended. Where that node dies before, what it gave is this
//! node's: what a session here still has under way goes on, the rest goes to the offline box. So every push is held by two
//! nodes from the moment its caller is answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gateway_codec::proto::cluster::answer::Answer as Said;
use gateway_codec::proto::cluster::frame::Frame as Body;
use gateway_codec::proto::cluster::{
    Answer, Batch, Broadcast, Deliver, Ending, Looked, Placed, Placement, Pong, Recipient, Settled, Spread,
};
use gateway_codec::{EncodedPush, PushBody, SessionId, Timestamp, UserId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::flight::Flight;
use super::flush::Flushes;
use super::order::Outcome;
use super::pending::Cargo;
use super::send;
use crate::cluster::Origin;
use crate::registry::Live;
use crate::sharded::lock;

/// Answers that may wait for a node; past it the stream is ended, and the node takes its pushes for lost.
const ANSWERS: usize = 65_536;
/// Pushes kept for one node; past it likewise.
const KEPT: usize = 1_048_576;

/// A push that is kept until it is released.
pub(super) struct Kept {
    user: UserId,
    push: Arc<EncodedPush>,
    /// `None`: it is only kept.
    flight: Option<Arc<Flight>>,
}

/// What dead or unreachable nodes have left here.
pub(super) struct Orphans {
    origin: Origin,
    since: Instant,
    kept: Vec<Kept>,
}

/// One stream from another node. When it is dropped, the stream has ended.
pub struct Inbound {
    core: Arc<Core>,
    origin: Origin,
    desk: Arc<Desk>,
}

/// What the flights of a stream know of it.
pub(crate) struct Desk {
    answers: mpsc::Sender<Answer>,
    kept: Mutex<HashMap<u64, Kept>>,
    full: CancellationToken,
}

/// Tells the node that a push came from how it ended.
#[derive(Clone)]
pub(crate) struct Report {
    desk: Arc<Desk>,
    id: u64,
    /// The place of each slot in the recipient's list of sessions.
    places: Arc<[u32]>,
}

impl Report {
    pub(super) fn taken(&self, slot: usize, outcome: Outcome) {
        let written = outcome == Outcome::Written;
        self.settled(slot, if written { Ending::Written } else { Ending::Acked });
    }

    pub(super) fn taken_late(&self, slot: usize) {
        self.settled(slot, Ending::Late);
    }

    pub(super) fn given_up(&self, slot: usize) {
        self.settled(slot, Ending::GivenUp);
    }

    fn settled(&self, slot: usize, ending: Ending) {
        let Some(session) = self.places.get(slot).copied() else {
            return;
        };
        self.desk.say(Said::Settled(Settled {
            id: self.id,
            session,
            ending: ending.into(),
        }));
    }
}

impl Desk {
    fn say(&self, answer: Said) {
        if self.answers.try_send(Answer { answer: Some(answer) }).is_err() {
            self.full.cancel();
        }
    }
}

impl Inbound {
    pub(super) fn new(core: Arc<Core>, origin: Origin) -> (Self, mpsc::Receiver<Answer>) {
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let desk = Desk {
            answers,
            kept: Mutex::default(),
            full: CancellationToken::new(),
        };
        let inbound = Self {
            core,
            origin,
            desk: Arc::new(desk),
        };
        (inbound, receiver)
    }

    /// Cancelled when the stream has to be ended because its answers are not taken.
    #[must_use]
    pub fn overrun(&self) -> CancellationToken {
        self.desk.full.clone()
    }

    /// Takes in what has come, in its order. Never waits.
    pub fn take(&self, batch: Batch, now: Timestamp) {
        let mut flushes = Flushes::default();
        for frame in batch.frames {
            match frame.frame {
                Some(Body::Deliver(deliver)) => self.deliver(deliver, now, &mut flushes),
                Some(Body::Release(release)) => {
                    let mut kept = lock(&self.desk.kept);
                    for id in release.ids {
                        kept.remove(&id);
                    }
                }
                Some(Body::Look(look)) => {
                    if let Ok(user) = UserId::parse(&look.user_id) {
                        for live in self.core.registry.live_of(&user) {
                            self.core.look_in_box(&live, now);
                        }
                    }
                    self.desk.say(Said::Looked(Looked { id: look.id }));
                }
                Some(Body::Ping(ping)) => self.desk.say(Said::Pong(Pong { number: ping.number })),
                Some(Body::Broadcast(broadcast)) => self.broadcast(broadcast, now),
                Some(Body::Recall(asked)) => {
                    let recalled = self.core.recall_for_peer(asked, now);
                    self.desk.say(Said::Recalled(recalled));
                }
                None => {}
            }
        }
    }

    fn deliver(&self, deliver: Deliver, now: Timestamp, flushes: &mut Flushes) {
        let Some(Ok(body)) = deliver.push.map(PushBody::try_from) else {
            tracing::error!(origin = %self.origin.node, "a node gave a push that cannot be made");
            return;
        };
        self.core.metrics.peer_deliveries.increment(1);
        let made_at = if deliver.made_at == 0 {
            now
        } else {
            Timestamp::from_millis(deliver.made_at)
        };
        let to_all = !deliver.to_one_device;
        let push_id: Arc<str> = Arc::from(body.push_id.as_str());
        let push = Arc::new(EncodedPush::new(body, made_at));
        for recipient in deliver.recipients {
            let id = recipient.id;
            let placements = self.place(recipient, &push_id, &push, to_all, flushes);
            self.desk.say(Said::Placed(Placed { id, placements }));
        }
    }

    fn place(
        &self,
        recipient: Recipient,
        push_id: &Arc<str>,
        push: &Arc<EncodedPush>,
        to_all: bool,
        flushes: &mut Flushes,
    ) -> Vec<i32> {
        let gone = vec![i32::from(Placement::Gone); recipient.sessions.len()];
        let Ok(user) = UserId::parse(&recipient.user_id) else {
            return gone;
        };
        if lock(&self.desk.kept).len() >= KEPT {
            self.desk.full.cancel();
            return gone;
        }
        let find = |(place, id): (usize, &String)| {
            let live = self.core.registry.live(SessionId::parse(id).ok()?)?;
            (live.record.user_id == user).then_some((place, live))
        };
        let found: Vec<(usize, Arc<Live>)> = recipient.sessions.iter().enumerate().filter_map(find).collect();
        let mut kept = Kept {
            user: user.clone(),
            push: push.clone(),
            flight: None,
        };
        if found.is_empty() {
            lock(&self.desk.kept).insert(recipient.id, kept);
            return gone;
        }
        let report = Report {
            desk: self.desk.clone(),
            id: recipient.id,
            places: found.iter().map(|(place, _)| *place as u32).collect(),
        };
        let devices: Vec<_> = found.iter().map(|(_, live)| &*live.record).collect();
        let flight = Flight::for_peer(
            push_id.clone(),
            user,
            push.clone(),
            &devices,
            to_all,
            report.clone(),
        );
        let flight = Arc::new(flight);
        let first = self.core.dedup.enter(&flight, Instant::now());
        kept.flight = Some(first.clone().unwrap_or_else(|| flight.clone()));
        lock(&self.desk.kept).insert(recipient.id, kept);
        let mut placements = gone;
        if let Some(first) = first {
            // It came before, from another node or from a caller of this one: it is sent once, and told to both.
            self.core.metrics.repeats.increment(1);
            for (place, _) in &found {
                placements[*place] = Placement::Queued.into();
            }
            self.core.echo(first, report, found.len());
            return placements;
        }
        for (slot, (place, live)) in found.iter().enumerate() {
            let placed = self
                .core
                .place(live, Cargo::Flight(flight.clone(), slot), push, flushes);
            placements[*place] = match placed {
                send::Placed::Queued => Placement::Queued,
                send::Placed::Slow => Placement::Slow,
                send::Placed::Gone => {
                    drop(flight.give_up(slot, &self.core.metrics));
                    Placement::Gone
                }
            }
            .into();
        }
        // A peer's push is never recorded here while that node lives.
        drop(flight.handed_out(&self.core.metrics));
        placements
    }

    fn broadcast(&self, broadcast: Broadcast, now: Timestamp) {
        let Some(Ok(body)) = broadcast.push.map(PushBody::try_from) else {
            return;
        };
        let (core, desk, id) = (self.core.clone(), self.desk.clone(), broadcast.id);
        let spread = async move {
            let report = core.broadcast_here(body, now).await;
            desk.say(Said::Spread(Spread {
                id,
                queued: report.queued,
                slow: report.slow,
            }));
        };
        self.core.tasks.spawn_on(spread, &self.core.runtime);
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let kept: Vec<_> = lock(&self.desk.kept).drain().map(|(_, kept)| kept).collect();
        if !kept.is_empty() {
            lock(&self.core.orphans).push(Orphans {
                origin: self.origin.clone(),
                since: Instant::now(),
                kept,
            });
        }
    }
}

impl Core {
    /// Tells a node how a push ends that it gave and that was here already.
    fn echo(self: &Arc<Self>, first: Arc<Flight>, report: Report, sessions: usize) {
        let echo = async move {
            first.settled().await;
            for slot in 0..sessions {
                if first.was_taken() {
                    report.taken(slot, Outcome::Acked);
                } else {
                    report.given_up(slot);
                }
            }
        };
        self.tasks.spawn_on(echo, &self.runtime);
    }

    /// Decides over what other nodes have left: of a dead one it is this node's, of one that lives it is that one's.
    pub(super) fn judge_orphans(self: &Arc<Self>) {
        let Some(cluster) = &self.cluster else { return };
        let mut dead = Vec::new();
        lock(&self.orphans).retain_mut(|left| {
            if cluster.is_dead(&left.origin) {
                dead.append(&mut left.kept);
                return false;
            }
            left.since.elapsed() < cluster.patience()
        });
        if !dead.is_empty() {
            tracing::warn!(count = dead.len(), "pushes of a dead node are taken over");
        }
        for one in dead {
            let (flight, push) = match one.flight {
                Some(flight) => {
                    let push = flight.adopt(one.push);
                    (flight, push)
                }
                None => {
                    let push_id = Arc::from(one.push.body.push_id.as_str());
                    (Arc::new(Flight::to_the_box(push_id, one.user)), Some(one.push))
                }
            };
            if let Some(push) = push {
                self.metrics.adopted.increment(1);
                self.record(flight, push);
            }
        }
    }
}

//! The way to one other node: frames go out in order in batches, answers find who waits for them.
//!
//! Whatever is given to a node has a deadline until it is taken, and one until it is settled; a link that breaks fails all
//! at once. A node that does not answer in time is suspect and refused until something is heard of it again, so that one
//! that hangs costs one deadline and not one for each push.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use gateway_codec::NodeId;
use gateway_codec::proto::cluster::answer::Answer;
use gateway_codec::proto::cluster::frame::Frame as Body;
use gateway_codec::proto::cluster::{
    Batch, Deliver, Frame, Look, Looked, Ping, Placed, Recall, Recalled, Release, Settled, Spread,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::hints::Heard;
use super::transport::{AnswerStream, PeerTransport};
use crate::sharded::lock;

/// Frames in one batch.
const AT_ONCE: usize = 256;
/// How often deadlines are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often a node is asked for a sign of life.
const PING: Duration = Duration::from_secs(1);
/// Waits between tries to connect double from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Somebody who has given the other node something to keep, and hears what becomes of it.
pub(crate) trait Keeping: Send + Sync {
    /// It goes to this node under this id: [`Link::release`] it when nothing need be kept any more.
    fn given(&self, link: &Arc<Link>, id: u64);
    /// The node keeps it.
    fn placed(&self, placed: &Placed);
    /// It ended on one session.
    fn settled(&self, settled: &Settled);
    /// The node may or may not have it, and will say no more.
    fn lost(&self);
}

enum Waiting {
    Keeping { who: Arc<dyn Keeping>, placed: bool },
    Spread(oneshot::Sender<Spread>),
    Recalled(oneshot::Sender<Recalled>),
    Looked(oneshot::Sender<Looked>),
}

struct Entry {
    waiting: Waiting,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Not tried yet.
    New,
    Up,
    /// Up, but somebody waited in vain.
    Suspect,
    Down,
}

struct State {
    condition: Condition,
    last_id: u64,
    entries: HashMap<u64, Entry>,
    releases: Vec<u64>,
}

/// How long another node may take, and how much may be under way to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkLimits {
    /// To answer.
    pub(super) answer: Duration,
    /// To settle what it has taken.
    pub(super) settle: Duration,
    /// Frames waiting, and entries unanswered or unsettled.
    pub(super) most: usize,
}

/// See the module.
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(super) boot: String,
    pub(super) address: String,
    limits: LinkLimits,
    queue: mpsc::Sender<Frame>,
    state: Mutex<State>,
    released: Notify,
    pub(super) heard: Heard,
    pub(super) stop: CancellationToken,
}

impl Link {
    /// A link, and what its task has to send.
    pub(super) fn new(
        node: NodeId,
        boot: String,
        address: String,
        limits: LinkLimits,
        stop: CancellationToken,
    ) -> (Arc<Self>, mpsc::Receiver<Frame>) {
        let (queue, waiting) = mpsc::channel(limits.most);
        let state = State {
            condition: Condition::New,
            last_id: 0,
            entries: HashMap::new(),
            releases: Vec::new(),
        };
        let link = Self {
            node,
            boot,
            address,
            limits,
            queue,
            state: Mutex::new(state),
            released: Notify::new(),
            heard: Heard::new(),
            stop,
        };
        (Arc::new(link), waiting)
    }

    /// Whether something can be given to the node with good hope.
    pub(crate) fn is_up(&self) -> bool {
        lock(&self.state).condition == Condition::Up
    }

    /// Gives the node a push for these recipients, whose ids are set here. Each hears of its end, also where it cannot
    /// be sent at all.
    pub(crate) fn deliver(self: &Arc<Self>, mut deliver: Deliver, who: Vec<Arc<dyn Keeping>>) {
        let until = Instant::now() + self.limits.answer;
        let sent = {
            let mut state = lock(&self.state);
            if state.is_open(who.len(), self.limits.most) {
                for (recipient, who) in deliver.recipients.iter_mut().zip(&who) {
                    let waiting = Waiting::Keeping {
                        who: who.clone(),
                        placed: false,
                    };
                    recipient.id = state.enter(waiting, until);
                    who.given(self, recipient.id);
                }
                let sent = self.queue.try_send(frame(Body::Deliver(deliver.clone())));
                if sent.is_err() {
                    for recipient in &deliver.recipients {
                        state.entries.remove(&recipient.id);
                    }
                }
                sent.is_ok()
            } else {
                false
            }
        };
        if !sent {
            for who in who {
                who.lost();
            }
        }
    }

    /// What was given under this id has ended; the node need not keep it any more.
    pub(crate) fn release(&self, id: u64) {
        let mut state = lock(&self.state);
        // Whoever was told that it is lost has nothing to release.
        if state.entries.remove(&id).is_some() {
            state.releases.push(id);
            drop(state);
            self.released.notify_one();
        }
    }

    /// Has the user's sessions on the node ask the offline box; `None` where the node does not say in time that it has.
    pub(crate) async fn look(&self, user_id: String) -> Option<Looked> {
        let (tell, told) = oneshot::channel();
        let id = self.ask(Waiting::Looked(tell))?;
        self.send_asked(id, Body::Look(Look { id, user_id }))?;
        told.await.ok()
    }

    /// Sends a push to every session of the node.
    pub(crate) async fn spread(
        &self,
        mut broadcast: gateway_codec::proto::cluster::Broadcast,
    ) -> Option<Spread> {
        let (tell, told) = oneshot::channel();
        broadcast.id = self.ask(Waiting::Spread(tell))?;
        let id = broadcast.id;
        self.send_asked(id, Body::Broadcast(broadcast))?;
        told.await.ok()
    }

    /// Asks what the node remembers of a device; `None` where it does not say so in time.
    pub(crate) async fn recall(&self, mut recall: Recall) -> Option<Recalled> {
        let (tell, told) = oneshot::channel();
        recall.id = self.ask(Waiting::Recalled(tell))?;
        let id = recall.id;
        self.send_asked(id, Body::Recall(recall))?;
        told.await.ok()
    }

    fn ask(&self, waiting: Waiting) -> Option<u64> {
        let mut state = lock(&self.state);
        let open = state.is_open(1, self.limits.most);
        open.then(|| state.enter(waiting, Instant::now() + self.limits.answer))
    }

    fn send_asked(&self, id: u64, body: Body) -> Option<()> {
        let sent = self.queue.try_send(frame(body));
        if sent.is_err() {
            lock(&self.state).entries.remove(&id);
        }
        sent.ok()
    }

    /// Connects, sends, hears, and connects again, until it is stopped.
    pub(super) async fn run(
        self: Arc<Self>,
        transport: Arc<dyn PeerTransport>,
        mut frames: mpsc::Receiver<Frame>,
    ) {
        let mut wait = FIRST_WAIT;
        let stop = self.stop.clone();
        let work = async {
            loop {
                let (out, batches) = mpsc::channel(1);
                let opened = timeout(self.limits.answer, transport.open(&self.address, batches)).await;
                match opened {
                    Ok(Ok(answers)) => {
                        tracing::info!(node = %self.node, address = %self.address, "linked to a node");
                        lock(&self.state).condition = Condition::Up;
                        self.heard.now();
                        wait = FIRST_WAIT;
                        self.converse(out, answers, &mut frames).await;
                        tracing::warn!(node = %self.node, address = %self.address, "the link to a node broke");
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(node = %self.node, address = %self.address, %error, "a node cannot be reached");
                    }
                    Err(_) => {}
                }
                self.fail_all();
                while frames.try_recv().is_ok() {}
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
        };
        let never: Option<std::convert::Infallible> = stop.run_until_cancelled(work).await;
        debug_assert!(never.is_none());
        self.fail_all();
    }

    async fn converse(
        &self,
        out: mpsc::Sender<Batch>,
        mut answers: AnswerStream,
        frames: &mut mpsc::Receiver<Frame>,
    ) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pinged = Instant::now();
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    Some(Ok(answers)) => {
                        self.heard.now();
                        for answer in answers.answers {
                            self.hear(answer.answer);
                        }
                        continue;
                    }
                    Some(Err(_)) | None => return,
                },
                taken = frames.recv_many(&mut batch, AT_ONCE) => if taken == 0 { return },
                () = self.released.notified() => {}
                _ = look.tick() => {
                    self.overdue();
                    if pinged.elapsed() >= PING {
                        pinged = Instant::now();
                        batch.push(frame(Body::Ping(Ping::default())));
                    }
                    // Silence longer than this is no delay any more.
                    if self.heard.ago() > self.limits.answer * 3 {
                        return;
                    }
                }
            }
            let ids = std::mem::take(&mut lock(&self.state).releases);
            if !ids.is_empty() {
                batch.push(frame(Body::Release(Release { ids })));
            }
            if !batch.is_empty() {
                let frames = std::mem::take(&mut batch);
                // A node that does not read for so long is as good as gone.
                let sent = timeout(self.limits.answer, out.send(Batch { frames })).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }

    fn hear(&self, answer: Option<Answer>) {
        let mut state = lock(&self.state);
        if state.condition == Condition::Suspect {
            state.condition = Condition::Up;
        }
        match answer {
            Some(Answer::Placed(answer)) => match state.entries.get_mut(&answer.id) {
                Some(entry) => {
                    entry.until = Instant::now() + self.limits.settle;
                    if let Waiting::Keeping { who, placed } = &mut entry.waiting {
                        *placed = true;
                        let who = who.clone();
                        drop(state);
                        who.placed(&answer);
                    }
                }
                // It came too late for whoever waited: the node must not keep it for ever.
                None => {
                    state.releases.push(answer.id);
                    self.released.notify_one();
                }
            },
            Some(Answer::Settled(answer)) => {
                if let Some(Entry {
                    waiting: Waiting::Keeping { who, .. },
                    ..
                }) = state.entries.get(&answer.id)
                {
                    let who = who.clone();
                    drop(state);
                    who.settled(&answer);
                }
            }
            Some(Answer::Spread(answer)) => {
                if let Some(Waiting::Spread(tell)) = state.take(answer.id) {
                    // Whoever asked may have gone.
                    let _ = tell.send(answer);
                }
            }
            Some(Answer::Recalled(answer)) => {
                if let Some(Waiting::Recalled(tell)) = state.take(answer.id) {
                    // As above.
                    let _ = tell.send(answer);
                }
            }
            Some(Answer::Looked(answer)) => {
                if let Some(Waiting::Looked(tell)) = state.take(answer.id) {
                    // As above.
                    let _ = tell.send(answer);
                }
            }
            Some(Answer::Pong(_)) | None => {}
        }
    }

    /// Fails what has waited too long.
    fn overdue(&self) {
        let now = Instant::now();
        let late: Vec<_> = {
            let mut state = lock(&self.state);
            let late: Vec<u64> = state
                .entries
                .iter()
                .filter(|(_, entry)| entry.until <= now)
                .map(|(id, _)| *id)
                .collect();
            let late: Vec<_> = late
                .into_iter()
                .filter_map(|id| Some((id, state.take(id)?)))
                .collect();
            let unanswered =
                |(_, waiting): &(u64, Waiting)| !matches!(waiting, Waiting::Keeping { placed: true, .. });
            if state.condition == Condition::Up && late.iter().any(unanswered) {
                state.condition = Condition::Suspect;
            }
            state.releases.extend(late.iter().map(|(id, _)| *id));
            late
        };
        fail(late.into_iter().map(|(_, waiting)| waiting));
    }

    fn fail_all(&self) {
        let entries = {
            let mut state = lock(&self.state);
            state.condition = Condition::Down;
            state.releases.clear();
            std::mem::take(&mut state.entries)
        };
        fail(entries.into_values().map(|entry| entry.waiting));
    }
}

impl State {
    fn is_open(&self, wanted: usize, most: usize) -> bool {
        matches!(self.condition, Condition::New | Condition::Up) && self.entries.len() + wanted <= most
    }

    fn enter(&mut self, waiting: Waiting, until: Instant) -> u64 {
        self.last_id += 1;
        self.entries.insert(self.last_id, Entry { waiting, until });
        self.last_id
    }

    fn take(&mut self, id: u64) -> Option<Waiting> {
        self.entries.remove(&id).map(|entry| entry.waiting)
    }
}

fn fail(waiting: impl Iterator<Item = Waiting>) {
    for one in waiting {
        match one {
            Waiting::Keeping { who, .. } => who.lost(),
            // Dropped, which tells whoever waits.
            Waiting::Spread(_) | Waiting::Recalled(_) | Waiting::Looked(_) => {}
        }
    }
}

fn frame(body: Body) -> Frame {
    Frame { frame: Some(body) }
}

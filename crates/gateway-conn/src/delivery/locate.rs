//! Where a push has to go, among several nodes: the store is asked, then every node that holds a session of the user is
//! given the push, and no other.
//!
//! One task does it for all pushes, in the order in which they were asked for: what has gathered is asked for in one
//! pipeline and given to each node in one frame after another, so that the order holds all the way to a device. Where the
//! store does not answer, the sessions of this node get the push, and who else there may be is looked for when it does.

use std::collections::VecDeque;
use std::slice;
use std::sync::Arc;

use gateway_codec::proto::cluster::{Deliver, Ending, Placed, Placement, Recipient, Settled};
use gateway_codec::{DeviceId, EncodedPush, Platform, SessionId, UserId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::flight::Flight;
use super::flush::Flushes;
use super::order::Outcome;
use super::outbox::Job;
use crate::SessionRecord;
use crate::cluster::Cluster;
use crate::cluster::link::{Keeping, Link};
use crate::sharded::lock;

/// Pushes that may wait to be located; a further one has failed.
pub(super) const WAITING: usize = 65_536;
/// Pushes located in one step.
const AT_ONCE: usize = 256;
/// Users whose sessions are to be told of something in the box once the store answers; past it the next login tells them.
const BLIND: usize = 65_536;

/// A push to one user.
pub(super) struct Locate {
    pub(super) flight: Arc<Flight>,
    pub(super) push: Arc<EncodedPush>,
    /// Only this one.
    pub(super) device: Option<(DeviceId, Platform)>,
}

impl Locate {
    fn is_meant(&self, record: &SessionRecord) -> bool {
        self.device
            .as_ref()
            .is_none_or(|(device, platform)| record.device_id == *device && record.platform == *platform)
    }
}

/// A flight's sessions on one other node.
struct AtNode {
    core: Arc<Core>,
    flight: Arc<Flight>,
    /// The flight's slots, in the order of the recipient's sessions; none where the node only keeps it.
    slots: Vec<usize>,
    sessions: Vec<SessionId>,
}

impl Keeping for AtNode {
    fn given(&self, link: &Arc<Link>, id: u64) {
        self.flight.given(link, id);
    }

    fn placed(&self, placed: &Placed) {
        for ((slot, session), placement) in self.slots.iter().zip(&self.sessions).zip(&placed.placements) {
            match Placement::try_from(*placement) {
                Ok(Placement::Queued) => self.flight.queued(),
                Ok(Placement::Slow) => self.flight.slow(*slot),
                Ok(Placement::Gone | Placement::Unspecified) | Err(_) => {
                    // Over, or bound in the store and not yet on its node: that one will ask the box, perhaps too soon.
                    self.flight.no_longer_known(slice::from_ref(session));
                    self.give_up(*slot);
                }
            }
        }
        self.flight.answered(true);
    }

    fn settled(&self, settled: &Settled) {
        let Some(slot) = self.slots.get(settled.session as usize).copied() else {
            return;
        };
        match Ending::try_from(settled.ending) {
            Ok(Ending::Acked) => self.flight.take(slot, Outcome::Acked, &self.core.metrics),
            Ok(Ending::Written) => self.flight.take(slot, Outcome::Written, &self.core.metrics),
            Ok(Ending::Late) => {
                if self.flight.take_late(slot) {
                    let taken = Job::Delivered(vec![self.flight.push_id.to_string()]);
                    if !self.core.submit(&self.flight.user, taken) {
                        self.core.metrics.delivered_lost.increment(1);
                    }
                }
            }
            Ok(Ending::GivenUp | Ending::Unspecified) | Err(_) => self.give_up(slot),
        }
    }

    fn lost(&self) {
        self.flight.no_longer_known(&self.sessions);
        for slot in &self.slots {
            self.give_up(*slot);
        }
        self.flight.answered(false);
    }
}

impl AtNode {
    fn give_up(&self, slot: usize) {
        if let Some(push) = self.flight.give_up(slot, &self.core.metrics) {
            self.core.record(self.flight.clone(), push);
        }
    }
}

/// What goes to one node, gathered.
struct Parcel {
    link: Arc<Link>,
    push: Arc<EncodedPush>,
    to_all: bool,
    recipients: Vec<Recipient>,
    who: Vec<Arc<dyn Keeping>>,
}

/// Runs until it is stopped, and through what waits then.
pub(super) async fn run(core: Arc<Core>, mut waiting: mpsc::Receiver<Locate>, stop: CancellationToken) {
    let mut batch = Vec::new();
    while let Some(1..) = stop
        .run_until_cancelled(waiting.recv_many(&mut batch, AT_ONCE))
        .await
    {
        core.locate(&mut batch).await;
    }
    waiting.close();
    while let Some(one) = waiting.recv().await {
        batch.push(one);
        core.locate(&mut batch).await;
    }
}

impl Core {
    async fn locate(self: &Arc<Self>, batch: &mut Vec<Locate>) {
        let Some(cluster) = self.cluster.clone() else {
            return;
        };
        let mut users: Vec<UserId> = batch.iter().map(|one| one.flight.user.clone()).collect();
        users.sort_unstable();
        users.dedup();
        let found = self.registry.locate(&users).await;
        if let Err(error) = &found {
            self.metrics.blind.increment(batch.len() as u64);
            tracing::debug!(%error, "the store does not say where users are");
        }
        let mut flushes = Flushes::default();
        let mut parcels: Vec<Parcel> = Vec::new();
        let mut handed = Vec::with_capacity(batch.len());
        for one in batch.drain(..) {
            let elsewhere = match &found {
                Ok(found) => match users.binary_search(&one.flight.user) {
                    Ok(place) => found[place].as_slice(),
                    Err(_) => &[],
                },
                Err(_) => &[],
            };
            self.hand_over(&cluster, &one, elsewhere, &mut flushes, &mut parcels);
            handed.push(one.flight);
        }
        for parcel in parcels {
            let deliver = Deliver {
                push: Some((&*parcel.push.body).into()),
                made_at: parcel.push.timestamp().as_millis(),
                recipients: parcel.recipients,
                to_one_device: !parcel.to_all,
            };
            parcel.link.deliver(deliver, parcel.who);
        }
        drop(flushes);
        for flight in handed {
            if let Some(push) = flight.handed_out(&self.metrics) {
                self.record(flight, push);
            }
        }
    }

    /// Puts a push on the sessions here and into the parcels of the other nodes.
    fn hand_over(
        self: &Arc<Self>,
        cluster: &Cluster,
        one: &Locate,
        found: &[Arc<SessionRecord>],
        flushes: &mut Flushes,
        parcels: &mut Vec<Parcel>,
    ) {
        let here = self.registry.live_of(&one.flight.user);
        let meant: Vec<_> = here.iter().filter(|live| one.is_meant(&live.record)).collect();
        let own = self.registry.node();
        let elsewhere = |record: &&Arc<SessionRecord>| record.node != *own && cluster.is_member(&record.node);
        let elsewhere: Vec<_> = found.iter().filter(elsewhere).collect();
        let known = here.iter().map(|live| live.record.session_id);
        let known = known
            .chain(elsewhere.iter().map(|record| record.session_id))
            .collect();
        let meant_elsewhere: Vec<_> = elsewhere
            .into_iter()
            .filter(|record| one.is_meant(record))
            .collect();
        let devices: Vec<&SessionRecord> = meant
            .iter()
            .map(|live| &*live.record)
            .chain(meant_elsewhere.iter().map(|record| &***record))
            .collect();
        one.flight.bring_before(known, &devices);
        self.place_all(&one.flight, &one.push, &meant, flushes);

        let mut nodes: Vec<(Arc<Link>, AtNode)> = Vec::new();
        for (index, record) in meant_elsewhere.iter().enumerate() {
            let slot = meant.len() + index;
            let Some(link) = cluster.link(&record.node) else {
                one.flight.no_longer_known(&[record.session_id]);
                drop(one.flight.give_up(slot, &self.metrics));
                continue;
            };
            let at = match nodes.iter_mut().find(|(other, _)| other.node == link.node) {
                Some((_, at)) => at,
                None => {
                    nodes.push((link, self.at_node(&one.flight)));
                    let (_, at) = nodes.last_mut().unwrap_or_else(|| unreachable!("just pushed"));
                    at
                }
            };
            at.slots.push(slot);
            at.sessions.push(record.session_id);
        }
        if nodes.is_empty() && !meant.is_empty() {
            match cluster.witness() {
                Some(witness) => nodes.push((witness, self.at_node(&one.flight))),
                None => self.metrics.unwitnessed.increment(1),
            }
        }
        for (link, at) in nodes {
            let recipient = Recipient {
                id: 0,
                user_id: one.flight.user.to_string(),
                sessions: at.sessions.iter().map(SessionId::to_string).collect(),
            };
            put(parcels, link, one, recipient, Arc::new(at));
        }
    }

    fn at_node(self: &Arc<Self>, flight: &Arc<Flight>) -> AtNode {
        AtNode {
            core: self.clone(),
            flight: flight.clone(),
            slots: Vec::new(),
            sessions: Vec::new(),
        }
    }

    /// Something was recorded for a user: sessions on other nodes that the pushes were not brought before have to look.
    pub(super) async fn hint_elsewhere(self: &Arc<Self>, user: &UserId, flights: &[&Arc<Flight>]) {
        let Some(cluster) = &self.cluster else { return };
        match self.registry.locate(slice::from_ref(user)).await {
            Ok(found) => {
                let unknown = |record: &&Arc<SessionRecord>| {
                    flights.iter().any(|flight| !flight.knows(record.session_id))
                };
                self.tell_nodes(cluster, found.iter().flatten().filter(unknown));
            }
            Err(_) => self.blind(user.clone()),
        }
    }

    fn tell_nodes<'a>(
        self: &Arc<Self>,
        cluster: &Cluster,
        records: impl Iterator<Item = &'a Arc<SessionRecord>>,
    ) {
        for record in records.filter(|record| record.node != *self.registry.node()) {
            let user = record.user_id.clone();
            let Some(link) = cluster.link(&record.node) else {
                // The node is not linked to yet, or is dead and will be reaped.
                self.blind(user);
                continue;
            };
            let core = self.clone();
            let look = async move {
                if link.look(user.to_string()).await.is_none() {
                    core.blind(user);
                }
            };
            self.tasks.spawn_on(look, &self.runtime);
        }
    }

    fn blind(&self, user: UserId) {
        let mut users = lock(&self.blind);
        if users.len() < BLIND {
            users.push_back(user);
        } else {
            self.metrics.looks_dropped.increment(1);
        }
    }

    /// At the end: whoever has not been told will not be.
    pub(super) fn drop_looks(&self) {
        let left = std::mem::take(&mut *lock(&self.blind));
        self.metrics.looks_dropped.increment(left.len() as u64);
    }

    /// Takes up those whose sessions could not be told: a little later the store may answer.
    pub(super) fn look_again(self: &Arc<Self>) {
        let users: Vec<_> = {
            let mut blind = lock(&self.blind);
            let some = blind.len().min(AT_ONCE);
            blind.drain(..some).collect()
        };
        if users.is_empty() || self.is_closing() {
            return;
        }
        let core = self.clone();
        let look = async move {
            let Some(cluster) = &core.cluster else { return };
            match core.registry.locate(&users).await {
                Ok(found) => core.tell_nodes(cluster, found.iter().flatten()),
                Err(_) => {
                    for user in users {
                        core.blind(user);
                    }
                }
            }
        };
        self.tasks.spawn_on(look, &self.runtime);
    }
}

/// Adds to the last parcel of the node where that has the same push: a push to many users is one frame a node.
fn put(
    parcels: &mut Vec<Parcel>,
    link: Arc<Link>,
    one: &Locate,
    recipient: Recipient,
    who: Arc<dyn Keeping>,
) {
    let last = parcels.iter_mut().rfind(|parcel| parcel.link.node == link.node);
    match last.filter(|parcel| Arc::ptr_eq(&parcel.push, &one.push)) {
        Some(parcel) => {
            parcel.recipients.push(recipient);
            parcel.who.push(who);
        }
        None => parcels.push(Parcel {
            link,
            push: one.push.clone(),
            to_all: one.device.is_none(),
            recipients: vec![recipient],
            who: vec![who],
        }),
    }
}

/// Users whose sessions are still to be told.
pub(super) type Blind = VecDeque<UserId>;

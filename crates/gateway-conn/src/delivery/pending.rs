//! What of a session's pushes is under way: sent and not settled, or held back. One small state per session, its
//! lists allocated while there is something in them.
//!
//! Everything here happens under the lane's lock, link calls included: that ties a push's ticket to its entry before
//! `written` or `acked` can ask for it. The lock order is lane, flight, the tables of the delivery.

use std::collections::VecDeque;
use std::sync::Arc;

use gateway_codec::{EncodedPush, Timestamp};
use tokio::time::Instant;

use super::flight::Flight;
use super::recall::Gap;

/// How many unacknowledged pushes a session keeps in mind after their time, for a late acknowledgement.
const STALE: usize = 64;

/// Where a session stands with its pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Bound, the login's reply not sent yet: pushes are held.
    #[default]
    Fresh,
    /// It is being found out what the device has missed: pushes are held, however long that takes.
    Resuming,
    /// The offline box is being asked: pushes are held.
    Asking,
    /// Pushes go straight to the link.
    Open,
    /// Too slow, being closed: pushes are held and recorded after the end, in their order.
    Closing,
    /// Ended.
    Closed,
}

/// What is sent or held.
pub(crate) enum Cargo {
    /// A push of somebody who wants to know its outcome, and the place of this device in it.
    Flight(Arc<Flight>, usize),
    /// From the offline box, by its push id. If it is not taken, it stays there.
    Boxed(Arc<str>),
    /// Sent before and remembered, by its push id. If it is not taken, it is remembered still.
    Resumed(Arc<str>),
    /// A broadcast: sent and forgotten.
    Broadcast,
}

impl Cargo {
    pub(crate) fn push_id(&self) -> Option<&str> {
        match self {
            Self::Flight(flight, _) => Some(&flight.push_id),
            Self::Boxed(push_id) | Self::Resumed(push_id) => Some(push_id),
            Self::Broadcast => None,
        }
    }
}

/// A push that the link has taken.
pub(crate) struct Sent {
    pub(crate) ticket: u64,
    pub(crate) cargo: Cargo,
    pub(crate) deadline: Instant,
    /// Not acknowledged in time, and given up.
    pub(crate) expired: bool,
    /// It is in the offline box, to be taken out when it is delivered.
    pub(crate) in_box: bool,
}

/// A push that is held back.
pub(crate) struct Held {
    pub(crate) cargo: Cargo,
    pub(crate) push: Arc<EncodedPush>,
}

/// The lists of a session that has something under way.
#[derive(Default)]
pub(crate) struct Work {
    /// By ticket. Those that expired are among them, at most [`STALE`].
    pub(crate) sent: VecDeque<Sent>,
    pub(crate) held: VecDeque<Held>,
    /// When the holding ends whatever happens.
    pub(crate) held_until: Option<Instant>,
    /// Sent from the box and neither delivered nor expired.
    pub(crate) in_box: usize,
    /// Expired ones among `sent`.
    pub(crate) stale: usize,
    /// The box has more; asked for again when `in_box` is down to 0, if some of it were delivered.
    pub(crate) more: bool,
    pub(crate) progress: bool,
    /// Taken and in the box, since it was last decided to ask it: the answer may still hold them.
    pub(crate) taken: Vec<String>,
    /// The time written into pushes from the box.
    pub(crate) asked_at: Timestamp,
    /// What the device missed and cannot be given, to be announced once the box has been asked.
    pub(crate) gap: Option<Gap>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) phase: Phase,
    /// The box will be asked, or is being asked.
    pub(crate) asking: bool,
    /// Something came into the box meanwhile.
    pub(crate) ask_again: bool,
    work: Option<Box<Work>>,
}

impl Lane {
    /// The lists, made when first needed.
    pub(crate) fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    pub(crate) fn take_work(&mut self) -> Work {
        self.work.take().map(|work| *work).unwrap_or_default()
    }

    /// Gives memory back that is not needed; says whether nothing is under way.
    pub(crate) fn tidy(&mut self) -> bool {
        let idle = self
            .work
            .as_ref()
            .is_none_or(|work| work.sent.is_empty() && work.held.is_empty());
        let forgets = !self.asking
            || self
                .work
                .as_ref()
                .is_none_or(|work| work.taken.is_empty() && work.gap.is_none());
        if idle && forgets {
            self.work = None;
        }
        idle
    }

    pub(crate) fn held(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.held.len())
    }

    /// Whether no push is held, or sent and neither settled nor given up.
    pub(crate) fn at_rest(&self) -> bool {
        let settled = |work: &Work| work.sent.len() == work.stale && work.held.is_empty();
        self.phase == Phase::Open && !self.asking && self.work.as_deref().is_none_or(settled)
    }

    /// Pushes sent for callers and not settled.
    pub(crate) fn outstanding(&self) -> usize {
        self.work
            .as_ref()
            .map_or(0, |work| work.sent.len() - work.stale - work.in_box)
    }
}

impl Work {
    /// Takes a push out by its id.
    pub(crate) fn remove(&mut self, push_id: &str) -> Option<Sent> {
        let place = self
            .sent
            .iter()
            .position(|sent| sent.cargo.push_id() == Some(push_id))?;
        let sent = self.sent.remove(place)?;
        self.uncount(&sent);
        Some(sent)
    }

    /// Takes out the oldest push if its ticket is at most `up_to`.
    pub(crate) fn pop_written(&mut self, up_to: u64) -> Option<Sent> {
        if self.sent.front()?.ticket > up_to {
            return None;
        }
        let sent = self.sent.pop_front()?;
        self.uncount(&sent);
        Some(sent)
    }

    fn uncount(&mut self, sent: &Sent) {
        if sent.expired {
            self.stale -= 1;
        } else if sent.in_box {
            self.in_box -= 1;
        }
    }

    /// Enters what the link has taken.
    pub(crate) fn enter(&mut self, sent: Sent) {
        self.in_box += usize::from(sent.in_box);
        self.sent.push_back(sent);
    }

    /// If this push has been sent and not settled: notes that the box holds it too.
    pub(crate) fn note_in_box(&mut self, push_id: &str) -> bool {
        let Some(sent) = self
            .sent
            .iter_mut()
            .find(|sent| sent.cargo.push_id() == Some(push_id))
        else {
            return false;
        };
        if !sent.in_box {
            sent.in_box = true;
            self.in_box += usize::from(!sent.expired);
        }
        true
    }

    /// Takes a held push out by its id.
    pub(crate) fn unhold(&mut self, push_id: &str) -> Option<Held> {
        let place = self
            .held
            .iter()
            .position(|held| held.cargo.push_id() == Some(push_id))?;
        self.held.remove(place)
    }

    /// Marks what should have been acknowledged by `now`; returns how many and the flights among it.
    pub(crate) fn expire(&mut self, now: Instant) -> (u64, Vec<(Arc<Flight>, usize)>) {
        let mut count = 0;
        let mut flights = Vec::new();
        for sent in self
            .sent
            .iter_mut()
            .take_while(|sent| sent.deadline <= now)
            .filter(|sent| !sent.expired)
        {
            count += 1;
            sent.expired = true;
            self.stale += 1;
            self.in_box -= usize::from(sent.in_box);
            if let Cargo::Flight(flight, slot) = &sent.cargo {
                flights.push((flight.clone(), *slot));
            }
        }
        while self.stale > STALE {
            let Some(place) = self.sent.iter().position(|sent| sent.expired) else {
                break;
            };
            self.sent.remove(place);
            self.stale -= 1;
        }
        (count, flights)
    }
}

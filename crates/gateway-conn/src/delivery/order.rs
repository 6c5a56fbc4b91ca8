//! What a caller asks for and what it is told: orders, outcomes, reports.

use std::sync::Arc;
use std::time::Duration;

use gateway_codec::{DeviceId, Platform, PushBody, UserId};

use super::flight::Flight;

/// Whom a push is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every device of these users.
    Users(Vec<UserId>),
    /// One device of one user.
    Device {
        /// The user.
        user: UserId,
        /// The device.
        device: DeviceId,
        /// Its platform.
        platform: Platform,
    },
}

/// One push and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushOrder {
    /// The push. Its `push_id` makes it idempotent per user; an empty one is never taken for a repeat and cannot be
    /// acknowledged, so the caller makes one.
    pub body: PushBody,
    /// Whom it is for.
    pub target: Target,
}

/// How a push ended on one device, or where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The device said that it has it.
    Acked,
    /// Written to the socket of a device that does not acknowledge.
    Written,
    /// On its way to a live session. Not final.
    Queued,
    /// The device did not take it: it was not connected, went away or did not acknowledge in time. The push is in the
    /// user's offline box, or on its way there, unless another device of the user took it or still may.
    Offline,
    /// As `Offline`, because the device reads too slowly; its session is closed with 4413.
    Slow,
    /// Neither delivered nor recorded: the caller has to try again, with the same `push_id`.
    Failed,
}

/// The outcome on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOutcome {
    /// The user.
    pub user_id: UserId,
    /// The device and its platform; `None` for a user without a device that the push could be sent to.
    pub device: Option<(DeviceId, Platform)>,
    /// How it ended.
    pub outcome: Outcome,
}

/// The outcomes of one push, by user in the order asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The push.
    pub push_id: String,
    /// One entry per device; for a user without one, one entry without a device.
    pub outcomes: Vec<DeviceOutcome>,
}

/// What came of a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroadcastReport {
    /// Sessions it was queued for.
    pub queued: u64,
    /// Sessions whose queue was full; they are closed with 4413.
    pub slow: u64,
}

/// A push that has been handed to the sessions of its targets; what is left to do goes on by itself.
#[must_use = "says whether the push reached anybody"]
pub struct Pushed {
    pub(super) push_id: String,
    pub(super) flights: Vec<Arc<Flight>>,
}

impl Pushed {
    /// The push.
    #[must_use]
    pub fn push_id(&self) -> &str {
        &self.push_id
    }

    /// Whether it was queued on a live session of any target. For a repeat: whether the first one was.
    #[must_use]
    pub fn any_queued(&self) -> bool {
        self.flights.iter().any(|flight| flight.was_queued())
    }

    /// Whether it has ended as [`Outcome::Failed`] for any target already: neither queued nor kept.
    #[must_use]
    pub fn any_failed(&self) -> bool {
        let mut outcomes = self.flights.iter().flat_map(|flight| flight.outcomes());
        outcomes.any(|one| one.outcome == Outcome::Failed)
    }

    /// How it stands now.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            push_id: self.push_id.clone(),
            outcomes: self.flights.iter().flat_map(|flight| flight.outcomes()).collect(),
        }
    }

    /// Whether [`accepted`](Self::accepted) has nothing to wait for.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.flights.iter().all(|flight| flight.is_secured())
    }

    /// Waits until it can be promised: what no session takes is in the offline box or has failed to get there, the rest is
    /// on its way and, among several nodes, held by two. Bounded by the tries and deadlines of recording and of peers.
    pub async fn accepted(self) -> Report {
        self.secured().await;
        self.report()
    }

    /// As [`accepted`](Self::accepted), for a caller who goes on with it.
    pub async fn secured(&self) {
        for flight in &self.flights {
            flight.secured().await;
        }
    }

    /// Waits for final outcomes, at most for `wait`.
    pub async fn settled(self, wait: Duration) -> Report {
        let all = async {
            for flight in &self.flights {
                flight.settled().await;
            }
        };
        // Late is not wrong: the report says `queued` where an outcome is not final.
        let _ = tokio::time::timeout(wait, all).await;
        self.report()
    }
}

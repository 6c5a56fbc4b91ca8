//! The seam to the truth about sessions.
//!
//! A store gives epochs, applies the device policy and removes by comparison, each in one step of its own: rule 2 of
//! the architecture (the newest device survives any interleaving) is a store's to keep. It holds no sockets; closing
//! what it displaced is the registry's work. `tests/store_rules.rs` holds the rules as one test body for all stores.

pub mod embedded;
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use gateway_codec::{NodeId, Timestamp, UserId};
use gateway_config::DevicePolicy;

use crate::{KickKind, NewSession, Selector, SessionRecord, StoreError};

/// The most users one page holds.
pub const PAGE_LIMIT: usize = 1_000;

/// What came of a bind.
#[derive(Clone, Debug)]
pub enum BindAttempt {
    /// The session is in the store; those displaced by it are no longer, and have tombstones.
    Bound {
        /// The new session with its epoch.
        record: Arc<SessionRecord>,
        /// Who had to go, on whatever node.
        displaced: Vec<Arc<SessionRecord>>,
    },
    /// The policy does not let it in; nothing has changed.
    Refused,
}

/// How a session stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the one for its device.
    Current,
    /// Somebody ended it: a tombstone, or a newer login on its device.
    Displaced(KickKind),
    /// Neither it nor a trace of its end is there.
    Unknown,
}

/// What came of renewing a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is the one for its device, and will be for some time again.
    Current,
    /// The store had neither it nor a trace of its end, and has it again, under its own epoch. What was pushed to its
    /// user meanwhile may have gone elsewhere.
    Rewritten {
        /// Older sessions that the policy does not admit beside it.
        displaced: Vec<Arc<SessionRecord>>,
    },
    /// Somebody ended it: a tombstone, or newer sessions that the policy does not admit it beside.
    Displaced(KickKind),
}

/// One user on the list of those online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineUser {
    /// The user.
    pub user_id: UserId,
    /// Its sessions, oldest first; never empty.
    pub sessions: Vec<Arc<SessionRecord>>,
}

/// A page of the list of those online.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Users in the order of their ids.
    pub users: Vec<OnlineUser>,
    /// Users online in all.
    pub total: u64,
    /// Asks for the next page; `None` on the last one.
    pub next_cursor: Option<String>,
}

/// Where sessions are kept. All methods are atomic per user.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Lets a session in by `policy` and takes out whom it displaces, in one step.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the session may be in the store nevertheless.
    async fn bind(
        &self,
        session: NewSession,
        node: &NodeId,
        policy: &DevicePolicy,
        now: Timestamp,
    ) -> Result<BindAttempt, StoreError>;

    /// Takes out what a bind may have left whose answer was lost. Its session id is of that one bind, so nothing else
    /// can be meant; whom it displaced stays displaced.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn abandon(&self, session: &NewSession, now: Timestamp) -> Result<(), StoreError>;

    /// Takes a session out if it is still there with this id and epoch; says whether it was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn remove(&self, record: &SessionRecord, now: Timestamp) -> Result<bool, StoreError>;

    /// Removes several, each with the moment of its end, in one step where the store has one; a result for each.
    async fn remove_all(&self, ends: &[(Arc<SessionRecord>, Timestamp)]) -> Vec<Result<bool, StoreError>> {
        let mut results = Vec::with_capacity(ends.len());
        for (record, at) in ends {
            results.push(self.remove(record, *at).await);
        }
        results
    }

    /// Takes out the selected sessions of a user, leaving tombstones, and returns them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn kick(
        &self,
        user: &UserId,
        selector: &Selector,
        kind: KickKind,
        now: Timestamp,
    ) -> Result<Vec<Arc<SessionRecord>>, StoreError>;

    /// All sessions of a user, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn sessions(&self, user: &UserId) -> Result<Vec<Arc<SessionRecord>>, StoreError>;

    /// As [`sessions`](Self::sessions) for many users in one step, in their order. At most some hundred.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], for all of them.
    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Arc<SessionRecord>>>, StoreError>;

    /// Has the store keep these sessions for another while, and writes again what it has lost. Each is judged by the
    /// policy beside it; in their order. At most some hundred.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], for all of them; some may be renewed nevertheless.
    async fn renew(
        &self,
        sessions: &[(Arc<SessionRecord>, Arc<DevicePolicy>)],
        now: Timestamp,
    ) -> Result<Vec<Renewal>, StoreError>;

    /// Takes out sessions of a node that is dead, without tombstones, and returns them; some hundred at a time, none
    /// when all are gone. Calls of several nodes at once give each session to one of them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn reap(&self, node: &NodeId, now: Timestamp) -> Result<Vec<Arc<SessionRecord>>, StoreError>;

    /// How a session stands.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn standing(&self, record: &SessionRecord, now: Timestamp) -> Result<Standing, StoreError>;

    /// The users online behind `cursor` (`None`: from the first), at most `limit` of them, 1 to [`PAGE_LIMIT`].
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    async fn page(&self, cursor: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn health(&self) -> Result<(), StoreError>;
}

/// The last user of a page, in hex: opaque, and safe in a query whatever the id holds.
pub(crate) fn write_cursor(user: &UserId) -> String {
    user.as_ref().bytes().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn read_cursor(cursor: &str) -> Result<UserId, StoreError> {
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or(StoreError::BadCursor);
    let bytes = cursor
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Ok((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => Err(StoreError::BadCursor),
        })
        .collect::<Result<Vec<u8>, _>>()?;
    let text = String::from_utf8(bytes).map_err(|_| StoreError::BadCursor)?;
    UserId::parse(&text).map_err(|_| StoreError::BadCursor)
}

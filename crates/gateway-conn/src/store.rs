//! The seam to the truth about sessions.
//!
//! A store gives epochs, applies the device policy and removes by comparison, each in one step of its own: rule 2 of
//! the architecture (the newest device survives any interleaving) is a store's to keep. It holds no sockets; closing
//! what it displaced is the registry's work. `tests/store_rules.rs` holds the rules as one test body for all stores.

pub mod embedded;

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

    /// Takes a session out if it is still there with this id and epoch; says whether it was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn remove(&self, record: &SessionRecord, now: Timestamp) -> Result<bool, StoreError>;

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

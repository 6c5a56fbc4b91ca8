//! The seam to the offline box, which the message service keeps: one box per user, not per device.

use std::sync::Arc;

use async_trait::async_trait;
use gateway_codec::{EncodedPush, PushBody, UserId};

use crate::{OfflineError, SessionRecord};

/// One push for one user's box.
#[derive(Clone, Debug)]
pub struct OfflinePush {
    /// Whose box.
    pub user_id: UserId,
    /// The push; its `body` is what is kept.
    pub push: Arc<EncodedPush>,
}

/// What waits for a user, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// At most 1,000 pushes.
    pub pushes: Vec<PushBody>,
    /// There are others behind these; they are shown once these are reported as delivered.
    pub more: bool,
}

/// Where pushes go that no device took, and where they come from at the next bind.
///
/// Calls for one user are made one after another, never side by side. Each is given up after some seconds.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
#[async_trait]
pub trait OfflineSink: Send + Sync + 'static {
    /// Keeps these pushes, in this order. A push the box holds already (same user and `push_id`) is not kept twice.
    ///
    /// # Errors
    /// [`OfflineError`]; the whole call may be made again.
    async fn record_offline(&self, pushes: Vec<OfflinePush>) -> Result<(), OfflineError>;

    /// Takes these pushes out of the user's box: a device has them. Unknown ids are passed over.
    ///
    /// # Errors
    /// [`OfflineError`]; the whole call may be made again.
    async fn delivered(&self, user_id: &UserId, push_ids: Vec<String>) -> Result<(), OfflineError>;

    /// A device was bound: what waits for its user?
    ///
    /// # Errors
    /// [`OfflineError`]; the whole call may be made again.
    async fn session_bound(&self, record: &SessionRecord) -> Result<Backlog, OfflineError>;
}

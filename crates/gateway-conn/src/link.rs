//! The seam to a connection: what conn asks of the socket of a bound session.
//!
//! The server implements it around the network's outbound queue. Every call returns at once and never waits for the
//! peer; none of them calls back into the registry or the delivery.

use gateway_codec::{CloseCode, EncodedPush, Notice, Timestamp};
use tokio::time::Instant;

/// Why a push could not be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The connection has ended, or is ending.
    #[error("the connection is closed")]
    Closed,
    /// The outbound queue is at its bound: the client reads too slowly.
    #[error("the outbound queue is full")]
    Full,
}

/// The connection of one bound session.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait SessionLink: Send + Sync + 'static {
    /// Queues one push in the session's own encoding and returns its ticket: 1, 2, 3, … in the order of the calls.
    ///
    /// # Errors
    /// [`LinkError::Closed`] and [`LinkError::Full`]; nothing was queued then. Once the end of the connection has
    /// been reported to [`Delivery::closed`](crate::Delivery::closed) it is always `Closed`.
    fn push(&self, push: &EncodedPush) -> Result<u64, LinkError>;

    /// As [`push`](Self::push), one of many: it may wait until [`flush`](Self::flush) is called. True: it has to be
    /// called on this link in the end; where it is false, somebody else has to.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    fn push_later(&self, push: &EncodedPush) -> Result<(u64, bool), LinkError>;

    /// Lets go what was pushed later, here and on the links beside it.
    fn flush(&self);

    /// Queues a notice (command 2) made at `at`, ahead of pushes. Lost without a word if the connection is ending, and
    /// counted by the network where its queue is full.
    fn notice<'a>(&self, notice: &Notice<'a>, at: Timestamp);

    /// Ends the connection: what is queued goes first, then the close code. The first call wins.
    fn close(&self, code: CloseCode, reason: &str);

    /// Sends the client to another node: no further command is begun, and once those under way are answered the
    /// connection is closed with 1012. So a command that has no answer by then was not carried out.
    fn drain(&self, reason: &str);

    /// What the session was bound by may not hold any more: it looks, and ends where it does not.
    fn recheck(&self);

    /// Since when the client has sent nothing; `None` while a command of its is under way.
    fn quiet_since(&self) -> Option<Instant>;

    /// Whether this client acknowledges pushes. It may become true during the life of a session, never false again.
    fn acknowledges(&self) -> bool;
}

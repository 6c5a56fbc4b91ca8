//! Who is where, and how a push gets to them: the session registry with its device policies, the fenced session
//! store behind it, and the delivery of pushes with acknowledgement, idempotence and the offline box.
//!
//! The crate knows no tokens, no routes and no frames. A connection is a [`SessionLink`], made by whoever owns the
//! socket; the truth about sessions is a [`SessionStore`]; what no device took goes to an [`OfflineSink`]. Time of
//! day is passed in as a [`Timestamp`](gateway_codec::Timestamp); deadlines are tokio's, so that tests can pause them.
//!
//! How the parts are driven for one session, in this order:
//! 1. [`Registry::bind`] puts it into the store and among the live ones. Pushes to it are held from here on.
//! 2. The login's reply is sent, then [`Delivery::bound`] fetches the offline box, sends it, then what was held.
//! 3. [`Delivery::written`] and [`Delivery::acked`] settle what was sent.
//! 4. When the socket is gone: [`Delivery::closed`] first, then [`Registry::ended`] or, where the
//!    store is waited for, [`Registry::unbind`].
#![warn(missing_docs)]

mod by_user;
pub mod cluster;
pub mod delivery;
pub mod error;
pub mod link;
mod metrics;
pub mod offline;
pub mod policy;
pub mod presence;
pub mod record;
pub mod registry;
mod sharded;
pub mod store;
#[cfg(test)]
mod testing;
mod words;

pub use cluster::{
    Cluster, ClusterEvents, ClusterSettings, Hints, Member, NodeLoad, Origin, PeerTransport, Unfit,
};
pub use delivery::order::{BroadcastReport, DeviceOutcome, Outcome, PushOrder, Pushed, Report, Target};
pub use delivery::{Delivery, Inbound};
pub use error::{BindError, OfflineError, PolicyError, StoreError};
pub use gateway_config::Delivery as DeliverySettings;
pub use link::{LinkError, SessionLink};
pub use offline::{Backlog, OfflinePush, OfflineSink};
pub use policy::PolicyTable;
pub use presence::PresenceStream;
pub use record::{ClientAddress, KickKind, NewSession, Selector, SessionRecord};
pub use registry::{Live, Registry, Stats};
pub use store::embedded::{EmbeddedSessionStore, EmbeddedSettings};
pub use store::redis::{RedisSessionStore, RedisSettings};
pub use store::{BindAttempt, OnlineUser, Page, Renewal, SessionStore, Standing};

#[cfg(any(test, feature = "test-util"))]
pub use link::MockSessionLink;
#[cfg(any(test, feature = "test-util"))]
pub use offline::MockOfflineSink;

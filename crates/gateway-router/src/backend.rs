//! The seam between the rules (order, repeats, deadlines) and the wire.
//!
//! A [`Backend`] hands out a [`Lane`] to one healthy endpoint; a lane takes encoded commands and finishes each
//! through its [`Completion`]. The rules in [`Flow`](crate::Flow) are tested against scripted lanes, without
//! sockets; [`pool`](crate::pool) and [`lane`](crate::lane) are the real ones.

use std::sync::Arc;

use bytes::Bytes;
use gateway_codec::proto::backend::CommandReply;
use tokio::time::Instant;

use crate::error::RouterError;
use crate::flow::Completion;

/// One endpoint of a service: its place in that service's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndpointId(pub u32);

/// Where the commands of one service go.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait Backend: Send + Sync + 'static {
    /// A lane to a healthy endpoint, another than `avoid` where there is one.
    ///
    /// Called under the flow's lock: it must not block and must not finish any command.
    ///
    /// # Errors
    /// [`RouterError::NoEndpoint`] if no endpoint is healthy.
    fn lane(&self, avoid: Option<EndpointId>) -> Result<Arc<dyn Lane>, RouterError>;
}

/// The way to one endpoint. Commands leave in the order in which they were submitted.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait Lane: Send + Sync + 'static {
    /// The endpoint at its end.
    fn endpoint(&self) -> EndpointId;

    /// Queues a command behind all submitted before, and gives its number on this lane.
    ///
    /// Called under the flow's lock: it must not block, and must finish the command later, never in here.
    ///
    /// # Errors
    /// [`Rejected`] if the command was not taken; then its completion is simply dropped.
    fn submit(&self, command: Outgoing) -> Result<u64, Rejected>;

    /// Nobody waits for command `number` any more: forget it, and do not send it if it has not left.
    fn cancel(&self, number: u64);
}

/// A command on its way to a lane.
#[derive(Debug)]
pub struct Outgoing {
    /// An encoded `mychat.backend.v1.CommandRequest`; encoded once, shared by all repeats.
    pub request: Bytes,
    /// When the caller stops waiting. The time left is told to the back end.
    pub deadline: Instant,
    /// To be finished exactly once.
    pub done: Completion,
}

/// How a submitted command ended.
#[derive(Debug)]
pub enum Outcome {
    /// The back end answered; the reply is not checked yet.
    Reply(Box<CommandReply>),
    /// It was never written to a stream: always safe to repeat.
    NeverLeft(RouterError),
    /// It was not written to a stream that its server ends in good order, or the server has not looked at it: to be
    /// sent again at once, by another connection.
    Unprocessed(RouterError),
    /// It was written, and its answer will not come: it may have been done.
    Lost(RouterError),
    /// It failed for good.
    Failed(RouterError),
}

/// Why a lane did not take a command. It has not left, so placing it again is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// The lane's queue is full.
    Full,
    /// The lane just broke or is closed; another one, or this one in a moment, may take it.
    NotReady,
    /// The lane's server closes the connection. What is in flight on the lane is still answered; a command that has to
    /// follow it waits until then.
    Draining,
}

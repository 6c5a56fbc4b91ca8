//! Routes, endpoints and the gRPC lane to the back ends.
//!
//! The [`Router`] knows which service a command belongs to ([`RouteTable`]), which of that service's endpoints
//! is up, how long a command may take and how often it may be repeated, and it carries commands over batched
//! bidirectional gRPC streams ("lanes"), one per worker and endpoint.
//!
//! Order is kept per session and service by a [`Flow`]: commands reach the back end in the order in which
//! [`Router::call`] was called, on one endpoint while any of them is in flight, and a repeated command holds back
//! its successors. Services have queues and lanes of their own, so that one service's trouble stays its own.
//!
//! What this crate does not do: it knows no sockets of clients, no tokens, no sessions beyond a [`Flow`], and it
//! never looks into a command's body.

#![warn(missing_docs)]

mod backend;
mod backoff;
mod endpoint;
mod error;
mod flow;
mod health;
mod lane;
mod mailbox;
mod pool;
mod resolver;
mod router;
mod service;
mod socket;
mod table;
mod telemetry;

pub use backend::{Backend, EndpointId, Lane, Outcome, Outgoing, Rejected};
#[cfg(any(test, feature = "test-util"))]
pub use backend::{MockBackend, MockLane};
pub use endpoint::EndpointState;
pub use error::{BuildError, Origin, RouterError};
pub use flow::submit::Done;
pub use flow::{CallLimits, Completion, Flow};
pub use health::{EndpointHealth, ServiceHealth};
#[cfg(any(test, feature = "test-util"))]
pub use resolver::MockResolver;
pub use resolver::{Resolver, StaticResolver};
pub use router::Router;
pub use table::{Route, RouteTable};

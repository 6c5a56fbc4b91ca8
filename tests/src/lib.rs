//! What the end-to-end tests stand on: the real programs on free ports, and clients that show every byte.
//!
//! [`stack`] starts `mock-service` and `gateway-server` as processes and ends them with the test. [`ws`] is a
//! WebSocket client that hides nothing (codes, close reasons, raw frames), [`http`] a plain HTTP one, [`raw`]
//! speaks bytes on a socket for what no well-behaved client would send, [`envelope`] writes MyChat's protobuf
//! framing, also wrongly on purpose. [`cluster`] starts several gateways on one Redis, [`balancer`]
//! is the one address before them, [`crowd`] a crowd of clients who note what becomes of their messages, [`gate`] holds
//! back what a server answers, [`tls`] makes certificates.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that fails, fails its test"
)]

pub mod balancer;
pub mod cluster;
pub mod crowd;
pub mod envelope;
pub mod gate;
pub mod http;
pub mod raw;
pub mod stack;
pub mod tls;
pub mod token;
pub mod ws;

pub use cluster::ClusterStack;
pub use stack::{Stack, StackBuilder};
pub use ws::{Event, WsClient};

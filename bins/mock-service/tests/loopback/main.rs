//! The five services over real loopback sockets, asked by tonic clients as the gateway asks them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]

mod bench;
mod echo;
mod faults;
mod friend;
mod group;
mod life;
mod message;
mod offline;
mod parity;
mod push;
mod replay;
mod stream;
mod user;

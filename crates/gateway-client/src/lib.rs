//! A client of MyChat Gateway: connect, log in, send, receive, come back.
//!
//! ```no_run
//! # async fn talk() -> Result<(), gateway_client::ClientError> {
//! use gateway_client::{Client, Event};
//! use serde_json::json;
//!
//! let alice = Client::builder("ws://127.0.0.1:8080/ws")
//!     .login("alice", "password")
//!     .device("laptop-1", "desktop")
//!     .connect()
//!     .await?;
//! let reply = alice.command(2001, json!({ "to_user": "bob", "content": "hi" })).await?.success()?;
//! println!("{}", reply.data["status"]);
//! let mut events = alice.events();
//! while let Some(event) = events.next().await {
//!     if let Event::Push(push) = event {
//!         println!("{}: {}", push.sender_uid, push.content);
//!     }
//! }
//! println!("{:?}", alice.closed().await);
//! # Ok(())
//! # }
//! ```
//!
//! One task per connection owns the socket: frames are read by one loop that nothing interrupts, and written by
//! another that gathers what waits into one call. Replies find their command by `seq`, so any number may be under
//! way at once. A push is acknowledged when the application takes it from [`Events`], not before: what a full
//! queue has to refuse therefore stays with the gateway, which delivers it at the next login. What the gateway
//! delivers twice, since an acknowledgement can be lost, comes to the application once ([`Events::duplicates`]).
//!
//! [`Persistent`] comes back by itself, goes on after the last push that was taken, and sends a command again where
//! that cannot do a thing twice.
//!
//! What it does not do: TLS (put a proxy in front), check `Sec-WebSocket-Accept` (it guards against caches, not
//! against attackers), send heartbeats (the gateway pings; silence of 90 s ends the connection).

#![warn(missing_docs)]

mod acknowledge;
mod builder;
mod client;
mod connection;
mod ended;
mod error;
mod event;
mod http_call;
mod pending;
mod reconnect;
mod resume;
mod seen;
mod tokens;
mod transport;
mod wire;

pub use builder::Builder;
pub use client::Client;
pub use ended::Ended;
pub use error::ClientError;
pub use event::{Event, Events, Notice, Push};
pub use gateway_codec::Encoding;
pub use pending::PendingReply;
pub use reconnect::{Persistent, ReconnectPolicy};
pub use tokens::Tokens;
pub use wire::Reply;

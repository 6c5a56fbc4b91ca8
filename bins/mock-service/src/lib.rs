//! Five business services to talk to through MyChat Gateway: user, message, friend, group, push.
//!
//! Each is a gRPC server of its own with `mychat.backend.v1.Backend`, `grpc.health.v1` and reflection. The
//! rules are real (hashed passwords, history, offline box, friendships, groups with fan-out to members), the
//! store is memory: stop it and all is forgotten. The command numbers are in [`commands`]; 1998, 2998, 3998, 4998
//! and 5998 answer what they were asked with, to measure everything around a rule.
//!
//! What goes wrong can be made to: see [`FaultSettings`], [`Running::set_faults`] and the commands 1999, 2999,
//! 3999, 4999 and 5999, which anybody may send. It is not for production, for that reason among others.
#![warn(missing_docs)]

mod backend;
mod clock;
pub mod commands;
mod engine;
mod error;
mod faults;
mod gateway_link;
mod lanes;
mod options;
mod passwords;
mod replay;
mod server;
mod services;
mod store;
mod stream;
mod wire;

pub use crate::{
    faults::FaultSettings,
    gateway_link::LinkError,
    options::{Options, ServiceKind, UnknownService},
    passwords::HashError,
    server::{MockService, Running, StartError},
};

//! The client against a gateway of a few lines, which says exactly what a test wants said.
#![expect(clippy::unwrap_used, reason = "test helpers: a panic is the failure wanted")]

mod commands;
mod connecting;
mod duplicates;
mod events;
mod resending;
mod resuming;
mod returning;
mod stub;

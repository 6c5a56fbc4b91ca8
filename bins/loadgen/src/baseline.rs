//! What is physically there: servers without a framework, to measure the gateway against.
//!
//! [`echo`] gives every WebSocket message back and, on `POST /push`, writes a body to every connection in a
//! bare loop of sends. [`hop`] passes every message over one raw TCP connection to a back end that gives it
//! back. One thread, epoll through mio, no checks but those that framing needs: they are no gateways.

mod echo;
mod hop;
mod server;

use std::net::SocketAddr;

use anyhow::Result;

use crate::options::BaselineKind;

/// Runs a baseline until the process is ended. Its address is printed once it listens.
///
/// # Errors
/// The listener's, or epoll's.
pub(crate) fn run(kind: BaselineKind, listen: SocketAddr) -> Result<()> {
    // Where the limit cannot be raised, accepting says so in time.
    let _ = crate::limits::raise_file_limit();
    match kind {
        BaselineKind::Echo => server::serve(listen, |_| Ok(echo::Echo::default())),
        BaselineKind::Hop => server::serve(listen, hop::Hop::start),
    }
}
